//! Faults of the host: events that cannot be stored are not accepted, and storing resumes after the fault.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use relay_config::{ChannelRef, Config, Connection as Wire, Direction, MappedRoom};
use relay_model::{
    ChannelIndex, ClockReading, Destination, EventId, Gap, GapStart, JoinedRoom, MatrixEvent, Node,
    NodeNum, OwnedEventId, OwnedUserId, PacketId, RadioEvent, RadioText, RoomContent,
    RoomOrAliasId, RoomOutcome, Synced, TextPort, Timestamp, TransactionId,
};
use relay_store::{Store, gaps, outbox_room, retention, seen, single_values};

use super::super::mesh_worker::MeshSide;
use super::{
    super::LONGEST_PAUSE, super::account_limit::AccountLimit, super::queues::Shared,
    super::room_worker::RoomSide, super::supervisor::Supervisor,
};

const NOON: Timestamp = Timestamp(1_767_225_600_000);
const ROOM: &str = "!room:example.org";
const LIMIT: Duration = Duration::from_mins(1);

/// A homeserver that accepts everything, and records the texts.
#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

impl SendToRoom for Server {
    async fn send(
        &self,
        _room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        _now: Timestamp,
    ) -> RoomOutcome {
        if let RoomContent::Text { text, .. } = content {
            self.0.lock().unwrap().push(text.clone());
        }
        let event = OwnedEventId::try_from(format!("${transaction}:example.org")).unwrap();
        RoomOutcome::Sent { event }
    }

    async fn caught_up(&self) {}

    async fn mark_read(
        &self,
        _room: &RoomOrAliasId,
        event: &EventId,
        _thread: Option<&EventId>,
    ) -> RoomOutcome {
        let event = event.to_owned();
        RoomOutcome::Sent { event }
    }
}

impl Server {
    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An event loop on a database file, with a settable clock.
struct Bench {
    _directory: TempDir,
    path: PathBuf,
    database: Database,
    radio: mpsc::Sender<Event>,
    batches: mpsc::Sender<Batch>,
    reloads: mpsc::Sender<Reload>,
    runtime_state: Arc<RuntimeState>,
    server: Server,
    clock: Arc<AtomicI64>,
    stop: CancellationToken,
    finish: CancellationToken,
    /// Aborted on drop.
    tasks: tokio::task::JoinSet<()>,
    packets: u32,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(prepare: impl FnOnce(&mut Store)) -> Self {
        Self::on(|store| Database::start(store).unwrap().0, prepare).await
    }

    /// With a database without a thread, for tests with paused time.
    async fn paused() -> Self {
        Self::on(|store| Database::here(Arc::new(Mutex::new(store))), |_| {}).await
    }

