//! Late messages: which Matrix messages form a backlog, and the notice of expired ones.

use std::time::Duration;

use super::author_notice::{ROOM_AGAIN, start_cooldown};
use super::{Bridge, action::Action, facts::Facts, undecryptable::written};
use relay_config::{Config, Meshtastic};
use relay_model::{
    Chore, Expired, Gathering, MeshOrder, MeshSource, Notice, RoomMessage, Sign, Timestamp, span,
};

/// Minimum duration of an outage that leaves a backlog; also the age from which a message belongs to one.
const OUTAGE: Duration = Duration::from_mins(2);
/// Maximum time from a radio's return until it is detected and has sent its configuration; not counted as outage.
const RETURN: Duration = Duration::from_secs(10);
/// When a room's backlog counts as complete.
pub const GATHERING: Gathering = Gathering {
    quiet: Duration::from_secs(10),
    longest: Duration::from_mins(2),
};
/// Maximum number of waiting messages of one sender before senders take turns.
const IN_A_ROW: u32 = 3;
/// How long nothing more must have expired before a room is told of it.
const QUIET: Duration = Duration::from_secs(10);
/// Maximum time after the first expired message until a room is told, while messages of it still wait.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);
/// Maximum number of messages expired together that each get a sign; of more only the newest does.
pub(super) const FEW: u32 = 5;
/// Prefix of the cooldown names of expiry notices.
pub(super) const TOLD: &str = "expired ";

impl Bridge {
    /// After an outage, waiting messages form a backlog.
    pub(super) fn radio_is_back(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let Some(since) = facts.radio_away else {
            return Vec::new();
        };
        let mut actions = vec![Action::RadioAway(None)];
        let lasted = now.since(since);
        if lasted > OUTAGE + RETURN {
            actions.push(Action::AfterOutage {
                lasted,
                late: OUTAGE,
                newest: self.config.meshtastic.backlog.newest,
            });
            actions.push(Action::Next(Chore::Expired));
        }
        actions
    }

    /// Returns the backlog actions for a message that was accepted for the mesh.
    pub(super) fn gather(&self, source: &MeshSource, facts: &Facts, now: Timestamp) -> Vec<Action> {
        if !is_backlog(source.sent_at, facts.gathering, now) {
            return Vec::new();
        }
        let (room, event) = (source.room.clone(), source.event.clone());
        let newest = self.config.meshtastic.backlog.newest;
        let to_backlog = Action::ToBacklog(room, event, newest);
        vec![to_backlog, Action::Next(Chore::Expired)]
    }

    /// Tells rooms of their expired messages, once all of an outage have expired.
    pub(super) fn tell_expired(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        for expired in &facts.expired {
            let complete = if expired.more_waits {
                expired.since + LONGEST_SILENCE
            } else {
                expired.last + QUIET
            };
            // A future timestamp, from a clock that was ahead, counts as due.
            if now < complete && expired.last <= now {
                actions.push(Action::LookBy(complete));
                continue;
            }
            // The notice at most once an hour, the sign each time.
            let here = facts.without_sign.iter();
            for (room, event) in here.filter(|(room, _)| *room == expired.room) {
                actions.push(Action::Sign(room.clone(), event.clone(), Sign::Expired));
            }
            let what = format!("{TOLD}{}", expired.room);
            if let Some(cooldown) = start_cooldown(&facts.cooldowns, what, now + ROOM_AGAIN) {
                actions.extend([
                    cooldown,
                    Action::ForgetExpired(expired.room.clone(), expired.messages),
                    Action::say(expired_notice(&self.config, expired, now)),
                ]);
            }
        }
        actions
    }
}

/// Returns the order in which messages are sent to the mesh.
pub fn mesh_order(config: &Meshtastic) -> MeshOrder {
    MeshOrder {
        in_a_row: IN_A_ROW,
        gathering: GATHERING,
        spacing: config.backlog.spacing,
    }
}

/// Returns whether an incoming message belongs to a backlog: it is old, or was written before `gathering`, when its room began
/// to gather one.
pub(super) fn is_backlog(written: Timestamp, gathering: Option<Timestamp>, now: Timestamp) -> bool {
    now.since(written) > OUTAGE || gathering.is_some_and(|since| written <= since)
}

/// Returns the notice of a room's expired messages, as a reply to the newest.
fn expired_notice(config: &Config, expired: &Expired, now: Timestamp) -> RoomMessage {
    let when = written(now.since(expired.newest), now.since(expired.oldest));
    let counted = |count, one: &str, several| match count {
        0 => None,
        1 => Some(one.to_owned()),
        more => Some(format!("{more} {several}")),
    };
    let messages = expired.messages.saturating_sub(expired.edits);
    let what = [
        counted(messages, "a message", "messages"),
        counted(expired.edits, "an edit", "edits"),
    ];
    let what: Vec<String> = what.into_iter().flatten().collect();
    let what = what.join(" and ");
    let rule = format!(
        "What waits longer than {} expires, and after an outage only the {} newest messages of a room are sent.",
        span::short(config.meshtastic.max_message_age),
        config.meshtastic.backlog.newest
    );
    let notice = Notice {
        text: format!("Not sent to the mesh: {what} written {when}. {rule}"),
        reply_to: Some(expired.event.clone()),
        thread: expired.thread.clone(),
        ..Notice::default()
    };
    notice.for_room(&expired.room)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use relay_model::RoomContent;

    #[test]
    fn a_message_is_backlog_if_it_comes_late_or_with_late_ones() {
        let minutes = |count| NOON + Duration::from_mins(count);
        assert!(!is_backlog(NOON, None, minutes(2)));
        assert!(is_backlog(NOON, None, minutes(3)));
        assert!(is_backlog(NOON, Some(minutes(1)), minutes(1)));
        assert!(!is_backlog(minutes(1), Some(NOON), minutes(1)));
        assert!(
            !is_backlog(minutes(9), None, NOON),
            "the server's clock is ahead"
        );
    }

    #[test]
    fn a_room_is_told_how_many_expired_and_from_when() {
        let expired = Expired {
            room: room(ROOM),
            messages: 280,
            edits: 0,
            oldest: NOON,
            newest: NOON + Duration::from_hours(1),
            event: event("$newest"),
            thread: None,
            since: NOON,
            last: NOON,
            more_waits: false,
        };
        let now = NOON + Duration::from_hours(3);
        let RoomContent::Text {
            text,
            notice,
            suppress,
            reply_to,
            ..
        } = expired_notice(&config(), &expired, now).content
        else {
            panic!("a text");
        };
        assert_eq!(
            text,
            "Not sent to the mesh: 280 messages written between 3 hours and 2 hours ago. What waits longer than 60 min \
             expires, and after an outage only the 20 newest messages of a room are sent."
        );
        assert!(notice && suppress);
        assert_eq!(reply_to, Some(expired.event.clone().into()));
        for (messages, edits, what) in [
            (1, 0, "a message"),
            (1, 1, "an edit"),
            (3, 1, "2 messages and an edit"),
            (3, 2, "a message and 2 edits"),
        ] {
            let some = Expired {
                messages,
                edits,
                newest: NOON,
                ..expired.clone()
            };
            let RoomContent::Text { text, .. } = expired_notice(&config(), &some, now).content
            else {
                panic!("a text");
            };
            let expected = format!("Not sent to the mesh: {what} written 3 hours ago.");
            assert!(text.starts_with(&expected), "{text}");
        }
    }
}
