//! Decides what follows from a login error: what to wait for, and the hint. Pure: no clock, no randomness, no I/O.
//! `docs/reference/verdicts.md` lists the decisions.

use std::time::Duration;

use relay_config::Secret;
use relay_matrix::auth::{AuthError, Given};
use relay_matrix::{MatrixError, ServerError};
use relay_model::Chain;

/// Time between two tries with a refused password: a server may lock an account after too many wrong ones.
const PASSWORD_EVERY: Duration = Duration::from_hours(1);

/// What to wait for before the session is opened again.
#[derive(Debug, PartialEq)]
pub(super) enum Wait {
    /// A delay of the back-off, or another login, whichever comes first.
    Shortly,
    /// The end of the command that has the SDK's store open.
    Store,
    /// A login: by hand, or with the configured credentials.
    Login,
    /// A login with another access token than this one.
    OtherLogin(Option<Secret<String>>),
    /// The homeserver's acceptance of this access token, or another token.
    Accepted(Option<Secret<String>>),
    /// A login as the same device with the configured password; without one as for `Accepted`.
    SameDevice(Option<Secret<String>>),
}

/// Returns what to wait for after a session with access token `token` ended, or could not be opened.
pub(super) fn wait_after(error: &MatrixError, token: Option<Secret<String>>) -> Wait {
    match error {
        MatrixError::NoSession => Wait::Login,
        MatrixError::SessionDead(refused) if refused.refusal.keeps_device => {
            Wait::SameDevice(token)
        }
        MatrixError::SessionDead(_) => Wait::Accepted(token),
        MatrixError::Files(_)
        | MatrixError::Store { .. }
        | MatrixError::Server(_)
        | MatrixError::Renewal(_)
        | MatrixError::Closed => Wait::Shortly,
    }
}

/// Returns a text that is the same for errors that say the same: only a new one is logged.
pub(super) fn gist(error: &MatrixError) -> String {
    match error {
        // The server's message may vary.
        MatrixError::SessionDead(refused) => refused.refusal.errcode.clone(),
        other => Chain(other).to_string(),
    }
}

/// Returns whether an error tells the state of the login. After any other error the state known before still holds.
pub(super) fn is_about_login(error: &MatrixError) -> bool {
    matches!(error, MatrixError::SessionDead(_) | MatrixError::NoSession)
}

/// Returns whether the homeserver does not know the token any more.
pub(super) fn is_ended(error: &MatrixError) -> bool {
    matches!(error, MatrixError::SessionDead(refused) if refused.refusal.errcode == "M_UNKNOWN_TOKEN")
}

/// Returns the homeserver's `retry_after`, if any.
pub(super) fn wish(error: &MatrixError) -> Duration {
    match error {
        MatrixError::Server(ServerError::RateLimited(after)) => *after,
        _ => Duration::ZERO,
    }
}

/// When a login without a terminal is tried again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Only another configuration helps, which is read at a start.
    Never,
    After(Duration),
    /// After the back-off.
    Soon,
}

/// Returns when a failed first login is retried, and the hint where it differs from that of `relay auth login`.
pub(super) fn login_after(error: &AuthError) -> (Again, Option<&'static str>) {
    const CORRECT: &str =
        "correct the configuration and start the relay again, or run `relay auth login`";
    const CORRECT_OR_WAIT: &str = "correct the configuration and start the relay again, or run `relay auth login`; it \
                                   is tried again in case the homeserver was wrong";
    const OWN_DEVICE: &str = "run `relay auth login`, or set matrix.password instead of matrix.access_token and start \
                              the relay again: either makes a device of the relay's own";
    let given = match error {
        AuthError::Wrong(given, ..) => given,
        AuthError::Lacking(..) => return (Again::Never, None),
        _ => return (Again::Soon, None),
    };
    match given {
        Given::UsedDevice => (Again::Soon, Some(OWN_DEVICE)),
        Given::Name => (Again::Never, Some(CORRECT)),
        Given::Password | Given::Account => (Again::After(PASSWORD_EVERY), Some(CORRECT_OR_WAIT)),
        Given::Way => (Again::Soon, Some(CORRECT_OR_WAIT)),
    }
}

/// Returns when a failed login as the same device is retried.
pub(super) fn same_login_after(error: &AuthError) -> Again {
    match error {
        // It would be a device without keys.
        AuthError::DeviceGone(_) => Again::Never,
        other => login_after(other).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_homeserver_that_wants_to_be_left_alone_is_and_says_nothing_of_the_login() {
        let busy = MatrixError::Server(ServerError::RateLimited(Duration::from_secs(90)));
        assert_eq!(wish(&busy), Duration::from_secs(90));
        assert!(!is_about_login(&busy));
        assert_eq!(wait_after(&busy, None), Wait::Shortly);
    }

    #[test]
    fn a_password_that_was_refused_is_tried_seldom_and_a_wrong_name_never_again() {
        let wrong = |given| AuthError::Wrong(given, "no".to_owned(), None);
        let hour = Duration::from_hours(1);
        for (given, expected) in [
            (Given::Password, Again::After(hour)),
            (Given::Account, Again::After(hour)),
            (Given::Name, Again::Never),
            (Given::Way, Again::Soon),
            (Given::UsedDevice, Again::Soon),
        ] {
            let (again, cure) = login_after(&wrong(given));
            assert_eq!(again, expected);
            assert!(cure.is_some());
        }
        assert_eq!(login_after(&AuthError::Interrupted), (Again::Soon, None));
    }

    #[test]
    fn a_device_that_is_gone_is_not_logged_in_again_and_one_whose_homeserver_is_busy_is() {
        let gone = AuthError::DeviceGone("DEVICE".into());
        assert_eq!(same_login_after(&gone), Again::Never);
        let busy = AuthError::Server(ServerError::RateLimited(Duration::from_secs(90)));
        assert_eq!(same_login_after(&busy), Again::Soon);
        let wrong = AuthError::Wrong(Given::Password, "no".to_owned(), None);
        assert_eq!(same_login_after(&wrong), Again::After(PASSWORD_EVERY));
    }

    #[test]
    fn who_is_not_logged_in_waits_for_a_login() {
        let error = MatrixError::NoSession;
        assert!(is_about_login(&error));
        assert_eq!(wait_after(&error, None), Wait::Login);
    }
}
