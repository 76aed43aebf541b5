//! Opening a serial port: exclusively, and without a reset of the board.
//!
//! Neither opening nor closing may reset it: the modem lines keep their state on closing, and are changed only where the
//! kind of port needs it (docs/decisions/0011).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions};
use tokio_serial::{SerialPort as _, SerialStream};
use tracing::debug;

use super::error::SerialError;
use crate::wires::serial_ports::{self, holders_of};

/// The speed of every radio's console. The library's other defaults fit: 8 bits, no parity, one stop bit.
pub(super) const BAUD: u32 = 115_200;

/// A port, with data that changes when another device takes its name, or its permissions change.
pub(super) type Sight = (PathBuf, [u64; 3], [i64; 2]);

/// Looks at a port; `None`: it is not there.
pub(super) fn sight(port: PathBuf) -> Option<Sight> {
    let it = fs::metadata(&port).ok()?;
    let (device, changed) = (
        [it.dev(), it.ino(), it.rdev()],
        [it.ctime(), it.ctime_nsec()],
    );
    Some((port, device, changed))
}

/// Opens and configures a port. May block.
pub(super) fn open(port: &Path) -> Result<SerialStream, SerialError> {
    // Held until the port is open, since closing it in between would change its lines.
    let held = keep_lines(port)?;
    let builder = tokio_serial::new(port.to_string_lossy(), BAUD).exclusive(false);
    let mut stream = SerialStream::open(&builder).map_err(|error| match error.kind() {
        tokio_serial::ErrorKind::NoDevice => busy(port),
        _ => refused(port, error.into()),
    })?;
    if !is_pseudo_terminal(&held)
        && let Err(error) = rustix::termios::ioctl_tiocexcl(&held)
    {
        debug!(port = %port.display(), %error, "other programs cannot be kept from opening the port");
    }
    drop(held);
    if serial_ports::needs_dtr(port)
        && let Err(error) = stream.write_data_terminal_ready(true)
    {
        debug!(port = %port.display(), %error, "the line DTR cannot be set");
    }
    Ok(stream)
}

/// Makes the port keep its modem lines when it is closed: on many boards they trigger a reset. Fails if the port cannot
/// be opened.
fn keep_lines(port: &Path) -> Result<File, SerialError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let refused = |error: rustix::io::Errno| refused(port, error.into());
    let held = rustix::fs::open(port, flags, Mode::empty()).map_err(refused)?;
    if !rustix::termios::isatty(&held) {
        let port = port.to_owned();
        return Err(SerialError::NotSerial { port });
    }
    // Exclusive needs a port that nobody holds. Shared admits the port that is opened next, which keeps it and so
    // blocks every further exclusive lock.
    for lock in [
        FlockOperation::NonBlockingLockExclusive,
        FlockOperation::NonBlockingLockShared,
    ] {
        if rustix::fs::flock(&held, lock) == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(busy(port));
        }
    }
    let mut settings = rustix::termios::tcgetattr(&held).map_err(refused)?;
    settings.control_modes.remove(ControlModes::HUPCL);
    rustix::termios::tcsetattr(&held, OptionalActions::Now, &settings).map_err(refused)?;
    Ok(held.into())
}

/// Returns whether a port is a pseudo-terminal. The system keeps exclusive access to one as long as its other end is
/// open, so after an unclean exit only root could open it again.
fn is_pseudo_terminal(port: &File) -> bool {
    const MAJORS: std::ops::RangeInclusive<u32> = 136..=143;
    let device = port.metadata().map(|it| it.rdev());
    device.is_ok_and(|it| MAJORS.contains(&rustix::fs::major(it)))
}

/// Lets other programs open the port after us: the system keeps exclusive access as long as another one has it open.
pub(super) fn share(stream: &mut SerialStream) -> tokio_serial::Result<()> {
    stream.set_exclusive(false)
}

/// Returns whether an error of an open port says that its device is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::IO | Errno::NXIO | Errno::NODEV)
    )
}

fn busy(path: &Path) -> SerialError {
    let (port, holders) = (path.to_owned(), holders_of(path));
    SerialError::Busy { port, holders }
}

/// Interprets an error of opening a port.
pub(super) fn refused(path: &Path, source: io::Error) -> SerialError {
    let port = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => SerialError::Missing { port },
        io::ErrorKind::ResourceBusy => busy(path),
        io::ErrorKind::PermissionDenied => {
            let file = fs::metadata(path).ok();
            let group = file.and_then(|file| serial_ports::group_name(file.gid()));
            let cure = cure_for_rights(group.as_deref());
            SerialError::Denied { port, cure, source }
        }
        _ => SerialError::Open { port, source },
    }
}

/// Names the group that owns the port, unless that is root's.
pub(super) fn cure_for_rights(group: Option<&str>) -> String {
    let group = group.filter(|group| *group != "root").unwrap_or("dialout");
    format!(
        "add its user to the group `{group}` (`sudo usermod -aG {group} USER`) and start it from a new login; \
         in a container, hand the device in (`--device`) and add the group"
    )
}
