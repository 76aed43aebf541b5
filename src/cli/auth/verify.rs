//! `relay auth verify`: a person compares emoji with another device of the account, or with another user.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Globals, answers, open, or_stop};
use crate::cli::failure::{CommandResult, Failure};
use crate::cli::output::{print, say, warn};
use crate::home::Home;
use relay_matrix::auth::{self, AuthError, Begins, DeviceTrust, Emoji, Peer, Verified};

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Ask this user; the bot's own id asks its other devices. Without it the relay waits to be asked, by these devices or by
    /// users of `matrix.verify_with`
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Verifies by emoji.
pub(super) async fn run(
    args: VerifyArgs,
    globals: &Globals,
    home: &Home,
    stop: &CancellationToken,
) -> CommandResult {
    if !io::stdin().is_terminal() {
        let text = "error: there is no terminal on which emoji could be compared".to_owned();
        let cure = "list a user in `matrix.verify_with`: a running relay accepts verification from them and logs the emoji";
        return Err(Failure::wrong(text).and_hint(cure));
    }
    let begins = match args.user {
        None => Begins::Other(answers::configured(globals, home)?.verify_with),
        Some(user) => Begins::Us(user.parse().map_err(|_| {
            Failure::wrong(format!("error: `{user}` is not a user id"))
                .and_hint("give a whole one, as in `@alice:example.org`")
        })?),
    };
    let (_store, files) = or_stop(stop, Box::pin(open(globals, home))).await?;
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    say(&match &begins {
        Begins::Other(users) => format!(
            "Waiting to be asked: begin the verification of {} (device {}) in another client of the account{}, or end this with Ctrl-C.",
            session.user_id,
            session.device_id,
            or_of(users)
        ),
        Begins::Us(user) if *user == session.user_id => {
            "Asked the other devices of the account: accept the verification on one of them."
                .to_owned()
        }
        Begins::Us(user) => format!("Asking {user}: accept the verification there."),
    })?;
    let verifying = async { Ok(auth::verify(&files, &begins, is_wanted, is_same).await?) };
    let (outcome, trust) = or_stop(stop, Box::pin(verifying)).await?;
    match outcome {
        Verified::Yes(Peer { user, device }) => {
            print(&format!("verified: {user}, device {device}\n"))?;
            if trust != DeviceTrust::Verified {
                warn(
                    "the device of the relay is not verified by its owner: run `relay auth recover`, or verify it from another device of the account",
                )?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Verified::Differ(Peer { user, device }) => Err(anyhow::anyhow!(
            "not verified: the emoji of {user} (device {device}) were not the same"
        )
        .into()),
        Verified::No(reason) => Err(anyhow::anyhow!("not verified: {reason}").into()),
    }
}

/// Returns who else may ask.
fn or_of(users: &[impl Display]) -> String {
    let users: Vec<String> = users.iter().map(ToString::to_string).collect();
    if users.is_empty() {
        return String::new();
    }
    format!(", or as one of `matrix.verify_with` ({})", users.join(", "))
}

/// Asks the person whether to answer somebody who asks.
async fn is_wanted(peer: &Peer) -> bool {
    let question = format!(
        "{} (device {}) asks for verification. Accept it?",
        peer.user, peer.device
    );
    answers::confirm(false, &question).await.is_ok()
}

/// Asks the person whether the other side shows the same.
async fn is_same(peer: &Peer, emoji: &Emoji) -> bool {
    let question = format!(
        "{} (device {}) must show these emoji, in this order:\n\n    {emoji}\n\nDoes it?",
        peer.user, peer.device
    );
    answers::confirm(false, &question).await.is_ok()
}
