//! Faults of the machine: reported with their cure, and recovered from without loss.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::LIMIT;
use crate::support::process::temporary_directory;
use crate::support::radio::BASE;
use crate::support::relay::{Home, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::user::{Kind, Seen};

/// A file system of its own, where this process may mount one.
struct Disk {
    path: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl Disk {
    /// Mounts a tmpfs; where that is not permitted, prints this and returns `None`.
    fn new(size: &str) -> Option<Self> {
        let directory = temporary_directory("disk");
        let path = directory.path().to_owned();
        Self::at(path, Some(directory), size)
    }

    /// Mounts a tmpfs over a directory, with a copy of its content; otherwise as [`Disk::new`].
    fn in_place_of(directory: &Path, size: &str) -> Option<Self> {
        let before = directory.with_extension("before");
        fs::rename(directory, &before).expect("it can be moved");
        fs::create_dir(directory).expect("it can be made");
        let disk = Self::at(directory.to_owned(), None, size);
        for file in fs::read_dir(&before).expect("it can be read") {
            let file = file.expect("it can be read");
            // Sockets of an earlier run are skipped.
            if file.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::copy(file.path(), directory.join(file.file_name())).expect("there is room");
            }
        }
        disk
    }

    fn at(path: PathBuf, directory: Option<tempfile::TempDir>, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0700");
        let disk = Self {
            path,
            _directory: directory,
        };
        if disk.mount(&["-t", "tmpfs", "-o", &options, "tmpfs"]) {
            return Some(disk);
        }
        eprintln!("not tested: this process may not mount a disk");
        None
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn mount(&self, options: &[&str]) -> bool {
        let mount = Command::new("mount")
            .args(options)
            .arg(self.path())
            .output();
        mount.is_ok_and(|output| output.status.success())
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(self.mount(&["-o", &options]), "cannot remount {mode}");
    }

    /// Fills the disk, until the file is removed.
    fn fill(&self) {
        let mut file = fs::File::create(self.path().join("ballast")).expect("there is room");
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it fills up");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.path())
                .output(),
        );
    }
}

async fn health(home: &Home) -> Value {
    let output = home.run(["doctor", "--quick", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)))
}

/// Waits for this result of the database's check.
async fn database_is(home: &Home, result: &str, words: &str) {
    check_is(home, "database", result, words).await;
}

