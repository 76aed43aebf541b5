//! What an error tells people: itself, then its causes, then what can be done about it. And whether it is worth trying again.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::process::ExitCode;

/// An error at the boundary of a module. What helps is no part of its sentence: who shows the error shows the hint too.
pub trait Explained: Error {
    /// Returns what a person can do about it, if we know.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns how a command ends that it ends: with 1, it failed; or with 2, its arguments or the configuration are wrong.
    fn exit(&self) -> ExitCode {
        ExitCode::FAILURE
    }
}

impl Explained for std::io::Error {}

/// Returns an error with its causes and its hint in one sentence, for where there is no room for a hint of its own.
pub fn told(error: &(dyn Explained + 'static)) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}"));
    format!("{}{}", Chain(error), hint.unwrap_or_default())
}

/// Returns an error and its causes, one after the other.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// An error and its causes in one sentence, each once: `cannot read the file: permission denied`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        for cause in causes(self.0).skip(1).map(ToString::to_string) {
            // Some libraries tell the cause in the sentence of what it caused.
            if !told.contains(&cause) {
                told.push_str(": ");
                told.push_str(&cause);
            }
        }
        f.write_str(&told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inside")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("above: {0}")]
    struct Repeating(#[source] Outer);

    impl Explained for Outer {
        fn hint(&self) -> Option<String> {
            Some("turn it".to_owned())
        }
    }

    impl Explained for Inner {}

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(Chain(&Outer(Inner)).to_string(), "outside: inside");
        assert_eq!(Chain(&Inner).to_string(), "inside");
        let repeated = Repeating(Outer(Inner));
        assert_eq!(Chain(&repeated).to_string(), "above: outside: inside");
        assert_eq!(told(&Outer(Inner)), "outside: inside; turn it");
        assert_eq!(told(&Inner), "inside");
    }
}
