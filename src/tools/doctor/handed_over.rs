//! What the radio hands over to the examination, which it does once: stored for the rooms, as the relay would have done.

use tokio::task::spawn_blocking;

use crate::daemon::accept;
use crate::daemon::checks::{check, ok};
use crate::daemon::status::{Check, CheckResult};
use crate::home::Home;
use relay_config::Config;
use relay_model::{Chain, Explained as _, RadioProfile, RadioText, Timestamp};

/// Why the messages could not be stored, and the cure.
type NotStored = (String, Option<String>);

/// Stores these messages of a radio; `None`: it has not told its channels. Returns the check that says what became of them.
pub(super) async fn keep(
    config: &Config,
    (home, allow_network_home): (&Home, bool),
    profile: Option<Box<RadioProfile>>,
    texts: &[RadioText],
    now: Timestamp,
) -> Check {
    let Some(profile) = profile else {
        let why = "what its channels are is not known".to_owned();
        return told(texts.len(), Err((why, None)));
    };
    let (config, home, count) = (config.clone(), home.clone(), texts.len());
    let texts = texts.to_vec();
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends by itself, and what is stored is stored whole"
    )]
    let storing =
        spawn_blocking(move || accept(&config, &home, allow_network_home, &profile, &texts, now));
    let stored = match storing.await {
        Ok(stored) => stored.map_err(|error| (Chain(&error).to_string(), error.hint())),
        Err(panicked) => Err((panicked.to_string(), None)),
    };
    told(count, stored)
}

fn told(count: usize, stored: Result<(), NotStored>) -> Check {
    let what = match count {
        1 => "a message that the radio had kept was handed over, which it does once".to_owned(),
        count => {
            format!("{count} messages that the radio had kept were handed over, which it does once")
        }
    };
    match stored {
        Ok(()) => ok(format!("{what}: stored, to be posted when the relay runs")),
        Err((cause, cure)) => {
            let text = format!(
                "{what}: shown on standard error, and could not be stored for the rooms: {cause}"
            );
            check(CheckResult::Warning, text, cure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_told_with_what_became_of_it() {
        let stored = told(2, Ok(()));
        assert_eq!(stored.result, CheckResult::Ok);
        assert!(stored.text.starts_with("2 messages"), "{}", stored.text);
        let why = ("another relay is running".to_owned(), None);
        let lost = told(1, Err(why));
        assert_eq!(lost.result, CheckResult::Warning);
        assert!(
            lost.text.ends_with("another relay is running"),
            "{}",
            lost.text
        );
    }
}
