//! The rules of the feedback worker, against a server with scripted replies.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use relay_config::{Config, Connection};
use relay_model::{
    Clock, EventId, OwnedEventId, OwnedRoomId, RoomContent, RoomMessage, RoomOrAliasId, SendReport,
    Sign, TransactionId,
};
use relay_store::outbox_room;
use relay_store::{Database, Store};

use super::super::room_worker::{RoomBell, RoomReport, RoomWorker};
use super::{super::account_limit::AccountLimit, super::ledger::Ledger};

const NOON: Timestamp = Timestamp(1_767_225_600_000);
const ROOM: &str = "!room:example.org";
const OTHER: &str = "!other:example.org";

/// A request to the server: room, transaction id (empty for a receipt), and content.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    room: String,
    transaction: String,
    what: String,
}

/// A server with scripted replies; it accepts everything when none is left.
#[derive(Clone)]
struct Server {
    answers: Arc<Mutex<VecDeque<Reply>>>,
    asked: mpsc::Sender<Asked>,
}

enum Reply {
    Outcome(RoomOutcome),
    /// Delayed until the sender completes it.
    Held(oneshot::Receiver<()>, RoomOutcome),
    Never,
}

impl Server {
    async fn answer(&self, room: &RoomOrAliasId, transaction: &str, what: String) -> RoomOutcome {
        let asked = Asked {
            room: room.to_string(),
            transaction: transaction.to_owned(),
            what,
        };
        self.asked.send(asked).await.unwrap();
        let answer = self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match answer {
            Some(Reply::Outcome(outcome)) => outcome,
            Some(Reply::Held(release, outcome)) => {
                release.await.unwrap();
                outcome
            }
            Some(Reply::Never) => std::future::pending().await,
            None => RoomOutcome::Sent {
                event: event(&format!("$sent{}:example.org", rand::random::<u64>())),
            },
        }
    }
}

impl SendToRoom for Server {
    async fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        _now: Timestamp,
    ) -> RoomOutcome {
        let what = match content {
            RoomContent::Reaction { key, .. } => key.clone(),
            RoomContent::Redaction { .. } => "-".to_owned(),
            RoomContent::Text { text, .. } => text.clone(),
        };
        self.answer(room, transaction.as_str(), what).await
    }

    async fn caught_up(&self) {}

    async fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        _thread: Option<&EventId>,
    ) -> RoomOutcome {
        self.answer(room, "", format!("read {event}")).await
    }
}

struct Scene {
    database: Database,
    ledger: Arc<Mutex<Ledger>>,
    asked: mpsc::Receiver<Asked>,
    session: watch::Sender<Option<Server>>,
    bell: Arc<Notify>,
    limit: AccountLimit,
    clock: Clock,
    workers: JoinSet<()>,
}

impl Scene {
    fn new(answers: impl IntoIterator<Item = Reply>) -> Self {
        let mut store = Store::in_memory().unwrap();
        let config = Config::new(connection(), Vec::new());
        let ledger = store.transaction(|tx| Ledger::open(tx, &config, NOON));
        let (ledger, _) = ledger.unwrap();
        let (database, _) = Database::start(store).unwrap();
        let (tell, asked) = mpsc::channel(100);
        let server = Server {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: tell,
        };
        let start = Instant::now();
        Self {
            database,
            ledger: Arc::new(Mutex::new(ledger)),
            session: watch::channel(Some(server)).0,
            asked,
            bell: Arc::default(),
            limit: AccountLimit::default(),
            clock: Clock::new(move || (NOON + start.elapsed(), start.elapsed())),
            workers: JoinSet::new(),
        }
    }

    fn side(&self, reports: mpsc::Sender<RoomReport>) -> RoomSide<Server> {
        RoomSide {
            database: self.database.clone(),
            sender: self.session.subscribe(),
            reports,
            limit: self.limit.clone(),
            clock: self.clock.clone(),
        }
    }

