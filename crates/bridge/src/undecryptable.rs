//! Undecryptable events: whether to keep them until their key comes, and the notice when it did not come in time.

use std::time::Duration;

use super::author_notice::{ROOM_AGAIN, start_cooldown};
use super::{Bridge, action::Action, dropped::DropReason, facts::Facts};
use relay_model::{
    Notice, OwnedRoomId, OwnedUserId, RoomMessage, Timestamp, UndecryptableEvent, Unread, span,
};

/// Maximum number of senders named in a notice.
const MOST_NAMED: usize = 5;

/// Prefix of the cooldown names of these notices.
pub(super) const TOLD: &str = "undecryptable ";

impl Bridge {
    /// Gives up events that waited too long for their key; their room is told once.
    pub(super) fn give_up_keys(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let days = Duration::from_hours(u64::from(self.config.database.keep_days) * 24);
        let mut actions = vec![Action::PruneKeys {
            events: now - days,
            edits: now - self.config.meshtastic.max_message_age,
        }];
        for unread in facts.unread.chunk_by(|one, other| one.room == other.room) {
            let Some(room) = unread.first().map(|it| &it.room) else {
                continue;
            };
            // During the cooldown they wait for the next notice.
            let cooldown =
                start_cooldown(&facts.cooldowns, format!("{TOLD}{room}"), now + ROOM_AGAIN);
            // The room is not joined yet, or no longer mapped: no notice.
            let message = self.unread_notice(room, unread, now);
            let (Some(cooldown), Some(message)) = (cooldown, message) else {
                continue;
            };
            let events = unread.iter().map(|it| it.event.clone()).collect();
            actions.extend([
                Action::GiveUpKeys(room.clone(), events),
                Action::say(message),
                cooldown,
            ]);
        }
        actions
    }

    /// Returns the notice of events whose key did not come in time; `None` if nothing goes from the room to the mesh.
    fn unread_notice(
        &self,
        room: &OwnedRoomId,
        unread: &[Unread],
        now: Timestamp,
    ) -> Option<RoomMessage> {
        self.check_room(room).ok()?;
        let mut senders: Vec<(OwnedUserId, usize)> = Vec::new();
        for event in unread {
            match senders.iter_mut().find(|(user, _)| *user == event.sender) {
                Some((_, count)) => *count += 1,
                None => senders.push((event.sender.clone(), 1)),
            }
        }
        let ages = unread.iter().map(|event| now.since(event.sent_at));
        let (youngest, oldest) = (ages.clone().min()?, ages.max()?);
        let text = format!(
            "Not sent to the mesh: {}, because the encryption keys did not reach this bridge in time. From {}, written {}.",
            match unread.len() {
                1 => "a message could not be read".to_owned(),
                count => format!("{count} messages could not be read"),
            },
            listed(&senders),
            written(youngest, oldest),
        );
        let mentions = senders.into_iter().take(MOST_NAMED).map(|(user, _)| user);
        let notice = Notice {
            text,
            mentions: mentions.collect(),
            ..Notice::default()
        };
        Some(notice.for_room(room))
    }

    /// Decides on an undecryptable event: it is kept if it could be transmitted.
    pub(super) fn undecryptable(
        &self,
        event: &UndecryptableEvent,
        power: i64,
        sent_at: Timestamp,
        facts: &Facts,
    ) -> Action {
        let checked = if facts.already_seen {
            Err(DropReason::Duplicate)
        } else {
            self.check_right(&event.room, &event.sender, power)
        };
        match checked {
            Ok(()) => Action::KeepUndecryptable(Box::new(event.clone()), sent_at, false),
            Err(reason) => Action::Drop(reason),
        }
    }
}

