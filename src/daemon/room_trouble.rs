//! Why messages do not cross between a room and the mesh, for `relay status` and `relay doctor`: of several reasons, the one
//! to be cured first.

use super::status::RoomTroubleStatus;
use relay_bridge::{Waiting, WaitingRoom};
use relay_matrix::RoomTrouble;
use relay_model::{Explained, JoinedRoom, Tombstone};
use relay_store::mapped_rooms::HeldRoom;

/// Returns what is wrong with a room: its messages are held for its successor (`held`), the adapter reports a problem under
/// any of its names (`heard`), or the bot has joined the room but cannot send there.
pub(crate) fn trouble_of(
    held: Option<&HeldRoom>,
    heard: Option<&RoomTrouble>,
    joined: Option<&JoinedRoom>,
    is_mapped: bool,
) -> Option<RoomTroubleStatus> {
    match held {
        Some(held @ HeldRoom { why: Some(why), .. }) => {
            let why = &Waiting::of(why, held.heir.clone());
            return Some(RoomTroubleStatus {
                successor: why.successor().map(ToString::to_string),
                may_pass: why.may_pass(),
                ..of(why.name(), &WaitingRoom(&held.room, why))
            });
        }
        _ if !is_mapped => return None,
        Some(HeldRoom { heir: Some(to), .. }) => {
            let text =
                format!("this room was replaced by {to}, which is in `matrix_rooms` as well");
            let hint = "nothing has to be done: what is for it goes there, and this entry can be taken out";
            return Some(RoomTroubleStatus {
                successor: Some(to.to_string()),
                may_pass: true,
                ..status("followed", text, hint)
            });
        }
        Some(HeldRoom { heir: None, .. }) | None => {}
    }
    if let Some(trouble) = heard.filter(|it| joined.is_none() || it.concerns_joined()) {
        return Some(RoomTroubleStatus {
            may_pass: trouble.may_pass(),
            ..of(trouble.name(), trouble)
        });
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
        None if joined.may_write => None,
        None => Some(status(
            "may_not_write",
            "the bot may not write there",
            "let the bot write there (its power level is too low); the relay notices",
        )),
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
            (
                Some(&followed),
                None,
                Some(&replaced),
                true,
                Some("followed"),
            ),
            // Whoever is put out there misses nothing.
            (
                Some(&followed),
                Some(&put_out),
                None,
                true,
                Some("followed"),
            ),
            (Some(&followed), None, None, false, None),
        ] {
            let reason = trouble_of(held, heard, joined, mapped).map(|it| it.reason);
            let known = (held, heard, joined, mapped);
            assert_eq!(reason.as_deref(), expected, "{known:?}");
        }
    }
}
