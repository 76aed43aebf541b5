//! Makes text of strangers and libraries fit for a log: one line, limited length, no characters that a terminal or a
//! line reader interprets.

use std::fmt::{self, Write as _};

use relay_model::is_invisible;

/// Maximum length of a value in bytes, without the mark of an omission.
const LONGEST: usize = 2_000;
/// Marks an omission.
pub(super) const MORE: char = '…';

/// Collects a text in pieces, keeping at most one character beyond the limit.
#[derive(Default)]
struct Bounded {
    text: String,
    /// Length without the last character.
    before: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // A writer may not handle an error, and go on to the end.
            if self.text.len() > LONGEST {
                break;
            }
            self.before = self.text.len();
            if is_trick(character) {
                self.text.extend(character.escape_default());
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

/// Returns a value's text, sanitised.
pub(super) fn sanitized(text: impl fmt::Display) -> String {
    let mut kept = Bounded::default();
    // A failing `Display` leaves what it has written so far.
    let _ = write!(kept, "{text}");
    let Bounded { mut text, before } = kept;
    if text.len() > LONGEST {
        text.truncate(before);
        text.push(MORE);
    }
    text
}

/// Returns the start of a library's message, up to where its own words may end and foreign text may begin.
pub(super) fn fixed(text: &str) -> String {
    /// Maximum length of a library's own words in bytes; a longer message contains foreign text.
    const LONGEST_SENTENCE: usize = 200;
    let end = text
        .find(['"', '`', '{', '[', '(', ':', '\\'])
        .unwrap_or(text.len())
        .min(text.floor_char_boundary(LONGEST_SENTENCE));
    let (kept, rest) = text.split_at(end);
    if rest.is_empty() {
        kept.to_owned()
    } else {
        format!("{}{MORE}", kept.trim_end())
    }
}

/// Returns whether a character ends a line, controls a terminal, or invisibly changes how others are displayed.
fn is_trick(character: char) -> bool {
    character.is_control()
        || is_invisible(character)
        || matches!(character, '\u{2028}'..='\u{2029}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_line_or_commands_a_terminal_is_escaped() {
        for (said, told) in [
            ("plain — ünï 🚨", "plain — ünï 🚨"),
            ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
            ("\u{1b}[31mred\u{7}\u{8}\0", r"\u{1b}[31mred\u{7}\u{8}\u{0}"),
            ("\u{7f}\u{85}\u{9b}31m", r"\u{7f}\u{85}\u{9b}31m"),
            ("\u{b}\u{c}\u{2028}\u{2029}", r"\u{b}\u{c}\u{2028}\u{2029}"),
            (
                "\u{202e}\u{2066}\u{200f}\u{feff}",
                r"\u{202e}\u{2066}\u{200f}\u{feff}",
            ),
        ] {
            assert_eq!(sanitized(said), told);
        }
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let whole = "x".repeat(LONGEST);
        assert_eq!(sanitized(&whole), whole);
        for more in ["x", "ü", "\n", "🚨"] {
            let told = sanitized(format_args!("{whole}{more}{}", "y".repeat(60_000)));
            assert_eq!(told, format!("{whole}…"));
        }
        let escapes = sanitized("\u{1b}".repeat(60_000));
        assert!(escapes.len() <= LONGEST + MORE.len_utf8() && escapes.ends_with(r"\u{1b}…"));
    }

    #[test]
    fn what_is_too_long_is_never_kept() {
        let mut kept = Bounded::default();
        for _ in 0..1_000 {
            write!(kept, "{:?}", "x\n".repeat(100)).unwrap();
        }
        assert!(kept.text.capacity() <= 2 * LONGEST + 20);
    }

    #[test]
    fn of_a_library_only_its_own_words_are_kept() {
        for (said, told) in [
            (
                "Received a room key with an unsupported algorithm",
                "Received a room key with an unsupported algorithm",
            ),
            (
                "Error deserializing event: invalid type: string \"secret\"",
                "Error deserializing event…",
            ),
            (
                "unknown variant `secret`, expected one of",
                "unknown variant…",
            ),
            (
                "Couldn't restore it Http(Api(\"secret\"))",
                "Couldn't restore it Http…",
            ),
            ("`secret` is no field", "…"),
            ("ends here\\nsecret", "ends here…"),
        ] {
            assert_eq!(fixed(said), told);
        }
        assert_eq!(fixed(&"ü".repeat(500)).chars().count(), 101);
    }
}
