//! Whoever comes from MMRelay goes on where it stopped, and can go back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId};
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::kept_identity::{cross_signed_by_mmrelay, sees_device_of, verified};
use crate::support::guide::commands;
use crate::support::person::names;
use crate::support::radio::{BASE, Radio, SUMMIT};
use crate::support::relay::{Home, text_of};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, User};

const NAMES: &str = include_str!("../fixtures/mmrelay/names.sql");
const MAP: &str = include_str!("../fixtures/mmrelay/map.sql");
const MAP_OF_NUMBERS: &str = include_str!("../fixtures/mmrelay/map-numbers.sql");
const GUIDE: &str = "docs/guide/from-mmrelay.md";

/// A packet from the mesh, and one from Matrix, of MMRelay's time.
const FROM_MESH: u32 = 0xABCD_1234;
const FROM_MATRIX: u32 = 0xABCD_1235;

/// Makes an old home: a configuration, credentials, a database.
fn old_home(directory: &Path, config: &str, sql: &[&str]) {
    for name in ["matrix/store", "database", "logs"] {
        fs::create_dir_all(directory.join(name)).expect("it can be made");
    }
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).expect("it can be written");
    };
    write("config.yaml", config);
    write("logs/mmrelay.log", "INFO: a line\n");
    write(
        "matrix/credentials.json",
        r#"{"homeserver": "https://matrix.example.org", "access_token": "syt_of_mmrelay", "user_id": "@bot:example.org", "device_id": "OLD"}"#,
    );
    let database = Connection::open(directory.join("database/meshtastic.sqlite"));
    let database = database.expect("it can be made");
    for sql in sql {
        database.execute_batch(sql).expect("it is SQL");
    }
}

/// Returns each file and directory below a directory, with its mode and content.
fn files(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let mode = fs::metadata(&path).expect("it is there").mode();
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path, (mode, Vec::new()));
        } else {
            let content = fs::read(&path).expect("it can be read");
            found.insert(path, (mode, content));
        }
    }
    found
}

const CONFIG: &str = "\
# The club's relay.
matrix_rooms:
  - id: '!room:example.org' # people
    meshtastic_channel: 0
meshtastic:
  connection_type: network
  host: 127.0.0.1
  meshnet_name: Hill
  health_check: {enabled: true}
db:
  path: /nowhere/meshtastic.sqlite
plugins:
  ping: {active: true}
";

/// The command that takes over this home.
fn import_of(old: &Path) -> [&str; 4] {
    let from = old.to_str().expect("a path is a text");
    ["import", "mmrelay", "--from", from]
}

fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(output)))
}

