//! One link to a radio over Bluetooth: reads until the radio has no more, writes, and learns that the link is lost.

use std::time::Duration;

use btleplug::api::{CentralEvent, CentralState, Characteristic, Peripheral as _, WriteType};
use btleplug::platform::Peripheral;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::bytes::Bytes;
use tracing::{debug, trace};

use super::super::connection::ConnectionError;
use super::super::packets::{Ends, Outgoing};
use super::bluez::{LinkEnd, Service, ServiceEnd};
use super::error::{BleError, Named};
use super::host::{CALL_LIMIT, Events, Notifications, link_change};
use super::{FROM_NUM, Lent, host};

/// How long the radio may take for a read or a write: some hold a read back for 20 s.
const RADIO_LIMIT: Duration = Duration::from_secs(25);
/// How often the link is looked at, beside its events: nobody tells of a dead Bluetooth service everywhere.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How often the radio is asked without its doorbell, which it rings neither always nor for everything.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// When to ask again after a write or a packet: an answer takes the radio a moment, and need not ring.
const ASK_AGAIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(700),
];

/// What a link reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Radio {
    /// Which it is.
    pub(super) named: Named,
    /// The device.
    pub(super) device: Peripheral,
    /// What is written.
    pub(super) written: Characteristic,
    /// What is read.
    pub(super) read: Characteristic,
    /// Who passes the doorbell on.
    pub(super) service: Service,
    /// Where the doorbell is.
    pub(super) doorbell: String,
}

/// Carries packets until the link is lost; returns why.
pub(super) async fn carry(
    radio: Radio,
    mut lent: Lent,
    mut link: (ServiceEnd, LinkEnd),
    ends: Ends,
) -> ConnectionError {
    let Some((events, known)) = lent.host.as_mut().and_then(host::Host::streams) else {
        return BleError::Lost.into();
    };
    let error = tokio::select! {
        biased;
        error = watch(&radio, events, &mut link) => error,
        error = pump(&radio, &mut known.doorbell, ends) => error,
    };
    if error.ends_way() {
        lent.host = None;
    }
    debug!(device = radio.named.name, %error, "the Bluetooth link has ended");
    match &error {
        // Nobody is there to hear it.
        BleError::NoBus | BleError::WayEnded | BleError::NoService | BleError::ServiceEnded => {}
        error if error.may_leave_link() => leave(radio).await,
        _ => radio.service.unsubscribe(&radio.doorbell).await,
    }
    error.into()
}

/// Waits until the link is lost, and returns how.
async fn watch(
    radio: &Radio,
    events: &mut Events,
    (service_end, link_end): &mut (ServiceEnd, LinkEnd),
) -> BleError {
    let id = radio.device.id();
    let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            end = service_end.wait() => return end,
            // Another program may have connected the radio again already.
            end = link_end.wait() => return end,
            event = events.next() => match event {
                // An event of an earlier link may have waited here: the device itself is asked.
                Some(event) if link_change(&event, &id) == Some(false) => {}
                Some(CentralEvent::StateUpdate(CentralState::PoweredOff)) => {}
                Some(_) => continue,
                None => return BleError::WayEnded,
            },
            _ = check.tick() => {}
        }
        match host::within("asking for the link", radio.device.is_connected()).await {
            Ok(true) => {}
            Ok(false) => return BleError::Lost,
            Err(BleError::TooLong { .. }) => return BleError::ServiceEnded,
            Err(error) => return error,
        }
    }
}

/// When to read next.
#[derive(Debug)]
struct Asking {
    at: Instant,
    again: std::slice::Iter<'static, Duration>,
}

impl Asking {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            again: ASK_AGAIN.iter(),
        }
    }

    /// There was nothing to read.
    fn found_nothing(&mut self) {
        self.at = Instant::now() + self.again.next().copied().unwrap_or(ASK_EVERY);
    }
}

