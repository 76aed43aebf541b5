//! Verification by emoji: a running relay accepts it, a person at a terminal asks for it or is asked.

use std::fs;
use std::time::Duration;

use futures_util::StreamExt as _;
use matrix_sdk::Client;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::encryption::verification::{
    SasState, SasVerification, VerificationRequest, VerificationRequestState,
};
use matrix_sdk::ruma::UserId;
use matrix_sdk::ruma::events::key::verification::VerificationMethod;
use matrix_sdk::ruma::events::room::message::{MessageType, OriginalSyncRoomMessageEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::guide::commands;
use crate::support::person::Person;
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, User};
use crate::support::within;

/// Asks a user from this client.
async fn asked(client: &Client, user: &UserId) -> VerificationRequest {
    let identity = client.encryption().request_user_identity(user).await;
    let identity = identity.expect("the homeserver answers");
    let identity = identity.expect("the user has an identity");
    let methods = vec![VerificationMethod::SasV1];
    let request = identity.request_verification_with_methods(methods).await;
    request.expect("it can be asked")
}

/// Carries a verification on, up to the emoji, which it returns as the relay shows them.
async fn emoji(request: &VerificationRequest) -> (SasVerification, String) {
    let shown = async {
        let sas = loop {
            match request.state() {
                VerificationRequestState::Ready { .. } if request.we_started() => {
                    let begun = request.start_sas().await.expect("it can begin");
                    break begun.expect("it begins");
                }
                VerificationRequestState::Transitioned { verification, .. } => {
                    break verification.sas().expect("it is by emoji");
                }
                VerificationRequestState::Cancelled(info) => panic!("{}", info.reason()),
                _ => sleep(Duration::from_millis(50)).await,
            }
        };
        let mut changes = sas.changes();
        if !sas.we_started() {
            sas.accept().await.expect("it can be accepted");
        }
        while sas.emoji().is_none() {
            changes.next().await.expect("it goes on");
        }
        let emoji = sas.emoji().expect("they are there");
        let told = emoji.map(|it| format!("{} {}", it.symbol, it.description));
        (sas, told.join(", "))
    };
    within("the emoji", shown).await
}

async fn confirmed(sas: &SasVerification) {
    let mut changes = sas.changes();
    sas.confirm().await.expect("it can be confirmed");
    let done = async {
        while !sas.is_done() {
            if let Some(SasState::Cancelled(info)) = changes.next().await {
                panic!("{}", info.reason());
            }
        }
    };
    within("the end of the verification", done).await;
}

/// The person at the terminal compares the emoji with those of this client, and finds them the same.
async fn compared_by(person: &mut Person, request: &VerificationRequest) {
    let (sas, emoji) = emoji(request).await;
    person.sees("Does it? [y/N]").await;
    assert!(
        person.screen().contains(&emoji),
        "{emoji}: {}",
        person.screen()
    );
    person.types("y");
    confirmed(&sas).await;
    person.sees("verified: ").await;
    assert!(person.ends().await.success());
}

