//! `relay.sock`: where the daemon's control socket is, under a name that a socket can have.
//!
//! The name of a socket must fit in 107 bytes, and a home may lie deeper than that: then the name goes through an
//! opened directory (`/proc/self/fd/N/relay.sock`).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Home;

/// The longest name of a socket (`sun_path` of unix(7), without its end).
const LONGEST_NAME: usize = 107;

/// The control socket that this process listens on; its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    identity: (u64, u64),
}

impl Home {
    /// Returns a name for the control socket that is short enough, and what must be kept open as long as it is used.
    pub(crate) fn socket_name(&self) -> io::Result<(PathBuf, Option<File>)> {
        let path = self.socket();
        if path.as_os_str().len() <= LONGEST_NAME {
            return Ok((path, None));
        }
        let directory = File::open(self.path())?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        Ok((through.join("relay.sock"), Some(directory)))
    }

    /// Listens on the control socket, in place of one that a dead daemon has left. Only for who holds the home's
    /// [`Lock`](super::Lock): nobody else can be listening then.
    pub(crate) fn listen(&self) -> io::Result<(UnixListener, Socket)> {
        let path = self.socket();
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
        let (name, _directory) = self.socket_name()?;
        let listener = UnixListener::bind(name)?;
        // Nobody else can enter the home in between: it is private.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let identity = identity(&path)?;
        Ok((listener, Socket { path, identity }))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may have made its own by now.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Left behind it does no harm: the next daemon replaces it.
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

    fn home(path: &Path) -> Home {
        let home = Home::locate(Some(path), |_| None).unwrap();
        home.prepare(true).unwrap();
        home
    }

    #[test]
    fn the_socket_is_private_and_goes_with_its_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        let (_listener, socket) = home.listen().unwrap();
        let mode = fs::metadata(home.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (name, _directory) = home.socket_name().unwrap();
        UnixStream::connect(name).unwrap();
        drop(socket);
        assert!(!home.socket().exists());
    }

    #[test]
    fn the_socket_of_a_dead_daemon_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        let (listener, socket) = home.listen().unwrap();
        // As after `kill -9`.
        std::mem::forget(socket);
        drop(listener);
        assert!(UnixStream::connect(home.socket()).is_err());
        let (_listener, _socket) = home.listen().unwrap();
        UnixStream::connect(home.socket()).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        fs::write(home.socket(), "mine").unwrap();
        assert!(home.listen().is_err());
        assert_eq!(fs::read_to_string(home.socket()).unwrap(), "mine");
    }

    #[test]
    fn the_socket_of_another_daemon_is_not_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(directory.path());
        let (_first, ours) = home.listen().unwrap();
        let (_second, _theirs) = home.listen().unwrap();
        drop(ours);
        assert!(home.socket().exists());
    }

    #[test]
    fn a_home_may_lie_deeper_than_the_name_of_a_socket_may_be_long() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory.path().join("deep/".repeat(40)));
        assert!(home.socket().as_os_str().len() > 200);
        let (_listener, _socket) = home.listen().unwrap();
        let (name, _directory) = home.socket_name().unwrap();
        UnixStream::connect(name).unwrap();
        assert!(home.socket().exists());
    }
}
