//! Logins by single sign-on, at a homeserver whose people log in at an identity provider.

use crate::support::login_service::LoginService;
use crate::support::relay::{Home, Running, text_of};
use crate::support::synapse::Synapse;
use tokio::io::AsyncWriteExt as _;

fn sso<'a>(synapse: &'a Synapse, further: &[&'a str]) -> Vec<&'a str> {
    let arguments = ["auth", "login", "--homeserver", synapse.url(), "--sso"];
    [&arguments, further].concat()
}

/// Logs in at the provider as this person, and returns where the homeserver sends the browser.
async fn sent_to(login: &Running, service: &LoginService, user: &str) -> String {
    let is_page = |line: &str| {
        let page = line
            .strip_prefix("    ")
            .filter(|it| it.starts_with("http"));
        page.map(str::to_owned)
    };
    let page = login.errors.first(0, "a page", is_page).await;
    let (to, cookies) = service.browses(&page, "allow", user).await;
    let to = to.expect("the browser goes on");
    let (status, text) = service.opens(to.as_str(), &cookies).await;
    assert_eq!(status, 200, "{text}");
    // The homeserver asks whether the program is to get the login.
    let link = text.split('"').find(|it| it.contains("loginToken="));
    link.unwrap_or_else(|| panic!("no link: {text}"))
        .replace("&amp;", "&")
}

async fn told(login: &Running) -> String {
    tokio::join!(login.output.whole(), login.errors.whole());
    [login.output.all(), login.errors.all()].concat().join("\n")
}

#[tokio::test]
async fn a_person_of_an_identity_provider_logs_the_relay_in_and_pastes_the_address() {
    let (synapse, service) = Synapse::with_single_sign_on().await;
    for (number, is_token) in [(0, false), (1, true)] {
        let user = format!("pasted{number}");
        let home = Home::new();
        let arguments = sso(synapse, &["--idp", "oidc-standin", "--paste"]);
        let (mut login, mut input) = home.begin_asking(&arguments);
        let mut to = sent_to(&login, service, &user).await;
        if is_token {
            to = to
                .split_once("loginToken=")
                .expect("it has one")
                .1
                .to_owned();
        }
        input
            .write_all(format!("{to}\n").as_bytes())
            .await
            .expect("it reads");
        assert!(login.ends().await.success(), "{}", told(&login).await);
        let session = home.session();
        assert_eq!(session["user_id"], format!("@{user}:localhost"));
        assert_eq!(session["login"], "sso");
        let status = home.run(["auth", "status"]).await;
        let told = text_of(&status);
        assert!(status.status.success(), "{told}");
        assert!(told.contains("by single sign-on"), "{told}");
        assert!(told.contains("yes, by its owner"), "{told}");
        let logout = home
            .run(["auth", "logout", "-y", "--no-password-check"])
            .await;
        assert!(logout.status.success(), "{}", text_of(&logout));
    }
}

#[tokio::test]
async fn a_browser_on_this_machine_brings_the_token_to_a_path_that_nobody_else_knows() {
    let (synapse, service) = Synapse::with_single_sign_on().await;
    let mut home = Home::new();
    home.set_environment(("DISPLAY", ":99".to_owned()));
    home.set_environment(("SSH_CONNECTION", String::new()));
    home.set_environment(("PATH", "/nowhere".to_owned()));
    let mut login = home.begin(&sso(synapse, &[]));
    let to = sent_to(&login, service, "here").await;
    let (base, token) = to.rsplit_once('/').expect("it has a path");
    let token = token.split_once('?').expect("it has a query").1;
    let (status, _) = service.opens(&format!("{base}/another?{token}"), "").await;
    assert_eq!(status, 404);
    let (status, text) = service.opens(&to, "").await;
    assert_eq!(status, 200, "{text}");
    assert!(login.ends().await.success(), "{}", told(&login).await);
    assert_eq!(home.session()["user_id"], "@here:localhost");
}

#[tokio::test]
async fn what_goes_wrong_with_single_sign_on_is_told_apart() {
    let (synapse, service) = Synapse::with_single_sign_on().await;
    let home = Home::new();
    let output = home
        .run(sso(synapse, &["--idp", "google", "--paste"]))
        .await;
    let words = text_of(&output);
    assert!(!output.status.success());
    assert!(
        words.contains("no identity provider `google`; it has `oidc-standin` (The Stand-in)"),
        "{words}"
    );

    for (pasted, words) in [
        (
            Some("http://127.0.0.1/elsewhere?loginToken=injected"),
            "another's",
        ),
        (Some("http://127.0.0.1/"), "is not a token"),
        (
            Some("made-up"),
            "does not accept the token of the single sign-on",
        ),
        (None, "was to"),
    ] {
        let arguments = sso(synapse, &["--paste", "--username", "expected"]);
        let (mut login, mut input) = home.begin_asking(&arguments);
        let to = match pasted {
            Some(pasted) => pasted.to_owned(),
            None => sent_to(&login, service, "somebody").await,
        };
        input
            .write_all(format!("{to}\n").as_bytes())
            .await
            .expect("it reads");
        assert!(!login.ends().await.success(), "{words}");
        let told = told(&login).await;
        assert!(told.contains(words), "{words}: {told}");
        assert!(!home.path("matrix/session.json").exists());
        assert!(!home.path("matrix/devices").exists(), "{told}");
    }

    let plain = Synapse::shared().await;
    let output = home.run(sso(plain, &["--paste"])).await;
    let words = text_of(&output);
    assert!(
        words.contains("offers no single sign-on (it offers m.login.password"),
        "{words}"
    );
}
