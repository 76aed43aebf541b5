//! An output of the log. One that cannot be written (a full disk, a closed pipe) is told on the others, once; when it can be
//! written again it says how many lines it lacks.

use std::io::{self, Write};
use std::time::SystemTime;

use tracing::Level;

use super::line::{Line, Recorded};
use super::rate::Admitted;
use relay_config::LogFormat;
use relay_disk::cure;

/// Where the log is written, and in which form.
pub(super) struct Sink {
    format: LogFormat,
    colour: bool,
    /// What it is, for people.
    name: String,
    writer: Box<dyn Write + Send>,
    /// Number of lines that could not be written since the last that could.
    missing: u64,
}

impl Sink {
    pub(super) fn new(
        format: LogFormat,
        colour: bool,
        name: String,
        writer: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            format,
            colour,
            name,
            writer,
            missing: 0,
        }
    }

    fn put(&mut self, heard: &Admitted<Line>) -> io::Result<()> {
        let Admitted { line, left_out } = heard;
        let time = time(line.at);
        let text = match self.format {
            LogFormat::Text => line.text(self.colour, &time, *left_out),
            LogFormat::Json => line.json(&time, *left_out),
        };
        self.writer.write_all(text.as_bytes())
    }

    /// Writes a line, and before it what is missing. Returns the error if it is the first after a success.
    fn write(&mut self, heard: &Admitted<Line>) -> Option<io::Error> {
        let missing = (self.missing > 0).then(|| {
            let recorded = Recorded::missing(
                "the log could not be written: lines are missing",
                self.missing,
            );
            own(heard.line.at, recorded)
        });
        let mut lines = missing.iter().chain([heard]);
        match lines.try_for_each(|line| self.put(line)) {
            Ok(()) => {
                self.missing = 0;
                None
            }
            Err(error) => {
                self.missing += 1;
                (self.missing == 1).then_some(error)
            }
        }
    }
}

/// Writes a line to all outputs. The relay goes on without those that fail.
pub(super) fn write(sinks: &mut [Sink], heard: &Admitted<Line>) {
    let mut failed = Vec::new();
    for sink in &mut *sinks {
        if let Some(error) = sink.write(heard) {
            failed.push((sink.name.clone(), error));
        }
    }
    for (name, error) in failed {
        let line = own(
            heard.line.at,
            Recorded::unwritten(&name, &error, cure(&error)),
        );
        for sink in sinks.iter_mut().filter(|sink| sink.missing == 0) {
            sink.write(&line);
        }
    }
}

/// Returns a line of the log about itself.
pub(super) fn own(at: SystemTime, recorded: Recorded) -> Admitted<Line> {
    let line = Line {
        at,
        level: Level::WARN,
        target: "relay::telemetry".to_owned(),
        spans: Vec::new(),
        recorded,
    };
    Admitted { line, left_out: 0 }
}

/// Formats a time in UTC, with microseconds.
pub(super) fn time(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, micros) = (crate::home::utc(time), since.subsec_micros());
    let seconds = seconds.trim_end_matches('Z');
    format!("{seconds}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// Takes what there is room for.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, is_full) = &mut *self.0.lock().unwrap();
            if *is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        fn is_full(&self, is_full: bool) {
            self.0.lock().unwrap().1 = is_full;
        }

        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap();
            // Without time and level.
            let words = |line: &str| line.split_once("telemetry: ").unwrap().1.to_owned();
            text.lines().map(words).collect()
        }
    }

    #[test]
    fn an_output_that_cannot_be_written_is_told_once_on_the_other_and_says_later_what_it_lacks() {
        let (screen, disk) = (Disk::default(), Disk::default());
        let sink = |name: &str, disk: &Disk| {
            let writer = Box::new(disk.clone());
            Sink::new(LogFormat::Text, false, name.to_owned(), writer)
        };
        let mut sinks = [sink("standard error", &screen), sink("/logs/a.log", &disk)];
        let at = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896);
        let mut say = |words: &str| write(&mut sinks, &own(at, Recorded::missing(words, 1)));
        say("one");
        disk.is_full(true);
        say("two");
        say("three");
        disk.is_full(false);
        say("four");
        say("five");
        let told = r#"the log cannot be written, and goes on here path="/logs/a.log" error="no storage space" hint="make room on the disk""#;
        assert_eq!(
            screen.lines(),
            [
                "one lost=1",
                "two lost=1",
                told,
                "three lost=1",
                "four lost=1",
                "five lost=1"
            ]
        );
        let missing = "the log could not be written: lines are missing lost=2";
        assert_eq!(
            disk.lines(),
            ["one lost=1", missing, "four lost=1", "five lost=1"]
        );
    }
}
