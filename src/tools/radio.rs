//! `relay radio`: use of a radio without the daemon and Matrix.
//!
//! The link is the daemon's own ([`Radio`]: session, pacer, node table); here is only what a command needs. A radio
//! hands stored messages to its next client, so nothing received is dropped: it is shown separately.

mod holder;
mod listen;
mod report;
mod scan;
mod send;

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::home::{Holder, Home, utc};
use relay_bridge::PACKET_BYTES;
use relay_claims::Claimant;
use relay_config::{Connection, Meshtastic};
use relay_model::{
    Event, Explained, LossKind, NodeNum, RadioEvent, RadioProfile, RadioText, Timestamp,
};
use relay_radio::{
    HANDSHAKE_LIMIT, KnownNode, Link, LinkState, Radio, RadioError, RadioOptions, Submission,
};

pub(crate) use holder::held_by_daemon;
pub(crate) use listen::{json_lines, lines};
pub(crate) use report::{channel_lines, channels, node_lines, nodes, radio, radio_lines};
pub(crate) use scan::{found_lines, scan};
pub(crate) use send::{Sent, TextFate, check_text, send};

/// Capacity of the queue of events to a command; the radio's side waits when it is full.
const EVENTS: usize = 256;
/// Maximum number of received messages to keep for display: a radio stores no more itself.
const KEPT: usize = 1024;

/// Time without any data from the radio after which the user is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a command could not do its work with the radio.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error("the running relay ({holder}) holds this radio ({})", connection.place())]
    Held {
        holder: Holder,
        connection: Connection,
    },
    #[error(
        "this is the radio {node} that the running relay holds over another connection ({})",
        connection.place()
    )]
    HeldElsewhere {
        node: NodeNum,
        connection: Connection,
    },
    #[error(transparent)]
    NoLink(#[from] RadioError),
    #[error("cannot reach the radio{}", .0.place())]
    Away(#[source] Lost),
    /// The radio did not answer in the time that a command has for it.
    #[error("the radio does not answer{}", .0.place())]
    Late(#[source] Lost),
    #[error("the radio is locked and tells its client nothing")]
    Locked,
    #[error("the radio has no channel `{wanted}`; it has {available}")]
    NoChannel { wanted: String, available: String },
    #[error("there is nothing to send")]
    NoText,
    #[error("the text has {size} bytes, and a packet takes {PACKET_BYTES}")]
    TooLong { size: usize },
    /// The user interrupted the wait.
    #[error("interrupted")]
    Interrupted,
    #[error("the link to the radio has ended")]
    Ended,
}

impl Explained for VisitError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Held { .. } | Self::HeldElsewhere { .. } => {
                "a radio serves one program at a time: stop the relay first, or name another radio with `--host`, \
                 `--serial` or `--ble`; `relay status` tells how this one stands"
            }
            Self::Away(lost) | Self::Late(lost) => return lost.hint(),
            Self::Locked => "switch its lockdown off with the app that locked it",
            Self::NoChannel { .. } => "`relay radio channels` lists them",
            Self::NoLink(error) => return error.hint(),
            Self::TooLong { .. } => "shorten it, or send it in parts",
            Self::NoText | Self::Interrupted | Self::Ended => return None,
        };
        Some(hint.to_owned())
    }

    fn exit(&self) -> ExitCode {
        let is_wrong = matches!(self, Self::NoText | Self::TooLong { .. });
        ExitCode::from(if is_wrong { 2 } else { 1 })
    }
}

/// A link that could not be made, or was lost, and why.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Lost {
    connection: Connection,
    kind: LossKind,
    cause: String,
    /// What a person can do about this cause; `None`: the kind of loss tells.
    hint: Option<String>,
}

impl Explained for Lost {
    fn hint(&self) -> Option<String> {
        if self.hint.is_some() {
            return self.hint.clone();
        }
        let is_on_network = matches!(self.connection, Connection::Tcp { .. });
        let hint: &str = match self.kind {
            LossKind::Nobody if is_on_network => &format!(
                "check the host and the port (a radio has port {}); a radio that hangs wants a restart",
                Connection::TCP_PORT
            ),
            LossKind::Nobody => {
                "check that this is a Meshtastic radio; one that hangs wants a restart"
            }
            _ if !is_on_network => return None,
            LossKind::Ended | LossKind::Broken => {
                "a radio on the network serves one client at a time, and the newest wins: look for another relay, another \
                 program or a phone app that uses it, and end that; a radio that restarts ends its links, too"
            }
            LossKind::Silent | LossKind::Absent | LossKind::Barred | LossKind::Refused => {
                "look whether it is on and in reach; `relay radio scan` lists what can be found"
            }
        };
        Some(hint.to_owned())
    }
}

