//! Interactive logins at a terminal: the order of the questions, hidden secrets, and interrupted logins.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use matrix_sdk::reqwest::{self, Method};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::canned::Canned;
use crate::support::person::{Person, names, readable_by_others};
use crate::support::proxy::Proxy;
use crate::support::relay::{Home, text_of};
use crate::support::synapse::{PASSWORD, Synapse, Trouble, free_port};
use crate::support::within;

/// The parts of a login on disk, and the recovery key of a login without a terminal.
const WHOLE: [&str; 4] = ["recovery.key", "sdk", "sdk.key", "session.json"];

/// Returns the devices of the account that a home is logged in to.
async fn devices(home: &Home) -> BTreeSet<String> {
    let session = home.session();
    let base = session["homeserver"].as_str().expect("it has a server");
    let token = session["access_token"].as_str().expect("it has a token");
    let answer = reqwest::Client::new()
        .request(Method::GET, format!("{base}_matrix/client/v3/devices"))
        .bearer_auth(token)
        .send()
        .await
        .expect("the homeserver answers");
    let text = answer.text().await.expect("an answer has text");
    let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
    let devices = answer["devices"]
        .as_array()
        .unwrap_or_else(|| panic!("no devices: {answer}"));
    let ids = devices.iter().map(|device| device["device_id"].as_str());
    ids.map(|id| id.expect("it has an id").to_owned()).collect()
}

fn device(home: &Home) -> String {
    let session = home.session();
    session["device_id"]
        .as_str()
        .expect("it has a device")
        .to_owned()
}

/// A home that is logged in.
async fn logged_in(synapse: &Synapse) -> (Home, String) {
    let home = Home::new();
    let bot = home.log_in(synapse).await;
    fs::remove_file(home.path("password")).expect("it was written");
    (home, bot.localpart().to_owned())
}

/// Begins another login, up to the question for the recovery key.
async fn as_far_as_the_key(home: &Home, synapse: &Synapse, username: &str) -> Person {
    let mut person = home.at_terminal([
        "auth",
        "login",
        "--force",
        "--homeserver",
        synapse.url(),
        "--username",
        username,
    ]);
    person.sees("Password of").await;
    assert!(!person.is_shown_what_is_typed());
    person.types(PASSWORD);
    person.sees("Recovery key (empty: go on without): ").await;
    assert!(!person.is_shown_what_is_typed());
    assert!(!names(&home.path("matrix/new/sdk")).is_empty());
    let readable = readable_by_others(&home.path("matrix"));
    assert!(readable.is_empty(), "{readable:?}");
    person
}

/// Asserts that the login is this one, and works.
async fn works(home: &Home, expected: &str) {
    assert_eq!(device(home), expected);
    let status = home.run(["auth", "status"]).await;
    let text = text_of(&status);
    assert!(status.status.success(), "{text}");
    assert!(text.contains("yes, by its owner"), "{text}");
    assert!(text.contains("key backup   on"), "{text}");
}

fn is_tidy(home: &Home) {
    assert_eq!(names(&home.path("matrix")), WHOLE);
}

#[tokio::test]
async fn the_homeserver_is_asked_for_first_and_reached_before_the_password() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let home = Home::new();
    let mut person = home.at_terminal(["auth", "login"]);
    person.sees("Homeserver, for example ").await;
    assert!(person.is_shown_what_is_typed());
    let nobody = format!("http://127.0.0.1:{}", free_port());
    person.types(&nobody);
    person.sees("cannot reach the homeserver").await;
    person.sees("Homeserver, for example ").await;
    person.types(synapse.url());
    person.sees("The bot's user name at 127.0.0.1").await;
    person.types(&username);
    person.sees(&format!("Password of {username}: ")).await;
    assert!(!person.is_shown_what_is_typed());
    person.types(PASSWORD);
    person.sees("Recovery key of the account").await;
    person.sees("logged in as @").await;
    person.sees("the device is verified by its owner").await;
    person.sees("key backup is on").await;
    assert!(person.ends().await.success());
    assert!(person.is_shown_what_is_typed());
    assert!(!person.screen().contains(PASSWORD), "{}", person.screen());
    assert_eq!(
        names(&home.path("matrix")),
        ["sdk", "sdk.key", "session.json"]
    );
}

