//! Wires that carry whole packets instead of bytes: no framing, no wake bytes.
//!
//! The wire is a future that reads ahead and writes. It is polled only while the connection receives or sends, and ends
//! when the connection is dropped.

use std::future::{Future, pending};
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::Bytes;

use crate::error::ConnectionError;
use relay_wire::codec::{FRAME_LIMIT, TooLong};

/// Maximum number of packets read ahead; further ones stay in the radio.
const AHEAD: usize = 32;

/// A frame on its way to a radio whose wire carries whole frames.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) packet: Vec<u8>,
    /// Completes when the radio has accepted the packet.
    pub(super) taken: oneshot::Sender<()>,
}

/// The wire's ends of the queues: what its task reads from the radio and writes to it.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) incoming: mpsc::Sender<Bytes>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
}

type LinkTask = Pin<Box<dyn Future<Output = ConnectionError> + Send>>;
type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection over a wire that carries whole frames, with the task that does so.
pub(super) struct PacketLink {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Outgoing>,
    work: Option<LinkTask>,
    farewell: Option<Farewell>,
    ended: Option<ConnectionError>,
}

impl PacketLink {
    /// Creates a connection. `work` carries packets until it fails; `farewell` closes a wire that is still open.
    pub(super) fn new<W: Future<Output = ConnectionError> + Send + 'static>(
        work: impl FnOnce(Ends) -> W,
        farewell: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (read, incoming) = mpsc::channel(AHEAD);
        // One at a time: a sender waits for the radio's confirmation.
        let (outgoing, to_write) = mpsc::channel(1);
        let ends = Ends {
            incoming: read,
            outgoing: to_write,
        };
        Self {
            incoming,
            outgoing,
            work: Some(Box::pin(work(ends))),
            farewell: Some(Box::pin(farewell)),
            ended: None,
        }
    }

    /// Receives a packet. Packets read before the end of the wire precede its error. Cancel safe: the wire continues
    /// where it was.
    pub(super) async fn receive(&mut self) -> Result<Bytes, ConnectionError> {
        loop {
            tokio::select! {
                biased;
                Some(packet) = self.incoming.recv() => return Ok(packet),
                // The radio may have sent its last packet before this end.
                cause = ended(&mut self.work), if self.work.is_some() => self.end(cause),
                else => return Err(self.ended.take().unwrap_or(ConnectionError::Closed)),
            }
        }
    }

    /// Sends a packet, and waits for the radio's confirmation. Not cancel safe: the packet may have gone, or may still
    /// go. It is never cut.
    pub(super) async fn send(&mut self, packet: &[u8]) -> Result<(), ConnectionError> {
        if packet.len() > FRAME_LIMIT {
            let size = packet.len();
            return Err(TooLong { size }.into());
        }
        let (taken, is_taken) = oneshot::channel();
        let outgoing = Outgoing {
            packet: packet.to_vec(),
            taken,
        };
        let hand_over = async {
            // An error means that the wire has ended, and its own error is reported.
            if self.outgoing.send(outgoing).await.is_err() || is_taken.await.is_err() {
                pending::<()>().await;
            }
        };
        let cause = tokio::select! {
            biased;
            () = hand_over => return Ok(()),
            cause = ended(&mut self.work) => cause,
        };
        self.end(cause);
        Err(self.ended.take().unwrap_or(ConnectionError::Closed))
    }

    pub(super) async fn close(&mut self) {
        self.work = None;
        if let Some(farewell) = self.farewell.take() {
            farewell.await;
        }
    }

    /// The wire has ended by itself and needs no farewell.
    fn end(&mut self, cause: ConnectionError) {
        self.work = None;
        self.farewell = None;
        self.ended = Some(cause);
    }
}

