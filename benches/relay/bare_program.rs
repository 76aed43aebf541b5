//! The bare client: the SDK, a store and a sync loop, without the relay. This program starts itself as one, so that it
//! is a process of its own as the relay is. It reads messages to send from standard input and writes received ones to
//! standard output, one JSON object a line.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::cross_process_lock::CrossProcessLockConfig;
use matrix_sdk::encryption::EncryptionSettings;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::{OwnedRoomId, RoomId, uint};
use matrix_sdk::{Client, Room, RoomState, SqliteStoreConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::support::synapse::PASSWORD;

/// The argument that makes this program a bare client.
pub(crate) const ARGUMENT: &str = "bare-client";

/// Any passphrase: the store is deleted when the bench ends.
const KEY: [u8; 32] = [7; 32];

/// Runs until standard input ends. The first run in a directory logs in, later ones restore the session.
pub(crate) async fn run(directory: PathBuf, url: &str, username: &str) {
    let client = Box::pin(session(&directory, url, username)).await;
    tell(&json!({"ready": true}));
    let mut receiving = JoinSet::new();
    receiving.spawn(receive(client.clone()));
    tokio::select! {
        () = Box::pin(send_what_comes_in(&client)) => {}
        ended = receiving.join_next() => panic!("receiving ended: {ended:?}"),
    }
}

async fn session(directory: &Path, url: &str, username: &str) -> Client {
    let store = SqliteStoreConfig::with_low_memory_config(directory.join("store")).key(Some(&KEY));
    let client = Client::builder()
        .homeserver_url(url)
        .respect_login_well_known(false)
        .sqlite_store_with_config_and_cache_path(store, None::<PathBuf>)
        .cross_process_store_config(CrossProcessLockConfig::SingleProcess)
        .with_encryption_settings(EncryptionSettings {
            auto_enable_cross_signing: true,
            ..EncryptionSettings::default()
        })
        .build()
        .await
        .expect("a client can be made");
    let file = directory.join("session.json");
    if let Ok(text) = fs::read_to_string(&file) {
        let session: MatrixSession = serde_json::from_str(&text).expect("a session was written");
        client
            .restore_session(session)
            .await
            .expect("a session can be restored");
        return client;
    }
    client
        .matrix_auth()
        .login_username(username, PASSWORD)
        .await
        .expect("the password is right");
    client
        .encryption()
        .wait_for_e2ee_initialization_tasks()
        .await;
    let session = client.matrix_auth().session().expect("it is logged in");
    let text = serde_json::to_string(&session).expect("a session is JSON");
    fs::write(file, text).expect("the session can be written");
    client
}

/// Sends the messages one after the other.
async fn send_what_comes_in(client: &Client) {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = input.next_line().await.expect("standard input is text") {
        let request: Value = serde_json::from_str(&line).expect("a line is JSON");
        let room: OwnedRoomId =
            serde_json::from_value(request["room"].clone()).expect("a room has an identifier");
        let room = joined(client, &room).await;
        room.send_raw("m.room.message", request["content"].clone())
            .await
            .expect("the homeserver takes the message");
    }
}

/// Waits until the client's own sync knows of its join, which another may have seen before.
async fn joined(client: &Client, id: &RoomId) -> Room {
    loop {
        match client.get_room(id) {
            Some(room) if room.state() == RoomState::Joined => return room,
            Some(_) | None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Accepts invitations, and prints every message.
async fn receive(client: Client) {
    let mut filter = FilterDefinition::default();
    filter.room.timeline.limit = Some(uint!(200));
    let settings = SyncSettings::new()
        .timeout(Duration::from_secs(30))
        .filter(filter.into());
    loop {
        let response = client
            .sync_once(settings.clone())
            .await
            .expect("the homeserver answers");
        for update in response.rooms.joined.values() {
            for event in &update.timeline.events {
                let event: Option<Value> = event.raw().deserialize_as_unchecked().ok();
                if let Some(body) = event
                    .as_ref()
                    .and_then(|event| event["content"]["body"].as_str())
                {
                    tell(&json!({"seen": body}));
                }
            }
        }
        for room in response.rooms.invited.keys() {
            let joined = client.join_room_by_id(room).await;
            joined.expect("the client may join where it is invited");
        }
    }
}

fn tell(line: &Value) {
    writeln!(std::io::stdout().lock(), "{line}").expect("somebody reads what is told");
}
