//! Opening a serial port on Windows, which gives it to one program at a time.

use std::io;
use std::path::{Path, PathBuf};

use tokio_serial::{SerialPort as _, SerialStream};
use tracing::debug;

use super::error::SerialError;
use crate::wires::serial_ports;

/// The speed of every radio's console. The library's other defaults fit: 8 bits, no parity, one stop bit.
const BAUD: u32 = 115_200;

/// A port that is there.
pub(super) type Sight = PathBuf;

/// Looks at a port; `None`: it is not there.
pub(super) fn sight(port: PathBuf) -> Option<Sight> {
    let is_port = |it: &PathBuf| it.as_os_str().eq_ignore_ascii_case(port.as_os_str());
    serial_ports::all().iter().any(is_port).then_some(port)
}

/// Opens and configures a port. May block.
pub(super) fn open(port: &Path) -> Result<SerialStream, SerialError> {
    let builder = tokio_serial::new(port.to_string_lossy(), BAUD);
    let opened = SerialStream::open(&builder);
    let mut stream = opened.map_err(|error| refused(port, error.into()))?;
    if serial_ports::needs_dtr(port)
        && let Err(error) = stream.write_data_terminal_ready(true)
    {
        debug!(port = %port.display(), %error, "the line DTR cannot be set");
    }
    Ok(stream)
}

/// Does nothing: the port is free as soon as it is closed.
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
pub(super) fn share(_: &mut SerialStream) -> tokio_serial::Result<()> {
    Ok(())
}

/// Returns whether an error of an open port says that its device is gone. Drivers differ in what they say. Source: winerror.h.
pub(super) fn is_gone(error: &io::Error) -> bool {
    const FILE_NOT_FOUND: i32 = 2;
    const ACCESS_DENIED: i32 = 5;
    const BAD_COMMAND: i32 = 22;
    const GEN_FAILURE: i32 = 31;
    const OPERATION_ABORTED: i32 = 995;
    const DEVICE_NOT_CONNECTED: i32 = 1167;
    matches!(
        error.raw_os_error(),
        Some(
            FILE_NOT_FOUND
                | ACCESS_DENIED
                | BAD_COMMAND
                | GEN_FAILURE
                | OPERATION_ABORTED
                | DEVICE_NOT_CONNECTED
        )
    )
}

/// Interprets an error of opening a port.
fn refused(path: &Path, source: io::Error) -> SerialError {
    let port = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => SerialError::Missing { port },
        // What Windows says of a port that another program has open.
        io::ErrorKind::PermissionDenied => SerialError::Busy {
            port,
            holders: Vec::new(),
        },
        _ => SerialError::Open { port, source },
    }
}
