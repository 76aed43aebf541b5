//! What the guide, the reference and the README tell to type works. Every block of commands and every configuration in them is run here or by
//! another test, or says why not (`support/guide.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::guide::{Block, blocks, commands, pages, root, run_by};
use crate::support::lines::Lines;
use crate::support::process::relay_program;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, User};
use crate::support::within;

/// Pages whose commands a script runs: they take a container engine, a Debian of their own, Wine, or a build.
const RUN_BY_SCRIPTS: [(&str, &str); 4] = [
    ("docs/guide/docker.md", "scripts/image-test"),
    ("docs/guide/debian.md", "scripts/package-test"),
    ("docs/guide/windows.md", "scripts/windows-test"),
    ("docs/reference/building.md", "scripts/package"),
];

const FIRST: &str = "docs/guide/first-message.md";
const FAULTS: &str = "docs/guide/troubleshooting.md";

fn is_run_by_a_script(page: &str) -> bool {
    RUN_BY_SCRIPTS.iter().any(|(other, _)| page == *other)
}

fn all_blocks() -> impl Iterator<Item = Block> {
    pages().into_iter().flat_map(|page| blocks(&page))
}

#[test]
fn every_block_of_the_guide_is_run_by_a_test_or_says_why_not() {
    let (mut wrong, mut run) = (Vec::new(), 0);
    for (page, script) in RUN_BY_SCRIPTS {
        let script_text = fs::read_to_string(root().join(script)).ok();
        let names_it = script_text.is_some_and(|it| it.contains(page));
        wrong.extend((!names_it).then(|| format!("{page}: {script} does not run it")));
    }
    for block in all_blocks().filter(|it| !is_run_by_a_script(&it.page)) {
        let problem = match (&*block.language, &block.mark, block.run_by()) {
            ("text" | "json", _, _) | ("yaml", None, _) => continue,
            ("console" | "python" | "yaml", _, Some(file)) => {
                run += 1;
                let test = fs::read_to_string(root().join("tests/it").join(file));
                let names_it = test.is_ok_and(|test| test.contains(&format!("\"{}\"", block.page)));
                (!names_it).then_some("that file does not run this page")
            }
            ("console" | "python" | "yaml", Some(_), None) => {
                let lacks_one = block.why_not().is_none_or(str::is_empty);
                lacks_one.then_some("the comment is neither `run by FILE` nor `not run: WHY`")
            }
            ("console" | "python", None, None) => Some("no test runs it, and nothing says why not"),
            _ => Some("it is none of console, python, yaml, json, text"),
        };
        let place = format!("{}:{}", block.page, block.line);
        wrong.extend(problem.map(|problem| format!("{place}: {problem}")));
    }
    assert!(run > 15, "{run} blocks are run");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Adds what a piece of a configuration lacks.
fn whole(block: &Block) -> String {
    let mut text = block.text();
    if !text.contains("matrix_rooms:") {
        text.push_str("matrix_rooms: [{id: '#hilltop:example.org', meshtastic_channel: 0}]\n");
    }
    if !text.contains("meshtastic:\n") {
        text.push_str("meshtastic: {connection_type: serial}\n");
    }
    text
}

#[tokio::test]
async fn every_configuration_that_the_pages_show_is_loaded() {
    let mut loaded = 0;
    for block in all_blocks() {
        if block.language != "yaml" || block.mark.is_some() {
            continue;
        }
        let home = Home::new();
        home.configure(&whole(&block));
        let output = home.run(["config", "check"]).await;
        let text = text_of(&output);
        let place = format!("{}:{}: {text}", block.page, block.line);
        assert_eq!(output.status.code(), Some(0), "{place}");
        let is_told = |line: &&str| line.starts_with("warning") && !line.contains("example");
        assert_eq!(text.lines().find(is_told), None, "{place}");
        loaded += 1;
    }
    assert!(loaded > 10, "{loaded} configurations");
}

#[test]
fn the_readme_has_no_other_commands_than_the_first_pages() {
    let told = commands(FIRST, "guide.rs");
    for command in commands("README.md", "guide.rs") {
        assert!(told.contains(&command), "{command}");
    }
}

/// Returns the words of a command of the relay.
fn words(command: &str) -> Vec<&str> {
    let words = command.strip_prefix("relay").expect("the relay is run");
    words.split_whitespace().collect()
}

#[track_caller]
fn assert_done(command: &str, output: &Output) {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{command}: {}",
        text_of(output)
    );
}

