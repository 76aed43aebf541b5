//! A crash at each step of receiving a room key in the first message of an Olm session.

use std::collections::BTreeMap;
use std::fs;
use std::iter;
use std::path::Path;

use futures_util::poll;
use matrix_sdk::ruma::api::client::keys::{claim_keys, get_keys, upload_keys};
use matrix_sdk::ruma::api::client::sync::sync_events::DeviceLists;
use matrix_sdk::ruma::events::AnyToDeviceEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::to_device::DeviceIdOrAllDevices;
use matrix_sdk::ruma::{device_id, room_id, user_id};
use matrix_sdk_base::crypto::types::requests::AnyOutgoingRequest;
use matrix_sdk_base::crypto::{
    DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
};
use serde_json::json;

use super::*;

const FILES: [&str; 2] = ["matrix-sdk-crypto.sqlite3", "matrix-sdk-crypto.sqlite3-wal"];

async fn relay(store: &Path) -> OlmMachine {
    let store = SqliteCryptoStore::open(store, None).await.unwrap();
    let (user, device) = (user_id!("@relay:example.org"), device_id!("RELAY"));
    let machine = OlmMachine::with_store(user, device, KeyStore::new(store), None).await;
    machine.unwrap()
}

/// Returns the pending request of this kind, with its id.
macro_rules! request {
    ($machine:expr, $kind:ident) => {{
        let requests = $machine.outgoing_requests().await.unwrap();
        let found = requests.iter().find_map(|it| match it.request() {
            AnyOutgoingRequest::$kind(request) => {
                Some((it.request_id().to_owned(), request.clone()))
            }
            _ => None,
        });
        found.unwrap()
    }};
}

/// Lets Alice share a room key with the relay over a new Olm session; returns the message, and the key's session id.
async fn share(relay: &OlmMachine) -> (Raw<AnyToDeviceEvent>, String) {
    let alice = OlmMachine::new(user_id!("@alice:example.org"), device_id!("PHONE")).await;
    let (to, device) = (relay.user_id(), relay.device_id().to_owned());
    let (id, upload) = request!(relay, KeysUpload);
    let published = upload_keys::v3::Response::new(BTreeMap::new());
    relay.mark_request_as_sent(&id, &published).await.unwrap();

    alice.update_tracked_users(iter::once(to)).await.unwrap();
    let (id, _) = request!(alice, KeysQuery);
    let devices = [(device.clone(), upload.device_keys.unwrap())];
    let mut found = get_keys::v3::Response::new();
    found.device_keys.insert(to.to_owned(), devices.into());
    alice.mark_request_as_sent(&id, &found).await.unwrap();

    let missing = alice.get_missing_sessions(iter::once(to)).await.unwrap();
    let key = upload.one_time_keys.into_iter().next().unwrap();
    let keys = [(device.clone(), [key].into())];
    let claimed = claim_keys::v3::Response::new([(to.to_owned(), keys.into())].into());
    let (id, _) = missing.unwrap();
    alice.mark_request_as_sent(&id, &claimed).await.unwrap();

    let room = room_id!("!room:example.org");
    let settings = EncryptionSettings::default();
    let shared = alice.share_room_key(room, iter::once(to), settings).await;
    let shared = shared.unwrap().remove(0);
    let event = json!({
        "type": "m.room.encrypted",
        "sender": alice.user_id(),
        "content": shared.messages[to][&DeviceIdOrAllDevices::DeviceId(device)],
    });
    alice
        .mark_request_as_sent(
            &shared.txn_id,
            &matrix_sdk::ruma::api::client::to_device::send_event_to_device::v3::Response::new(),
        )
        .await
        .unwrap();
    let text = Raw::new(&json!({"msgtype": "m.text", "body": "hello"})).unwrap();
    let text = alice.encrypt_room_event_raw(room, "m.room.message", text.cast_ref_unchecked());
    let session = text.await.unwrap().content.get_field("session_id");
    (
        Raw::new(&event).unwrap().cast_unchecked(),
        session.unwrap().unwrap(),
    )
}

async fn receive(relay: &OlmMachine, event: &Raw<AnyToDeviceEvent>) {
    receive_answer(relay, vec![event.clone()], "s1").await;
}

async fn receive_answer(relay: &OlmMachine, events: Vec<Raw<AnyToDeviceEvent>>, position: &str) {
    let answer = EncryptionSyncChanges {
        to_device_events: events,
        changed_devices: &DeviceLists::new(),
        one_time_keys_counts: &BTreeMap::new(),
        unused_fallback_keys: None,
        next_batch_token: Some(position.to_owned()),
    };
    let settings = DecryptionSettings {
        sender_device_trust_requirement: TrustRequirement::Untrusted,
    };
    relay.receive_sync_changes(answer, &settings).await.unwrap();
}

#[tokio::test]
async fn a_room_key_is_kept_at_whatever_moment_the_power_fails_while_it_comes() {
    let store = tempfile::tempdir().unwrap();
    let first = relay(store.path()).await;
    let (event, session) = share(&first).await;

    // The disk's content at each step.
    let mut moments: Vec<[Vec<u8>; 2]> = Vec::new();
    let mut receiving = Box::pin(receive(&first, &event));
    loop {
        let done = poll!(&mut receiving).is_ready();
        let now = FILES.map(|name| fs::read(store.path().join(name)).unwrap());
        if moments.last() != Some(&now) {
            moments.push(now);
        }
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }

    assert!(moments.len() > 1, "nothing was written");
    for (number, files) in moments.iter().enumerate() {
        let store = tempfile::tempdir().unwrap();
        for (name, bytes) in FILES.iter().zip(files) {
            fs::write(store.path().join(name), bytes).unwrap();
        }
        let again = relay(store.path()).await;
        // The server was not told that the message arrived.
        receive(&again, &event).await;
        let room = room_id!("!room:example.org");
        let key = again
            .store()
            .get_inbound_group_session(room, &session)
            .await;
        assert!(
            key.unwrap().is_some(),
            "lost at moment {number} of {}",
            moments.len()
        );
    }
}

#[tokio::test]
async fn an_answer_that_brings_no_keys_writes_nothing() {
    let store = tempfile::tempdir().unwrap();
    let relay = relay(store.path()).await;
    let (event, _) = share(&relay).await;
    receive_answer(&relay, Vec::new(), "s1").await;
    let on_disk = || FILES.map(|name| fs::read(store.path().join(name)).unwrap());
    let before = on_disk();
    receive_answer(&relay, Vec::new(), "s2").await;
    assert!(on_disk() == before);
    receive_answer(&relay, vec![event], "s3").await;
    assert!(on_disk() != before);
    let before = on_disk();
    receive_answer(&relay, Vec::new(), "s4").await;
    assert!(on_disk() == before);
}
