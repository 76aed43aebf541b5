//! An identity that MMRelay has made: a master and a self-signing key, whose seeds it keeps in a file, and no user-signing
//! key. The SDK knows an identity of its own account only with all three, so the identity is given the third: it stays what
//! it is, and nobody else sees a change, as a user-signing key is shown to its owner alone.

use std::fs;
use std::path::Path;

use matrix_sdk::Client;
use matrix_sdk::encryption::vodozemac::Ed25519SecretKey;
use matrix_sdk::ruma::api::client::keys::{get_keys, upload_signing_keys};
use matrix_sdk::ruma::api::client::uiaa::{AuthData, UiaaInfo};
use matrix_sdk::ruma::canonical_json::to_canonical_value;
use matrix_sdk::ruma::encryption::CrossSigningKey;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::{OwnedUserId, UserId};
use matrix_sdk_base::crypto::types::{CrossSigningSecrets, SecretsBundle};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AuthError, Files};
use crate::errors::sentence;
use relay_config::read_text;

/// How MMRelay's file ends.
const ENDING: &str = "_cross_signing.json";
/// Maximum size of the file in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The seeds of an identity that MMRelay has made.
pub struct Seeds {
    user: OwnedUserId,
    master: Ed25519SecretKey,
    self_signing: Ed25519SecretKey,
}

/// MMRelay's file, as far as it matters here.
#[derive(Deserialize)]
struct Stored {
    user_id: OwnedUserId,
    master_seed: String,
    self_signing_seed: String,
}

impl Seeds {
    /// Reads MMRelay's file.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotSeeds`] if it is another file, or cannot be read.
    pub fn read(path: &Path) -> Result<Self, AuthError> {
        let text =
            read_text(path, LARGEST).map_err(|error| AuthError::NotSeeds(error.to_string()))?;
        let seeds = Self::parse(&text);
        // The parser's own words would quote the seeds.
        let what = || format!("`{}` holds no identity of MMRelay", path.display());
        seeds.ok_or_else(|| AuthError::NotSeeds(what()))
    }

    fn parse(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        Self::of(
            &stored.user_id,
            &stored.master_seed,
            &stored.self_signing_seed,
        )
    }

    /// Returns the identity of this user that these seeds make, in base64.
    pub(super) fn of(user: &UserId, master: &str, self_signing: &str) -> Option<Self> {
        let key = |seed: &str| Ed25519SecretKey::from_base64(seed).ok();
        Some(Self {
            user: user.to_owned(),
            master: key(master)?,
            self_signing: key(self_signing)?,
        })
    }

    /// Returns those of this account that MMRelay has left in a home that it shares with the relay; the account is a localpart
    /// or a whole id.
    pub fn left_in(files: &Files, user: &str) -> Option<Self> {
        let entries = fs::read_dir(files.store_of_mmrelay()).ok()?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_it = |path: &Path| path.to_str().is_some_and(|it| it.ends_with(ENDING));
        let mut found = paths
            .filter(|path| is_it(path))
            .filter_map(|path| Self::read(&path).ok());
        found.find(|it| it.user == user || it.user.localpart() == user)
    }

    /// Returns whether the account's identity is the one that these seeds make.
    pub(super) fn make(&self, published: &get_keys::v3::Response) -> bool {
        let is_of = |key: Option<&Raw<CrossSigningKey>>, seed: &Ed25519SecretKey| {
            let key = key.and_then(|key| key.deserialize().ok());
            let public = seed.public_key().to_base64();
            key.is_some_and(|key| key.keys.values().any(|it| *it == public))
        };
        is_of(published.master_keys.get(&self.user), &self.master)
            && is_of(
                published.self_signing_keys.get(&self.user),
                &self.self_signing,
            )
    }

    /// Returns the user-signing key that this seed makes, signed by the master key.
    fn sign(&self, user_signing: &Ed25519SecretKey) -> Option<Value> {
        let public = user_signing.public_key().to_base64();
        let mut key = json!({
            "user_id": self.user,
            "usage": ["user_signing"],
            "keys": {format!("ed25519:{public}"): public},
        });
        let signed = to_canonical_value(&key).ok()?.to_string();
        let signature = self.master.sign(signed.as_bytes()).to_base64();
        let master = format!("ed25519:{}", self.master.public_key().to_base64());
        key["signatures"] = json!({self.user.as_str(): {master: signature}});
        Some(key)
    }
}

/// Returns what the homeserver tells of the keys of the client's own account.
pub(super) async fn published(
    client: &Client,
    user: &UserId,
) -> Result<get_keys::v3::Response, matrix_sdk::Error> {
    let mut request = get_keys::v3::Request::new();
    request.device_keys.insert(user.to_owned(), Vec::new());
    Ok(client.send(request).await?)
}

/// Why an identity was not kept.
pub(super) enum NotKept {
    /// It is not the one of these seeds; the reason.
    Other(String),
    /// A request failed.
    Request(matrix_sdk::Error),
    /// Something else failed; what.
    Refused(String),
}

impl From<matrix_sdk::Error> for NotKept {
    fn from(error: matrix_sdk::Error) -> Self {
        Self::Request(error)
    }
}

