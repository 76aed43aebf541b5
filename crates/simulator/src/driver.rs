//! Connects a simulated radio with its client: reads, writes and waits. The radio decides everything; only faults of
//! the wire and the connection are carried out here.

#[cfg_attr(windows, path = "driver/pty_windows.rs")]
pub(crate) mod pty;
pub(crate) mod tcp;
mod wire;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::OptionFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::lines::{Command, Fault, Report, Script, Switch};
use super::recording::{Recorder, What};
use super::{machine::console, machine::queues::push_latest, simulated_radio::SimulatedRadio};
use wire::Wire;

/// Number of unwritten bytes from which no further frame is taken from the radio.
const UNWRITTEN: usize = 1 << 20;

const READ: usize = 4096;

/// Maximum number of undelivered reports; beyond it the oldest are dropped.
const UNTOLD: usize = 65_536;

/// Time after the radio's start in which a new client still sees it start.
const START: Duration = Duration::from_secs(1);

/// Maximum time to write the last bytes before the radio closes a connection.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// `FromRadio.rebooted` = true.
const REBOOTED: [u8; 2] = [0x40, 1];

/// A source of client connections.
pub trait Port: Send {
    /// Both directions of a connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin;

    /// Whether the radio prints its log on this port.
    const IS_CONSOLE: bool = false;

    /// Returns the next client; none while the port is shut. Cancel safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Shuts the port, or opens it again.
    fn set_shut(&mut self, shut: bool) -> io::Result<()>;

    /// Ends a connection, by a reset where the port has one.
    fn reset(stream: Self::Stream) {
        drop(stream);
    }

    /// The radio begins or completes a start. Network ports are shut meanwhile.
    fn set_starting(&mut self, starting: bool) -> io::Result<()> {
        self.set_shut(starting)
    }
}

/// What a driver is given beside the port and the radio.
#[derive(Debug)]
pub struct Controls {
    /// Messages of nodes, and faults, as they are to happen.
    pub commands: mpsc::Receiver<Command>,
    /// Reports on the client. A receiver is optional.
    pub reports: mpsc::Sender<Report>,
    /// Ends the driver, and closes the connection.
    pub stop: CancellationToken,
    /// Writes what crosses the link to a file; `None`: nothing is recorded.
    pub recorder: Option<Recorder>,
    /// Seed of the noise of [`Fault::Garbage`].
    pub seed: u64,
    /// Commands that are carried out by time or by what the client does.
    pub script: Script,
}

/// Serves one client after the other until it is stopped; an error is one of the port. If dropped, the client is disconnected.
pub async fn drive<P: Port, S: SimulatedRadio>(
    port: P,
    radio: S,
    controls: Controls,
) -> io::Result<()> {
    let driver = Driver {
        port,
        radio,
        wire: Wire::new(controls.seed),
        controls,
        client: None,
        half_open: false,
        stalled: false,
        closing_at: None,
        away_until: None,
        started_at: None,
        untold: VecDeque::new(),
    };
    driver.run().await
}

type Client<T> = (ReadHalf<T>, WriteHalf<T>);

/// A port, a radio and the client that is connected, with the faults of the wire.
struct Driver<P: Port, S> {
    port: P,
    radio: S,
    wire: Wire,
    controls: Controls,
    client: Option<Client<P::Stream>>,
    half_open: bool,
    stalled: bool,
    /// Deadline for the remaining bytes before the radio closes the connection.
    closing_at: Option<Instant>,
    away_until: Option<Instant>,
    /// When the radio last restarted.
    started_at: Option<Instant>,
    untold: VecDeque<Report>,
}

