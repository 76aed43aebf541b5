//! The Matrix adapter: returns what happens in the mapped rooms as batches of [`MatrixEvent`]s, and sends the relay's
//! messages with a [`Sender`]. What is relayed is decided elsewhere.
//!
//! # Layout
//!
//! - What comes: `sync` (asks, and hands batches over), `reader` and `events` (from an event to a `MatrixEvent`,
//!   as `relay_reading` reads it aloud), `undecryptable`, `gaps` and `bans` (what is read late), `clock` (what is history),
//!   `landmarks` (what the homeserver has forgotten).
//! - What goes: `send`, `content`, `errors` (what an answer means for the message).
//! - By hand (`relay matrix`): `hand`.
//! - The rooms: `rooms` (which they are, and who is in them), `following` (which one a name stands for),
//!   `joining`, `trouble` (why the bot is not in one).
//! - What people see: `appearance` (the bot's name and picture), `avatars` (pictures of nodes).
//! - The account: `auth` (login, logout, status), `session`, `files`, `server` (without the SDK),
//!   `oauth`, `renewal` (the tokens of a login service), `redirect` (where its browser ends up), `client` and `keys` (the SDK
//!   and its store), `gate` (bounds answers), `pulse` (the homeserver's state), `probe` (asks it, for `doctor`),
//!   `moved` (its address has changed), `task`.
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

mod appearance;
pub mod auth;
mod avatars;
mod bans;
mod client;
mod clock;
mod content;
mod ended;
mod errors;
mod events;
mod files;
mod following;
mod gaps;
mod gate;
pub mod hand;
mod joining;
mod keys;
mod landmarks;
mod moved;
mod oauth;
mod probe;
mod pulse;
mod reader;
mod redirect;
mod renewal;
mod rooms;
#[cfg(test)]
mod scripted;
mod send;
mod server;
mod session;
mod sync;
mod task;
mod trouble;
mod undecryptable;
mod verification;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::errors::LoginRefusal;
use self::files::LOG_IN_ANEW;
use relay_config::{E2ee, UserPattern};
use relay_disk::Trouble;
use relay_model::{
    Beginning, Clock, ClockReading, Explained, Gap, MatrixEvent, NodeAvatar, OldRoom, OwnedEventId,
    OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, Synced, Timestamp, UndecryptableEvent,
    full_text,
};

pub use self::appearance::{NotShown, Shown};
pub use self::auth::ask;
pub use self::files::{Files, FilesError};
pub use self::following::in_its_place;
pub use self::moved::{Move, follow_configuration};
pub use self::oauth::{OAuthClient, OAuthError};
pub use self::probe::{Entrance, HomeserverFacts, Probe, RoomFound, SeenRoom};
pub use self::pulse::{Failing, HomeserverState, Pulse};
pub use self::renewal::RenewalError;
pub use self::send::Sender;
pub use self::server::ServerError;
pub use self::session::{BackupUse, LoginMethod, RefusedLogin, StoredSession};
pub use self::trouble::RoomTrouble;

/// What the adapter is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The mapped rooms, ids or aliases, without duplicates.
    pub rooms: Vec<OwnedRoomOrAliasId>,
    /// Names that may come to stand for a room that is less protected, with its id.
    pub permitted: HashSet<(OwnedRoomOrAliasId, OwnedRoomId)>,
    /// Servers to join them through, as far as configured.
    pub via: HashMap<OwnedRoomOrAliasId, Vec<OwnedServerName>>,
    /// Whose invites are accepted beside those to configured rooms; `None`: no invites at all.
    pub invites: Option<Vec<UserPattern>>,
    /// From whom emoji verification is accepted, and with it an invite to a direct room.
    pub verify_with: Vec<relay_model::OwnedUserId>,
    /// Whether encrypted rooms are read, and whose devices get the room keys of our messages.
    pub e2ee: E2ee,
    /// How the bot shows itself.
    pub shown: Shown,
    /// Where the adapter records the homeserver's state, for `status` and `doctor`.
    pub pulse: Pulse,
    /// This computer's clocks; only a test replaces them.
    pub clock: Clock,
}

