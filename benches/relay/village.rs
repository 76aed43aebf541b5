//! A relay with its radio and rooms in a world of a chosen size, and one person who writes and reads without the SDK, so
//! that the sizes cost nobody else anything.

use std::sync::Arc;
use std::time::Instant;

use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use serde_json::json;

use crate::account::{Account, Reader};
use crate::extent::Extent;
use crate::figures::{Series, progress};
use crate::homeserver;
use crate::stage::{RADIO_REST, REST, start, takes};
use crate::support::proxy::Proxy;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::Home;
use crate::support::synapse::Synapse;
use crate::support::user::Kind;
use crate::usage::Usage;

/// The channel of the first room, and that of all others, on which nothing is said.
const CHANNEL: u8 = 0;
const SILENT_CHANNEL: u8 = 2;

/// The world, with the relay stopped.
#[derive(Debug)]
pub(crate) struct Village {
    pub(crate) home: Home,
    pub(crate) radio: Radio,
    pub(crate) bot: OwnedUserId,
    pub(crate) person: Arc<Account>,
    pub(crate) reader: Reader,
    pub(crate) rooms: Vec<OwnedRoomId>,
    _proxy: Option<Proxy>,
    /// Makes every text of a run another one.
    run: usize,
}

/// What a world takes: medians, and the resident memory after all of it.
#[derive(Debug)]
pub(crate) struct Measured {
    start_ms: f64,
    to_matrix_ms: f64,
    to_mesh_ms: f64,
    processor_to_matrix_ms: f64,
    processor_to_mesh_ms: f64,
    memory_mb: f64,
}

impl Measured {
    /// Returns all values by name.
    pub(crate) fn all(&self) -> [(&'static str, f64); 6] {
        [
            ("start_to_matrix_ms", self.start_ms),
            ("latency_to_matrix_ms", self.to_matrix_ms),
            ("latency_to_mesh_ms", self.to_mesh_ms),
            ("processor_to_matrix_ms", self.processor_to_matrix_ms),
            ("processor_to_mesh_ms", self.processor_to_mesh_ms),
            ("memory_mb", self.memory_mb),
        ]
    }
}

impl Village {
    /// Makes so many mapped rooms, and a radio that knows so many nodes; the relay has joined all rooms.
    pub(crate) async fn set_up(rooms: usize, nodes: usize) -> Self {
        let route = |number: usize| if number == 0 { CHANNEL } else { SILENT_CHANNEL };
        let routes: Vec<_> = (0..rooms).map(|number| (route(number), "both")).collect();
        Self::set_up_with(&routes, nodes).await
    }

    /// Makes a room for each of these routes (a channel, and the direction).
    pub(crate) async fn set_up_with(routes: &[(u8, &str)], nodes: usize) -> Self {
        let synapse = Synapse::shared().await;
        let home = Home::new();
        let (url, proxy) = homeserver::address(synapse).await;
        // One more is the node that speaks.
        let nodes = (nodes - 1).to_string();
        let nodes = ["--nodes", &nodes];
        let (person, bot, radio) = tokio::join!(
            Account::new(synapse, "person"),
            home.log_in_at(synapse, &url),
            Radio::start_with(&nodes)
        );
        let mut rooms = Vec::new();
        let mut mapped = String::new();
        for (channel, direction) in routes {
            let room = person.create_room(Kind::Plain, &[&bot]).await;
            let route = format!("meshtastic_channel: {channel}, direction: {direction}");
            mapped += &*format!("  - {{id: '{room}', {route}}}\n");
            rooms.push(room);
        }
        home.configure(&format!(
            "matrix:\n  sender_limit: {{per_minute: 1000, per_hour: 10000}}\nmatrix_rooms:\n{mapped}\
             meshtastic:\n  connection_type: tcp\n  host: 127.0.0.1\n  port: {}\n",
            radio.port()
        ));
        let person = Arc::new(person);
        let mut village = Self {
            reader: Reader::of(&person),
            home,
            radio,
            bot,
            person,
            rooms,
            _proxy: proxy,
            run: 0,
        };
        // Without the radio's own delay after a silence, as for the figures of latency.
        village
            .radio
            .fault(json!({"fault": "slow_reads", "on": false}))
            .await;
        let mut relay = start(&village.home).await;
        for room in &village.rooms {
            village.reader.sees_join(room, &village.bot).await;
        }
        village.says("the first text").await;
        assert!(relay.stop().await.success(), "the relay stops");
        village
    }

    /// Says a text on the mesh; returns when it is in the first room.
    pub(crate) async fn says(&mut self, text: &str) {
        let line = json!({"from": BASE.id, "channel": CHANNEL, "text": text});
        self.radio.write(&line).await;
        self.reader
            .reads(&self.rooms[0], &format!("]: {text}"))
            .await;
    }

    /// Measures a start, and messages each way between this room and the mesh; the first room speaks of the mesh.
    pub(crate) async fn measure(&mut self, extent: &Extent) -> Measured {
        self.run += 1;
        let run = self.run;
        let text = format!("said before start {run}");
        let line = json!({"from": BASE.id, "channel": CHANNEL, "text": text});
        self.radio.write(&line).await;
        let began = Instant::now();
        let mut relay = self.home.spawn_with(&[]);
        self.reader
            .reads(&self.rooms[0], &format!("]: {text}"))
            .await;
        let start_ms = began.elapsed().as_secs_f64() * 1000.0;
        relay.logs("relay is ready").await;
        tokio::time::sleep(RADIO_REST).await;

        progress(&format!("{} messages to Matrix", extent.world_to_matrix));
        let before = Usage::of(relay.pid());
        let mut to_matrix = Series::default();
        for number in 0..extent.world_to_matrix {
            let began = Instant::now();
            self.says(&format!("run {run}, message {number}")).await;
            to_matrix.add(began.elapsed());
            tokio::time::sleep(REST).await;
        }
        let processor_to_matrix_ms =
            Usage::of(relay.pid()).per_message_since(&before, extent.world_to_matrix);

        progress(&format!("{} messages to the mesh", extent.world_to_mesh));
        tokio::time::sleep(RADIO_REST).await;
        let before = Usage::of(relay.pid());
        let mut to_mesh = Series::default();
        for number in 0..extent.world_to_mesh {
            let text = format!("run {run}, answer {number}");
            let from = self.radio.output.count();
            let began = Instant::now();
            self.person.say(&self.rooms[0], &text).await;
            takes(&self.radio, from, &text).await;
            to_mesh.add(began.elapsed());
            tokio::time::sleep(RADIO_REST).await;
        }
        let usage = Usage::of(relay.pid());
        let processor_to_mesh_ms = usage.per_message_since(&before, extent.world_to_mesh);
        tokio::time::sleep(extent.rest).await;
        let memory_mb = Usage::of(relay.pid()).resident;
        assert!(relay.stop().await.success(), "the relay stops");
        Measured {
            start_ms,
            to_matrix_ms: to_matrix.median(),
            to_mesh_ms: to_mesh.median(),
            processor_to_matrix_ms,
            processor_to_mesh_ms,
            memory_mb,
        }
    }
}