#[tokio::test]
async fn a_whole_user_id_in_the_place_of_the_homeserver_is_enough() {
    let home = Home::new();
    let mut person = home.at_terminal(["auth", "login"]);
    person.sees("Homeserver, for example ").await;
    let port = free_port();
    person.types(&format!("@relay:127.0.0.1:{port}"));
    person
        .sees(&format!(
            "cannot reach the homeserver at http://127.0.0.1:{port}"
        ))
        .await;
    person.sees("Homeserver, for example ").await;
    person.presses("\u{3}");
    assert_eq!(person.ends().await.code(), Some(1));
}

#[tokio::test]
async fn a_mistyped_password_is_asked_for_again_three_times_in_all() {
    let synapse = Synapse::shared().await;
    let (home, username) = (Home::new(), synapse.register("bot").await);
    let login = ["auth", "login", "--homeserver", synapse.url()];
    let login = || login.into_iter().chain(["--username", &username]);
    let mut person = home.at_terminal(login());
    for wrong in ["mistyped", "", "mistyped again"] {
        person.sees("Password of").await;
        person.types(wrong);
        person.sees("error: the").await;
    }
    assert_eq!(person.ends().await.code(), Some(1));
    assert_eq!(person.screen().matches("Password of").count(), 3);

    let mut person = home.at_terminal(login());
    person.sees("Password of").await;
    person.types("mistyped");
    person
        .sees("does not accept this user name and password")
        .await;
    person.sees("Password of").await;
    assert!(!person.is_shown_what_is_typed());
    person.types(PASSWORD);
    person.sees("logged in as @").await;
    assert!(person.ends().await.success());
    assert_eq!(devices(&home).await, BTreeSet::from([device(&home)]));

    let mut person = home.at_terminal(["auth", "logout", "-y"]);
    person.sees("Password of").await;
    person.types("mistyped");
    person
        .sees("does not accept this user name and password")
        .await;
    person.sees("Password of").await;
    person.types(PASSWORD);
    person.sees("the session is ended").await;
    assert!(person.ends().await.success());
}

#[tokio::test]
async fn a_homeserver_that_wants_fewer_logins_ends_the_questions_with_its_words() {
    let proxy = Proxy::before(Synapse::shared().await.url()).await;
    let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "", "retry_after_ms": 7000});
    proxy.answers([Canned::to("POST /_matrix/client/v3/login", 429, &body)]);
    let home = Home::new();
    let login = ["auth", "login", "--homeserver", proxy.url()];
    let mut person = home.at_terminal(login.into_iter().chain(["--username", "bot"]));
    person.sees("Password of bot: ").await;
    person.types("mistyped");
    person.sees("limits how often this may be tried").await;
    person.sees("try again in 7 s").await;
    assert_eq!(person.ends().await.code(), Some(1));
}

#[tokio::test]
async fn whatever_ends_a_hidden_question_the_terminal_shows_again_what_is_typed() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let url = synapse.url();
    for signal in [
        None,
        Some(Signal::INT),
        Some(Signal::TERM),
        Some(Signal::HUP),
        Some(Signal::QUIT),
        Some(Signal::XCPU),
        Some(Signal::ABORT),
        Some(Signal::SYS),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Some(Signal::TRAP),
        #[cfg(target_os = "linux")]
        Some(Signal::POWER),
        #[cfg(target_os = "linux")]
        Some(Signal::STKFLT),
    ] {
        let login = ["auth", "login", "--homeserver", url, "--username", "bot"];
        let mut person = home.at_terminal(login);
        person.sees("Password of bot: ").await;
        assert!(!person.is_shown_what_is_typed());
        // These keys end nothing.
        for nothing in [Signal::USR1, Signal::USR2, Signal::ALARM] {
            person.signal(nothing);
        }
        match signal {
            // As a person ends it.
            None => person.presses("\u{3}"),
            Some(signal) => person.signal(signal),
        }
        assert_eq!(person.ends().await.code(), Some(1), "{signal:?}");
        assert!(person.is_shown_what_is_typed(), "{signal:?}");
        person.sees("interrupted").await;
    }
    assert!(names(&home.path("matrix")).is_empty());
}