    fn start(&mut self) {
        let (reports, mut take_reports) = mpsc::channel::<RoomReport>(1);
        let worker = FeedbackWorker {
            bell: Arc::clone(&self.bell),
            side: self.side(reports),
        };
        self.workers.spawn(worker.run(CancellationToken::new()));
        let (database, ledger) = (self.database.clone(), Arc::clone(&self.ledger));
        self.workers.spawn(async move {
            while let Some(report) = take_reports.recv().await {
                let ledger = Arc::clone(&ledger);
                let commit = database
                    .run(move |store| Ledger::commit(&ledger, store, &[report.event], NOON));
                commit.await.unwrap();
                report.committed.send(()).unwrap();
            }
        });
    }

    async fn wants(&self, room: &str, name: &str, sign: Sign) {
        let (room, event) = (OwnedRoomId::try_from(room).unwrap(), event(name));
        let now = self.clock.now();
        let wanted = self.database.run(move |store| {
            store.transaction(|tx| feedback::want(tx, &room, &event, Some(sign), now))
        });
        wanted.await.unwrap();
        self.bell.notify_one();
    }

    /// Returns the next request that comes to the server.
    async fn asks(&mut self) -> Asked {
        // A real timeout: paused time advances while the database's thread works.
        let start = std::time::Instant::now();
        loop {
            if let Ok(asked) = self.asked.try_recv() {
                return asked;
            }
            let waited = start.elapsed();
            assert!(waited < Duration::from_mins(1), "nothing is asked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn asks_for(&mut self, room: &str, what: &str) -> String {
        let asked = self.asks().await;
        assert_eq!((asked.room.as_str(), asked.what.as_str()), (room, what));
        asked.transaction
    }
}

fn connection() -> Connection {
    Connection::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 4403,
    }
}

fn event(name: &str) -> OwnedEventId {
    EventId::parse(name).unwrap()
}

fn error() -> String {
    "for the test".to_owned()
}

fn retry(limited: bool) -> Reply {
    Reply::Outcome(RoomOutcome::Retry {
        after: None,
        limited,
        error: error(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_room_that_forbids_signs_is_asked_once_and_the_others_go_on() {
    let forbidden = RoomOutcome::Parked {
        account: false,
        error: error(),
    };
    let mut scene = Scene::new([Reply::Outcome(forbidden)]);
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    scene.wants(ROOM, "$two:x", Sign::Unheard).await;
    scene.start();
    scene.asks_for(ROOM, "📡").await;
    scene.wants(OTHER, "$other:x", Sign::Unheard).await;
    scene.asks_for(OTHER, "📤").await;
    scene.wants(ROOM, "$three:x", Sign::Heard).await;
    scene.wants(OTHER, "$last:x", Sign::Refused).await;
    scene.asks_for(OTHER, "❌").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_is_not_asked_again() {
    let refused = RoomOutcome::Refused { error: error() };
    let mut scene = Scene::new([Reply::Outcome(refused)]);
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    scene.wants(ROOM, "$two:x", Sign::Unheard).await;
    scene.start();
    scene.asks_for(ROOM, "📡").await;
    scene.asks_for(ROOM, "📤").await;
    scene.wants(ROOM, "$three:x", Sign::Refused).await;
    scene.asks_for(ROOM, "❌").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_same_request_is_made_again() {
    let mut scene = Scene::new([Reply::Never]);
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    scene.start();
    let first = scene.asks_for(ROOM, "📡").await;
    scene.workers.abort_all();
    scene.start();
    assert_eq!(scene.asks_for(ROOM, "📡").await, first);
    scene.wants(ROOM, "$two:x", Sign::Unheard).await;
    scene.asks_for(ROOM, "📤").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_again_under_the_same_transaction() {
    let mut scene = Scene::new([retry(false), retry(false)]);
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    scene.start();
    let first = scene.asks_for(ROOM, "📡").await;
    assert_eq!(scene.asks_for(ROOM, "📡").await, first);
    assert_eq!(scene.asks_for(ROOM, "📡").await, first);
}

#[tokio::test(start_paused = true)]
async fn under_the_limit_only_the_latest_wish_is_left() {
    let (release, held) = oneshot::channel();
    let Reply::Outcome(limited) = retry(true) else {
        panic!("a retry is an outcome");
    };
    let mut scene = Scene::new([Reply::Held(held, limited)]);
    scene.wants(ROOM, "$one:x", Sign::Waiting).await;
    scene.start();
    let first = scene.asks_for(ROOM, "⏳").await;
    scene.wants(ROOM, "$one:x", Sign::Unheard).await;
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    release.send(()).unwrap();
    assert_ne!(scene.asks_for(ROOM, "📡").await, first);
    assert!(scene.clock.now().since(NOON) >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn receipts_come_after_signs_and_what_the_server_has_against_one_is_no_matter() {
    let refused = RoomOutcome::Refused { error: error() };
    let sent = RoomOutcome::Sent {
        event: event("$sign:x"),
    };
    let mut scene = Scene::new([Reply::Outcome(sent), Reply::Outcome(refused)]);
    for room in [ROOM, OTHER] {
        let room = OwnedRoomId::try_from(room).unwrap();
        let arrived = scene.database.run(move |store| {
            store.transaction(|tx| {
                let event = event(&format!("$in-{}:x", &room.as_str()[1..5]));
                receipts::arrived(tx, &room, &event, None, NOON)?;
                receipts::read(tx, &event, NOON)
            })
        });
        assert!(arrived.await.unwrap());
    }
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    scene.start();
    scene.asks_for(ROOM, "📡").await;
    let mut read = [scene.asks().await.what, scene.asks().await.what];
    read.sort();
    assert_eq!(read, ["read $in-othe:x", "read $in-room:x"]);
    scene.wants(ROOM, "$two:x", Sign::Unheard).await;
    scene.asks_for(ROOM, "📤").await;
}

#[tokio::test(start_paused = true)]
async fn signs_wait_until_no_room_has_a_message_to_send() {
    let mut scene = Scene::new([retry(true)]);
    scene.wants(ROOM, "$one:x", Sign::Heard).await;
    let texts = ["first", "second", "third"];
    for text in texts {
        let message = RoomMessage {
            room: OwnedRoomId::try_from(ROOM).unwrap().into(),
            content: RoomContent::Text {
                notice: false,
                prefix: String::new(),
                text: text.to_owned(),
                heard_at: None,
                reply_to: None,
                thread: None,
                mentions: Vec::new(),
                mentions_room: false,
                fields: None,
                profile: None,
                suppress: false,
            },
        };
        let inserted = scene.database.run(move |store| {
            store.transaction(|tx| outbox_room::insert(tx, &message, None, NOON))
        });
        inserted.await.unwrap();
    }
    let (reports, mut take_reports) = mpsc::channel::<RoomReport>(1);
    let database = scene.database.clone();
    scene.workers.spawn(async move {
        while let Some(report) = take_reports.recv().await {
            let Event::Report(SendReport::Room { outbox, outcome }) = report.event else {
                panic!("it is about a room");
            };
            if let RoomOutcome::Sent { event } = outcome {
                let noted = database.run(move |store| {
                    store.transaction(|tx| outbox_room::sent(tx, outbox, Some(&event)))
                });
                assert!(noted.await.unwrap());
            }
            report.committed.send(()).unwrap();
        }
    });
    let room_worker = RoomWorker {
        room: OwnedRoomId::try_from(ROOM).unwrap().into(),
        bell: Arc::new(RoomBell::default()),
        side: scene.side(reports),
    };
    scene
        .workers
        .spawn(room_worker.run(CancellationToken::new()));
    let first = scene.asks_for(ROOM, "first").await;
    scene.start();
    assert_eq!(scene.asks_for(ROOM, "first").await, first);
    for text in &texts[1..] {
        scene.asks_for(ROOM, text).await;
    }
    scene.asks_for(ROOM, "📡").await;
}
