//! Why there is no link over Bluetooth, and what a person can do about it.

use std::time::Duration;

use super::super::connection::{ConnectionError, LossKind};

/// Why there is no link over Bluetooth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BleError {
    /// Without the system's message bus there is no Bluetooth on Linux.
    #[error(
        "the system's D-Bus does not answer: is its service running (`systemctl status dbus`)?"
    )]
    NoBus,
    /// The Bluetooth service does not run.
    #[error(
        "the Bluetooth service does not answer: install `bluez`, or start it with \
         `systemctl start bluetooth`"
    )]
    NoService,
    /// Not every user may use it.
    #[error(
        "the system does not let this user use Bluetooth: add it to the group `bluetooth` \
         (`usermod -aG bluetooth USER`) and start the relay again"
    )]
    Denied,
    /// No adapter.
    #[error(
        "this computer has no Bluetooth adapter, or its driver is missing (`bluetoothctl list` shows none)"
    )]
    NoAdapter,
    /// It is off, and somebody may have switched it off on purpose.
    #[error(
        "the Bluetooth adapter is off: switch it on with `bluetoothctl power on` \
         (after `rfkill unblock bluetooth`, if it is blocked)"
    )]
    AdapterOff,
    /// The radio is not heard.
    #[error(
        "the radio `{device}` was not found within {} s: is it on, in reach, with Bluetooth enabled, \
         and is no phone connected to it?",
        limit.as_secs()
    )]
    NotFound {
        /// Its address or name.
        device: String,
        /// How long was looked for it.
        limit: Duration,
    },
    /// The link cannot be made.
    #[error("the radio `{device}` was found but does not connect ({cause}): is it in reach?")]
    Connect {
        /// Its address or name.
        device: String,
        /// What the system says.
        cause: String,
    },
    /// It was made, and lost before it could be used.
    #[error("the link to the radio `{0}` was lost while its services were read")]
    LostAtOnce(String),
    /// That is something else.
    #[error("the device `{0}` is no Meshtastic radio: it lacks its Bluetooth service")]
    NotARadio(String),
    /// It wants a bond first.
    #[error(
        "the radio `{0}` wants to be paired: set `meshtastic.ble_pin`, or pair it once with \
         `bluetoothctl` (`scan on`, `pair {0}` and its PIN); if it was paired before and has forgotten it, \
         `remove {0}` first"
    )]
    NotPaired(String),
    /// It shows or has another PIN.
    #[error(
        "the radio `{0}` refuses the PIN: `meshtastic.ble_pin` must be its fixed PIN (123456 unless changed); \
         a radio that shows a new one each time is paired once with `bluetoothctl`"
    )]
    WrongPin(String),
    /// Pairing failed otherwise.
    #[error("the radio `{device}` cannot be paired ({cause})")]
    Pairing {
        /// Its address or name.
        device: String,
        /// What the system says.
        cause: String,
    },
    /// The system takes too long.
    #[error("{what} took longer than {} s", limit.as_secs())]
    TooLong {
        /// What.
        what: &'static str,
        /// How long it could have.
        limit: Duration,
    },
    /// Bluetooth ended under us.
    #[error("the Bluetooth service has ended")]
    ServiceEnded,
    /// What carries our calls to the Bluetooth service ended under us: D-Bus on Linux.
    #[error("the way to the Bluetooth service has ended")]
    WayEnded,
    /// The link broke.
    #[error("the link is lost: the radio is off or out of reach")]
    Lost,
    /// The device was removed from the system.
    #[error("the radio was removed from the system's list of devices")]
    Removed,
    /// Whatever else the system says.
    #[error("{what} failed: {cause}")]
    Other {
        /// What.
        what: &'static str,
        /// What the system says.
        cause: String,
    },
}

/// What the system says where a bond is missing. The numbers are ATT's: insufficient authentication, authorization,
/// encryption key size, encryption.
const NOT_PAIRED: &[&str] = &[
    "NotPermitted",
    "NotAuthorized",
    "Not paired",
    "Authentication",
    "error: 0x05",
    "error: 0x08",
    "error: 0x0c",
    "error: 0x0f",
];

