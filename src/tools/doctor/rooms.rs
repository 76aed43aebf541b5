//! Deciding on a mapped room, by what the homeserver shows and what the running daemon knows.

use super::report::{Finding, Side};
use crate::daemon::checks::{check, failed, ok, warning};
use crate::daemon::status::{Check, CheckResult, RoomStatus};
use crate::daemon::{merged, room_check, trouble_check, trouble_of};
use relay_config::{Config, Feedback, MappedRoom};
use relay_matrix::{Entrance, RoomFound, RoomTrouble, SeenRoom};
use relay_model::{Explained as _, OwnedUserId, RoomOrAliasId, Tombstone};
use relay_store::mapped_rooms::HeldRoom;

/// What is known for the check of a room.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    /// The bot's account.
    pub(super) user: &'a OwnedUserId,
    /// The room as configured.
    pub(super) name: &'a RoomOrAliasId,
    pub(super) found: &'a RoomFound,
    /// What the running daemon says of it.
    pub(super) status: Option<&'a RoomStatus>,
}

/// Makes the finding of a room.
pub(super) fn finding(name: &RoomOrAliasId, check: Check) -> Finding {
    Finding {
        subject: Some(name.to_string()),
        ..Side::Matrix.finds("room", check)
    }
}

/// Adds the room's name to a check that was not made for it alone.
pub(super) fn named(name: &RoomOrAliasId, check: Check) -> Check {
    let text = format!("{name}: {}", check.text);
    Check { text, ..check }
}

