//! A value that is never printed.

use std::fmt;

/// Holds a password, token or key; its `Debug` prints `…`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Takes a value out of sight: from now on only [`Self::reveal`] shows it.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value, to be used at once and never to be logged.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_an_ellipsis() {
        let secret = Some(Secret::new("hunter2".to_owned()));
        assert_eq!(format!("{secret:?}"), "Some(…)");
    }
}
