//! Characters that disguise untrusted text.

/// Returns whether a character has no shape of its own but changes how others are shown or ordered:
/// bidirectional marks, zero-width spaces, word joiners, annotation marks, the byte order mark.
pub fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}

/// Returns a text without characters that could manipulate a terminal.
pub fn without_tricks(text: &str) -> impl Iterator<Item = char> {
    let characters = text.chars();
    characters.filter(|it| !it.is_control() && !is_invisible(*it))
}