/// Returns the file with the password, for logins without a terminal.
fn password(home: &Home) -> String {
    let file = home.path("password");
    fs::write(&file, PASSWORD).expect("it can be written");
    file.to_str().expect("a path is a text").to_owned()
}

/// Runs a line in a shell that finds the relay, in this directory, which is also the user's home.
async fn run_in(directory: &Path, line: &str) -> Output {
    let program = relay_program();
    let before = std::env::var("PATH").unwrap_or_default();
    let place = program.parent().expect("a program is in a directory");
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(directory)
        .env("HOME", directory)
        .env("PATH", format!("{}:{before}", place.display()))
        .stdin(Stdio::null());
    let output = within(&format!("the end of `{line}`"), command.output()).await;
    output.expect("there is a shell")
}

#[tokio::test]
async fn whoever_follows_the_first_pages_gets_the_first_message() {
    let synapse = Synapse::shared().await;
    let (alice, bot, mut radio) = tokio::join!(
        User::new(synapse, "Alice"),
        synapse.register("bot"),
        Radio::start()
    );
    let bot_id = format!("@{bot}:localhost")
        .parse()
        .expect("it has an identifier");
    let room = alice
        .create_room(Kind::Encrypted, std::slice::from_ref(&bot_id))
        .await;
    let home = Home::new();
    let place = format!("127.0.0.1:{}", radio.port());
    for command in commands("docs/guide/network.md", "guide.rs") {
        let command = command.replace("192.168.1.20", &place);
        assert_done(&command, &home.run(words(&command)).await);
    }

    let shown = blocks(FIRST);
    let shown = shown.iter().find(|it| it.language == "yaml");
    let config = shown.expect("a configuration is shown").text();
    let host = format!("127.0.0.1\n  port: {}", radio.port());
    let config = config
        .replace("192.168.1.20", &host)
        .replace("#hilltop:example.org", room.as_str());
    let mut relay = None;
    for command in commands(FIRST, "guide.rs") {
        let command = command.replace("example.org", synapse.url());
        let command = command.replace("relaybot", &bot);
        match &*command {
            "relay" => relay = Some(home.start().await),
            // What this radio is.
            "relay simulate" => {}
            "relay config paths" => {
                let told = home.run(words(&command)).await;
                assert_done(&command, &told);
                let path = home.path("config.yaml");
                assert!(text_of(&told).contains(&*path.to_string_lossy()));
                home.configure(&config);
            }
            _ => {
                let login = command.contains("auth login");
                let file = password(&home);
                let flags = if login {
                    vec!["--password-file", &file]
                } else {
                    Vec::new()
                };
                let output = home.run(words(&command).into_iter().chain(flags)).await;
                assert_done(&command, &output);
            }
        }
    }
    let mut relay = relay.expect("the page starts the relay");
    relay.logs("messages can cross").await;
    alice.sees_join(&room, &bot_id).await;
    relay.logs(&format!("room joined room={room} name=")).await;
    radio.says(BASE, 0, "the first message").await;
    alice
        .sees_text(&room, "[Base Camp/LongFast]: the first message")
        .await;
    alice.send(&room, "and the second").await;
    radio.transmits("Alice[M]: and the second").await;
    assert_told_on_the_page(&home);
    assert!(relay.stop().await.success());
}

