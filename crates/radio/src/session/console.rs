//! What a radio prints between frames: boot messages and its log, as lines that can be read. No I/O, no clock.
//!
//! Only serial links carry such text. Firmware from 2.8 on stops it with a client's first frame, so text of its log on a
//! link that is in use hints that it has forgotten the client; older firmware prints it always. A start shows in what is
//! printed only then, and in the uptime that the log tells. All of it is weak evidence: firmware prints texts and names
//! of strangers as they are, line ends included.

/// Under which name the lines are logged, so that they can be asked for, or not.
pub(crate) const TARGET: &str = "relay_radio::console";

/// A line that is longer is cut in pieces.
const LONGEST_LINE: usize = 1024;

/// The first words of lines in the log of the firmware, before `|`.
const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRIT", "HEAP"];

/// What is printed only at a start: the processor's boot loader, then the firmware's banner.
const BOOT: [&str; 5] = ["rst:0x", "ESP-ROM:", "ets ", "boot:0x", "//\\ E S H T"];

/// After it, firmware prints the text of a message.
const MESSAGE_TEXT: &str = "msg=";

/// Puts lines together, and reads them.
#[derive(Debug, Default)]
pub(crate) struct Console {
    partial: Vec<u8>,
    /// A message's text has begun, and no line of the log since.
    in_text: bool,
    /// For how many seconds the radio has been up, as its log told last.
    uptime: Option<u64>,
}

/// A line as it may be shown, and what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without what no log is to hold.
    pub(crate) text: String,
    pub(crate) sign: Option<Sign>,
}

impl Console {
    /// Takes bytes from outside frames; returns the lines that they end, without empty ones.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for byte in bytes {
            let ends = matches!(byte, b'\n' | b'\r');
            if !ends {
                self.partial.push(*byte);
            }
            if ends || self.partial.len() >= LONGEST_LINE {
                lines.extend(self.end());
            }
        }
        lines
    }

    /// Ends the line that is under way; returns it, if there is one.
    pub(crate) fn end(&mut self) -> Option<Line> {
        let text = readable(&std::mem::take(&mut self.partial))?;
        let of_log = is_of_log(&text);
        if self.in_text && !of_log {
            let text = "…".to_owned();
            return Some(Line { text, sign: None });
        }
        self.in_text = text.contains(MESSAGE_TEXT);
        let sign = if of_log {
            let uptime = uptime_in(&text);
            let before = std::mem::replace(&mut self.uptime, uptime);
            let is_less = before.zip(uptime).is_some_and(|(before, now)| now < before);
            Some(if is_less { Sign::Start } else { Sign::Log })
        } else if BOOT.iter().any(|boot| text.starts_with(boot)) {
            self.uptime = None;
            Some(Sign::Start)
        } else {
            None
        };
        let text = without_text(&text);
        Some(Line { text, sign })
    }
}

/// What a line tells of the radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// It is of the log, which some firmware prints only while it serves no client on this link.
    Log,
    /// It is printed only at a start, or soon after one.
    Start,
}

/// Returns whether a line is one of the log: `INFO  | 12:34:56 789 [Router] …`.
fn is_of_log(line: &str) -> bool {
    line.split_once('|')
        .is_some_and(|(level, _)| LEVELS.contains(&level.trim_end()))
}

