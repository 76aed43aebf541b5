//! Users named one by one or by a glob.

use std::str::FromStr;

use wildmatch::WildMatch;

use relay_model::{OwnedUserId, UserId};

/// A user id, or a glob over user ids: `*` stands for any characters, `?` for one (`@*:example.org`).
/// Upper and lower case differ, as in user ids.
#[derive(Debug, Clone, PartialEq)]
pub struct UserPattern(pub(super) WildMatch);

impl UserPattern {
    /// Returns whether this user is meant: the whole id counts.
    pub fn matches(&self, user: &UserId) -> bool {
        self.0.matches(user.as_str())
    }
}

impl FromStr for UserPattern {
    /// Why a text is not a user pattern.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plausible = if text.contains(['*', '?']) {
            text.starts_with(['@', '*', '?'])
                && text.len() <= 255
                && !text.contains(char::is_whitespace)
        } else {
            OwnedUserId::try_from(text).is_ok()
        };
        is_plausible.then(|| Self(WildMatch::new(text))).ok_or_else(|| {
            format!("`{text}` is not a user id: expected `@name:server`, or a glob as in `@*:example.org`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> OwnedUserId {
        OwnedUserId::try_from(id).unwrap()
    }

    #[test]
    fn a_glob_matches_whole_ids_only() {
        let pattern: UserPattern = "@*:example.org".parse().unwrap();
        assert!(pattern.matches(&user("@alice:example.org")));
        assert!(!pattern.matches(&user("@alice:example.org.evil.example")));
        assert!(!pattern.matches(&user("@alice:notexample.org")));
    }

    #[test]
    fn a_plain_id_matches_that_user_alone() {
        let pattern: UserPattern = "@alice:example.org".parse().unwrap();
        assert!(pattern.matches(&user("@alice:example.org")));
        assert!(!pattern.matches(&user("@alice2:example.org")));
    }

    #[test]
    fn what_could_never_match_a_user_is_refused() {
        for wrong in [
            "alice",
            "alice:example.org",
            "",
            "example.*",
            "@alice",
            "@a b*:example.org",
        ] {
            assert!(wrong.parse::<UserPattern>().is_err(), "{wrong}");
        }
    }
}