/// What happened since the last batch, to be accepted in one transaction.
#[derive(Debug)]
pub struct Batch {
    /// The events, in order within each room. An event can be repeated in a later batch.
    pub events: Vec<MatrixEvent>,
    /// The sync position to resume from, and the gaps before it. To be stored in the transaction that accepts the
    /// events.
    pub synced: Synced,
    /// To be sent after the commit: only then the next batch is requested. If dropped, the adapter stops.
    pub committed: oneshot::Sender<()>,
}

/// The stored state of the last run, to resume from.
#[derive(Debug, Default)]
pub struct Start {
    /// The position of the last committed batch, if readable.
    pub position: Option<String>,
    /// No position was ever stored: where the first run began. All earlier messages are history.
    pub first: Option<Beginning>,
    /// The rooms that were mapped and joined, by their configured names. In other rooms, earlier messages are history.
    pub known: Vec<(OwnedRoomOrAliasId, OwnedRoomId)>,
    /// `known` is complete. Otherwise any room may have been known.
    pub knows_all: bool,
    /// Rooms that were mapped once; if replaced, their messages from before the replacement are still read.
    pub former: Vec<OldRoom>,
    /// The gaps before that position that were not yet fetched.
    pub gaps: Vec<Gap>,
    /// Events that could not be decrypted, to retry when keys arrive.
    pub kept: Vec<UndecryptableEvent>,
    /// Events of the rooms that the homeserver has confirmed, oldest first.
    pub landmarks: Vec<(OwnedRoomId, OwnedEventId)>,
    /// Until when, by the homeserver's clock, all was handed over at that position; `None`: not known.
    pub read_until: Option<Timestamp>,
    /// The last reading of the homeserver's clock; `None` if there never was one.
    pub clock: Option<ClockReading>,
    /// The pictures of nodes that the account has uploaded.
    pub avatars: Vec<NodeAvatar>,
}

/// Whether other people's clients show the device as verified by its owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceTrust {
    /// The account's cross-signing identity has signed the device.
    Verified,
    /// The account's identity has not signed the device, or there is no identity.
    Unverified,
    /// Not known yet: the device's keys have not been looked up.
    #[default]
    Unknown,
}

/// Why the adapter cannot run, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// Nobody has logged in, so there is no session to restore.
    #[error("not logged in to Matrix")]
    NoSession,
    /// The homeserver does not accept the session any more.
    #[error("{0}")]
    SessionDead(Box<RefusedLogin>),
    /// The homeserver cannot be asked, or its answer is of no use.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The access token has expired, and cannot be renewed now.
    #[error(transparent)]
    Renewal(Box<RenewalError>),
    /// A file of the login cannot be read or written, or is damaged.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The SDK's store cannot be used: its path, and the cause.
    #[error("cannot open the Matrix store in `{0}`")]
    Store(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The consumer of the batches has ended, so nothing more can be handed over.
    #[error("nobody takes the events any more")]
    Closed,
}

impl Explained for MatrixError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSession => Some("run `relay auth login`".to_owned()),
            Self::SessionDead(refused) => {
                let relay = "the relay asks again, at least every 5 minutes, and goes on by itself when it is accepted again";
                refused.hint().map(|cure| format!("{relay}: {cure}"))
            }
            Self::Server(error) => error.hint(),
            Self::Renewal(error) => match &**error {
                RenewalError::Service(error) => error.hint(),
                RenewalError::Files(error) => error.hint(),
                RenewalError::NoToken | RenewalError::Ending => None,
            },
            Self::Files(error) => error.hint(),
            Self::Store(path, cause) => {
                let trouble = Trouble::of(&**cause).map(|it| full_text(&it.at(path)));
                trouble.or_else(|| Some(format!("if it is damaged, {LOG_IN_ANEW}")))
            }
            Self::Closed => None,
        }
    }
}

