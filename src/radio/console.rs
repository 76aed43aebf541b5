//! What a radio prints between frames: boot messages and its log, as lines that can be read. No I/O, no clock.
//!
//! Only serial links carry such text. Firmware stops it with a client's first frame, so text of its log on a link that
//! is in use hints that it has forgotten the client; what is printed only at a start proves it.

/// Under which name the lines are logged, so that they can be asked for, or not.
pub(super) const TARGET: &str = "relay::radio::console";

/// A line that is longer is cut in pieces.
const LONGEST_LINE: usize = 1024;

/// The first words of lines in the log of the firmware, before `|`.
const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRIT", "HEAP"];

/// What is printed only at a start: the processor's boot loader, then the firmware's banner.
const BOOT: [&str; 5] = ["rst:0x", "ESP-ROM:", "ets ", "boot:0x", "//\\ E S H T"];

/// After it, firmware prints the text of a message.
const MESSAGE_TEXT: &str = "msg=";

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Console {
    partial: Vec<u8>,
}

impl Console {
    /// Takes bytes from outside frames; returns the lines that they end, without empty ones.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            let ends = matches!(byte, b'\n' | b'\r');
            if !ends {
                self.partial.push(*byte);
            }
            if ends || self.partial.len() >= LONGEST_LINE {
                lines.extend(readable(&std::mem::take(&mut self.partial)));
            }
        }
        lines
    }

    /// Ends the line that is under way; returns it, if there is one.
    pub(super) fn end(&mut self) -> Vec<String> {
        readable(&std::mem::take(&mut self.partial))
            .into_iter()
            .collect()
    }
}

/// What a line tells of the radio, if it tells anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// It is of the log, which firmware prints only while it serves no client on this link; some print it always.
    Log,
    /// It is printed only at a start.
    Start,
}

/// Returns what a line tells of the radio.
pub(super) fn sign_in(line: &str) -> Option<Sign> {
    if BOOT.iter().any(|boot| line.starts_with(boot)) {
        return Some(Sign::Start);
    }
    let (level, _) = line.split_once('|')?;
    LEVELS.contains(&level.trim_end()).then_some(Sign::Log)
}

/// Returns a line without what no log is to hold: codes for terminals, control characters, texts of messages. `None`
/// if nothing is left.
fn readable(line: &[u8]) -> Option<String> {
    let mut shown = String::new();
    let text = String::from_utf8_lossy(line);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\x1b' && characters.next_if_eq(&'[').is_some() {
            // A control sequence ends with its first letter.
            while characters
                .next()
                .is_some_and(|it| !('@'..='~').contains(&it))
            {}
        } else if !character.is_control() {
            shown.push(character);
        }
    }
    // A boot loader's text at another speed, or a cable that picks things up.
    let unreadable = shown.matches(char::REPLACEMENT_CHARACTER).count();
    if unreadable * 3 > shown.chars().count() {
        return Some(format!("{} bytes of noise", line.len()));
    }
    let shown = without_text(shown.trim());
    (!shown.is_empty()).then_some(shown)
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

    #[test]
    fn lines_are_put_together_however_they_come() {
        let mut console = Console::default();
        assert_eq!(console.take(b"IN"), [""; 0]);
        assert_eq!(
            console.take(b"FO  | one\r\n\r\ntwo\nthr"),
            ["INFO  | one", "two"]
        );
        assert_eq!(console.take(b"ee\rfo"), ["three"]);
        assert_eq!(console.end(), ["fo"]);
        assert_eq!(console.end(), [""; 0]);
        assert_eq!(console.take(b"ur\n"), ["ur"]);
    }

    #[test]
    fn codes_for_terminals_and_control_characters_are_left_out() {
        let mut console = Console::default();
        let line = b"\x1b[1;32mDEBUG\x1b[0m | ??:??:?? 3 \x07S:B\x1b\x00\xff\n";
        assert_eq!(console.take(line), ["DEBUG | ??:??:?? 3 S:B\u{fffd}"]);
        assert_eq!(console.take(b"\x1b[0m\x1b[\n\x1b\n"), [""; 0]);
    }

    #[test]
    fn noise_is_counted_and_not_shown() {
        let noise = b"\x94\xc3\xff\xffx\xe0\xf8\xff\n";
        assert_eq!(Console::default().take(noise), ["8 bytes of noise"]);
    }

    #[test]
    fn the_text_of_a_message_is_not_shown() {
        let mut console = Console::default();
        let line = b"INFO | Received text msg from=0x1, id=0x2, msg=hello you\n";
        assert_eq!(
            console.take(line),
            ["INFO | Received text msg from=0x1, id=0x2, msg=…"]
        );
    }

    #[test]
    fn a_start_shows_in_what_the_boot_loader_prints_and_a_lost_client_in_the_log_of_the_firmware() {
        for (line, sign) in [
            (
                "INFO  | ??:??:?? 1 Booted, wake cause 0 (boot count 1), reset_reason=reset",
                Some(Sign::Log),
            ),
            ("DEBUG | 12:00:00 4 Filesystem files:", Some(Sign::Log)),
            (
                "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
                Some(Sign::Start),
            ),
            ("ESP-ROM:esp32s3-20210327", Some(Sign::Start)),
            ("//\\ E S H T /\\ S T / C", Some(Sign::Start)),
            ("E (1234) wifi: no memory", None),
            ("INFO", None),
            ("information | x", None),
            ("\u{fffd}\u{fffd}", None),
        ] {
            assert_eq!(sign_in(line), sign, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_grows_without_bound(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut console = Console::default();
            for line in console.take(&bytes) {
                prop_assert!(line.len() <= LONGEST_LINE * 3);
                prop_assert!(!line.chars().any(char::is_control));
            }
            prop_assert!(console.partial.len() < LONGEST_LINE);
        }
    }
}