/// Every file in the home of a running relay stands on the page about them.
fn assert_told_on_the_page(home: &Home) {
    let page = fs::read_to_string(root().join("docs/reference/files.md"));
    let page = page.expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let told: BTreeSet<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    let (mut directories, mut unknown) = (vec![home.path("")], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            let name = path.strip_prefix(home.path("")).expect("it is in the home");
            let name = name.to_str().expect("a path is a text");
            if path.is_dir() && !told.contains(&*format!("{name}/")) {
                directories.push(path);
            } else if !path.is_dir() && !told.contains(name) && name != "password" {
                unknown.push(name.to_owned());
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new(), "not on the page");
}

#[tokio::test]
async fn whoever_follows_the_page_of_encrypted_rooms_has_a_verified_device() {
    let synapse = Synapse::shared().await;
    let mut home = Home::new();
    let bot = home.log_in(synapse).await;
    let directory = home.path("user");
    fs::create_dir(&directory).expect("there is room");
    home.set_environment(("HOME", directory.display().to_string()));
    let key = directory.join("recovery-key.txt");
    fs::rename(home.path("matrix/recovery.key"), &key).expect("the login has written it");
    let (key, file) = (key.display().to_string(), password(&home));
    for command in commands("docs/guide/encrypted-rooms.md", "guide.rs") {
        let command = command.replace("recovery-key.txt", &key);
        let mut arguments = words(&command);
        if command.contains("auth login") {
            arguments.extend(["--password-file", &file, "--username", bot.localpart()]);
            arguments.extend(["--homeserver", synapse.url()]);
        }
        assert_done(&command, &home.run(arguments).await);
        let status = text_of(&home.run(["auth", "status"]).await);
        assert!(status.contains("yes, by its owner"), "{command}: {status}");
    }
}

#[tokio::test]
async fn what_was_backed_up_is_restored_and_then_moved_to_another_computer_and_answers_find_their_message()
 {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let packet = scene.radio.says(BASE, 0, "before the failure").await;
    let said = "[Base Camp/LongFast]: before the failure";
    let seen = scene.alice.sees_text(&scene.room, said).await;
    let (restored, moved) = (Home::new(), Home::new());
    let file = |name: &str| restored.path(name).display().to_string();
    let key = file("recovery-key.txt");
    fs::rename(scene.home.path("matrix/recovery.key"), &key).expect("the login has written it");
    let passphrase = file("passphrase");
    fs::write(&passphrase, "correct horse battery").expect("there is room");

    let password = password(&restored);
    let (mut home, mut starts) = (&scene.home, 0);
    for command in commands("docs/guide/backup.md", "guide.rs") {
        if command == "relay" {
            let mut relay = home.start().await;
            relay.logs("messages can cross").await;
            starts += 1;
            let text = format!("start {starts}");
            scene.alice.reply(&scene.room, &seen.id, &text).await;
            let answer = scene.radio.transmits(&format!("Alice[M]: {text}")).await;
            assert_eq!(answer["reply_id"], packet, "{answer}");
            assert!(relay.stop().await.success());
            continue;
        }
        let named = |word: &str| match word {
            "recovery-key.txt" => key.clone(),
            _ if word.starts_with("relay-") => file(word),
            _ => word.to_owned(),
        };
        let mut arguments: Vec<String> = words(&command).into_iter().map(named).collect();
        let mut from_file =
            |flag: &str, file: &str| arguments.extend([flag, file].map(str::to_owned));
        if command.contains(" restore ") {
            scene.relay.kill().await;
            home = &restored;
            from_file("--password-file", &password);
        } else if command.contains(" auth ") {
            from_file("--passphrase-file", &passphrase);
        }
        if command.contains(" import ") {
            home = &moved;
            let [from, to] = [&restored, &moved].map(|it| it.path("config.yaml"));
            fs::copy(from, to).expect("it was restored");
        }
        assert_done(&command, &home.run(arguments).await);
    }
    assert_eq!(
        starts, 2,
        "the page starts the relay where it was restored, and where it moved to"
    );
}

#[tokio::test]
async fn completions_manual_page_and_schema_are_where_the_pages_put_them() {
    let home = Home::new();
    fs::create_dir(home.path(".relay")).expect("there is room");
    let mut told = commands("docs/guide/build.md", "guide.rs");
    told.extend(commands("docs/reference/configuration.md", "guide.rs"));
    for command in told {
        assert_done(&command, &run_in(&home.path(""), &command).await);
    }
    for file in [
        ".local/share/bash-completion/completions/relay",
        ".local/share/man/man1/relay.1",
        ".relay/config.schema.json",
    ] {
        let text = fs::read_to_string(home.path(file)).expect("it was written");
        assert!(text.contains("relay"), "{file}");
    }
}

/// Runs each of these commands; the relay knows it, and comes to an end.
async fn all_are_known(commands: &[String], home: &Home, codes: &[i32]) {
    assert!(commands.len() > 3, "{commands:?}");
    for command in commands {
        let output = home.run(words(command)).await;
        let code = output.status.code().expect("it ends by itself");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(codes.contains(&code), "{command:?}: {code}\n{said}");
        assert!(!said.contains("unrecognized"), "{command:?}: {said}");
        assert!(!said.contains("unexpected"), "{command:?}: {said}");
    }
}

#[tokio::test]
async fn every_command_of_the_guide_to_faults_is_well_beside_a_running_relay() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    all_are_known(&commands(FAULTS, "guide.rs"), &scene.home, &[0]).await;
    let report = scene.home.path("report.txt").display().to_string();
    for command in commands("docs/guide/looking-after.md", "guide.rs") {
        let command = command.replace("report.txt", &report);
        assert_done(&command, &scene.home.run(words(&command)).await);
    }
    for program in run_by("docs/reference/socket.md", "guide.rs") {
        let socket = scene.home.path("relay.sock");
        let text = program
            .text()
            .replace("/var/lib/relay/relay.sock", &socket.to_string_lossy());
        let output = Command::new("python3").args(["-c", &text]).output().await;
        let output = output.expect("there is Python");
        assert_eq!(text_of(&output), "ready\n");
    }
}