impl Lost {
    /// Returns the radio's place in brackets, unless the cause contains it.
    fn place(&self) -> String {
        let place = self.connection.place();
        let name = match &self.connection {
            Connection::Serial {
                serial_port: Some(port),
            } => &port.display().to_string(),
            Connection::Ble { ble_address, .. } => ble_address,
            Connection::Tcp { .. } | Connection::Serial { serial_port: None } => &place,
        };
        if self.cause.contains(name) {
            return String::new();
        }
        format!(" ({place})")
    }
}

/// The radio that the daemon uses, and its connection.
pub(crate) type RadioOfDaemon = Option<(NodeNum, Connection)>;

/// A link to the radio for the duration of one command.
#[derive(Debug)]
pub(crate) struct Visit {
    connection: Connection,
    /// The daemon's radio: if it turns out to be this one, the visit ends.
    not: RadioOfDaemon,
    /// What is being waited for, for the progress line.
    awaited: watch::Sender<Option<&'static str>>,
    /// Prints a message to the user, apart from the command's result.
    tell: fn(&str),
    link: watch::Receiver<Link>,
    /// Ends the link, and with that the visit.
    stop: CancellationToken,
    events: mpsc::Receiver<Event>,
    submissions: mpsc::Sender<Submission>,
    known: watch::Receiver<Vec<KnownNode>>,
    kept: VecDeque<RadioText>,
}

/// The result of a visit, and the received messages that were not shown.
pub(crate) type Visited<T> = (Result<T, VisitError>, Vec<RadioText>);

