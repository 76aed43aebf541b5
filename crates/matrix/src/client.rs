//! Builds the SDK's client on its store, restores the session, and reports whether its device is verified.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use matrix_sdk::config::{RequestConfig, StoreConfig};
use matrix_sdk::cross_process_lock::CrossProcessLockConfig;
use matrix_sdk::encryption::{BackupDownloadStrategy, EncryptionSettings};
use matrix_sdk::{
    Client, ClientBuilder, SqliteCryptoStore, SqliteEventCacheStore, SqliteMediaStore,
    SqliteStateStore, SqliteStoreConfig,
};
use matrix_sdk_base::crypto::store::CryptoStore as _;
use matrix_sdk_base::crypto::types::SecretsBundle;
use matrix_sdk_base::crypto::{CollectStrategy, OlmMachine};
use tracing::{debug, error, info, warn};

use super::files::{Files, FilesError};
use super::gate::{self, Gate, Notes};
use super::renewal::Renewal;
use super::server::{TIMEOUT, USER_AGENT};
use super::{DeviceTrust, MatrixError, keys::KeyStore, session::StoredSession};
use relay_config::Recipients;

const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// File name of the SDK's crypto store.
const KEYS: &str = "matrix-sdk-crypto.sqlite3";

/// Opens the store of the session in `files`, whose lock the caller holds. Fails if the store has no keys: the SDK
/// would create new ones, which nobody else would accept as the device's.
pub(super) async fn restore(
    files: &Files,
    recipients: Recipients,
    way: &Arc<Notes>,
) -> Result<(Client, StoredSession, Option<Arc<Renewal>>), MatrixError> {
    files.finish()?;
    let session = files.load_session()?.ok_or(MatrixError::NoSession)?;
    let (key, keys) = keys_of(files, &session).await?;
    let strategy = match recipients {
        Recipients::Verified => CollectStrategy::IdentityBasedStrategy,
        Recipients::All => CollectStrategy::AllDevices,
    };
    let (client, renewal) = build(files, &session, &key, keys, strategy, way).await?;
    Ok((client, session, renewal))
}

/// Builds a client for the session on a new store in `files`.
pub(super) async fn open(files: &Files, session: &StoredSession) -> Result<Client, MatrixError> {
    let key = files.create_key()?;
    let keys = open_keys(files, &key).await?;
    let strategy = CollectStrategy::AllDevices;
    if session.oauth.is_some() {
        // Tokens that are renewed are saved before they are used. The login counts only when it is put in its place.
        files.save_session(session)?;
    }
    let built = build(files, session, &key, keys, strategy, &Arc::default()).await?;
    Ok(built.0)
}

/// A raw key avoids deriving one from a passphrase, which takes a third of a second per client.
fn stores(files: &Files, key: &[u8; 32]) -> SqliteStoreConfig {
    SqliteStoreConfig::with_low_memory_config(files.sdk()).key(Some(key))
}

async fn open_keys(files: &Files, key: &[u8; 32]) -> Result<KeyStore, MatrixError> {
    let store = SqliteCryptoStore::open_with_config(&stores(files, key)).await;
    store
        .map(KeyStore::new)
        .map_err(|cause| unusable(files, cause))
}

async fn build(
    files: &Files,
    session: &StoredSession,
    key: &[u8; 32],
    keys: KeyStore,
    strategy: CollectStrategy,
    way: &Arc<Notes>,
) -> Result<(Client, Option<Arc<Renewal>>), MatrixError> {
    let renewal = session.oauth.is_some().then(|| Renewal::of(files.clone()));
    let keys = keys.with_renewal(renewal.clone());
    let config = stores(files, key);
    let opening = async {
        tokio::try_join!(
            SqliteStateStore::open_with_config(&config),
            SqliteEventCacheStore::open_with_config(&config),
            SqliteMediaStore::open_with_config(&config),
        )
    };
    // The stores open on threads of their own; reading the system's certificates for the HTTP client takes as long.
    let making = async { bound(Client::builder(), files, session, way) };
    let (opened, (builder, gate)) = tokio::join!(opening, making);
    let (state, events, media) = opened.map_err(|cause| unusable(files, cause))?;
    // `relay.lock` excludes other processes.
    let stores = StoreConfig::new(CrossProcessLockConfig::SingleProcess)
        .state_store(state)
        .event_cache_store(events)
        .media_store(media)
        .crypto_store(keys);
    let builder = builder
        .homeserver_url(&session.homeserver)
        .respect_login_well_known(false)
        .store_config(stores)
        .cross_process_store_config(CrossProcessLockConfig::SingleProcess)
        .request_config(RequestConfig::new().disable_retry().timeout(TIMEOUT))
        .handle_refresh_tokens()
        .with_room_key_recipient_strategy(strategy)
        .with_encryption_settings(EncryptionSettings {
            auto_enable_cross_signing: false,
            auto_enable_backups: false,
            backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
        });
    let client = builder.build().await;
    let client = client.map_err(|cause| unusable(files, cause))?;
    // The gate stays open as long as the client lives.
    client.add_event_handler_context(Arc::new(gate));
    if let Some(renewal) = &renewal {
        let saved = Arc::clone(renewal);
        let (load, save) = (move |_| saved.saved(), |_| Ok(()));
        let set = client.set_session_callbacks(Box::new(load), Box::new(save));
        set.map_err(|cause| unusable(files, cause))?;
        // The holder only has to have a name: `relay.lock` excludes other processes.
        let oauth = client.oauth();
        let enabled = oauth
            .enable_cross_process_refresh_lock("relay".to_owned())
            .await;
        enabled.map_err(|cause| unusable(files, cause))?;
    } else {
        keep_tokens(&client, files.clone()).map_err(|cause| unusable(files, cause))?;
    }
    let restored = Box::pin(client.restore_session(session.to_sdk())).await;
    restored.map_err(|cause| unusable(files, cause))?;
    if let Some(renewal) = &renewal {
        renewal.open(&session.tokens);
    }
    Ok((client, renewal))
}

