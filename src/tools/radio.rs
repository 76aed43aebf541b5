//! `relay radio`: what people do with a radio without the daemon, and without Matrix.
//!
//! The link is the daemon's own ([`Radio`]: session, pacer, node table); here is only what a command asks of it. Since a
//! radio hands what it kept to whoever comes next, nothing that it says is thrown away: it is shown apart.

mod holder;
mod listen;
mod report;
mod scan;
mod send;

use std::collections::VecDeque;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Connection, Meshtastic};
use crate::home::Holder;
use crate::model::{
    Event, Exit, Explained, NodeNum, RadioEvent, RadioProfile, RadioText, SendReport,
};
use crate::radio::{ConnectionError, KnownNode, Radio, RadioError, RadioOptions, Submission};

pub(crate) use holder::held_by_daemon;
pub(crate) use listen::{json_lines, lines};
pub(crate) use report::{channel_lines, channels, node_lines, nodes, radio, radio_lines};
pub(crate) use scan::{found_lines, scan};
pub(crate) use send::{Fate, Sent, check_text, send};

/// Events that wait for a command.
const EVENTS: usize = 256;
/// Messages of the radio that are kept to be shown: it has room for no more itself.
const KEPT: usize = 1024;

/// Why a command got nothing from the radio.
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
    /// This program cannot use such a link.
    #[error(transparent)]
    NoLink(#[from] RadioError),
    #[error("cannot reach the radio{}: {cause}", unless_named(connection, cause))]
    Away {
        connection: Connection,
        cause: String,
    },
    #[error("the radio is locked and tells its client nothing")]
    Locked,
    #[error("the radio has no channel `{wanted}`; it has {available}")]
    NoChannel { wanted: String, available: String },
    /// The text cannot go into a packet.
    #[error("{0}")]
    Text(String),
    /// The person did not want to wait any longer.
    #[error("interrupted")]
    Interrupted,
    /// The radio's side of the program ended.
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
            Self::Away { connection, cause } => cure(connection, cause)?,
            Self::Locked => "switch its lockdown off with the app that locked it",
            Self::NoChannel { .. } => "`relay radio channels` lists them",
            Self::NoLink(error) => return error.hint(),
            Self::Text(_) | Self::Interrupted | Self::Ended => return None,
        };
        Some(hint.to_owned())
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Text(_)) {
            Exit::Wrong
        } else {
            Exit::Failed
        }
    }
}

/// Returns what a person can do about a link that cannot be made, or has ended, if the cause does not say it itself.
fn cure(connection: &Connection, cause: &str) -> Option<&'static str> {
    match connection {
        Connection::Tcp { .. } => Some(if was_ended(cause) {
            "a radio on the network serves one client at a time, and the newest wins: look for another relay, another \
             program or a phone app that uses it, and end that; a radio that restarts ends its links, too"
        } else {
            "look whether it is on and in reach; `relay radio scan` lists what can be found"
        }),
        // What fails on a serial port or over Bluetooth names its cure itself.
        Connection::Serial { .. } | Connection::Ble { .. } => None,
    }
}

/// Returns whether a link was made, and ended from the other side.
fn was_ended(cause: &str) -> bool {
    let reset = || io::ErrorKind::ConnectionReset.into();
    let ends = [
        ConnectionError::Closed,
        ConnectionError::Read(reset()),
        ConnectionError::Write(reset()),
    ];
    ends.iter().any(|end| cause.starts_with(&end.to_string()))
}

/// Returns which radio it is, in brackets, if the cause does not name it.
fn unless_named(connection: &Connection, cause: &str) -> String {
    let name = match connection {
        Connection::Serial {
            serial_port: Some(port),
        } => port.display().to_string(),
        Connection::Ble { ble_address, .. } => ble_address.clone(),
        Connection::Tcp { .. } | Connection::Serial { serial_port: None } => connection.place(),
    };
    if cause.contains(&name) {
        return String::new();
    }
    format!(" ({})", connection.place())
}

/// The radio that the daemon holds, and how it reaches it.
pub(crate) type Held = Option<(NodeNum, Connection)>;

