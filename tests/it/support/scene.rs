//! The set-up of most tests: Alice, a relay, a radio, and rooms mapped to the radio's channels.

use std::fmt::Display;

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use super::proxy::Proxy;
use super::radio::{BASE, Radio};
use super::relay::{Home, Relay};
use super::synapse::Synapse;
use super::user::{Kind, Seen, User};

/// What a scene is made of: rooms, routes, keys of the configuration, and the link to the radio.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    rooms: Vec<Kind>,
    routes: Vec<(usize, String, &'static str)>,
    matrix: Vec<&'static str>,
    meshtastic: Vec<&'static str>,
    through_proxy: bool,
    link: Option<Link>,
    over_serial: bool,
}

/// A link to the radio other than TCP: the radio, the relay's keys for it, and its environment.
#[derive(Debug)]
struct Link {
    radio: Radio,
    keys: Vec<String>,
    environment: Option<(&'static str, String)>,
}

impl Plan {
    /// A scene with one room on the primary channel.
    pub(crate) fn one_room(kind: Kind) -> Self {
        Self::default().room(kind).route(0, 0, "both")
    }

    /// Adds a room.
    pub(crate) fn room(mut self, kind: Kind) -> Self {
        self.rooms.push(kind);
        self
    }

    /// Maps a room, by its place in the plan, to a channel, by number or name.
    pub(crate) fn route(
        mut self,
        room: usize,
        channel: impl Display,
        direction: &'static str,
    ) -> Self {
        self.routes.push((room, channel.to_string(), direction));
        self
    }

    /// Adds a key to the configuration's section `matrix`.
    pub(crate) fn matrix(mut self, key: &'static str) -> Self {
        self.matrix.push(key);
        self
    }

    /// Adds a key to the configuration's section `meshtastic`.
    pub(crate) fn meshtastic(mut self, key: &'static str) -> Self {
        self.meshtastic.push(key);
        self
    }

    /// Puts a proxy between the relay and the homeserver.
    pub(crate) fn through_proxy(mut self) -> Self {
        self.through_proxy = true;
        self
    }

    /// Uses this radio instead of one on TCP, with these keys for its connection.
    pub(crate) fn radio(
        mut self,
        radio: Radio,
        keys: impl IntoIterator<Item = String>,
        environment: Option<(&'static str, String)>,
    ) -> Self {
        let keys = keys.into_iter().collect();
        self.link = Some(Link {
            radio,
            keys,
            environment,
        });
        self
    }

    /// Puts the radio on a serial port, with the symbolic link `radio` in the relay's home.
    pub(crate) fn over_serial(mut self) -> Self {
        self.over_serial = true;
        self
    }

    /// Builds the scene, and starts the relay.
    pub(crate) async fn start(self) -> Scene {
        let stage = self.set_up().await;
        stage.raise_the_curtain().await
    }

    /// Builds the scene without starting the relay.
    pub(crate) async fn set_up(self) -> Stage {
        self.set_up_on(Synapse::shared().await).await
    }

    /// Builds the scene on that homeserver, without starting the relay.
    pub(crate) async fn set_up_on(mut self, synapse: &'static Synapse) -> Stage {
        let mut home = Home::new();
        let link = self.link.take();
        let proxy = if self.through_proxy {
            Some(Proxy::before(synapse.url()).await)
        } else {
            None
        };
        let url = proxy.as_ref().map_or(synapse.url(), Proxy::url);
        let radio = async {
            match link {
                Some(link) => (link.radio, link.keys, link.environment),
                None if self.over_serial => over_serial(Radio::start_at(&home.path("radio")).await),
                None => over_tcp(Radio::start().await),
            }
        };
        let (alice, bot, (radio, keys, environment)) = tokio::join!(
            User::new(synapse, "Alice"),
            home.log_in_at(synapse, url),
            radio
        );
        if let Some(variable) = environment {
            home.set_environment(variable);
        }
        let mut rooms = Vec::new();
        for kind in &self.rooms {
            rooms.push(alice.create_room(*kind, std::slice::from_ref(&bot)).await);
        }
        home.configure(&self.configuration(&rooms, keys));
        Stage {
            alice,
            bot,
            radio,
            rooms,
            home,
            proxy,
        }
    }

    fn configuration(&self, rooms: &[OwnedRoomId], connection: Vec<String>) -> String {
        let routes = self.routes.iter().map(|(room, channel, direction)| {
            let route = format!("meshtastic_channel: {channel}, direction: {direction}");
            format!("- {{id: '{}', {route}}}", rooms[*room])
        });
        let mut meshtastic = connection;
        meshtastic.push("message_delay: 2.02".to_owned());
        meshtastic.extend(self.meshtastic.iter().map(|key| (*key).to_owned()));
        [
            section("matrix", self.matrix.iter().map(|key| (*key).to_owned())),
            section("matrix_rooms", routes),
            section("meshtastic", meshtastic),
        ]
        .concat()
    }
}

fn over_tcp(radio: Radio) -> (Radio, Vec<String>, Option<(&'static str, String)>) {
    let keys = vec![
        "connection_type: tcp".to_owned(),
        "host: 127.0.0.1".to_owned(),
        format!("port: {}", radio.port()),
    ];
    (radio, keys, None)
}

fn over_serial(radio: Radio) -> (Radio, Vec<String>, Option<(&'static str, String)>) {
    let keys = vec![
        "connection_type: serial".to_owned(),
        format!("serial_port: {}", radio.place()),
    ];
    (radio, keys, None)
}

fn section(name: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| format!("  {line}\n"))
        .collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("{name}:\n{}", lines.concat())
    }
}

/// A scene whose relay is not running.
#[derive(Debug)]
pub(crate) struct Stage {
    /// A person in Matrix, who has made all the rooms.
    pub(crate) alice: User,
    /// User id of the relay's account.
    pub(crate) bot: OwnedUserId,
    /// The simulated radio, which runs.
    pub(crate) radio: Radio,
    /// Ids of the rooms, in the order of the plan.
    pub(crate) rooms: Vec<OwnedRoomId>,
    /// Home of the relay, configured and logged in.
    pub(crate) home: Home,
    /// What stands between the relay and the homeserver, if it was planned.
    pub(crate) proxy: Option<Proxy>,
}

impl Stage {
    /// Maps a room, by its place in the plan, by an alias instead of its id; returns the alias.
    pub(crate) async fn map_by_alias(&self, room: usize, name: &str) -> String {
        let room = &self.rooms[room];
        let unique: String = room.as_str().chars().skip(1).take(12).collect();
        let alias = format!("#{name}-{}:localhost", unique.to_lowercase());
        self.alice.set_alias(&alias, room).await;
        self.home.reconfigure(room.as_str(), &alias);
        alias
    }

