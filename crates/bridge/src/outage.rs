//! What rooms are told of a radio that is away, and of its return (`matrix.radio_notices`).
//!
//! An outage begins when the link is lost, and is over when it has stood for a moment: a radio that flaps is away all the
//! time. It outlives the relay. A room is told of it once, and at most once an hour; that it is over only a room is told
//! that knew of it. Messages go first: nothing is said in a room for which something waits.

use std::time::Duration;

use super::Bridge;
use super::action::{Action, OutageStep};
use super::facts::Facts;
use super::lesson::{ROOM_AGAIN, once};
use relay_model::{Chore, JoinedRoom, Notice, OwnedRoomId, RoomMessage, Timestamp, ToldRoom, span};

/// So long a link has to stand, or to be missed in this run, before it is believed; or as long as a notice takes to be
/// due, if that is shorter. After a power cut the radio needs longer to start than the relay.
const STEADY: Duration = Duration::from_mins(1);
/// After that nobody wants to know any more that it was back.
const OLD_NEWS: Duration = Duration::from_hours(24);
/// The names under which it is remembered that rooms were told begin with this.
pub(super) const TOLD: &str = "radio away ";

/// What this run has seen of the radio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Unknown,
    /// Its link is lost; it was looked at when the relay had run so long.
    Away(Option<Duration>),
    /// It is there; likewise.
    There(Option<Duration>),
}

impl Bridge {
    pub(super) fn link_is_lost(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
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

    /// Tells rooms what they do not know yet.
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
                    // The rooms that know of it are told by what is remembered then.
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
            let is_told = facts.told_rooms.iter().any(|it| it.room == *room);
            let what = format!("{TOLD}{room}");
            if !is_told && let Some(remember) = once(&facts.told, what, now + ROOM_AGAIN) {
                actions.extend([
                    remember,
                    Action::Outage(OutageStep::ToldAway(room.clone(), since)),
                    Action::say(self.away_notice(room, since, now)),
                ]);
            }
        }
        actions
    }

    fn tell_back(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let told = facts.told_rooms.iter();
        let over = told.filter_map(|it| Some((it, it.back?)));
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

    /// Returns the rooms that the bot can write in, and for which nothing waits.
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

    /// Returns the notice that the radio is away. What is written meanwhile waits, in a room from which something goes to
    /// the mesh.
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

/// Returns the notice that the radio, which was away since then, is back.
fn back_notice(room: &OwnedRoomId, since: Timestamp, back: Timestamp) -> RoomMessage {
    let away = span::short(back.since(since));
    let text = format!("The radio of this bridge is back after {away}.");
    notice(room, text, back)
}

/// Both say how late they are if the homeserver was away, too.
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