impl BleError {
    /// Returns what an error of the system means; only a radio is paired.
    pub(super) fn of(what: &'static str, radio: Option<&str>, error: &btleplug::Error) -> Self {
        if matches!(error, btleplug::Error::NotConnected) {
            return Self::Lost;
        }
        // The names of D-Bus errors stand in the debug form alone.
        Self::meant(what, radio, error.to_string(), &format!("{error:?}"))
    }

    /// Returns what a sentence of the system means; `all` has the names of errors too.
    pub(super) fn meant(
        what: &'static str,
        radio: Option<&str>,
        sentence: String,
        all: &str,
    ) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| all.contains(word));
        if says(&["ServiceUnknown", "NameHasNoOwner", "Spawn.", "NoReply"]) {
            Self::NoService
        } else if says(&["Failed to send message"]) {
            Self::WayEnded
        } else if says(&["UnknownObject", "UnknownMethod", "DoesNotExist"]) {
            Self::Removed
        } else if says(&["AccessDenied"]) {
            Self::Denied
        } else if let Some(radio) = radio.filter(|_| says(NOT_PAIRED)) {
            Self::NotPaired(radio.to_owned())
        } else if says(&["NotReady"]) {
            Self::AdapterOff
        } else if says(&["Not connected", "NotConnected"]) {
            Self::Lost
        } else {
            Self::Other {
                what,
                cause: sentence,
            }
        }
    }

    /// Returns whether a call got no answer: the service hangs, or the way to it has ended unseen.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }

    /// Returns whether the way to the Bluetooth service has ended. A service that ends leaves it as it is.
    pub(super) fn ends_way(&self) -> bool {
        match self {
            Self::NoBus | Self::WayEnded => true,
            Self::NoService
            | Self::ServiceEnded
            | Self::NoAdapter
            | Self::Denied
            | Self::AdapterOff
            | Self::NotFound { .. }
            | Self::Connect { .. }
            | Self::LostAtOnce(_)
            | Self::NotARadio(_)
            | Self::NotPaired(_)
            | Self::WrongPin(_)
            | Self::Pairing { .. }
            | Self::TooLong { .. }
            | Self::Lost
            | Self::Removed
            | Self::Other { .. } => false,
        }
    }
}

impl From<BleError> for ConnectionError {
    fn from(error: BleError) -> Self {
        let kind = match &error {
            BleError::Lost => LossKind::Ended,
            BleError::NotFound { .. } | BleError::Connect { .. } | BleError::LostAtOnce(_) => {
                LossKind::Absent
            }
            _ => LossKind::Barred,
        };
        Self::Bluetooth {
            kind,
            cause: Box::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: &str, message: &str) -> BleError {
        let error = dbus::Error::new_custom(name, message);
        BleError::of(
            "reading",
            Some("Base"),
            &btleplug::Error::Other(Box::new(error)),
        )
    }

    #[test]
    fn what_the_system_says_becomes_what_a_person_can_do() {
        let not_paired = BleError::NotPaired("Base".to_owned());
        for (name, message, expected) in [
            (
                "org.bluez.Error.NotPermitted",
                "Not paired",
                not_paired.clone(),
            ),
            (
                "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x05",
                not_paired,
            ),
            ("org.bluez.Error.Failed", "Not connected", BleError::Lost),
            (
                "org.freedesktop.DBus.Error.Failed",
                "Failed to send message",
                BleError::WayEnded,
            ),
            (
                "org.freedesktop.DBus.Error.ServiceUnknown",
                "The name org.bluez was not provided by any .service files",
                BleError::NoService,
            ),
            (
                "org.freedesktop.DBus.Error.UnknownObject",
                "Unknown object",
                BleError::Removed,
            ),
            (
                "org.bluez.Error.NotReady",
                "Resource Not Ready",
                BleError::AdapterOff,
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                BleError::Other {
                    what: "reading",
                    cause: "le-connection-abort-by-local".to_owned(),
                },
            ),
        ] {
            assert_eq!(meaning(name, message), expected, "{name} {message}");
        }
    }
}
