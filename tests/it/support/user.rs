//! A Matrix user on the SDK: sends events, and waits for those of others.

use std::collections::HashSet;
use std::time::Duration;

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::encryption::EncryptionSettings;
use matrix_sdk::reqwest::{self, Method};
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::events::receipt::{ReceiptThread, ReceiptType};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId, uint};
use matrix_sdk::sync::SyncResponse;
use matrix_sdk::{Client, Room, SessionMeta, SessionTokens};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::limit::{LIMIT, last_lines, while_new, within};
use super::synapse::{PASSWORD, Synapse};

/// How a room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not encrypted.
    Plain,
    /// Encrypted from its first event on.
    Encrypted,
}

/// Both kinds of rooms, for tests that hold in each.
pub(crate) const BOTH_KINDS: [Kind; 2] = [Kind::Plain, Kind::Encrypted];

/// An event as its reader sees it: decrypted.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Id of the room that it was seen in.
    pub(crate) room: OwnedRoomId,
    /// Id of the event.
    pub(crate) id: OwnedEventId,
    /// The whole event as JSON.
    pub(crate) event: Value,
    /// Whether it came encrypted.
    pub(crate) encrypted: bool,
}

/// Returns the text of a node from the relay's message: without prefix and age.
pub(crate) fn said_in(body: &str) -> Option<&str> {
    let (_, text) = body.split_once("]: ")?;
    let late = text.strip_prefix("(delayed ");
    let said = late.and_then(|it| it.split_once(") "));
    Some(said.map_or(text, |(_, text)| text))
}

impl Seen {
    /// Returns its `body`, empty if it has none.
    pub(crate) fn body(&self) -> &str {
        self.content("/body").as_str().unwrap_or_default()
    }

    /// Returns the text of a node, if this is a message of the relay.
    pub(crate) fn said_on_mesh(&self) -> Option<&str> {
        said_in(self.body())
    }

    /// Returns a part of its content by JSON pointer, null if there is none.
    pub(crate) fn content(&self, pointer: &str) -> &Value {
        self.event["content"]
            .pointer(pointer)
            .unwrap_or(&Value::Null)
    }

    /// Returns the event that this one replies to, if any.
    pub(crate) fn answers(&self) -> Option<&str> {
        self.content("/m.relates_to/m.in_reply_to/event_id")
            .as_str()
    }

    /// Returns whether this is a reaction with this key on this event.
    pub(crate) fn is_reaction(&self, target: &OwnedEventId, key: &str) -> bool {
        self.event["type"] == "m.reaction"
            && self.content("/m.relates_to/event_id") == target.as_str()
            && self.content("/m.relates_to/key") == key
    }

    fn of(room: &Room, event: &TimelineEvent) -> Option<Self> {
        Some(Self {
            room: room.room_id().to_owned(),
            id: event.event_id()?,
            event: event.raw().deserialize_as_unchecked().ok()?,
            encrypted: event.encryption_info().is_some(),
        })
    }
}

/// A user with an account, a verified device, and a running sync.
#[derive(Debug)]
pub(crate) struct User {
    synapse: &'static Synapse,
    client: Client,
    seen: watch::Receiver<Vec<Seen>>,
    /// Syncs until this is dropped.
    _syncing: JoinSet<()>,
}

impl User {
    /// Makes an account with that display name, and logs in.
    pub(crate) async fn new(synapse: &'static Synapse, display_name: &str) -> Self {
        Self::with(synapse, display_name, true).await
    }

    /// Does the same without cross-signing.
    pub(crate) async fn without_identity(synapse: &'static Synapse, display_name: &str) -> Self {
        Self::with(synapse, display_name, false).await
    }

    async fn with(synapse: &'static Synapse, display_name: &str, has_identity: bool) -> Self {
        let username = synapse.register(&display_name.to_lowercase()).await;
        let client = Client::builder()
            .homeserver_url(synapse.url())
            .with_encryption_settings(EncryptionSettings {
                auto_enable_cross_signing: has_identity,
                ..EncryptionSettings::default()
            })
            .build()
            .await
            .expect("a client can be made");
        if let Some(service) = synapse.delegates_to() {
            let (access_token, device_id) = service.account(&username).await;
            let session = MatrixSession {
                meta: SessionMeta {
                    user_id: format!("@{username}:localhost").parse().expect("a user"),
                    device_id: device_id.into(),
                },
                tokens: SessionTokens {
                    access_token,
                    refresh_token: None,
                },
            };
            let restored = client.restore_session(session).await;
            restored.expect("the session can be used");
        } else {
            let login = client.matrix_auth().login_username(&username, PASSWORD);
            login
                .initial_device_display_name("test")
                .await
                .expect("the password is right");
        }
        client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        client
            .account()
            .set_display_name(Some(display_name))
            .await
            .expect("a name can be set");

        let (sender, seen) = watch::channel(Vec::new());
        let mut syncing = JoinSet::new();
        syncing.spawn(sync(client.clone(), sender));
        Self {
            synapse,
            client,
            seen,
            _syncing: syncing,
        }
    }

