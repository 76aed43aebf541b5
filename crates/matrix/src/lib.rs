//! The Matrix adapter: what happens in the mapped rooms comes in as batches of [`MatrixEvent`]s, and a [`Sender`]
//! takes what the relay says there. Nothing is decided here about what crosses.
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

pub mod auth;
mod bans;
mod client;
mod clock;
mod content;
mod errors;
mod events;
mod files;
mod gaps;
mod gate;
mod html;
mod joining;
mod keys;
mod late;
mod links;
mod pulse;
mod reader;
mod recovery;
mod rooms;
#[cfg(test)]
mod scripted;
mod send;
mod server;
mod session;
mod sync;
mod task;
mod trouble;
mod words;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::files::LOG_IN_ANEW;
use relay_config::{E2ee, UserPattern};
use relay_disk::Trouble;
use relay_model::{
    Clock, ClockReading, Explained, Gap, MatrixEvent, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedServerName, Synced, UndecryptableEvent,
};

pub use self::auth::ask;
pub use self::files::{Files, FilesError};
pub use self::pulse::{Failing, Heard, Pulse};
pub use self::send::Sender;
pub use self::server::ServerError;
pub use self::session::{BackupUse, Made, RefusedLogin, StoredSession};
pub use self::trouble::RoomTrouble;

/// What the adapter is told by the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The mapped rooms, ids or aliases, each once.
    pub rooms: Vec<OwnedRoomOrAliasId>,
    /// Servers over which they can be joined, as far as the configuration names some.
    pub via: HashMap<OwnedRoomOrAliasId, Vec<OwnedServerName>>,
    /// Whose invites are accepted beside those to rooms of the configuration; `None`: no invites at all.
    pub invites: Option<Vec<UserPattern>>,
    /// Whether encrypted rooms are read, and whose devices get the keys of what we say.
    pub e2ee: E2ee,
    /// Where the server's answers are noted.
    pub pulse: Pulse,
    /// What this computer's clocks show.
    pub clock: Clock,
}

/// What happened since the last batch.
#[derive(Debug)]
pub struct Batch {
    /// What happened, in each room in its order. An event can come again in a later batch.
    pub events: Vec<MatrixEvent>,
    /// The place in the server's stream to go on from, with all that is missing before it: its rooms' history could not be
    /// fetched yet. To be stored in the transaction that accepts the events.
    pub synced: Synced,
    /// Tells that the transaction is committed: only then more is asked for. Dropped without a word: the adapter stops.
    pub committed: oneshot::Sender<()>,
}

/// What was stored when we ran last, for going on from there.
#[derive(Debug, Default)]
pub struct Start {
    /// The position of the last committed batch, if it can be read.
    pub position: Option<String>,
    /// There was one. Else nothing was said before now.
    pub has_run: bool,
    /// The rooms that were mapped and joined then, by their names in the configuration. In others what was said before
    /// now is history.
    pub known: Vec<(OwnedRoomOrAliasId, OwnedRoomId)>,
    /// These are all of them. Else any room may be one.
    pub knows_all: bool,
    /// Rooms that were mapped once; as far as they are replaced, what was said there before is still read.
    pub former: Vec<OwnedRoomId>,
    /// What was missing before the position.
    pub gaps: Vec<Gap>,
    /// The events that could not be decrypted so far; they are tried again when keys come.
    pub kept: Vec<UndecryptableEvent>,
    /// What the homeserver's clock showed last.
    pub clock: Option<ClockReading>,
}

/// Whether other people's clients show the device as verified by its owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceTrust {
    /// It is signed by its owner.
    Verified,
    /// It is not.
    Unverified,
    /// It is not known yet.
    #[default]
    Unknown,
}

/// Why the adapter does not run.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// Nobody has logged in.
    #[error("not logged in to Matrix")]
    NoSession,
    /// The server does not accept the session.
    #[error("{0}")]
    SessionDead(Box<RefusedLogin>),
    /// The server cannot be asked.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file of the session cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The SDK's store cannot be used: where, and why.
    #[error("cannot open the Matrix store in `{0}`")]
    Store(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Who takes the batches is gone.
    #[error("nobody takes the events any more")]
    Closed,
}

impl Explained for MatrixError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSession => Some("run `relay auth login`".to_owned()),
            Self::SessionDead(refused) => refused.hint(),
            Self::Server(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Store(path, cause) => {
                let trouble = Trouble::of(&**cause).map(|trouble| trouble.at(path));
                Some(trouble.map_or_else(
                    || format!("if it is damaged, {LOG_IN_ANEW}"),
                    |trouble| format!("{trouble}; {}", trouble.hint()),
                ))
            }
            Self::Closed => None,
        }
    }
}

/// The adapter, with its session restored.
#[derive(Debug)]
pub struct Matrix {
    files: Files,
    /// As it was on disk.
    pub session: StoredSession,
    rooms: Arc<rooms::Rooms>,
    /// What happens on the way to the server.
    way: Arc<gate::Notes>,
}

impl Matrix {
    /// Opens the store and restores the session of `relay auth login`. Asks the server nothing: it may be away. Fails with
    /// [`MatrixError::NoSession`] where nobody has logged in; otherwise when files cannot be used.
    pub async fn restore(files: Files, options: Options) -> Result<Self, MatrixError> {
        let way = Arc::default();
        let (client, session) = client::restore(&files, options.e2ee.recipients, &way).await?;
        let rooms = rooms::Rooms::new(client, session.user_id.clone(), options);
        Ok(Self {
            files,
            session,
            rooms: Arc::new(rooms),
            way,
        })
    }

    /// Returns what sends to the rooms; it goes on working while [`Matrix::run`] runs.
    pub fn sender(&self) -> Sender {
        Sender {
            rooms: Arc::clone(&self.rooms),
        }
    }

    /// Returns what tells whether the device is verified by its owner, as far as is known without asking the server: now,
    /// and whenever that may have changed. Never ends.
    pub fn trust(&self) -> BoxStream<'static, DeviceTrust> {
        let client = self.rooms.client.clone();
        let changes = client.encryption().verification_state();
        Box::pin(changes.then(move |_| client::device_trust(client.clone())))
    }

    /// Reads the rooms, joins what is mapped, and hands over what happens, until `stop`.
    ///
    /// What was said since [`Start::position`] is handed over, some of it perhaps again. While the server cannot be reached
    /// it tries again, for ever. Fails with [`MatrixError::SessionDead`] when the server does not accept the session, and
    /// with [`MatrixError::Closed`] when nobody takes the batches.
    pub async fn run(
        self,
        start: Start,
        batches: mpsc::Sender<Batch>,
        stop: CancellationToken,
    ) -> Result<(), MatrixError> {
        let store = self.files.sdk();
        let way = Arc::clone(&self.way);
        let sync = sync::Sync::new(&self.rooms, &store, way, start, batches);
        // Each branch may be dropped at any point: what is not committed is fetched again from the position.
        let result = tokio::select! {
            result = Box::pin(sync.run(stop)) => result,
            () = Box::pin(joining::keep_joined(&self.rooms)) => Ok(()),
            refusal = self.rooms.refused.wait() => Err(self.session.refused(refusal.clone())),
        };
        if let Err(MatrixError::SessionDead(_)) = result {
            // Whoever takes the session up again, or a new login, perhaps by another process, needs the store.
            client::close(&self.rooms.client).await;
        }
        result
    }
}