impl<P: Port, S: SimulatedRadio> Driver<P, S> {
    async fn run(mut self) -> io::Result<()> {
        self.controls.script.start(now());
        let reports = self.controls.reports.clone();
        loop {
            self.progress(now())?;
            let deadline = self.deadline();
            self.wire.input.reserve(READ);
            let client = self.client.as_mut();
            let (reader, writer) = client.map(|(reader, writer)| (reader, writer)).unzip();
            // A serial port has only one client, so nobody else ends a dead link: its end has to be detected.
            let link_dead = self.half_open && !P::IS_CONSOLE;
            let deaf = link_dead || self.stalled || self.closing_at.is_some();
            let reader = reader.filter(|_| !deaf);
            let read = reader.map(|reader| reader.read_buf(&mut self.wire.input));
            let writer = writer.filter(|_| !self.half_open);
            let write = writer.zip(self.wire.pieces.front());
            let write = write.map(|(writer, piece)| writer.write(piece));
            // Every branch is cancel safe.
            tokio::select! {
                () = self.controls.stop.cancelled() => return Ok(()),
                permit = reports.reserve(), if !self.untold.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(report) = self.untold.pop_front() {
                            permit.send(report);
                        }
                    }
                    Err(_) => self.untold.clear(),
                },
                stream = self.port.accept() => match stream {
                    Ok(stream) => self.connect(stream, now()),
                    Err(error) => self.tell_error(format!("a client could not connect: {error}")),
                },
                Some(read) = OptionFuture::from(read) => {
                    let alive = matches!(read, Ok(count) if count > 0);
                    self.take(alive, now());
                }
                Some(written) = OptionFuture::from(write) => match written {
                    Ok(count) if count > 0 => self.wire.written(count),
                    Ok(_) | Err(_) => self.lose_client(now()),
                },
                Some(command) = self.controls.commands.recv() => self.obey(&command, now())?,
                () = sleep_until(deadline.unwrap_or_else(now).into()), if deadline.is_some() => {
                    self.radio.on_time(now());
                }
            }
        }
    }

    fn progress(&mut self, now: Instant) -> io::Result<()> {
        if self.away_until.is_some_and(|until| until <= now) {
            self.away_until = None;
            self.port.set_shut(false)?;
            self.port.set_starting(false)?;
            self.tell(Report::Back);
        }
        self.wire.release(now);
        self.follow_script(now)?;
        self.print_lines(now);
        if self.client.is_some() && self.closing_at.is_none() {
            self.take_frames(now);
        }
        if self.radio.take_close(now) && self.client.is_some() {
            self.closing_at = Some(now + LAST_BYTES);
        }
        if self.half_open {
            self.wire.clear_output();
        }
        let all_written = self.wire.pieces.is_empty();
        if self.closing_at.is_some_and(|at| all_written || at <= now) {
            self.drop_client(now);
        }
        self.take_reports(now);
        Ok(())
    }

    fn follow_script(&mut self, now: Instant) -> io::Result<()> {
        self.take_reports(now);
        while let Some(command) = self.controls.script.next(now) {
            if let Some(command) = command {
                self.obey(&command, now)?;
            }
            self.take_reports(now);
            if self.controls.script.is_over() {
                self.tell(Report::ScriptEnded);
            }
        }
        Ok(())
    }

    fn take_reports(&mut self, now: Instant) {
        while let Some(report) = self.radio.next_report() {
            self.controls.script.on_report(&report, now);
            self.tell(report);
        }
    }

    /// Lines printed while no client has the port open are lost.
    fn print_lines(&mut self, now: Instant) {
        while let Some(line) = self.radio.next_line() {
            if P::IS_CONSOLE && self.client.is_some() {
                self.wire.raw(line.as_bytes(), now);
            }
        }
    }

    fn take_frames(&mut self, now: Instant) {
        while self.wire.waiting < UNWRITTEN {
            let Some(frame) = self.radio.next_frame(now) else {
                return;
            };
            if !self.half_open {
                self.write_frame(&frame, now);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let times = [
            self.radio.deadline(),
            self.controls.script.deadline(),
            self.wire.release_at,
            self.closing_at,
            self.away_until,
        ];
        times.into_iter().flatten().min()
    }

    fn connect(&mut self, stream: P::Stream, now: Instant) {
        if self.client.is_some() {
            self.drop_client(now);
        }
        self.client = Some(tokio::io::split(stream));
        if let Some(recorder) = &mut self.controls.recorder {
            recorder.restart(now);
        }
        self.radio.on_connect(now);
        if !P::IS_CONSOLE {
            return;
        }
        // The output of a radio before a client's first frame.
        let started_at = self.started_at.take();
        if started_at.is_some_and(|at| now.saturating_duration_since(at) < START) {
            self.wire.raw(console::BOOT, now);
            self.write_frame(&REBOOTED, now);
        } else {
            self.wire.raw(console::LOG, now);
        }
    }

    fn take(&mut self, alive: bool, now: Instant) {
        if self.half_open {
            self.wire.input.clear();
        }
        while let Some(frame) = self.wire.next_frame() {
            self.radio.on_to_radio(&frame, now);
            self.record(What::ToRadio(frame), now);
        }
        if !alive {
            self.lose_client(now);
        }
    }

    fn lose_client(&mut self, now: Instant) {
        if self.client.is_some() {
            self.radio.on_disconnect(now);
            self.drop_client(now);
        }
    }

    /// Drops a connection that either end has closed.
    fn drop_client(&mut self, now: Instant) {
        self.client = None;
        self.half_open = false;
        self.stalled = false;
        self.closing_at = None;
        self.wire.restart();
        self.record(What::Closed(true), now);
    }

    fn obey(&mut self, command: &Command, now: Instant) -> io::Result<()> {
        if let Command::Fault(fault) = command {
            let writes = matches!(
                fault,
                Fault::Garbage { .. }
                    | Fault::Log { .. }
                    | Fault::Frame { .. }
                    | Fault::Rebooted {}
            );
            if writes && self.wire.waiting >= UNWRITTEN {
                self.tell_error(format!(
                    "the client does not read: {UNWRITTEN} bytes wait for it already"
                ));
                return Ok(());
            }
            self.break_link(fault, now)?;
        }
        if let Err(message) = self.radio.obey(command, now) {
            self.tell_error(message);
        }
        Ok(())
    }

    /// Applies a fault of the wire or the connection.
    fn break_link(&mut self, fault: &Fault, now: Instant) -> io::Result<()> {
        match fault {
            Fault::Split(Switch { on }) => self.wire.split = *on,
            Fault::Join { on, ms } => {
                self.wire.join = Duration::from_millis(if *on { *ms } else { 0 });
            }
            Fault::Away { seconds } => {
                self.port.set_shut(true)?;
                self.away_until = Some(now + Duration::from_secs(*seconds));
            }
            Fault::Reboot { seconds } => {
                if P::IS_CONSOLE && self.client.is_some() {
                    self.wire.half_frame(now);
                }
                self.port.set_starting(true)?;
                let up = now + Duration::from_secs(*seconds);
                self.away_until = Some(up);
                self.started_at = Some(up);
            }
            _ if self.client.is_none() => {}
            Fault::HalfOpen {} => self.half_open = true,
            Fault::Stall(Switch { on }) => self.stalled = *on,
            Fault::Close { reset: true, .. } => {
                if let Some((reader, writer)) = self.client.take() {
                    P::reset(reader.unsplit(writer));
                    self.drop_client(now);
                }
            }
            Fault::Close { mid_frame, .. } if *mid_frame => self.wire.half_frame(now),
            Fault::Garbage { hex: Some(hex), .. } => self.wire.raw(hex, now),
            Fault::Garbage { bytes, hex: None } => self.wire.noise(*bytes, now),
            Fault::Log { text } => self.wire.raw(format!("{text}\r\n").as_bytes(), now),
            Fault::Frame { hex } => self.write_frame(hex.as_deref().unwrap_or_default(), now),
            Fault::Rebooted {} => self.write_frame(&REBOOTED, now),
            _ => {}
        }
        Ok(())
    }

    fn write_frame(&mut self, frame: &[u8], now: Instant) {
        match self.wire.frame(frame, now) {
            Ok(()) => self.record(What::FromRadio(frame.to_vec()), now),
            Err(error) => self.tell_error(error.to_string()),
        }
    }

    fn record(&mut self, what: What, now: Instant) {
        if let Some(recorder) = &mut self.controls.recorder
            && let Err(error) = recorder.write(what, now)
        {
            self.controls.recorder = None;
            self.tell_error(format!("the recording ends here: {error}"));
        }
    }

    fn tell_error(&mut self, message: String) {
        self.tell(Report::Error(message));
    }

    fn tell(&mut self, report: Report) {
        push_latest(&mut self.untold, report, UNTOLD);
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
