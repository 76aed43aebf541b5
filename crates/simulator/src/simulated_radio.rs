//! The radio's side of a link, as its driver sees it: pure, with the time handed in. The machine is one, a replayed
//! recording another.

use std::time::Instant;

use super::lines::{Command, Report};

/// The radio's side of a link.
pub trait Side {
    /// A client has connected; an earlier one is gone.
    fn on_connect(&mut self, now: Instant);

    /// The client sent a frame.
    fn on_to_radio(&mut self, frame: &[u8], now: Instant);

    /// The client has closed the connection.
    fn on_disconnect(&mut self, now: Instant);

    /// Time has passed; wanted at [`Self::deadline`], harmless at any other time.
    fn on_time(&mut self, now: Instant);

    /// Returns when [`Self::on_time`] wants to be called next.
    fn deadline(&self) -> Option<Instant>;

    /// Takes the next frame for the client. What is taken counts as written.
    fn next_frame(&mut self, now: Instant) -> Option<Vec<u8>>;

    /// Takes the wish to close the connection.
    fn take_close(&mut self, now: Instant) -> bool;

    /// Takes the next thing to tell about the client.
    fn next_report(&mut self) -> Option<Report>;

    /// Takes the next line that the radio prints to a client on a serial port.
    fn next_line(&mut self) -> Option<String> {
        None
    }

    /// Makes a node of the mesh say something, or something go wrong that is not the wire's business.
    ///
    /// # Errors
    /// Says why it cannot be.
    fn obey(&mut self, command: &Command, now: Instant) -> Result<(), String>;
}