fn listed(senders: &[(OwnedUserId, usize)]) -> String {
    let line = |(user, count): &(OwnedUserId, usize)| match count {
        1 => user.to_string(),
        count => format!("{user} ({count})"),
    };
    let mut names: Vec<String> = senders.iter().take(MOST_NAMED).map(line).collect();
    match senders.len().saturating_sub(MOST_NAMED) {
        0 => {}
        1 => names.push("another person".to_owned()),
        more => names.push(format!("{more} others")),
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

/// Returns in words how long ago something was written.
pub(super) fn written(youngest: Duration, oldest: Duration) -> String {
    let (youngest, oldest) = (span::long(youngest), span::long(oldest));
    if youngest == oldest {
        format!("{oldest} ago")
    } else {
        format!("between {oldest} and {youngest} ago")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use relay_config::{Config, Direction};
    use relay_model::{Event, MatrixEvent, RoomContent};

    fn decided(config: Config, sender: OwnedUserId, facts: &Facts) -> Vec<Action> {
        let event = Event::Matrix(MatrixEvent::Undecryptable {
            event: Box::new(UndecryptableEvent {
                room: room(ROOM),
                event: event("$secret"),
                sender,
                session: "session".into(),
                raw: "{}".into(),
            }),
            sender_power: 0,
            sent_at: NOON,
        });
        bridge_of(config).verdict(&event, facts, NOON)
    }

    fn unread(sender: &str, minutes: u64) -> Unread {
        Unread {
            room: room(ROOM),
            event: event("$secret"),
            sender: user(sender),
            sent_at: NOON - Duration::from_mins(minutes),
        }
    }

    fn told(unread: &[Unread]) -> String {
        let notice = bridge().unread_notice(&room(ROOM), unread, NOON).unwrap();
        match notice.content {
            RoomContent::Text {
                text,
                suppress: true,
                notice: true,
                ..
            } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_without_key_is_kept_if_it_could_go_on_the_air() {
        let nothing = Facts::default();
        let is_kept = |config| {
            let actions = decided(config, alice(), &nothing);
            matches!(actions.as_slice(), [Action::KeepUndecryptable(..)])
        };
        assert!(is_kept(config()));
        let seen = Facts {
            already_seen: true,
            ..Facts::default()
        };
        assert_eq!(
            decided(config(), alice(), &seen),
            [Action::Drop(DropReason::Duplicate)]
        );
        let listens = config_with(vec![route(ROOM, 0, Direction::ToMatrix)]);
        assert_eq!(
            decided(listens, alice(), &nothing),
            [Action::Drop(DropReason::OneWayRoom)]
        );
        let mut closed = config();
        closed.matrix.allowed_users = Some(Vec::new());
        assert_eq!(
            decided(closed, alice(), &nothing),
            [Action::Drop(DropReason::Denied)]
        );
        let mut silent = config();
        silent.meshtastic.broadcast_enabled = false;
        assert_eq!(
            decided(silent, alice(), &nothing),
            [Action::Drop(DropReason::BroadcastOff)]
        );
        // Its channel is known before the key comes, or then.
        let unknown = config_with(vec![route(ROOM, 5, Direction::Both)]);
        assert!(is_kept(unknown));
    }

    #[test]
    fn the_notice_says_how_many_from_whom_and_when() {
        assert_eq!(
            told(&[unread("@alice:example.org", 61)]),
            "Not sent to the mesh: a message could not be read, because the encryption keys did not reach this bridge in \
             time. From @alice:example.org, written 61 minutes ago."
        );
        let several = [
            unread("@alice:example.org", 180),
            unread("@bob:example.org", 90),
            unread("@alice:example.org", 61),
        ];
        assert_eq!(
            told(&several),
            "Not sent to the mesh: 3 messages could not be read, because the encryption keys did not reach this bridge in \
             time. From @alice:example.org (2) and @bob:example.org, written between 3 hours and 61 minutes ago."
        );
        let crowd: Vec<Unread> = (0..8)
            .map(|number| unread(&format!("@u{number}:example.org"), 1))
            .collect();
        let text = told(&crowd);
        assert!(
            text.contains("@u4:example.org and 3 others, written 1 minute ago"),
            "{text}"
        );
    }

    #[test]
    fn a_room_that_only_listens_and_one_that_is_not_mapped_are_told_nothing() {
        let late = [unread("@alice:example.org", 61)];
        let listens = bridge_of(config_with(vec![route(ROOM, 0, Direction::ToMatrix)]));
        assert_eq!(listens.unread_notice(&room(ROOM), &late, NOON), None);
        let elsewhere = room("!elsewhere:example.org");
        assert_eq!(bridge().unread_notice(&elsewhere, &late, NOON), None);
        assert_eq!(bridge().unread_notice(&room(ROOM), &[], NOON), None);
    }
}
