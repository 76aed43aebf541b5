//! Why messages do not cross between a room and the mesh, for `relay status` and `relay doctor`: of several reasons, the one
//! to be cured first.

use super::status::RoomTroubleStatus;
use relay_bridge::{Waiting, WaitingRoom};
use relay_matrix::{RoomTrouble, in_its_place};
use relay_model::{Explained, JoinedRoom, Tombstone};
use relay_store::mapped_rooms::HeldRoom;

/// Returns what is wrong with a room: its messages are held for its successor (`held`), the adapter reports a problem under
/// any of its names (`heard`), the bot has joined the room but cannot send there, or the configuration has an old name for it.
pub(crate) fn trouble_of(
    held: Option<&HeldRoom>,
    heard: Option<&RoomTrouble>,
    joined: Option<&JoinedRoom>,
    is_mapped: bool,
) -> Option<RoomTroubleStatus> {
    match held {
        Some(held @ HeldRoom { why: Some(why), .. }) => {
            let why = &Waiting::of(why, held.heir.clone());
            // It says what is in the way.
            if let (Waiting::Unnamed(_), Some(trouble @ RoomTrouble::Next(_, _))) = (why, heard) {
                return Some(of_adapter(trouble));
            }
            return Some(RoomTroubleStatus {
                successor: why.successor().map(ToString::to_string),
                may_pass: why.may_pass(),
                ..of(why.name(), &WaitingRoom(&held.room, why))
            });
        }
        _ if !is_mapped => return None,
        Some(HeldRoom { why: None, .. }) | None => {}
    }
    if let Some(trouble) = heard.filter(|it| joined.is_none() || it.concerns_joined()) {
        return Some(of_adapter(trouble));
    }
    let joined = joined?;
    match &joined.tombstone {
        // The succession is not decided yet.
        Some(Tombstone { successor: Some(_) }) => None,
        Some(Tombstone { successor: None }) => Some(status(
            "closed",
            "this room was closed by its admins, who name no other",
            "map the room that people have gone to",
        )),
        None if joined.may_write => old_name(joined),
        None => Some(status(
            "may_not_write",
            "the bot may not write there",
            "let the bot write there (its power level is too low); the relay notices",
        )),
    }
}

/// Returns that the configuration has the id of a replaced room for this one.
fn old_name(joined: &JoinedRoom) -> Option<RoomTroubleStatus> {
    let room = &joined.room;
    let (mut own, mut ids): (Vec<_>, Vec<_>) = (joined.configured.iter())
        .filter(|name| name.is_room_id())
        .partition(|name| name.as_str() == room.as_str());
    let old = ids.pop()?;
    let text = format!("this room took the place of {old}, as which `matrix_rooms` has it");
    let hint = match own.pop() {
        Some(_) => format!("take {old} out of `matrix_rooms`: this room is there as well"),
        None => in_its_place(old, room),
    };
    Some(RoomTroubleStatus {
        may_pass: true,
        ..status("followed", text, hint)
    })
}

fn of_adapter(trouble: &RoomTrouble) -> RoomTroubleStatus {
    RoomTroubleStatus {
        successor: trouble.successor().map(ToString::to_string),
        may_pass: trouble.may_pass(),
        ..of(trouble.name(), trouble)
    }
}

fn of(reason: &str, error: &impl Explained) -> RoomTroubleStatus {
    status(reason, error.to_string(), error.hint().unwrap_or_default())
}

