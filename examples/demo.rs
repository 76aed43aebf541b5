//! A conversation that crosses between a mesh and Matrix, on one machine, without a radio and without an account.
//!
//! `scripts/demo` sets up what it needs and runs it. It starts the same parts as the tests do, so they share code: a real
//! homeserver, a person in Matrix, the simulated radio, and the built relay with a login and a configuration of its own.
#![recursion_limit = "256"]
#![expect(
    clippy::disallowed_methods,
    reason = "a demo owns the tasks that it starts, and ends them"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling what happens is what a demo is for"
)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' parts end what fails, and then print their logs"
)]

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use support::radio::{BASE, SUMMIT, id_of};
use support::scene::{Plan, Scene};
use support::synapse::{PASSWORD, Synapse};
use support::user::Kind;

#[expect(dead_code, reason = "the demo needs a part of what the tests share")]
#[path = "../tests/it/support/mod.rs"]
mod support;

#[tokio::main]
async fn main() {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be waited for");
    tokio::select! {
        () = show() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    say("the end: relay, radio and homeserver stop, and their files go with them");
    // Not by returning: the runtime would wait for a line from the keyboard.
    std::process::exit(0);
}

async fn show() {
    say("starting a homeserver on loopback (Synapse; some seconds)");
    let synapse = Synapse::shared().await;
    println!("    it is at {}", synapse.url());

    say(
        "making accounts for Alice and the relay, logging the relay in, starting a simulated radio",
    );
    let plan = Plan::default().room(Kind::Plain).room(Kind::Encrypted);
    let stage = plan.route(0, 0, "both").route(1, 1, "both").set_up().await;
    println!(
        "    Alice is {}, her password is `{PASSWORD}`",
        stage.alice.id()
    );
    println!(
        "    the relay is {}, its home is {}",
        stage.bot,
        stage.home.path("").display()
    );
    println!("    the radio is at 127.0.0.1:{}", stage.radio.port());
    println!("    config.yaml:");
    let config = std::fs::read_to_string(stage.home.path("config.yaml"));
    for line in config.expect("the configuration was written").lines() {
        println!("        {line}");
    }

    say("starting the relay, and waiting until it is in both rooms");
    let mut scene = stage.raise_the_curtain().await;
    for (place, name) in [(0, "the plain room"), (1, "the encrypted room")] {
        converse(&mut scene, place, name).await;
    }

    say(
        "all of it stays up until Ctrl-C. A line that you type is said on the mesh; one that begins with > is",
    );
    println!("    written by Alice in the plain room, one with >> in the encrypted room.");
    println!(
        "    You can also log in as Alice with any Matrix client that takes a homeserver on loopback."
    );
    stay(&mut scene).await;
}

/// A text, a reply and a reaction in each direction.
async fn converse(scene: &mut Scene, place: usize, name: &str) {
    let (room, channel) = (
        scene.rooms[place].clone(),
        u8::try_from(place).unwrap_or_default(),
    );
    say(&format!(
        "a conversation between channel {channel} and {name}, {room}"
    ));

    let question = scene
        .radio
        .says(BASE, channel, "Base Camp here, can anybody hear us?")
        .await;
    said("mesh", BASE.long, "Base Camp here, can anybody hear us?");
    let seen = shown(scene, &room, "can anybody hear us?").await;

    scene.alice.reply(&room, &seen, "Loud and clear!").await;
    said("Matrix", "Alice, as a reply", "Loud and clear!");
    let answer = heard(scene, channel, "Alice[M]: Loud and clear!").await;
    println!(
        "      mesh   | {} (a reply to packet {question})",
        answer["text"]
    );

    scene
        .radio
        .replies(SUMMIT, channel, id_of(&answer), "We hear you both")
        .await;
    said(
        "mesh",
        "Summit Hut, as a reply to Alice",
        "We hear you both",
    );
    let seen = shown(scene, &room, "We hear you both").await;

    scene.radio.taps(BASE, channel, id_of(&answer), "👍").await;
    said("mesh", "Base Camp, as a tapback on Alice's text", "👍");
    let reaction = scene.alice.sees(&room, "the tapback", |seen| {
        seen.event["type"] == "m.reaction"
    });
    println!(
        "      Matrix | reaction {}",
        reaction.await.content("/m.relates_to/key")
    );

    scene.alice.react(&room, &seen, "🎉").await;
    said(
        "Matrix",
        "Alice, as a reaction on the Summit Hut's text (it waits 5 s, she may undo it)",
        "🎉",
    );
    let tapback = heard(scene, channel, "🎉").await;
    println!("      mesh   | tapback {}", tapback["text"]);
}

/// Waits until the radio is given a packet with that text for that channel, and returns it.
async fn heard(scene: &Scene, channel: u8, text: &str) -> Value {
    let is_it = |packet: &Value| packet["text"] == text && packet["channel"] == channel;
    scene.radio.transmits_where(text, is_it).await
}

/// Waits until Alice sees a text of the mesh, prints it, and returns its event.
async fn shown(scene: &Scene, room: &OwnedRoomId, text: &str) -> OwnedEventId {
    let seen = scene
        .alice
        .sees(room, text, |seen| seen.body().ends_with(text))
        .await;
    let how = if seen.encrypted { "encrypted" } else { "plain" };
    println!("      Matrix | {} ({how})", seen.body());
    seen.id
}

/// Carries what the person at the keyboard writes; prints what comes out on the other side.
async fn stay(scene: &mut Scene) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (room, text) = match (line.strip_prefix(">>"), line.strip_prefix('>')) {
            (Some(text), _) => (Some(scene.rooms[1].clone()), text.trim()),
            (None, Some(text)) => (Some(scene.rooms[0].clone()), text.trim()),
            (None, None) => (None, line.trim()),
        };
        match room {
            _ if text.is_empty() => {}
            Some(room) => {
                scene.alice.send(&room, text).await;
                let text = format!("Alice[M]: {text}");
                scene.radio.transmits(&text).await;
                println!("      mesh   | {text}");
            }
            None => {
                scene.radio.says(BASE, 0, text).await;
                shown(scene, &scene.room.clone(), text).await;
            }
        }
    }
    std::future::pending::<()>().await;
}

fn say(text: &str) {
    println!("==> {text}");
}

fn said(side: &str, who: &str, text: &str) {
    println!("  {side}: {who}: {text}");
}
