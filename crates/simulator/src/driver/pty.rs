//! The simulated radio's serial port: a pseudo-terminal behind a symbolic link with a constant name.
//!
//! Unplugging the radio removes the device; it returns as another one behind the same link. A restart keeps the port,
//! as behind a USB-to-UART bridge: bytes sent meanwhile are lost.

use std::fs;
use std::io::{self, Cursor};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::{AsyncReadExt as _, Chain, Join, join};
use tokio::net::unix::pipe;

use super::Port;

/// How often the port is checked for a client, whose opening raises no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A serial port for one client.
#[derive(Debug)]
pub struct PtyPort {
    link: PathBuf,
    /// While unplugged, the device of its return.
    pty: Pty,
    plugged: bool,
    /// The client's first bytes, which the client's stream keeps alive.
    client: Option<Weak<[u8]>>,
    starting: bool,
}

#[derive(Debug)]
struct Pty {
    master: OwnedFd,
    device: PathBuf,
}

/// A client's stream: the bytes that revealed it, then all later ones.
type PtyStream = Join<Chain<Cursor<Arc<[u8]>>, pipe::Receiver>, pipe::Sender>;

impl PtyPort {
    /// Opens a pseudo-terminal and makes the link. An existing link is replaced, any other file is not.
    pub fn open(link: &Path) -> io::Result<Self> {
        let pty = Pty::open()?;
        point(link, &pty.device)?;
        Ok(Self {
            link: link.to_owned(),
            pty,
            plugged: true,
            client: None,
            starting: false,
        })
    }

    /// Returns the device behind the link; `None` while unplugged.
    pub fn device(&self) -> Option<&Path> {
        self.plugged.then_some(&self.pty.device)
    }
}

impl Pty {
    fn open() -> io::Result<Self> {
        // A child process must not inherit the port, which would stay open.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let device = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        // A master reports whether its slave is open only after the slave was opened and closed once.
        let slave = rustix::fs::open(&device, flags, Mode::empty())?;
        let mut settings = rustix::termios::tcgetattr(&slave)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &settings)?;
        Ok(Self { master, device })
    }
}

/// Replaces the link atomically.
fn point(link: &Path, device: &Path) -> io::Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|it| !it.file_type().is_symlink()) {
        let taken = "something else than a symbolic link has that name";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, taken));
    }
    let fresh = link.with_added_extension(std::process::id().to_string());
    std::os::unix::fs::symlink(device, &fresh)?;
    fs::rename(&fresh, link)
}

impl Port for PtyPort {
    type Stream = PtyStream;

    const IS_CONSOLE: bool = true;

    async fn accept(&mut self) -> io::Result<PtyStream> {
        let clients = self.client.as_ref().map_or(0, Weak::strong_count);
        if clients > 0 || !self.plugged {
            return std::future::pending().await;
        }
        let master = &self.pty.master;
        loop {
            let mut first = vec![0; 4096];
            let read = match rustix::io::read(master, first.as_mut_slice()) {
                Err(Errno::AGAIN) => Some(0),
                read => read.ok().filter(|count| *count > 0),
            };
            if let Some(count) = read.filter(|_| !self.starting) {
                first.truncate(count);
                // Each client gets its own registrations, since one that has seen the port closed stays closed.
                let reader = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
                let writer = pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?;
                let first: Arc<[u8]> = first.into();
                self.client = Some(Arc::downgrade(&first));
                return Ok(join(Cursor::new(first).chain(reader), writer));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Shutting the port unplugs it.
    fn set_shut(&mut self, shut: bool) -> io::Result<()> {
        if shut && self.plugged {
            // Opened before the old one is closed, for another name.
            let next = Pty::open()?;
            fs::remove_file(&self.link)?;
            self.pty = next;
        } else if !shut && !self.plugged {
            point(&self.link, &self.pty.device)?;
        }
        self.plugged = !shut;
        Ok(())
    }

    fn set_starting(&mut self, starting: bool) -> io::Result<()> {
        self.starting = starting;
        Ok(())
    }
}

impl Drop for PtyPort {
    fn drop(&mut self) {
        let leads_here = |device| device == self.pty.device;
        if self.plugged && fs::read_link(&self.link).is_ok_and(leads_here) {
            // A failure cannot be reported here.
            drop(fs::remove_file(&self.link));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

    use super::*;

    fn client(link: &Path) -> SerialStream {
        tokio_serial::new(link.to_string_lossy(), 115_200)
            .open_native_async()
            .unwrap()
    }

    #[tokio::test]
    async fn clients_come_and_go_on_the_same_port() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("radio");
        let mut port = PtyPort::open(&link).unwrap();
        for _ in 0..3 {
            let mut client = client(&link);
            client.write_all(b"\x94\xc3\r\n\x00").await.unwrap();
            let mut radio = port.accept().await.unwrap();
            let mut bytes = [0; 5];
            radio.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"\x94\xc3\r\n\x00");
            radio.write_all(b"\r\nyes\x11\x13").await.unwrap();
            let mut bytes = [0; 7];
            client.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"\r\nyes\x11\x13");
            drop(client);
            assert!(radio.read(&mut [0; 8]).await.is_err());
        }
        drop(port);
        assert!(fs::symlink_metadata(&link).is_err());
    }

    #[tokio::test]
    async fn a_port_that_was_unplugged_comes_back_as_another_device_behind_its_link() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("radio");
        let mut port = PtyPort::open(&link).unwrap();
        let mut client = client(&link);
        let radio = port.accept().await.unwrap();
        let device = port.device().unwrap().to_owned();
        port.set_shut(true).unwrap();
        drop(radio);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(fs::metadata(&link).is_err());
        port.set_shut(false).unwrap();
        assert_ne!(port.device().unwrap(), device);
        assert_eq!(fs::read_link(&link).unwrap(), port.device().unwrap());
    }

    #[tokio::test]
    async fn a_file_that_is_no_link_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("radio");
        fs::write(&file, "precious").unwrap();
        assert!(PtyPort::open(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/nowhere", &file).unwrap();
        let port = PtyPort::open(&file).unwrap();
        assert_eq!(fs::read_link(&file).unwrap(), port.device().unwrap());
    }
}
