//! The command line: exit codes, stdout and stderr, and errors in one sentence with a hint.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use matrix_sdk::reqwest::Method;
use serde_json::{Value, json};

use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::{PASSWORD, Synapse, free_port};
use crate::support::user::Kind;

const CONFIG: &str = "\
matrix_rooms:
  - {id: '!room:example.org', meshtastic_channel: 0}
meshtastic:
  connection_type: tcp
  host: radio.example.org
";

/// Asserts that a command failed with this exit code and these words.
#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(
        output.stdout.is_empty(),
        "a failure goes to standard error alone: {text}"
    );
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(!text.contains(PASSWORD), "a password is shown: {text}");
}

#[track_caller]
fn assert_succeeds(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", text_of(output));
}

fn mode(home: &Home, name: &str) -> u32 {
    let metadata = fs::metadata(home.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    metadata.permissions().mode() & 0o777
}

#[tokio::test]
async fn help_tells_of_every_command_with_an_example() {
    let home = Home::new();
    let mut commands = vec![String::new()];
    let mut shown = 0;
    while let Some(command) = commands.pop() {
        let output = home.run(command.split_whitespace().chain(["--help"])).await;
        assert_succeeds(&output);
        let help = text_of(&output);
        let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
        for line in list.lines().take_while(|line| !line.is_empty()) {
            // What is indented further continues a line.
            let named = line.strip_prefix("  ").filter(|it| !it.starts_with(' '));
            let name = named.and_then(|it| it.split_whitespace().next());
            let name = name.filter(|name| *name != "help");
            commands.extend(name.map(|name| format!("{command} {name}")));
        }
        let name = format!("help {}", command.trim());
        insta::assert_snapshot!(name.trim().replace(' ', "_"), help);
        shown += 1;
    }
    assert!(shown > 20, "{shown} commands");
}

#[tokio::test]
async fn a_script_of_the_simulated_radio_happens_by_itself_and_a_mistake_is_told_with_its_line() {
    let home = Home::new();
    let script = home.path("script.jsonl");
    let name = script.to_str().expect("a path is a text");
    fs::write(
        &script,
        "one\n{\"after\": \"100ms\", \"text\": \"two\", \"id\": 4711}\n",
    )
    .unwrap();
    let radio = Radio::start_with(&["--script", name, "--firmware", "2.8"]).await;
    radio.writes(r#"{"script":"ended"}"#).await;
    assert!(radio.log().contains(r#""id":4711"#), "{}", radio.log());

    fs::write(&script, "one\n{\"after\": 2}\n").unwrap();
    let output = home.run(["simulate", "--listen", "127.0.0.1:0", "--script", name]);
    assert_fails(
        &output.await,
        1,
        &["cannot follow the script", "line 2", "write it like"],
    );
    let output = home.run(["simulate", "--listen", "127.0.0.1:0", "--firmware", "2.6"]);
    assert_fails(&output.await, 2, &["2.7 and 2.8"]);
}

#[tokio::test]
async fn an_unknown_word_is_an_error_with_the_nearest_known_one() {
    let home = Home::new();
    assert_fails(&home.run(["confgi"]).await, 2, &["confgi", "config"]);
    assert_fails(&home.run(["config", "chekc"]).await, 2, &["chekc", "check"]);
    assert_fails(&home.run(["--hoem", "x"]).await, 2, &["--hoem", "--home"]);
    assert_fails(&home.run(["doctor", "--online"]).await, 2, &["doctor"]);
    for (word, meant) in [
        ("login", "`relay auth login`"),
        ("logout", "`relay auth logout`"),
        ("nodes", "`relay radio nodes`"),
        ("chekc", "`relay config check`"),
        ("verify", "`relay auth verify`"),
    ] {
        assert_fails(&home.run([word]).await, 2, &[word, meant]);
    }
}

#[tokio::test]
async fn the_version_is_told() {
    let output = Home::new().run(["--version"]).await;
    assert_succeeds(&output);
    assert!(
        text_of(&output).contains(env!("CARGO_PKG_VERSION")),
        "{}",
        text_of(&output)
    );
}

#[tokio::test]
async fn a_good_configuration_passes_the_check() {
    let home = Home::new();
    home.configure(CONFIG);
    assert_succeeds(&home.run(["config", "check"]).await);
    let output = home.run(["config", "check", "--json"]).await;
    assert_succeeds(&output);
    let report: Result<Value, _> = serde_json::from_slice(&output.stdout);
    assert!(report.is_ok(), "{}", text_of(&output));
}

#[tokio::test]
async fn all_mistakes_of_a_configuration_are_told_with_their_places() {
    let home = Home::new();
    home.configure(
        &CONFIG
            .replace("meshtastic_channel: 0", "meshtastic_channel: 9")
            .replace("host:", "hots:"),
    );
    for command in [vec!["config", "check"], vec![], vec!["run"]] {
        let output = home.run(command).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let range =
            "matrix_rooms[0].meshtastic_channel: 9 is out of range: a radio has channels 0 to 7";
        assert!(text.contains("config.yaml:2:"), "{text}");
        assert!(text.contains(range), "{text}");
        assert!(
            text.contains("meshtastic.hots: unknown key; did you mean `host`?"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_missing_configuration_is_told_with_the_cure() {
    assert_fails(
        &Home::new().run(["run"]).await,
        2,
        &["config.yaml", "`relay config generate --home "],
    );
}

#[tokio::test]
async fn the_generated_configuration_is_the_sample_and_is_never_overwritten() {
    let home = Home::new();
    let output = home.run(["config", "generate"]).await;
    assert_succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("`relay config check --home "), "{text}");
    let generated = fs::read_to_string(home.path("config.yaml")).expect("it was generated");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config.sample.yaml");
    assert_eq!(
        generated,
        fs::read_to_string(sample).expect("the sample is there")
    );
    assert_eq!(mode(&home, "config.yaml"), 0o600);
    let schema = home.run(["config", "schema"]).await;
    assert_succeeds(&schema);
    let named = generated.lines().next().and_then(|it| it.split_once('='));
    let (_, beside) = named.expect("the first line names the schema");
    assert_eq!(
        fs::read(home.path(beside)).expect("it is beside"),
        schema.stdout
    );
    assert_succeeds(&home.run(["config", "check"]).await);

    home.configure(CONFIG);
    assert_fails(&home.run(["config", "generate"]).await, 1, &["--force"]);
    assert_eq!(
        fs::read_to_string(home.path("config.yaml")).expect("it is there"),
        CONFIG
    );
    assert_succeeds(&home.run(["config", "generate", "--force"]).await);
}

#[tokio::test]
async fn paths_are_told() {
    let home = Home::new();
    let output = home.run(["config", "paths"]).await;
    assert_succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in [
        "config.yaml",
        "matrix/session.json",
        "database/relay.sqlite",
    ] {
        assert!(
            text.contains(&home.path(name).display().to_string()),
            "{name} is missing in {text}"
        );
    }
}

#[tokio::test]
async fn a_login_leaves_a_session_that_only_its_owner_can_read() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let bot = home.log_in(synapse).await;
    assert_eq!(mode(&home, "matrix"), 0o700);
    for name in [
        "matrix/session.json",
        "matrix/sdk.key",
        "matrix/recovery.key",
    ] {
        assert_eq!(mode(&home, name), 0o600, "{name}");
    }

    let output = home.run(["auth", "status", "--json"]).await;
    assert_succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status: Result<Value, _> = serde_json::from_str(&text);
    assert!(
        status.is_ok() && text.contains(bot.as_str()),
        "{}",
        text_of(&output)
    );

    let again = home
        .log_in_as(synapse.url(), bot.localpart(), PASSWORD)
        .await;
    assert_fails(&again, 1, &[bot.as_str(), "--force"]);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_leaves_nothing() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let home = Home::new();
    let output = home
        .log_in_as(synapse.url(), &username, "not this one")
        .await;
    assert_fails(&output, 1, &["password"]);
    assert!(
        !text_of(&output).contains("not this one"),
        "{}",
        text_of(&output)
    );
    assert!(!home.path("matrix/session.json").exists());
    // The same home can then be used.
    assert_succeeds(&home.log_in_as(synapse.url(), &username, PASSWORD).await);
}

#[tokio::test]
async fn an_unreachable_homeserver_is_told() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let output = Home::new().log_in_as(&url, "bot", PASSWORD).await;
    assert_fails(&output, 1, &[&url]);
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused() {
    let output = Home::new()
        .log_in_as("http://matrix.example.org", "bot", PASSWORD)
        .await;
    let text = text_of(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("--allow-http"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_asked_for_without_a_terminal_is_an_error_that_names_the_flag() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let login = ["auth", "login", "--homeserver", synapse.url()];
    let output = home.run(login).await;
    assert!(
        !output.status.success() && text_of(&output).contains("--username"),
        "{}",
        text_of(&output)
    );
    let output = home
        .run(login.into_iter().chain(["--username", "bot"]))
        .await;
    assert!(
        !output.status.success() && text_of(&output).contains("--password"),
        "{}",
        text_of(&output)
    );
}

#[tokio::test]
async fn a_logout_takes_the_session_away() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    home.log_in(synapse).await;
    let wrong = home
        .run(["auth", "logout", "-y", "--password", "not this one"])
        .await;
    assert!(!wrong.status.success(), "{}", text_of(&wrong));
    assert!(
        home.path("matrix/session.json").exists(),
        "a wrong password deletes nothing"
    );
    let output = home
        .run(["auth", "logout", "-y", "--password", PASSWORD])
        .await;
    assert_succeeds(&output);
    for name in ["matrix/session.json", "matrix/sdk.key", "matrix/sdk"] {
        assert!(!home.path(name).exists(), "{name} is still there");
    }
}

#[tokio::test]
async fn a_daemon_without_a_session_says_how_to_log_in_and_takes_the_session_up() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    for name in ["session.json", "sdk.key"] {
        fs::remove_file(stage.home.path("matrix").join(name)).expect("it was written by the login");
    }
    fs::remove_dir_all(stage.home.path("matrix/sdk")).expect("it was written by the login");
    let relay = stage.home.spawn();
    relay.logs("relay auth login").await;

    // It accepts from the radio meanwhile.
    stage.radio.says(BASE, 0, "said before the login").await;
    let url = Synapse::shared().await.url();
    let force = stage
        .home
        .log_in_as(url, stage.bot.localpart(), PASSWORD)
        .await;
    assert_succeeds(&force);
    stage
        .alice
        .sees_text(
            &stage.rooms[0],
            "[Base Camp/LongFast]: said before the login",
        )
        .await;
}

#[tokio::test]
async fn a_room_that_cannot_be_joined_is_told_and_joined_once_it_can_be() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let closed = stage.alice.create_room(Kind::Plain, &[]).await;
    let config = fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    stage
        .home
        .configure(&config.replace(stage.rooms[0].as_str(), closed.as_str()));
    let mut relay = stage.home.start().await;
    relay.logs(closed.as_str()).await;

    let invite = json!({"user_id": stage.bot});
    stage
        .alice
        .request(Method::POST, &["rooms", closed.as_str(), "invite"], &invite)
        .await;
    stage.alice.sees_join(&closed, &stage.bot).await;
    stage.alice.send(&closed, "welcome").await;
    stage.radio.transmits("Alice[M]: welcome").await;
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn a_second_daemon_and_a_login_beside_a_running_one_are_refused() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    let second = scene.home.run(["run"]).await;
    assert_fails(&second, 1, &["another relay", "process"]);
    let url = Synapse::shared().await.url();
    let login = scene
        .home
        .log_in_as(url, scene.bot.localpart(), PASSWORD)
        .await;
    assert!(!login.status.success(), "{}", text_of(&login));
    let logout = scene
        .home
        .run(["auth", "logout", "-y", "--password", PASSWORD])
        .await;
    assert!(!logout.status.success(), "{}", text_of(&logout));
    assert!(scene.home.path("matrix/session.json").exists());
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    scene.radio.says(BASE, 0, "a text of the mesh").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: a text of the mesh")
        .await;
    scene.alice.send(&scene.room, "a text of Matrix").await;
    scene.radio.transmits("Alice[M]: a text of Matrix").await;
    assert!(scene.relay.stop().await.success());

    let log = scene.relay.log();
    let session = fs::read_to_string(scene.home.path("matrix/session.json")).expect("it is there");
    let session: Value = serde_json::from_str(&session).expect("it is JSON");
    let token = session
        .pointer("/access_token")
        .and_then(Value::as_str)
        .expect("it holds a token");
    for secret in [token, "a text of the mesh", "a text of Matrix", PASSWORD] {
        assert!(!log.contains(secret), "`{secret}` is in the log");
    }
}
