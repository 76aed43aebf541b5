//! The wire over a cable: the serial port that is the radio's, found again at each attempt, since a device may return
//! under another name.

mod error;
mod link;
#[cfg_attr(windows, path = "serial/opening_windows.rs")]
mod opening;

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use super::aside::done_aside;
use super::found_port::FoundPort;
use super::serial_ports::{self, holders_of};
use crate::claim::RadioClaim;
use relay_claims::Thing;

use error::SerialError;
use link::SerialLink;
use opening::{Sight, open, sight};

/// Maximum time to open a port.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How often the return of a port is checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    thing: Option<Thing>,
    /// Other programs with the port open: root can open any port, and not every program locks its own.
    others: Vec<String>,
}

impl SerialPort {
    /// Creates it; `None` selects the port that is likely a radio.
    pub fn new(configured: Option<PathBuf>) -> Self {
        Self {
            configured,
            ..Self::default()
        }
    }

    /// Opens the port. The system says whether another program has it; the claim says which relay that is.
    pub(super) async fn connect_as(
        &mut self,
        claim: &mut RadioClaim,
    ) -> Result<SerialLink, SerialError> {
        let opened = self.connect().await.map_err(|error| match error {
            SerialError::Busy { port, holders } => {
                let holder = Thing::serial_port(&port).and_then(|it| claim.missed(it));
                match holder {
                    Some(holder) => SerialError::Held { port, holder },
                    None => SerialError::Busy { port, holders },
                }
            }
            other => other,
        })?;
        if let Some(port) = opened.thing {
            // Who claims it cannot have it open.
            drop(claim.take(port));
        }
        Ok(opened.link)
    }

    /// Opens the port. Cancel safe: the next call resumes a blocking call.
    async fn connect(&mut self) -> Result<OpenPort, SerialError> {
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
        self.logged_users.clone_from(&opened.others);
        Ok(opened)
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

impl OpenPort {
    /// Opens a port; `None` selects the likely radio. May block.
    fn new(configured: Option<PathBuf>) -> Result<Self, SerialError> {
        let port = match configured {
            Some(port) => port,
            None => only_likely(serial_ports::find())?,
        };
        Ok(Self {
            link: SerialLink::new(open(&port)?),
            others: holders_of(&port),
            thing: Thing::serial_port(&port),
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

#[cfg(test)]
mod tests;
