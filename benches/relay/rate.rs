//! The rate at which a burst of the mesh is sent to a room, as a share of a bare loop of the same `PUT`s. In the rooms is a
//! reader that only counts, so that nobody else's work is measured.

use std::sync::Arc;
use std::time::Duration;

use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use crate::account::{Account, Reader};
use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::homeserver;
use crate::puts::Loop;
use crate::stage::{REST, start};
use crate::support::proxy::Proxy;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, Relay};
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 5] = [
    "rate_plain_short",
    "rate_plain_long",
    "rate_encrypted_short",
    "rate_encrypted_long",
    "rate_two_rooms",
];

/// The least share of the bare loop's rate.
const GOAL: f64 = 0.95;

/// Rooms of the relay, by the radio's channel: two plain ones and an encrypted one.
const ROOMS: [Kind; 3] = [Kind::Plain, Kind::Plain, Kind::Encrypted];

struct Stage {
    bot: OwnedUserId,
    reader: Reader,
    rooms: Vec<OwnedRoomId>,
    radio: Radio,
    relay: Relay,
    _home: Home,
    _proxy: Option<Proxy>,
}

/// Measures bursts into each kind of room, and into two rooms at once.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    for (name, channel, kind) in [("plain", 0, Kind::Plain), ("encrypted", 2, Kind::Encrypted)] {
        let bare = Loop::new(kind).await;
        for (length, count) in [("short", extent.rate_short), ("long", extent.rate_long)] {
            let name = format!("rate_{name}_{length}");
            if figures.want_any_of(&[&name]) {
                one_room(figures, &mut stage, &bare, (channel, &name, count)).await;
            }
        }
    }
    if figures.want_any_of(&FIGURES[4..]) {
        two_rooms(figures, &mut stage, extent.rate_short).await;
    }
    assert!(stage.relay.stop().await.success(), "the relay stops");
}

impl Stage {
    async fn set_up() -> Self {
        progress("setting up: homeserver, accounts that only count, rooms, radio");
        let synapse = Synapse::shared().await;
        let home = Home::new();
        let (url, proxy) = homeserver::address(synapse).await;
        let (reader, bot, radio) = tokio::join!(
            Account::new(synapse, "reader"),
            home.log_in_at(synapse, &url),
            Radio::start()
        );
        let mut rooms = Vec::new();
        let mut routes = String::new();
        for (channel, kind) in ROOMS.into_iter().enumerate() {
            let room = reader.create_room(kind, &[&bot]).await;
            routes += &*format!("  - {{id: '{room}', meshtastic_channel: {channel}}}\n");
            rooms.push(room);
        }
        home.configure(&format!(
            "matrix_rooms:\n{routes}meshtastic:\n  connection_type: tcp\n  host: 127.0.0.1\n  port: {}\n",
            radio.port()
        ));
        let reader = Reader::of(&Arc::new(reader));
        let mut stage = Self {
            relay: start(&home).await,
            bot,
            reader,
            rooms,
            radio,
            _home: home,
            _proxy: proxy,
        };
        for room in &stage.rooms {
            stage.reader.sees_join(room, &stage.bot).await;
        }
        for channel in 0..ROOMS.len() {
            stage.say(channel, "before the burst").await;
            stage.posts(channel, 1).await;
        }
        stage
    }

    async fn say(&mut self, channel: usize, text: &str) {
        let line = json!({"from": BASE.id, "channel": channel, "text": text});
        self.radio.write(&line).await;
    }

    /// Waits for so many posts of the relay in a channel's room, and returns all of them.
    async fn posts(&self, channel: usize, count: usize) -> Vec<Value> {
        let is_post = |event: &Value| {
            let kind = event["type"].as_str();
            event["sender"] == self.bot.as_str()
                && kind.is_some_and(|kind| ["m.room.message", "m.room.encrypted"].contains(&kind))
        };
        self.reader.sees(&self.rooms[channel], count, is_post).await
    }

