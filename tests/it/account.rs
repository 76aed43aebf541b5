//! A homeserver's refusal of the login, or a 429, is never final: the relay retries with a bounded back-off.

use std::fs;
use std::process::Output;
use std::time::Duration;

use matrix_sdk::reqwest;
use serde_json::{Value, json};

use crate::support::canned::Canned;
use crate::support::proxy::Proxy;
use crate::support::radio::BASE;
use crate::support::relay::text_of;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{PASSWORD, Synapse};
use crate::support::user::{Kind, Seen};
use crate::support::within;

/// The answer to every request with the relay's token.
fn refusing(scene: &Scene, status: u16, body: &Value) -> Canned {
    let session = scene.home.session();
    let token = session["access_token"].as_str().expect("it has a token");
    Canned::to(token, status, body)
}

fn store_state(scene: &Scene) -> Value {
    let text = fs::read(scene.home.path("relay.lock")).expect("there is a lock");
    let lock: Value = serde_json::from_slice(&text).expect("it is JSON");
    lock["store"].clone()
}

async fn log_in_anew(scene: &Scene) -> Output {
    let password = scene.home.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let arguments = [
        "auth",
        "login",
        "--force",
        "--homeserver",
        scene.proxy().url(),
        "--username",
        scene.bot.localpart(),
        "--password-file",
        password.to_str().unwrap(),
    ];
    scene.home.run(arguments).await
}

