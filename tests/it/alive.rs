//! What the service manager is told is true: a relay that is stuck gives no sign of life, and whatever is wrong around a relay
//! that works does not get it restarted.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::held_thread::HeldThread;
use crate::support::radio::{BASE, Radio};
use crate::support::scene::{Plan, Scene};
use crate::support::service_manager::ServiceManager;
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::Kind;
use crate::support::within;

/// A scene whose relay was started by a service manager with this limit of its watchdog.
async fn watched(synapse: &'static Synapse, limit: Duration) -> (Scene, ServiceManager) {
    let mut stage = Plan::one_room(Kind::Plain).set_up_on(synapse).await;
    let manager = ServiceManager::of(&mut stage.home, limit);
    (stage.raise_the_curtain().await, manager)
}

#[tokio::test]
async fn the_service_manager_learns_when_the_relay_is_ready_how_it_stands_and_when_it_stops() {
    let (mut scene, manager) = watched(Synapse::shared().await, Duration::from_secs(4)).await;
    manager.is_told("STATUS=the database is being opened").await;
    manager.is_told("READY=1").await;
    manager
        .is_told("STATUS=radio ready, homeserver connected")
        .await;
    let port = scene.radio.port();
    scene.radio.end().await;
    manager
        .is_told("STATUS=radio away, homeserver connected")
        .await;
    scene.radio = Radio::start_on(port).await;
    manager
        .is_told("STATUS=radio ready, homeserver connected")
        .await;
    assert!(scene.relay.stop().await.success());
    manager.is_told("STOPPING=1").await;
}

#[tokio::test]
async fn a_relay_that_is_stuck_gives_no_sign_of_life_until_it_goes_on() {
    let (scene, manager) = watched(Synapse::shared().await, Duration::from_secs(4)).await;
    assert!(manager.sees_life().await);
    // The thread of the database alone: the runtime has time, and would have it for signs of life.
    let held = HeldThread::of(&scene.relay, "database");
    manager.would_restart().await;
    held.let_go();
    within("signs of life again", async {
        while !manager.sees_life().await {}
    })
    .await;

    scene.relay.signal(Signal::STOP);
    manager.would_restart().await;
    scene.relay.signal(Signal::CONT);
    within("signs of life again", async {
        while !manager.sees_life().await {}
    })
    .await;
}

#[tokio::test]
async fn a_relay_without_radio_and_homeserver_is_not_restarted() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let (mut scene, manager) = watched(synapse, Duration::from_secs(4)).await;
    scene.radio.end().await;
    synapse.does(Trouble::Hang);
    manager
        .is_told("STATUS=radio away, homeserver connected")
        .await;
    manager.forget();
    manager
        .sees_life_for(Duration::from_secs(12), "radio and homeserver are away")
        .await;
    synapse.does(Trouble::Resume);
    assert!(scene.relay.stop().await.success());
}

#[tokio::test]
async fn a_relay_whose_disk_is_slow_or_whose_database_is_locked_is_not_restarted() {
    // More than twice what one try of a locked database takes, with the pause behind it.
    let limit = Duration::from_secs(24);
    let (mut scene, manager) = watched(Synapse::shared().await, limit).await;
    assert!(manager.sees_life().await);
    let held = HeldThread::of(&scene.relay, "database");
    scene.radio.says(BASE, 0, "slow").await;
    // Nothing can be waited for: the thread does nothing at all for that long.
    tokio::time::sleep(limit / 2).await;
    held.let_go();
    assert!(
        manager.sees_life().await,
        "restarted while the disk is slow"
    );
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: slow")
        .await;

    let other = rusqlite::Connection::open(scene.home.path("database/relay.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    scene.radio.says(BASE, 0, "locked").await;
    scene.relay.logs("nothing is accepted until it is").await;
    manager.forget();
    manager.sees_life_for(limit, "the database is locked").await;
    other.execute_batch("ROLLBACK").unwrap();
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: locked")
        .await;
}