/// Visits a radio: connects, works, disconnects. Returns the result of the work, and the received messages that were
/// not shown.
pub(crate) async fn visit<T>(
    link: Meshtastic,
    home: &Home,
    not: RadioOfDaemon,
    awaited: watch::Sender<Option<&'static str>>,
    tell: fn(&str),
    stop: CancellationToken,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Visited<T> {
    let mut options = match RadioOptions::new(&link) {
        Ok(options) => options,
        Err(error) => return (Err(error.into()), Vec::new()),
    };
    // A visit changes no settings; and texts sent by hand are only limited by the radio.
    options.set_time = false;
    options.channel_use = None;
    let started = utc(Timestamp::now().into());
    options.claimant = Some(Claimant::new(home.path(), started));
    let radio = Radio::new(options);
    let (events_tx, events) = mpsc::channel(EVENTS);
    let (submissions, submitted) = mpsc::channel(1);
    let end = CancellationToken::new();
    let mut visit = Visit {
        connection: link.connection,
        not,
        awaited,
        tell,
        link: radio.link(),
        stop,
        events,
        submissions,
        known: radio.known(),
        kept: VecDeque::new(),
    };
    let running = Box::pin(radio.run(submitted, events_tx, end.clone()));
    let working = async {
        let done = work(&mut visit).await;
        end.cancel();
        // The radio may have sent messages during the disconnect.
        while let Some(event) = visit.events.recv().await {
            if let Event::Radio(RadioEvent::Text(text)) = event {
                visit.keep(*text);
            }
        }
        (done, visit.kept.into())
    };
    let (ran, (done, kept)) = tokio::join!(running, working);
    let done = done.and_then(|done| Ok(ran.map(|()| done)?));
    (done, kept)
}

impl Visit {
    /// Waits until the radio is configured, and returns its profile.
    pub(crate) async fn ready(&mut self) -> Result<Box<RadioProfile>, VisitError> {
        self.awaited.send_replace(Some("connecting to the radio"));
        let mut silence = pin!(silence(self.link.clone()));
        let mut is_announced = false;
        let profile = loop {
            let news = tokio::select! {
                news = self.news() => news?,
                () = &mut silence, if !is_announced => {
                    is_announced = true;
                    (self.tell)(&format!(
                        "connected ({}), but no radio has answered yet; it is given {} s",
                        self.connection.place(),
                        HANDSHAKE_LIMIT.as_secs()
                    ));
                    continue;
                }
            };
            match news {
                Event::Radio(RadioEvent::Ready(profile)) => break profile,
                Event::Radio(RadioEvent::Lost { kind, cause, hint }) => {
                    return Err(VisitError::Away(self.lost(kind, cause, hint)));
                }
                Event::Radio(RadioEvent::Text(text)) => self.keep(*text),
                _ => {}
            }
        };
        let held = self.not.take_if(|(node, _)| *node == profile.own.num);
        if let Some((node, connection)) = held {
            return Err(VisitError::HeldElsewhere { node, connection });
        }
        self.awaited.send_replace(None);
        Ok(profile)
    }

    /// Like [`Self::ready`], but fails with [`VisitError::Late`] if the radio says nothing for `first`, or is not configured
    /// within `whole`.
    pub(crate) async fn ready_within(
        &mut self,
        first: Duration,
        whole: Duration,
    ) -> Result<Box<RadioProfile>, VisitError> {
        let (mut link, begun) = (self.link.clone(), Instant::now());
        let too_late = async {
            // What it returns locks the link's state, so it must not live on.
            let is_heard = timeout(first, link.wait_for(|link| link.heard))
                .await
                .is_ok();
            if is_heard {
                sleep_until(begun + whole).await;
            }
        };
        // Both are cancel safe: what the radio handed over is kept.
        tokio::select! {
            ready = self.ready() => return ready,
            () = too_late => {}
        }
        let link = self.link.borrow().clone();
        let (kind, cause) = match (link.state, link.heard) {
            (LinkState::Connecting | LinkState::Lost, _) => (
                LossKind::Absent,
                format!("no connection within {} s", first.as_secs()),
            ),
            (_, false) => {
                let cause = format!("connected, but nothing came within {} s", first.as_secs());
                (LossKind::Nobody, cause)
            }
            (_, true) => {
                let cause = format!(
                    "its configuration was not complete within {} s",
                    whole.as_secs()
                );
                (LossKind::Silent, cause)
            }
        };
        Err(VisitError::Late(self.lost(kind, cause, None)))
    }

    /// Like [`Self::ready`]; fails for a locked radio.
    pub(crate) async fn unlocked(&mut self) -> Result<Box<RadioProfile>, VisitError> {
        let profile = self.ready().await?;
        if profile.locked {
            return Err(VisitError::Locked);
        }
        Ok(profile)
    }

    /// Waits for the next message. Messages from before the radio was ready come first.
    pub(crate) async fn heard(&mut self) -> Result<Event, VisitError> {
        match self.kept.pop_front() {
            Some(text) => Ok(Event::Radio(RadioEvent::Text(Box::new(text)))),
            None => self.news().await,
        }
    }

    /// Returns the radio's nodes, itself included.
    pub(crate) fn known(&self) -> Vec<KnownNode> {
        self.known.borrow().clone()
    }

    /// Waits for the next event of the radio, or of a submission of ours. Cancel safe.
    async fn news(&mut self) -> Result<Event, VisitError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(VisitError::Interrupted),
            event = self.events.recv() => event.ok_or(VisitError::Ended),
        }
    }

    /// Returns the error for a lost link. The radio keeps reconnecting.
    pub(crate) fn lost(&self, kind: LossKind, cause: String, hint: Option<String>) -> Lost {
        Lost {
            connection: self.connection.clone(),
            kind,
            cause,
            hint,
        }
    }

    fn keep(&mut self, text: RadioText) {
        if self.kept.len() < KEPT {
            self.kept.push_back(text);
        }
    }
}

/// Completes when a connection has stood for a while without any data.
async fn silence(mut link: watch::Receiver<Link>) {
    let is_silent = |link: &Link| link.state == LinkState::Configuring && !link.heard;
    while link.wait_for(is_silent).await.is_ok() {
        let goes_on = timeout(PATIENCE, link.wait_for(|link| !is_silent(link)));
        match goes_on.await.map(|it| it.is_ok()) {
            Err(_) => return,
            Ok(true) => {}
            Ok(false) => break,
        }
    }
    pending::<()>().await;
}

#[cfg(test)]
mod tests;
