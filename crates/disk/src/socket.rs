//! Unix sockets: private, with a name short enough for the system, and deleted with their listener.
//!
//! A socket's name must fit in 107 bytes. If the path of the home is longer, the name goes through an opened directory
//! (`/proc/self/fd/N/relay.sock`).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

/// Maximum length of a socket's name in bytes (`sun_path` in unix(7), without the terminator).
const LONGEST_NAME: usize = 107;

/// One end of a connection.
pub type Connected = UnixStream;

/// A listening socket; it goes with its file.
#[derive(Debug)]
pub struct Listener {
    listener: tokio::net::UnixListener,
    _socket: Socket,
}

impl Listener {
    /// Listens at a path in a private directory, replacing a stale socket. The caller must know that nobody else is listening
    /// there.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let (listener, socket) = Socket::listen(path)?;
        Ok(Self {
            listener: tokio::net::UnixListener::from_std(listener)?,
            _socket: socket,
        })
    }

    /// Waits for the next client. Cancel safe.
    pub async fn accept(&mut self) -> io::Result<Connected> {
        Ok(self.listener.accept().await?.0)
    }
}

/// Connects to the socket at a path.
pub async fn connect(path: &Path) -> io::Result<Connected> {
    let name = SocketName::of(path)?;
    UnixStream::connect(name.name()).await
}

/// The name under which a client finds a socket, as long as this value lives.
#[derive(Debug)]
pub struct SocketName {
    name: PathBuf,
    _directory: Option<File>,
}

impl SocketName {
    /// Returns that of the socket at a path.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (name, directory) = socket_name(path)?;
        Ok(Self {
            name,
            _directory: directory,
        })
    }

    /// Returns the name itself.
    pub fn name(&self) -> &Path {
        &self.name
    }
}

/// A listening socket; its file is deleted on drop.
#[derive(Debug)]
struct Socket {
    path: PathBuf,
    identity: (u64, u64),
}

/// Returns a name for the socket that is short enough, and the file that must stay open while the name is used.
fn socket_name(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().len() <= LONGEST_NAME {
        return Ok((path.to_owned(), None));
    }
    let directory = File::open(directory)?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    Ok((through.join(name), Some(directory)))
}

impl Socket {
    fn listen(path: PathBuf) -> io::Result<(UnixListener, Self)> {
        match fs::symlink_metadata(&path) {
            Ok(left) if left.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket has its name: move it away",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (name, _directory) = socket_name(&path)?;
        let listener = UnixListener::bind(name)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let identity = identity(&path)?;
        Ok((listener, Self { path, identity }))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have created its own socket by now.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // A stale socket does no harm: the next listener replaces it.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn path(directory: &tempfile::TempDir) -> PathBuf {
        directory.path().join("relay.sock")
    }

    #[test]
    fn the_socket_is_private_and_goes_with_its_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let (_listener, socket) = Socket::listen(path.clone()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (name, _directory) = socket_name(&path).unwrap();
        UnixStream::connect(name).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_dead_daemon_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let (listener, socket) = Socket::listen(path.clone()).unwrap();
        // As after `kill -9`.
        std::mem::forget(socket);
        drop(listener);
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, _socket) = Socket::listen(path.clone()).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        fs::write(&path, "mine").unwrap();
        assert!(Socket::listen(path.clone()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn the_socket_of_another_daemon_is_not_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        let (_first, ours) = Socket::listen(path.clone()).unwrap();
        let (_second, _theirs) = Socket::listen(path.clone()).unwrap();
        drop(ours);
        assert!(path.exists());
    }

    #[test]
    fn a_home_may_lie_deeper_than_the_name_of_a_socket_may_be_long() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("deep/".repeat(40));
        fs::create_dir_all(&deep).unwrap();
        let path = deep.join("relay.sock");
        assert!(path.as_os_str().len() > 200);
        let (_listener, _socket) = Socket::listen(path.clone()).unwrap();
        let (name, _directory) = socket_name(&path).unwrap();
        UnixStream::connect(name).unwrap();
        assert!(path.exists());
    }
}
