//! The common set-up of most figures: Alice, a relay with its radio, and a bare client, each pair in rooms of its own.

use std::time::Duration;

use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use crate::bare::BareHome;
use crate::figures::progress;
use crate::homeserver;
use crate::support::proxy::Proxy;
use crate::support::radio::{BASE, Radio, transmitted};
use crate::support::relay::{Home, Relay};
use crate::support::synapse::Synapse;
use crate::support::user::{Kind, User};

/// Time after which the radio accepts the next text at once: 2 s of the radio, and a little more of the relay.
pub(crate) const RADIO_REST: Duration = Duration::from_millis(2300);

/// Time after a message in which all that follows from it has ended, but for the sync of the disk ten seconds later.
pub(crate) const ALL_DONE: Duration = Duration::from_secs(3);

/// Time for the processing of a message to end, so that the next one finds an idle system.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// Two rooms of one kind: one with the relay and one with the bare client.
#[derive(Debug)]
pub(crate) struct Place {
    /// `plain` or `encrypted`, as in the figures' names.
    pub(crate) name: &'static str,
    /// Slot of the channel that the relay's room is tied to.
    pub(crate) channel: u8,
    /// Id of the room in which the relay posts.
    pub(crate) relay: OwnedRoomId,
    /// Id of the room in which the bare client posts.
    pub(crate) bare: OwnedRoomId,
    /// The content of one of the relay's messages.
    content: Value,
}

impl Place {
    /// Returns the relay's message for a text, to be sent by the bare client.
    pub(crate) fn content(&self, text: &str) -> Value {
        let mut content = self.content.clone();
        content["body"] = json!(format!("[{}/LongFast]: {text}", BASE.long));
        content["meshtastic_text"] = json!(text);
        content
    }

    /// Returns the input line that makes the simulated radio receive a text on this channel.
    pub(crate) fn heard(&self, text: &str) -> Value {
        json!({"from": BASE.id, "channel": self.channel, "text": text})
    }
}

/// The set-up, with the relay and the bare client stopped: both have joined their rooms and have sessions.
#[derive(Debug)]
pub(crate) struct Stage {
    /// A Matrix user in all the rooms.
    pub(crate) alice: User,
    /// User id of the relay's account.
    pub(crate) bot: OwnedUserId,
    /// The simulated radio.
    pub(crate) radio: Radio,
    /// Home of the relay, configured and logged in.
    pub(crate) home: Home,
    /// Home of the bare client, with its account.
    pub(crate) bare: BareHome,
    /// The plain rooms and the encrypted ones.
    pub(crate) places: [Place; 2],
    /// What stands between the relay and the homeserver, if anything does.
    _proxy: Option<Proxy>,
}

/// The wire between the relay and its radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A TCP port.
    Tcp,
    /// A pseudo-terminal behind a link in the relay's home.
    Serial,
}

impl Wire {
    /// Returns its name, as in the figures' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Serial => "serial",
        }
    }
}

impl Stage {
    /// Sets everything up, with the radio on the network.
    pub(crate) async fn set_up() -> Self {
        Self::set_up_over(Wire::Tcp).await
    }

    /// Sets everything up.
    pub(crate) async fn set_up_over(wire: Wire) -> Self {
        progress("setting up: homeserver, accounts, rooms, radio");
        let synapse = Synapse::shared().await;
        let home = Home::new();
        let (url, proxy) = homeserver::address(synapse).await;
        let radio = async {
            match wire {
                Wire::Tcp => Radio::start().await,
                Wire::Serial => Radio::start_at(&home.path("radio")).await,
            }
        };
        let (alice, bot, bare, mut radio) = tokio::join!(
            User::new(synapse, "Alice"),
            home.log_in_at(synapse, &url),
            BareHome::new(synapse),
            radio
        );
        let mut places = [
            place(&alice, "plain", 0, Kind::Plain, &bot, &bare).await,
            place(&alice, "encrypted", 1, Kind::Encrypted, &bot, &bare).await,
        ];
        home.configure(&configuration(&places, wire, &radio));

        let mut relay = start(&home).await;
        let mut limit = bare.start().await;
        for place in &mut places {
            alice.sees_join(&place.relay, &bot).await;
            alice.sees_join(&place.bare, &bare.user()).await;
            let text = format!("the first message in the {} room", place.name);
            radio.says(BASE, place.channel, &text).await;
            let seen = sees(&alice, &place.relay, &text).await;
            place.content = seen["content"].clone();
            limit.send(&place.bare, &place.content(&text)).await;
            sees(&alice, &place.bare, &text).await;

            let text = format!("the first answer from the {} room", place.name);
            alice.send(&place.bare, &text).await;
            limit.sees(0, &text).await;
            alice.send(&place.relay, &text).await;
            takes(&radio, 0, &text).await;
            tokio::time::sleep(RADIO_REST).await;
        }
        let status = relay.stop().await;
        assert!(status.success(), "the relay stops with {status}");
        limit.stop().await;
        Self {
            alice,
            bot,
            radio,
            home,
            bare,
            places,
            _proxy: proxy,
        }
    }
}

async fn place(
    alice: &User,
    name: &'static str,
    channel: u8,
    kind: Kind,
    bot: &OwnedUserId,
    bare: &BareHome,
) -> Place {
    Place {
        name,
        channel,
        relay: alice.create_room(kind, std::slice::from_ref(bot)).await,
        bare: alice.create_room(kind, &[bare.user()]).await,
        content: Value::Null,
    }
}

fn configuration(places: &[Place], wire: Wire, radio: &Radio) -> String {
    let connection = match wire {
        Wire::Tcp => format!(
            "connection_type: tcp\n  host: 127.0.0.1\n  port: {}",
            radio.port()
        ),
        Wire::Serial => format!("connection_type: serial\n  serial_port: {}", radio.place()),
    };
    let route = |place: &Place| {
        let Place { relay, channel, .. } = place;
        format!("  - {{id: '{relay}', meshtastic_channel: {channel}}}\n")
    };
    let routes: String = places.iter().map(route).collect();
    // Alice exceeds the default limit.
    format!(
        "matrix:\n  sender_limit: {{per_minute: 1000, per_hour: 10000}}\n\
         matrix_rooms:\n{routes}\
         meshtastic:\n  {connection}\n"
    )
}

/// Starts the relay, and waits until it is ready.
pub(crate) async fn start(home: &Home) -> Relay {
    let relay = home.spawn_with(&[]);
    relay.logs("relay is ready").await;
    relay
}

/// Waits until Alice sees a text, from any sender; returns the event.
pub(crate) async fn sees(alice: &User, room: &OwnedRoomId, text: &str) -> Value {
    let what = format!("a message that ends with {text:?}");
    let seen = alice.sees(room, &what, |seen| seen.body().ends_with(text));
    seen.await.event
}

/// Waits until the radio has accepted a text, reported at or after line `from`.
pub(crate) async fn takes(radio: &Radio, from: usize, text: &str) {
    let pick = |line: &str| {
        let packet = transmitted(line)?;
        packet["text"].as_str()?.ends_with(text).then_some(())
    };
    let what = format!("that it took {text:?}");
    radio.output.first(from, &what, pick).await;
}
