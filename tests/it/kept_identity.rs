//! An account that MMRelay has cross-signed keeps its identity: nobody has to verify the bot again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use matrix_sdk::Client;
use matrix_sdk::encryption::identities::UserIdentity;
use matrix_sdk::encryption::vodozemac::Ed25519SecretKey;
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::UserId;
use matrix_sdk::ruma::canonical_json::to_canonical_value;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::relay::{Home, text_of};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::User;
use crate::support::within;

fn signing_key(bot: &UserId, usage: &str, key: &Ed25519SecretKey) -> Value {
    let public = key.public_key().to_base64();
    json!({"user_id": bot, "usage": [usage], "keys": {format!("ed25519:{public}"): public}})
}

/// Returns a key that the master key has signed.
fn signed_key(
    bot: &UserId,
    usage: &str,
    key: &Ed25519SecretKey,
    master: &Ed25519SecretKey,
) -> Value {
    let mut signed = signing_key(bot, usage, key);
    let text = to_canonical_value(&signed).expect("it has a canonical form");
    let signature = master.sign(text.to_string().as_bytes()).to_base64();
    let by = format!("ed25519:{}", master.public_key().to_base64());
    signed["signatures"] = json!({bot.as_str(): {by: signature}});
    signed
}

async fn upload(bot: &User, mut keys: Value) {
    let path = ["keys", "device_signing", "upload"];
    let mut answer = bot.request(Method::POST, &path, &keys).await;
    if answer.get("session").is_some() {
        keys["auth"] = json!({
            "type": "m.login.password", "password": PASSWORD, "session": answer["session"],
            "identifier": {"type": "m.id.user", "user": bot.id()},
        });
        answer = bot.request(Method::POST, &path, &keys).await;
    }
    assert_eq!(answer, json!({}), "the keys are not taken");
}

/// Cross-signs the account as MMRelay does, with a master and a self-signing key, and returns the file in which it keeps their
/// seeds.
pub(crate) async fn cross_signed_by_mmrelay(bot: &User) -> Value {
    let (master, self_signing) = (Ed25519SecretKey::new(), Ed25519SecretKey::new());
    let keys = json!({
        "master_key": signing_key(bot.id(), "master", &master),
        "self_signing_key": signed_key(bot.id(), "self_signing", &self_signing, &master),
    });
    upload(bot, keys).await;
    json!({
        "user_id": bot.id(), "master_seed": master.to_base64(),
        "self_signing_seed": self_signing.to_base64(), "uploaded": true, "signed_devices": ["OLD"],
    })
}

/// Verifies a user, and returns the identity that counts as verified from then on.
pub(crate) async fn verified(client: &Client, user: &UserId) -> UserIdentity {
    let asked = async || {
        let identity = client.encryption().request_user_identity(user).await;
        identity
            .expect("the homeserver answers")
            .expect("there is one")
    };
    asked().await.verify().await.expect("it can be signed");
    let identity = asked().await;
    assert!(identity.is_verified());
    identity
}

