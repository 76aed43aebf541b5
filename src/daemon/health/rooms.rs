//! The check of the rooms: whether the bot has joined each of them and can send there.

use super::super::status::{Check, CheckResult, MatrixState, RoomStatus, RoomTroubleStatus};
use super::Examined;
use super::checks::{check, failed, ok, warning};
use relay_model::span;

impl Examined<'_> {
    pub(super) fn rooms(&self) -> Check {
        let mapped = || self.status.rooms.iter().filter(|room| room.mapped);
        let count = mapped().count();
        let mut troubles: Vec<Check> = self.status.rooms.iter().filter_map(room_check).collect();
        let absent = mapped().filter(|room| !room.joined && room.trouble.is_none());
        let absent: Vec<&str> = absent.map(|room| room.room.as_str()).collect();
        match self.status.matrix.state {
            _ if absent.is_empty() => {}
            MatrixState::NoSession if troubles.is_empty() => {
                let text = format!("{count} mapped; not known whether the bot is in them");
                return warning(text, "see the check of Matrix");
            }
            MatrixState::Connecting | MatrixState::Away if troubles.is_empty() => {
                return ok(format!(
                    "{count} mapped; not known yet whether the bot is in them"
                ));
            }
            MatrixState::NoSession | MatrixState::Connecting | MatrixState::Away => {}
            MatrixState::Connected => {
                let text = format!("the bot is not in {}", absent.join(", "));
                let hint = "the relay is about to join; if this stays, the log says more";
                troubles.push(failed(text, hint));
            }
        }
        for room in mapped() {
            let problem = |it| check(CheckResult::Warning, it, room.hint.clone());
            troubles.extend(room.problems.iter().map(problem));
        }
        merged(troubles).unwrap_or_else(|| ok(format!("{count} mapped")))
    }
}

/// Makes one check of several troubles, failed ones first; each hint is told with the room whose name its check has.
pub(crate) fn merged(mut troubles: Vec<Check>) -> Option<Check> {
    troubles.sort_by_key(|it| it.result != CheckResult::Failed);
    let worst = troubles.first()?.result;
    let mut hints: Vec<String> = Vec::new();
    for it in &troubles {
        let mut hint = it.hint.clone().unwrap_or_default();
        if troubles.len() > 1 && !it.name.is_empty() {
            hint = format!("{}: {hint}", it.name);
        }
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    let texts: Vec<&str> = troubles.iter().map(|it| it.text.as_str()).collect();
    Some(check(worst, texts.join("; "), Some(hints.join("; "))))
}

/// Returns the trouble of a room as a check named after the room: the hint does not name it.
pub(crate) fn room_check(room: &RoomStatus) -> Option<Check> {
    let waiting = room.to_matrix.outbox.as_ref().map_or(0, |it| it.waiting);
    let name = &room.room;
    if let Some(trouble) = &room.trouble {
        return Some(trouble_check(name, trouble, waiting));
    }
    let parked = room.parked.as_ref().filter(|_| room.mapped)?;
    let (since, why) = (span::of_seconds(parked.for_seconds), &parked.reason);
    let waiting = in_brackets(waiting);
    let text = format!("{name} takes nothing, for {since}: {why}{waiting}");
    Some(Check {
        name: name.clone(),
        ..check(CheckResult::Failed, text, parked.hint.clone())
    })
}

/// Returns a trouble of a room as a check named after the room; `waiting` messages wait for it to pass.
pub(crate) fn trouble_check(name: &str, trouble: &RoomTroubleStatus, waiting: u64) -> Check {
    let text = format!("{name}: {}{}", trouble.text, in_brackets(waiting));
    let check = if trouble.may_pass {
        warning(text, &trouble.hint)
    } else {
        failed(text, &trouble.hint)
    };
    Check {
        name: name.to_owned(),
        ..check
    }
}

fn in_brackets(waiting: u64) -> String {
    match waiting {
        0 => String::new(),
        waiting => format!(" ({waiting} waiting)"),
    }
}