/// Reads and writes, one after the other: the radio does one thing at a time.
async fn pump(radio: &Radio, doorbell: &mut Notifications, mut ends: Ends) -> BleError {
    let mut asking = Asking::now();
    let mut may_write = true;
    loop {
        let due = asking.at;
        let step = tokio::select! {
            biased;
            outgoing = ends.outgoing.recv(), if may_write => Step::Write(outgoing),
            place = place_for_packet(&ends.incoming, due) => Step::Read(place),
            ring = next_ring(doorbell) => Step::Doorbell(ring),
        };
        may_write = true;
        let done = match step {
            Step::Write(Some(outgoing)) => {
                // The radio keeps few writes: it gets the time of a read between two.
                may_write = false;
                asking = Asking::now();
                write(radio, outgoing).await
            }
            Step::Read(Some(place)) => match read(radio).await {
                Ok(packet) if packet.is_empty() => {
                    asking.found_nothing();
                    Ok(())
                }
                Ok(packet) => {
                    trace!(size = packet.len(), "packet read");
                    place.send(packet.into());
                    asking = Asking::now();
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Step::Doorbell(Ok(())) => {
                trace!("the radio rings");
                asking = Asking::now();
                Ok(())
            }
            Step::Doorbell(Err(error)) => Err(error),
            // Nobody is there to read or write for any more.
            Step::Write(None) | Step::Read(None) => Err(BleError::Lost),
        };
        if let Err(error) = done {
            return error;
        }
    }
}

enum Step<'a> {
    Write(Option<Outgoing>),
    Read(Option<mpsc::Permit<'a, Bytes>>),
    Doorbell(Result<(), BleError>),
}

/// Waits until the radio rings.
///
/// # Cancel safety
///
/// Nothing is lost.
async fn next_ring(doorbell: &mut Notifications) -> Result<(), BleError> {
    while let Some(notification) = doorbell.next().await {
        if notification.uuid == FROM_NUM {
            return Ok(());
        }
    }
    // Whoever asks again gets the same answer at once.
    Err(BleError::WayEnded)
}

/// Waits until it is time to read and there is a place for what is read: what is read has left the radio.
async fn place_for_packet(
    incoming: &mpsc::Sender<Bytes>,
    due: Instant,
) -> Option<mpsc::Permit<'_, Bytes>> {
    sleep_until(due).await;
    incoming.reserve().await.ok()
}

async fn read(radio: &Radio) -> Result<Vec<u8>, BleError> {
    let read = timeout(RADIO_LIMIT, radio.device.read(&radio.read));
    answer("reading from the radio", radio, read.await)
}

async fn write(radio: &Radio, outgoing: Outgoing) -> Result<(), BleError> {
    let write = radio
        .device
        .write(&radio.written, &outgoing.packet, WriteType::WithResponse);
    let write = timeout(RADIO_LIMIT, write).await;
    answer("writing to the radio", radio, write)?;
    // Nobody waits for it any more: then nobody needs to know.
    outgoing.taken.send(()).or(Ok(()))
}

fn answer<T>(
    what: &'static str,
    radio: &Radio,
    answer: Result<btleplug::Result<T>, tokio::time::error::Elapsed>,
) -> Result<T, BleError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(BleError::of(what, Some(&radio.named), &error)),
        Err(_) => Err(BleError::TooLong {
            what,
            limit: RADIO_LIMIT,
        }),
    }
}

/// Ends the link and what there is on it.
pub(super) async fn leave(radio: Radio) {
    radio.service.unsubscribe(&radio.doorbell).await;
    hang_up(radio.device).await;
}

/// Ends the link; a device that is gone, or a service, is not waited for.
pub(super) async fn hang_up(device: Peripheral) {
    if let Ok(Err(error)) = timeout(CALL_LIMIT / 5, device.disconnect()).await {
        debug!(%error, "the Bluetooth link was gone already");
    }
}

#[cfg(test)]
mod tests {
    use btleplug::api::ValueNotification;
    use futures_util::stream::iter;
    use uuid::Uuid;

    use super::super::SERVICE;
    use super::*;

    #[tokio::test]
    async fn a_doorbell_that_can_ring_no_more_ends_the_link() {
        let of = |uuid| ValueNotification {
            uuid,
            service_uuid: SERVICE,
            value: Vec::new(),
        };
        let mut doorbell: Notifications = Box::pin(iter([of(Uuid::nil()), of(FROM_NUM)]));
        assert_eq!(next_ring(&mut doorbell).await, Ok(()));
        for _ in 0..2 {
            assert_eq!(next_ring(&mut doorbell).await, Err(BleError::WayEnded));
        }
    }
}