/// Waits for this result of a check.
async fn check_is(home: &Home, name: &str, result: &str, words: &str) {
    let mut last = Value::Null;
    let asking = async {
        loop {
            last = health(home).await;
            let checks = last["checks"].as_array().expect("there are checks");
            let found = checks.iter().find(|check| check["name"] == name);
            let is = |check: &Value| {
                check["result"] == result
                    && check["text"].as_str().is_some_and(|it| it.contains(words))
            };
            if found.is_some_and(is) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let asked = tokio::time::timeout(LIMIT, asking).await;
    assert!(asked.is_ok(), "{name} is not {result} ({words}): {last:#}");
}

/// Says one thing while the fault lasts, ends the fault, and sees what was said, once.
async fn outlives(scene: &mut Scene, words: &str, heal: impl AsyncFnOnce()) {
    scene.radio.says(BASE, 0, "during the fault").await;
    database_is(&scene.home, "failed", words).await;
    scene.relay.logs("nothing is accepted until it is").await;
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    assert!(
        !seen
            .iter()
            .map(Seen::body)
            .any(|body| body.contains("during"))
    );
    heal().await;
    scene.radio.says(BASE, 0, "after the fault").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: after the fault")
        .await;
    scene.alice.send(&scene.room, "and back").await;
    scene.radio.transmits("Alice[M]: and back").await;
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    let bodies = seen.iter().map(Seen::body);
    let bodies: Vec<_> = bodies.filter(|body| !body.is_empty()).collect();
    let expected = ["before the fault", "during the fault", "after the fault"];
    let expected = expected.map(|text| format!("[Base Camp/LongFast]: {text}"));
    assert_eq!(bodies, expected);
    database_is(&scene.home, "ok", "").await;
    assert!(!scene.relay.log().contains("panicked"));
}

/// A scene whose database is on this disk, with one message relayed already.
async fn scene_with_database(directory: &Path) -> Scene {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let config = fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    let path = directory.join("relay.sqlite");
    stage.home.configure(&format!(
        "{config}database: {{path: '{}'}}\n",
        path.display()
    ));
    let mut scene = stage.raise_the_curtain().await;
    scene.radio.says(BASE, 0, "before the fault").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: before the fault")
        .await;
    scene
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost() {
    let Some(disk) = Disk::new("4m") else { return };
    let mut scene = scene_with_database(disk.path()).await;
    disk.fill();
    outlives(&mut scene, "is full", async || disk.make_room()).await;
}

#[tokio::test]
async fn where_the_disk_of_the_matrix_store_is_full_that_is_told_and_nothing_is_lost() {
    let stage = Plan::one_room(Kind::Encrypted).set_up().await;
    let store = stage.home.path("matrix/sdk");
    let Some(disk) = Disk::in_place_of(&store, "12m") else {
        return;
    };
    let scene = stage.raise_the_curtain().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;

    disk.fill();
    scene.alice.send(&scene.room, "meanwhile").await;
    let line = scene
        .relay
        .logs("what the homeserver says cannot be stored")
        .await;
    for words in ["the disk is full", "matrix/sdk", "make room"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    check_is(&scene.home, "matrix", "failed", "the disk is full").await;
    let status = text_of(&scene.home.run(["status"]).await);
    assert!(status.contains("make room on the disk"), "{status}");
    assert!(!status.contains("homeserver has been away"), "{status}");
    assert!(!scene.relay.log().contains("homeserver cannot be read"));

    disk.make_room();
    scene.radio.transmits("Alice[M]: meanwhile").await;
    check_is(&scene.home, "matrix", "ok", "").await;
    scene.alice.send(&scene.room, "after").await;
    scene.radio.transmits("Alice[M]: after").await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_of_the_matrix_store_is_told_and_goes_on_by_itself() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let store = stage.home.path("matrix/sdk");
    let Some(disk) = Disk::in_place_of(&store, "12m") else {
        return;
    };
    disk.fill();
    let relay = stage.home.spawn();
    let line = relay.logs("cannot be ").await;
    assert!(line.contains("the disk is full"), "{line}");
    assert!(!line.contains("--force"), "{line}");
    disk.make_room();
    relay.logs("room joined").await;
}

#[tokio::test]
async fn on_a_disk_that_is_read_only_the_relay_does_not_start_and_names_the_cure() {
    let Some(disk) = Disk::new("8m") else { return };
    let mut scene = scene_with_database(disk.path()).await;
    assert!(scene.relay.stop().await.success());
    disk.remount("ro");
    let output = scene.home.run(["run"]).await;
    fails_with_cure(&output, "not mounted read-only");
    disk.remount("rw");
    scene.relay = scene.home.start().await;
}

#[tokio::test]
async fn a_database_that_is_moved_away_is_missed_and_found_again() {
    let directory = temporary_directory("database");
    let place = directory.path().join("here");
    fs::create_dir(&place).expect("it can be made");
    let mut scene = scene_with_database(&place).await;
    let away = directory.path().join("away");
    fs::rename(&place, &away).expect("it can be moved");
    outlives(&mut scene, "is gone", async || {
        fs::rename(&away, &place).expect("it can be moved back");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_another_program_locks_for_long_holds_messages_up_and_loses_none() {
    let directory = temporary_directory("database");
    let mut scene = scene_with_database(directory.path()).await;
    let other =
        rusqlite::Connection::open(directory.path().join("relay.sqlite")).expect("it opens");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("it can be locked");
    outlives(&mut scene, "", async || {
        other.execute_batch("ROLLBACK").expect("it can be let go");
    })
    .await;
}

#[tokio::test]
async fn the_relay_starts_beside_a_lock_and_waits_for_its_end() {
    let directory = temporary_directory("database");
    let mut scene = scene_with_database(directory.path()).await;
    assert!(scene.relay.stop().await.success());
    let other =
        rusqlite::Connection::open(directory.path().join("relay.sqlite")).expect("it opens");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("it can be locked");
    let relay = scene.home.spawn();
    let line = relay
        .logs("the database cannot be opened, trying again")
        .await;
    assert!(line.contains("close the other program"), "{line}");
    other.execute_batch("ROLLBACK").expect("it can be let go");
    relay.logs("relay is ready").await;
}

fn fails_with_cure(output: &Output, cure: &str) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("hint: ") && text.contains(cure), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[tokio::test]
async fn a_damaged_database_is_told_with_the_cure_and_left_as_it_is() {
    let directory = temporary_directory("database");
    let mut scene = scene_with_database(directory.path()).await;
    assert!(scene.relay.stop().await.success());
    let path = directory.path().join("relay.sqlite");
    let sound = fs::read(&path).expect("it is there");
    let mut damaged = sound.clone();
    damaged[16..60].fill(0xFF);
    for damage in [
        damaged,
        [sound[..100].to_vec(), vec![0xA5; sound.len() - 100]].concat(),
    ] {
        fs::write(&path, &damage).expect("it can be damaged");
        let output = scene.home.run(["run"]).await;
        fails_with_cure(&output, "move both away");
        assert!(
            fs::read(&path).is_ok_and(|now| now == damage),
            "it was changed"
        );
    }
    fs::write(&path, &sound).expect("it can be mended");
    scene.relay = scene.home.start().await;
}

#[tokio::test]
async fn a_database_that_is_damaged_in_use_takes_nothing_until_it_is_mended() {
    let directory = temporary_directory("database");
    let mut scene = scene_with_database(directory.path()).await;
    let path = directory.path().join("relay.sqlite");
    let other = rusqlite::Connection::open(&path).expect("it opens");
    other
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("everything stands in the file itself");
    drop(other);
    let sound = fs::read(&path).expect("it is there");
    let damaged = [sound[..100].to_vec(), vec![0xA5; sound.len() - 100]].concat();
    fs::write(&path, damaged).expect("it can be damaged");
    outlives(&mut scene, "", async || {
        fs::write(&path, &sound).expect("it can be mended");
    })
    .await;
}

#[tokio::test]
async fn in_a_read_only_home_the_relay_does_not_start_and_says_why() {
    let Some(disk) = Disk::new("8m") else { return };
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let config = fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    fs::write(disk.path().join("config.yaml"), config).expect("there is room");
    disk.remount("ro");
    // A separate command: the flags exclude each other.
    let output = Command::new(crate::support::process::relay_program())
        .arg("--home")
        .arg(disk.path())
        .output()
        .expect("the relay runs");
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("ead-only"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}
