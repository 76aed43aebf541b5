//! A mapped room whose many members talk among themselves while messages cross: what others say, and what does not go to
//! the mesh, has to cost next to nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use matrix_sdk::ruma::OwnedRoomId;
use serde_json::json;
use tokio::task::JoinSet;

use crate::account::Account;
use crate::extent::Extent;
use crate::figures::{Figures, Series, progress, rounded};
use crate::growth::{GOAL, GROWTH, beside};
use crate::stage::start;
use crate::support::synapse::Synapse;
use crate::usage::Usage;
use crate::village::Village;

/// Between two messages of the members.
const EVERY: Duration = Duration::from_millis(200);
/// Between two texts of the mesh.
const MESH_EVERY: Duration = Duration::from_secs(2);

/// Members of the small room beside the person and the relay.
const FEW: usize = 1;

/// What one room takes.
struct Talk {
    /// From the mesh to the room, while the members are silent, and while they talk.
    silent: Series,
    talking: Series,
    /// Processor time of the relay for a message of a member, without that of the mesh's texts.
    processor_ms: f64,
    memory_mb: f64,
}

/// Measures a room of many members beside one of a few who talk as much.
pub(crate) async fn measure(figures: &Figures, extent: &Extent) {
    let small = talk(FEW, extent.talk).await;
    let large = talk(extent.members - 2, extent.talk).await;
    let ratios = [
        (
            "processor_per_foreign_message_ms",
            small.processor_ms,
            large.processor_ms,
        ),
        (
            "latency_to_matrix_ms",
            small.talking.median(),
            large.talking.median(),
        ),
        ("memory_mb", small.memory_mb, large.memory_mb),
    ];
    let mut more = json!({"goal": GOAL, "members": extent.members});
    let mut worst: f64 = 0.0;
    for (what, small, large) in ratios {
        worst = worst.max(large / small);
        more[what] = beside(small, large);
    }
    more["latency_while_silent_ms"] = json!({
        "small": rounded(small.silent.median()), "large": rounded(large.silent.median()),
    });
    figures.tell("world_members", worst, GROWTH, &more);
}

/// The room takes messages of the mesh and gives none: five a second are more than any mesh carries.
async fn talk(members: usize, time: Duration) -> Talk {
    progress(&format!(
        "a room of {} members: silent for {} s, then talking",
        members + 2,
        time.as_secs()
    ));
    let mut village = Village::set_up_with(&[(0, "to_matrix")], 3).await;
    let room = village.rooms[0].clone();
    let accounts = join_all(&room, members).await;
    let mut relay = start(&village.home).await;
    village.says("before the talk").await;
    tokio::time::sleep(MESH_EVERY).await;

    let before = Usage::of(relay.pid());
    let silent = cross(&mut village, "silence", time).await;
    let between = Usage::of(relay.pid());
    let mut talking = JoinSet::new();
    talking.spawn(say_all(accounts, room, time));
    let crossed = cross(&mut village, "talk", time).await;
    let said = talking.join_next().await.expect("there is a task");
    let said = said.expect("the members can talk");
    tokio::time::sleep(MESH_EVERY).await;
    let after = Usage::of(relay.pid());
    let quiet = between.processor_ms - before.processor_ms;
    let loud = after.processor_ms - between.processor_ms;
    let memory_mb = after.resident;
    assert!(relay.stop().await.success(), "the relay stops");
    Talk {
        silent,
        talking: crossed,
        processor_ms: (loud - quiet) / f64::from(said),
        memory_mb,
    }
}

/// Makes accounts that join a room.
async fn join_all(room: &OwnedRoomId, count: usize) -> Vec<Arc<Account>> {
    let synapse = Synapse::shared().await;
    let mut accounts = Vec::new();
    for _ in 0..count {
        let account = Account::new(synapse, "member").await;
        account.join(room).await;
        accounts.push(Arc::new(account));
    }
    accounts
}

/// The mesh says a text now and then.
async fn cross(village: &mut Village, name: &str, time: Duration) -> Series {
    let until = Instant::now() + time;
    let mut series = Series::default();
    let mut number = 0;
    while Instant::now() < until {
        let began = Instant::now();
        village.says(&format!("{name} {number}")).await;
        series.add(began.elapsed());
        number += 1;
        tokio::time::sleep(MESH_EVERY.saturating_sub(began.elapsed())).await;
    }
    series
}

/// The members say something in turn; returns how often.
async fn say_all(members: Vec<Arc<Account>>, room: OwnedRoomId, time: Duration) -> u32 {
    let until = Instant::now() + time;
    let mut tick = tokio::time::interval(EVERY);
    let mut said = 0;
    for member in members.iter().cycle() {
        tick.tick().await;
        if Instant::now() >= until {
            break;
        }
        member.say(&room, &format!("among ourselves {said}")).await;
        said += 1;
    }
    said
}
