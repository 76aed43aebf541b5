//! A login service on loopback, to which a homeserver has left its logins, or which is its identity provider; and the person who
//! goes on there in a browser.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use matrix_sdk::reqwest::{self, redirect};
use serde_json::{Value, json};
use url::Url;

use super::process::virtual_environment;

/// The service; ends when this is dropped, or when the tests end.
#[derive(Debug)]
pub(crate) struct LoginService {
    issuer: String,
    browser: reqwest::Client,
    /// It ends with its standard input.
    _process: Child,
}

impl LoginService {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let mut process = Command::new(virtual_environment().join("bin/python"))
            .args(["-c", include_str!("login_service.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let output = process.stdout.take().expect("its output is a pipe");
        let mut issuer = String::new();
        BufReader::new(output)
            .read_line(&mut issuer)
            .expect("it says where it is");
        let browser = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client can be made");
        Self {
            issuer: issuer.trim().to_owned(),
            browser,
            _process: process,
        }
    }

    /// Returns its address, as it calls itself.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Changes what it does; see `login_service.py`.
    pub(crate) async fn set(&self, settings: Value) -> Value {
        let request = self.browser.post(format!("{}control", self.issuer));
        let request = request.header("content-type", "application/json");
        let answer = request.body(settings.to_string()).send().await;
        let text = answer.expect("it answers").text().await;
        serde_json::from_str(&text.expect("an answer has text")).expect("it is JSON")
    }

    /// Returns what it has seen.
    pub(crate) async fn seen(&self) -> Value {
        let answer = self
            .browser
            .get(format!("{}control", self.issuer))
            .send()
            .await;
        let text = answer.expect("it answers").text().await;
        serde_json::from_str(&text.expect("an answer has text")).expect("it is JSON")
    }

    /// Makes an account, and a device with an access token that stays good.
    pub(crate) async fn account(&self, name: &str) -> (String, String) {
        let made = self.set(json!({"account": name})).await;
        let text = |field: &str| made[field].as_str().expect("it is there").to_owned();
        (text("access_token"), text("device_id"))
    }

    /// Types a code that a program shows, as this person.
    pub(crate) async fn types(&self, code: &str, user: &str) {
        let done = self.set(json!({"type": code, "user": user})).await;
        assert_eq!(done, json!({}), "{code}");
    }

    /// Opens a page in a browser and answers it (`allow` or `deny`) as this person; returns where the browser goes then.
    pub(crate) async fn answers(&self, page: &str, answer: &str, user: &str) -> Url {
        let (to, _) = self.browses(page, answer, user).await;
        to.expect("the browser goes on")
    }

    /// Does the same; returns also the cookies that a homeserver has set on the way.
    pub(crate) async fn browses(
        &self,
        page: &str,
        answer: &str,
        user: &str,
    ) -> (Option<Url>, String) {
        let mut cookies = Vec::new();
        let mut opened = self.browser.get(page).send().await.expect("the page opens");
        while let Some(to) = opened.headers().get("location") {
            let to = opened
                .url()
                .join(to.to_str().expect("an address"))
                .expect("an address");
            let set = opened.headers().get_all("set-cookie").iter();
            let pair = |it: &str| it.split(';').next().unwrap_or_default().to_owned();
            cookies.extend(set.filter_map(|it| it.to_str().ok()).map(pair));
            opened = self.browser.get(to).send().await.expect("the page opens");
        }
        let url = opened.url().clone();
        let text = opened.text().await.expect("a page has text");
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for input in text.split("type=\"hidden\" name=\"").skip(1) {
            let (name, rest) = input.split_once("\" value=\"").expect("it has a value");
            let (value, _) = rest.split_once('"').expect("a value ends");
            form.append_pair(name, &value.replace("&amp;", "&"));
        }
        form.append_pair("user", user).append_pair("answer", answer);
        let request = self
            .browser
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded");
        let answered = request
            .body(form.finish())
            .send()
            .await
            .expect("it answers");
        assert!(answered.status().as_u16() < 400, "{text}");
        let to = answered.headers().get("location");
        let to = to.map(|to| {
            url.join(to.to_str().expect("an address"))
                .expect("an address")
        });
        (to, cookies.join("; "))
    }

    /// Opens a page in a browser, with these cookies; returns its status and text.
    pub(crate) async fn opens(&self, page: &str, cookies: &str) -> (u16, String) {
        let opened = self
            .browser
            .get(page)
            .header("cookie", cookies)
            .send()
            .await;
        let opened = opened.expect("the page opens");
        let status = opened.status().as_u16();
        (status, opened.text().await.expect("a page has text"))
    }
}
