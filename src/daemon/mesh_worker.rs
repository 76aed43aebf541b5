//! One worker per (mesh destination, lane): submits the row whose turn it is to the radio's pacer, and the next one once the
//! radio's answer is stored. The pacer decides which of the submitted packets goes on the air, and when.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::DATABASE_DELAY;
use relay_config::{Config, LongMessages, Meshtastic};
use relay_model::{
    Clock, Destination, Explained as _, Lane, MeshContent, MeshOrder, RadioMessage, RadioPayload,
    Timestamp, span,
};
use relay_radio::Submission;
use relay_store::{Database, Next, Result, Store, Tx, drafts, mesh_report, outbox_mesh};

/// Minimum time between two look-ups of a row that is due but cannot be sent yet.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The configured rules by which rows are chosen and split.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeshRules {
    pub(super) order: MeshOrder,
    pub(super) long_messages: LongMessages,
}

impl MeshRules {
    pub(super) fn of(config: &Meshtastic) -> Self {
        Self {
            order: relay_bridge::mesh_order(config),
            long_messages: config.long_messages,
        }
    }
}

/// Shared by the workers of all lanes.
#[derive(Clone)]
pub(super) struct MeshSide {
    pub(super) database: Database,
    pub(super) submissions: mpsc::Sender<Submission>,
    /// Whether the link is ready. Until then rows stay in the table, where they can be withdrawn.
    pub(super) ready: watch::Receiver<bool>,
    /// Whether the channel's load and the duty cycle permit more than urgent texts. Until then other rows stay in the table.
    pub(super) air: watch::Receiver<bool>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) clock: Clock,
}

/// Hands the rows of one destination and lane to the pacer in their turn, one at a time.
pub(super) struct MeshWorker {
    pub(super) destination: Destination,
    pub(super) lane: Lane,
    /// Notified when the table may have a new row.
    pub(super) wake: Arc<Notify>,
    pub(super) side: MeshSide,
    /// Idle time after which the worker ends; `None`: never.
    pub(super) idle: Option<Duration>,
}

impl MeshWorker {
    /// Runs until `stop`, or until nothing has come for `idle`. All state is in the table: a step that `stop` cancels loses
    /// nothing.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let Some(handed_over) = stop.run_until_cancelled(self.step()).await else {
                return;
            };
            let pause = match handed_over {
                Ok(Step::Nothing) => None,
                Ok(Step::Wait(wait)) => Some(wait),
                Ok(Step::RadioGone) => return,
                Err(error) => {
                    error!(
                        destination = %self.destination,
                        error = &error as &dyn Error,
                        hint = error.hint(),
                        "cannot read the outbox, trying again"
                    );
                    Some(DATABASE_DELAY)
                }
            };
            let wait = pause.or(self.idle);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => if pause.is_none() { return },
            }
        }
    }

    /// Waits until a row of this lane may be submitted. Fails when the radio's task has ended.
    async fn may_submit(&mut self) -> Result<(), watch::error::RecvError> {
        loop {
            self.side.ready.wait_for(|ready| *ready).await?;
            if self.lane == Lane::Urgent || *self.side.air.borrow() {
                return Ok(());
            }
            self.side.air.wait_for(|open| *open).await?;
        }
    }

    /// Cancel safe: a row without an answer stays in the table as submitted, and is sent again at the next start under
    /// the same packet id.
    async fn step(&mut self) -> Result<Step> {
        if self.may_submit().await.is_err() {
            return Ok(Step::RadioGone);
        }
        let (destination, lane) = (self.destination, self.lane);
        let rules = MeshRules::of(&self.side.config.borrow().meshtastic);
        let now = self.side.clock.now();
        let work = move |store: &mut Store| hand_over(store, (destination, lane), rules, now);
        let next = self.side.database.run(work);
        let submission = match next.await? {
            Next::Due(submission) => submission,
            Next::Later(due) => return Ok(Step::Wait(due.since(now).max(SHORTEST_WAIT))),
            Next::Nothing => return Ok(Step::Nothing),
        };
        Ok(match self.side.submissions.send(submission).await {
            // The event loop notifies `wake` when the answer is stored.
            Ok(()) => Step::Nothing,
            Err(_) => Step::RadioGone,
        })
    }
}

