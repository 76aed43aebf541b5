//! The SDK's crypto store with three changes: a new Olm session is written in the same transaction as the content of the
//! message that created it, and of what the SDK writes after each answer only
//! a changed account is. And the SDK's question whether another process has renewed the session's tokens has them renewed
//! (`renewal`).
//!
//! The SDK (0.18, `olm/account.rs`, `decrypt_olm_message`) writes such a session at once, but the room key in the
//! message only after the whole sync answer is processed. After a crash in between, the server sends the message again,
//! the known session cannot decrypt it a second time, and the room key is lost.
//!
//! After every sync answer the SDK writes the account, changed or not, and the position of the answer, which only sliding
//! sync reads. Each of the two is a transaction, and a sync of the disk, of its own.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use matrix_sdk::SqliteCryptoStore;
use matrix_sdk::cross_process_lock::CrossProcessLockGeneration;
use matrix_sdk::ruma::events::secret::request::SecretName;
use matrix_sdk::ruma::{DeviceId, OwnedDeviceId, RoomId, TransactionId, UserId};
use matrix_sdk_base::crypto::olm::{
    Curve25519PublicKey, InboundGroupSession, OlmMessageHash, OutboundGroupSession,
    PrivateCrossSigningIdentity, SenderDataType,
};
use matrix_sdk_base::crypto::store::CryptoStore;
use matrix_sdk_base::crypto::store::types::{
    BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts, RoomKeyWithheldEntry,
    RoomPendingKeyBundleDetails, RoomSettings, StoredRoomKeyBundleData, TrackedUser,
};
use matrix_sdk_base::crypto::{
    Account, CryptoStoreError, DeviceData, GossipRequest, SecretInfo, Session, UserIdentityData,
};
use zeroize::Zeroizing;

use super::renewal::{self, Renewal, RenewalError};
use relay_config::Secret;

type Result<T> = std::result::Result<T, KeysError>;

/// Why the store cannot be used, or does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    /// The SDK's store cannot be used.
    #[error(transparent)]
    Store(<SqliteCryptoStore as CryptoStore>::Error),
    /// The SDK has asked for the newest tokens, and they could not be renewed.
    #[error(transparent)]
    Renewal(#[from] RenewalError),
}

impl From<KeysError> for CryptoStoreError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(error) => error.into(),
            KeysError::Renewal(error) => error.into(),
        }
    }
}

/// The SDK's crypto store, except that a new Olm session is written with the content of the message that created it, and
/// that an unchanged account and the position of an answer are not written.
#[derive(Debug)]
pub(super) struct KeyStore {
    sdk: SqliteCryptoStore,
    /// New sessions that are not written yet: they are written with the next message's record, or when used.
    opened: Mutex<Vec<Session>>,
    /// Who renews the tokens of the session, if they have to be.
    renewal: Option<Arc<Renewal>>,
    /// The account as it stands on the disk, serialized; `None`: not known (at the start, or after a failed write).
    account: Mutex<Option<Secret<Zeroizing<Vec<u8>>>>>,
}

impl KeyStore {
    pub(super) fn new(sdk: SqliteCryptoStore) -> Self {
        Self {
            sdk,
            opened: Mutex::default(),
            renewal: None,
            account: Mutex::default(),
        }
    }

    /// Has the SDK's question for the newest tokens answered by this.
    pub(super) fn with_renewal(self, renewal: Option<Arc<Renewal>>) -> Self {
        Self { renewal, ..self }
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Session>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds back the new sessions, and returns the others.
    async fn keep_back(&self, sessions: Vec<Session>) -> Result<Vec<Session>> {
        let mut used = Vec::new();
        for session in sessions {
            let sender = session.sender_key().to_base64();
            let known = self.get_sessions(&sender).await?.unwrap_or_default();
            if known.contains(&session) {
                used.push(session);
            } else {
                self.opened().push(session);
            }
        }
        Ok(used)
    }

    async fn write(&self, mut changes: Changes, sessions: Vec<Session>) -> Result<()> {
        let written = sessions.clone();
        changes.sessions = sessions;
        changes.next_batch_token = None;
        if !changes.is_empty() {
            self.sdk
                .save_changes(changes)
                .await
                .map_err(KeysError::Store)?;
        }
        self.opened().retain(|it| !written.contains(it));
        Ok(())
    }

    /// Writes the account, unless it is as it was written last.
    async fn write_account(&self, account: Account) -> Result<()> {
        // An account that cannot be serialized here is left to the SDK, which then says why.
        let now = serde_json::to_vec(&account.pickle()).ok();
        let now = now.map(|bytes| Secret::new(Zeroizing::new(bytes)));
        if now.is_some() && *self.account() == now {
            return Ok(());
        }
        // Until the write has succeeded nobody knows what stands on the disk.
        *self.account() = None;
        let account = Some(account);
        self.sdk
            .save_pending_changes(PendingChanges { account })
            .await
            .map_err(KeysError::Store)?;
        *self.account() = now;
        Ok(())
    }

    fn account(&self) -> MutexGuard<'_, Option<Secret<Zeroizing<Vec<u8>>>>> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_opened(&self) -> Result<()> {
        let opened = self.opened().clone();
        self.write(Changes::default(), opened).await
    }
}

