//! Sanitising of untrusted texts and names, and text measures.

use unicode_segmentation::UnicodeSegmentation as _;

use relay_model::is_invisible;

/// Maximum bytes of an emoji on the mesh; longer ones count as text.
const EMOJI_BYTES: usize = 32;

/// Replacement for the bell control character.
const BELL: char = '🔔';

/// Returns a text without control, bidirectional and invisible characters. Line breaks stay, but not more than one empty line
/// in a row, nor white space at both ends.
pub(crate) fn clean_text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut newlines = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let kept = match character {
            '\r' if characters.peek() == Some(&'\n') => None,
            '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\t' => Some(' '),
            '\u{7}' => Some(BELL),
            other if other.is_control() || is_invisible(other) => None,
            other => Some(other),
        };
        match kept {
            Some('\n') => {
                newlines += 1;
                if newlines <= 2 {
                    clean.push('\n');
                }
            }
            Some(other) => {
                newlines = 0;
                clean.push(other);
            }
            None => {}
        }
    }
    clean.trim().to_owned()
}

/// Returns a name on one line, sanitised as by [`clean_text`]; empty if nothing visible is left.
pub(crate) fn clean_name(name: &str) -> String {
    let text = clean_text(name);
    if text.chars().all(shows_nothing) {
        return String::new();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn first_graphemes(text: &str, count: usize) -> &str {
    text.grapheme_indices(true)
        .nth(count)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// Returns as many whole grapheme clusters as fit into this many bytes.
pub(crate) fn fitting(text: &str, bytes: usize) -> &str {
    let end = text
        .grapheme_indices(true)
        .map(|(start, grapheme)| start + grapheme.len())
        .take_while(|end| *end <= bytes)
        .last()
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Returns the fully qualified emoji, if a text is one emoji and nothing else.
pub(crate) fn one_emoji(text: &str) -> Option<&str> {
    let text = text.trim();
    if text.is_empty() || text.len() > EMOJI_BYTES {
        return None;
    }
    if let Some(known) = emojis::get(text) {
        return Some(known.as_str());
    }
    let one = text.graphemes(true).count() == 1;
    (one && text.chars().next().is_some_and(is_pictograph)).then_some(text)
}

/// Returns an emoji for comparison, without presentation selectors.
pub(crate) fn folded(emoji: &str) -> String {
    emoji.replace('\u{fe0f}', "")
}

/// Returns the first `count` grapheme clusters of a text on one line, with `…` if there are more.
pub(crate) fn excerpt(text: &str, count: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let head = first_graphemes(&line, count);
    if head.len() == line.len() {
        line
    } else {
        format!("{head}…")
    }
}

/// Returns whether a character renders as blank: white space, default-ignorable characters (joiners, selectors, tags, fillers),
/// and letters and signs without ink.
fn shows_nothing(character: char) -> bool {
    let is_ignorable = matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200c}'..='\u{200d}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    let is_blank = matches!(
        character,
        '\u{2800}' | '\u{13441}'..='\u{13442}' | '\u{16fe4}' | '\u{1d159}'
    );
    character.is_whitespace() || is_invisible(character) || is_ignorable || is_blank
}

/// Returns whether a character is in a block where new emoji appear that our list lacks.
fn is_pictograph(character: char) -> bool {
    matches!(character, '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_dropped_and_a_bell_is_shown() {
        for (hostile, clean) in [
            ("a\0b\u{1b}[31mc", "ab[31mc"),
            ("ring\u{7}", "ring🔔"),
            ("abc\u{202e}def\u{2066}g\u{200f}", "abcdefg"),
            ("\u{feff}x\u{200b}y", "xy"),
            (
                "one\r\ntwo\rthree\u{2028}four\tfive",
                "one\ntwo\nthree\nfour five",
            ),
            ("a\n\n\n\n\nb", "a\n\nb"),
            (" \n hello \n", "hello"),
            ("\u{fffd}", "\u{fffd}"),
            ("\u{9b}1m", "1m"),
            ("👨‍👩‍👧 ❤️", "👨‍👩‍👧 ❤️"),
            ("<b>@room</b> *x*", "<b>@room</b> *x*"),
        ] {
            assert_eq!(clean_text(hostile), clean, "{hostile:?}");
        }
    }

    #[test]
    fn a_name_has_one_line_and_something_to_see() {
        assert_eq!(
            clean_name(" Alice\n\u{202e}of  Example "),
            "Alice of Example"
        );
        for invisible in [
            "",
            " ",
            "\u{200b}",
            "\u{200d}\u{fe0f}",
            "\u{202e}\n",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{ffa0} \u{3000}",
            "\u{2800}\u{2800}",
            "\u{ad}\u{34f}",
            "\u{180e}\u{180b}",
            "\u{e0041}\u{e007f}",
            "\u{17b4}\u{1d173}\u{e0100}",
        ] {
            assert_eq!(clean_name(invisible), "", "{invisible:?}");
        }
        for visible in ["가", "ㄱ", "⠁", "ကို", "\u{fffd}", "👩‍🚀", "·"] {
            assert_eq!(clean_name(visible), visible);
        }
    }

    #[test]
    fn one_emoji_of_at_most_32_bytes_is_an_emoji_and_nothing_else_is() {
        assert_eq!(one_emoji("👍"), Some("👍"));
        assert_eq!(one_emoji(" 👍🏽 "), Some("👍🏽"));
        assert_eq!(one_emoji("❤"), Some("❤\u{fe0f}"));
        assert_eq!(one_emoji("❤\u{fe0f}"), Some("❤\u{fe0f}"));
        assert_eq!(one_emoji("👨‍👩‍👧‍👦"), Some("👨‍👩‍👧‍👦"));
        assert_eq!(one_emoji("🇩🇪"), Some("🇩🇪"));
        for other in ["", "a", "1", "👍👍", "👍 yes", "lol", "\u{200d}", "<b>"] {
            assert_eq!(one_emoji(other), None, "{other:?}");
        }
        let long = format!("👍{}", "\u{301}".repeat(20));
        assert_eq!(one_emoji(&long), None);
    }

    #[test]
    fn an_excerpt_counts_graphemes_and_says_when_it_is_short() {
        assert_eq!(excerpt("four\nwords in lines", 40), "four words in lines");
        assert_eq!(excerpt("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 2), "👨‍👩‍👧👨‍👩‍👧…");
    }

    proptest! {
        #[test]
        fn a_clean_text_is_clean_already(text in any::<String>()) {
            let clean = clean_text(&text);
            prop_assert_eq!(&clean_text(&clean), &clean);
            prop_assert!(!clean.chars().any(|it| it.is_control() && it != '\n'));
        }

        #[test]
        fn what_fits_is_within_its_limit(text in any::<String>(), bytes in 0_usize..40) {
            let part = fitting(&text, bytes);
            prop_assert!(part.len() <= bytes && text.starts_with(part));
        }
    }
}
