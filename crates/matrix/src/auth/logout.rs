//! Logout: on the server, then on disk.

use super::devices::{self, delete_device};
use super::status::{self, KeyBackup};
use super::{AuthError, Files};
use crate::files;
use crate::oauth::{Grants, Web};
use crate::session::StoredSession;
use relay_config::Secret;

/// Returns whether the device's keys are backed up; keys without a backup are lost by a logout. `None`: the server no
/// longer knows the session, so the backup cannot be queried.
pub async fn key_backup(files: &Files) -> Result<Option<KeyBackup>, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    match status::backup_version(&session.server()?).await {
        Ok(version) => Ok(Some(status::use_of(version.as_deref(), &session))),
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session on the server: deletes the device with the account's password, or else signs out. Local files stay;
/// [`delete_local`] deletes them. Succeeds if the server no longer knows the session.
///
/// Cancel safe: dropped before the answer, the session may have ended on the server; called again, it succeeds.
pub async fn end_session(
    files: &Files,
    password: Option<&Secret<String>>,
) -> Result<(), AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    // Devices of unfinished logins are signed out too, as far as possible.
    devices::part_with_others(files, password).await?;
    let ended = match password {
        _ if session.oauth.is_some() => return revoke(&session).await,
        Some(password) => delete_device(&session, &session.device_id, password).await,
        None => session.server()?.sign_out().await,
    };
    ended.or_else(|error| match error.errcode() {
        Some("M_UNKNOWN_TOKEN") => Ok(()),
        Some("M_FORBIDDEN") => {
            let user = session.user_id.as_str();
            Err(AuthError::wrong_password(user, &session.homeserver))
        }
        Some(_) | None => Err(error.into()),
    })
}

/// Ends a session at the login service that has made it, which also deletes its device.
async fn revoke(session: &StoredSession) -> Result<(), AuthError> {
    let Some(oauth) = &session.oauth else {
        return Ok(());
    };
    let web = Web::new(&session.homeserver, session.allow_http)?;
    Ok(Grants::of(oauth, web).revoke(&session.tokens).await?)
}

/// Deletes `session.json`, then `sdk.key` and `sdk/`, and reports each step. Recovery keys stay.
pub fn delete_local(files: &Files, mut report: impl FnMut(&str)) -> Result<(), AuthError> {
    files::delete(&files.session())?;
    report("deleted session.json");
    files.delete_store()?;
    files::delete(&files.devices())?;
    files.delete_mark()?;
    report("deleted sdk.key and sdk/");
    Ok(())
}
