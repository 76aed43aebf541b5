//! Recordings of a link between a radio and its client: reads and writes our own format
//! (`crates/wire/proto/recording.proto`), and reads JSON lines (`{"ms": 12, "dir": "rx", "hex": "…"}`).

pub(crate) mod replay;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use relay_model::Explained;
use relay_wire::proto::Message;
use relay_wire::proto::recording::Entry;
/// An event on a recorded link.
pub use relay_wire::proto::recording::entry::What;

/// Maximum size of a recording in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// An event on a recorded link, with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Time since the connection opened.
    pub at: Duration,
    /// A frame from the radio or to it, or the end of the connection.
    pub what: What,
}

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened or read.
    #[error("cannot read the recording `{0}`")]
    Read(PathBuf, #[source] io::Error),
    /// The file cannot be created or written.
    #[error("cannot write the recording `{0}`")]
    Write(PathBuf, #[source] io::Error),
    /// The file is not a recording, with the reason.
    #[error("`{0}` is not a recording: {1}")]
    Malformed(PathBuf, String),
}

impl Explained for RecordingError {}

/// Records a link to a file.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    opened: Instant,
}

impl Recorder {
    /// Starts a recording; an existing file is replaced.
    pub fn create(path: &Path, now: Instant) -> Result<Self, RecordingError> {
        let file =
            File::create(path).map_err(|cause| RecordingError::Write(path.to_owned(), cause))?;
        Ok(Self { file, opened: now })
    }

    /// A connection opened; times count from now.
    pub fn restart(&mut self, now: Instant) {
        self.opened = now;
    }

    /// Records an event.
    pub fn write(&mut self, what: What, now: Instant) -> io::Result<()> {
        let at = now.saturating_duration_since(self.opened);
        let entry = Entry {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            what: Some(what),
        };
        self.file.write_all(&entry.encode_length_delimited_to_vec())
    }
}

/// Reads a recording of either format.
pub fn read(path: &Path) -> Result<Vec<Recorded>, RecordingError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|cause| RecordingError::Read(path.to_owned(), cause))?;
    parse(&bytes).map_err(|problem| RecordingError::Malformed(path.to_owned(), problem))
}

/// Parses a recording of either format.
fn parse(bytes: &[u8]) -> Result<Vec<Recorded>, String> {
    if u64::try_from(bytes.len()).is_ok_and(|size| size > LIMIT) {
        return Err(format!("it is longer than {LIMIT} bytes"));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("it is written in UTF-16: save it as UTF-8".to_owned());
    }
    // A delimited entry may also begin with `{`, but never with a whole line of JSON.
    let first_line = bytes.split(|byte| *byte == b'\n').next();
    if serde_json::from_slice::<Line>(first_line.unwrap_or_default()).is_ok() {
        parse_lines(bytes)
    } else {
        parse_entries(bytes)
    }
}

/// A line of the text format.
#[derive(Deserialize)]
struct Line {
    ms: u64,
    dir: Direction,
    hex: String,
}

/// What a line of the text format is about.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Rx,
    Tx,
    Eof,
}

fn parse_lines(bytes: &[u8]) -> Result<Vec<Recorded>, String> {
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let recorded = lines.map(|(number, line): (u32, _)| {
        let problem = |reason: String| format!("line {number}: {reason}");
        let line: Line = serde_json::from_slice(line).map_err(|it| problem(it.to_string()))?;
        let frame = hex::decode(&line.hex);
        let frame = frame.map_err(|_| problem("`hex` is not hexadecimal".to_owned()))?;
        let what = match line.dir {
            Direction::Rx => What::FromRadio(frame),
            Direction::Tx => What::ToRadio(frame),
            Direction::Eof => What::Closed(true),
        };
        let at = Duration::from_millis(line.ms);
        Ok(Recorded { at, what })
    });
    recorded.collect()
}

fn parse_entries(mut bytes: &[u8]) -> Result<Vec<Recorded>, String> {
    let mut recorded = Vec::new();
    while !bytes.is_empty() {
        let problem = |reason: String| format!("entry {}: {reason}", recorded.len() + 1);
        let entry = Entry::decode_length_delimited(&mut bytes)
            .map_err(|error| problem(error.to_string()))?;
        let at = Duration::from_millis(entry.at_ms);
        let what = entry.what;
        let what = what.ok_or_else(|| problem("nothing in it".to_owned()))?;
        recorded.push(Recorded { at, what });
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.recording");
        let start = Instant::now();
        let happened = [
            (0, What::ToRadio(vec![0x18, 1])),
            (5, What::FromRadio(vec![0x38, 1])),
            (900, What::Closed(true)),
        ];
        let mut recorder = Recorder::create(&path, start).unwrap();
        for (ms, what) in &happened {
            recorder
                .write(what.clone(), start + Duration::from_millis(*ms))
                .unwrap();
        }
        let expected: Vec<Recorded> = happened
            .into_iter()
            .map(|(ms, what)| Recorded {
                at: Duration::from_millis(ms),
                what,
            })
            .collect();
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn json_lines_are_read() {
        let text = b"{\"ms\": 1, \"dir\": \"tx\", \"hex\": \"1801\"}\n{\"ms\": 9, \"dir\": \"eof\", \"hex\": \"\"}\n";
        let recorded = parse(text).unwrap();
        assert_eq!(recorded[0].what, What::ToRadio(vec![0x18, 1]));
        assert_eq!(recorded[1].what, What::Closed(true));
    }

    #[test]
    fn what_is_no_recording_says_where_it_ends_to_be_one() {
        let text = b"{\"ms\": 1, \"dir\": \"tx\", \"hex\": \"1801\"}\n{\"ms\": 9}\n";
        assert!(
            parse(text)
                .unwrap_err()
                .starts_with("line 2: missing field")
        );
        assert!(parse(b"hello\n").unwrap_err().starts_with("entry 1: "));
    }
}