/// What is being waited for, for whoever waits.
pub(crate) type Awaited = watch::Sender<Option<&'static str>>;

/// A radio, as a command sees it.
#[derive(Debug)]
pub(crate) struct Visit {
    connection: Connection,
    /// The radio that the daemon holds: if it turns out to be this one, the visit ends.
    not: Held,
    awaited: Awaited,
    /// Ends the visit.
    stop: CancellationToken,
    events: mpsc::Receiver<Event>,
    submissions: mpsc::Sender<Submission>,
    known: watch::Receiver<Vec<KnownNode>>,
    kept: VecDeque<RadioText>,
}

/// What a visit returned, and the messages of the radio that nobody has been shown.
pub(crate) type Visited<T> = (Result<T, VisitError>, Vec<RadioText>);

/// What became known of a radio.
#[derive(Debug)]
pub(crate) enum News {
    /// The radio is there, for the first time or again.
    Ready(Box<RadioProfile>),
    /// The link is lost, and why; it is tried again without end.
    Lost(String),
    /// Somebody said something.
    Text(Box<RadioText>),
    /// What became of a message of ours.
    Report(SendReport),
}

/// Visits a radio: connects, works with it, and takes leave. Returns what the work returned, and the messages of the
/// radio that nobody has been shown.
pub(crate) async fn visit<T>(
    link: Meshtastic,
    not: Held,
    awaited: Awaited,
    stop: CancellationToken,
    work: impl AsyncFnOnce(&mut Visit) -> Result<T, VisitError>,
) -> Visited<T> {
    let mut options = match RadioOptions::new(&link) {
        Ok(options) => options,
        Err(error) => return (Err(error.into()), Vec::new()),
    };
    // A look changes nothing; and what a person sends by hand is not held back by anybody but the radio.
    options.set_time = false;
    options.channel_use = None;
    let radio = Radio::new(options);
    let (told, events) = mpsc::channel(EVENTS);
    let (submissions, submitted) = mpsc::channel(1);
    let end = CancellationToken::new();
    let mut visit = Visit {
        connection: link.connection,
        not,
        awaited,
        stop,
        events,
        submissions,
        known: radio.known(),
        kept: VecDeque::new(),
    };
    let running = Box::pin(radio.run(submitted, told, end.clone()));
    let working = async {
        let done = work(&mut visit).await;
        end.cancel();
        // The radio may have said something while we took leave.
        while let Some(event) = visit.events.recv().await {
            if let Event::Radio(RadioEvent::Text(text)) = event {
                visit.keep(*text);
            }
        }
        (done, visit.kept.into())
    };
    let (ran, (done, kept)) = tokio::join!(running, working);
    let done = match ran {
        Ok(()) => done,
        Err(error) => done.and(Err(error.into())),
    };
    (done, kept)
}

impl Visit {
    /// Waits until the radio has told how it is set up.
    pub(crate) async fn ready(&mut self) -> Result<Box<RadioProfile>, VisitError> {
        self.awaited.send_replace(Some("connecting to the radio"));
        loop {
            match self.news().await? {
                News::Ready(profile) => {
                    let held = self.not.clone();
                    if let Some((node, connection)) = held.filter(|it| it.0 == profile.own.num) {
                        return Err(VisitError::HeldElsewhere { node, connection });
                    }
                    self.awaited.send_replace(None);
                    return Ok(profile);
                }
                News::Lost(cause) => {
                    let connection = self.connection.clone();
                    return Err(VisitError::Away { connection, cause });
                }
                News::Text(text) => self.keep(*text),
                News::Report(_) => {}
            }
        }
    }

    /// Likewise, and a radio that is locked is no good.
    pub(crate) async fn unlocked(&mut self) -> Result<Box<RadioProfile>, VisitError> {
        let profile = self.ready().await?;
        if profile.locked {
            return Err(VisitError::Locked);
        }
        Ok(profile)
    }