/// Returns the wire's error; further calls return that it is closed.
async fn ended(work: &mut Option<LinkTask>) -> ConnectionError {
    match work {
        Some(work) => work.await,
        None => ConnectionError::Closed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A wire that answers each packet with three copies.
    async fn echo(mut ends: Ends) -> ConnectionError {
        while let Some(outgoing) = ends.outgoing.recv().await {
            for _ in 0..3 {
                let packet = Bytes::copy_from_slice(&outgoing.packet);
                if ends.incoming.send(packet).await.is_err() {
                    return ConnectionError::Closed;
                }
            }
            if outgoing.packet == b"bye" {
                return ConnectionError::WriteLimit;
            }
            outgoing.taken.send(()).unwrap();
        }
        ConnectionError::Closed
    }

    #[tokio::test(start_paused = true)]
    async fn a_receive_that_is_given_up_loses_nothing() {
        let mut packets = PacketLink::new(echo, async {});
        for number in 0..5_u8 {
            packets.send(&[number]).await.unwrap();
            for _ in 0..3 {
                drop(timeout(Duration::ZERO, std::future::pending::<()>()).await);
                assert_eq!(packets.receive().await.unwrap().as_ref(), [number]);
            }
            let nothing = timeout(Duration::from_secs(1), packets.receive()).await;
            assert!(nothing.is_err());
        }
    }

    #[tokio::test]
    async fn what_came_before_the_end_is_received_before_its_cause() {
        let mut packets = PacketLink::new(
            |ends| async move {
                for _ in 0..3 {
                    drop(ends.incoming.send(Bytes::from_static(b"last")).await);
                }
                ConnectionError::WriteLimit
            },
            async {},
        );
        for _ in 0..3 {
            assert_eq!(packets.receive().await.unwrap().as_ref(), b"last");
        }
        let end = packets.receive().await;
        assert!(matches!(end, Err(ConnectionError::WriteLimit)));
        for _ in 0..2 {
            assert!(matches!(
                packets.receive().await,
                Err(ConnectionError::Closed)
            ));
            assert!(matches!(
                packets.send(b"x").await,
                Err(ConnectionError::Closed)
            ));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wire_that_tidies_up_before_it_ends_says_why() {
        let work = |ends: Ends| async move {
            drop(ends);
            tokio::time::sleep(Duration::from_secs(1)).await;
            ConnectionError::WriteLimit
        };
        let mut packets = PacketLink::new(work, async {});
        assert!(timeout(Duration::ZERO, packets.receive()).await.is_err());
        let end = packets.receive().await;
        assert!(matches!(end, Err(ConnectionError::WriteLimit)));
    }

    #[tokio::test]
    async fn a_wire_that_ends_while_it_writes_says_why() {
        let mut packets = PacketLink::new(echo, async {});
        let sent = packets.send(b"bye").await;
        assert!(matches!(sent, Err(ConnectionError::WriteLimit)));
    }

    #[tokio::test]
    async fn a_packet_that_no_radio_takes_is_refused_here() {
        let mut packets = PacketLink::new(echo, async {});
        let sent = packets.send(&[0; FRAME_LIMIT + 1]).await;
        assert!(matches!(sent, Err(ConnectionError::Frame(_))));
        packets.send(&[0; FRAME_LIMIT]).await.unwrap();
    }

    #[tokio::test]
    async fn a_wire_that_has_ended_by_itself_is_not_closed() {
        let (sender, said) = std::sync::mpsc::channel();
        let farewell = async move { sender.send("farewell").unwrap() };
        let mut packets = PacketLink::new(echo, farewell);
        assert!(packets.send(b"bye").await.is_err());
        packets.close().await;
        assert_eq!(said.try_iter().count(), 0);
    }

    #[tokio::test]
    async fn the_farewell_is_said_once_and_after_the_wire_has_ended() {
        struct Told(std::sync::mpsc::Sender<&'static str>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send("ended").unwrap();
            }
        }
        let (sender, said) = std::sync::mpsc::channel();
        let told = Told(sender.clone());
        let mut packets = PacketLink::new(
            |ends| async move {
                let _told = told;
                echo(ends).await
            },
            async move { sender.send("farewell").unwrap() },
        );
        packets.send(b"x").await.unwrap();
        packets.close().await;
        packets.close().await;
        assert_eq!(said.try_iter().collect::<Vec<_>>(), ["ended", "farewell"]);
    }
}
