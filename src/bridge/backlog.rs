//! What comes late: which messages of Matrix are a backlog, and how a room is told of what expired.

use std::time::Duration;

use super::late::written;
use crate::config::Config;
use crate::model::{Expired, Notice, RoomMessage, Timestamp, span};

/// An outage that was shorter leaves no backlog.
pub const OUTAGE: Duration = Duration::from_mins(2);

/// Returns whether a message that comes to us now belongs to a backlog: it was written long ago, or before the end of
/// the outage whose messages are `gathering` in its room since then.
#[must_use]
pub fn is_backlog(written: Timestamp, gathering: Option<Timestamp>, now: Timestamp) -> bool {
    now.since(written) > OUTAGE || gathering.is_some_and(|since| written <= since)
}

/// Returns the notice that tells a room of what expired in it, as an answer to the newest of them.
pub(super) fn expired_notice(config: &Config, expired: &Expired, now: Timestamp) -> RoomMessage {
    let when = written(now.since(expired.newest), now.since(expired.oldest));
    let what = match expired.messages {
        0 | 1 => format!("Not sent to the mesh: a message written {when}."),
        several => format!("Not sent to the mesh: {several} messages written {when}."),
    };
    let rule = format!(
        "What waits longer than {} expires, and after an outage only the {} newest messages of a room are sent.",
        span::short(config.meshtastic.max_message_age),
        config.meshtastic.backlog.newest
    );
    let notice = Notice {
        text: format!("{what} {rule}"),
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
    use crate::model::RoomContent;

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
        let one = Expired {
            messages: 1,
            newest: NOON,
            ..expired
        };
        let RoomContent::Text { text, .. } = expired_notice(&config(), &one, now).content else {
            panic!("a text");
        };
        assert!(text.starts_with("Not sent to the mesh: a message written 3 hours ago."));
    }
}
