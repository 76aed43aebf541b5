//! The simulated radio's serial port: a pseudo-terminal behind a symbolic link that keeps its name.
//!
//! A radio that is unplugged takes the device away, and comes back as another one behind the same link. One that
//! restarts keeps its port, as behind a bridge between USB and UART: what is said to it meanwhile is lost.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::driver::Port;

/// Nothing tells that a client has opened the port: it is looked for that often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A serial port that takes one client.
#[derive(Debug)]
pub struct PtyPort {
    link: PathBuf,
    /// `None` while it is unplugged.
    pty: Option<Pty>,
    /// What it comes back as: opened before the old one is closed, so that it has another name.
    next: Option<Pty>,
    client: Weak<()>,
    starting: bool,
}

#[derive(Debug)]
struct Pty {
    master: OwnedFd,
    device: PathBuf,
}

/// A client on the port.
#[derive(Debug)]
pub struct PtyStream {
    master: AsyncFd<OwnedFd>,
    /// What was read when the client was noticed.
    first: Vec<u8>,
    _in_use: Arc<()>,
}

impl PtyPort {
    /// Makes a port, and the link to it. A link that is there already is replaced.
    ///
    /// # Errors
    /// There are no pseudo-terminals, or something else than a link has that name.
    pub fn open(link: &Path) -> io::Result<Self> {
        let pty = Pty::open()?;
        point(link, &pty.device)?;
        Ok(Self {
            link: link.to_owned(),
            pty: Some(pty),
            next: None,
            client: Weak::new(),
            starting: false,
        })
    }

    /// Returns the device behind the link; none while it is unplugged.
    pub fn device(&self) -> Option<&Path> {
        self.pty.as_ref().map(|pty| pty.device.as_path())
    }
}

impl Pty {
    fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        // A program started in between would keep the port alive; not every system can say so at once.
        #[cfg(target_os = "linux")]
        let flags = flags | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let device = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Once opened and closed, a master tells from then on whether anybody has it open.
        let slave = rustix::fs::open(&device, flags, Mode::empty())?;
        let mut settings = rustix::termios::tcgetattr(&slave)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &settings)?;
        Ok(Self { master, device })
    }
}

/// Lets the link lead there, from one moment to the next.
fn point(link: &Path, device: &Path) -> io::Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|it| !it.file_type().is_symlink()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something else than a symbolic link has that name",
        ));
    }
    let mut fresh = link.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    std::os::unix::fs::symlink(device, &fresh)?;
    fs::rename(&fresh, link)
}

impl Port for PtyPort {
    type Stream = PtyStream;

    async fn accept(&mut self) -> io::Result<PtyStream> {
        if self.client.strong_count() > 0 {
            return std::future::pending().await;
        }
        let Some(pty) = &self.pty else {
            return std::future::pending().await;
        };
        loop {
            let mut first = vec![0; 4096];
            let read = match rustix::io::read(&pty.master, first.as_mut_slice()) {
                Ok(0) => None,
                Ok(count) => Some(count),
                Err(Errno::AGAIN) => Some(0),
                Err(_) => None,
            };
            if let Some(count) = read
                && !self.starting
            {
                first.truncate(count);
                // A registration of its own for each client: that a port was closed is never forgotten by one.
                let master = register(pty.master.try_clone()?)?;
                let in_use = Arc::new(());
                self.client = Arc::downgrade(&in_use);
                return Ok(PtyStream {
                    master,
                    first,
                    _in_use: in_use,
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A shut port is unplugged.
    fn set_shut(&mut self, shut: bool) -> io::Result<()> {
        if shut && self.pty.is_some() {
            self.next = Some(Pty::open()?);
            fs::remove_file(&self.link)?;
            self.pty = None;
        } else if !shut && self.pty.is_none() {
            let pty = match self.next.take() {
                Some(pty) => pty,
                None => Pty::open()?,
            };
            point(&self.link, &pty.device)?;
            self.pty = Some(pty);
        }
        Ok(())
    }

    fn is_console(&self) -> bool {
        true
    }

    fn set_starting(&mut self, starting: bool) -> io::Result<()> {
        self.starting = starting;
        Ok(())
    }
}

impl Drop for PtyPort {
    fn drop(&mut self) {
        if let Some(pty) = &self.pty
            && fs::read_link(&self.link).is_ok_and(|device| device == pty.device)
        {
            // Nobody is left to hear that it could not be removed.
            drop(fs::remove_file(&self.link));
        }
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; here the descriptor lives as long as its registration, and never changes"
)]
fn register(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(master)
}

impl AsyncRead for PtyStream {
    /// Fails once the client has closed the port.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.remaining());
            let bytes: Vec<u8> = self.first.drain(..count).collect();
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut guard = ready!(self.master.poll_read_ready(context))?;
            let read = guard.try_io(|master| {
                let space = buffer.initialize_unfilled();
                Ok(rustix::io::read(master.as_fd(), space)?)
            });
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for PtyStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.master.poll_write_ready(context))?;
            let written = guard.try_io(|master| Ok(rustix::io::write(master.as_fd(), bytes)?));
            if let Ok(written) = written {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
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