/// Returns the uptime that a line of the log tells, in seconds.
fn uptime_in(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once('|')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Returns whether a radio prints its log to its client, too: until 2.7 firmware did (`SerialConsole::log_to_serial`).
pub(super) fn prints_always(firmware: &str) -> bool {
    let mut parts = firmware.split('.').map_while(|it| it.parse().ok());
    let version: Option<(u32, u32)> = parts.next().zip(parts.next());
    version.is_some_and(|version| version < (2, 8))
}

/// Returns a line without codes for terminals and control characters. `None` if nothing is left.
fn readable(line: &[u8]) -> Option<String> {
    let mut shown = String::new();
    let text = String::from_utf8_lossy(line);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\x1b' && characters.next_if_eq(&'[').is_some() {
            // A control sequence ends with its first letter.
            let goes_on = |it| !('@'..='~').contains(&it);
            while characters.next().is_some_and(goes_on) {}
        } else if !character.is_control() {
            shown.push(character);
        }
    }
    // A boot loader's text at another speed, or a cable that picks things up.
    let unreadable = shown.matches(char::REPLACEMENT_CHARACTER).count();
    if unreadable * 3 > shown.chars().count() {
        return Some(format!("{} bytes of noise", line.len()));
    }
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Returns what the radio says without the text of a message in it: that is nobody's business who reads a log.
pub(super) fn without_text(line: &str) -> String {
    match line.find(MESSAGE_TEXT) {
        Some(at) => format!("{}{MESSAGE_TEXT}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(lines: impl IntoIterator<Item = Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    fn signs(console: &mut Console, text: &str) -> Vec<Option<Sign>> {
        let lines = console.take(text.as_bytes());
        lines.iter().map(|line| line.sign).collect()
    }

    #[test]
    fn lines_are_put_together_however_they_come() {
        let mut console = Console::default();
        assert_eq!(shown(console.take(b"IN")), [""; 0]);
        assert_eq!(
            shown(console.take(b"FO  | one\r\n\r\ntwo\nthr")),
            ["INFO  | one", "two"]
        );
        assert_eq!(shown(console.take(b"ee\rfo")), ["three"]);
        assert_eq!(shown(console.end()), ["fo"]);
        assert_eq!(shown(console.end()), [""; 0]);
        assert_eq!(shown(console.take(b"ur\n")), ["ur"]);
    }

    #[test]
    fn codes_for_terminals_and_control_characters_are_left_out() {
        let mut console = Console::default();
        let line = b"\x1b[1;32mDEBUG\x1b[0m | ??:??:?? 3 \x07S:B\x1b\x00\xff\n";
        assert_eq!(
            shown(console.take(line)),
            ["DEBUG | ??:??:?? 3 S:B\u{fffd}"]
        );
        assert_eq!(shown(console.take(b"\x1b[0m\x1b[\n\x1b\n")), [""; 0]);
    }

    #[test]
    fn noise_is_counted_and_not_shown() {
        let noise = b"\x94\xc3\xff\xffx\xe0\xf8\xff\n";
        let mut console = Console::default();
        assert_eq!(shown(console.take(noise)), ["8 bytes of noise"]);
    }

    #[test]
    fn the_text_of_a_message_is_not_shown_to_its_last_line() {
        let mut console = Console::default();
        let lines = b"INFO | 12:00:00 7 Received text msg from=0x1, id=0x2, msg=hello you\n\
            and me\r\n  INFO for all\nINFO  | 12:00:00 7 [Router] done\n  not a text\n";
        assert_eq!(
            shown(console.take(lines)),
            [
                "INFO | 12:00:00 7 Received text msg from=0x1, id=0x2, msg=…",
                "…",
                "…",
                "INFO  | 12:00:00 7 [Router] done",
                "not a text"
            ]
        );
        // Nor where a frame, or its length, cuts it.
        console.take(b"INFO  | 12:00:00 7 msg=hel");
        assert_eq!(shown(console.end()), ["INFO  | 12:00:00 7 msg=…"]);
        assert_eq!(shown(console.take(b"lo\n")), ["…"]);
    }

    #[test]
    fn a_start_shows_in_what_the_boot_loader_prints() {
        for (line, sign) in [
            ("INFO  | ??:??:?? 1 Booted, wake cause 0", Some(Sign::Log)),
            ("DEBUG | 12:00:00 4 Filesystem files:", Some(Sign::Log)),
            ("rst:0x1 (POWERON_RESET),boot:0x13", Some(Sign::Start)),
            ("ESP-ROM:esp32s3-20210327", Some(Sign::Start)),
            ("//\\ E S H T /\\ S T / C", Some(Sign::Start)),
            ("E (1234) wifi: no memory", None),
            ("INFO", None),
            ("information | x", None),
        ] {
            let mut console = Console::default();
            assert_eq!(signs(&mut console, &format!("{line}\n")), [sign], "{line}");
        }
    }

    #[test]
    fn a_start_shows_in_an_uptime_that_has_become_less() {
        let mut console = Console::default();
        let log =
            "INFO  | 12:00:00 177 [Router] x\nINFO  | 12:00:00 177 y\nWARN  | ??:??:?? 178 z\n";
        assert_eq!(signs(&mut console, log), [Some(Sign::Log); 3]);
        let log = "DEBUG | ??:??:?? 0 Filesystem files:\nDEBUG | ??:??:?? 1 x\n";
        assert_eq!(
            signs(&mut console, log),
            [Some(Sign::Start), Some(Sign::Log)]
        );
    }

    #[test]
    fn a_message_that_looks_like_a_start_is_none() {
        let mut console = Console::default();
        let log = "INFO  | 12:00:00 7 Received text msg from=0x1, id=0x2, msg=x\nrst:0x1 spoof\n";
        assert_eq!(signs(&mut console, log), [Some(Sign::Log), None]);
        assert_eq!(signs(&mut console, "//\\ E S H T\n"), [None]);
        let log = "INFO  | 12:00:00 7 y\nrst:0x1\n";
        assert_eq!(
            signs(&mut console, log),
            [Some(Sign::Log), Some(Sign::Start)]
        );
    }

    #[test]
    fn firmware_before_2_8_prints_its_log_to_its_client() {
        for firmware in ["2.7.26.54e0d8d", "2.5.0.abc", "1.3.48"] {
            assert!(prints_always(firmware), "{firmware}");
        }
        for firmware in ["2.8.0.7754068", "2.10.1", "3.0", "", "dev"] {
            assert!(!prints_always(firmware), "{firmware}");
        }
    }

    proptest! {
        #[test]
        fn nothing_grows_without_bound(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut console = Console::default();
            for line in console.take(&bytes) {
                prop_assert!(line.text.len() <= LONGEST_LINE * 3);
                prop_assert!(!line.text.chars().any(char::is_control));
            }
            prop_assert!(console.partial.len() < LONGEST_LINE);
        }
    }
}
