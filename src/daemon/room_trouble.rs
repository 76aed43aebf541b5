//! What keeps a room from doing its part, for `relay status` and `relay doctor`: of all that is known, what has to be cured
//! first.

use crate::bridge::Waiting;
use crate::matrix::RoomTrouble;
use crate::model::{Explained as _, JoinedRoom};
use crate::store::mapped_rooms::{FOLLOWED, Held};

use super::status::RoomTroubleStatus;

/// What is known of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Nothing goes there: another room is to take its place, or has.
    pub(super) held: Option<&'a Held>,
    /// What the Matrix side found, under any of its names.
    pub(super) heard: Option<&'a RoomTrouble>,
    /// The bot is in it.
    pub(super) joined: Option<&'a JoinedRoom>,
    /// It is of the configuration.
    pub(super) mapped: bool,
}

impl Known<'_> {
    /// Returns what is wrong.
    pub(super) fn trouble(self) -> Option<RoomTroubleStatus> {
        let followed = self.held.filter(|it| it.why == FOLLOWED);
        if let Some(held) = self.held.filter(|it| it.why != FOLLOWED) {
            let why = Waiting::of(&held.why, held.heir.clone());
            return Some(RoomTroubleStatus {
                reason: why.name().to_owned(),
                text: why.text(),
                hint: why.hint(&held.room),
                successor: why.successor().map(ToString::to_string),
                may_pass: why.may_pass(),
            });
        }
        if !self.mapped {
            return None;
        }
        let status =
            |reason: &str, text: String, hint: &str, successor: Option<String>, may_pass| {
                Some(RoomTroubleStatus {
                    reason: reason.to_owned(),
                    text,
                    hint: hint.to_owned(),
                    successor,
                    may_pass,
                })
            };
        if let Some(Held { heir: Some(to), .. }) = followed {
            let text =
                format!("this room was replaced by {to}, which is in `matrix_rooms` as well");
            let hint = "nothing has to be done: what is for it goes there, and this entry can be taken out";
            return status(FOLLOWED, text, hint, Some(to.to_string()), true);
        }
        let heard = self
            .heard
            .filter(|it| self.joined.is_none() || it.concerns_joined());
        if let Some(trouble) = heard {
            let (name, hint) = (trouble.name(), trouble.hint().unwrap_or_default());
            return status(name, trouble.to_string(), &hint, None, trouble.may_pass());
        }
        let joined = self.joined?;
        if let Some(tombstone) = &joined.tombstone {
            // With a successor, what becomes of it is being settled.
            if tombstone.successor.is_some() {
                return None;
            }
            let text = "this room was closed by its admins, who name no other".to_owned();
            let hint = "map the room that people have gone to";
            return status("closed", text, hint, None, false);
        }
        if joined.may_write {
            return None;
        }
        let text = "the bot may not write there".to_owned();
        let hint = "let the bot write there (its power level is too low); the relay notices";
        status("may_not_write", text, hint, None, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tombstone;

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

    fn reason(known: Known<'_>) -> Option<String> {
        known.trouble().map(|trouble| trouble.reason)
    }

    #[test]
    fn of_several_reasons_the_one_to_be_cured_first_is_told() {
        let well = joined(|_| {});
        let silent = joined(|room| room.may_write = false);
        let closed = joined(|room| {
            room.may_write = false;
            room.tombstone = Some(Tombstone { successor: None });
        });
        let held = Held {
            room: "!room:example.org".try_into().unwrap(),
            why: "replaced".to_owned(),
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
        let followed = Held {
            why: FOLLOWED.to_owned(),
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
            let known = Known {
                held,
                heard,
                joined,
                mapped,
            };
            assert_eq!(reason(known).as_deref(), expected, "{known:?}");
        }
    }
}
