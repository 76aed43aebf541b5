//! A relay that is killed at any time neither loses nor duplicates accepted messages.

use std::collections::HashSet;
use std::time::Duration;

use matrix_sdk::reqwest;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use relay_model::OwnedRoomId;
use serde_json::{Value, json};

use crate::support::books::Books;
use crate::support::canned::Canned;
use crate::support::held_thread::HeldThread;
use crate::support::radio::BASE;
use crate::support::relay::Home;
use crate::support::scene::{Plan, Scene};
use crate::support::user::Kind;

const ROUNDS: u32 = 50;
/// Minimum number of kills with messages in flight.
const UNDER_WAY: u32 = 30;

/// The packets of a long text.
const PARTS: [&str; 3] = ["1/3", "2/3", "3/3"];
/// Length of a long text in bytes.
const LONG: usize = 480;

/// A packet for the mesh: the number of its text, and the part (of [`PARTS`]; empty: the whole text).
type Packet = (u32, String);

/// The numbered messages, each list in order.
#[derive(Debug, Default)]
struct Said {
    last: u32,
    /// On the mesh, by channel: packets and numbers.
    on_mesh: [Vec<(u32, u32)>; 2],
    /// In Matrix, by room: the packets expected on the mesh.
    in_matrix: [Vec<Packet>; 2],
}

impl Said {
    async fn on_mesh(&mut self, scene: &mut Scene, place: u8) {
        self.last += 1;
        let packet = scene
            .radio
            .says(BASE, place, &format!("far {}", self.last))
            .await;
        self.on_mesh[usize::from(place)].push((packet, self.last));
    }

    async fn in_matrix(&mut self, scene: &Scene, place: u8, is_long: bool) {
        self.last += 1;
        let place = usize::from(place);
        let word = format!(" {}", self.last);
        // Made so that each part of a long text ends in its number.
        let (words, parts) = if is_long {
            (LONG / word.len(), &PARTS[..])
        } else {
            (1, &[""][..])
        };
        let text = format!("near{}", word.repeat(words));
        scene.alice.send(&scene.rooms[place], &text).await;
        let packets = parts.iter().map(|part| (self.last, (*part).to_owned()));
        self.in_matrix[place].extend(packets);
    }
}

/// Returns the number and part of a packet.
fn packet(text: &str) -> Option<Packet> {
    let (_, number) = text.rsplit_once(' ')?;
    let part = text.split([' ', ':']).find(|word| PARTS.contains(word));
    Some((number.parse().ok()?, part.unwrap_or_default().to_owned()))
}

/// Returns the number at the end of a text of these tests.
fn number(text: &str, word: &str) -> Option<u32> {
    let (_, number) = text.split_once(word)?;
    number.trim().parse().ok()
}

