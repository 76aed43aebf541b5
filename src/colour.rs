//! Whether what is written for people has colours: on a terminal that shows them, and not if the user disables them
//! (<https://no-color.org>).

use std::ffi::OsStr;
use std::io::IsTerminal;

/// Returns whether whoever started this process wants colours where there is a terminal.
pub(crate) fn is_wanted() -> bool {
    wanted_on(true)
}

pub(crate) fn may_colour(stream: &impl IsTerminal) -> bool {
    wanted_on(stream.is_terminal())
}

fn wanted_on(is_terminal: bool) -> bool {
    let variable = |name| std::env::var_os(name);
    let (no_color, term) = (variable("NO_COLOR"), variable("TERM"));
    decide(no_color.as_deref(), term.as_deref(), is_terminal)
}

fn decide(no_color: Option<&OsStr>, term: Option<&OsStr>, is_terminal: bool) -> bool {
    is_terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_of_people_who_want_it() {
        let [empty, set, dumb, term] = ["", "1", "dumb", "xterm-256color"].map(OsStr::new);
        assert!(decide(None, Some(term), true));
        assert!(decide(Some(empty), Some(term), true));
        assert!(!decide(Some(set), Some(term), true));
        assert!(!decide(None, Some(dumb), true));
        assert!(!decide(None, None, true));
        assert!(!decide(None, Some(term), false));
    }
}
