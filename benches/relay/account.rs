//! An account that speaks the client-server API itself, without the SDK: no store, no keys, no work but its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use matrix_sdk::reqwest::{Client, Method};
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::support::limit::while_new;
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::Kind;
use crate::support::{LIMIT, within};

/// A logged-in account.
#[derive(Debug)]
pub(crate) struct Account {
    base: Url,
    client: Client,
    user: OwnedUserId,
    token: String,
    transactions: AtomicU32,
}

impl Account {
    /// Makes an account whose name begins with `name`, and logs in.
    pub(crate) async fn new(synapse: &Synapse, name: &str) -> Self {
        let username = synapse.register(name).await;
        let user: OwnedUserId = format!("@{username}:localhost")
            .parse()
            .expect("a user has an identifier");
        Self::log_in(synapse, &user).await
    }

    /// Logs in to an account of a test.
    pub(crate) async fn log_in(synapse: &Synapse, user: &UserId) -> Self {
        let base = Url::parse(synapse.url()).expect("the homeserver has a URL");
        let mut account = Self {
            base,
            client: Client::new(),
            user: user.to_owned(),
            token: String::new(),
            transactions: AtomicU32::new(0),
        };
        let request = json!({
            "type": "m.login.password", "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": user},
        });
        let answer = account.ask(Method::POST, &["login"], &request).await;
        let token = answer["access_token"].as_str();
        token
            .expect("the password is right")
            .clone_into(&mut account.token);
        account
    }

    /// Returns its user id.
    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    /// Makes a room that anybody may join, and invites others to it.
    pub(crate) async fn create_room(&self, kind: Kind, invited: &[&UserId]) -> OwnedRoomId {
        let mut request = json!({"preset": "public_chat", "invite": invited});
        if kind == Kind::Encrypted {
            request["initial_state"] = json!([{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }]);
        }
        let answer = self.ask(Method::POST, &["createRoom"], &request).await;
        serde_json::from_value(answer["room_id"].clone()).expect("a room has an identifier")
    }

    /// Joins a room.
    pub(crate) async fn join(&self, room: &OwnedRoomId) {
        self.ask(Method::POST, &["join", room.as_str()], &json!({}))
            .await;
    }

    /// Sends an event, as it is.
    pub(crate) async fn put(&self, room: &OwnedRoomId, kind: &str, content: &Value) {
        let transaction = self
            .transactions
            .fetch_add(1, Ordering::Relaxed)
            .to_string();
        let path = ["rooms", room.as_str(), "send", kind, &transaction];
        self.ask(Method::PUT, &path, content).await;
    }

    /// Sends a text.
    pub(crate) async fn say(&self, room: &OwnedRoomId, text: &str) {
        let content = json!({"msgtype": "m.text", "body": text});
        self.put(room, "m.room.message", &content).await;
    }

    async fn ask(&self, method: Method, path: &[&str], body: &Value) -> Value {
        let request = self.client.request(method, self.address(path));
        let request = request.bearer_auth(&self.token).body(body.to_string());
        let answer = within("the homeserver's answer", request.send()).await;
        let answer = answer.expect("the homeserver answers");
        let is_success = answer.status().is_success();
        let text = answer.text().await.expect("an answer has text");
        assert!(is_success, "the homeserver answers {text}");
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an HTTP URL has segments")
            .extend(["_matrix", "client", "v3"])
            .extend(path);
        url
    }
}

/// Reads what is said in an account's rooms, as the server sends it.
#[derive(Debug)]
pub(crate) struct Reader {
    seen: watch::Receiver<Vec<(OwnedRoomId, Value)>>,
    /// Syncs until this is dropped.
    _syncing: JoinSet<()>,
}

impl Reader {
    /// Begins to read.
    pub(crate) fn of(account: &Arc<Account>) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let mut syncing = JoinSet::new();
        syncing.spawn(sync(Arc::clone(account), sender));
        Self {
            seen,
            _syncing: syncing,
        }
    }

    /// Waits until so many of the events in a room are wanted ones, and returns these.
    pub(crate) async fn sees(
        &self,
        room: &OwnedRoomId,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let is_wanted = |(place, event): &&(OwnedRoomId, Value)| place == room && wanted(event);
        let mut seen = self.seen.clone();
        let ended = while_new(&mut seen, LIMIT, |seen| {
            seen.iter().filter(is_wanted).count() >= count
        });
        let ended = ended.await;
        let found = seen.borrow();
        let found = found.iter().filter(is_wanted);
        let found: Vec<_> = found.map(|(_, event)| event.clone()).collect();
        assert!(
            ended.is_ok(),
            "of {count} events in {room} there are {} ({ended:?})",
            found.len()
        );
        found
    }

    /// Waits for a text, which its sender may have put something before.
    pub(crate) async fn reads(&self, room: &OwnedRoomId, text: &str) {
        self.sees(room, 1, |event| {
            let body = event["content"]["body"].as_str();
            body.is_some_and(|body| body.ends_with(text))
        })
        .await;
    }

    /// Waits until somebody has joined.
    pub(crate) async fn sees_join(&self, room: &OwnedRoomId, user: &UserId) {
        self.sees(room, 1, |event| {
            event["state_key"] == user.as_str() && event["content"]["membership"] == "join"
        })
        .await;
    }
}

async fn sync(account: Arc<Account>, sender: watch::Sender<Vec<(OwnedRoomId, Value)>>) {
    let mut since: Option<String> = None;
    loop {
        let mut url = account.address(&["sync"]);
        url.query_pairs_mut()
            .append_pair("timeout", "30000")
            .append_pair("filter", r#"{"room": {"timeline": {"limit": 1000}}}"#)
            .extend_pairs(since.iter().map(|since| ("since", since)));
        let answer = account.client.get(url).bearer_auth(&account.token);
        let answer = answer.send().await.expect("the homeserver answers");
        let text = answer.text().await.expect("an answer has text");
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        since = answer["next_batch"].as_str().map(str::to_owned);
        let mut fresh = Vec::new();
        for (room, news) in answer["rooms"]["join"].as_object().into_iter().flatten() {
            let room: OwnedRoomId = room.parse().expect("a room has an identifier");
            let events = news["timeline"]["events"].as_array().into_iter().flatten();
            fresh.extend(events.map(|event| (room.clone(), event.clone())));
        }
        // Only new events count as progress.
        sender.send_if_modified(|seen| {
            let before = seen.len();
            seen.extend(fresh);
            seen.len() > before
        });
    }
}