    /// Returns the user id of the account.
    pub(crate) fn id(&self) -> &UserId {
        self.client.user_id().expect("the user is logged in")
    }

    /// Returns the SDK's client, for what is not offered here.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a room and invites others to it.
    pub(crate) async fn create_room(&self, kind: Kind, invited: &[OwnedUserId]) -> OwnedRoomId {
        self.create_room_with(kind, invited, json!({})).await
    }

    /// Makes a room with more of the request's fields.
    pub(crate) async fn create_room_with(
        &self,
        kind: Kind,
        invited: &[OwnedUserId],
        fields: Value,
    ) -> OwnedRoomId {
        let mut request = json!({"preset": "private_chat", "invite": invited});
        if kind == Kind::Encrypted {
            request["initial_state"] = json!([{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }]);
        }
        for (key, value) in fields.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let answer = self.request(Method::POST, &["createRoom"], &request).await;
        let room: OwnedRoomId = serde_json::from_value(answer["room_id"].clone())
            .unwrap_or_else(|_| panic!("no room was made: {answer}"));
        self.sees(&room, "its own join", |seen| {
            seen.event["type"] == "m.room.member" && seen.event["state_key"] == self.id().as_str()
        })
        .await;
        room
    }

    /// Invites somebody to a room.
    pub(crate) async fn invite(&self, room: &OwnedRoomId, user: &str) {
        let path = ["rooms", room.as_str(), "invite"];
        self.request(Method::POST, &path, &json!({"user_id": user}))
            .await;
    }

    /// Sets an alias of a room.
    pub(crate) async fn set_alias(&self, alias: &str, room: &OwnedRoomId) {
        let path = ["directory", "room", alias];
        self.request(Method::DELETE, &path, &json!({})).await;
        let answer = self
            .request(Method::PUT, &path, &json!({"room_id": room}))
            .await;
        assert_eq!(answer, json!({}), "the alias cannot be set");
    }

    /// Waits until somebody has joined.
    pub(crate) async fn sees_join(&self, room: &OwnedRoomId, user: &UserId) {
        self.sees(room, &format!("{user} joining"), |seen| {
            seen.event["type"] == "m.room.member"
                && seen.event["state_key"] == user.as_str()
                && seen.content("/membership") == "join"
        })
        .await;
    }

    /// Writes a text.
    pub(crate) async fn send(&self, room: &OwnedRoomId, text: &str) -> OwnedEventId {
        self.send_message(room, json!({"msgtype": "m.text", "body": text}))
            .await
    }

    /// Replies to an event.
    pub(crate) async fn reply(
        &self,
        room: &OwnedRoomId,
        to: &OwnedEventId,
        text: &str,
    ) -> OwnedEventId {
        let relation = json!({"m.in_reply_to": {"event_id": to}});
        self.send_message(
            room,
            json!({"msgtype": "m.text", "body": text, "m.relates_to": relation}),
        )
        .await
    }

    /// Reacts to an event.
    pub(crate) async fn react(
        &self,
        room: &OwnedRoomId,
        to: &OwnedEventId,
        key: &str,
    ) -> OwnedEventId {
        let relation = json!({"rel_type": "m.annotation", "event_id": to, "key": key});
        self.send_raw(room, "m.reaction", json!({"m.relates_to": relation}))
            .await
    }

    /// Redacts an event.
    pub(crate) async fn redact(&self, room: &OwnedRoomId, event: &OwnedEventId) {
        self.room(room)
            .redact(event, None, None)
            .await
            .expect("one's own event can be redacted");
    }

    /// Sends any `m.room.message`.
    pub(crate) async fn send_message(&self, room: &OwnedRoomId, content: Value) -> OwnedEventId {
        self.send_raw(room, "m.room.message", content).await
    }

    /// Sends any event; encrypted if the room is.
    pub(crate) async fn send_raw(
        &self,
        room: &OwnedRoomId,
        kind: &str,
        content: Value,
    ) -> OwnedEventId {
        let room = self.room(room);
        let sent = within("sending", room.send_raw(kind, content).into_future()).await;
        sent.expect("the homeserver takes the event")
            .response
            .event_id
    }

