//! The wire over a cable: a serial port, and the errors of opening it.
//!
//! Opening and closing a port must not reset the board: the modem lines keep their state on closing, and are changed
//! only where the kind of port needs it (docs/decisions/0011). The port is looked up again at each attempt, since a
//! device may return under another name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};
use tracing::{debug, warn};

use relay_model::{Explained, LossKind};

use super::serial_ports::{self, FoundPort, holders_of};
use crate::error::ConnectionError;

/// The speed of every radio's console. The library's other defaults fit: 8 bits, no parity, one stop bit.
const BAUD: u32 = 115_200;

/// Pause between two frames: small boards read byte by byte.
const FRAME_PAUSE: Duration = Duration::from_millis(50);

/// Maximum time to open a port.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How often the return of a port is checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a serial port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum SerialError {
    #[error("there is no serial port `{}`", port.display())]
    Missing { port: PathBuf },
    #[error("no serial port looks like a radio")]
    NoneFound,
    #[error("several serial ports may be the radio: {}", listed(ports))]
    Several { ports: Vec<FoundPort> },
    /// Other programs have it open; as far as they can be seen.
    #[error("the serial port `{}` is in use{}", port.display(), by_whom(holders))]
    Busy { port: PathBuf, holders: Vec<String> },
    #[error("the relay may not open the serial port `{}`", port.display())]
    Denied {
        port: PathBuf,
        cure: String,
        source: io::Error,
    },
    #[error("`{}` is not a serial port", port.display())]
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
            Self::Denied { cure, .. } => cure,
            Self::OpenLimit | Self::Open { .. } => "unplug the radio, and plug it in again",
            Self::NotSerial { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// A serial port, open or not.
#[derive(Debug, Default)]
pub struct SerialPort {
    configured: Option<PathBuf>,
    /// The devices at the last attempt.
    seen: Vec<Sight>,
    /// Blocking calls that have not returned yet; at most one of each.
    looking: Option<JoinHandle<Vec<Sight>>>,
    opening: Option<JoinHandle<Result<OpenPort, SerialError>>>,
    /// The programs already reported as sharing the port.
    logged_users: Vec<String>,
}

/// A port that was just opened and configured.
#[derive(Debug)]
struct OpenPort {
    link: SerialLink,
    port: PathBuf,
    /// Other programs with the port open: root can open any port, and not every program locks its own.
    others: Vec<String>,
}

/// A port, with data that changes when another device takes its name, or its permissions change.
type Sight = (PathBuf, [u64; 3], [i64; 2]);

impl SerialPort {
    /// Creates it; `None` selects the port that is likely a radio.
    pub fn new(configured: Option<PathBuf>) -> Self {
        Self {
            configured,
            ..Self::default()
        }
    }

    /// Opens the port. Cancel safe: the next call resumes a blocking call.
    pub(super) async fn connect(&mut self) -> Result<SerialLink, SerialError> {
        let began = Instant::now();
        let look = timeout(OPEN_LIMIT, self.look()).await;
        self.seen = look.map_err(|_| SerialError::OpenLimit)?;
        let configured = self.configured.clone();
        let opening = done_aside(&mut self.opening, move || OpenPort::new(configured));
        let opened = timeout_at(began + OPEN_LIMIT, opening).await;
        let opened = opened.ok().flatten().ok_or(SerialError::OpenLimit)??;
        if !opened.others.is_empty() && opened.others != self.logged_users {
            warn!(
                port = %opened.port.display(),
                others = opened.others.join(", "),
                "other programs have the radio's serial port open, too: what one of them reads nobody else gets, close them"
            );
        }
        self.logged_users = opened.others;
        Ok(opened.link)
    }

    /// Completes when a device has appeared since the last attempt. Cancel safe.
    pub(super) async fn returns(&mut self) {
        loop {
            let now = self.look().await;
            if has_appeared(&now, &self.seen) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Lists the devices. Cancel safe.
    async fn look(&mut self) -> Vec<Sight> {
        let configured = self.configured.clone();
        let seen = done_aside(&mut self.looking, move || sights(configured)).await;
        seen.unwrap_or_default()
    }
}

/// Runs a call that may block on a hung board or a dead hub. `None` only after a panic. Cancel safe: the next call
/// resumes it.
async fn done_aside<T: Send + 'static>(
    begun: &mut Option<JoinHandle<T>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    #[expect(
        clippy::disallowed_methods,
        reason = "one of each at most, which the next call takes up"
    )]
    let done = begun.get_or_insert_with(|| spawn_blocking(work)).await;
    *begun = None;
    done.ok()
}