/// The commands of the guide, in its order, on a real homeserver and a simulated radio.
#[tokio::test]
async fn the_guide_leads_to_a_relay_that_knows_what_was_said_before() {
    let synapse = Synapse::shared().await;
    let (alice, bot) = tokio::join!(
        User::new(synapse, "Alice"),
        User::without_identity(synapse, "Relaybot")
    );
    let seeds = cross_signed_by_mmrelay(&bot).await;
    let mut radio = Radio::start().await;
    let bot_id = bot.id().to_owned();
    let room = alice.create_room(Kind::Plain, &[]).await;
    bot.joins(&room, &alice).await;
    // As MMRelay posted what the mesh said, and as it had transmitted what Alice said.
    let content = json!({"msgtype": "m.text", "body": "[Base Camp/Hill]: from before",
        "meshtastic_id": FROM_MESH, "meshtastic_longname": "Base Camp", "meshtastic_shortname": "BASE",
        "meshtastic_meshnet": "Hill", "meshtastic_text": "from before"});
    let posted = bot.send_message(&room, content).await;
    let said = alice.send(&room, "before the move").await;

    let mut home = Home::new();
    let user = home.path("user");
    let old = user.join(".mmrelay");
    let port = format!("host: 127.0.0.1\n  port: {}", radio.port());
    let config = CONFIG.replace("!room:example.org", room.as_str());
    let map = format!(
        "INSERT INTO message_map VALUES ('{FROM_MESH}', '{posted}', '{room}', 'from before', 'Hill'),
         ('{FROM_MATRIX}', '{said}', '{room}', 'before the move', 'Hill')"
    );
    old_home(
        &old,
        &config.replace("host: 127.0.0.1", &port),
        &[NAMES, MAP, &map],
    );
    let signed = old.join(format!("matrix/store/{bot_id}_cross_signing.json"));
    fs::write(signed, seeds.to_string()).expect("it can be written");
    let identity = verified(alice.client(), &bot_id).await;
    home.set_environment(("HOME", user.display().to_string()));
    let password = home.path("password");
    fs::write(&password, PASSWORD).expect("it can be written");
    let (before, ours) = (files(&old), |home: &Home| home.path("config.yaml").exists());

    let mut relay = None;
    for command in commands(GUIDE, "import.rs") {
        let command = command.strip_prefix("relay ").expect("the relay is run");
        let command = command.replace("https://matrix.example.org", synapse.url());
        let command = command.replace("@bot:example.org", bot_id.as_str());
        let command = command.replace('~', user.to_str().expect("a path is a text"));
        let mut arguments: Vec<&str> = command.split(' ').collect();
        if command == "run" {
            relay = Some(home.start().await);
            continue;
        }
        if command.starts_with("auth login") {
            let file = password.to_str().expect("a path is a text");
            arguments.extend(["--password-file", file]);
        }
        let output = home.run(&arguments).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(0), "{command}: {text}");
        assert!(!text.contains("syt_of_mmrelay"), "{text}");
        match command.as_str() {
            "import mmrelay --dry-run" => {
                assert!(text.contains("4 found, of 2 rooms"), "{text}");
                assert!(!ours(&home), "a dry run has written");
            }
            "import mmrelay" => {
                assert!(text.contains("4 taken over, of 2 rooms"), "{text}");
                let login = "--username @bot:example.org --cross-signing-file ";
                assert!(text.contains(login), "{text}");
                assert!(ours(&home));
            }
            "config check" => assert!(text.contains("unlike MMRelay"), "{text}"),
            _ => {}
        }
    }
    let mut relay = relay.expect("the guide starts the relay");
    sees_device_of(alice.client(), &home, &identity).await;
    relay.logs(&format!("room joined room={room} name=")).await;
    relay.logs("differs from MMRelay").await;
    assert_eq!(files(&old), before, "MMRelay's files are as they were");

    what_is_said_finds_its_target(&alice, &mut radio, &room, [&posted, &said]).await;

    // A node that this radio does not know is called as MMRelay called it.
    let packet = json!({"from": "!a11ce000", "channel": 0, "text": "it is me", "id": 77_001});
    radio.write(&packet).await;
    alice.sees_text(&room, "[Alice's Hut/Hill]: it is me").await;
    // Nothing of before went on the air again.
    assert!(
        radio.texts().iter().all(|it| !it.contains("before")),
        "{:?}",
        radio.texts()
    );

    assert!(relay.stop().await.success());
    let mut relay = home.start().await;
    assert!(relay.stop().await.success());
    assert!(
        !relay.log().contains("differs from MMRelay"),
        "it is told once"
    );
}

