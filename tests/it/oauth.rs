//! Logins by OAuth 2.0 at a homeserver that has left its logins to a login service: each way, what goes wrong on it, and tokens
//! that expire while the relay runs.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::support::canned::Canned;
use crate::support::proxy::Proxy;
use crate::support::radio::BASE;
use crate::support::relay::{Home, Running, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::Synapse;
use crate::support::user::Kind;
use crate::support::within;

/// How long a token of the login service is good in the test of a running relay.
const LIFETIME: Duration = Duration::from_secs(4);

fn tokens(home: &Home) -> [Value; 2] {
    let session = home.session();
    ["access_token", "refresh_token"].map(|name| session[name].clone())
}

#[tokio::test]
async fn tokens_of_a_login_service_that_expire_again_and_again_cost_no_message_even_with_a_kill() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    service.set(json!({"lifetime": LIFETIME.as_secs()})).await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let first = tokens(&scene.home);
    let mut texts = Vec::new();
    for number in 0..8 {
        if number == 4 {
            scene.relay.kill().await;
            // What the file holds is dead by the next start.
            sleep(LIFETIME).await;
            scene.relay = scene.home.start().await;
        }
        let text = format!("number {number}");
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.send(&scene.room, &text).await;
        texts.push(text);
        sleep(LIFETIME / 2).await;
    }
    scene.carries("at the end").await;
    texts.push("at the end".to_owned());
    assert_ne!(tokens(&scene.home), first);
    let seen = service.seen().await;
    assert!(seen["renewals"].as_u64() > Some(3), "{seen}");

    let said: Vec<String> = texts
        .iter()
        .map(|text| format!("Alice[M]: {text}"))
        .collect();
    assert_eq!(scene.radio.texts(), said);
    let seen = scene.alice.seen_of(&scene.room, &scene.bot);
    let seen: Vec<&str> = seen.iter().filter_map(|seen| seen.said_on_mesh()).collect();
    assert_eq!(seen, texts);
    let status = scene.home.run(["auth", "status"]).await;
    let told = text_of(&status);
    assert!(status.status.success(), "{told}");
    assert!(
        told.contains("by OAuth 2.0, at http://127.0.0.1:"),
        "{told}"
    );
    assert!(told.contains("yes, by its owner"), "{told}");
    assert!(!scene.relay.log().contains("Matrix cannot be used now"));
}

/// Makes a home with a browser that opens nothing, but is there.
fn home_with_browser(script: &str) -> Home {
    let mut home = Home::new();
    let programs = home.path("programs");
    fs::create_dir(&programs).expect("a directory can be made");
    let program = programs.join("xdg-open");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program can be written");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    let path = env::var("PATH").expect("there are programs");
    home.set_environment(("PATH", format!("{}:{path}", programs.display())));
    home.set_environment(("DISPLAY", ":99".to_owned()));
    home.set_environment(("SSH_CONNECTION", String::new()));
    home
}

/// Returns the address of the page that a login shows.
async fn page(login: &Running) -> String {
    let is_page = |line: &str| {
        let page = line
            .strip_prefix("    ")
            .filter(|it| it.starts_with("http"));
        page.map(str::to_owned)
    };
    login.errors.first(0, "a page", is_page).await
}

async fn told(login: &Running) -> String {
    tokio::join!(login.output.whole(), login.errors.whole());
    [login.output.all(), login.errors.all()].concat().join("\n")
}

