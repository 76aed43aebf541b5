//! Tells rooms that the radio is away, and that it is back (`matrix.radio_notices`).
//!
//! An outage begins when the link is lost, and is over when it has stood for a moment: a radio that flaps is away all the
//! time. It outlives the relay. A room is told of it once, and at most once an hour; that it is over only a room is told
//! that knew of it. Messages go first: nothing is said in a room for which something waits.

use std::collections::HashSet;
use std::time::Duration;

use tracing::info;

use crate::model::{OwnedRoomId, RoomMessage, Timestamp};
use crate::store::outbox_room::{self, NewRoomRow};
use crate::store::{StoreError, Tx, outage, told};

use super::{Ledger, Outcome};

/// So long a link has to stand, or to be missed in this run, before it is believed; or as long as a notice takes to be
/// due, if that is shorter. After a power cut the radio needs longer to start than the relay.
const STEADY: Duration = Duration::from_mins(1);
/// A room is told again after that.
const TOLD_AGAIN: Duration = Duration::from_hours(1);
/// After that nobody wants to know any more that it was back.
const OLD_NEWS: Duration = Duration::from_hours(24);

/// What this run has seen of the radio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Its link is lost; housekeeping noticed that when the relay had run so long.
    Away(Option<Duration>),
    /// It is there; likewise.
    There(Option<Duration>),
}

impl Presence {
    /// Returns for how long it has been like that, as far as housekeeping knows.
    fn lasts(noticed: &mut Option<Duration>, up: Duration) -> Duration {
        up.saturating_sub(*noticed.get_or_insert(up))
    }
}

impl Ledger {
    /// Takes note that the link is lost.
    pub(super) fn outage_begins(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if self.bridge.radio_notices().is_none() {
            return Ok(());
        }
        if !matches!(self.presence, Presence::Away(_)) {
            self.presence = Presence::Away(None);
            outcome.chores_by(now);
        }
        outage::lost(tx, now)
    }

    /// Takes note that the link stands.
    pub(super) fn outage_ends(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if !matches!(self.presence, Presence::There(_)) {
            self.presence = Presence::There(None);
            outcome.chores_by(now);
        }
        outage::back(tx, now)
    }

    /// Tells rooms what they do not know yet.
    pub(super) fn tell_outage(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        up: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let Some(after) = self.bridge.radio_notices() else {
            return outage::forget_all(tx);
        };
        let steady = STEADY.min(after);
        let outage = outage::current(tx)?;
        match (&mut self.presence, outage) {
            (Presence::Unknown, _) | (Presence::Away(_), None) => return Ok(()),
            (Presence::Away(noticed), Some(outage)) => {
                let rest = steady.saturating_sub(Presence::lasts(noticed, up));
                let due = (outage.since + after).max(now + rest);
                if now < due {
                    outcome.chores_by(due);
                } else {
                    outage::goes_on(tx)?;
                    self.tell_away(tx, outage.since, now, outcome)?;
                }
            }
            (Presence::There(noticed), Some(outage)) => {
                let rest = steady.saturating_sub(Presence::lasts(noticed, up));
                if rest.is_zero() {
                    outage::end(tx, outage.back.unwrap_or(now))?;
                    self.tell_back(tx, now, outcome)?;
                } else {
                    outcome.chores_by(now + rest);
                }
            }
            (Presence::There(_), None) => self.tell_back(tx, now, outcome)?,
        }
        Ok(())
    }

    fn tell_away(
        &self,
        tx: &Tx<'_>,
        since: Timestamp,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let known: HashSet<OwnedRoomId> = outage::told(tx)?.into_iter().map(|it| it.room).collect();
        for room in self.idle_rooms(tx)? {
            let what = format!("radio away {room}");
            if known.contains(&room) || told::is_told(tx, &what, now)? {
                continue;
            }
            told::remember(tx, &what, now + TOLD_AGAIN)?;
            outage::told_of(tx, &room, since)?;
            info!(%room, minutes = now.since(since).as_secs() / 60, "the room is told that the radio is away");
            let message = self.bridge.away_notice(&room, since, now);
            say(tx, message, now, outcome)?;
        }
        Ok(())
    }

    fn tell_back(
        &self,
        tx: &Tx<'_>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let told = outage::told(tx)?;
        if told.is_empty() {
            return Ok(());
        }
        let idle = self.idle_rooms(tx)?;
        for it in told {
            let Some(back) = it.back else { continue };
            if now.since(back) > OLD_NEWS {
                outage::forget(tx, &it.room)?;
            } else if idle.contains(&it.room) {
                outage::forget(tx, &it.room)?;
                info!(room = %it.room, "the room is told that the radio is back");
                let message = self.bridge.back_notice(&it.room, it.since, back);
                say(tx, message, now, outcome)?;
            }
        }
        Ok(())
    }