/// Implements the store: the listed functions pass through to the SDK's.
macro_rules! store {
    ($($name:ident($($argument:ident: $type:ty),*) -> $value:ty;)*) => {
        #[async_trait]
        impl CryptoStore for KeyStore {
            type Error = KeysError;

            async fn save_changes(&self, mut changes: Changes) -> Result<()> {
                let sessions = mem::take(&mut changes.sessions);
                if changes.message_hashes.is_empty() {
                    let used = self.keep_back(sessions).await?;
                    return self.write(changes, used).await;
                }
                let mut all = self.opened().clone();
                all.retain(|session| !sessions.contains(session));
                all.extend(sessions);
                self.write(changes, all).await
            }

            async fn save_pending_changes(&self, changes: PendingChanges) -> Result<()> {
                // The account is about to forget the one-time key of these sessions.
                self.write_opened().await?;
                match changes.account {
                    Some(account) => self.write_account(account).await,
                    None => Ok(()),
                }
            }

            async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
                let sessions = self.sdk.get_sessions(sender_key).await.map_err(KeysError::Store)?;
                let mut sessions = sessions.unwrap_or_default();
                let mut opened = self.opened().clone();
                opened.retain(|it| it.sender_key().to_base64() == sender_key && !sessions.contains(it));
                sessions.extend(opened);
                Ok(Some(sessions).filter(|sessions| !sessions.is_empty()))
            }

            async fn close(&self) -> Result<()> {
                self.write_opened().await?;
                self.sdk.close().await.map_err(KeysError::Store)
            }

            async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
                match &self.renewal {
                    Some(renewal) if key == renewal::QUESTION => Ok(renewal.newest().await?),
                    Some(_) | None => self.sdk.get_custom_value(key).await.map_err(KeysError::Store),
                }
            }

            async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<()> {
                // The answer to that question is not taken from the store.
                if key == renewal::QUESTION {
                    return Ok(());
                }
                self.sdk.set_custom_value(key, value).await.map_err(KeysError::Store)
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$value> {
                self.sdk.$name($($argument),*).await.map_err(KeysError::Store)
            })*
        }
    };
}

store! {
    load_account() -> Option<Account>;
    load_identity() -> Option<PrivateCrossSigningIdentity>;
    save_inbound_group_sessions(sessions: Vec<InboundGroupSession>, version: Option<&str>) -> ();
    get_inbound_group_session(room: &RoomId, session: &str) -> Option<InboundGroupSession>;
    get_withheld_info(room: &RoomId, session: &str) -> Option<RoomKeyWithheldEntry>;
    get_withheld_sessions_by_room_id(room: &RoomId) -> Vec<RoomKeyWithheldEntry>;
    get_inbound_group_sessions() -> Vec<InboundGroupSession>;
    inbound_group_session_counts(version: Option<&str>) -> RoomKeyCounts;
    get_inbound_group_sessions_by_room_id(room: &RoomId) -> Vec<InboundGroupSession>;
    get_inbound_group_sessions_for_device_batch(
        key: Curve25519PublicKey, kind: SenderDataType, after: Option<String>, limit: usize
    ) -> Vec<InboundGroupSession>;
    inbound_group_sessions_for_backup(version: &str, limit: usize) -> Vec<InboundGroupSession>;
    mark_inbound_group_sessions_as_backed_up(version: &str, sessions: &[(&RoomId, &str)]) -> ();
    reset_backup_state() -> ();
    load_backup_keys() -> BackupKeys;
    load_dehydrated_device_pickle_key() -> Option<DehydratedDeviceKey>;
    delete_dehydrated_device_pickle_key() -> ();
    get_outbound_group_session(room: &RoomId) -> Option<OutboundGroupSession>;
    load_tracked_users() -> Vec<TrackedUser>;
    save_tracked_users(users: &[(&UserId, bool)]) -> ();
    get_device(user: &UserId, device: &DeviceId) -> Option<DeviceData>;
    get_user_devices(user: &UserId) -> HashMap<OwnedDeviceId, DeviceData>;
    get_own_device() -> DeviceData;
    get_user_identity(user: &UserId) -> Option<UserIdentityData>;
    is_message_known(hash: &OlmMessageHash) -> bool;
    get_outgoing_secret_requests(request: &TransactionId) -> Option<GossipRequest>;
    get_secret_request_by_info(info: &SecretInfo) -> Option<GossipRequest>;
    get_unsent_secret_requests() -> Vec<GossipRequest>;
    delete_outgoing_secret_requests(request: &TransactionId) -> ();
    get_secrets_from_inbox(name: &SecretName) -> Vec<Zeroizing<String>>;
    delete_secrets_from_inbox(name: &SecretName) -> ();
    get_room_settings(room: &RoomId) -> Option<RoomSettings>;
    get_received_room_key_bundle_data(room: &RoomId, user: &UserId) -> Option<StoredRoomKeyBundleData>;
    get_pending_key_bundle_details_for_room(room: &RoomId) -> Option<RoomPendingKeyBundleDetails>;
    get_all_rooms_pending_key_bundles() -> Vec<RoomPendingKeyBundleDetails>;
    has_downloaded_all_room_keys(room: &RoomId) -> bool;
    remove_custom_value(key: &str) -> ();
    try_take_leased_lock(milliseconds: u32, key: &str, holder: &str) -> Option<CrossProcessLockGeneration>;
    next_batch_token() -> Option<String>;
    reopen() -> ();
    get_size() -> Option<usize>;
}

#[cfg(test)]
mod tests;