/// Limits the size of answers, unless a proxy is used.
fn bound(
    builder: ClientBuilder,
    files: &Files,
    session: &StoredSession,
    way: &Arc<Notes>,
) -> (ClientBuilder, Option<Gate>) {
    if gate::is_proxied(&Matcher::from_env(), &session.homeserver) {
        info!("a proxy of the environment is used: answers of the homeserver have no bound");
    } else {
        match Gate::open(&session.homeserver, &files.sdk(), way) {
            Ok((gate, client)) => return (builder.http_client(client), Some(gate)),
            Err(error) => warn!(
                error = error.to_string(),
                "answers of the homeserver have no bound: no socket can be made for its connections"
            ),
        }
    }
    (builder.user_agent(USER_AGENT), None)
}

fn unusable(files: &Files, cause: impl Error + Send + Sync + 'static) -> MatrixError {
    MatrixError::Store(files.sdk(), Box::new(cause))
}

/// Returns the key of the store, if the files with the device's keys exist.
pub(super) fn find_keys(files: &Files) -> Result<[u8; 32], FilesError> {
    let key = files.load_key()?;
    let path = files.sdk().join(KEYS);
    match path.try_exists() {
        Ok(true) => Ok(key),
        Ok(false) => Err(FilesError::damaged(path, "it is missing")),
        Err(error) => Err(FilesError::of("read", path)(error)),
    }
}

/// Checks that the store holds the keys of the session's device. The caller holds the store lock.
pub(super) async fn check_keys(files: &Files, session: &StoredSession) -> Result<(), MatrixError> {
    let (_, keys) = keys_of(files, session).await?;
    drop(keys.close().await);
    Ok(())
}

/// Opens the crypto store, if it holds the keys of the session's device; returns it with its encryption key.
async fn keys_of(
    files: &Files,
    session: &StoredSession,
) -> Result<([u8; 32], KeyStore), MatrixError> {
    let key = find_keys(files)?;
    let keys = open_keys(files, &key).await?;
    let account = keys.load_account().await;
    let what = match account.map_err(|cause| unusable(files, cause))? {
        Some(account) if account.device_id() == session.device_id => return Ok((key, keys)),
        Some(account) => format!("it holds the keys of device {}", account.device_id()),
        None => "it holds no keys of the device".to_owned(),
    };
    Err(FilesError::damaged(files.sdk().join(KEYS), what).into())
}

/// Returns the private keys of the account's identity, if the session's store can be read and holds all of them. The caller
/// holds the store lock, and no client has the store open.
pub(super) async fn secrets_of(files: &Files, session: &StoredSession) -> Option<SecretsBundle> {
    let (_, keys) = keys_of(files, session).await.ok()?;
    let keys = Arc::new(keys);
    let (user, device) = (&session.user_id, &session.device_id);
    let machine = OlmMachine::with_store(user, device, Arc::clone(&keys), None).await;
    let secrets = match machine {
        Ok(machine) => machine.store().export_secrets_bundle().await.ok(),
        Err(_) => None,
    };
    drop(keys.close().await);
    secrets
}

/// Closes the store, so that the next user of the session can open it.
pub(super) async fn close(client: &Client) {
    let closed = tokio::time::timeout(CLOSE_LIMIT, client.pause()).await;
    if !matches!(closed, Ok(Ok(()))) {
        warn!("the Matrix store did not close at once");
    }
}

/// Writes each renewed token to the session file at once.
fn keep_tokens(client: &Client, files: Files) -> matrix_sdk::Result<()> {
    let save = move |client: Client| {
        match save_tokens(&client, &files) {
            Ok(true) => debug!("access token renewed"),
            Ok(false) => {}
            Err(error) => error!(
                error = &error as &dyn Error,
                "the renewed access token cannot be saved: after a restart a new login will be needed"
            ),
        }
        Ok(())
    };
    // Only this process renews tokens: `relay.lock` excludes others.
    client.set_session_callbacks(Box::new(|_| Err("nothing to load".into())), Box::new(save))
}

/// Saves the current tokens if they differ from those in the file. Returns whether they did.
fn save_tokens(client: &Client, files: &Files) -> Result<bool, MatrixError> {
    let (Some(tokens), Some(saved)) = (client.session_tokens(), files.load_session()?) else {
        return Ok(false);
    };
    // Another login may have replaced the session meanwhile.
    if client.device_id() != Some(&saved.device_id) || saved.tokens == tokens {
        return Ok(false);
    }
    files.save_session(&StoredSession { tokens, ..saved })?;
    Ok(true)
}

/// Returns the trust known to the local store; right after a login the first key query may still be pending.
pub(super) async fn device_trust(client: Client) -> DeviceTrust {
    match client.encryption().get_own_device().await {
        Ok(Some(device)) if device.is_cross_signed_by_owner() => DeviceTrust::Verified,
        Ok(Some(_)) => DeviceTrust::Unverified,
        Ok(None) | Err(_) => DeviceTrust::Unknown,
    }
}