/// Says something of what MMRelay posted, and of what Alice said in its time, on both sides.
async fn what_is_said_finds_its_target(
    alice: &User,
    radio: &mut Radio,
    room: &OwnedRoomId,
    [posted, said]: [&OwnedEventId; 2],
) {
    radio
        .replies(SUMMIT, 0, FROM_MESH, "an answer from the mesh")
        .await;
    let answer = alice
        .sees_text(room, "[Summit Hut/Hill]: an answer from the mesh")
        .await;
    assert_eq!(answer.answers(), Some(posted.as_str()));
    radio.taps(BASE, 0, FROM_MATRIX, "👍").await;
    let on_hers = |seen: &crate::support::user::Seen| seen.is_reaction(said, "👍 BASE");
    alice
        .sees(room, "a reaction on what she said before", on_hers)
        .await;
    alice.reply(room, posted, "an answer from Matrix").await;
    let answer = radio.transmits("Alice[M]: an answer from Matrix").await;
    assert_eq!(answer["reply_id"], FROM_MESH);
    alice.react(room, said, "🎉").await;
    let tapback = radio.transmits("🎉").await;
    assert_eq!(tapback["reply_id"], FROM_MATRIX);
}

#[tokio::test]
async fn an_import_twice_is_one_and_json_tells_what_was_taken() {
    let home = Home::new();
    let old = home.path("old");
    old_home(&old, CONFIG, &[NAMES, MAP_OF_NUMBERS]);
    let before = files(&old);
    let import = || import_of(&old).into_iter().chain(["--json"]);
    let first = home.run(import()).await;
    assert_eq!(first.status.code(), Some(0), "{}", text_of(&first));
    let report = json_of(&first);
    assert_eq!(report["configuration"]["result"], "written");
    assert_eq!(report["messages"]["taken"], 2);
    assert_eq!(
        report["names"],
        json!({"found": 5, "taken": 5, "unusable": 2, "damaged": []})
    );
    assert_eq!(report["rooms"], json!({"!room:example.org": 2}));
    let next = report["next"].to_string();
    assert!(
        next.contains("--username @bot:example.org --home"),
        "{next}"
    );
    let config = fs::read_to_string(home.path("config.yaml")).expect("it is written");
    insta::assert_snapshot!(
        "imported_configuration",
        config.replace(import_of(&old)[3], "OLD")
    );
    assert!(home.run(["config", "check"]).await.status.success());

    let second = json_of(&home.run(import()).await);
    assert_eq!(second["configuration"]["result"], "taken_before");
    assert_eq!(
        (&second["messages"]["taken"], &second["names"]["taken"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(files(&old), before);
    let text = text_of(&home.run(import_of(&old)).await);
    assert!(text.contains("an import has written it"), "{text}");
    assert!(!text.contains("syt_of_mmrelay"), "{text}");
}

#[tokio::test]
async fn a_home_of_both_keeps_its_files() {
    let home = Home::new();
    let place = home.path("");
    old_home(&place, CONFIG, &[NAMES, MAP]);
    let before = files(&place);
    let output = home.run(import_of(&place)).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("stays as it is: the relay reads MMRelay's own"),
        "{text}"
    );
    assert!(text.contains("2 taken over, of 1 room"), "{text}");
    let after = files(&place);
    for (path, was) in &before {
        assert_eq!(after.get(path), Some(was), "{}", path.display());
    }
    assert!(home.path("database/relay.sqlite").exists());
}

#[tokio::test]
async fn while_mmrelay_or_a_relay_runs_nothing_is_taken_over() {
    let home = Home::new();
    let old = home.path("old");
    old_home(&old, CONFIG, &[NAMES, MAP]);
    let import = import_of(&old);
    let log = old.join("logs/mmrelay.log");
    let mut mmrelay = Command::new("tail")
        .arg("-f")
        .arg(&log)
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is `tail`");
    // It has the file open once it has written it.
    let mut line = [0; 5];
    let output = mmrelay.stdout.as_mut().expect("it is a pipe");
    std::io::Read::read_exact(output, &mut line).expect("it writes");
    let refused = home.run(import).await;
    mmrelay.kill().expect("it runs");
    mmrelay.wait().expect("it ends");
    let text = text_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    let process = format!("process {} (`tail -f {}`, ", mmrelay.id(), log.display());
    let open = format!(") has `{}` open", log.display());
    assert!(text.contains(&process) && text.contains(&open), "{text}");
    assert!(text.contains("hint: stop it"), "{text}");
    assert!(!home.path("config.yaml").exists());

    home.configure(CONFIG);
    let relay = home.start().await;
    for further in [None, Some("--dry-run")] {
        let refused = home.run(import.into_iter().chain(further)).await;
        let text = text_of(&refused);
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("process {}", relay.pid())), "{text}");
    }
}

