//! What a relay holds on this host (a radio, a file, a device of an account), so that another relay knows, and by whom.
//!
//! A claim is a listening socket with a name in the kernel's abstract namespace, made of what is held; whoever finds the name
//! taken connects, and is told who holds it. The name goes with its process, and needs neither a directory nor rights
//! (docs/decisions/0035). On systems without that namespace nothing is claimed.
#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "nothing is claimed there")
)]

#[cfg_attr(windows, path = "identity_windows.rs")]
mod identity;
mod names;
#[cfg(target_os = "linux")]
mod socket;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use relay_model::without_tricks;

pub use names::{Thing, bluetooth_address};

/// Who holds what it claims, as others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// Its home.
    pub home: PathBuf,
    /// Its process, as it knows itself.
    pub pid: u32,
    /// When it started, in UTC, as `2025-01-31T12:00:00Z`.
    pub started: String,
}

impl Claimant {
    /// Describes this process.
    pub fn new(home: &Path, started: String) -> Self {
        Self {
            home: home.to_owned(),
            pid: std::process::id(),
            started,
        }
    }
}

/// Who holds something, as far as it is known. Prints as ``the relay in `/srv/relay` (process 12, since …)``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A relay that has told so.
    Relay(Claimant),
    /// A process of this user, or of root, that does not answer.
    Process(u32),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(Claimant { home, pid, started }) => {
                let text = format!(
                    "the relay in `{}` (process {pid}, since {started})",
                    home.display()
                );
                let text: String = without_tricks(&text).collect();
                f.write_str(&text)
            }
            Self::Process(pid) => write!(f, "process {pid}"),
        }
    }
}

/// What is held; released on drop, or with the process.
#[derive(Debug)]
pub struct Claim {
    #[cfg(target_os = "linux")]
    _socket: Option<socket::Answering>,
}

impl Claim {
    /// Claims something, or tells who holds it. Where nothing can be claimed, or the name is taken by a process that is not
    /// believed (of a device: that has not its key), it is as if it were claimed: what cannot be known keeps no relay from its
    /// work.
    /// Blocks for up to 200 ms if the holder does not answer.
    pub fn take(thing: &Thing, claimant: &Claimant) -> Result<Self, Holder> {
        #[cfg(target_os = "linux")]
        {
            let socket = socket::take(thing, claimant)?;
            Ok(Self { _socket: socket })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (thing, claimant);
            Ok(Self {})
        }
    }

    /// Returns whether nobody holds something, at this moment.
    pub fn is_free(thing: &Thing) -> bool {
        #[cfg(target_os = "linux")]
        {
            socket::is_free(thing.name())
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = thing;
            true
        }
    }

    /// Returns who holds something, if that is a relay. Blocks as [`Claim::take`] does.
    pub fn holder_of(thing: &Thing) -> Option<Holder> {
        #[cfg(target_os = "linux")]
        {
            socket::holder_of(thing)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = thing;
            None
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    fn claimant(home: &str) -> Claimant {
        Claimant::new(Path::new(home), "2025-01-31T12:00:00Z".to_owned())
    }

    fn thing() -> (tempfile::TempDir, Thing) {
        let directory = tempfile::tempdir().unwrap();
        let thing = Thing::file(&directory.path().join("relay.sqlite")).unwrap();
        (directory, thing)
    }

    #[test]
    fn what_is_held_is_told_with_its_holder_and_free_after_its_end() {
        let (_directory, thing) = thing();
        assert!(Claim::is_free(&thing));
        let claim = Claim::take(&thing, &claimant("/srv/one")).unwrap();
        for _ in 0..300 {
            let holder = Claim::take(&thing, &claimant("/srv/two")).unwrap_err();
            assert_eq!(holder, Holder::Relay(claimant("/srv/one")));
        }
        let pid = std::process::id();
        let told = format!("the relay in `/srv/one` (process {pid}, since 2025-01-31T12:00:00Z)");
        assert_eq!(Claim::holder_of(&thing).unwrap().to_string(), told);
        assert!(!Claim::is_free(&thing));
        drop(claim);
        assert!(Claim::is_free(&thing));
        assert_eq!(Claim::holder_of(&thing), None);
        Claim::take(&thing, &claimant("/srv/two")).unwrap();
    }

    #[test]
    fn of_two_that_claim_at_once_one_has_it() {
        let (_directory, thing) = thing();
        let taking = |home: &'static str| {
            let thing = thing.clone();
            move || Claim::take(&thing, &claimant(home))
        };
        for _ in 0..50 {
            let (one, other) = std::thread::scope(|scope| {
                let one = scope.spawn(taking("/srv/one"));
                let other = scope.spawn(taking("/srv/two"));
                (one.join().unwrap(), other.join().unwrap())
            });
            assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        }
    }

    #[test]
    fn clients_that_say_and_read_nothing_keep_nobody_from_the_answer() {
        let (_directory, thing) = thing();
        let _claim = Claim::take(&thing, &claimant("/srv/one")).unwrap();
        let silent: Vec<_> = (0..50).map(|_| socket::ask(thing.name())).collect();
        assert!(silent.iter().all(Result::is_ok));
        assert!(matches!(
            Claim::holder_of(&thing),
            Some(Holder::Relay(holder)) if holder.home == Path::new("/srv/one")
        ));
    }

    #[test]
    fn a_name_that_does_not_answer_is_a_process_of_this_user() {
        let (_directory, thing) = thing();
        let address = SocketAddr::from_abstract_name(thing.name()).unwrap();
        let _stuck = UnixListener::bind_addr(&address).unwrap();
        let holder = Claim::take(&thing, &claimant("/srv/two")).unwrap_err();
        assert_eq!(holder, Holder::Process(std::process::id()));
    }

    #[test]
    fn of_a_device_only_who_has_its_key_is_believed_and_no_answer_serves_twice() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().as_os_str().as_encoded_bytes();
        let device = Thing::device("@relay:example.org", "DEVICE", key);
        let claim = Claim::take(&device, &claimant("/srv/one")).unwrap();
        let holder = Claim::take(&device, &claimant("/srv/copy")).unwrap_err();
        assert_eq!(holder, Holder::Relay(claimant("/srv/one")));
        let (mut stream, _) = socket::ask(device.name()).unwrap();
        let mut recorded = Vec::new();
        stream.read_to_end(&mut recorded).unwrap();
        drop(claim);

        let address = SocketAddr::from_abstract_name(device.name()).unwrap();
        let squatter = UnixListener::bind_addr(&address).unwrap();
        let plain = serde_json::to_vec(&claimant("/srv/squatter")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for words in [&plain, &recorded, &recorded] {
                    squatter.accept().unwrap().0.write_all(words).unwrap();
                }
            });
            for _ in 0..2 {
                Claim::take(&device, &claimant("/srv/two")).unwrap();
            }
            assert_eq!(Claim::holder_of(&device), None);
        });
    }

    #[test]
    fn a_home_with_an_odd_name_plays_no_tricks() {
        let holder = Holder::Relay(claimant("/srv/\u{1b}[31m"));
        assert!(!holder.to_string().contains('\u{1b}'));
    }
}