/// Returns whether a line of the simulated radio is the one that its page shows; the place is another one.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let (Some(line), Some(shown)) = (object(line), object(shown)) else {
        return false;
    };
    line == shown || shown.contains_key("listening") && line.keys().eq(shown.keys())
}

#[tokio::test]
async fn the_simulated_radio_answers_as_its_page_shows() {
    for block in run_by("docs/reference/simulator.md", "guide.rs") {
        let home = Home::new();
        let link = home.path("radio").display().to_string();
        let command = block.commands().remove(0);
        let command = command.replace("127.0.0.1:4403", "127.0.0.1:0");
        let command = command.replace("/tmp/radio", &link);
        let mut radio = Command::new(relay_program())
            .args(words(&command))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the simulated radio runs");
        let mut input = radio.stdin.take().expect("its input is a pipe");
        let output = radio.stdout.take().expect("its output is a pipe");
        let output = Lines::of("the radio", output);
        for shown in &block.lines[1..] {
            if shown.starts_with('{') {
                let pick = |line: &str| is_as_shown(line, shown).then_some(());
                output.first(0, shown, pick).await;
            } else {
                let typed = format!("{shown}\n");
                let written = input.write_all(typed.as_bytes()).await;
                written.expect("the radio reads its input");
            }
        }
    }
}

#[tokio::test]
async fn every_command_of_the_guide_to_faults_says_what_is_missing_in_an_empty_home() {
    let commands = commands(FAULTS, "guide.rs");
    all_are_known(&commands, &Home::new(), &[0, 1, 2]).await;
}

#[tokio::test]
async fn every_command_of_the_page_of_the_debian_package_is_known() {
    let blocks = blocks("docs/guide/debian.md");
    let commands = blocks.iter().flat_map(Block::commands);
    let of_relay = commands.filter_map(|command| {
        let (_, rest) = command.split_once(" relay --home /var/lib/relay ")?;
        Some(format!("relay {rest}"))
    });
    let commands: Vec<String> = of_relay.collect();
    all_are_known(&commands, &Home::new(), &[0, 1, 2]).await;
}