    /// Waits for a message with exactly that body, and returns it.
    pub(crate) async fn sees_text(&self, room: &OwnedRoomId, body: &str) -> Seen {
        self.sees(room, &format!("a message {body:?}"), |seen| {
            seen.body() == body
        })
        .await
    }

    /// Waits for the first matching event in a room, also among those seen already.
    pub(crate) async fn sees(
        &self,
        room: &OwnedRoomId,
        what: &str,
        wanted: impl FnMut(&Seen) -> bool,
    ) -> Seen {
        self.sees_within(LIMIT, room, what, wanted).await
    }

    /// Waits for an event as [`Self::sees`] does, with a timeout since the last new event: for timeouts of the relay that are
    /// longer than usual.
    pub(crate) async fn sees_within(
        &self,
        limit: Duration,
        room: &OwnedRoomId,
        what: &str,
        mut wanted: impl FnMut(&Seen) -> bool,
    ) -> Seen {
        let mut seen = self.seen.clone();
        let mut found = None;
        let progress = while_new(&mut seen, limit, |events| {
            found = events
                .iter()
                .find(|seen| seen.room == *room && wanted(seen))
                .cloned();
            found.is_some()
        });
        let ended = progress.await;
        found.unwrap_or_else(|| {
            let told = last_lines(&self.told(room));
            panic!(
                "{} did not see {what} ({ended:?}, {} s without anything new at most); the last it saw:\n{told}",
                self.id(),
                limit.as_secs()
            )
        })
    }

    /// Returns the messages that it has seen in a room so far, in order.
    pub(crate) fn messages(&self, room: &OwnedRoomId) -> Vec<Seen> {
        let is_message =
            |seen: &&Seen| seen.room == *room && seen.event["type"] == "m.room.message";
        self.seen
            .borrow()
            .iter()
            .filter(is_message)
            .cloned()
            .collect()
    }

    /// Returns everything it has seen of one sender in a room so far.
    pub(crate) fn seen_of(&self, room: &OwnedRoomId, sender: &UserId) -> Vec<Seen> {
        let theirs = |seen: &&Seen| seen.room == *room && seen.event["sender"] == sender.as_str();
        self.seen.borrow().iter().filter(theirs).cloned().collect()
    }

    /// Fetches all the messages of a room from the server, oldest first.
    pub(crate) async fn history(&self, room: &OwnedRoomId) -> Vec<Seen> {
        let room = self.room(room);
        let mut history = Vec::new();
        let mut options = MessagesOptions::forward();
        loop {
            options.limit = uint!(500);
            let page = room
                .messages(options)
                .await
                .expect("the history can be read");
            history.extend(page.chunk.iter().filter_map(|event| Seen::of(&room, event)));
            let Some(end) = page.end.filter(|_| !page.chunk.is_empty()) else {
                break;
            };
            options = MessagesOptions::forward().from(&*end);
        }
        history.retain(|seen| seen.event["type"] == "m.room.message");
        history
    }

    /// Returns an event as the server stores it.
    pub(crate) async fn stored(&self, room: &OwnedRoomId, event: &OwnedEventId) -> Value {
        let token = self.client.access_token().expect("the user is logged in");
        self.synapse
            .stored(&token, room.as_str(), event.as_str())
            .await
    }

    /// Joins a room at the invitation of somebody in it.
    pub(crate) async fn joins(&self, room: &OwnedRoomId, host: &User) {
        let invited = host.room(room).invite_user_by_id(self.id()).await;
        invited.expect("a member can invite");
        let joined = self.client.join_room_by_id(room).await;
        joined.expect("the invited can join");
        self.sees_join(room, self.id()).await;
    }

    /// Changes fields of a room's power levels.
    pub(crate) async fn set_levels(&self, room: &OwnedRoomId, fields: Value) {
        let path = ["rooms", room.as_str(), "state", "m.room.power_levels"];
        let mut levels = self.request(Method::GET, &path, &json!({})).await;
        for (key, value) in fields.as_object().into_iter().flatten() {
            levels[key] = value.clone();
        }
        let answer = self.request(Method::PUT, &path, &levels).await;
        assert!(answer["event_id"].is_string(), "not changed: {answer}");
    }

    /// Returns the current reactions to an event, as the server counts them.
    pub(crate) async fn reactions(&self, room: &OwnedRoomId, event: &OwnedEventId) -> Vec<Value> {
        let path = ["rooms", room.as_str(), "relations", event.as_str()];
        let kind = ["m.annotation", "m.reaction"];
        let path: Vec<&str> = path.into_iter().chain(kind).collect();
        let answer = self.ask(Method::GET, "v1", &path, &json!({})).await;
        let chunk = answer["chunk"].as_array();
        chunk
            .unwrap_or_else(|| panic!("no reactions were told: {answer}"))
            .clone()
    }

