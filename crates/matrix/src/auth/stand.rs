//! What a new device gets before it is put to use: the signature of its owner, a key backup, and the account its name.

use std::time::Duration;

use matrix_sdk::Client;
use tokio_util::sync::CancellationToken;

use super::entry::{KeyPlace, LoginOptions};
use super::recovery::{self, Demand, Problem, Security};
use super::{AuthError, Files, LoginTrust, status::backup_version};
use crate::session::{BackupUse, StoredSession};
use crate::{errors, sync};

/// Signs the device, and gives the account its name.
pub(super) async fn complete(
    files: &Files,
    client: &Client,
    options: &LoginOptions,
    session: &mut StoredSession,
    demand: Demand,
    stop: &CancellationToken,
) -> Result<LoginTrust, AuthError> {
    let security = Security {
        user: session.user_id.clone(),
        password: options.credential.password(),
        unlock: &options.unlock,
        demand,
        person: options.credential.person(),
        stop: stop.clone(),
    };
    let mut standing = stand(files, client, session, &security, &options.recovery_key).await?;
    if let Some(name) = &options.display_name
        && let Err(error) = client.account().set_display_name(Some(name)).await
    {
        let error = errors::sentence(&error);
        let what = format!("the display name could not be set: {error}");
        standing.problems.push(what.into());
    }
    Ok(standing)
}

/// Signs the device, enables its key backup, and records the result in the session. The device's keys exist, but have
/// not been uploaded yet.
async fn stand(
    files: &Files,
    client: &Client,
    session: &mut StoredSession,
    security: &Security<'_>,
    place: &KeyPlace,
) -> Result<LoginTrust, AuthError> {
    let encryption = client.encryption();
    let synced = async {
        encryption.wait_for_e2ee_initialization_tasks().await;
        // Uploads the device's keys, without which nothing can be signed, and fetches the list of rooms.
        Box::pin(client.sync_once(sync::settings(Duration::ZERO, 1))).await
    };
    let synced = security.stop.run_until_cancelled(synced).await;
    let failure = synced.ok_or(AuthError::Interrupted)?.err();
    let problem =
        failure.map(|error| format!("the first sync failed: {}", errors::sentence(&error)));
    if security.demand != Demand::Nothing
        && let Some(what) = problem
    {
        return Err(AuthError::Unfinished(what));
    }
    let mut standing = sign(files, client, session, security, place).await?;
    standing.problems.extend(problem.map(Problem::from));
    Ok(standing)
}

/// Does the same for a device whose keys have been uploaded.
pub(super) async fn sign(
    files: &Files,
    client: &Client,
    session: &mut StoredSession,
    security: &Security<'_>,
    place: &KeyPlace,
) -> Result<LoginTrust, AuthError> {
    let standing = Box::pin(recovery::secure(client, security)).await?;
    session.recovery_key_file = Some(files.recovery_key()).filter(|path| path.exists());
    // The key is stored nowhere else.
    if let Some(key) = &standing.recovery_key {
        match place {
            KeyPlace::File(path) => {
                files.save_recovery_key(path, key)?;
                session.recovery_key_file = Some(path.to_owned());
            }
            KeyPlace::Show(show) => show(key),
        }
    }
    take_renewed(client, files, session);
    session.key_backup = if standing.backup {
        match backup_version(&session.server()?).await {
            Ok(Some(version)) => BackupUse::Version(version),
            Ok(None) => BackupUse::None,
            Err(_) => BackupUse::Unknown,
        }
    } else {
        BackupUse::None
    };
    Ok(standing)
}

/// Takes over tokens that were renewed meanwhile.
pub(super) fn take_renewed(client: &Client, files: &Files, session: &mut StoredSession) {
    if let Some(tokens) = client.session_tokens() {
        session.tokens = tokens;
    }
    // Those of a login service are on the disk, with the time until which they are good.
    if session.oauth.is_some()
        && let Ok(Some(saved)) = files.load_session()
        && saved.device_id == session.device_id
    {
        (session.tokens, session.oauth) = (saved.tokens, saved.oauth);
    }
}
