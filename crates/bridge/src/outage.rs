//! Notices in rooms about the radio's outage and return (`matrix.radio_notices`).
//!
//! An outage begins when the link is lost, and ends once the link has been up for a moment, so that a flapping link counts as
//! one outage. It survives restarts. A room is told at most once an hour, and of the end only if it was told of the outage.
//! While anything waits for a room it gets no such notice.

use std::time::Duration;

use super::action::{Action, OutageStep};
use super::author_notice::{ROOM_AGAIN, start_cooldown};
use super::{Bridge, facts::Facts};
use relay_model::{Chore, JoinedRoom, Notice, OwnedRoomId, RoomMessage, Timestamp, ToldRoom, span};

/// Minimum time the link must be up, or missing in this run, before its state counts; limited to the notice delay. After a
/// power cut the radio takes longer to start than the relay.
const STEADY: Duration = Duration::from_mins(1);
/// Maximum delay of the notice that the radio is back.
const OLD_NEWS: Duration = Duration::from_hours(24);
/// Prefix of the cooldown names of outage notices.
pub(super) const TOLD: &str = "radio away ";

/// The link's state as seen in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Unknown,
    /// The link is down; uptime at the last check.
    Away(Option<Duration>),
    /// The link is up; uptime at the last check.
    There(Option<Duration>),
}

impl Bridge {
    pub(super) fn link_is_lost(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        self.linked = false;
        let mut actions = vec![Action::MayTransmit(false)];
        if self.config.matrix.radio_notices.is_some() {
            actions.push(Action::Outage(OutageStep::Lost));
            if !matches!(self.presence, Presence::Away(_)) {
                self.presence = Presence::Away(None);
                actions.push(Action::LookBy(now));
            }
        }
        if facts.radio_away.is_none() {
            actions.push(Action::RadioAway(Some(now)));
        }
        actions
    }

    pub(super) fn link_stands(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::Outage(OutageStep::Back)];
        if !matches!(self.presence, Presence::There(_)) {
            self.presence = Presence::There(None);
            actions.push(Action::LookBy(now));
        }
        actions
    }

    /// Sends the notices that are due.
    pub(super) fn tell_outage(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let Some(after) = self.config.matrix.radio_notices else {
            return vec![Action::Outage(OutageStep::ForgetAll)];
        };
        let (up, steady) = (self.up, STEADY.min(after));
        let rest = |seen: &mut Option<Duration>| {
            steady.saturating_sub(up.saturating_sub(*seen.get_or_insert(up)))
        };
        match (&mut self.presence, facts.outage) {
            (Presence::Unknown, _) | (Presence::Away(_), None) => Vec::new(),
            (Presence::Away(seen), Some(outage)) => {
                let due = (outage.since + after).max(now + rest(seen));
                if now < due {
                    vec![Action::LookBy(due)]
                } else {
                    self.tell_away(outage.since, facts, now)
                }
            }
            (Presence::There(seen), Some(outage)) => {
                let rest = rest(seen);
                if rest.is_zero() {
                    // The rooms that know of it are then found in the stored state.
                    let over = OutageStep::Over(outage.back.unwrap_or(now));
                    vec![Action::Outage(over), Action::Next(Chore::Outage)]
                } else {
                    vec![Action::LookBy(now + rest)]
                }
            }
            (Presence::There(_), None) => self.tell_back(facts, now),
        }
    }

    fn tell_away(&self, since: Timestamp, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::Outage(OutageStep::GoesOn)];
        for room in self.idle_rooms(facts) {
            let knows_of_outage = facts.told_rooms.iter().any(|it| it.room == *room);
            let what = format!("{TOLD}{room}");
            if !knows_of_outage
                && let Some(cooldown) = start_cooldown(&facts.cooldowns, what, now + ROOM_AGAIN)
            {
                actions.extend([
                    cooldown,
                    Action::Outage(OutageStep::ToldAway(room.clone(), since)),
                    Action::say(self.away_notice(room, since, now)),
                ]);
            }
        }
        actions
    }

    fn tell_back(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let rooms = facts.told_rooms.iter();
        let over = rooms.filter_map(|it| Some((it, it.back?)));
        let steps = over.flat_map(|(ToldRoom { room, since, .. }, back)| {
            if now.since(back) > OLD_NEWS {
                vec![Action::Outage(OutageStep::OldNews(room.clone()))]
            } else if self.idle_rooms(facts).any(|idle| idle == room) {
                vec![
                    Action::Outage(OutageStep::ToldBack(room.clone())),
                    Action::say(back_notice(room, *since, back)),
                ]
            } else {
                Vec::new()
            }
        });
        steps.collect()
    }

    /// Returns the rooms that the bot can write in and for which nothing waits.
    fn idle_rooms<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a OwnedRoomId> {
        let is_idle = move |joined: &&JoinedRoom| {
            let mut busy = facts.busy.iter();
            joined.may_write
                && joined.tombstone.is_none()
                && self.routes.name_of(&joined.room).is_some()
                && !busy.any(|it| it.as_str() == joined.room.as_str())
        };
        let idle = self.rooms.values().filter(is_idle);
        idle.map(|joined| &joined.room)
    }

    /// Returns the notice that the radio is away; for rooms that transmit, with a word on waiting messages.
    fn away_notice(&self, room: &OwnedRoomId, since: Timestamp, now: Timestamp) -> RoomMessage {
        let away = span::short(now.since(since));
        let waits = match self.check_room(room) {
            Ok(()) => format!(
                " Messages wait for it, and expire after {}.",
                span::short(self.config.meshtastic.max_message_age)
            ),
            Err(_) => String::new(),
        };
        let text = format!(
            "The radio of this bridge has been away for {away}: nothing crosses between this room and the mesh.{waits}"
        );
        notice(room, text, now)
    }
}

/// Returns the notice that the radio is back after an outage.
fn back_notice(room: &OwnedRoomId, since: Timestamp, back: Timestamp) -> RoomMessage {
    let away = span::short(back.since(since));
    let text = format!("The radio of this bridge is back after {away}.");
    notice(room, text, back)
}

/// Both mention their delay if the homeserver was unreachable too.
fn notice(room: &OwnedRoomId, text: String, at: Timestamp) -> RoomMessage {
    let notice = Notice {
        text,
        at: Some(at),
        ..Notice::default()
    };
    notice.for_room(room)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use relay_config::Direction;
    use relay_model::RoomContent;

    #[test]
    fn only_where_something_goes_to_the_mesh_messages_wait() {
        let (room, now) = (room(ROOM), NOON + Duration::from_mins(34));
        let told = |direction| {
            let mut config = config();
            config.matrix_rooms[0].direction = direction;
            let bridge = bridge_of(config);
            let message = bridge.away_notice(&room, NOON, now);
            let RoomContent::Text {
                text,
                suppress,
                notice,
                ..
            } = message.content
            else {
                panic!("not a text")
            };
            assert!(suppress && notice);
            text
        };
        let both = told(Direction::Both);
        assert!(both.contains("away for 34 min"), "{both}");
        assert!(both.contains("expire after"), "{both}");
        assert!(!told(Direction::ToMatrix).contains("expire"));
        let back = back_notice(&room, NOON, now);
        assert!(
            format!("{back:?}").contains("is back after 34 min."),
            "{back:?}"
        );
    }
}