/// Returns a person at a shell who has suspended the hidden question of a login with Ctrl-Z.
async fn suspended(home: &Home, through: &[&str], login: [&str; 6]) -> Person {
    let mut person = home.at_shell(through, login);
    person.sees("Password of bot: ").await;
    assert!(!person.is_shown_what_is_typed());
    person.presses("\u{1a}");
    // With a script in between the shell may print this first.
    person.sees("suspended").await;
    person.has_stopped("relay").await;
    assert!(person.is_shown_what_is_typed(), "{through:?}");
    person
}

/// Resumes the login, which asks again.
async fn resume(person: &mut Person) {
    person.types("fg");
    person.sees("Password of bot: ").await;
    assert!(!person.is_shown_what_is_typed());
}

async fn interrupt(mut person: Person) {
    person.presses("\u{3}");
    person.sees("interrupted").await;
    person.ends().await;
    assert!(person.is_shown_what_is_typed());
}

#[tokio::test]
async fn a_hidden_question_that_is_suspended_lets_the_shell_show_what_is_typed_and_is_asked_again()
{
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let url = synapse.url();
    let login = ["auth", "login", "--homeserver", url, "--username", "bot"];
    let by_a_script = ["sh", "-c", "\"$@\"; exit $?", "sh"];
    for through in [&[][..], &by_a_script] {
        let mut person = suspended(&home, through, login).await;
        resume(&mut person).await;
        interrupt(person).await;
    }

    // The terminal may be another job's before the command knows of it: only the program in between was suspended.
    let mut person = home.at_shell(&["timeout", "--foreground", "600"], login);
    person.sees("Password of bot: ").await;
    person.signal_to("timeout", Signal::STOP);
    person.sees("suspended").await;
    person.signal_to("relay", Signal::STOP);
    person.has_stopped("relay").await;
    assert!(!person.is_shown_what_is_typed());
    person.signal_to("relay", Signal::CONT);
    person.has_stopped("relay").await;
    assert!(person.is_shown_what_is_typed());
    resume(&mut person).await;
    interrupt(person).await;

    // After that the end of the input ends the question at once, as ever.
    let mut person = suspended(&home, &[], login).await;
    resume(&mut person).await;
    person.presses("\u{4}");
    person.ends().await;

    // In the background the command ends at a signal.
    let mut person = suspended(&home, &[], login).await;
    person.types("kill -TERM %1; kill -CONT %1; wait %1; echo it ends with $?");
    person.sees("it ends with 1").await;
    person.ends().await;

    // Without a shell that could resume the command, it is not suspended.
    let mut person = home.at_terminal(login);
    person.sees("Password of bot: ").await;
    person.presses("\u{1a}");
    assert!(!person.is_shown_what_is_typed());
    person.presses("\u{3}");
    assert_eq!(person.ends().await.code(), Some(1));
}

#[tokio::test]
async fn a_login_that_is_interrupted_leaves_the_old_one_and_no_device() {
    type End = fn(&Person);

    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let ends: [End; 4] = [
        |person| person.presses("\u{3}"),
        // The end of the input does not count as an answer.
        |person| person.presses("\u{4}"),
        |person| person.signal(Signal::TERM),
        |person| person.signal(Signal::HUP),
    ];
    for end in ends {
        let mut person = as_far_as_the_key(&home, synapse, &username).await;
        assert_eq!(devices(&home).await.len(), 2);
        end(&person);
        assert_eq!(person.ends().await.code(), Some(1));
        person.sees("the login is as it was").await;
        assert!(person.is_shown_what_is_typed());
        works(&home, &old).await;
        assert_eq!(devices(&home).await, BTreeSet::from([old.clone()]));
        is_tidy(&home);
    }
}