    /// Says so many texts in each of these channels at once. Returns the new posts of each room, when all are there.
    async fn burst(&mut self, channels: &[usize], count: usize) -> Vec<Vec<Value>> {
        let mut before = Vec::new();
        for channel in channels {
            before.push(self.posts(*channel, 0).await.len());
        }
        for number in 0..count {
            for channel in channels {
                self.say(*channel, &format!("rate, message {number}")).await;
            }
        }
        for (channel, before) in channels.iter().zip(&before) {
            self.posts(*channel, before + count).await;
        }
        // One that comes twice may come late.
        tokio::time::sleep(REST * 20).await;
        let mut posts = Vec::new();
        for (channel, before) in channels.iter().zip(before) {
            posts.push(self.posts(*channel, before + count).await.split_off(before));
        }
        posts
    }
}

/// The loop runs before the relay and after it, since the homeserver slows down as it ages.
async fn one_room(
    figures: &mut Figures,
    stage: &mut Stage,
    bare: &Loop,
    (channel, name, count): (usize, &str, usize),
) {
    progress(&format!("{name}: {count} messages, beside a bare loop"));
    let example = stage.posts(channel, 1).await.remove(0);
    let kind = example["type"].as_str().expect("an event has a type");
    let content = &example["content"];
    let (_, before) = bare.run(kind, content, count).await;
    let posts = stage.burst(&[channel], count).await.remove(0);
    let (puts, after) = bare.run(kind, content, count).await;
    check(figures, name, &posts, count);
    let (loop_rate, relay_rate) = (f64::midpoint(before, after), rate(&[posts]));
    let more = json!({
        "goal_at_least": GOAL, "messages": count, "per_second": rounded(relay_rate),
        "bare_loop": {"per_second": rounded(loop_rate), "before": rounded(before), "after": rounded(after),
            "put": puts.summary()},
    });
    figures.tell(
        name,
        relay_rate / loop_rate,
        "of the bare loop's rate",
        &more,
    );
}

/// Two rooms at once, as a share of one room: for the relay, and for two bare loops.
async fn two_rooms(figures: &mut Figures, stage: &mut Stage, count: usize) {
    let name = FIGURES[4];
    progress(&format!("{name}: {count} messages in each"));
    let content = stage.posts(0, 1).await.remove(0)["content"].take();
    let (first, second) = tokio::join!(Loop::new(Kind::Plain), Loop::new(Kind::Plain));
    let kind = "m.room.message";
    let (_, loop_alone) = first.run(kind, &content, count).await;
    let (by_first, by_second) = tokio::join!(
        first.run(kind, &content, count),
        second.run(kind, &content, count)
    );
    let loops = (by_first.1 + by_second.1) / loop_alone;
    let alone = stage.burst(&[0], count).await;
    let both = stage.burst(&[0, 1], count).await;
    for posts in alone.iter().chain(&both) {
        check(figures, name, posts, count);
    }
    let (alone, both) = (rate(&alone), rate(&both));
    let more = json!({
        "goal_at_least": rounded(loops * GOAL), "messages": 2 * count, "per_second": rounded(both),
        "one_room_per_second": rounded(alone), "two_bare_loops": rounded(loops),
    });
    figures.tell(name, both / alone, "of one room's rate", &more);
}

/// Returns the number of posts in a second, by the homeserver's clock, from the first of all to the last.
fn rate(rooms: &[Vec<Value>]) -> f64 {
    let posts = rooms.iter().flatten();
    let times: Vec<u64> = posts
        .map(|post| {
            post["origin_server_ts"]
                .as_u64()
                .expect("an event has a time")
        })
        .collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let took = first.zip(last).map_or(0, |(first, last)| last - first);
    let between = u32::try_from(times.len() - 1).expect("messages can be counted");
    f64::from(between) / Duration::from_millis(took).as_secs_f64()
}

/// The texts of an encrypted room cannot be read here, only counted; `burst_encrypted` reads them.
fn check(figures: &mut Figures, name: &str, posts: &[Value], count: usize) {
    let texts: Vec<_> = posts
        .iter()
        .filter_map(|post| {
            post["content"]["body"]
                .as_str()?
                .rsplit(' ')
                .next()?
                .parse::<usize>()
                .ok()
        })
        .collect();
    let wrong_order = !texts.is_empty() && !texts.iter().copied().eq(0..count);
    if posts.len() != count || wrong_order {
        let there = posts.len();
        figures.broken(format!(
            "{name}: {there} of {count} messages are there, in order: {}",
            !wrong_order
        ));
    }
}
