//! Errors of a Bluetooth link, and their remedies.

use std::time::Duration;

use tokio::time::timeout;

use crate::claim::HELD_HINT;
use crate::error::ConnectionError;
use relay_claims::Holder;
use relay_model::{Explained, LossKind};

/// Maximum time to search for the radio.
pub(super) const SCAN_LIMIT: Duration = Duration::from_secs(20);

/// The radio's names in messages and commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Address or name as configured, for messages.
    pub(super) name: String,
    /// Bluetooth address, for `bluetoothctl`.
    pub(super) address: String,
}

/// Why there is no Bluetooth link: each message stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BleError {
    /// Bluetooth on Linux needs the system's message bus.
    #[error("the system's D-Bus does not answer")]
    NoBus,
    #[error("the Bluetooth service does not answer")]
    NoService,
    #[error("the system does not let this user use Bluetooth")]
    Denied,
    #[error("this computer has no Bluetooth adapter, or its driver is missing")]
    NoAdapter,
    /// Switched off, perhaps on purpose.
    #[error("the Bluetooth adapter is off")]
    AdapterOff,
    #[error("the radio `{device}` was not found within {} s", SCAN_LIMIT.as_secs())]
    NotFound { device: String },
    #[error("the radio `{device}` was found but does not connect ({cause})")]
    Connect { device: String, cause: String },
    #[error("the link to the radio `{0}` was lost while its services were read")]
    LostAtOnce(String),
    #[error("the device `{0}` is no Meshtastic radio: it lacks its Bluetooth service")]
    NotARadio(String),
    #[error("the radio `{}` wants to be paired", .0.name)]
    NotPaired(Named),
    /// The radio shows or uses another PIN.
    #[error("the radio `{}` refuses the PIN", .0.name)]
    WrongPin(Named),
    #[error(
        "the radio `{}` is used by another program on this computer (another relay, an app?), and serves one at a time",
        .0.name
    )]
    Used(Named),
    #[error("the radio `{device}` is used by {holder}")]
    Held { device: String, holder: Holder },
    #[error("the radio `{device}` cannot be paired ({cause})")]
    Pairing { device: String, cause: String },
    /// A call timed out: the service hangs, or the connection to it has ended unnoticed.
    #[error("Bluetooth: {what} took longer than {} s", limit.as_secs())]
    TooLong { what: &'static str, limit: Duration },
    #[error("the Bluetooth service has ended")]
    ServiceEnded,
    /// The connection to the Bluetooth service has ended: D-Bus on Linux.
    #[error("the way to the Bluetooth service has ended")]
    WayEnded,
    #[error("the Bluetooth link to the radio is lost")]
    Lost,
    #[error("the radio was removed from the system's list of Bluetooth devices")]
    Removed,
    #[error("Bluetooth: {what} failed: {cause}")]
    Other { what: &'static str, cause: String },
}

/// Error texts of a missing bond. The numbers are ATT's: insufficient authentication, authorization, encryption key
/// size, encryption.
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
    /// Interprets an error of the library; `radio` is the one to be paired, if any.
    pub(super) fn of(what: &'static str, radio: Option<&Named>, error: &btleplug::Error) -> Self {
        if matches!(error, btleplug::Error::NotConnected) {
            return Self::Lost;
        }
        // Only the debug form contains the names of D-Bus errors.
        Self::meant(what, radio, error.to_string(), &format!("{error:?}"))
    }

    /// Interprets an error text; `all` contains the names of errors too.
    pub(super) fn meant(
        what: &'static str,
        radio: Option<&Named>,
        cause: String,
        all: &str,
    ) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| all.contains(word));
        match radio {
            _ if says(&["ServiceUnknown", "NameHasNoOwner", "Spawn.", "NoReply"]) => {
                Self::NoService
            }
            _ if says(&["Failed to send message"]) => Self::WayEnded,
            _ if says(&["UnknownObject", "UnknownMethod", "DoesNotExist"]) => Self::Removed,
            _ if says(&["AccessDenied"]) => Self::Denied,
            Some(radio) if says(NOT_PAIRED) => Self::NotPaired(radio.clone()),
            _ if says(&["NotReady"]) => Self::AdapterOff,
            _ if says(&["Not connected", "NotConnected"]) => Self::Lost,
            _ => Self::Other { what, cause },
        }
    }

    /// Returns whether a link of ours may remain and has to be closed; after a loss, a link belongs to another program.
    pub(super) fn may_leave_link(&self) -> bool {
        !matches!(
            self,
            Self::Used(_) | Self::Lost | Self::LostAtOnce(_) | Self::Removed
        )
    }

    /// Returns whether the connection to the Bluetooth service has ended; the end of the service alone does not end it.
    pub(super) fn ends_way(&self) -> bool {
        matches!(self, Self::NoBus | Self::WayEnded)
    }
}

