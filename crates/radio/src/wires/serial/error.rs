//! The errors of opening a serial port, each with its cure.

use std::io;
use std::path::PathBuf;

use relay_claims::Holder;
use relay_model::{Explained, LossKind};

use super::OPEN_LIMIT;
use crate::claim::HELD_HINT;
use crate::error::ConnectionError;
use crate::wires::found_port::FoundPort;

/// Why a serial port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::wires) enum SerialError {
    #[error("there is no serial port `{}`", port.display())]
    Missing { port: PathBuf },
    #[error("no serial port looks like a radio")]
    NoneFound,
    #[error("several serial ports may be the radio: {}", listed(ports))]
    Several { ports: Vec<FoundPort> },
    /// Other programs have it open; as far as they can be seen.
    #[error("the serial port `{}` is in use{}", port.display(), by_whom(holders))]
    Busy { port: PathBuf, holders: Vec<String> },
    /// Another relay on this computer has it open.
    #[error("the serial port `{}` is in use by {holder}", port.display())]
    Held { port: PathBuf, holder: Holder },
    #[error("the relay may not open the serial port `{}`", port.display())]
    #[cfg_attr(windows, expect(dead_code, reason = "Windows does not tell it"))]
    Denied {
        port: PathBuf,
        cure: String,
        source: io::Error,
    },
    #[error("`{}` is not a serial port", port.display())]
    #[cfg_attr(windows, expect(dead_code, reason = "Windows does not tell it"))]
    NotSerial { port: PathBuf },
    #[error("cannot open the serial port `{}`", port.display())]
    Open { port: PathBuf, source: io::Error },
    #[error("opening the serial port takes longer than {} s", OPEN_LIMIT.as_secs())]
    OpenLimit,
}

impl From<SerialError> for ConnectionError {
    fn from(error: SerialError) -> Self {
        let kind = match error {
            SerialError::Missing { .. } | SerialError::NoneFound => LossKind::Absent,
            _ => LossKind::Barred,
        };
        Self::no_way(kind, error)
    }
}

impl Explained for SerialError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => "is the radio plugged in?",
            Self::NoneFound => {
                "plug it in with a cable that carries data, or name its port as `meshtastic.serial_port`"
            }
            Self::Several { .. } => "set `meshtastic.serial_port` to one of them",
            Self::Busy { holders, .. } => cure_for_holders(holders),
            Self::Held { .. } => HELD_HINT,
            Self::Denied { cure, .. } => cure,
            Self::OpenLimit | Self::Open { .. } => "unplug the radio, and plug it in again",
            Self::NotSerial { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn by_whom(holders: &[String]) -> String {
    let named = (!holders.is_empty()).then(|| format!(" by {}", holders.join(", ")));
    named.unwrap_or_default()
}

fn cure_for_holders(holders: &[String]) -> &'static str {
    if holders.iter().any(|it| it.starts_with("ModemManager")) {
        "it takes radios for modems: `sudo systemctl disable --now ModemManager`, or have udev set \
         ID_MM_DEVICE_IGNORE for the radio"
    } else if holders.is_empty() {
        "close the other program (a terminal, an app, another relay, ModemManager)"
    } else {
        "only one program can have it"
    }
}

fn listed(ports: &[FoundPort]) -> String {
    let named = |port: &FoundPort| {
        let title = port.usb.as_ref().and_then(|usb| usb.name.as_deref());
        let title = title.map_or(String::new(), |title| format!(" ({title})"));
        format!("`{}`{title}", port.best_name().display())
    };
    ports.iter().map(named).collect::<Vec<_>>().join(", ")
}