#[tokio::test]
async fn the_device_of_a_login_that_was_killed_is_signed_out_by_the_next_one() {
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    person.signal(Signal::KILL);
    person.ends().await;
    works(&home, &old).await;
    assert_eq!(devices(&home).await.len(), 2);

    let key = home.path("matrix/recovery.key");
    let key = key.to_str().expect("a path is a text");
    let output = home
        .log_in_forced(synapse.url(), &username, &["--recovery-key-file", key])
        .await;
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("device {old} is signed out")),
        "{text}"
    );
    let new = device(&home);
    assert_ne!(new, old);
    works(&home, &new).await;
    assert_eq!(devices(&home).await, BTreeSet::from([new]));
    is_tidy(&home);
}

#[tokio::test]
async fn the_device_of_a_login_that_was_killed_is_signed_out_by_the_next_start() {
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    person.signal(Signal::KILL);
    person.ends().await;
    home.configure(
        "matrix_rooms:\n  - {id: '!room:localhost', meshtastic_channel: 0}\n\
         meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n",
    );
    let mut relay = home.start().await;
    relay
        .logs("a device of an earlier login is signed out")
        .await;
    assert_eq!(devices(&home).await, BTreeSet::from([old.clone()]));
    assert!(relay.stop().await.success());
    works(&home, &old).await;
}

#[tokio::test]
async fn a_homeserver_that_goes_away_in_the_middle_leaves_the_old_login() {
    let (synapse, _guard) = Synapse::unreliable().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    synapse.does(Trouble::Stop);
    person.types("EsTx 1234");
    assert_eq!(person.ends().await.code(), Some(1));
    person.sees("could not be signed out yet").await;
    person.sees("the login is as it was").await;
    synapse.does(Trouble::Start);
    synapse.answers().await;
    works(&home, &old).await;
    assert_eq!(devices(&home).await.len(), 2);

    // The next interrupted login removes the devices of both.
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    person.presses("\u{3}");
    person.ends().await;
    works(&home, &old).await;
    assert_eq!(devices(&home).await, BTreeSet::from([old]));
    is_tidy(&home);
}

#[tokio::test]
async fn a_wrong_recovery_key_costs_no_login() {
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    for _ in 0..2 {
        person.types("EsTx 1234");
        person.sees("That key does not fit.").await;
        person.sees("Recovery key").await;
    }
    person.types("EsTx 1234");
    person.sees("does not open this account's secrets").await;
    assert_eq!(person.ends().await.code(), Some(1));
    works(&home, &old).await;
    assert_eq!(devices(&home).await, BTreeSet::from([old]));
    is_tidy(&home);
}

#[tokio::test]
async fn a_homeserver_that_fails_at_the_key_is_not_taken_for_a_wrong_key() {
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let key = home.path("matrix/recovery.key");
    let key = key.to_str().expect("a path is a text");
    let proxy = Proxy::before(synapse.url()).await;
    let body = json!({"errcode": "M_UNKNOWN", "error": "Internal server error"});
    proxy.answers([Canned::to("m.secret_storage", 500, &body)]);
    let output = home
        .log_in_forced(proxy.url(), &username, &["--recovery-key-file", key])
        .await;
    let text = text_of(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("the login is as it was"), "{text}");
    assert!(text.contains("Internal server error"), "{text}");
    assert!(!text.contains("does not open"), "{text}");
    works(&home, &old).await;
    is_tidy(&home);
}

#[tokio::test]
async fn the_recovery_key_that_lies_there_is_named_when_it_is_asked_for_and_opens_the_account() {
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, &username).await;
    let path = home.path("matrix/recovery.key");
    assert!(person.screen().contains(path.to_str().expect("a text")));
    person.types(fs::read_to_string(&path).expect("it lies there").trim());
    person.sees("logged in as @").await;
    assert!(person.ends().await.success());
    let new = device(&home);
    assert_ne!(new, old);
    works(&home, &new).await;
    assert_eq!(devices(&home).await, BTreeSet::from([new]));
    is_tidy(&home);
}

