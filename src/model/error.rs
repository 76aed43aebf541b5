//! What an error tells people: itself, then its causes.

use std::error::Error;
use std::fmt;
use std::iter::successors;

/// Returns an error and its causes, one after the other.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// An error and its causes in one sentence: `cannot read the file: permission denied`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for error in causes(self.0) {
            write!(f, "{separator}{error}")?;
            separator = ": ";
        }
        Ok(())
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

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(Chain(&Outer(Inner)).to_string(), "outside: inside");
        assert_eq!(Chain(&Inner).to_string(), "inside");
    }
}