/// Returns the next packet of a destination and lane, and marks its row as submitted; nothing while the radio has not
/// answered for the previous one.
///
/// A text can change until its first submission (an edit, its age), and a radio drops the second of two texts under one id.
/// So the first submission is committed with an fsync. A repetition is not: if a power cut loses its commit, the same
/// packet is sent once more.
pub(super) fn hand_over(
    store: &mut Store,
    queue: (Destination, Lane),
    rules: MeshRules,
    now: Timestamp,
) -> Result<Next<Submission>> {
    if let Some(next) = store.commit_relaxed(|tx| take(tx, queue, rules, now, false))? {
        return Ok(next);
    }
    let taken = store.transaction(|tx| take(tx, queue, rules, now, true))?;
    Ok(taken.unwrap_or(Next::Nothing))
}

/// Looks up the next row, renders its packets if it is a text, and stores them. Returns `None`, and stores nothing, if the
/// commit needs an fsync and has none (`is_safe`).
fn take(
    tx: &Tx<'_>,
    (destination, lane): (Destination, Lane),
    rules: MeshRules,
    now: Timestamp,
    is_safe: bool,
) -> Result<Option<Next<Submission>>> {
    tx.at(now);
    if outbox_mesh::is_asked(tx, destination, lane)? {
        return Ok(Some(Next::Nothing));
    }
    let Some(row) = outbox_mesh::next(tx, destination, lane, &rules.order, now)? else {
        let due = outbox_mesh::next_due(tx, destination, lane, &rules.order, now)?;
        return Ok(Some(due.map_or(Next::Nothing, Next::Later)));
    };
    if row.may_change && !is_safe {
        return Ok(None);
    }
    let outbox = row.id;
    let handed_over = tx.apart(|| {
        let payload = match row.content {
            MeshContent::Packet(payload) => payload,
            MeshContent::Text(draft) => {
                let written = row.source.map(|source| source.sent_at);
                let age = written.and_then(|written| span::lateness(written, now));
                let packets = relay_bridge::render(&draft, age, &rules.long_messages);
                drafts::make_packets(tx, outbox, (&packets.first, &packets.further), now)?;
                RadioPayload::Text {
                    text: packets.first,
                    reply_to: draft.reply_to,
                }
            }
        };
        Ok(mesh_report::submitted(tx, outbox, now)?.then_some(payload))
    })?;
    let payload = match handed_over {
        Ok(Some(payload)) => payload,
        // The row was damaged, and has ended: the next row is due.
        Ok(None) => return Ok(Some(Next::Later(now))),
        Err(error) => {
            mesh_report::refuse_waiting(tx, outbox, None)?;
            tx.log(move || {
                let error = &error as &dyn Error;
                error!(%outbox, error, "a packet for the mesh is given up; please report this");
            });
            return Ok(Some(Next::Later(now)));
        }
    };
    Ok(Some(Next::Due(Submission {
        outbox,
        packet: row.packet,
        channel: row.channel,
        message: RadioMessage {
            destination,
            lane,
            payload,
        },
    })))
}

/// What the worker does next.
enum Step {
    Nothing,
    Wait(Duration),
    RadioGone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_config::Connection;
    use relay_model::{
        ChannelIndex, Draft, Fingerprint, Heading, MeshMessage, MeshRowId, MeshSource, MeshState,
        NodeNum, PacketId,
    };
    use relay_store::testing::waiting_packets;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    struct Bench {
        worker: MeshWorker,
        submitted: mpsc::Receiver<Submission>,
        air: watch::Sender<bool>,
        _ready: watch::Sender<bool>,
    }