#[tokio::test]
async fn a_long_wait_is_shown_with_its_seconds() {
    let (synapse, _guard) = Synapse::unreliable().await;
    let username = synapse.register("bot").await;
    let home = Home::new();
    let login = ["auth", "login", "--homeserver", synapse.url()];
    synapse.does(Trouble::Hang);
    // After an interruption the error is on a line of its own.
    let mut person = home.at_terminal(login.into_iter().chain(["--username", &username]));
    person.sees(" … 1 s").await;
    person.presses("\u{3}");
    assert_eq!(person.ends().await.code(), Some(1));
    person.sees("\u{1b}[Kerror: interrupted").await;
    let mut person = home.at_terminal(login.into_iter().chain(["--username", &username]));
    person
        .sees(&format!("reaching {} … 1 s", synapse.url()))
        .await;
    person.sees(" … 2 s").await;
    synapse.does(Trouble::Resume);
    person.sees("Password of").await;
    synapse.does(Trouble::Hang);
    person.types(PASSWORD);
    person.sees("logging in … 2 s").await;
    // An interruption does not wait for the server's answer.
    person.presses("\u{3}");
    person.sees("ending the login").await;
    person.presses("\u{3}");
    assert_eq!(person.ends().await.code(), Some(1));
    synapse.does(Trouble::Resume);

    // A device that the server made after all is removed by the next login.
    let again = home.log_in_as(synapse.url(), &username, PASSWORD).await;
    assert!(again.status.success(), "{}", text_of(&again));
    fs::remove_file(home.path("password")).expect("it was written");
    assert_eq!(devices(&home).await, BTreeSet::from([device(&home)]));
    is_tidy(&home);
}

#[tokio::test]
async fn what_stands_below_a_password_in_its_file_is_none_of_it() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let mut home = Home::new();
    let file = home.path("secret");
    fs::write(&file, format!("{PASSWORD}\r\nof the bot\n")).expect("it can be written");
    let file = file.to_str().expect("a path is a text").to_owned();
    home.set_environment(("RELAY_MATRIX_PASSWORD_FILE", file));
    home.configure(&format!(
        "matrix: {{homeserver: '{}', bot_user_id: '@{username}:localhost'}}\n\
         matrix_rooms:\n  - {{id: '!room:localhost', meshtastic_channel: 0}}\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: 1}}\n",
        synapse.url()
    ));
    let output = home.run(["auth", "login"]).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let output = home.run(["auth", "logout", "-y"]).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let mut relay = home.start().await;
    relay.logs("Matrix session open").await;
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn a_daemon_that_is_killed_in_its_own_login_leaves_no_device() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let home = Home::new();
    home.configure(&format!(
        "matrix: {{homeserver: '{}', bot_user_id: '@{username}:localhost', password: '{PASSWORD}'}}\n\
         matrix_rooms:\n  - {{id: '!room:localhost', meshtastic_channel: 0}}\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: 1}}\n",
        synapse.url()
    ));
    let mut relay = home.spawn();
    let begun = async {
        while !home.path("matrix/new/sdk.key").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    within("the login's beginning", begun).await;
    relay.kill().await;
    assert!(!home.path("matrix/session.json").exists());
    let mut relay = home.start().await;
    relay.logs("Matrix session open").await;
    assert_eq!(devices(&home).await, BTreeSet::from([device(&home)]));
    assert!(relay.stop().await.success());
    assert!(!home.path("matrix/devices").exists());
}

#[tokio::test]
async fn key_backup_is_on_only_for_the_device_that_uses_it() {
    let synapse = Synapse::shared().await;
    let (first, username) = logged_in(synapse).await;
    let second = Home::new();
    let login = second.log_in_as(synapse.url(), &username, PASSWORD).await;
    assert!(login.status.success(), "{}", text_of(&login));
    assert!(!text_of(&login).contains("key backup is on"));
    let backup = async |home: &Home| {
        let status = text_of(&home.run(["auth", "status"]).await);
        let json = home.run(["auth", "status", "--json"]).await;
        let json: Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
        assert_eq!(json["key_backup_on_server"], true);
        (status, json["key_backup"].clone())
    };
    assert_eq!(backup(&first).await.1, true);
    let (status, known) = backup(&second).await;
    assert!(
        status.contains("key backup   not by this device"),
        "{status}"
    );
    assert_eq!(known, false);

    // The reset deletes the first identity's backup.
    let reset = second
        .log_in_forced(synapse.url(), &username, &["--reset-cross-signing"])
        .await;
    assert!(reset.status.success(), "{}", text_of(&reset));
    assert!(text_of(&reset).contains("key backup is on"));
    assert_eq!(backup(&second).await.1, true);
    assert_eq!(backup(&first).await.1, false);
    let logout = first
        .run(["auth", "logout", "-y", "--password", PASSWORD])
        .await;
    let text = text_of(&logout);
    assert!(logout.status.success(), "{text}");
    assert!(text.contains("this device puts nothing into it"), "{text}");
    let key = first.path("matrix/recovery.key");
    let stays = format!("stays in {}", key.display());
    assert!(text.contains(&stays) && key.exists(), "{text}");
    assert_eq!(names(&first.path("matrix")), ["recovery.key"]);
}