    /// Starts the relay, and waits until it is in all the rooms.
    pub(crate) async fn raise_the_curtain(self) -> Scene {
        let Self {
            alice,
            bot,
            radio,
            rooms,
            home,
            proxy,
        } = self;
        let relay = home.start().await;
        for room in &rooms {
            alice.sees_join(room, &bot).await;
            // From then on the relay knows whether the room is encrypted.
            relay.logs(&format!("room joined room={room} name=")).await;
        }
        Scene {
            relay,
            radio,
            room: rooms[0].clone(),
            rooms,
            alice,
            bot,
            home,
            proxy,
        }
    }
}

/// A running scene. The end of the test ends all of it.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The relay, which runs.
    pub(crate) relay: Relay,
    /// The simulated radio, to which the relay is connected.
    pub(crate) radio: Radio,
    /// Id of the first room of the plan.
    pub(crate) room: OwnedRoomId,
    /// Ids of all rooms, in the order of the plan.
    pub(crate) rooms: Vec<OwnedRoomId>,
    /// A person in Matrix, who has made all the rooms.
    pub(crate) alice: User,
    /// User id of the relay's account.
    pub(crate) bot: OwnedUserId,
    /// Home of the relay.
    pub(crate) home: Home,
    /// What stands between the relay and the homeserver, if it was planned.
    pub(crate) proxy: Option<Proxy>,
}

impl Scene {
    /// Returns what stands between the relay and the homeserver.
    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a proxy was planned")
    }

    /// Says a text on both sides of the first channel, and waits for it on the other.
    pub(crate) async fn carries(&mut self, text: &str) {
        self.radio.says(BASE, 0, text).await;
        let shown = format!("[Base Camp/LongFast]: {text}");
        self.alice.sees_text(&self.room, &shown).await;
        self.alice.send(&self.room, text).await;
        self.radio.transmits(&format!("Alice[M]: {text}")).await;
    }

    /// Waits for a sign of the relay on an event, and returns the sign's event id.
    pub(crate) async fn sees_sign(
        &self,
        room: &OwnedRoomId,
        event: &OwnedEventId,
        sign: &str,
    ) -> Seen {
        let ours = |seen: &Seen| {
            seen.is_reaction(event, sign) && seen.event["sender"] == self.bot.as_str()
        };
        self.alice
            .sees(room, &format!("the sign {sign}"), ours)
            .await
    }

    /// Returns the current signs on an event.
    pub(crate) async fn signs_on(&self, room: &OwnedRoomId, event: &OwnedEventId) -> Vec<String> {
        let reactions = self.alice.reactions(room, event).await;
        let ours = reactions
            .iter()
            .filter(|reaction| reaction["sender"] == self.bot.as_str());
        ours.filter_map(|reaction| {
            let key = &reaction["content"]["m.relates_to"]["key"];
            key.as_str().map(str::to_owned)
        })
        .collect()
    }

    /// Waits for the relay's read receipt on an event.
    pub(crate) async fn is_read_up_to(
        &self,
        room: &OwnedRoomId,
        event: &OwnedEventId,
        thread: Option<&OwnedEventId>,
    ) {
        self.alice
            .sees_receipt(room, &self.bot, event, thread)
            .await;
    }

    /// Returns the number of the relay's notices in the first room so far.
    pub(crate) fn notices(&self) -> usize {
        let notices = self.alice.seen_of(&self.room, &self.bot);
        notices
            .iter()
            .filter(|seen| seen.content("/msgtype") == "m.notice")
            .count()
    }
}