    fn config() -> Config {
        let wire = Connection::Serial { serial_port: None };
        Config::new(wire, Vec::new())
    }

    fn rules() -> MeshRules {
        MeshRules::of(&config().meshtastic)
    }

    fn bench(store: Store, destination: Destination, lane: Lane) -> Bench {
        let (database, _end) = Database::start(store).unwrap();
        let (submissions, submitted) = mpsc::channel(1);
        let (link, ready) = watch::channel(true);
        let (open, air) = watch::channel(true);
        let worker = MeshWorker {
            destination,
            lane,
            wake: Arc::new(Notify::new()),
            side: MeshSide {
                database,
                submissions,
                ready,
                air,
                config: watch::channel(Arc::new(config())).1,
                clock: Clock::new(|| (NOON, Duration::ZERO)),
            },
            idle: Some(Duration::from_millis(1)),
        };
        Bench {
            worker,
            submitted,
            air: open,
            _ready: link,
        }
    }

    const QUEUE: (Destination, Lane) = (Destination::Channel(ChannelIndex::PRIMARY), Lane::Message);

    fn later(minutes: u64) -> Timestamp {
        NOON + Duration::from_mins(minutes)
    }

    /// Alice's text, written at noon.
    fn text(said: &str) -> MeshMessage {
        MeshMessage {
            destination: QUEUE.0,
            channel: None,
            bound: false,
            lane: QUEUE.1,
            content: MeshContent::Text(Draft {
                heading: Heading {
                    prefix: "Alice[M]: ".to_owned(),
                    label: "Alice".to_owned(),
                },
                text: said.to_owned(),
                packets: 1,
                ..Draft::default()
            }),
            source: Some(Box::new(MeshSource {
                room: "!room:example.org".try_into().unwrap(),
                event: "$hello:example.org".try_into().unwrap(),
                thread: None,
                sender: "@alice:example.org".try_into().unwrap(),
                sent_at: NOON,
                alert: false,
            })),
            not_before: None,
            expires: later(60),
        }
    }