/// Returns what a home has of a login: nothing, if none was made.
fn left(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.path("matrix")).into_iter().flatten();
    let names = entries.filter_map(|it| Some(it.ok()?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

fn oauth<'a>(synapse: &'a Synapse, further: &[&'a str]) -> Vec<&'a str> {
    let arguments = ["auth", "login", "--homeserver", synapse.url(), "--oauth"];
    [&arguments, further].concat()
}

#[tokio::test]
async fn a_browser_on_this_machine_brings_the_login_and_nobody_else_can() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let user = synapse.register("bot").await;
    let home = home_with_browser("exit 0");
    let mut login = home.begin(&oauth(synapse, &[]));
    let url = page(&login).await;
    let back = service.answers(&url, "allow", &user).await;
    let port = back.port().expect("a port");
    // A page that somebody else has the browser open brings nothing.
    for wrong in [
        "callback?code=theirs&state=theirs",
        "callback?code=theirs",
        "",
    ] {
        let (status, _) = service
            .opens(&format!("http://127.0.0.1:{port}/{wrong}"), "")
            .await;
        assert_eq!(status, 404, "{wrong}");
    }
    let (status, text) = service.opens(back.as_str(), "").await;
    assert_eq!(status, 200);
    assert!(text.contains("You can close this page"), "{text}");
    assert!(login.ends().await.success(), "{}", told(&login).await);
    let told = told(&login).await;
    assert!(
        told.contains("the device is verified by its owner"),
        "{told}"
    );
    let session = home.session();
    assert_eq!(session["login"], "oauth");
    assert_eq!(session["oauth"]["issuer"], service.issuer());
    // What was registered is what matrix-authentication-service takes of a native program.
    let seen = service.seen().await;
    let client = seen["registered"].as_array().and_then(|it| it.last());
    let client = client.expect("it was registered");
    assert_eq!(
        client["redirect_uris"],
        json!(["http://127.0.0.1/callback"])
    );
    let logout = home.run(["auth", "logout", "-y"]).await;
    assert!(logout.status.success(), "{}", text_of(&logout));
    let after = service.seen().await;
    assert_eq!(
        after["revoked"].as_u64(),
        seen["revoked"].as_u64().map(|it| it + 1)
    );
    assert!(!home.path("matrix/session.json").exists());
}

#[tokio::test]
async fn a_real_browser_that_the_relay_opens_brings_the_login() {
    let chromium = ["chromium", "chromium-browser"];
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(chromium) = chromium.into_iter().find(runs) else {
        eprintln!("SKIPPED: there is no chromium");
        return;
    };
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let user = synapse.register("bot").await;
    service.set(json!({"page": "allow", "user": user})).await;
    let page = tempfile::tempdir().expect("a directory can be made");
    let shown = page.path().join("shown.html");
    let home = home_with_browser(&format!(
        "exec {chromium} --headless --no-sandbox --disable-gpu --user-data-dir={} --virtual-time-budget=20000 --dump-dom \"$1\" >{} 2>/dev/null",
        page.path().display(),
        shown.display()
    ));
    let mut login = home.begin(&oauth(synapse, &["--username", &user]));
    assert!(login.ends().await.success(), "{}", told(&login).await);
    assert_eq!(home.session()["user_id"], format!("@{user}:localhost"));
    let is_shown = async {
        while !fs::read_to_string(&shown).is_ok_and(|it| it.contains("You can close this page")) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    within("the page that says so", is_shown).await;
}

#[tokio::test]
async fn the_address_that_a_browser_elsewhere_ends_up_at_is_pasted() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let user = synapse.register("bot").await;
    let home = Home::new();
    let mut person = home.at_terminal(oauth(synapse, &["--paste"]));
    person.sees("copy that address").await;
    let screen = person.screen();
    let url = screen
        .split_whitespace()
        .find(|it| it.contains("/authorize?"));
    let back = service.answers(url.expect("a page"), "allow", &user).await;
    assert_eq!(back.port(), None);
    person.sees("ended up at: ").await;
    person.types(back.as_str());
    let (status, screen) = person.reads_to_the_end().await;
    assert!(status.success(), "{screen}");
    assert!(screen.contains("logged in as @bot"), "{screen}");
}

#[tokio::test]
async fn each_failure_in_the_browser_is_told_apart_and_leaves_no_device() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let user = synapse.register("bot").await;
    let another = synapse.register("other").await;
    for (answer, replaced, words) in [
        ("deny", None, "the login was denied: the person said no"),
        (
            "allow",
            Some(("state=", "state=x")),
            "belongs to another login",
        ),
        (
            "allow",
            Some(("iss=http", "iss=https")),
            "calls itself https",
        ),
        (
            "allow",
            Some(("code=", "code=x")),
            "the code is not known (invalid_grant)",
        ),
        ("allow", Some(("state=", "stat=")), "it has no `state`"),
        ("allow", None, "was to"),
    ] {
        let home = Home::new();
        let expected = oauth(synapse, &["--paste", "--username", &another]);
        let (mut login, mut input) = home.begin_asking(&expected);
        let url = page(&login).await;
        let mut back = service.answers(&url, answer, &user).await.to_string();
        if let Some((before, after)) = replaced {
            back = back.replace(before, after);
        }
        input
            .write_all(format!("{back}\n").as_bytes())
            .await
            .expect("it reads");
        assert!(!login.ends().await.success(), "{words}");
        let told = told(&login).await;
        assert!(told.contains(words), "{words}: {told}");
        assert_eq!(left(&home), [""; 0], "{words}");
    }
    // The last one had come as far as a device.
    let device = service.seen().await;
    assert_eq!(
        device["revoked"].as_u64().map(|it| it > 0),
        Some(true),
        "{device}"
    );
}

#[tokio::test]
async fn each_failure_of_a_code_and_of_the_service_is_told_apart() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let refuse = |path: &str, status: u16, body: Value| json!({"refuse": {path: [status, body]}});
    let refused = |code: &str, words: &str| json!({"error": code, "error_description": words});
    let token = "/oauth2/token";
    for (settings, words) in [
        (
            refuse(
                "/oauth2/registration",
                400,
                refused("invalid_client_metadata", "nobody registers here"),
            ),
            "does not register the relay: nobody registers here (invalid_client_metadata)",
        ),
        (
            refuse(
                "/oauth2/device",
                400,
                refused("unauthorized_client", "not for you"),
            ),
            "does not offer logins by a code",
        ),
        (
            refuse("/oauth2/device", 502, json!("<html>busy</html>")),
            "answered HTTP 502",
        ),
        (
            refuse(
                "/oauth2/device",
                400,
                refused("invalid_request", "the moon is full"),
            ),
            "refuses a code: the moon is full (invalid_request)",
        ),
        (
            refuse(token, 400, refused("access_denied", "no")),
            "the login was denied: no",
        ),
        (
            refuse(token, 400, refused("expired_token", "")),
            "the code has expired",
        ),
        (json!({"code_lifetime": 1}), "the code has expired"),
        (refuse(token, 429, json!({})), "the code has expired"),
        (
            refuse(token, 200, json!({"token_type": "Bearer"})),
            "makes no sense",
        ),
    ] {
        let usual = json!({"refuse": {}, "code_lifetime": 3});
        service.set(usual).await;
        service.set(settings.clone()).await;
        let home = Home::new();
        let mut login = home.begin(&oauth(synapse, &["--device-code"]));
        assert!(!login.ends().await.success(), "{settings}");
        let told = told(&login).await;
        assert!(told.contains(words), "{settings}: {told}");
        if !words.contains("no sense") {
            assert_eq!(left(&home), [""; 0], "{settings}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_how_a_login_service_shows_itself_is_told_apart() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let proxy = Proxy::before(synapse.url()).await;
    let (_, text) = service
        .opens(
            &format!("{}.well-known/openid-configuration", service.issuer()),
            "",
        )
        .await;
    let metadata: Value = serde_json::from_str(&text).expect("it is JSON");
    let changed = |name: &str, value: Value| {
        let mut changed = metadata.clone();
        changed[name] = value;
        Canned::to("/v1/auth_metadata", 200, &changed)
    };
    let unknown = json!({"errcode": "M_UNRECOGNIZED", "error": "no"});
    let older = |issuer: &str| {
        vec![
            Canned::to("auth_metadata", 404, &unknown),
            Canned::to("auth_issuer", 200, &json!({"issuer": issuer})),
        ]
    };
    let without_code = json!(["authorization_code", "refresh_token"]);
    let nobody = "http://127.0.0.1:1/registration";
    for (answers, words) in [
        (
            vec![changed("grant_types_supported", without_code)],
            "does not offer logins by a code",
        ),
        (
            vec![changed("registration_endpoint", json!(nobody))],
            "cannot reach the login service at http://127.0.0.1:1/registration",
        ),
        (
            vec![changed("registration_endpoint", Value::Null)],
            "it registers nobody by itself",
        ),
        (
            vec![changed("token_endpoint", json!("http://example.org/token"))],
            "an address that is not encrypted: http://example.org/token",
        ),
        (
            vec![changed("token_endpoint", Value::Null)],
            "makes no sense",
        ),
        (
            older(&service.issuer().replace("127.0.0.1", "localhost")),
            "the one that answers calls itself http://127.0.0.1",
        ),
        (
            older(&format!("{}nowhere/", service.issuer())),
            "answered HTTP 404, which is no answer of a login service",
        ),
    ] {
        proxy.answers(answers);
        let home = Home::new();
        let arguments = [
            "auth",
            "login",
            "--homeserver",
            proxy.url(),
            "--oauth",
            "--device-code",
        ];
        let output = home.run(arguments).await;
        let told = text_of(&output);
        assert!(!output.status.success(), "{words}");
        assert!(told.contains(words), "{words}: {told}");
        assert_eq!(left(&home), [""; 0], "{words}");
    }
    // By the older way one can log in, and the tokens are renewed.
    proxy.answers(older(service.issuer()));
    service.set(json!({"lifetime": 4})).await;
    let user = synapse.register("bot").await;
    let home = Home::new();
    home.log_in_by_code(proxy.url(), service, &user, &[]).await;
    sleep(LIFETIME).await;
    let status = home.run(["auth", "status"]).await;
    let told = text_of(&status);
    assert!(status.status.success(), "{told}");
    assert!(told.contains("session      alive"), "{told}");
}

#[tokio::test]
async fn a_homeserver_without_a_login_service_is_said_to_be_one() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let output = home.run(oauth(synapse, &["--device-code"])).await;
    let told = text_of(&output);
    assert!(!output.status.success());
    assert!(told.contains("offers no login by OAuth 2.0"), "{told}");
}

#[tokio::test]
async fn a_login_that_the_service_has_ended_is_told_and_another_one_cures_it_beside_the_relay() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    service.set(json!({"lifetime": 3})).await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    scene.carries("before").await;
    let user = scene.bot.localpart().to_owned();
    service.set(json!({"end_all_of": user})).await;
    scene.relay.logs("Matrix cannot be used now").await;
    let log = scene.relay.log();
    assert!(log.contains("relay auth login --force"), "{log}");
    let status = scene.home.run(["auth", "status"]).await;
    assert!(!status.status.success(), "{}", text_of(&status));
    scene.radio.says(BASE, 0, "meanwhile").await;
    service.set(json!({"lifetime": 300})).await;
    let key = scene.home.path("matrix/recovery.key");
    let key = key.to_str().expect("a path is a text");
    let further = ["--force", "--recovery-key-file", key];
    let told = scene
        .home
        .log_in_by_code(synapse.url(), service, &user, &further)
        .await;
    assert!(told.contains("verified by its owner"), "{told}");
    scene
        .alice
        .sees_text(&scene.room, "[Base Camp/LongFast]: meanwhile")
        .await;
    scene.carries("after").await;
}

#[tokio::test]
async fn a_new_identity_is_approved_in_the_browser_while_the_login_waits() {
    let (synapse, service, _guard) = Synapse::with_login_service().await;
    let user = synapse.register("bot").await;
    let home = Home::new();
    home.log_in_by_code(synapse.url(), service, &user, &[])
        .await;
    // Tokens expire while it waits.
    service.set(json!({"lifetime": 3})).await;
    let arguments = oauth(
        synapse,
        &["--force", "--reset-cross-signing", "--device-code"],
    );
    let mut login = home.begin(&arguments);
    let is_code = |line: &str| {
        let code = line.strip_prefix("    ")?;
        (code.len() == 6).then(|| code.to_owned())
    };
    let code = login.errors.first(0, "a code", is_code).await;
    service.types(&code, &user).await;
    let is_approval = |line: &str| {
        let page = line.strip_prefix("    ")?;
        page.contains("cross_signing_reset")
            .then(|| page.to_owned())
    };
    let approval = login
        .errors
        .first(0, "where to approve it", is_approval)
        .await;
    sleep(Duration::from_secs(4)).await;
    service.browses(&approval, "allow", &user).await;
    assert!(login.ends().await.success(), "{}", told(&login).await);
    let told = told(&login).await;
    assert!(
        told.contains("the device is verified by its owner"),
        "{told}"
    );
    let status = home.run(["auth", "status", "--json"]).await;
    let status: Value = serde_json::from_str(&text_of(&status)).expect("it is JSON");
    assert_eq!(status["device_verified"], true, "{status}");
    assert_eq!(status["login"], "oauth", "{status}");
}
