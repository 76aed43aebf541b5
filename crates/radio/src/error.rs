//! Why there is no connection, no link, or no radio at all.

use std::io;
use std::time::Duration;

use relay_model::{Chain, Event, Explained, LossKind, RadioEvent};
use relay_wire::codec::TooLong;

/// How long the other side may take to read a frame.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Why the radio's side cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// Bluetooth is not built in.
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

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// There is no way to the radio over its wire, or none any more.
    #[error("{}", Chain(&**cause))]
    NoWay {
        /// What that means.
        kind: LossKind,
        /// Why, with whatever caused that.
        cause: Box<dyn Explained + Send + Sync>,
    },
    /// The radio closed it.
    #[error("the radio closed the connection")]
    Closed,
    /// It broke while we waited.
    #[error("cannot read from the radio")]
    Read(#[source] io::Error),
    /// It broke while we wrote.
    #[error("cannot write to the radio")]
    Write(#[source] io::Error),
    /// The radio does not read.
    #[error("the radio did not take a frame within {} s", WRITE_LIMIT.as_secs())]
    WriteLimit,
    /// A frame is too long.
    #[error("cannot frame a packet")]
    Frame(#[from] TooLong),
}

/// Why there is no link, or none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) kind: LossKind,
    /// The error and its causes, in one sentence.
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

impl Loss {
    /// The link stands, but nobody speaks on it as a radio does, or should; somebody has, or not.
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

    /// Returns whether a person who was told of the other one learns nothing new.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // Each of those wants something else of a person.
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
        let Self::NoWay { cause, .. } = self else {
            return None;
        };
        cause.hint()
    }
}

impl ConnectionError {
    /// A wire tells why there is no way over it.
    pub(super) fn no_way(kind: LossKind, cause: impl Explained + Send + Sync + 'static) -> Self {
        let cause = Box::new(cause);
        Self::NoWay { kind, cause }
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
pub(super) enum End {
    Lost(Loss),
    Stopped,
    EventsClosed,
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(Loss::from(&error))
    }
}
