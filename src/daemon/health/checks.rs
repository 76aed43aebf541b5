//! How checks are made, and the texts of those that `relay status` shows too.

use super::super::status::{Check, CheckResult, LimitedStatus, OtherRelayStatus, PutBackStatus};
use relay_model::span;

pub(crate) fn limit_met(limited: &LimitedStatus) -> Check {
    let hint = "messages wait for it in their order; the homeserver's administrator can lift its limit for the bot, as docs/guide/homeserver.md says";
    let text = format!(
        "the homeserver wanted fewer events (HTTP 429), last {} ago: {} since the start",
        span::of_seconds(limited.last_seconds),
        times(limited.times)
    );
    warning(text, hint)
}

pub(crate) fn another_relay(other: &OtherRelayStatus) -> Check {
    let last = span::of_seconds(other.last_seconds);
    let text = format!("{}: it posted in {}, {last} ago", other.text, other.room);
    warning(text, &other.hint)
}

pub(crate) fn put_back(put_back: &PutBackStatus) -> Check {
    let hint = "what is missing in the rooms can only be said again; messages cross as before, as docs/guide/homeserver.md says";
    let text = format!(
        "the homeserver has forgotten {} events of the rooms, noticed {} ago: its database was put back to an older copy, or it \
         deletes old messages",
        put_back.events,
        span::of_seconds(put_back.last_seconds)
    );
    warning(text, hint)
}

pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// That the radio is there and transmits nothing; the reason stands behind it.
pub(crate) const SILENT: &str = "nothing is transmitted";

pub(crate) fn silent(result: CheckResult, reason: &str, hint: Option<&String>) -> Check {
    check(result, format!("{SILENT}: {reason}"), hint.cloned())
}

/// `ahead`: seconds by which this machine's clock is ahead of the homeserver's.
pub(crate) fn clock_off(ahead: i64) -> Check {
    let hint = "set it, for example with `timedatectl set-ntp true`, unless the homeserver's is the wrong one; messages of rooms are dated by the homeserver's meanwhile";
    warning(clock_apart("the clock of this machine", ahead), hint)
}

pub(super) fn clock_apart(clock: &str, ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    // Rounded to minutes, so that 1 h 59 min 59 s is shown as 2 h.
    let off = match ahead.unsigned_abs() {
        seconds @ 0..120 => seconds,
        seconds => seconds.saturating_add(30) / 60 * 60,
    };
    format!(
        "{clock} is {} {way} the homeserver's",
        span::of_seconds(off)
    )
}

/// Makes a check without its name, which the caller sets.
pub(crate) fn check(result: CheckResult, text: impl Into<String>, hint: Option<String>) -> Check {
    Check {
        name: String::new(),
        result,
        text: text.into(),
        hint,
    }
}

pub(crate) fn ok(text: impl Into<String>) -> Check {
    check(CheckResult::Ok, text, None)
}

pub(crate) fn warning(text: impl Into<String>, hint: &str) -> Check {
    check(CheckResult::Warning, text, Some(hint.to_owned()))
}

pub(crate) fn failed(text: impl Into<String>, hint: &str) -> Check {
    check(CheckResult::Failed, text, Some(hint.to_owned()))
}

/// A check that was not made, and why.
pub(crate) fn skipped(why: impl Into<String>) -> Check {
    check(CheckResult::Skipped, why, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_said_in_whole_hours() {
        for (ahead, words) in [
            (-7_199, "2 h behind"),
            (3_601, "60 min ahead of"),
            (45, "45 s ahead of"),
            (-1_767_225_600, "20454 days behind"),
        ] {
            assert_eq!(
                clock_off(ahead).text,
                format!("the clock of this machine is {words} the homeserver's")
            );
        }
    }
}
