//! The GATT service of a radio: reads, writes, and the doorbell (notifications of `FromNum`). Pure: whoever
//! fakes the computer's Bluetooth service calls it, and hands the time in.
//!
//! Unlike on a stream, a frame leaves the radio only when it is read. Like the firmware it drops a write that begins as the
//! one before it, queues few writes, does not ring for the configuration, and loses the prepared frame when the link
//! ends. Unlike the firmware, it ends the link of a client that sends `disconnect`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use relay_simulator::{Command, Fault, Report, SimulatedRadio};
use relay_wire::codec::FRAME_LIMIT;
use relay_wire::proto::{FromRadio, Message as _, from_radio::PayloadVariant};

/// Maximum number of writes that an ESP32 queues for its main loop.
pub(crate) const WRITES: usize = 3;

/// Time until the main loop takes a write.
const TAKEN_AFTER: Duration = Duration::from_millis(5);

/// Maximum number of pending doorbells.
const DOORBELLS: usize = 256;

/// Why a read or a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttError {
    /// There is no link, or it has just ended.
    #[error("not connected")]
    NotConnected,
    /// The radio requires a bond.
    #[error("insufficient authentication")]
    InsufficientAuthentication,
    /// The value is too long.
    #[error("invalid attribute value length")]
    InvalidLength,
}

/// A radio's GATT service.
#[derive(Debug)]
pub(crate) struct Gatt<S> {
    side: S,
    pin: Option<u32>,
    bonded: bool,
    linked: bool,
    away_until: Option<Instant>,
    last_write: Vec<u8>,
    writes: VecDeque<(Instant, Vec<u8>)>,
    /// What the next read returns.
    ready: Option<Vec<u8>>,
    /// The configuration was read completely on this link.
    configured: bool,
    number: u32,
    doorbells: VecDeque<u32>,
    unheard: u32,
    hangs_up_at_read: bool,
}

impl<S: SimulatedRadio> Gatt<S> {
    /// Makes the service of a radio without a PIN.
    pub(crate) fn new(side: S) -> Self {
        Self {
            side,
            pin: None,
            bonded: false,
            linked: false,
            away_until: None,
            last_write: Vec::new(),
            writes: VecDeque::new(),
            ready: None,
            configured: false,
            number: 0,
            doorbells: VecDeque::new(),
            unheard: 0,
            hangs_up_at_read: false,
        }
    }

    /// Sets the PIN that reads and writes require; deletes all bonds.
    pub(crate) fn set_pin(&mut self, pin: Option<u32>) {
        self.pin = pin;
        self.bonded = false;
    }

    /// Returns whether the client has paired, or need not.
    pub(crate) fn is_bonded(&self) -> bool {
        self.bonded
    }

    /// A client pairs; returns whether its PIN is right.
    pub(crate) fn pair(&mut self, pin: Option<u32>) -> bool {
        self.bonded = self.linked && (self.pin.is_none() || self.pin == pin);
        self.bonded
    }