/// The person at the terminal does not want this verification.
async fn refused_by(person: &Person, request: &VerificationRequest) {
    person.types("n");
    let refused = async {
        while !request.is_cancelled() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    within("the refusal", refused).await;
}

/// Waits until a user's client counts another user as verified.
async fn has_verified(client: &Client, user: &UserId) {
    let verified = async {
        loop {
            let identity = client.encryption().request_user_identity(user).await;
            let identity = identity.expect("the homeserver answers");
            if identity.expect("there is one").is_verified() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("a verified user", verified).await;
}

#[tokio::test]
async fn a_listed_user_verifies_the_running_relay_by_the_emoji_of_its_log_and_nobody_else_does() {
    let stage = Plan::one_room(Kind::Encrypted)
        .matrix("verify_with: []")
        .set_up()
        .await;
    let alice = format!("verify_with: [\"{}\"]", stage.alice.id());
    stage.home.reconfigure("verify_with: []", &alice);
    let mut scene = stage.raise_the_curtain().await;

    let request = asked(scene.alice.client(), &scene.bot).await;
    let (sas, emoji) = emoji(&request).await;
    let line = scene.relay.logs("must show the same emoji").await;
    assert!(line.contains(&emoji), "{emoji}: {line}");
    confirmed(&sas).await;
    scene.relay.logs("the other side has confirmed").await;
    has_verified(scene.alice.client(), &scene.bot).await;
    scene.carries("after it").await;

    // With other emoji on the other side nobody is verified.
    let request = asked(scene.alice.client(), &scene.bot).await;
    let (sas, _) = self::emoji(&request).await;
    sas.mismatch().await.expect("it can be told");
    scene.relay.logs("shows other emoji").await;

    // Who is not listed gets no answer.
    scene.home.reconfigure(&alice, "verify_with: []");
    scene.relay.stop().await;
    scene.relay = scene.home.start().await;
    scene.relay.logs("messages can cross").await;
    let request = asked(scene.alice.client(), &scene.bot).await;
    scene.carries("and still").await;
    assert!(!request.is_ready());
}

#[tokio::test]
async fn a_person_at_the_terminal_verifies_another_user() {
    let stage = Plan::one_room(Kind::Encrypted).set_up().await;
    let client = stage.alice.client();
    let (sender, mut requests) = mpsc::unbounded_channel();
    client.add_event_handler(move |event: OriginalSyncRoomMessageEvent| {
        if let MessageType::VerificationRequest(_) = event.content.msgtype {
            drop(sender.send(event.event_id));
        }
        async {}
    });
    let guide = commands("docs/guide/encrypted-rooms.md", "verify.rs");
    let command = guide[0].replace("@alice:example.org", stage.alice.id().as_str());
    let mut person = stage.home.at_terminal(command.split(' ').skip(1));
    let arrived = async {
        loop {
            for room in client.invited_rooms() {
                room.join().await.expect("an invite can be accepted");
            }
            if let Ok(request) = requests.try_recv() {
                return request;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let flow = within("the request", arrived).await;
    let encryption = client.encryption();
    let request = encryption
        .get_verification_request(&stage.bot, flow.as_str())
        .await;
    let request = request.expect("the request is known");
    let methods = vec![VerificationMethod::SasV1];
    request
        .accept_with_methods(methods)
        .await
        .expect("it can be accepted");
    compared_by(&mut person, &request).await;
    has_verified(client, &stage.bot).await;
}

/// Another client of the bot's account, with its identity.
async fn another_device(home: &Home, bot: &UserId) -> (Client, JoinSet<()>) {
    let server = Synapse::shared().await.url();
    let client = Client::builder().homeserver_url(server).build().await;
    let client = client.expect("a client can be made");
    let login = client.matrix_auth().login_username(bot, PASSWORD);
    login.send().await.expect("the password is right");
    let settings = || SyncSettings::new().timeout(Duration::from_secs(5));
    client.sync_once(settings()).await.expect("it answers");
    let key = fs::read_to_string(home.path("matrix/recovery.key")).expect("it was written");
    let recovered = client.encryption().recovery().recover(key.trim()).await;
    recovered.expect("the key fits");
    let mut syncing = JoinSet::new();
    let syncs = client.clone();
    syncing.spawn(async move { while syncs.sync_once(settings()).await.is_ok() {} });
    (client, syncing)
}

#[tokio::test]
async fn another_device_of_the_account_makes_the_relays_device_a_verified_one() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let bot = home.log_in(synapse).await;
    let (client, _syncing) = another_device(&home, &bot).await;
    let unsigned = home
        .log_in_forced(synapse.url(), bot.localpart(), &[])
        .await;
    assert!(text_of(&unsigned).contains("the device is not verified"));

    let mut person = home.at_terminal(["auth", "verify"]);
    person.sees("Waiting to be asked").await;
    let device = client.device_id().expect("it is logged in");
    let question = format!("{bot} (device {device}) asks for verification. Accept it? [y/N]");
    let request = asked(&client, &bot).await;
    person.sees(&question).await;
    refused_by(&person, &request).await;
    let request = asked(&client, &bot).await;
    person.sees(&question).await;
    person.types("y");
    compared_by(&mut person, &request).await;
    let status = text_of(&home.run(["auth", "status"]).await);
    assert!(status.contains("yes, by its owner"), "{status}");
}

#[tokio::test]
async fn what_is_said_while_a_tool_without_the_relay_reads_along_is_relayed_once_by_the_next_start()
{
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.carries("before it").await;
    let before = scene.radio.texts().len();
    assert!(scene.relay.stop().await.success());

    let (client, _syncing) = another_device(&scene.home, &scene.bot).await;
    let mut person = scene.home.at_terminal(["auth", "verify"]);
    person.sees("Waiting to be asked").await;
    // Bob's key goes to the tool, and the homeserver forgets it there.
    let bob = User::new(Synapse::shared().await, "Bob").await;
    bob.joins(&scene.room, &scene.alice).await;
    let rounds = ["first", "second"];
    for said in rounds {
        bob.send(&scene.room, said).await;
        scene.alice.send(&scene.room, said).await;
        // What the tool is asked for later, it has after this.
        let request = asked(&client, &scene.bot).await;
        person.sees("asks for verification. Accept it? [y/N]").await;
        refused_by(&person, &request).await;
    }
    person.presses("\u{3}");
    person.ends().await;

    scene.relay = scene.home.start().await;
    scene.alice.send(&scene.room, "at last").await;
    scene.radio.transmits("Alice[M]: at last").await;
    let mut expected = Vec::new();
    for said in rounds {
        expected.extend(["Bob", "Alice"].map(|name| format!("{name}[M]: {said}")));
    }
    expected.push("Alice[M]: at last".to_owned());
    assert_eq!(scene.radio.texts()[before..], expected);
}

#[tokio::test]
async fn emoji_are_compared_at_a_terminal_alone() {
    let home = Home::new();
    home.log_in(Synapse::shared().await).await;
    let output = home.run(["auth", "verify"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("matrix.verify_with"), "{text}");
}
