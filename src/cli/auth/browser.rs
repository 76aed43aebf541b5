//! Logins that a person finishes in a browser: the flags, what is shown, and what is asked for.

use std::io::{self, IsTerminal as _};
use std::process::Stdio;

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::asking::{LONGEST_LINE, Typed};
use super::opener::{self, has_browser};
use super::terminal;
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::progress;
use relay_matrix::auth::{
    Authorization, Browser, Credential, Offers, Person, Server, Shown, Way, single_sign_on,
};

/// How to log in without a password of the homeserver's.
#[derive(Debug, Default, Args)]
pub(super) struct BrowserArgs {
    /// Log in by single sign-on, in a browser
    #[arg(long, group = "way", conflicts_with = "password_source")]
    sso: bool,
    /// With --sso: at this identity provider of the homeserver's
    #[arg(long, value_name = "ID", requires = "sso")]
    idp: Option<String>,
    /// Log in by OAuth 2.0, as homeservers with matrix-authentication-service want it
    #[arg(long, group = "way", conflicts_with = "password_source")]
    oauth: bool,
    /// The browser is on another machine: show the address, and take the one that it ends up at
    #[arg(long, conflicts_with = "device_code")]
    paste: bool,
    /// With --oauth: show a code that is typed in a browser anywhere; nothing has to be brought back
    #[arg(long, requires = "oauth")]
    device_code: bool,
}

impl BrowserArgs {
    /// Returns whether the login is made in a browser.
    pub(super) fn is_wanted(&self) -> bool {
        self.sso || self.oauth
    }

    /// Returns the way through a browser that a homeserver offers, and its flag.
    pub(super) fn fitting(offers: &Offers) -> Option<(Self, &'static str)> {
        let (sso, oauth) = (offers.has(Way::Sso), offers.oauth);
        let args = Self {
            oauth,
            sso: sso && !oauth,
            ..Self::default()
        };
        args.is_wanted()
            .then_some((args, if oauth { "--oauth" } else { "--sso" }))
    }

    fn browser(&self) -> Option<Browser> {
        match (self.paste, self.device_code) {
            (true, _) => Some(Browser::Paste),
            (_, true) => Some(Browser::Code),
            (false, false) => None,
        }
    }

    /// Has the person log in as far as that is done before the device is made.
    pub(super) async fn credential(
        &self,
        server: &Server,
        offers: &Offers,
        allow_http: bool,
    ) -> Result<Credential, Failure> {
        let has_browser = has_browser();
        let person = Person {
            show,
            ask: Box::new(|| Box::pin(ask())),
        };
        if self.oauth {
            let begun =
                Authorization::begin(server, allow_http, self.browser(), has_browser, person);
            let begun = progress::of("asking the login service", Box::pin(begun)).await?;
            return Ok(Credential::OAuth(Box::new(begun)));
        }
        let fitting = if has_browser {
            Browser::Here
        } else {
            Browser::Paste
        };
        let browser = self.browser().unwrap_or(fitting);
        let idp = self.idp.as_deref();
        let token = single_sign_on(server, offers, idp, browser, &person);
        let token = Box::pin(token).await?;
        Ok(Credential::Sso(token, person))
    }
}

/// Shows what a person needs. On standard error: results alone go to standard output.
fn show(shown: &Shown<'_>) {
    progress::clear();
    let text = match shown {
        Shown::Page { url, is_here: true } => {
            open(url.as_str());
            format!("Log in in a browser of this machine, at:\n\n    {url}\n")
        }
        Shown::Page {
            url,
            is_here: false,
        } => format!(
            "Log in in a browser, on any machine, at:\n\n    {url}\n\nIt ends up at an address that begins with http://127.0.0.1 and \
             cannot be opened: copy that address, all of it.\n"
        ),
        Shown::Code {
            url,
            with_code,
            code,
            lifetime,
        } => {
            let picture = with_code.and_then(picture).unwrap_or_default();
            let minutes = lifetime.as_secs().div_ceil(60);
            format!(
                "{picture}Open this address in a browser, on any machine or telephone:\n\n    {url}\n\nand type this code, which is good \
                 for {minutes} min:\n\n    {code}\n"
            )
        }
        Shown::Approval { url } => {
            open(url.as_str());
            format!(
                "The account's new identity has to be approved. Log in in a browser and allow it, at:\n\n    {url}\n\nThe relay waits for it.\n"
            )
        }
    };
    // Without standard error there is nobody to show it to.
    drop(say(&text));
}

/// Returns an address as a picture for the camera of a telephone, where standard error is a terminal.
fn picture(address: &str) -> Option<String> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let code = QrCode::new(address).ok()?;
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Some(format!("{picture}\n\n"))
}

/// Opens a page in a browser of this machine, if there is likely to be one. It is shown as well, so that nothing depends on it.
fn open(url: &str) {
    if !has_browser() {
        return;
    }
    let mut command = opener::command(url);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    drop(quiet.stderr(Stdio::null()).spawn());
}

/// Asks for the address that the browser has ended up at; without a terminal it is the first line of standard input.
async fn ask() -> io::Result<String> {
    const QUESTION: &str = "The address that the browser ended up at: ";
    if io::stdin().is_terminal() {
        return terminal::ask(QUESTION, Typed::Shown).await;
    }
    let mut line = String::new();
    let input = BufReader::new(tokio::io::stdin().take(LONGEST_LINE));
    { input }.read_line(&mut line).await?;
    if line.trim().is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}