/// Waits until another client sees the relay's device as signed by that identity, which is the one that it has verified.
pub(crate) async fn sees_device_of(client: &Client, home: &Home, verified: &UserIdentity) {
    let (user, encryption) = (verified.user_id(), client.encryption());
    let device = home.session()["device_id"].clone();
    let device = device.as_str().expect("a device").into();
    let signed = async {
        loop {
            let identity = encryption.request_user_identity(user).await;
            let identity = identity.expect("the homeserver answers");
            let identity = identity.expect("there is one");
            assert!(identity.is_verified(), "the identity was replaced");
            assert_eq!(
                identity.master_key().get_first_key(),
                verified.master_key().get_first_key()
            );
            let seen = encryption.get_device(user, device).await;
            let seen = seen.expect("the store can be read");
            if seen.is_some_and(|seen| seen.is_verified() && seen.is_cross_signed_by_owner()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("a device that its owner has signed", signed).await;
}

fn written(home: &Home, name: &str, text: &str) -> String {
    let path = home.path(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
    fs::write(&path, text).expect("it can be written");
    path.display().to_string()
}

#[tokio::test]
async fn an_identity_that_mmrelay_has_made_is_replaced_on_request_alone_and_each_command_tells_how_to_keep_it()
 {
    let synapse = Synapse::shared().await;
    let (alice, bot) = tokio::join!(
        User::new(synapse, "Alice"),
        User::without_identity(synapse, "Relaybot")
    );
    let seeds = cross_signed_by_mmrelay(&bot).await;
    let identity = verified(alice.client(), bot.id()).await;
    let home = Home::new();
    let name = bot.id().localpart();
    let login = text_of(&home.log_in_as(synapse.url(), name, PASSWORD).await);
    assert!(login.contains("keeps that identity"), "{login}");
    assert!(!login.contains("verified by its owner"), "{login}");
    let told = async |arguments: &[&str]| text_of(&home.run(arguments).await);
    let key = written(&home, "some.key", "EsTx 1234");
    for command in [
        vec!["auth", "status"],
        vec!["doctor", "matrix"],
        vec!["auth", "recover", "--recovery-key-file", &key],
    ] {
        let text = told(&command).await;
        let cure = "`relay auth login --force --cross-signing-file FILE";
        assert!(text.contains(cure), "{command:?}: {text}");
        assert!(
            text.contains("has to verify it again"),
            "{command:?}: {text}"
        );
    }

    // The seeds of another identity, and of another account.
    let device = home.session()["device_id"].clone();
    let (mut other, mut foreign) = (seeds.clone(), seeds.clone());
    other["master_seed"] = json!(Ed25519SecretKey::new().to_base64());
    foreign["user_id"] = json!("@somebody:localhost");
    for (wrong, words) in [
        (other, "it was replaced since"),
        (foreign, "the identity of @somebody:localhost"),
    ] {
        let file = written(&home, "wrong.json", &wrong.to_string());
        let further = ["--cross-signing-file", &file];
        let output = home.log_in_forced(synapse.url(), name, &further).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(home.session()["device_id"], device);
    }

    // In a home that both use, a login without a terminal finds the file itself.
    let shared = Home::new();
    shared.configure(&format!(
        "matrix: {{homeserver: \"{}\", bot_user_id: \"{}\", password: \"{PASSWORD}\"}}\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: 9}}\n\
         matrix_rooms: [{{id: \"#nowhere:localhost\", meshtastic_channel: 0}}]\n",
        synapse.url(),
        bot.id()
    ));
    let path = format!("matrix/store/{}_cross_signing.json", bot.id());
    written(&shared, &path, &seeds.to_string());
    let relay = shared.start().await;
    relay.logs("verified by its owner").await;
    sees_device_of(alice.client(), &shared, &identity).await;
    assert!(Path::new(&shared.path("matrix/recovery.key")).exists());
}

#[tokio::test]
async fn a_login_that_stopped_while_it_completed_the_identity_is_repeated() {
    let synapse = Synapse::shared().await;
    let bot = User::without_identity(synapse, "Relaybot").await;
    let seeds = cross_signed_by_mmrelay(&bot).await;
    let master = seeds["master_seed"].as_str().expect("a text");
    let master = Ed25519SecretKey::from_base64(master).expect("a seed");
    let lost = signed_key(bot.id(), "user_signing", &Ed25519SecretKey::new(), &master);
    upload(&bot, json!({"user_signing_key": lost})).await;

    let home = Home::new();
    let name = bot.id().localpart();
    let file = written(&home, "seeds.json", &seeds.to_string());
    let log_in = async |further: &[&str]| {
        let output = home.log_in_forced(synapse.url(), name, further).await;
        (output.status.success(), text_of(&output))
    };
    let file = ["--cross-signing-file", &file];
    let (succeeded, text) = log_in(&file).await;
    assert!(succeeded, "{text}");
    for words in ["verified by its owner", "key backup is on"] {
        assert!(text.contains(words), "{text}");
    }
    // From then on it has a recovery key.
    let (succeeded, text) = log_in(&file).await;
    assert!(!succeeded && text.contains("has a recovery key"), "{text}");
    let key = home.path("matrix/recovery.key").display().to_string();
    let (succeeded, text) = log_in(&["--recovery-key-file", &key]).await;
    assert!(
        succeeded && text.contains("verified by its owner"),
        "{text}"
    );
}

#[tokio::test]
async fn an_identity_that_mmrelay_has_made_can_be_replaced() {
    let synapse = Synapse::shared().await;
    let bot = User::without_identity(synapse, "Relaybot").await;
    cross_signed_by_mmrelay(&bot).await;
    let home = Home::new();
    let name = bot.id().localpart();
    let output = home
        .log_in_forced(synapse.url(), name, &["--reset-cross-signing"])
        .await;
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    for words in ["verified by its owner", "key backup is on"] {
        assert!(text.contains(words), "{text}");
    }
}