    /// Returns the rooms that the bot can write in, and for which nothing waits.
    fn idle_rooms(&self, tx: &Tx<'_>) -> Result<Vec<OwnedRoomId>, StoreError> {
        let waiting = outbox_room::waiting(tx)?;
        let idle = self.rooms.values().filter(|joined| {
            let busy = waiting
                .iter()
                .any(|it| it.room.as_str() == joined.room.as_str());
            joined.may_write && !busy && joined.tombstone.is_none() && !joined.configured.is_empty()
        });
        let mut rooms: Vec<OwnedRoomId> = idle.map(|joined| joined.room.clone()).collect();
        rooms.sort();
        Ok(rooms)
    }
}

fn say(
    tx: &Tx<'_>,
    message: RoomMessage,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    outbox_room::insert(tx, &NewRoomRow::of_bot(&message), now)?;
    outcome.rooms.insert(message.room);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOON, config, joined, ready};
    use super::*;
    use crate::config::Config;
    use crate::model::{Event, RadioEvent, RoomContent, RoomOrAliasId};
    use crate::store::Store;

    /// A relay's tables, and the run that is under way.
    struct Run {
        store: Store,
        config: Config,
        ledger: Ledger,
        /// How long the world has existed, and when the run began.
        now: Duration,
        began: Duration,
    }

    const MINUTE: Duration = Duration::from_mins(1);

    impl Run {
        fn new() -> Self {
            let mut store = Store::in_memory().unwrap();
            let config = config();
            let ledger = store.transaction(|tx| Ledger::open(tx, &config, NOON));
            let mut run = Self {
                ledger: ledger.unwrap(),
                store,
                config,
                now: Duration::ZERO,
                began: Duration::ZERO,
            };
            run.happens(&joined());
            run
        }

        fn restart(&mut self) {
            let now = NOON + self.now;
            let ledger = self
                .store
                .transaction(|tx| Ledger::open(tx, &self.config, now));
            self.ledger = ledger.unwrap();
            self.began = self.now;
            self.happens(&joined());
        }

        fn happens(&mut self, event: &Event) {
            let (ledger, now) = (&mut self.ledger, NOON + self.now);
            let done = self
                .store
                .transaction(|tx| ledger.event(tx, event, now, &mut Outcome::default()));
            done.unwrap();
        }

        fn lost(&mut self) {
            let cause = "cut".to_owned();
            self.happens(&Event::Radio(RadioEvent::Lost { cause }));
        }

        fn ready(&mut self) {
            self.happens(&ready(|_| {}));
        }

        /// Lets time pass, with housekeeping as the daemon does it; returns what the room is told meanwhile. The
        /// homeserver takes it.
        fn pass(&mut self, time: Duration) -> Vec<String> {
            let end = self.now + time;
            let mut told = Vec::new();
            while self.now < end {
                self.now += Duration::from_secs(20);
                self.chores();
                told.extend(self.sent());
            }
            told
        }

        fn chores(&mut self) {
            let (ledger, now, up) = (
                &mut self.ledger,
                NOON + self.now,
                self.now.saturating_sub(self.began),
            );
            let done = self
                .store
                .transaction(|tx| ledger.housekeeping(tx, now, up, &mut Outcome::default()));
            done.unwrap();
        }

        fn sent(&mut self) -> Vec<String> {
            let sent = self.store.transaction(|tx| {
                let mut texts = Vec::new();
                let room: &RoomOrAliasId = "!room:example.org".try_into().unwrap();
                while let Some(row) = outbox_room::next(tx, room)? {
                    if let RoomContent::Text {
                        text,
                        notice,
                        suppress,
                        ..
                    } = row.content
                    {
                        assert!(notice && suppress, "{text}");
                        texts.push(text);
                    }
                    outbox_room::sent(tx, row.id, None)?;
                }
                Ok(texts)
            });
            sent.unwrap()
        }
    }

    #[test]
    fn a_room_is_told_of_a_long_outage_and_of_its_end() {
        let mut run = Run::new();
        run.ready();
        assert_eq!(run.pass(5 * MINUTE), [""; 0]);
        run.lost();
        assert_eq!(run.pass(9 * MINUTE), [""; 0]);
        let told = run.pass(MINUTE);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("away for 10 min"), "{told:?}");
        assert_eq!(run.pass(24 * MINUTE), [""; 0]);
        run.ready();
        let told = run.pass(2 * MINUTE);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("back after 34 min"), "{told:?}");
        assert_eq!(run.pass(60 * MINUTE), [""; 0]);
    }

    #[test]
    fn a_short_outage_is_nobodys_news() {
        let mut run = Run::new();
        run.ready();
        run.lost();
        run.pass(9 * MINUTE);
        run.ready();
        assert_eq!(run.pass(60 * MINUTE), [""; 0]);
    }

    #[test]
    fn a_restart_beside_a_radio_that_is_there_says_nothing() {
        let mut run = Run::new();
        run.ready();
        run.pass(MINUTE);
        for _ in 0..3 {
            run.now += 30 * MINUTE;
            run.restart();
            run.chores();
            run.ready();
            assert_eq!(run.pass(20 * MINUTE), [""; 0]);
        }
    }

    #[test]
    fn an_outage_goes_on_over_restarts_and_is_told_once() {
        let mut run = Run::new();
        run.ready();
        run.lost();
        run.pass(5 * MINUTE);
        run.restart();
        // The relay does not know yet whether the radio is there.
        assert_eq!(run.pass(MINUTE), [""; 0]);
        run.lost();
        let told = run.pass(5 * MINUTE);
        assert!(told[0].contains("away for 10 min"), "{told:?}");
        run.restart();
        run.lost();
        assert_eq!(run.pass(120 * MINUTE), [""; 0]);
        run.restart();
        run.ready();
        let told = run.pass(2 * MINUTE);
        assert!(told[0].contains("back after"), "{told:?}");
    }

    #[test]
    fn a_radio_that_came_back_while_the_relay_was_away_is_not_missed() {
        let mut run = Run::new();
        run.ready();
        run.lost();
        run.pass(MINUTE);
        run.now += 120 * MINUTE;
        run.restart();
        run.chores();
        run.lost();
        // It has started beside the relay, and needs longer.
        assert_eq!(run.pass(MINUTE / 3), [""; 0]);
        run.ready();
        assert_eq!(run.pass(20 * MINUTE), [""; 0]);
    }

    #[test]
    fn a_radio_that_flaps_makes_one_pair_of_notices_an_hour() {
        let mut run = Run::new();
        run.ready();
        let mut told = Vec::new();
        // There for half a minute each time: that is away.
        for _ in 0..60 {
            run.lost();
            told.extend(run.pass(2 * MINUTE));
            run.ready();
            told.extend(run.pass(MINUTE / 3));
        }
        told.extend(run.pass(2 * MINUTE));
        assert_eq!(told.len(), 2, "{told:?}");
        // There for five minutes each time, away for eleven.
        let mut told = Vec::new();
        for _ in 0..15 {
            run.lost();
            told.extend(run.pass(11 * MINUTE));
            run.ready();
            told.extend(run.pass(5 * MINUTE));
        }
        assert!((4..=8).contains(&told.len()), "in 4 hours: {told:?}");
        assert_eq!(told.len() % 2, 0);
    }

    #[test]
    fn messages_go_first() {
        let mut run = Run::new();
        run.ready();
        run.lost();
        let waits = super::super::tests::hello_of_node();
        run.happens(&waits);
        for _ in 0..60 {
            run.now += MINUTE;
            run.chores();
        }
        let count = run.store.transaction(outbox_room::count).unwrap();
        assert_eq!(count, 1, "the homeserver has not taken the text yet");
        run.ready();
        run.now += MINUTE;
        run.chores();
        run.now += MINUTE;
        run.chores();
        let count = run.store.transaction(outbox_room::count).unwrap();
        assert_eq!(count, 1, "the outage is over, and nobody was told of it");
    }

    #[test]
    fn switched_off_it_says_nothing_and_forgets_what_it_has_said() {
        let mut run = Run::new();
        run.ready();
        run.lost();
        assert_eq!(run.pass(11 * MINUTE).len(), 1);
        run.config.matrix.radio_notices = None;
        run.restart();
        run.lost();
        run.pass(MINUTE);
        run.ready();
        assert_eq!(run.pass(20 * MINUTE), [""; 0]);
        run.config.matrix.radio_notices = Some(10 * MINUTE);
        run.restart();
        run.ready();
        assert_eq!(run.pass(20 * MINUTE), [""; 0]);
    }
}
