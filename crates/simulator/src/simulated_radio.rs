//! The interface between a driver and a simulated radio: pure, with the time passed in. Implemented by the machine and
//! by a replayed recording.

use std::time::Instant;

use super::lines::{Command, Report};

/// What a driver connects with a client.
pub trait SimulatedRadio {
    /// A client has connected; an earlier one is gone.
    fn on_connect(&mut self, now: Instant);

    /// The client sent a frame: a `ToRadio`, possibly damaged.
    fn on_to_radio(&mut self, frame: &[u8], now: Instant);

    /// The client has closed the connection.
    fn on_disconnect(&mut self, now: Instant);

    /// Handles everything that is due; harmless before [`Self::deadline`].
    fn on_time(&mut self, now: Instant);

    /// Returns when [`Self::on_time`] is due; `None`: only after another event.
    fn deadline(&self) -> Option<Instant>;

    /// Takes the next frame for the client; it then counts as written.
    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>>;

    /// Takes the request to close the connection.
    fn take_close(&mut self, now: Instant) -> bool;

    /// Takes the next report on the client's packets and connection; `None`: no more for now.
    fn next_report(&mut self) -> Option<Report>;

    /// Takes the next line printed to a client on a serial port.
    fn next_line(&mut self) -> Option<String> {
        None
    }

    /// Carries out a message of a node, or a fault that is not of the wire.
    ///
    /// # Errors
    /// The reason why it cannot be carried out.
    fn obey(&mut self, command: &Command, now: Instant) -> Result<(), String>;
}