#[tokio::test]
async fn the_environment_is_enough_for_a_login_without_a_configuration() {
    let synapse = Synapse::shared().await;
    let username = synapse.register("bot").await;
    let file = |home: &Home, name: &str, text: &str| {
        let path = home.path(name);
        fs::write(&path, text).expect("it can be written");
        path.to_str().expect("a path is a text").to_owned()
    };
    let id = format!("@{username}:localhost");
    let mut files = Home::new();
    let server = file(&files, "server", &format!("\u{feff}{}\n", synapse.url()));
    let user = file(&files, "user", &format!("{id}\r\n"));
    let password = file(&files, "password", &format!("\u{feff}{PASSWORD}\n"));
    files.set_environment(("RELAY_MATRIX_HOMESERVER_FILE", server));
    files.set_environment(("RELAY_MATRIX_BOT_USER_ID_FILE", user));
    files.set_environment(("RELAY_MATRIX_PASSWORD_FILE", password));
    // As templates do that set each variable.
    files.set_environment(("RELAY_MATRIX_HOMESERVER", String::new()));
    files.set_environment(("RELAY_MATRIX_PASSWORD", String::new()));
    let mut theirs = Home::new();
    theirs.set_environment(("MMRELAY_MATRIX_HOMESERVER", synapse.url().to_owned()));
    theirs.set_environment(("MMRELAY_MATRIX_BOT_USER_ID", id.clone()));
    theirs.set_environment(("MMRELAY_MATRIX_PASSWORD", PASSWORD.to_owned()));
    let mut short = Home::new();
    short.set_environment(("RELAY_MATRIX_HOMESERVER", synapse.url().to_owned()));
    short.set_environment(("RELAY_MATRIX_USERNAME", username.clone()));
    short.set_environment(("RELAY_MATRIX_PASSWORD", PASSWORD.to_owned()));
    for home in [files, theirs, short] {
        let output = home.run(["auth", "login"]).await;
        let text = text_of(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains(&format!("logged in as {id}")), "{text}");
    }

    let mut missing = Home::new();
    missing.set_environment(("RELAY_MATRIX_HOMESERVER_FILE", "/nonexistent".to_owned()));
    let output = missing.run(["auth", "login", "--username", "bot"]).await;
    let text = text_of(&output);
    assert!(!output.status.success());
    assert!(text.contains("RELAY_MATRIX_HOMESERVER_FILE"), "{text}");
    assert!(text.contains("/nonexistent"), "{text}");
}

/// Returns what the homeserver knows of the keys of a login's device.
async fn keys_on_server(home: &Home) -> Value {
    let session = home.session();
    let text = |key: &str| session[key].as_str().expect("it is there").to_owned();
    let query = serde_json::json!({"device_keys": {text("user_id"): []}});
    let answer = reqwest::Client::new()
        .post(format!(
            "{}_matrix/client/v3/keys/query",
            text("homeserver")
        ))
        .bearer_auth(text("access_token"))
        .body(query.to_string())
        .send()
        .await
        .expect("the homeserver answers");
    let answer = answer.text().await.expect("an answer has text");
    let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
    answer["device_keys"][text("user_id")][text("device_id")]["keys"].clone()
}