fn status(reason: &str, text: impl Into<String>, hint: impl Into<String>) -> RoomTroubleStatus {
    RoomTroubleStatus {
        reason: reason.to_owned(),
        text: text.into(),
        hint: hint.into(),
        successor: None,
        may_pass: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(change: impl Fn(&mut JoinedRoom)) -> JoinedRoom {
        let mut room = JoinedRoom {
            room: "!room:example.org".try_into().unwrap(),
            configured: vec!["!room:example.org".try_into().unwrap()],
            name: "Hilltop".to_owned(),
            own_name: "Relay".to_owned(),
            encrypted: false,
            public: false,
            may_mention_room: false,
            may_write: true,
            may_react: true,
            tombstone: None,
            predecessor: None,
        };
        change(&mut room);
        room
    }

    #[test]
    fn of_several_reasons_the_one_to_be_cured_first_is_told() {
        let well = joined(|_| {});
        let silent = joined(|room| room.may_write = false);
        let closed = joined(|room| {
            room.may_write = false;
            room.tombstone = Some(Tombstone { successor: None });
        });
        let held = HeldRoom {
            room: "!room:example.org".try_into().unwrap(),
            why: Some("replaced".to_owned()),
            heir: Some("!new:example.org".try_into().unwrap()),
        };
        let no_answer = RoomTrouble::NoAnswer;
        let encrypted = RoomTrouble::Encrypted;
        let replaced = joined(|room| {
            room.may_write = false;
            room.tombstone = Some(Tombstone {
                successor: Some("!new:example.org".try_into().unwrap()),
            });
        });
        let followed = HeldRoom {
            why: None,
            ..held.clone()
        };
        let put_out = RoomTrouble::PutOut {
            bot: "@relay:example.org".try_into().unwrap(),
            by: "@alice:example.org".try_into().unwrap(),
        };
        let put_out_there =
            RoomTrouble::Next("!new:example.org".try_into().unwrap(), Box::new(put_out));
        let successor = joined(|room| {
            room.configured = vec!["!old:example.org".try_into().unwrap()];
        });
        let silent_successor = JoinedRoom {
            may_write: false,
            ..successor.clone()
        };
        for (held, heard, joined, mapped, expected) in [
            (None, None, Some(&well), true, None),
            (None, None, None, true, None),
            (None, Some(&no_answer), None, true, Some("no_answer")),
            // It was joined since.
            (None, Some(&no_answer), Some(&well), true, None),
            (None, Some(&encrypted), Some(&well), true, Some("encrypted")),
            (None, None, Some(&silent), true, Some("may_not_write")),
            (None, None, Some(&closed), true, Some("closed")),
            (Some(&held), None, Some(&closed), true, Some("replaced")),
            (Some(&held), None, None, false, Some("replaced")),
            (None, None, Some(&closed), false, None),
            (None, None, Some(&replaced), true, None),
            // Its name is about to stand for the successor.
            (Some(&followed), None, Some(&replaced), true, None),
            (Some(&followed), None, None, false, None),
            (None, None, Some(&successor), true, Some("followed")),
            (
                None,
                None,
                Some(&silent_successor),
                true,
                Some("may_not_write"),
            ),
            (
                Some(&held),
                Some(&put_out_there),
                Some(&closed),
                true,
                Some("put_out"),
            ),
            (
                None,
                Some(&put_out_there),
                Some(&well),
                true,
                Some("put_out"),
            ),
        ] {
            let reason = trouble_of(held, heard, joined, mapped).map(|it| it.reason);
            let known = (held, heard, joined, mapped);
            assert_eq!(reason.as_deref(), expected, "{known:?}");
        }
    }
    #[test]
    fn an_old_id_in_the_configuration_is_named_with_its_new_value() {
        let cure = |configured: &[&str]| {
            let room = joined(|room| {
                room.configured = configured
                    .iter()
                    .map(|it| (*it).try_into().unwrap())
                    .collect();
            });
            trouble_of(None, None, Some(&room), true).map(|it| it.hint)
        };
        let (old, own, alias) = ("!old:example.org", "!room:example.org", "#hill:example.org");
        let both = cure(&[own, old]).unwrap();
        assert!(both.starts_with("take !old:example.org out"), "{both}");
        let one = cure(&[alias, old]).unwrap();
        let put = "put !room:example.org into `matrix_rooms` in the place of !old:example.org";
        assert!(one.starts_with(put), "{one}");
        assert_eq!(cure(&[own, alias]), None);
    }
}
