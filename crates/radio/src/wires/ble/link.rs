//! One Bluetooth link: reads until the radio has no more packets, writes, and detects the loss of the link.

use std::convert::Infallible;
use std::time::Duration;

use btleplug::api::{CentralEvent, CentralState, Characteristic, Peripheral as _, WriteType};
use btleplug::platform::Peripheral;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::bytes::Bytes;
use tracing::{debug, trace};

use super::bluez::{LinkEnd, Service, ServiceEnd};
use super::error::{BleError, limited};
use super::host::{CALL_LIMIT, Device, Events, FROM_NUM, Lent, Notifications, link_change, within};
use crate::error::ConnectionError;
use crate::wires::packets::{Ends, Outgoing};

/// Maximum time for a read or a write: some radios delay a read by 20 s.
const RADIO_LIMIT: Duration = Duration::from_secs(25);
/// How often the link is checked beside its events: not every system reports a dead Bluetooth service.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How often the radio is read without a notification, which it does not always send.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Delays of further reads after a write or a packet: the radio prepares its answer, and may not notify.
const ASK_AGAIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(700),
];

/// A connected radio, with the characteristics by which packets cross.
#[derive(Clone)]
pub(super) struct BleRadio {
    pub(super) device: Device,
    pub(super) written: Characteristic,
    pub(super) read: Characteristic,
    /// The service that delivers the notifications.
    pub(super) service: Service,
    pub(super) doorbell: dbus::Path<'static>,
}

/// Carries packets until the link is lost; returns the cause.
pub(super) async fn carry(
    radio: BleRadio,
    mut lent: Lent,
    mut link: (ServiceEnd, LinkEnd),
    ends: Ends,
) -> ConnectionError {
    let chosen = lent.as_mut().and_then(|host| host.chosen.as_mut());
    let known = chosen.and_then(|it| Some((&mut it.events, it.known.as_mut()?)));
    let Some((events, known)) = known else {
        return BleError::Lost.into();
    };
    let error = tokio::select! {
        biased;
        error = watch(&radio, events, &mut link) => error,
        pumped = pump(&radio, &mut known.doorbell, ends) => {
            let Err(error) = pumped;
            error
        }
    };
    if error.ends_way() {
        *lent = None;
    }
    debug!(device = radio.device.named.name, %error, "the Bluetooth link has ended");
    match &error {
        // The disconnect could not be delivered.
        BleError::NoBus | BleError::WayEnded | BleError::NoService | BleError::ServiceEnded => {}
        error if error.may_leave_link() => leave(radio).await,
        _ => radio.service.unsubscribe(&radio.doorbell).await,
    }
    error.into()
}

/// Waits until the link is lost, and returns the cause.
async fn watch(
    radio: &BleRadio,
    events: &mut Events,
    (service_end, link_end): &mut (ServiceEnd, LinkEnd),
) -> BleError {
    let id = radio.device.peripheral.id();
    let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            end = service_end.wait() => return end,
            // Another program may already have connected the radio again.
            end = link_end.wait() => return end,
            event = events.next() => match event {
                // The event may belong to an earlier link, so the device is asked.
                Some(event) if link_change(&event, &id) == Some(false) => {}
                Some(CentralEvent::StateUpdate(CentralState::PoweredOff)) => {}
                Some(_) => continue,
                None => return BleError::WayEnded,
            },
            _ = check.tick() => {}
        }
        let is_connected = radio.device.peripheral.is_connected();
        match within("asking for the link", is_connected).await {
            Ok(true) => {}
            Ok(false) => return BleError::Lost,
            Err(BleError::TooLong { .. }) => return BleError::ServiceEnded,
            Err(error) => return error,
        }
    }
}

/// Reads and writes one after the other: the radio does one thing at a time.
async fn pump(
    radio: &BleRadio,
    doorbell: &mut Notifications,
    mut ends: Ends,
) -> Result<Infallible, BleError> {
    let (mut read_at, mut read_again) = (Instant::now(), ASK_AGAIN.iter());
    let mut may_write = true;
    loop {
        // The radio's buffer of writes is small, so a read follows each write.
        let writes = std::mem::replace(&mut may_write, true);
        tokio::select! {
            biased;
            outgoing = ends.outgoing.recv(), if writes => {
                may_write = false;
                write(radio, outgoing.ok_or(BleError::Lost)?).await?;
            }
            place = place_for_packet(&ends.incoming, read_at) => {
                // Without a receiver, reading is pointless.
                let place = place.ok_or(BleError::Lost)?;
                let read = radio.device.peripheral.read(&radio.read);
                let packet = answer("reading from the radio", radio, read).await?;
                if packet.is_empty() {
                    let pause = read_again.next().copied().unwrap_or(ASK_EVERY);
                    read_at = Instant::now() + pause;
                    continue;
                }
                trace!(size = packet.len(), "packet read");
                place.send(packet.into());
            }
            ring = next_ring(doorbell) => {
                ring?;
                trace!("the radio rings");
            }
        }
        (read_at, read_again) = (Instant::now(), ASK_AGAIN.iter());
    }
}

/// Waits for a notification. Cancel safe.
async fn next_ring(doorbell: &mut Notifications) -> Result<(), BleError> {
    while let Some(notification) = doorbell.next().await {
        if notification.uuid == FROM_NUM {
            return Ok(());
        }
    }
    // Further calls would return at once.
    Err(BleError::WayEnded)
}

/// Waits until a read is due and the queue has room: a packet that was read has left the radio.
async fn place_for_packet(
    incoming: &mpsc::Sender<Bytes>,
    due: Instant,
) -> Option<mpsc::Permit<'_, Bytes>> {
    sleep_until(due).await;
    incoming.reserve().await.ok()
}

async fn write(radio: &BleRadio, outgoing: Outgoing) -> Result<(), BleError> {
    let (peripheral, packet) = (&radio.device.peripheral, &outgoing.packet);
    let write = peripheral.write(&radio.written, packet, WriteType::WithResponse);
    answer("writing to the radio", radio, write).await?;
    // The sender no longer waits for the confirmation.
    outgoing.taken.send(()).or(Ok(()))
}

async fn answer<T>(
    what: &'static str,
    radio: &BleRadio,
    call: impl Future<Output = btleplug::Result<T>>,
) -> Result<T, BleError> {
    let meaning = |error| BleError::of(what, Some(&radio.device.named), &error);
    limited(what, RADIO_LIMIT, call, meaning).await
}

pub(super) async fn leave(radio: BleRadio) {
    radio.service.unsubscribe(&radio.doorbell).await;
    hang_up(radio.device.peripheral).await;
}

/// Closes the link, without waiting for a device or service that is gone.
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

    use super::super::host::SERVICE;
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