/// The adapter, with its session restored and its store open; not yet connected.
#[derive(Debug)]
pub struct Matrix {
    files: Files,
    /// The login that it uses, as stored on disk.
    pub session: StoredSession,
    rooms: Arc<rooms::Rooms>,
    /// Events on the path of requests to the server.
    way: Arc<gate::Notes>,
    /// Who renews the tokens, if they are those of a login service.
    renewal: Option<Arc<renewal::Renewal>>,
}

impl Matrix {
    /// Opens the store and restores the session of `relay auth login`. Makes no request: the server may be down. Fails
    /// with [`MatrixError::NoSession`] if nobody has logged in, and with other errors if files cannot be used.
    pub async fn restore(files: Files, options: Options) -> Result<Self, MatrixError> {
        let way = Arc::default();
        let restored = client::restore(&files, options.e2ee.recipients, &way).await?;
        let (client, session, renewal) = restored;
        let rooms = rooms::Rooms::new(client, session.user_id.clone(), options);
        Ok(Self {
            files,
            session,
            rooms: Arc::new(rooms),
            way,
            renewal,
        })
    }

    /// Returns a sender to the rooms; it works while [`Matrix::run`] runs.
    pub fn sender(&self) -> Sender {
        Sender {
            rooms: Arc::clone(&self.rooms),
        }
    }

    /// Returns what a person works with on this session; it works while [`Matrix::run`] runs.
    pub fn hand(&self) -> hand::Hand {
        hand::Hand::new(self.rooms.client.clone(), self.rooms.options.e2ee)
    }

    /// Returns a stream of the device's trust, as known without asking the server: the current value, then one after
    /// each possible change. Never ends.
    pub fn trust(&self) -> BoxStream<'static, DeviceTrust> {
        let client = self.rooms.client.clone();
        let changes = client.encryption().verification_state();
        Box::pin(changes.then(move |_| client::device_trust(client.clone())))
    }

    /// Returns where a first run would begin now. To be stored before [`Matrix::run`].
    pub async fn beginning(&self) -> Beginning {
        let position = sync::sdk_position(&self.rooms.client).await;
        clock::OurClocks::now(&self.rooms.options.clock).beginning(position)
    }

    /// Reads and joins the mapped rooms and hands over batches, until `stop`.
    ///
    /// Hands over everything since [`Start::position`], some of it possibly again. Retries without end while the server
    /// cannot be reached. Fails with [`MatrixError::SessionDead`] if the server does not accept the session, and with
    /// [`MatrixError::Closed`] if the consumer of the batches is gone.
    ///
    /// # Cancel safety
    ///
    /// If dropped, what was not committed is handed over again by the next run, from the stored position.
    pub async fn run(
        self,
        start: Start,
        batches: mpsc::Sender<Batch>,
        stop: CancellationToken,
    ) -> Result<(), MatrixError> {
        self.rooms.avatars.remember(&start.avatars);
        let rooms = &self.rooms;
        let uploads =
            avatars::upload_wanted(&rooms.avatars, &rooms.client, &rooms.own, &rooms.changed);
        let store = self.files.sdk();
        let way = Arc::clone(&self.way);
        let sync = sync::Sync::new(&self.rooms, &store, way, start, batches);
        // Each branch is cancel safe: what is not committed is fetched again from the position.
        let result = tokio::select! {
            result = Box::pin(sync.run(stop)) => result,
            () = Box::pin(joining::keep_joined(&self.rooms)) => Ok(()),
            never = Box::pin(appearance::keep(&self.rooms)) => match never {},
            never = Box::pin(uploads) => match never {},
            never = verification::accept_from(&self.rooms.client, &self.rooms.options.verify_with) => match never {},
            words = renewal::keep_fresh(&self.rooms.client, self.renewal.as_ref()) => {
                Err(self.session.refused(LoginRefusal::ended(words)))
            }
            refusal = self.rooms.refused.wait() => Err(self.session.refused(refusal.clone())),
        };
        if let Err(MatrixError::SessionDead(_)) = result {
            // The next user of the session, or a new login, possibly in another process, needs the store.
            client::close(&self.rooms.client).await;
        }
        result
    }
}