#[tokio::test]
async fn fifty_kills_at_random_moments_lose_and_double_nothing() {
    let plan = Plan::default().room(Kind::Plain).room(Kind::Encrypted);
    let plan = plan.route(0, 0, "both").route(1, 1, "both");
    let plan = plan.matrix("sender_limit: {per_minute: 10000, per_hour: 100000}");
    // On a slow machine this takes as long as an outage.
    let plan = plan.meshtastic("backlog: {newest: 1000, spacing: 2s}");
    let stage = plan.set_up().await;
    stage.map_by_alias(0, "kills").await;
    let mut scene = stage.raise_the_curtain().await;
    let mut random = StdRng::seed_from_u64(50);
    let mut said = Said::default();
    let mut accepted = HashSet::new();
    let mut under_way = 0;
    for round in 0..ROUNDS {
        let place = random.random_range(0..2);
        said.in_matrix(&scene, place, round % 4 == 3).await;
        for _ in 0..random.random_range(1..4) {
            said.on_mesh(&mut scene, random.random_range(0..2)).await;
        }
        // Some are killed before they are ready, most soon after.
        if round % 5 != 4 {
            scene.relay.logs("relay is ready").await;
        }
        let moment = Duration::from_millis(random.random_range(0..1200));
        let (channel, late) = (random.random_range(0..2), random.random_bool(0.5));
        let talk = async {
            tokio::time::sleep(moment / 2).await;
            if late {
                said.on_mesh(&mut scene, channel).await;
            }
        };
        tokio::join!(talk, tokio::time::sleep(moment));
        scene.relay.kill().await;
        let books = Books::of(&scene.home);
        accepted.extend(books.accepted());
        under_way += u32::from(books.in_flight() > 0);
        scene.relay = scene.home.spawn();
    }
    assert!(
        under_way >= UNDER_WAY,
        "only {under_way} kills came while messages were under way"
    );

    // All earlier messages have arrived before the last ones.
    for place in 0..2 {
        said.in_matrix(&scene, place, true).await;
        said.on_mesh(&mut scene, place).await;
        accepted.extend(
            said.on_mesh[usize::from(place)]
                .last()
                .map(|(packet, _)| *packet),
        );
    }
    let on_mesh: usize = said.in_matrix.iter().map(Vec::len).sum();
    while scene.radio.texts().len() < on_mesh {
        let known = scene.radio.texts().len();
        scene
            .radio
            .transmits_where("one text more", |_| scene.radio.texts().len() > known)
            .await;
    }
    for place in 0..2 {
        let room = &scene.rooms[place];
        let last = said.on_mesh[place].last().map(|(_, number)| *number);
        scene
            .alice
            .sees(room, "the last word of the mesh", |seen| {
                number(seen.body(), "far ") == last
            })
            .await;
        // All of them once, in order, under one id each.
        let channel = Value::from(place);
        let packets = scene.radio.packets().into_iter();
        let crossed = packets
            .filter(|it| it["channel"] == channel)
            .filter_map(|it| packet(it["text"].as_str()?));
        assert_eq!(
            crossed.collect::<Vec<_>>(),
            said.in_matrix[place],
            "to channel {place}"
        );

        // A packet that the radio delivered to a killed relay is lost unless it was committed.
        let wanted = said.on_mesh[place]
            .iter()
            .filter(|(packet, _)| accepted.contains(packet));
        let wanted: Vec<_> = wanted.map(|(_, number)| *number).collect();
        assert!(
            wanted.len() * 2 > said.on_mesh[place].len(),
            "too few were accepted: {wanted:?}"
        );
        let history = scene.alice.history(room).await;
        let crossed = history
            .iter()
            .filter_map(|seen| number(seen.body(), "far "));
        assert_eq!(crossed.collect::<Vec<_>>(), wanted, "to room {place}");
    }
}

/// Joins a room with the relay's account, without the relay.
async fn join_as(home: &Home, room: &OwnedRoomId) {
    let session = home.session();
    let text = |name: &str| session[name].as_str().expect("it is there");
    let mut url = url::Url::parse(text("homeserver")).expect("the homeserver has a URL");
    url.path_segments_mut()
        .expect("an HTTP URL has segments")
        .pop_if_empty()
        .extend(["_matrix", "client", "v3", "join", room.as_str()]);
    let joining = reqwest::Client::new()
        .post(url)
        .bearer_auth(text("access_token"))
        .body("{}");
    let answer = joining.send().await.expect("the homeserver answers");
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test]
async fn a_first_run_that_is_killed_before_it_stored_anything_loses_and_doubles_nothing() {
    for is_answered in [false, true] {
        let mut stage = Plan::one_room(Kind::Encrypted)
            .through_proxy()
            .set_up()
            .await;
        let room = stage.rooms[0].clone();
        if !is_answered {
            // The first answer comes before it is looked up.
            stage.map_by_alias(0, "first").await;
        }
        join_as(&stage.home, &room).await;
        stage.alice.sees_join(&room, &stage.bot).await;
        stage.alice.send(&room, "before the first start").await;
        let proxy = stage.proxy.take().expect("a proxy was planned");
        let sync = "GET /_matrix/client/v3/sync";
        proxy.answers([Canned::to(sync, 502, &json!({}))]);
        let mut relay = stage.home.spawn_with(&[]);
        relay.logs("the homeserver cannot be read").await;
        stage.alice.send(&room, "one").await;
        stage.alice.send(&room, "two").await;
        if is_answered {
            let held = HeldThread::of(&relay, "database");
            proxy.answers([]);
            // The Matrix library has stored the answer, and nobody else has.
            relay.logs("connected to the homeserver").await;
            held.kill(&relay);
        }
        relay.kill().await;
        proxy.answers([]);
        stage.alice.send(&room, "three").await;

        let _relay = stage.home.spawn_with(&[]);
        stage.radio.transmits("Alice[M]: three").await;
        let wanted = ["one", "two", "three"].map(|text| format!("Alice[M]: {text}"));
        assert_eq!(stage.radio.texts(), wanted, "answered: {is_answered}");
    }
}