async fn status(scene: &Scene) -> Value {
    let output = scene.home.run(["status", "--json"]).await;
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// Checks the back-off between the requests whether the login is accepted: it doubles from half a second, and jitter
/// shortens each pause by up to a quarter. A busy machine only lengthens them.
fn asks_less_and_less(scene: &Scene) {
    let asks = scene.proxy().asked("/account/whoami");
    let pauses: Vec<Duration> = asks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut least = Duration::from_millis(375);
    for pause in &pauses {
        assert!(*pause >= least, "{pauses:?}");
        least *= 2;
    }
    assert!(pauses.len() >= 3, "{pauses:?}");
}

/// Checks what status, `doctor` and `auth status` say about the refused login.
async fn is_told_as_refused(scene: &Scene, said: &str) {
    let status = status(scene).await;
    assert_eq!(status["matrix"]["state"], "no_session");
    let cause = status["matrix"]["cause"].as_str().unwrap();
    assert!(
        cause.contains(scene.bot.as_str()) && cause.contains(said),
        "{cause}"
    );
    let hint = status["matrix"]["hint"].as_str().unwrap();
    assert!(hint.contains("goes on by itself"), "{hint}");
    let doctor = scene.home.run(["doctor", "--quick"]).await;
    let text = text_of(&doctor);
    // There the commands in it also name the home.
    let has_hint = hint.split('`').all(|part| text.contains(part));
    assert!(
        !doctor.status.success() && text.contains(scene.bot.as_str()) && has_hint,
        "{text}"
    );
    // That command does not know whether a relay runs.
    let told = text_of(&scene.home.run(["auth", "status"]).await);
    assert!(
        told.contains(scene.bot.as_str()) && told.contains(said),
        "{told}"
    );
    for words in ["by itself", "asks again", "auth status"] {
        assert!(!told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_for_a_while_goes_on_by_itself_and_nothing_is_lost_or_doubled() {
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut scene = plan.start().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;
    let file = scene.home.path("matrix/session.json");
    let saved = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    let mut texts = vec!["Alice[M]: before".to_owned()];
    let refusals = [
        (
            401,
            json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."}),
        ),
        (
            401,
            json!({"errcode": "M_UNKNOWN_TOKEN", "error": "", "soft_logout": true}),
        ),
        (
            401,
            json!({"errcode": "M_USER_LOCKED", "error": "locked", "soft_logout": true}),
        ),
        (
            403,
            json!({"errcode": "M_USER_DEACTIVATED", "error": "deactivated"}),
        ),
        (
            401,
            json!({"errcode": "M_MISSING_TOKEN", "error": "Missing access token"}),
        ),
    ];
    for (round, (code, body)) in refusals.iter().enumerate() {
        let expected = format!("({})", body["errcode"].as_str().unwrap());
        let refused_before = scene
            .relay
            .log()
            .matches("does not accept the login")
            .count();
        scene.proxy().answers([refusing(&scene, *code, body)]);
        // Several requests are refused concurrently.
        scene.radio.says(BASE, 0, &format!("mesh {round}")).await;
        scene
            .alice
            .send(&scene.room, &format!("matrix {round}"))
            .await;
        let log = || scene.relay.log();
        within("the refusal", async {
            while log().matches("does not accept the login").count() == refused_before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        scene.relay.logs(&expected).await;
        within("the store's end", async {
            while store_state(&scene) != "free" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        is_told_as_refused(&scene, &expected).await;
        scene.proxy().answers([]);
        scene
            .relay
            .logs_times("the homeserver accepts the login again", round + 1)
            .await;
        let text = format!("Alice[M]: matrix {round}");
        scene.radio.transmits(&text).await;
        texts.push(text);
        let text = format!("[Base Camp/LongFast]: mesh {round}");
        scene.alice.sees_text(&scene.room, &text).await;
    }
    assert_eq!(scene.radio.texts(), texts);
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    let seen: Vec<&str> = seen
        .iter()
        .map(Seen::body)
        .filter(|it| it.contains("mesh"))
        .collect();
    let wanted: Vec<String> = (0..refusals.len())
        .map(|round| format!("[Base Camp/LongFast]: mesh {round}"))
        .collect();
    assert_eq!(seen, wanted);
    let now = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    assert!(now == saved, "the session's file was written");
}

#[tokio::test]
async fn a_login_that_stays_refused_is_asked_for_less_and_less_often_and_a_new_one_is_taken_up() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let mut scene = plan.start().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;
    let file = scene.home.path("matrix/session.json");
    let saved = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    let lines = scene.relay.log().lines().count();
    let asked = scene.proxy().asked("").len();
    let body = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."});
    scene.proxy().answers([refusing(&scene, 401, &body)]);
    scene.radio.says(BASE, 0, "meanwhile").await;
    scene.alice.send(&scene.room, "and this").await;
    scene.proxy().is_asked("/account/whoami", 5).await;
    asks_less_and_less(&scene);
    let log = scene.relay.log();
    let loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    let new: Vec<&str> = log.lines().skip(lines).collect();
    assert!(
        new.iter().copied().filter(|line| loud(line)).count() <= 6,
        "{new:#?}"
    );
    assert!(new.len() < 200, "{} lines", new.len());
    let asked = scene.proxy().asked("").len() - asked;
    assert!(asked < 30, "{asked} requests");
    let now = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    assert!(now == saved, "the session's file was written");

    // The cure works beside the daemon.
    let cure = log_in_anew(&scene).await;
    assert!(cure.status.success(), "{}", text_of(&cure));
    scene.relay.logs_times("Matrix session open", 2).await;
    scene.radio.transmits("Alice[M]: and this").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: meanwhile")
        .await;
    assert_eq!(
        scene.radio.texts(),
        ["Alice[M]: before", "Alice[M]: and this"]
    );
}

#[tokio::test]
async fn a_session_that_only_one_endpoint_refuses_is_not_opened_again_and_again() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let scene = plan.start().await;
    let body = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."});
    scene
        .proxy()
        .answers([Canned::to("GET /_matrix/client/v3/sync", 401, &body)]);
    scene.alice.send(&scene.room, "ends the long poll").await;
    scene.relay.logs_times("Matrix session open", 5).await;
    asks_less_and_less(&scene);
    scene.proxy().answers([]);
    scene.radio.transmits("Alice[M]: ends the long poll").await;
}

#[tokio::test]
async fn a_login_that_only_a_send_finds_refused_for_a_moment_holds_nothing_up() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let mut scene = plan.start().await;
    let body = json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."});
    let refusals = ["/send/", "/account/whoami"].map(|to| Canned::to(to, 401, &body));
    // Once on purpose, once by mistake.
    for (refused, text) in [(2, "meant"), (1, "a slip")] {
        let asked = scene.proxy().asked("/account/whoami").len();
        scene.proxy().answers(refusals[..refused].to_vec());
        scene.radio.says(BASE, 0, text).await;
        scene.proxy().is_asked("/account/whoami", asked + 1).await;
        if refused == 2 {
            scene.relay.logs("Matrix cannot be used now").await;
        }
        scene.proxy().answers([]);
        let text = format!("[Base Camp/LongFast]: {text}");
        scene.alice.sees_text(&scene.room, &text).await;
        assert!(status(&scene).await["matrix"]["parked"].is_null());
    }
    let opened = scene.relay.log().matches("Matrix session open").count();
    assert_eq!(opened, 2);
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_for_a_year_is_asked_again_within_minutes() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let mut scene = plan.start().await;
    let year = 365 * 24 * 3600;
    let body =
        json!({"errcode": "M_LIMIT_EXCEEDED", "error": "", "retry_after_ms": year * 1000_u64});
    let delay_in = |line: &str| -> u64 {
        let (_, delay) = line.split_once("delay_ms=").expect("it tells its delay");
        delay.split(' ').next().unwrap().parse().unwrap()
    };
    scene.proxy().answers([
        Canned::to("GET /_matrix/client/v3/sync", 429, &body),
        Canned::to("/send/", 429, &body).header(&format!("retry-after: {year}")),
    ]);
    scene.radio.says(BASE, 0, "hello").await;
    scene.alice.send(&scene.room, "ends the long poll").await;
    for words in [
        "the homeserver cannot be read",
        "the homeserver wants fewer events",
    ] {
        let line = scene.relay.logs(words).await;
        let delay = delay_in(&line);
        assert!((60_000..=300_000).contains(&delay), "{line}");
    }
}

#[tokio::test]
async fn one_wrong_answer_about_the_servers_versions_is_not_believed_for_long() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let mut scene = plan.start().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;
    assert!(scene.relay.stop().await.success());
    // A login that would replace another is rolled back when its first sync fails.
    let logout = ["auth", "logout", "-y", "--no-password-check"];
    assert!(scene.home.run(logout).await.status.success());
    let versions = Canned::to("/_matrix/client/versions", 200, &json!({"versions": []}));
    let unknown = json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"});
    let oldest = Canned::to("/_matrix/client/r0/", 404, &unknown);
    scene.proxy().answers([versions, oldest.clone()]);
    let login = log_in_anew(&scene).await;
    assert!(
        text_of(&login).contains("the first sync failed"),
        "{}",
        text_of(&login)
    );
    scene.relay = scene.home.start().await;
    scene.relay.logs("the homeserver cannot be read").await;
    scene.proxy().answers([oldest]);
    scene.alice.send(&scene.room, "after").await;
    scene.radio.transmits("Alice[M]: after").await;
    scene.radio.says(BASE, 0, "hello").await;
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: hello")
        .await;
}

/// The most memory that the relay has had so far, in MB.
#[cfg(target_os = "linux")]
fn most_memory(scene: &Scene) -> u64 {
    let pid = scene.relay.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the relay runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.expect("it is told").parse::<u64>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_asked_for_with_less_and_never_in_a_loop() {
    let plan = Plan::one_room(Kind::Plain).through_proxy();
    let mut stage = plan.set_up().await;
    // Proxy variables, but none that applies to this homeserver.
    let proxy = "http://127.0.0.1:1";
    for (name, value) in [("ALL_PROXY", proxy), ("NO_PROXY", "127.0.0.1")] {
        stage.home.set_environment((name, value.to_owned()));
    }
    let scene = stage.raise_the_curtain().await;
    scene.alice.send(&scene.room, "before").await;
    scene.radio.transmits("Alice[M]: before").await;
    let before = most_memory(&scene);
    let sync = "GET /_matrix/client/v3/sync";
    let large = Canned::to(sync, 200, &json!({"next_batch": "never"})).padded(300_000_000);
    scene.proxy().answers([large]);
    scene.alice.send(&scene.room, "ends the long poll").await;
    scene
        .relay
        .logs("its answer is larger than 64 MB; asking for 50 events")
        .await;
    let status = status(&scene).await;
    assert_eq!(status["matrix"]["state"], "away");
    for fewer in [12, 3, 1] {
        scene
            .relay
            .logs(&format!("asking for {fewer} events"))
            .await;
    }
    let asks = scene.proxy().asked(sync);
    let last: Vec<Duration> = asks[asks.len() - 4..]
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert!(
        last.iter().all(|pause| *pause > Duration::from_millis(450)),
        "{last:?}"
    );
    let most = most_memory(&scene);
    assert!(most < before + 150, "{before} MB became {most} MB");

    scene.proxy().answers([]);
    scene.radio.transmits("Alice[M]: ends the long poll").await;

    // An answer without a length looks complete where it was cut off.
    let too_large = "its answer is larger than 64 MB";
    let count = scene.relay.log().matches(too_large).count();
    let large = Canned::to(sync, 200, &json!({"next_batch": "never"}));
    let large = large.padded(300_000_000).until_closed();
    scene.proxy().answers([large]);
    scene.alice.send(&scene.room, "once more").await;
    scene.relay.logs_times(too_large, count + 1).await;
    scene.proxy().answers([]);
    scene.radio.transmits("Alice[M]: once more").await;

    let large = Canned::to("/account/whoami", 200, &json!({})).padded(300_000_000);
    scene.proxy().answers([large]);
    let text = text_of(&scene.home.run(["auth", "status"]).await);
    assert!(text.contains("larger than 1 MB"), "{text}");
}

#[tokio::test]
async fn a_device_that_was_deleted_is_replaced_by_a_new_one_by_the_configured_password() {
    let mut stage = Plan::one_room(Kind::Encrypted).set_up().await;
    let password = ("RELAY_MATRIX_PASSWORD", PASSWORD.to_owned());
    stage.home.set_environment(password);
    let user = ("RELAY_MATRIX_BOT_USER_ID", stage.bot.to_string());
    stage.home.set_environment(user);
    let mut scene = stage.raise_the_curtain().await;
    scene.carries("before").await;
    // It was moved to a safe place, as the relay asks.
    fs::remove_file(scene.home.path("matrix/recovery.key")).unwrap();
    let session = scene.home.session();
    let text = |name: &str| session[name].as_str().expect("it is there");
    let logout = format!("{}_matrix/client/v3/logout", text("homeserver"));
    let ended = reqwest::Client::new()
        .post(logout)
        .bearer_auth(text("access_token"))
        .send()
        .await;
    assert!(ended.is_ok_and(|it| it.status().is_success()));

    // It is refused, and with that the relay learns of it.
    scene.radio.says(BASE, 0, "meanwhile").await;
    scene.relay.logs("Matrix cannot be used now").await;
    let made = "logged in to Matrix with what the configuration holds";
    scene.relay.logs(made).await;
    let meanwhile = "[Base Camp/LongFast]: meanwhile";
    let seen = scene.alice.sees_text(&scene.room, meanwhile).await;
    assert!(seen.encrypted);
    scene.carries("after").await;
    assert_ne!(scene.home.session()["device_id"], session["device_id"]);
    let status = text_of(&scene.home.run(["auth", "status"]).await);
    assert!(status.contains("yes, by its owner"), "{status}");
    assert!(status.contains("key backup   on"), "{status}");
}

#[tokio::test]
async fn a_login_goes_on_where_the_configuration_says_that_the_homeserver_went() {
    let plan = Plan::one_room(Kind::Encrypted).through_proxy();
    let mut scene = plan.start().await;
    scene.carries("before").await;
    let device = scene.home.session()["device_id"].clone();
    let unknown = json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"});
    scene
        .proxy()
        .answers([Canned::to("/_matrix/", 404, &unknown)]);
    scene.radio.says(BASE, 0, "while it moves").await;
    scene.alice.send(&scene.room, "while it moves").await;
    scene.relay.logs("the homeserver cannot be read").await;
    assert!(scene.relay.stop().await.success());

    let there = Proxy::before(Synapse::shared().await.url()).await;
    let config = fs::read_to_string(scene.home.path("config.yaml")).unwrap();
    let matrix = format!("matrix: {{homeserver: '{}'}}\n", there.url());
    scene.home.configure(&format!("{matrix}{config}"));
    scene.relay = scene.home.start().await;
    scene
        .relay
        .logs("the login goes on at the homeserver's new address")
        .await;
    let shown = "[Base Camp/LongFast]: while it moves";
    scene.alice.sees_text(&scene.room, shown).await;
    scene.radio.transmits("Alice[M]: while it moves").await;
    scene.carries("after it").await;
    let wanted = ["before", "while it moves", "after it"].map(|it| format!("Alice[M]: {it}"));
    assert_eq!(scene.radio.texts(), wanted);
    assert_eq!(scene.home.session()["device_id"], device);

    // Also at the next start, and nothing is asked for it.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.carries("and then").await;
    assert!(!scene.relay.log().contains("new address"));
}
