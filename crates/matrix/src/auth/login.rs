//! Login: creates a device, has it signed, and writes the session to disk last.

use tokio_util::sync::CancellationToken;

use super::adopt;
use super::devices::{self, Note, Parted, SIGN_OUT_TIMEOUT};
use super::entry::{self, Credential, Earlier, LoginOptions};
use super::recovery::Demand;
use super::stand::{complete, take_renewed};
use super::{AuthError, Files, LoginTrust, Server};
use crate::session::StoredSession;
use crate::{client, files::FilesError};

/// What a successful login has reached.
#[derive(Debug)]
pub struct Login {
    /// The new session, which is on disk and replaces any earlier one.
    pub session: StoredSession,
    /// How far other clients trust the new device, and what is left to do.
    pub standing: LoginTrust,
    /// The devices of earlier logins, signed out as far as possible.
    pub parted: Vec<Parted>,
}

/// Logs in as a new device beside the current login, and replaces that login once the new one is complete.
///
/// The caller holds the store lock, so no daemon has the store open. A failure or a crash before the replacement leaves
/// the earlier login untouched, and the new device is signed out. Problems that do not hinder the relay (cross-signing,
/// backup, display name) are in [`LoginTrust::problems`]; they are an error if an earlier
/// login would be replaced by a lesser one. By an access token there is no new device, but that of the token: it replaces an
/// earlier login before it is signed.
///
/// # Cancel safety
///
/// Not cancel safe: if dropped, it leaves what a crash leaves. After `stop`, the login ends at the next point that leaves
/// the account consistent: with [`AuthError::Interrupted`], or successfully if nothing essential was left to do.
pub async fn login(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    stop: &CancellationToken,
) -> Result<Login, AuthError> {
    files.finish()?;
    let earlier = match files.load_session() {
        Ok(Some(session)) if options.earlier == Earlier::Stays => {
            return Err(AuthError::AlreadyLoggedIn(Box::new(session)));
        }
        Ok(session) => session,
        // An exported login is not ours to sign out.
        Err(FilesError::Damaged(..) | FilesError::Moved(_))
            if options.earlier != Earlier::Stays =>
        {
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(earlier) = &earlier {
        devices::write_note(files, &Note::of(earlier))?;
    }
    if let Credential::AccessToken(token, _) = &options.credential {
        return adopt::adopt(files, server, options, token, stop).await;
    }
    let mut session = match entry::request(files, server, options, stop).await {
        Ok(session) => session,
        Err(error) => return Err(give_up(files, None, error).await),
    };
    let demand = if options.is_recovery {
        Demand::Recovered
    } else if earlier.is_some() && options.earlier == Earlier::Replaced {
        Demand::Whole
    } else {
        Demand::Nothing
    };
    match make(files, options, &mut session, demand, stop).await {
        Ok(standing) => Ok(Login {
            parted: devices::part_with_others(files, options.credential.password()).await?,
            session,
            standing,
        }),
        Err(error) => {
            if session.oauth.is_some() {
                // Its tokens may have been renewed.
                drop(devices::write_note(files, &Note::of(&session)));
            }
            Err(give_up(files, Some(session), error).await)
        }
    }
}

/// Removes all traces of a failed login, on disk and on the server, and returns the error to report.
async fn give_up(files: &Files, made: Option<StoredSession>, error: AuthError) -> AuthError {
    // What cannot be deleted now, the next login deletes.
    drop(files.delete_fresh());
    let parted =
        tokio::time::timeout(SIGN_OUT_TIMEOUT, devices::part_with_others(files, None)).await;
    let Some(made) = made else {
        return error;
    };
    let is_gone = |parted: &Parted| parted.device == made.device_id && parted.left.is_none();
    match parted {
        Ok(Ok(parted)) if parted.iter().any(is_gone) => error,
        _ => AuthError::DeviceLeft(made.device_id, Box::new(error)),
    }
}

/// Creates the login in its own directory, then moves it into place.
async fn make(
    files: &Files,
    options: &LoginOptions,
    session: &mut StoredSession,
    demand: Demand,
    stop: &CancellationToken,
) -> Result<LoginTrust, AuthError> {
    let fresh = files.fresh();
    files.delete_fresh()?;
    let client = client::open(&fresh, session).await?;
    let made = complete(files, &client, options, session, demand, stop).await;
    take_renewed(&client, &fresh, session);
    client::close(&client).await;
    let standing = made?;
    fresh.save_session(session)?;
    files.put_in_place(&fresh)?;
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{KeyPlace, Unlock};
    use crate::server::ServerError;
    use crate::session::test_session::session;
    use relay_config::Secret;

    fn options(username: &str) -> LoginOptions {
        LoginOptions {
            username: Some(username.to_owned()),
            credential: Credential::Password(Secret::new("secret".to_owned())),
            device_name: "relay".to_owned(),
            display_name: None,
            allow_http: false,
            earlier: Earlier::Stays,
            unlock: Unlock::Nothing,
            is_recovery: false,
            recovery_key: KeyPlace::File("recovery.key".into()),
        }
    }

    /// A server that does not exist.
    fn nobody() -> Server {
        Server::at("http://127.0.0.1:1".parse().unwrap(), false).unwrap()
    }

    #[tokio::test]
    async fn a_second_login_says_as_whom_the_first_was() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        let stop = CancellationToken::new();
        let error = login(&files, &nobody(), &options("@relay:example.org"), &stop)
            .await
            .unwrap_err();
        assert_eq!(
            relay_model::full_text(&error),
            "already logged in as @relay:example.org (device DEVICE) at https://example.org/; use --force to log in anew"
        );
    }

    #[tokio::test]
    async fn a_failed_login_leaves_the_earlier_one_untouched_and_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.create_key().unwrap();
        files.save_session(&session()).unwrap();
        let mut options = options("relay");
        options.earlier = Earlier::Replaced;
        let stop = CancellationToken::new();
        let error = login(&files, &nobody(), &options, &stop).await.unwrap_err();
        assert!(
            matches!(error, AuthError::Server(ServerError::Unreachable(..))),
            "{error}"
        );
        assert_eq!(files.load_session().unwrap(), Some(session()));
        assert!(files.key().exists() && files.sdk().exists());
        assert!(!files.devices().exists());
    }

    #[test]
    fn secrets_of_a_login_are_never_printed() {
        assert!(!format!("{:?}", options("relay")).contains("secret"));
    }
}