    /// Returns whether the radio advertises: not while connected.
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        !self.linked && self.away_until.is_none_or(|until| until <= now)
    }

    /// Returns whether a client is connected.
    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }

    /// A client connects; returns whether the radio is in reach.
    pub(crate) fn connect(&mut self, now: Instant) -> bool {
        if !self.is_heard(now) {
            return false;
        }
        self.away_until = None;
        self.linked = true;
        self.configured = false;
        self.side.on_connect(now);
        true
    }

    /// The link ends, whoever ended it.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        if self.linked {
            self.side.on_disconnect(now);
        }
        self.linked = false;
        self.configured = false;
        self.last_write.clear();
        self.writes.clear();
        self.ready = None;
        self.doorbells.clear();
    }

    /// The client writes to `ToRadio`; a write that the radio drops silently is no error.
    pub(crate) fn write(&mut self, value: &[u8], now: Instant) -> Result<(), AttError> {
        self.admit()?;
        if value.len() > FRAME_LIMIT {
            return Err(AttError::InvalidLength);
        }
        if self.last_write.starts_with(value) {
            return Ok(());
        }
        self.last_write = value.to_vec();
        if self.writes.len() < WRITES {
            self.writes.push_back((now + TAKEN_AFTER, value.to_vec()));
        }
        Ok(())
    }

    /// The client reads `FromRadio`; empty: nothing more.
    pub(crate) fn read(&mut self, now: Instant) -> Result<Vec<u8>, AttError> {
        self.admit()?;
        self.make_ready(now);
        if self.hangs_up_at_read && self.ready.is_some() {
            self.hangs_up_at_read = false;
            self.disconnect(now);
            return Err(AttError::NotConnected);
        }
        let value = self.ready.take().unwrap_or_default();
        self.configured |= ends_configuration(&value);
        Ok(value)
    }

    /// The client reads `FromNum`.
    pub(crate) fn read_number(&self) -> Result<Vec<u8>, AttError> {
        self.admit()?;
        Ok(self.number.to_le_bytes().to_vec())
    }

    /// The client subscribes to the doorbell.
    pub(crate) fn admit(&self) -> Result<(), AttError> {
        if !self.linked {
            return Err(AttError::NotConnected);
        }
        if self.pin.is_some() && !self.bonded {
            return Err(AttError::InsufficientAuthentication);
        }
        Ok(())
    }

    /// Takes the value of the next notification.
    pub(crate) fn next_doorbell(&mut self) -> Option<u32> {
        self.doorbells.pop_front()
    }

    /// Loses the next notifications.
    pub(crate) fn miss_doorbells(&mut self, count: u32) {
        self.unheard = count;
    }

    /// Rings with the number 0 and nothing to read, as when the firmware looks up a node.
    pub(crate) fn ring_zero(&mut self) {
        self.doorbells.push_back(0);
    }

    /// Ends the link at the client's next read, and loses the value.
    pub(crate) fn hang_up_at_read(&mut self) {
        self.hangs_up_at_read = true;
    }

    /// Returns when [`Self::on_time`] wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let write_at = self.writes.front().map(|(at, _)| *at);
        let times = [self.side.deadline(), write_at, self.away_until];
        times.into_iter().flatten().min()
    }

    /// Runs the timers.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while let Some((_, write)) = self.writes.pop_front_if(|(at, _)| *at <= now) {
            self.side.on_to_radio(&write, now);
        }
        self.away_until = self.away_until.filter(|until| *until > now);
        self.side.on_time(now);
        let closes = self.side.take_close(now);
        let was_empty = self.ready.is_none();
        self.make_ready(now);
        if was_empty && self.ready.is_some() && self.configured {
            self.ring();
        }
        if closes {
            self.disconnect(now);
        }
    }

    /// Takes the next report about the client.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        self.side.next_report()
    }

    /// Executes a command. Of the link's faults only those that end the link have an effect here.
    pub(crate) fn obey(&mut self, command: &Command, now: Instant) -> Result<(), String> {
        if let Command::Fault(Fault::Away { seconds } | Fault::Reboot { seconds }) = command {
            self.away_until = Some(now + Duration::from_secs(*seconds));
        }
        self.side.obey(command, now)
    }

    fn ring(&mut self) {
        self.number = self.number.wrapping_add(1);
        if self.unheard > 0 {
            self.unheard -= 1;
        } else if self.doorbells.len() < DOORBELLS {
            self.doorbells.push_back(self.number);
        }
    }

    fn make_ready(&mut self, now: Instant) {
        if self.linked && self.ready.is_none() {
            self.ready = self.side.next_frame(now);
        }
    }
}

fn ends_configuration(frame: &[u8]) -> bool {
    let frame = FromRadio::decode(frame).ok();
    let variant = frame.and_then(|it| it.payload_variant);
    matches!(variant, Some(PayloadVariant::ConfigCompleteId(_)))
}