    /// Waits for what is heard next. What was heard before the radio was ready comes first.
    pub(crate) async fn heard(&mut self) -> Result<News, VisitError> {
        match self.kept.pop_front() {
            Some(text) => Ok(News::Text(Box::new(text))),
            None => self.news().await,
        }
    }

    /// Returns what a person can do about a link that is lost, if the cause does not say it itself.
    pub(crate) fn cure(&self, cause: &str) -> Option<&'static str> {
        cure(&self.connection, cause)
    }

    /// Returns the nodes that the radio knows, itself included.
    pub(crate) fn known(&self) -> Vec<KnownNode> {
        self.known.borrow().clone()
    }

    /// Waits for something that concerns a command.
    async fn news(&mut self) -> Result<News, VisitError> {
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return Err(VisitError::Interrupted),
                event = self.events.recv() => event.ok_or(VisitError::Ended)?,
            };
            return Ok(match event {
                Event::Radio(RadioEvent::Ready(profile)) => News::Ready(profile),
                Event::Radio(RadioEvent::Lost { cause }) => News::Lost(cause),
                Event::Radio(RadioEvent::Text(text)) => News::Text(text),
                Event::Report(report) => News::Report(report),
                Event::Radio(
                    RadioEvent::Nodes(_)
                    | RadioEvent::Ignored { .. }
                    | RadioEvent::ChannelUse { .. },
                )
                | Event::Matrix(_)
                | Event::Chore(_) => continue,
            });
        }
    }

    fn keep(&mut self, text: RadioText) {
        if self.kept.len() < KEPT {
            self.kept.push_back(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(connection: Connection, cause: &str) -> VisitError {
        VisitError::Away {
            connection,
            cause: cause.to_owned(),
        }
    }

    fn tcp(host: &str) -> Connection {
        Connection::Tcp {
            host: host.to_owned(),
            port: 4403,
        }
    }

    #[test]
    fn a_radio_that_is_not_there_is_named_once() {
        for (connection, cause, expected) in [
            (
                tcp("192.0.2.7"),
                "cannot connect to the radio at `192.0.2.7:4403`: refused",
                "cannot reach the radio: cannot connect to the radio at `192.0.2.7:4403`: refused",
            ),
            (
                tcp("::1"),
                "cannot connect to the radio at `[::1]:4403`: refused",
                "cannot reach the radio: cannot connect to the radio at `[::1]:4403`: refused",
            ),
            (
                tcp("192.0.2.7"),
                "the radio closed the connection",
                "cannot reach the radio (192.0.2.7:4403): the radio closed the connection",
            ),
            (
                Connection::Serial {
                    serial_port: Some("/dev/ttyUSB0".into()),
                },
                "the serial port `/dev/ttyUSB0` is in use",
                "cannot reach the radio: the serial port `/dev/ttyUSB0` is in use",
            ),
        ] {
            assert_eq!(away(connection, cause).to_string(), expected);
        }
    }

    #[test]
    fn only_a_radio_on_the_network_needs_a_hint_beside_the_cause() {
        let serial = Connection::Serial { serial_port: None };
        let ble = Connection::Ble {
            ble_address: "Base_1234".to_owned(),
            ble_pin: None,
        };
        assert!(away(tcp("radio"), "refused").hint().is_some());
        assert_eq!(away(serial, "in use").hint(), None);
        assert_eq!(away(ble, "no D-Bus").hint(), None);
    }

    #[test]
    fn a_radio_that_ends_the_link_is_another_clients_and_one_that_cannot_be_reached_is_not() {
        for (cause, words) in [
            ("the radio closed the connection", "serves one client"),
            (
                "cannot read from the radio: Connection reset by peer (os error 104)",
                "serves one client",
            ),
            (
                "cannot write to the radio: Broken pipe (os error 32)",
                "serves one client",
            ),
            (
                "cannot connect to the radio at `radio:4403`: refused",
                "is on and in reach",
            ),
            (
                "the radio did not tell its configuration",
                "is on and in reach",
            ),
        ] {
            let hint = away(tcp("radio"), cause).hint().unwrap();
            assert!(hint.contains(words), "{cause}: {hint}");
        }
    }
}