#[tokio::test]
async fn a_login_whose_keys_are_lost_is_not_used_and_its_device_gets_no_others() {
    const KEYS: &str = "matrix/sdk/matrix-sdk-crypto.sqlite3";
    let synapse = Synapse::shared().await;
    let (home, username) = logged_in(synapse).await;
    home.configure(
        "matrix_rooms:\n  - {id: '!room:localhost', meshtastic_channel: 0}\n\
         meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n",
    );
    let key = home.path("matrix/recovery.key");
    let key = key.to_str().expect("a path is a text");
    let (mine, other) = (home.path(KEYS), logged_in(synapse).await.0);
    let damages: [(&str, &dyn Fn() -> std::io::Result<()>); 5] = [
        ("it is missing", &|| {
            fs::remove_dir_all(home.path("matrix/sdk"))
        }),
        ("it is missing", &|| {
            fs::remove_file(home.path("matrix/sdk.key"))
        }),
        ("no keys of the device", &|| fs::write(&mine, "")),
        ("bytes instead of 32", &|| {
            fs::write(home.path("matrix/sdk.key"), "")
        }),
        ("it holds", &|| {
            fs::copy(other.path("matrix/sdk.key"), home.path("matrix/sdk.key"))?;
            fs::copy(other.path(KEYS), &mine).map(|_| ())
        }),
    ];
    for (words, damage) in damages {
        damage().expect("it can be damaged");
        let known = keys_on_server(&home).await;
        let mut relay = home.start().await;
        let line = relay.logs("Matrix cannot be used now").await;
        assert!(line.contains(words), "{words}: {line}");
        for command in [["auth", "status"], ["doctor", "--quick"]] {
            let output = home.run(command).await;
            let text = text_of(&output);
            assert_eq!(output.status.code(), Some(1), "{words}: {text}");
            assert!(text.contains(words), "{words}: {text}");
            let cure = "`relay auth recover --home ";
            assert!(text.contains(cure), "{words}: {text}");
        }
        assert_eq!(keys_on_server(&home).await, known, "{words}");

        let output = home
            .log_in_forced(synapse.url(), &username, &["--recovery-key-file", key])
            .await;
        assert!(output.status.success(), "{words}: {}", text_of(&output));
        relay.logs("Matrix session open").await;
        assert!(relay.stop().await.success());
        works(&home, &device(&home)).await;
    }
}

/// A file system of its own, where this process may mount one.
fn small_disk(at: &Path) -> bool {
    fs::create_dir_all(at).expect("it can be made");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"])
        .arg(at)
        .output();
    mount.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_costs_no_login() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let matrix = home.path("matrix");
    if !small_disk(&matrix) {
        eprintln!("not tested: this process may not mount a disk");
        return;
    }
    let bot = home.log_in(synapse).await;
    let old = device(&home);
    let mut person = as_far_as_the_key(&home, synapse, bot.localpart()).await;
    let ballast = matrix.join("ballast");
    let mut file = fs::File::create(&ballast).expect("there is room");
    std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it fills up");
    person.types("");
    assert_eq!(person.ends().await.code(), Some(1), "{}", person.screen());
    works(&home, &old).await;
    assert_eq!(devices(&home).await, BTreeSet::from([old.clone()]));

    // Nor does a disk that is full just after the server has accepted the login.
    let full = fs::metadata(&ballast).expect("it is there").len();
    for pages in 1..6 {
        let file = fs::File::options().write(true).open(&ballast);
        let file = file.expect("it is there");
        file.set_len(full - pages * 4096).expect("it can be cut");
        let login = home
            .log_in_forced(synapse.url(), bot.localpart(), &[])
            .await;
        assert!(!login.status.success(), "{}", text_of(&login));
        let left = devices(&home).await;
        assert_eq!(
            left,
            BTreeSet::from([old.clone()]),
            "{pages} {}",
            text_of(&login)
        );
    }

    // A login that begins on a full disk makes no device at all.
    let mut file = fs::File::create(&ballast).expect("it is there");
    std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it fills up");
    let again = home
        .log_in_forced(synapse.url(), bot.localpart(), &[])
        .await;
    assert!(!again.status.success(), "{}", text_of(&again));
    works(&home, &old).await;
    assert_eq!(devices(&home).await, BTreeSet::from([old]));
    fs::remove_file(ballast).expect("it is there");
    is_tidy(&home);
    let unmounted = std::process::Command::new("umount")
        .arg("--lazy")
        .arg(&matrix)
        .output();
    assert!(unmounted.is_ok_and(|output| output.status.success()));
}