impl OpenPort {
    /// Opens a port; `None` selects the likely radio. May block.
    fn new(configured: Option<PathBuf>) -> Result<Self, SerialError> {
        let port = match configured {
            Some(port) => port,
            None => only_likely(serial_ports::find())?,
        };
        Ok(Self {
            link: SerialLink {
                stream: open(&port)?,
                pause: None,
            },
            others: holders_of(&port),
            port,
        })
    }
}

/// Returns whether a device has appeared; one that has gone is no reason to retry.
fn has_appeared(now: &[Sight], before: &[Sight]) -> bool {
    now.iter().any(|sight| !before.contains(sight))
}

fn sights(configured: Option<PathBuf>) -> Vec<Sight> {
    let ports = configured.map_or_else(serial_ports::devices, |port| vec![port]);
    ports.into_iter().filter_map(sight).collect()
}

fn sight(port: PathBuf) -> Option<Sight> {
    let it = fs::metadata(&port).ok()?;
    let (device, changed) = (
        [it.dev(), it.ino(), it.rdev()],
        [it.ctime(), it.ctime_nsec()],
    );
    Some((port, device, changed))
}

/// Returns the one port that is likely a radio. Fails if there is none, or more than one.
fn only_likely(mut found: Vec<FoundPort>) -> Result<PathBuf, SerialError> {
    found.retain(FoundPort::is_likely);
    match found.as_slice() {
        [] => Err(SerialError::NoneFound),
        [only] => {
            debug!(port = %only.device.display(), "one serial port looks like a radio");
            Ok(only.device.clone())
        }
        [_, _, ..] => Err(SerialError::Several { ports: found }),
    }
}

/// Opens and configures a port. May block.
fn open(port: &Path) -> Result<SerialStream, SerialError> {
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

fn busy(path: &Path) -> SerialError {
    let (port, holders) = (path.to_owned(), holders_of(path));
    SerialError::Busy { port, holders }
}

/// Interprets an error of opening a port.
fn refused(path: &Path, source: io::Error) -> SerialError {
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
fn cure_for_rights(group: Option<&str>) -> String {
    let group = group.filter(|group| *group != "root").unwrap_or("dialout");
    format!(
        "add its user to the group `{group}` (`sudo usermod -aG {group} USER`) and start it from a new login; \
         in a container, hand the device in (`--device`) and add the group"
    )
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

fn gone() -> io::Error {
    let cause = "the serial port is gone (was the radio unplugged, or did it restart?)";
    io::Error::new(io::ErrorKind::NotConnected, cause)
}

/// Converts an error of an open port whose device is gone.
fn unless_gone(error: io::Error) -> io::Error {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::IO | Errno::NXIO | Errno::NODEV) => gone(),
        _ => error,
    }
}

/// An open serial port that pauses between frames.
#[derive(Debug)]
pub(super) struct SerialLink {
    stream: SerialStream,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for SerialLink {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer)).map_err(unless_gone)?;
        // An open port either has data or blocks: no data means that its device is gone.
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            return Poll::Ready(Err(gone()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SerialLink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        Pin::new(&mut self.stream)
            .poll_write(context, bytes)
            .map_err(unless_gone)
    }

    /// Ends a frame, without draining the system's buffer, which would block the thread.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pause = Some(Box::pin(sleep(FRAME_PAUSE)));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for SerialLink {
    /// Otherwise closing may block this thread for up to 30 s at a board that reads nothing.
    fn drop(&mut self) {
        let cleared = self.stream.clear(ClearBuffer::Output);
        // The system keeps exclusive access as long as another program has the port open.
        let shared = self.stream.set_exclusive(false);
        if let Err(error) = cleared.and(shared) {
            debug!(%error, "a serial port that is gone is closed");
        }
    }
}

#[cfg(test)]
mod tests;
