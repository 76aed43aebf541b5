//! The part of a login that a person does in a browser: here, or elsewhere.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use url::Url;

/// How long a person has for a login in a browser.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// Where the browser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Browser {
    /// On this machine, where the relay listens for what it brings back.
    Here,
    /// Elsewhere: the person brings back the address that it ended up at.
    Paste,
    /// Elsewhere: the person types a code there, and brings back nothing. With OAuth 2.0 only.
    Code,
}

/// What a person is shown during a login.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A page to log in on.
    Page {
        /// Its address.
        url: &'a Url,
        /// Whether a browser of this machine has to open it.
        is_here: bool,
    },
    /// A page to type a code on.
    Code {
        /// Its address.
        url: &'a str,
        /// The same, where the code is typed already.
        with_code: Option<&'a str>,
        /// The code.
        code: &'a str,
        /// For how long it is good.
        lifetime: Duration,
    },
    /// A page to approve a new identity of the account on; the login waits for it.
    Approval {
        /// Its address.
        url: &'a Url,
    },
}

/// Asks a person for the address that a browser has ended up at. An error ends the login: nobody can answer any more.
pub type AskForAddress = Box<dyn Fn() -> BoxFuture<'static, io::Result<String>> + Send + Sync>;

/// A person at a terminal.
pub struct Person {
    /// Shows something.
    pub show: fn(&Shown<'_>),
    /// Asks for an address.
    pub ask: AskForAddress,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person")
    }
}