/// Signs the device, whose keys have been uploaded, with the identity of this user that the seeds make. `proof`: the
/// authentication that the server may require.
pub(super) async fn keep(
    client: &Client,
    user: &UserId,
    seeds: &Seeds,
    proof: impl Fn(&UiaaInfo) -> Option<AuthData>,
) -> Result<(), NotKept> {
    let encryption = client.encryption();
    if seeds.user != user {
        let what = format!(
            "MMRelay's file holds the identity of {}, and the account is {user}",
            seeds.user
        );
        return Err(NotKept::Other(what));
    }
    if !seeds.make(&published(client, user).await?) {
        let what = "the account has another identity than the one in MMRelay's file: it was replaced since";
        return Err(NotKept::Other(what.to_owned()));
    }
    if encryption.secret_storage().is_enabled().await? {
        let what = "the identity of MMRelay's file was completed since, and has a recovery key: give that one";
        return Err(NotKept::Other(what.to_owned()));
    }
    // One that an earlier try has uploaded is replaced: nothing is signed with it.
    let user_signing = Ed25519SecretKey::new();
    let signed = seeds.sign(&user_signing);
    let signed = signed.and_then(|key| serde_json::value::to_raw_value(&key).ok());
    let signed = signed.ok_or_else(|| NotKept::Refused("the key cannot be written".to_owned()))?;
    upload(client, proof, Raw::from_json(signed)).await?;
    let bundle = SecretsBundle {
        cross_signing: CrossSigningSecrets {
            master_key: seeds.master.to_base64(),
            user_signing_key: user_signing.to_base64(),
            self_signing_key: seeds.self_signing.to_base64(),
        },
        backup: None,
    };
    import(client, &bundle).await
}

/// Takes in an identity, and signs the device with it.
pub(super) async fn import(client: &Client, bundle: &SecretsBundle) -> Result<(), NotKept> {
    let encryption = client.encryption();
    let imported = encryption.import_secrets_bundle(bundle).await;
    imported.map_err(|error| NotKept::Refused(sentence(&error)))?;
    let device = encryption.get_own_device().await;
    let device = device.map_err(|error| NotKept::Refused(sentence(&error)))?;
    let device = device.ok_or_else(|| NotKept::Refused("the device has no keys".to_owned()))?;
    let verified = device.verify().await;
    verified.map_err(|error| NotKept::Refused(sentence(&error)))
}

async fn upload(
    client: &Client,
    proof: impl Fn(&UiaaInfo) -> Option<AuthData>,
    user_signing_key: Raw<CrossSigningKey>,
) -> Result<(), matrix_sdk::Error> {
    let mut request = upload_signing_keys::v3::Request::new();
    request.user_signing_key = Some(user_signing_key);
    let Err(error) = client.send(request.clone()).await else {
        return Ok(());
    };
    let error = matrix_sdk::Error::from(error);
    let wanted = error.as_uiaa_response();
    let Some(proof) = wanted.and_then(proof) else {
        return Err(error);
    };
    request.auth = Some(proof);
    client.send(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use matrix_sdk::encryption::vodozemac::Ed25519Signature;

    use super::*;

    /// As MMRelay writes it.
    const FILE: &str = r#"{"user_id": "@bot:example.org", "master_seed": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", "self_signing_seed": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI", "uploaded": true, "signed_devices": ["OLD"]}"#;

    fn published(seeds: &Seeds) -> get_keys::v3::Response {
        let key = |usage: &str, seed: &Ed25519SecretKey| {
            let public = seed.public_key().to_base64();
            let key = json!({
                "user_id": seeds.user, "usage": [usage], "keys": {format!("ed25519:{public}"): public},
            });
            Raw::from_json(serde_json::value::to_raw_value(&key).unwrap())
        };
        let mut published = get_keys::v3::Response::new();
        let user = seeds.user.clone();
        let self_signing = key("self_signing", &seeds.self_signing);
        published
            .master_keys
            .insert(user.clone(), key("master", &seeds.master));
        published.self_signing_keys.insert(user, self_signing);
        published
    }

    #[test]
    fn the_seeds_are_those_of_the_accounts_identity_or_are_not_used() {
        let seeds = Seeds::parse(FILE).unwrap();
        assert!(seeds.make(&published(&seeds)));
        assert!(!seeds.make(&get_keys::v3::Response::new()));
        for seed in ["AQEB", "AgIC"] {
            let other = Seeds::parse(&FILE.replace(seed, "AwMD")).unwrap();
            assert!(!other.make(&published(&seeds)), "{seed}");
        }
    }

    #[test]
    fn the_key_that_completes_the_identity_is_signed_by_its_master_key() {
        let seeds = Seeds::parse(FILE).unwrap();
        let mut key = seeds.sign(&Ed25519SecretKey::new()).unwrap();
        let signatures = key.as_object_mut().unwrap().remove("signatures").unwrap();
        let master = seeds.master.public_key();
        let signature = &signatures["@bot:example.org"][format!("ed25519:{}", master.to_base64())];
        let signature = Ed25519Signature::from_base64(signature.as_str().unwrap()).unwrap();
        let signed = to_canonical_value(&key).unwrap().to_string();
        master.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn another_file_is_told_without_a_word_of_what_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        for text in [
            &FILE.replace("AQEB", "!!!!"),
            "{\"master_seed\": \"AQEB",
            "AQEB",
        ] {
            fs::write(&path, text).unwrap();
            let error = Seeds::read(&path).err().unwrap();
            let told = relay_model::full_text(&error);
            assert!(!told.contains("AQEB"), "{told}");
            assert!(told.contains("_cross_signing.json"), "{told}");
        }
    }

    #[test]
    fn what_mmrelay_has_left_in_a_home_of_both_is_found_for_its_account() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        assert!(Seeds::left_in(&files, "bot").is_none());
        fs::create_dir(home.path().join("store")).unwrap();
        let path = home
            .path()
            .join("store/@bot:example.org_cross_signing.json");
        fs::write(path, FILE).unwrap();
        assert!(Seeds::left_in(&files, "bot").is_some());
        assert!(Seeds::left_in(&files, "@bot:example.org").is_some());
        assert!(Seeds::left_in(&files, "@bot:elsewhere.org").is_none());
    }
}