    fn accepted(said: &str) -> (Store, MeshRowId, PacketId) {
        let mut store = Store::in_memory().unwrap();
        let row = store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &text(said), NOON));
        let (id, packet) = row.unwrap();
        (store, id, packet)
    }

    /// What is handed over next: its id, and its text.
    fn next(store: &mut Store, now: Timestamp) -> Option<(PacketId, String)> {
        match hand_over(store, QUEUE, rules(), now).unwrap() {
            Next::Due(submission) => match submission.message.payload {
                RadioPayload::Text { text, .. } => Some((submission.packet, text)),
                RadioPayload::Tapback { emoji, .. } => panic!("{emoji}"),
            },
            Next::Later(_) | Next::Nothing => None,
        }
    }

    /// How many packets wait.
    fn packets(store: &mut Store) -> u64 {
        store.transaction(waiting_packets).unwrap()
    }

    #[test]
    fn an_old_text_says_so_when_its_turn_comes_and_stays_as_it_is_from_then_on() {
        for (minutes, expected) in [(5, "Alice[M]: hello"), (6, "Alice[M]: (6 min ago) hello")] {
            let (mut store, id, packet) = accepted("hello");
            let handed = next(&mut store, later(minutes)).unwrap();
            assert_eq!(handed, (packet, expected.to_owned()));
            // The radio may have sent it.
            let again = store.transaction(|tx| {
                mesh_report::retry(tx, id, packet, later(20), false, "link lost")
            });
            again.unwrap();
            assert_eq!(next(&mut store, later(20)), Some(handed.clone()));
            // Under another id it says the same.
            let again = store
                .transaction(|tx| mesh_report::retry(tx, id, packet, later(30), true, "too fast"));
            again.unwrap();
            let (other, text) = next(&mut store, later(30)).unwrap();
            assert!(other != packet && text == handed.1);
        }
    }

    #[test]
    fn what_is_handed_over_says_for_which_channel_it_is_meant() {
        let mut store = Store::in_memory().unwrap();
        for channel in [Some(Fingerprint([7; 32])), None] {
            let message = MeshMessage {
                channel,
                ..text("hello")
            };
            let handed = store.transaction(|tx| {
                let (id, _) = outbox_mesh::insert(tx, NodeNum(1), &message, NOON)?;
                let handed = take(tx, QUEUE, rules(), NOON, true)?;
                mesh_report::accepted(tx, id, NOON)?;
                Ok(handed)
            });
            match handed.unwrap() {
                Some(Next::Due(submission)) => assert_eq!(submission.channel, channel),
                other => panic!("nothing is due: {other:?}"),
            }
        }
    }

    #[test]
    fn a_text_that_was_never_written_to_the_radio_becomes_packets_anew() {
        // The prefix with the age makes the text one packet longer.
        let expected = "x".repeat(222);
        let (mut store, id, packet) = accepted(&expected);
        let handed = next(&mut store, later(6)).unwrap();
        assert!(
            handed.1.starts_with("Alice[M]: (6 min ago) 1/2 xx"),
            "{handed:?}"
        );
        assert_eq!(packets(&mut store), 1);
        let back =
            store.transaction(|tx| mesh_report::not_tried(tx, id, packet, later(6), "link lost"));
        back.unwrap();
        assert_eq!(packets(&mut store), 2);
        let (again, text) = next(&mut store, later(20)).unwrap();
        assert_eq!(again, packet);
        assert!(text.starts_with("Alice[M]: (20 min ago) 1/2 xx"), "{text}");
        assert_eq!(packets(&mut store), 1);
    }

    #[test]
    fn the_cut_into_parts_holds_for_all_of_them() {
        let (mut store, id, _) = accepted(&"word ".repeat(70));
        let (_, first) = next(&mut store, NOON).unwrap();
        assert!(first.starts_with("Alice[M]: 1/2 word"), "{first}");
        assert_eq!(next(&mut store, NOON), None, "the radio has not taken it");
        let taken = store.transaction(|tx| {
            mesh_report::let_finish(tx, id, later(69))?;
            mesh_report::accepted(tx, id, later(59))
        });
        assert!(taken.unwrap());
        let (_, second) = next(&mut store, later(61)).unwrap();
        assert!(second.starts_with("Alice 2/2: word"), "{second}");
        assert_eq!(next(&mut store, later(61)), None);
    }

    #[test]
    fn no_power_cut_lets_a_text_change_under_an_id_that_the_radio_may_have_sent() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(&home.path().join("relay.sqlite")).unwrap();
        let row = store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &text("hello"), NOON));
        let (id, mut packet) = row.unwrap();
        let state = |store: &mut Store| store.transaction(|tx| mesh_report::state(tx, id)).unwrap();
        for minutes in [1, 20] {
            let handed = next(&mut store, later(minutes)).unwrap();
            assert_eq!(handed, (packet, "Alice[M]: hello".to_owned()));
            store = store.after_power_cut();
            assert_eq!(state(&mut store), Some(MeshState::Submitted));
            let changed = store.transaction(|tx| {
                mesh_report::recover(tx)?;
                Ok(drafts::change(tx, id, &Draft::default()).is_ok())
            });
            assert!(!changed.unwrap());
            // The text is late now, but its packet must not change.
            assert_eq!(next(&mut store, later(minutes + 10)), Some(handed));
            store = store.after_power_cut();
            // A repetition is committed without an fsync.
            assert_eq!(state(&mut store), Some(MeshState::Waiting));
            // The radio has not been given a packet under the next id either.
            let again = store.transaction(|tx| {
                mesh_report::submitted(tx, id, NOON)?;
                mesh_report::retry(tx, id, packet, NOON, true, "too fast")
            });
            let mesh_report::Retried::Waits(other) = again.unwrap() else {
                panic!("it waits");
            };
            packet = other;
        }
    }

    #[test]
    fn of_a_queue_the_radio_is_asked_to_take_one_packet_at_a_time() {
        let (mut store, first, packet) = accepted("first");
        let second =
            store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &text("second"), NOON));
        let (_, second) = second.unwrap();
        let handed = |store: &mut Store| next(store, NOON).map(|(packet, _)| packet);
        assert_eq!(handed(&mut store), Some(packet));
        assert_eq!(handed(&mut store), None);
        let answered =
            store.transaction(|tx| mesh_report::retry(tx, first, packet, NOON, false, "busy"));
        answered.unwrap();
        assert_eq!(handed(&mut store), Some(packet));
        assert_eq!(handed(&mut store), None);
        let answered = store.transaction(|tx| mesh_report::accepted(tx, first, NOON));
        assert!(answered.unwrap());
        assert_eq!(handed(&mut store), Some(second));
    }

    #[test]
    fn a_worker_is_given_a_row_once_and_then_told_when_to_come_again() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(
            hand_over(&mut store, QUEUE, rules(), NOON).unwrap(),
            Next::Nothing
        );
        let message = MeshMessage {
            not_before: Some(later(1)),
            ..text("hello")
        };
        let row = store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &message, NOON));
        let (id, packet) = row.unwrap();
        let mut ask = |now| hand_over(&mut store, QUEUE, rules(), now).unwrap();
        assert_eq!(ask(NOON), Next::Later(later(1)));
        assert!(matches!(ask(later(1)), Next::Due(it) if (it.outbox, it.packet) == (id, packet)));
        assert_eq!(ask(later(1)), Next::Nothing);
        let state = store.transaction(|tx| mesh_report::state(tx, id));
        assert_eq!(state.unwrap(), Some(MeshState::Submitted));
    }

    #[tokio::test]
    async fn a_worker_that_is_idle_ends_if_it_is_told_to() {
        let store = Store::in_memory().unwrap();
        let bench = bench(store, Destination::Direct(NodeNum(7)), Lane::Message);
        let run = bench.worker.run(CancellationToken::new());
        assert!(
            tokio::time::timeout(Duration::from_mins(1), run)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn what_the_air_does_not_bear_stays_in_the_table_and_can_be_changed() {
        let channel = Destination::Channel(ChannelIndex::PRIMARY);
        for lane in [Lane::Urgent, Lane::Message, Lane::Reaction] {
            let mut store = Store::in_memory().unwrap();
            let message = MeshMessage {
                destination: channel,
                channel: None,
                bound: false,
                lane,
                content: MeshContent::Packet(RadioPayload::Text {
                    text: "hello".to_owned(),
                    reply_to: None,
                }),
                source: None,
                not_before: None,
                expires: NOON + Duration::from_hours(1),
            };
            let accepted =
                store.transaction(|tx| outbox_mesh::insert(tx, NodeNum(1), &message, NOON));
            let mut bench = bench(store, channel, lane);
            bench.air.send_replace(false);
            let database = bench.worker.side.database.clone();
            let stop = CancellationToken::new();
            let run = bench.worker.run(stop.clone());
            let look = async {
                if lane != Lane::Urgent {
                    // Enough turns of the database for the worker to have read the table.
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                        let waits = database.run(|store| store.transaction(outbox_mesh::queues));
                        assert_eq!(waits.await.unwrap(), [(channel, lane)]);
                    }
                    assert!(bench.submitted.try_recv().is_err());
                    bench.air.send_replace(true);
                }
                let submission = bench.submitted.recv().await.unwrap();
                assert_eq!(submission.outbox, accepted.unwrap().0);
                stop.cancel();
            };
            tokio::join!(run, look);
        }
    }
}
