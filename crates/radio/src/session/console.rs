//! Text that a radio prints between frames: boot messages and its log. No I/O, no clock.
//!
//! Only serial links carry it. Firmware from 2.8 on stops printing at a client's first frame, so a log line on a link
//! in use suggests that the radio has forgotten the client; older firmware always prints. A restart shows in boot
//! messages and in the uptime of log lines. All of this is weak evidence: firmware prints texts and names of strangers
//! unescaped, line ends included.

/// The log target of the printed lines, so that they can be filtered.
pub(crate) const TARGET: &str = "relay_radio::console";

/// Maximum length of a line in bytes; a longer one is split.
const LONGEST_LINE: usize = 1024;

/// The levels of firmware log lines, before `|`.
const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRIT", "HEAP"];

/// Text printed only at a start: the boot loader's lines and the firmware's banner.
const BOOT: [&str; 5] = ["rst:0x", "ESP-ROM:", "ets ", "boot:0x", "//\\ E S H T"];

/// What precedes the text of a message in a log line.
const MESSAGE_TEXT: &str = "msg=";

/// Assembles and classifies lines.
#[derive(Debug, Default)]
pub(crate) struct Console {
    partial: Vec<u8>,
    /// Within the text of a message: no log line since its begin.
    in_text: bool,
    /// The radio's uptime in seconds by the last log line.
    uptime: Option<u64>,
}

/// A readable line, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line without texts of messages.
    pub(crate) text: String,
    pub(crate) kind: Option<LineKind>,
}

impl Console {
    /// Takes bytes outside frames; returns the complete, non-empty lines.
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

    /// Ends the incomplete line, and returns it.
    pub(crate) fn end(&mut self) -> Option<Line> {
        let text = readable(&std::mem::take(&mut self.partial))?;
        let of_log = is_of_log(&text);
        if self.in_text && !of_log {
            let text = "…".to_owned();
            return Some(Line { text, kind: None });
        }
        self.in_text = text.contains(MESSAGE_TEXT);
        let kind = if of_log {
            let uptime = uptime_in(&text);
            let before = std::mem::replace(&mut self.uptime, uptime);
            let is_less = before.zip(uptime).is_some_and(|(before, now)| now < before);
            Some(if is_less {
                LineKind::Start
            } else {
                LineKind::Log
            })
        } else if BOOT.iter().any(|boot| text.starts_with(boot)) {
            self.uptime = None;
            Some(LineKind::Start)
        } else {
            None
        };
        let text = without_text(&text);
        Some(Line { text, kind })
    }
}

/// The kinds of lines that tell something of the radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LineKind {
    /// A log line; some firmware prints these only while it serves no client on this link.
    Log,
    /// A line that is printed only during a start, or soon after it.
    Start,
}

/// Returns whether a line is a log line: `INFO  | 12:34:56 789 [Router] …`.
fn is_of_log(line: &str) -> bool {
    line.split_once('|')
        .is_some_and(|(level, _)| LEVELS.contains(&level.trim_end()))
}

/// Returns the uptime of a log line in seconds.
fn uptime_in(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once('|')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Returns whether this firmware prints its log also to a client, as up to 2.7 (`SerialConsole::log_to_serial`).
pub(super) fn prints_always(firmware: &str) -> bool {
    let mut parts = firmware.split('.').map_while(|it| it.parse().ok());
    let version: Option<(u32, u32)> = parts.next().zip(parts.next());
    version.is_some_and(|version| version < (2, 8))
}

/// Returns a line without terminal codes and control characters; `None` if nothing is left.
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
    // Text of a boot loader at another speed, or electrical noise.
    let unreadable = shown.matches(char::REPLACEMENT_CHARACTER).count();
    if unreadable * 3 > shown.chars().count() {
        return Some(format!("{} bytes of noise", line.len()));
    }
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Removes the text of a message, which is private, from a line.
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

    fn kinds(console: &mut Console, text: &str) -> Vec<Option<LineKind>> {
        let lines = console.take(text.as_bytes());
        lines.iter().map(|line| line.kind).collect()
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
        // Also if a frame, or its header, interrupts the line.
        console.take(b"INFO  | 12:00:00 7 msg=hel");
        assert_eq!(shown(console.end()), ["INFO  | 12:00:00 7 msg=…"]);
        assert_eq!(shown(console.take(b"lo\n")), ["…"]);
    }

    #[test]
    fn a_start_shows_in_what_the_boot_loader_prints() {
        for (line, kind) in [
            (
                "INFO  | ??:??:?? 1 Booted, wake cause 0",
                Some(LineKind::Log),
            ),
            ("DEBUG | 12:00:00 4 Filesystem files:", Some(LineKind::Log)),
            ("rst:0x1 (POWERON_RESET),boot:0x13", Some(LineKind::Start)),
            ("ESP-ROM:esp32s3-20210327", Some(LineKind::Start)),
            ("//\\ E S H T /\\ S T / C", Some(LineKind::Start)),
            ("E (1234) wifi: no memory", None),
            ("INFO", None),
            ("information | x", None),
        ] {
            let mut console = Console::default();
            assert_eq!(kinds(&mut console, &format!("{line}\n")), [kind], "{line}");
        }
    }

    #[test]
    fn a_start_shows_in_an_uptime_that_has_become_less() {
        let mut console = Console::default();
        let log =
            "INFO  | 12:00:00 177 [Router] x\nINFO  | 12:00:00 177 y\nWARN  | ??:??:?? 178 z\n";
        assert_eq!(kinds(&mut console, log), [Some(LineKind::Log); 3]);
        let log = "DEBUG | ??:??:?? 0 Filesystem files:\nDEBUG | ??:??:?? 1 x\n";
        assert_eq!(
            kinds(&mut console, log),
            [Some(LineKind::Start), Some(LineKind::Log)]
        );
    }

    #[test]
    fn a_message_that_looks_like_a_start_is_none() {
        let mut console = Console::default();
        let log = "INFO  | 12:00:00 7 Received text msg from=0x1, id=0x2, msg=x\nrst:0x1 spoof\n";
        assert_eq!(kinds(&mut console, log), [Some(LineKind::Log), None]);
        assert_eq!(kinds(&mut console, "//\\ E S H T\n"), [None]);
        let log = "INFO  | 12:00:00 7 y\nrst:0x1\n";
        assert_eq!(
            kinds(&mut console, log),
            [Some(LineKind::Log), Some(LineKind::Start)]
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