pub(super) async fn limited<T, E>(
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
    meaning: impl FnOnce(E) -> BleError,
) -> Result<T, BleError> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(meaning),
        Err(_) => Err(BleError::TooLong { what, limit }),
    }
}

impl Explained for BleError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoBus => {
                "is its service running (`systemctl status dbus`)? A container needs that of its host: `--volume /run/dbus:/run/dbus:ro`"
            }
            Self::NoService => "install `bluez`, or start it with `systemctl start bluetooth`",
            Self::Denied => {
                "add it to the group `bluetooth` (`usermod -aG bluetooth USER`) and start the relay again"
            }
            Self::NoAdapter => {
                "plug one in, or install its driver: `bluetoothctl list` shows it then"
            }
            Self::AdapterOff => {
                "switch it on with `bluetoothctl power on` (after `rfkill unblock bluetooth`, if it is blocked)"
            }
            Self::NotFound { .. } => {
                "is it on, in reach, with Bluetooth enabled, and is no phone connected to it?"
            }
            Self::Connect { .. } => "is it in reach?",
            Self::NotPaired(Named { address, .. }) => &format!(
                "set `meshtastic.ble_pin`, or pair it once with `bluetoothctl` (`scan le`, `pair {address}` and its PIN); if \
                 it was paired before and has forgotten it, `bluetoothctl remove {address}` first"
            ),
            Self::WrongPin(Named { address, .. }) => &format!(
                "`meshtastic.ble_pin` must be its fixed PIN (123456 unless changed); a radio that shows a new one each time \
                 is paired once with `bluetoothctl` (`scan le`, `pair {address}` and that PIN)"
            ),
            Self::Held { .. } => HELD_HINT,
            Self::Used(Named { address, .. }) => {
                &format!("end that program, or its link with `bluetoothctl disconnect {address}`")
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<BleError> for ConnectionError {
    fn from(error: BleError) -> Self {
        let kind = match &error {
            BleError::Lost => LossKind::Ended,
            BleError::NotFound { .. } | BleError::Connect { .. } | BleError::LostAtOnce(_) => {
                LossKind::Absent
            }
            BleError::NotPaired(_) | BleError::WrongPin(_) => LossKind::Refused,
            _ => LossKind::Barred,
        };
        Self::no_way(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::full_text;

    fn named() -> Named {
        Named {
            name: "Base".to_owned(),
            address: "C0:FF:EE:00:12:34".to_owned(),
        }
    }

    fn meaning(name: &str, message: &str) -> BleError {
        let error = dbus::Error::new_custom(name, message);
        BleError::of(
            "reading",
            Some(&named()),
            &btleplug::Error::Other(Box::new(error)),
        )
    }

    #[test]
    fn commands_name_the_radio_by_its_address_whatever_the_configuration_has() {
        for error in [
            BleError::NotPaired(named()),
            BleError::WrongPin(named()),
            BleError::Used(named()),
        ] {
            let text = full_text(&error);
            assert!(text.contains("the radio `Base`"), "{text}");
            let quoted = text.split('`').skip(1).step_by(2);
            let commands: Vec<_> = quoted
                .filter_map(|it| {
                    let command = it.strip_prefix("bluetoothctl ").unwrap_or(it);
                    command.split_once(' ').filter(|(verb, _)| *verb != "scan")
                })
                .collect();
            assert!(!commands.is_empty(), "{text}");
            for (_, whom) in commands {
                assert!(whom.starts_with(&named().address), "{text}");
            }
        }
    }

    #[test]
    fn what_ends_on_this_computer_is_not_the_radios_doing() {
        let kind = |error: BleError| ConnectionError::from(error).kind();
        assert_eq!(kind(BleError::Lost), LossKind::Ended);
        for error in [
            BleError::ServiceEnded,
            BleError::WayEnded,
            BleError::AdapterOff,
            BleError::Removed,
            BleError::Used(named()),
        ] {
            assert_eq!(kind(error.clone()), LossKind::Barred, "{error}");
        }
        let at_once = BleError::LostAtOnce("Base".to_owned());
        assert_eq!(kind(at_once), LossKind::Absent);
    }

    #[test]
    fn what_the_system_says_becomes_what_a_person_can_do() {
        let not_paired = BleError::NotPaired(named());
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
