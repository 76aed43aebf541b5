//! Errors of a connection, a link and the adapter.

use std::error::Error;
use std::io;
use std::time::Duration;

use relay_model::{Chain, Event, Explained, LossKind, RadioEvent};
use relay_wire::codec::TooLong;

/// Maximum time for the other end to read a frame.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Why the adapter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// This build has no Bluetooth.
    #[error("this relay was built without Bluetooth")]
    NoBluetooth,
    /// The daemon's event loop has ended.
    #[error("nobody takes the radio's events")]
    EventsClosed,
}

impl Explained for RadioError {
    fn hint(&self) -> Option<String> {
        let cure = "build it with the feature `ble`, or use another `connection_type`";
        matches!(self, Self::NoBluetooth).then(|| cure.to_owned())
    }
}

/// Why a connection failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The radio cannot be reached over its wire, or no longer, in the words of the wire's own error.
    #[error("{cause}")]
    NoWay {
        /// What happened to the link, which decides on the hint and the next attempt.
        kind: LossKind,
        /// What a person can do, as far as the wire knows it.
        hint: Option<String>,
        /// The wire's own error: serial port, socket or Bluetooth.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The radio closed the connection in an orderly way.
    #[error("the radio closed the connection")]
    Closed,
    /// Reading from the open connection failed.
    #[error("cannot read from the radio")]
    Read(#[source] io::Error),
    /// Writing to the open connection failed.
    #[error("cannot write to the radio")]
    Write(#[source] io::Error),
    /// The radio did not read a frame within the time limit.
    #[error("the radio did not take a frame within {} s", WRITE_LIMIT.as_secs())]
    WriteLimit,
    /// A frame for the radio exceeds the protocol's limit of 512 bytes.
    #[error("cannot frame a packet")]
    Frame(#[from] TooLong),
}

/// Why a link was lost or could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) kind: LossKind,
    /// The error and its sources, as one sentence.
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

impl Loss {
    /// A link that is open but on which no radio answers; `has_heard` tells whether one did before.
    pub(super) fn of_silence(cause: &str, has_heard: bool) -> Self {
        Self {
            kind: if has_heard {
                LossKind::Silent
            } else {
                LossKind::Nobody
            },
            cause: cause.to_owned(),
            hint: None,
        }
    }

    /// Returns whether reporting both would tell a person nothing new.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // Each of these kinds has its own remedy.
        let has_own_cure = matches!(self.kind, LossKind::Barred | LossKind::Refused);
        self.kind == other.kind && (!has_own_cure || self.cause == other.cause)
    }
}

impl From<Loss> for Event {
    fn from(Loss { kind, cause, hint }: Loss) -> Self {
        Self::Radio(RadioEvent::Lost { kind, cause, hint })
    }
}

impl From<&ConnectionError> for Loss {
    fn from(error: &ConnectionError) -> Self {
        Self {
            kind: error.kind(),
            cause: Chain(error).to_string(),
            hint: error.hint(),
        }
    }
}

impl Explained for ConnectionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoWay { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

impl ConnectionError {
    pub(super) fn no_way(kind: LossKind, cause: impl Explained + Send + Sync + 'static) -> Self {
        let (hint, cause) = (cause.hint(), Box::new(cause));
        Self::NoWay { kind, hint, cause }
    }

    pub(super) fn kind(&self) -> LossKind {
        match self {
            Self::NoWay { kind, .. } => *kind,
            Self::Closed => LossKind::Ended,
            Self::Read(_) | Self::Write(_) | Self::Frame(_) => LossKind::Broken,
            Self::WriteLimit => LossKind::Silent,
        }
    }
}

/// Why a connection is no longer served.
pub(super) enum ConnectionEnd {
    Lost(Loss),
    Stopped,
    EventsClosed,
}

impl From<ConnectionError> for ConnectionEnd {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(Loss::from(&error))
    }
}
