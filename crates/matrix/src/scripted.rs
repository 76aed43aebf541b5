//! Test support: the SDK's client with a homeserver whose answers are scripted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::config::{RequestConfig, SyncSettings};
use matrix_sdk::ruma::{device_id, room_id, user_id};
use matrix_sdk::{Client, Room, SessionMeta, SessionTokens, SqliteStoreConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Options, Pulse, rooms::Rooms};
use relay_config::{E2ee, Recipients};
use relay_model::Clock;

/// The only room.
pub(super) const ROOM: &str = "!room:example.org";

type Script = dyn Fn(&str) -> Value + Send + Sync;

/// A logged-in client that has synced one encrypted room, and its homeserver.
pub(super) struct Scripted {
    pub(super) client: Client,
    pub(super) room: Room,
    /// The request lines received.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _home: TempDir,
    _serving: JoinSet<()>,
}

impl Scripted {
    /// Starts the server. The script gets the request line of every request but the sync. Null becomes the answer 502,
    /// a Matrix error the answer 403.
    pub(super) async fn start(script: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let encryption = json!({
            "type": "m.room.encryption",
            "state_key": "",
            "event_id": "$encryption",
            "sender": "@alice:example.org",
            "origin_server_ts": 1,
            "content": {"algorithm": "m.megolm.v1.aes-sha2"},
        });
        Self::start_in(json!({ROOM: [encryption]}), script).await
    }

    /// Starts a server that tells of these joined rooms, the only one among them, with their state.
    pub(super) async fn start_in(
        rooms: Value,
        script: impl Fn(&str) -> Value + Send + Sync + 'static,
    ) -> Self {
        let rooms = rooms.as_object().unwrap().iter();
        let joined: Value = rooms
            .map(|(id, state)| (id.clone(), json!({"state": {"events": state}})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let script = move |line: &str| {
            if line.contains("/sync") {
                json!({"next_batch": "s1", "rooms": {"join": joined}})
            } else if line.contains("/versions") {
                json!({"versions": ["v1.11"]})
            } else {
                script(line)
            }
        };
        Self::start_with(script).await
    }

    /// Starts a server that answers every request by the script. The first sync has to tell of the room.
    pub(super) async fn start_with(script: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::new(script), Arc::clone(&asked)));
        let home = tempfile::tempdir().unwrap();
        let store = SqliteStoreConfig::with_low_memory_config(home.path()).key(Some(&[7; 32]));
        let client = Client::builder()
            .homeserver_url(&url)
            .sqlite_store_with_config_and_cache_path(store, None::<std::path::PathBuf>)
            .request_config(RequestConfig::new().disable_retry())
            .build()
            .await
            .unwrap();
        let session = MatrixSession {
            meta: SessionMeta {
                user_id: user_id!("@bot:example.org").to_owned(),
                device_id: device_id!("BOT").to_owned(),
            },
            tokens: SessionTokens {
                access_token: "token".to_owned(),
                refresh_token: None,
            },
        };
        client.restore_session(session).await.unwrap();
        let settings = SyncSettings::new().timeout(Duration::ZERO);
        client.sync_once(settings).await.unwrap();
        let room = client.get_room(room_id!("!room:example.org")).unwrap();
        Self {
            client,
            room,
            asked,
            _home: home,
            _serving: serving,
        }
    }

    /// Returns the rooms, with this room mapped.
    pub(super) fn rooms(&self) -> Rooms {
        self.rooms_of(ROOM)
    }

    /// Returns the rooms, with the room of this name mapped.
    pub(super) fn rooms_of(&self, name: &str) -> Rooms {
        let options = Options {
            rooms: vec![name.try_into().unwrap()],
            permitted: std::collections::HashSet::new(),
            via: std::collections::HashMap::new(),
            invites: None,
            verify_with: Vec::new(),
            e2ee: E2ee {
                enabled: true,
                recipients: Recipients::All,
                require: false,
            },
            shown: crate::Shown::default(),
            pulse: Pulse::default(),
            clock: Clock::system(),
        };
        let own = self.client.user_id().unwrap().to_owned();
        Rooms::new(self.client.clone(), own, options)
    }

    /// Returns the number of requests whose address contains `what`.
    pub(super) fn count(&self, what: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|line| line.contains(what)).count()
    }
}

/// Returns an event whose key nobody has.
pub(super) fn undecryptable(number: u32) -> Value {
    json!({
        "type": "m.room.encrypted",
        "event_id": format!("$undecryptable{number}"),
        "sender": "@alice:example.org",
        "room_id": ROOM,
        "origin_server_ts": 1_767_225_600_000_i64,
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": format!("AwgAEh{}", "A".repeat(118)),
            "session_id": format!("session{number}"),
            "device_id": "ALICE",
            "sender_key": "A".repeat(43),
        },
    })
}

async fn accept(listener: TcpListener, script: Arc<Script>, asked: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(serve(connection, Arc::clone(&script), Arc::clone(&asked)));
    }
}

async fn serve(connection: TcpStream, script: Arc<Script>, asked: Arc<Mutex<Vec<String>>>) {
    let mut connection = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if !matches!(connection.read_line(&mut line).await, Ok(1..)) {
            return;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.to_ascii_lowercase());
    }
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    connection.read_exact(&mut body).await.unwrap();
    let line = lines.swap_remove(0);
    let (status, answer) = match script(&line) {
        Value::Null => (502, String::new()),
        error if error["errcode"].is_string() => (403, error.to_string()),
        answer => (200, answer.to_string()),
    };
    asked.lock().unwrap().push(line);
    let answer = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
    // The client may be gone.
    drop(connection.write_all(answer.as_bytes()).await);
}
