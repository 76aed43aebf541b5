//! Errors as people see them: message, causes, hint and exit code.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::process::ExitCode;

/// An error at the boundary of a module. The hint is no part of its message: whoever shows the error shows the hint too.
pub trait Explained: Error {
    /// Returns what a person can do about it, if known.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns the exit code of a command: 1 for a failure, 2 for wrong arguments or configuration.
    fn exit(&self) -> ExitCode {
        ExitCode::FAILURE
    }
}

impl Explained for std::io::Error {}

/// Returns an error with its causes and its hint in one sentence.
pub fn full_text(error: &(dyn Explained + 'static)) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}"));
    format!("{}{}", Chain(error), hint.unwrap_or_default())
}

/// Returns an error and its causes, outermost first.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// An error and its causes in one sentence, without repetition: `cannot read the file: permission denied`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for cause in causes(self.0).skip(1).map(ToString::to_string) {
            // Some libraries include the cause in the message of the outer error.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        f.write_str(&text)
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
        assert_eq!(full_text(&Outer(Inner)), "outside: inside; turn it");
        assert_eq!(full_text(&Inner), "inside");
    }
}