impl Known<'_> {
    pub(super) fn check(&self) -> Check {
        let mut troubles: Vec<Check> = self.status.and_then(room_check).into_iter().collect();
        match self.found {
            RoomFound::Joined(seen) => {
                if troubles.is_empty() {
                    troubles.extend(self.trouble(seen));
                }
                troubles.extend(self.no_signs(seen));
                troubles.extend(self.open_to_all(seen));
            }
            absent if troubles.is_empty() => troubles.push(self.absent(absent)),
            _ => {}
        }
        for trouble in &mut troubles {
            // They are all of the same room.
            trouble.name.clear();
        }
        let RoomFound::Joined(seen) = self.found else {
            return merged(troubles).unwrap_or_else(|| ok(self.name.to_string()));
        };
        merged(troubles).unwrap_or_else(|| self.well(seen))
    }

    fn well(&self, seen: &SeenRoom) -> Check {
        let SeenRoom {
            room,
            version,
            join_rule,
        } = seen;
        let shown = if room.name == self.name.as_str() {
            String::new()
        } else {
            format!(" ({})", room.name)
        };
        let encrypted = if room.encrypted {
            "encrypted"
        } else {
            "not encrypted"
        };
        let name = self.name;
        ok(format!(
            "{name}{shown}: joined, {encrypted}, may send, version {version}, join rule `{join_rule}`"
        ))
    }

    /// Returns what keeps messages from crossing, by the same rules as the daemon's.
    fn trouble(&self, seen: &SeenRoom) -> Option<Check> {
        let room = &seen.room;
        let is_refused = room.encrypted && !self.config.matrix.e2ee.enabled;
        let refused = is_refused.then_some(RoomTrouble::Encrypted);
        let held = self.held(seen);
        let trouble = trouble_of(held.as_ref(), refused.as_ref(), Some(room), true)?;
        Some(trouble_check(self.name.as_str(), &trouble, 0))
    }

    /// Returns where a replaced room stands, as the daemon decides where the successor is not known to it.
    fn held(&self, seen: &SeenRoom) -> Option<HeldRoom> {
        let Some(Tombstone {
            successor: Some(successor),
        }) = &seen.room.tombstone
        else {
            return None;
        };
        let is_it = |it: &&MappedRoom| it.id.as_str() == successor.as_str();
        let is_mapped = self.rooms().any(|it| is_it(&it));
        Some(HeldRoom {
            room: seen.room.room.clone(),
            why: (!is_mapped).then(|| "replaced".to_owned()),
            heir: Some(successor.clone()),
        })
    }

    fn no_signs(&self, seen: &SeenRoom) -> Option<Check> {
        let feedback = self.config.meshtastic.delivery_feedback;
        if seen.room.may_react || feedback == Feedback::Off || seen.room.tombstone.is_some() {
            return None;
        }
        let text = format!(
            "{}: the bot may not react, or not redact, so messages show no signs",
            self.name
        );
        let cure = "let it send `m.reaction` and `m.room.redaction` there (its power level is too low), or set `meshtastic.delivery_feedback: off`";
        Some(warning(text, cure))
    }

    fn open_to_all(&self, seen: &SeenRoom) -> Option<Check> {
        let entries = || self.rooms().filter(|it| *it.id == *self.name);
        let goes_on_air = entries().any(|it| it.direction.to_mesh());
        let is_open = seen.room.public && self.config.matrix.allowed_users.is_none();
        let text = || {
            format!(
                "{}: anyone may join this room and so put messages on the air",
                self.name
            )
        };
        (is_open && goes_on_air).then(|| warning(text(), "set `matrix.allowed_users`"))
    }

    fn absent(&self, found: &RoomFound) -> Check {
        let (name, user) = (self.name, self.user);
        let will_join = "the relay joins when it runs";
        let invites = self.config.matrix.invites.is_some();
        match found {
            RoomFound::Barred(trouble) => self.barred(trouble),
            RoomFound::Open(Entrance::Invited) if !invites => self.barred(&RoomTrouble::InvitesOff),
            RoomFound::Open(Entrance::Invited) => warning(
                format!("{name}: the bot is invited and not in it yet"),
                will_join,
            ),
            RoomFound::Open(Entrance::Anyone) => warning(
                format!("{name}: the bot is not in it yet, and anyone may join"),
                will_join,
            ),
            RoomFound::Open(Entrance::Member) => warning(
                format!("{name}: the bot is not in it yet, and may join"),
                will_join,
            ),
            RoomFound::Open(Entrance::Knock) if !invites => {
                self.barred(&RoomTrouble::NotInvited(user.clone()))
            }
            RoomFound::Open(Entrance::Knock) => warning(
                format!("{name}: the bot is not in it yet, and may ask to be let in"),
                &format!(
                    "the relay asks when it runs; then accept the request of {user}, or invite it now"
                ),
            ),
            RoomFound::Closed if name.is_room_alias_id() => {
                self.barred(&RoomTrouble::NotInvited(user.clone()))
            }
            RoomFound::Closed => failed(
                format!("{name}: the bot is not invited, or there is no such room"),
                &format!("check the id in `matrix_rooms`; if it is right, invite {user} there"),
            ),
            RoomFound::Joined(_) | RoomFound::Unknown => warning(
                format!(
                    "{name}: the bot is not in this room of another server; whether it may join is known when the relay runs"
                ),
                &format!("invite {user} there if it is not open to anyone, and start the relay"),
            ),
        }
    }

    fn barred(&self, trouble: &RoomTrouble) -> Check {
        let result = if trouble.may_pass() {
            CheckResult::Warning
        } else {
            CheckResult::Failed
        };
        check(result, format!("{}: {trouble}", self.name), trouble.hint())
    }

    fn rooms(&self) -> impl Iterator<Item = &MappedRoom> {
        self.config.matrix_rooms.iter()
    }
}

