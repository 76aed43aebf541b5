//! The last lines of the log, kept in memory: a daemon under systemd or Docker has no log file of its own to hand out.

use std::collections::VecDeque;

use tracing::Level;

/// Maximum number of lines kept.
const MOST_LINES: usize = 500;
/// Maximum length of all lines together, in bytes.
const MOST_BYTES: usize = 256 * 1024;

/// The last lines, oldest first. None of level trace, where texts of messages may be.
#[derive(Debug, Default)]
pub(super) struct Recent {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    /// Keeps a line if its level is kept, and forgets the oldest for it.
    pub(super) fn add(&mut self, level: Level, line: impl FnOnce() -> String) {
        if level == Level::TRACE {
            return;
        }
        let line = line();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_within_both_bounds_and_none_of_trace() {
        let mut recent = Recent::default();
        for number in 0..2 * MOST_LINES {
            recent.add(Level::INFO, || format!("line {number}"));
            recent.add(Level::TRACE, || "the text of a message".to_owned());
        }
        let lines = recent.lines();
        assert_eq!(lines.len(), MOST_LINES);
        assert_eq!(lines.first().unwrap(), "line 500");
        assert_eq!(lines.last().unwrap(), "line 999");
        for _ in 0..200 {
            recent.add(Level::DEBUG, || "x".repeat(4_000));
        }
        let lines = recent.lines();
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES - 8_000, "{bytes}");
        assert_eq!(recent.bytes, bytes);
    }
}
