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
use std::future::pending;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::home::Holder;
use relay_bridge::PACKET_BYTES;
use relay_config::{Connection, Meshtastic};
use relay_model::{
    Event, Explained, LossKind, NodeNum, RadioEvent, RadioProfile, RadioText, SendReport,
};
use relay_radio::{
    HANDSHAKE_LIMIT, KnownNode, Link, LinkState, Radio, RadioError, RadioOptions, Submission,
};

pub(crate) use holder::held_by_daemon;
pub(crate) use listen::{json_lines, lines};
pub(crate) use report::{channel_lines, channels, node_lines, nodes, radio, radio_lines};
pub(crate) use scan::{found_lines, scan};
pub(crate) use send::{Fate, Sent, check_text, send};

/// Events that wait for a command.
const EVENTS: usize = 256;
/// Messages of the radio that are kept to be shown: it has room for no more itself.
const KEPT: usize = 1024;

/// Who waits longer for a first word of the radio is told so.
const PATIENCE: Duration = Duration::from_secs(5);

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
    #[error("cannot reach the radio{}", .0.place())]
    Away(#[source] Lost),
    #[error("the radio is locked and tells its client nothing")]
    Locked,
    #[error("the radio has no channel `{wanted}`; it has {available}")]
    NoChannel { wanted: String, available: String },
    #[error("there is nothing to send")]
    NoText,
    #[error("the text has {size} bytes, and a packet takes {PACKET_BYTES}")]
    TooLong { size: usize },
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
            Self::Away(lost) => return lost.hint(),
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

/// A link that cannot be made, or has ended, and why.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Lost {
    connection: Connection,
    kind: LossKind,
    cause: String,
    /// What helps against just that.
    hint: Option<String>,
}

impl Explained for Lost {
    fn hint(&self) -> Option<String> {
        if self.hint.is_some() {
            return self.hint.clone();
        }
        let is_on_network = matches!(self.connection, Connection::Tcp { .. });
        let hint = match self.kind {
            LossKind::Nobody if is_on_network => {
                let port = Connection::TCP_PORT;
                return Some(format!(
                    "check the host and the port (a radio has port {port}); a radio that hangs wants a restart"
                ));
            }
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
    /// Returns which radio it is, in brackets, if the cause does not name it.
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

/// The radio that the daemon holds, and how it reaches it.
pub(crate) type Held = Option<(NodeNum, Connection)>;

/// What is being waited for, for whoever waits.
pub(crate) type Awaited = watch::Sender<Option<&'static str>>;

/// Tells a person something beside the result.
pub(crate) type Tell = fn(&str);

/// A radio, as a command sees it.
#[derive(Debug)]
pub(crate) struct Visit {
    connection: Connection,
    /// The radio that the daemon holds: if it turns out to be this one, the visit ends.
    not: Held,
    awaited: Awaited,
    tell: Tell,
    link: watch::Receiver<Link>,
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
    /// The link is lost; it is tried again without end.
    Lost(Lost),
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
    tell: Tell,
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
        tell,
        link: radio.link(),
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
    let done = done.and_then(|done| Ok(ran.map(|()| done)?));
    (done, kept)
}

impl Visit {
    /// Waits until the radio has told how it is set up.
    pub(crate) async fn ready(&mut self) -> Result<Box<RadioProfile>, VisitError> {
        self.awaited.send_replace(Some("connecting to the radio"));
        let mut silence = pin!(silence(self.link.clone()));
        let mut is_told = false;
        let profile = loop {
            let news = tokio::select! {
                news = self.news() => news?,
                () = &mut silence, if !is_told => {
                    is_told = true;
                    (self.tell)(&format!(
                        "connected ({}), but no radio has answered yet; it is given {} s",
                        self.connection.place(),
                        HANDSHAKE_LIMIT.as_secs()
                    ));
                    continue;
                }
            };
            match news {
                News::Ready(profile) => break profile,
                News::Lost(lost) => return Err(VisitError::Away(lost)),
                News::Text(text) => self.keep(*text),
                News::Report(_) => {}
            }
        };
        let held = self.not.take_if(|(node, _)| *node == profile.own.num);
        if let Some((node, connection)) = held {
            return Err(VisitError::HeldElsewhere { node, connection });
        }
        self.awaited.send_replace(None);
        Ok(profile)
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

    /// Returns the nodes that the radio knows, itself included.
    pub(crate) fn known(&self) -> Vec<KnownNode> {
        self.known.borrow().clone()
    }

    /// Waits for something that concerns a command. Cancel safe.
    async fn news(&mut self) -> Result<News, VisitError> {
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return Err(VisitError::Interrupted),
                event = self.events.recv() => event.ok_or(VisitError::Ended)?,
            };
            return Ok(match event {
                Event::Radio(RadioEvent::Ready(profile)) => News::Ready(profile),
                Event::Radio(RadioEvent::Lost { kind, cause, hint }) => News::Lost(Lost {
                    connection: self.connection.clone(),
                    kind,
                    cause,
                    hint,
                }),
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

/// Waits until a connection stands on which no radio has spoken for a while.
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
mod tests {
    use tokio::time::Instant;

    use super::*;
    use relay_model::Chain;

    fn away(connection: Connection, cause: &str) -> VisitError {
        lost(connection, LossKind::Absent, cause)
    }

    fn lost(connection: Connection, kind: LossKind, cause: &str) -> VisitError {
        VisitError::Away(Lost {
            connection,
            kind,
            cause: cause.to_owned(),
            hint: None,
        })
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
            assert_eq!(Chain(&away(connection, cause)).to_string(), expected);
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
        let own = VisitError::Away(Lost {
            connection: tcp("radio"),
            kind: LossKind::Barred,
            cause: "a web server".to_owned(),
            hint: Some("check the port".to_owned()),
        });
        assert_eq!(own.hint().as_deref(), Some("check the port"));
        assert!(!Chain(&own).to_string().contains("check"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_word_of_a_radio_is_told_after_a_while_and_one_with_is_not() {
        let (link, looks) = watch::channel(Link {
            state: LinkState::Connecting,
            heard: false,
            since: Instant::now(),
            cause: None,
            hint: None,
            restarts: 0,
        });
        let minute = Duration::from_mins(1);
        let is_told = async |link| timeout(minute, silence(link)).await.is_ok();
        assert!(!is_told(looks.clone()).await, "not connected");
        link.send_modify(|link| link.state = LinkState::Configuring);
        let began = Instant::now();
        assert!(is_told(looks.clone()).await);
        assert_eq!(began.elapsed(), PATIENCE);
        link.send_modify(|link| link.heard = true);
        assert!(!is_told(looks.clone()).await, "a long list of nodes");
        drop(link);
        assert!(!is_told(looks).await, "it has ended");
    }

    #[test]
    fn a_radio_that_ends_the_link_is_another_clients_and_one_that_cannot_be_reached_is_not() {
        for (kind, words) in [
            (LossKind::Ended, "serves one client"),
            (LossKind::Broken, "serves one client"),
            (LossKind::Absent, "is on and in reach"),
            (LossKind::Silent, "is on and in reach"),
            (LossKind::Nobody, "check the host and the port"),
        ] {
            let hint = lost(tcp("radio"), kind, "it is gone").hint().unwrap();
            assert!(hint.contains(words), "{kind:?}: {hint}");
        }
    }
}