/// Returns the daemon's state of a room, by its configured name.
pub(super) fn status_of<'a>(
    rooms: &'a [RoomStatus],
    name: &RoomOrAliasId,
) -> Option<&'a RoomStatus> {
    let is_it = |room: &&RoomStatus| room.configured.iter().any(|it| it == name.as_str());
    rooms.iter().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_config::{ChannelRef, Connection, Direction};
    use relay_model::{ChannelIndex, JoinedRoom};

    const ROOM: &str = "!room:example.org";

    fn config() -> Config {
        let mapped = MappedRoom {
            id: ROOM.try_into().unwrap(),
            via: Vec::new(),
            meshtastic_channel: ChannelRef::Index(ChannelIndex::PRIMARY),
            direction: Direction::Both,
            appearance: relay_config::Appearance::default(),
        };
        Config::new(Connection::Serial { serial_port: None }, vec![mapped])
    }

    fn seen(change: impl FnOnce(&mut JoinedRoom)) -> RoomFound {
        let mut room = JoinedRoom {
            room: ROOM.try_into().unwrap(),
            configured: Vec::new(),
            name: "Hilltop".to_owned(),
            own_name: "Relay".to_owned(),
            encrypted: true,
            public: false,
            may_mention_room: false,
            may_write: true,
            may_react: true,
            tombstone: None,
            predecessor: None,
        };
        change(&mut room);
        RoomFound::Joined(Box::new(SeenRoom {
            room,
            version: "10".to_owned(),
            join_rule: "invite".to_owned(),
        }))
    }

    fn check(config: &Config, name: &str, found: &RoomFound) -> Check {
        let known = Known {
            config,
            user: &"@relay:example.org".try_into().unwrap(),
            name: <&RoomOrAliasId>::try_from(name).unwrap(),
            found,
            status: None,
        };
        known.check()
    }

    #[test]
    fn a_room_that_is_well_is_told_with_what_matters_of_it() {
        let check = check(&config(), ROOM, &seen(|_| {}));
        assert_eq!(check.result, CheckResult::Ok);
        assert_eq!(
            check.text,
            "!room:example.org (Hilltop): joined, encrypted, may send, version 10, join rule `invite`"
        );
    }

    #[test]
    fn what_keeps_messages_from_crossing_fails_and_names_the_cure() {
        let well = config();
        let mut plain_only = config();
        plain_only.matrix.e2ee.enabled = false;
        let mut no_invites = config();
        no_invites.matrix.invites = None;
        let banned = RoomTrouble::Banned("@relay:example.org".try_into().unwrap());
        let closed = Tombstone { successor: None };
        for (config, name, found, words, cure) in [
            (
                &well,
                ROOM,
                seen(|it| it.may_write = false),
                "may not write there",
                "power level",
            ),
            (
                &well,
                ROOM,
                seen(|it| it.tombstone = Some(closed.clone())),
                "was closed",
                "map the room",
            ),
            (
                &plain_only,
                ROOM,
                seen(|_| {}),
                "`matrix.e2ee.enabled` is false",
                "set it to true",
            ),
            (
                &no_invites,
                ROOM,
                RoomFound::Open(Entrance::Invited),
                "`matrix.invites` is `none`",
                "`mapped`",
            ),
            (
                &well,
                ROOM,
                RoomFound::Barred(banned),
                "the bot is banned",
                "lift the ban",
            ),
            (
                &well,
                ROOM,
                RoomFound::Closed,
                "or there is no such room",
                "check the id",
            ),
            (
                &well,
                "#hill:example.org",
                RoomFound::Closed,
                "is not invited",
                "invite @relay:example.org",
            ),
            (
                &well,
                "#hill:example.org",
                RoomFound::Barred(RoomTrouble::NoSuchAlias),
                "no such room alias",
                "check how it is written",
            ),
        ] {
            let check = check(config, name, &found);
            assert_eq!(check.result, CheckResult::Failed, "{check:?}");
            assert!(check.text.starts_with(&format!("{name}: ")), "{check:?}");
            assert!(check.text.contains(words), "{check:?}");
            assert!(
                check.hint.as_ref().is_some_and(|it| it.contains(cure)),
                "{check:?}"
            );
        }
    }

    #[test]
    fn what_the_relay_copes_with_is_a_warning() {
        let config = config();
        let replaced = Tombstone {
            successor: Some("!new:example.org".try_into().unwrap()),
        };
        for (found, words) in [
            (
                seen(|it| it.tombstone = Some(replaced)),
                "was replaced by !new:example.org",
            ),
            (seen(|it| it.may_react = false), "show no signs"),
            (seen(|it| it.public = true), "anyone may join this room"),
            (
                RoomFound::Open(Entrance::Invited),
                "is invited and not in it yet",
            ),
            (RoomFound::Open(Entrance::Anyone), "anyone may join"),
            (RoomFound::Open(Entrance::Member), "may join"),
            (RoomFound::Open(Entrance::Knock), "may ask to be let in"),
            (RoomFound::Unknown, "another server"),
        ] {
            let check = check(&config, ROOM, &found);
            assert_eq!(check.result, CheckResult::Warning, "{check:?}");
            assert!(
                check.text.contains(words) && check.hint.is_some(),
                "{check:?}"
            );
        }
    }

    #[test]
    fn an_open_room_is_no_matter_where_somebody_says_who_may_transmit() {
        let mut chosen = config();
        chosen.matrix.allowed_users = Some(Vec::new());
        let mut one_way = config();
        for mapped in &mut one_way.matrix_rooms {
            mapped.direction = Direction::ToMatrix;
        }
        for config in [chosen, one_way] {
            let check = check(&config, ROOM, &seen(|it| it.public = true));
            assert_eq!(check.result, CheckResult::Ok, "{check:?}");
        }
    }
}
