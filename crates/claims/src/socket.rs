//! Sockets in the abstract namespace of Linux: taking a name, and asking who has it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::names::{Believed, ProofKey, Thing, hex};
use super::{Claimant, Holder};

/// Maximum time for an answer, and for a client to take one.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// Maximum length of an answer, in bytes.
const LONGEST_ANSWER: usize = 8 * 1024;
/// The system takes no shorter limit for none.
const TICK: Duration = Duration::from_millis(1);
/// Attempts, and their interval: a name may be in the middle of being taken, or given back.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// What whoever asks is told.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    claimant: Claimant,
    /// That the claimant has the key of what it holds, if that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// A taken name, and the thread that answers who has it.
#[derive(Debug)]
pub(super) struct Answering {
    listener: Arc<UnixListener>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread, which waits for a client.
        let woken = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        debug_assert!(woken.is_ok(), "{woken:?}");
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Who answers at a name.
enum Found {
    Holder(Holder),
    /// A process that is not believed, or one of another user that does not answer as a relay does.
    Stranger {
        pid: u32,
        uid: u32,
    },
    Nobody,
}

/// Takes a name; `None`: it cannot be taken, and that is no reason to stop.
pub(super) fn take(thing: &Thing, claimant: &Claimant) -> Result<Option<Answering>, Holder> {
    for _ in 0..TRIES {
        match bind(thing.name()) {
            Ok(listener) => return Ok(Some(answer(listener, thing, claimant))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                debug!(%error, "other relays on this host cannot be told what this one uses");
                return Ok(None);
            }
        }
        match who(thing) {
            Found::Holder(holder) => return Err(holder),
            Found::Stranger { pid, uid } => {
                let others = format!("process {pid} of user {uid}");
                warn!(
                    others,
                    "another program has the name under which relays tell each other what they use, and does not show that it is one; it is taken for none"
                );
                return Ok(None);
            }
            Found::Nobody => thread::sleep(BETWEEN_TRIES),
        }
    }
    Ok(None)
}

pub(super) fn is_free(name: &[u8]) -> bool {
    !bind(name).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

pub(super) fn holder_of(thing: &Thing) -> Option<Holder> {
    match who(thing) {
        Found::Holder(holder) => Some(holder),
        Found::Stranger { .. } | Found::Nobody => None,
    }
}

fn bind(name: &[u8]) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Answers each client until the end. Without a thread the name is held all the same.
fn answer(listener: UnixListener, thing: &Thing, claimant: &Claimant) -> Answering {
    let claimant = claimant.clone();
    let key = match thing.believed() {
        Believed::Keyholder(key) => Some(key.clone()),
        Believed::Anybody | Believed::ThisUser => None,
    };
    let listener = Arc::new(listener);
    let ended = Arc::new(AtomicBool::new(false));
    let (clients, is_over) = (Arc::clone(&listener), Arc::clone(&ended));
    let work = move || {
        loop {
            match clients.accept() {
                Ok((client, from)) => drop(tell(client, &claimant, key.as_ref(), &from)),
                Err(_) if is_over.load(Ordering::Acquire) => return,
                // Such as too many open files.
                Err(_) => thread::sleep(ANSWER_LIMIT),
            }
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the claim, or with the process"
    )]
    let thread = thread::Builder::new().name("claim".to_owned()).spawn(work);
    Answering {
        listener,
        ended,
        thread: thread.ok(),
    }
}

fn tell(
    mut client: UnixStream,
    claimant: &Claimant,
    key: Option<&ProofKey>,
    from: &SocketAddr,
) -> io::Result<()> {
    client.set_write_timeout(Some(ANSWER_LIMIT))?;
    let question = from.as_abstract_name();
    let answer = Answer {
        claimant: claimant.clone(),
        proof: key.zip(question).map(|(key, question)| key.proof(question)),
    };
    client.write_all(&serde_json::to_vec(&answer)?)?;
    client.shutdown(Shutdown::Both)
}

/// Connects, with the question to which the answer is a proof. Does not wait: a name's owner may let its clients wait for ever.
///
/// The question is the name of the socket that asks, made anew each time: whoever answers knows it without waiting for its
/// client, and nobody else on the host can ask the same meanwhile.
pub(super) fn ask(name: &[u8]) -> io::Result<(UnixStream, Vec<u8>)> {
    let question = format!("relay-asks/{}", hex(&rand::random::<[u8; 16]>())).into_bytes();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(&question)?)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok((stream, question))
}

fn who(thing: &Thing) -> Found {
    let Ok((stream, question)) = ask(thing.name()) else {
        return Found::Nobody;
    };
    // Who made the listening socket, by the kernel's word. A process of another container has no number here: 0.
    let Ok(owner) = getsockopt(&stream, sockopt::PeerCredentials) else {
        return Found::Nobody;
    };
    let (pid, uid) = (u32::try_from(owner.pid()).unwrap_or_default(), owner.uid());
    let is_ours = uid == 0 || uid == rustix::process::geteuid().as_raw();
    let is_believed = |answer: &Answer| match thing.believed() {
        Believed::Anybody => true,
        Believed::ThisUser => is_ours,
        Believed::Keyholder(key) => answer.proof.as_ref() == Some(&key.proof(&question)),
    };
    match answer_of(stream) {
        Some(answer) if is_believed(&answer) => {
            let claimant = answer.claimant;
            let pid = if pid == 0 { claimant.pid } else { pid };
            Found::Holder(Holder::Relay(Claimant { pid, ..claimant }))
        }
        None if is_ours => Found::Holder(Holder::Process(pid)),
        Some(_) | None => Found::Stranger { pid, uid },
    }
}

/// Reads the answer; however it dribbles in, it has only so much time.
fn answer_of(mut stream: UnixStream) -> Option<Answer> {
    let until = Instant::now() + ANSWER_LIMIT;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        stream.set_read_timeout(Some(left.max(TICK))).ok()?;
        match stream.read(&mut piece).ok()? {
            0 => return serde_json::from_slice(&answer).ok(),
            read => answer.extend_from_slice(piece.get(..read)?),
        }
        if answer.len() > LONGEST_ANSWER {
            return None;
        }
    }
}