    /// Waits for a user's public read receipt on an event, in this thread or in none.
    pub(crate) async fn sees_receipt(
        &self,
        room: &OwnedRoomId,
        user: &UserId,
        event: &OwnedEventId,
        thread: Option<&OwnedEventId>,
    ) {
        let thread = thread.map_or(ReceiptThread::Unthreaded, |root| {
            ReceiptThread::Thread(root.clone())
        });
        let mut last = None;
        let stands = async {
            loop {
                let room = self.room(room);
                let receipt = room.load_user_receipt(ReceiptType::Read, thread.clone(), user);
                last = receipt.await.expect("the store can be read");
                if last.as_ref().is_some_and(|(read, _)| read == event) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let stands = tokio::time::timeout(LIMIT, stands).await.is_ok();
        assert!(
            stands,
            "the receipt of {user} does not stand on {event} but on {last:?}"
        );
    }

    /// Sends a request for which the SDK has no function.
    pub(crate) async fn request(&self, method: Method, path: &[&str], body: &Value) -> Value {
        self.ask(method, "v3", path, body).await
    }

    async fn ask(&self, method: Method, version: &str, path: &[&str], body: &Value) -> Value {
        let mut url = url::Url::parse(self.synapse.url()).expect("the homeserver has a URL");
        url.path_segments_mut()
            .expect("an HTTP URL has segments")
            .extend(["_matrix", "client", version])
            .extend(path);
        let request = reqwest::Client::new()
            .request(method, url)
            .bearer_auth(self.client.access_token().expect("the user is logged in"))
            .body(body.to_string());
        let answer = within("the homeserver's answer", request.send()).await;
        let text = answer
            .expect("the homeserver answers")
            .text()
            .await
            .expect("an answer has text");
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    fn room(&self, room: &OwnedRoomId) -> Room {
        self.client.get_room(room).expect("the user is in the room")
    }

    fn told(&self, room: &OwnedRoomId) -> Vec<String> {
        let here = |seen: &&Seen| seen.room == *room;
        self.seen
            .borrow()
            .iter()
            .filter(here)
            .map(|seen| seen.event.to_string())
            .collect()
    }
}

async fn sync(client: Client, seen: watch::Sender<Vec<Seen>>) {
    let mut filter = FilterDefinition::default();
    filter.room.timeline.limit = Some(uint!(100));
    let settings = SyncSettings::new()
        .timeout(Duration::from_secs(30))
        .filter(filter.into());
    let mut unreadable = HashSet::new();
    let mut position = None;
    loop {
        let settings = match &position {
            Some(position) => settings.clone().token(position),
            None => settings.clone(),
        };
        let Ok(response) = client.sync_once(settings).await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let mut fresh = readable(&client, &response, &mut unreadable);
        fresh.extend(read_late(&client, &mut unreadable).await);
        // Only new events count as progress. Some homeservers give one again, which readers are not shown twice.
        seen.send_if_modified(|events| {
            let before = events.len();
            for event in fresh {
                if events.iter().all(|it| it.id != event.id) {
                    events.push(event);
                }
            }
            events.len() > before
        });
        position = Some(response.next_batch);
    }
}

/// Returns the events that can be decrypted; adds the others to `unreadable`.
fn readable(
    client: &Client,
    response: &SyncResponse,
    unreadable: &mut HashSet<(OwnedRoomId, OwnedEventId)>,
) -> Vec<Seen> {
    let mut fresh = Vec::new();
    for (id, update) in &response.rooms.joined {
        let Some(room) = client.get_room(id) else {
            continue;
        };
        for event in &update.timeline.events {
            if event.kind.is_utd() {
                unreadable.extend(event.event_id().map(|event| (id.clone(), event)));
            } else {
                fresh.extend(Seen::of(&room, event));
            }
        }
    }
    fresh
}

/// Retries events that could not be decrypted: their keys may have come.
async fn read_late(
    client: &Client,
    unreadable: &mut HashSet<(OwnedRoomId, OwnedEventId)>,
) -> Vec<Seen> {
    let mut fresh = Vec::new();
    for (room_id, id) in unreadable.clone() {
        let Some(room) = client.get_room(&room_id) else {
            continue;
        };
        let Ok(event) = room.event(&id, None).await else {
            continue;
        };
        if !event.kind.is_utd() {
            fresh.extend(Seen::of(&room, &event));
            unreadable.remove(&(room_id, id));
        }
    }
    fresh
}