/// As where another user's MMRelay runs on the same machine, or one in a container.
#[tokio::test]
async fn an_mmrelay_that_shows_nothing_is_in_the_way_until_a_person_says_that_the_one_of_this_home_is_stopped()
 {
    let mut home = Home::new();
    home.use_ordinary_rights();
    let old = home.path("old");
    old_home(&old, CONFIG, &[NAMES, MAP]);
    let from = old.to_str().expect("a path is a text");
    let mut other = Command::new("tail");
    other.arg0("mmrelay").args(["-f", "/dev/null"]);
    let mut other = other.spawn().expect("there is `tail`");
    let import = ["import", "mmrelay", "--from", from];
    let refused = home.run(import).await;
    let told = home.run(import.into_iter().chain(["--is-stopped"])).await;
    other.kill().expect("it runs");
    other.wait().expect("it ends");
    assert!(told.status.success(), "{}", text_of(&told));
    if !geteuid().is_root() {
        // Who runs it may see what it has open: nothing of this home.
        return;
    }
    let text = text_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    let known = format!("process {} (`mmrelay -f /dev/null`, root)", other.id());
    assert!(text.contains(&known), "{text}");
    assert!(
        text.contains("not shown to this user (permission denied)"),
        "{text}"
    );
    assert!(text.contains("say by `--is-stopped`"), "{text}");
}

#[tokio::test]
async fn ctrl_c_during_an_import_leaves_nothing_behind_and_the_next_one_takes_everything() {
    let mut home = Home::new();
    home.set_environment(("TERM", "xterm-256color".to_owned()));
    let old = home.path("old");
    old_home(&old, CONFIG, &[NAMES, MAP]);
    let import = import_of(&old);
    // Stands for a disk that does not answer.
    let slow = old.join("database/meshtastic.sqlite-shm");
    mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("it can be made");
    let mut person = home.at_terminal(import);
    person.sees("looking for MMRelay … ").await;
    person.presses("\u{3}");
    person.sees("ending, when this step is done … ").await;
    let answers = fs::File::options().read(true).write(true).open(&slow);
    let (status, screen) = person.reads_to_the_end().await;
    drop(answers.expect("it can be opened"));
    assert_eq!(status.code(), Some(1), "{screen}");
    let (_, after) = screen
        .rsplit_once("\r\u{1b}[K")
        .expect("the line is cleared");
    assert!(after.contains("interrupted: run it again"), "{screen:?}");
    assert_eq!(names(&home.path("")), ["old"]);

    fs::remove_file(&slow).expect("it is there");
    let output = home.run(import).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("2 taken over, of 1 room"), "{text}");
}

#[tokio::test]
async fn of_a_damaged_home_what_can_be_read_is_taken_and_the_rest_is_told() {
    let home = Home::new();
    let old = home.path("old");
    old_home(&old, "matrix_rooms: [", &[NAMES, MAP]);
    let import = import_of(&old);
    let output = home.run(import).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is not taken over"), "{text}");
    assert!(text.contains("2 taken over, of 1 room"), "{text}");

    fs::write(old.join("config.yaml"), CONFIG).expect("it can be written");
    fs::write(old.join("database/meshtastic.sqlite"), "no database").expect("it can be written");
    let output = home.run(import).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is not an SQLite database"), "{text}");
    assert!(text.contains("written to"), "{text}");

    let nothing = home.path("nothing");
    fs::create_dir(&nothing).expect("it can be made");
    let output = home.run(import_of(&nothing)).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is no home of MMRelay"), "{text}");
}