    async fn on(start: fn(Store) -> Database, prepare: impl FnOnce(&mut Store)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sqlite");
        let mut store = Store::open(&path).unwrap();
        prepare(&mut store);
        let config = config();
        let ledger = store.transaction(|tx| Ledger::open(tx, &config, NOON));
        let (mut ledger, _) = ledger.unwrap();
        ledger
            .bridge
            .remember_own_user("@relay:example.org".try_into().unwrap());
        let ledger = Arc::new(Mutex::new(ledger));
        let database = start(store);
        let turned = Arc::new(AtomicI64::new(NOON.0));
        let shown = Arc::clone(&turned);
        let began = Instant::now();
        let clock = Clock::new(move || {
            let present = Timestamp(shown.load(Ordering::SeqCst));
            (present, began.elapsed())
        });
        let (stop, finish) = (CancellationToken::new(), CancellationToken::new());
        let (radio, take_radio) = mpsc::channel(3 * LARGEST_BATCH);
        let (reports, take_reports) = mpsc::channel(4);
        let (batches, take_batches) = mpsc::channel(1);
        let (submissions, _) = mpsc::channel(1);
        let (withdrawals, _) = mpsc::channel(1);
        let (reloads, take_reloads) = mpsc::channel(1);
        let (config, live) = watch::channel(Arc::new(config));
        let server = Server::default();
        let (_, sender) = watch::channel(Some(server.clone()));
        let (radio_ready, is_ready) = watch::channel(false);
        let (_, air) = watch::channel(true);
        let supervisor = Supervisor::new(stop.clone());
        let queues = Queues::new(Shared {
            rooms: RoomSide {
                database: database.clone(),
                sender,
                reports,
                limit: AccountLimit::default(),
                clock: clock.clone(),
            },
            mesh: MeshSide {
                database: database.clone(),
                submissions,
                ready: is_ready,
                air,
                config: live,
                clock: clock.clone(),
            },
            workers: supervisor.workers.clone(),
            withdrawals,
        });
        let runtime_state = Arc::new(RuntimeState::new(std::collections::BTreeMap::new()));
        let event_loop = EventLoop {
            database: database.clone(),
            ledger,
            radio: take_radio,
            reports: take_reports,
            batches: take_batches,
            reloads: take_reloads,
            config,
            queues,
            radio_ready,
            chores_at: Instant::now(),
            sync_at: None,
            runtime_state: Arc::clone(&runtime_state),
            clock,
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(event_loop.run(stop.clone(), finish.clone()));
        let mut bench = Self {
            _directory: directory,
            path,
            database,
            radio,
            batches,
            reloads,
            runtime_state,
            server,
            clock: turned,
            stop,
            finish,
            tasks,
            packets: 1,
        };
        bench.matrix(vec![joined()], "s1").await.unwrap();
        bench
    }

    /// Sends a batch of the Matrix side. The future fails if it was not committed.
    async fn matrix(
        &mut self,
        events: Vec<MatrixEvent>,
        position: &str,
    ) -> Result<(), oneshot::error::RecvError> {
        self.hand_batch_over(events, position).await.await
    }

    /// A reading of the homeserver's clock that agrees with ours.
    fn reading(&self) -> ClockReading {
        let now = Timestamp(self.clock.load(Ordering::SeqCst));
        ClockReading {
            server: now,
            ours: now,
            passed: 0,
            boot: String::new(),
        }
    }

    async fn hand_batch_over(
        &mut self,
        events: Vec<MatrixEvent>,
        position: &str,
    ) -> oneshot::Receiver<()> {
        let (committed, told) = oneshot::channel();
        let batch = Batch {
            events,
            synced: Synced {
                position: Some(position.to_owned()),
                clock: Some(self.reading()),
                ..Synced::default()
            },
            committed,
        };
        self.batches.send(batch).await.unwrap();
        told
    }

    /// Has it go on with another configuration.
    async fn reload(&self, config: Config) -> Result<(), StoreError> {
        let (done, is_done) = oneshot::channel();
        let config = Arc::new(config);
        self.reloads.send(Reload { config, done }).await.unwrap();
        is_done.await.unwrap()
    }

    async fn hears(&mut self, text: &str) {
        self.packets += 1;
        let text = RadioText {
            sender: Node::unknown(NodeNum(0xA11C_E000)),
            packet: PacketId(self.packets),
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel_name: "LongFast".to_owned(),
            fingerprint: None,
            port: TextPort::Text,
            port_name: "TEXT_MESSAGE_APP".to_owned(),
            text: text.to_owned(),
            reply_to: None,
            is_reaction: false,
            heard_at: Timestamp(self.clock.load(Ordering::SeqCst)),
            hops: None,
            relayed_by: None,
            snr: None,
            rssi: None,
            via_mqtt: false,
            ok_to_mqtt: false,
            replayed: false,
        };
        let event = Event::Radio(RadioEvent::Text(Box::new(text)));
        self.radio.send(event).await.unwrap();
    }

    async fn posts(&self, texts: &[&str]) {
        wait_for(|| self.server.texts() == texts, || self.server.texts()).await;
    }

    async fn fails(&self, with: &str) {
        let trouble = || self.runtime_state.facts().trouble;
        let is = || {
            let status = trouble().map(|(status, _)| status);
            status.is_some_and(|it| it.hint.is_some() && it.error.unwrap().contains(with))
        };
        wait_for(is, trouble).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Polls until the condition holds.
async fn wait_for<T: std::fmt::Debug>(is: impl Fn() -> bool, now: impl Fn() -> T) {
    let looking = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, looking).await;
    assert!(waited.is_ok(), "still {:?}", now());
}

fn config() -> Config {
    let room = MappedRoom {
        id: ROOM.try_into().unwrap(),
        via: Vec::new(),
        meshtastic_channel: ChannelRef::Index(ChannelIndex::PRIMARY),
        direction: Direction::Both,
        appearance: relay_config::Appearance::default(),
    };
    let wire = Wire::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 4403,
    };
    Config::new(wire, vec![room])
}

fn joined() -> MatrixEvent {
    MatrixEvent::Joined(JoinedRoom {
        room: ROOM.try_into().unwrap(),
        configured: vec![ROOM.try_into().unwrap()],
        name: "Hilltop".to_owned(),
        own_name: "Relay".to_owned(),
        encrypted: false,
        public: false,
        may_mention_room: false,
        may_react: true,
        may_write: true,
        tombstone: None,
        predecessor: None,
    })
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_accepted_and_all_of_it_once_there_is_room() {
    let mut bench = Bench::new().await;
    let full = bench.database.run(|store| store.limit_pages(1));
    full.await.unwrap();
    // More than fits into the free pages of the file.
    let long = "x".repeat(20_000);
    bench.hears(&long).await;
    bench.fails("full").await;
    bench.hears("while it is full").await;
    let mut committed = bench.hand_batch_over(vec![joined()], "s2").await;
    bench.fails("full").await;
    assert_eq!(bench.server.texts(), [""; 0]);
    assert!(committed.try_recv().is_err(), "the sync position stays");

    let room = bench.database.run(|store| store.limit_pages(100_000));
    room.await.unwrap();
    bench.posts(&[&long, "while it is full"]).await;
    committed.await.unwrap();
    wait_for(|| bench.runtime_state.facts().trouble.is_none(), || ()).await;
}

#[tokio::test]
async fn what_another_program_locks_is_stored_when_it_lets_go() {
    let mut bench = Bench::new().await;
    let hurry = bench.database.run(Store::wait_for_nobody);
    hurry.await.unwrap();
    let other = Connection::open(&bench.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    bench.hears("one").await;
    bench.fails("locked").await;
    bench.hears("two").await;
    assert_eq!(bench.server.texts(), [""; 0]);
    other.execute_batch("ROLLBACK").unwrap();
    bench.posts(&["one", "two"]).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_stored_changes_nothing_and_one_that_can_decides_from_then_on()
 {
    let mut bench = Bench::new().await;
    let hurry = bench.database.run(Store::wait_for_nobody);
    hurry.await.unwrap();
    let mut deaf = config();
    deaf.meshtastic.ignore_nodes = vec![NodeNum(0xA11C_E000)];
    let other = Connection::open(&bench.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(bench.reload(deaf.clone()).await.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    bench.hears("as before").await;
    bench.posts(&["as before"]).await;
    bench.reload(deaf).await.unwrap();
    bench.hears("ignored").await;
    // The next one comes when that is decided on.
    bench.matrix(Vec::new(), "s2").await.unwrap();
    bench.reload(config()).await.unwrap();
    bench.hears("heard again").await;
    bench.posts(&["as before", "heard again"]).await;
}

#[tokio::test]
async fn what_a_login_is_to_try_again_is_tried_once_the_database_can_be_written() {
    let bench = Bench::new().await;
    let park = |store: &mut Store| {
        store.wait_for_nobody()?;
        store.transaction(|tx| outbox_room::park(tx, None, "may not", NOON))
    };
    bench.database.run(park).await.unwrap();
    let other = Connection::open(&bench.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let login = Event::Chore(Chore::Login);
    bench.radio.send(login).await.unwrap();
    bench.fails("locked").await;
    other.execute_batch("ROLLBACK").unwrap();
    wait_for(|| bench.runtime_state.facts().trouble.is_none(), || ()).await;
    let left = bench.database.run(|store| store.read(outbox_room::parked));
    assert_eq!(left.await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_comes_while_the_home_is_gone_is_stored_when_it_is_back() {
    let mut bench = Bench::new().await;
    let away = bench.path.with_extension("away");
    std::fs::rename(&bench.path, &away).unwrap();
    bench.hears("one").await;
    bench.fails("gone").await;
    assert_eq!(bench.server.texts(), [""; 0]);
    std::fs::rename(&away, &bench.path).unwrap();
    bench.posts(&["one"]).await;
}

#[tokio::test]
async fn a_clock_that_jumps_by_hours_holds_nothing_up() {
    let mut bench = Bench::new().await;
    let mut expected = Vec::new();
    for hours in [0_i64, 7, -9, -30_000, 30_000, 0] {
        bench
            .clock
            .store(NOON.0 + hours * 3_600_000, Ordering::SeqCst);
        let text = format!("{hours} hours off");
        bench.hears(&text).await;
        expected.push(text);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        wait_for(
            || bench.server.texts().len() == expected.len(),
            || bench.server.texts(),
        )
        .await;
        bench.matrix(vec![joined()], "s2").await.unwrap();
    }
    for (text, expected) in bench.server.texts().iter().zip(expected) {
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_fault_in_what_is_old_does_not_hold_up_messages() {
    let mut bench = Bench::new().await;
    let other = Connection::open(&bench.path).unwrap();
    // Only chores use this table here.
    other.execute_batch("DROP TABLE direct_message").unwrap();
    let chores = bench.database.run(|store| {
        let pruned = store.transaction(|tx| retention::prune(tx, NOON, 30, 500));
        assert!(pruned.is_err());
        Ok(())
    });
    chores.await.unwrap();
    bench.hears("one").await;
    bench.posts(&["one"]).await;
    assert!(bench.runtime_state.facts().trouble.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_given_up_is_not_told_as_stored_and_its_message_goes_again_after_a_while()
{
    let mut bench = Bench::paused().await;
    let other = Connection::open(&bench.path).unwrap();
    let stubborn =
        "CREATE TRIGGER stubborn BEFORE DELETE ON room_outbox BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(stubborn).unwrap();
    bench.hears("one").await;
    bench.posts(&["one"]).await;
    bench.hears("two").await;
    tokio::time::sleep(LONGEST_PAUSE / 2).await;
    bench.posts(&["one"]).await;
    tokio::time::sleep(LONGEST_PAUSE).await;
    bench.posts(&["one", "one"]).await;
}

#[tokio::test]
async fn much_that_is_old_is_forgotten_soon_and_in_small_steps() {
    const OLD: u32 = 3_000;
    let long_ago = NOON - Duration::from_hours(24 * 60);
    let mut bench = Bench::with(|store| {
        let fill = store.transaction(|tx| {
            for packet in 1..=OLD {
                seen::mark_packet(tx, NodeNum(1), NodeNum(2), PacketId(packet), long_ago)?;
            }
            Ok(())
        });
        fill.unwrap();
    })
    .await;
    bench.hears("meanwhile").await;
    bench.posts(&["meanwhile"]).await;
    // As many as the map keeps at any age, minus the one just heard.
    let kept = 500 - 1;
    let newest_forgotten = PacketId(OLD - kept);
    let looking = async {
        let is_known = || {
            bench.database.run(move |store| {
                store.read(|tx| {
                    let first = seen::has_packet(tx, NodeNum(2), PacketId(1))?;
                    let last = seen::has_packet(tx, NodeNum(2), newest_forgotten)?;
                    Ok(first || last)
                })
            })
        };
        while is_known().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.unwrap();
}

#[test]
fn a_parked_room_is_tried_again_even_if_the_clock_was_set_back() {
    let room: &RoomOrAliasId = ROOM.try_into().unwrap();
    let earlier = NOON - Duration::from_hours(5);
    let mut store = Store::in_memory().unwrap();
    let (ledger, _) = store
        .transaction(|tx| Ledger::open(tx, &config(), NOON))
        .unwrap();
    let ledger = Mutex::new(ledger);
    store
        .transaction(|tx| outbox_room::park(tx, Some(room), "may not", NOON))
        .unwrap();
    let left = [4, 6].map(|minutes| {
        let round = Event::Chore(Chore::Round(Duration::from_mins(minutes)));
        Ledger::commit(&ledger, &mut store, &[round], earlier).unwrap();
        store.transaction(outbox_room::parked).unwrap().len()
    });
    assert_eq!(left, [1, 0]);
}

#[tokio::test]
async fn what_is_missing_is_stored_with_the_position_that_is_past_it() {
    let bench = Bench::new().await;
    let gap = Gap {
        room: ROOM.try_into().unwrap(),
        from: GapStart::Token("s1".to_owned()),
        to: "s2".to_owned(),
    };
    for gaps in [vec![gap], Vec::new()] {
        let (committed, told) = oneshot::channel();
        let batch = Batch {
            events: Vec::new(),
            synced: Synced {
                position: Some("s2".to_owned()),
                gaps: gaps.clone(),
                ..Synced::default()
            },
            committed,
        };
        bench.batches.send(batch).await.unwrap();
        told.await.unwrap();
        let stored = bench.database.run(|store| {
            let account = OwnedUserId::try_from("@relay:example.org").unwrap();
            store.transaction(|tx| {
                Ok((
                    single_values::sync_position(tx, &account)?,
                    gaps::all(tx, &account)?,
                ))
            })
        });
        assert_eq!(stored.await.unwrap(), (Some("s2".to_owned()), gaps));
    }
}

#[tokio::test]
async fn at_the_end_nothing_that_was_handed_over_stays_behind() {
    let mut bench = Bench::new().await;
    bench.stop.cancel();
    // Nothing can be stored until the whole batch is handed over.
    let other = Connection::open(&bench.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let texts = 3 * LARGEST_BATCH;
    for number in 0..texts {
        bench.hears(&number.to_string()).await;
    }
    let told = bench.hand_batch_over(Vec::new(), "s2").await;
    bench.finish.cancel();
    drop(other);
    bench.tasks.join_next().await.unwrap().unwrap();
    told.await.unwrap();
    let stored = bench
        .database
        .run(|store| store.transaction(outbox_room::count));
    assert_eq!(stored.await.unwrap(), texts as u64);
}

#[tokio::test(start_paused = true)]
async fn that_a_message_was_sent_is_on_the_disk_within_seconds() {
    let mut bench = Bench::paused().await;
    bench.hears("hello").await;
    let sent = async {
        while bench.server.texts().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, sent).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let on_disk = || bench.database.run(|store| Ok(store.is_on_disk()));
    assert!(!on_disk().await.unwrap());
    sleep(SYNC_WITHIN).await;
    assert!(on_disk().await.unwrap());
}
