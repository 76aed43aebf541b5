//! Rooms, invites, devices and messages as lines. What others wrote is shown without characters that control a terminal.

use crate::home::utc;
use crate::tools::printable;
use relay_matrix::hand::{DeviceRow, Heard, InviteRow, RoomRow};
use relay_model::Timestamp;

pub(super) fn rooms(rows: &[RoomRow]) -> String {
    let line = |row: &RoomRow| {
        let encrypted = match row.encrypted {
            Some(true) => "encrypted",
            Some(false) => "not encrypted",
            None => "encryption not known",
        };
        let members = match row.members {
            1 => "1 member".to_owned(),
            members => format!("{members} members"),
        };
        let mut facts = vec![row.name.clone()];
        facts.extend(row.aliases.iter().cloned());
        facts.extend([members, encrypted.to_owned()]);
        facts.extend(row.direct.then(|| "direct".to_owned()));
        facts.extend(
            row.channel
                .as_ref()
                .map(|it| format!("mapped to channel {it}")),
        );
        format!("{}  {}\n", row.id, printable(&facts.join(", ")))
    };
    rows.iter().map(line).collect()
}

pub(super) fn invites(rows: &[InviteRow]) -> String {
    let line = |row: &InviteRow| {
        let kind = if row.direct { "direct" } else { "room" };
        let at = row
            .at
            .map_or_else(String::new, |at| format!(", at {}", time(at)));
        let text = format!(
            "{}, {kind}, {} members, from {}{at}",
            row.name, row.members, row.inviter
        );
        format!("{}  {}\n", row.id, printable(&text))
    };
    rows.iter().map(line).collect()
}

pub(super) fn devices(rows: &[DeviceRow]) -> String {
    let line = |row: &DeviceRow| {
        let name = row.name.as_deref().unwrap_or("without a name");
        let own = if row.own { ", this relay" } else { "" };
        let seen = row
            .seen
            .map_or_else(String::new, |at| format!(", last seen {}", time(at)));
        format!("{}\n", printable(&format!("{}  {name}{own}{seen}", row.id)))
    };
    rows.iter().map(line).collect()
}

pub(super) fn heard(heard: &Heard) -> String {
    let text = heard.text.as_deref().unwrap_or("(cannot be decrypted)");
    // Each line begins with who says it: nobody can speak as another one.
    let beginning = printable(&format!("{} {}: ", time(heard.sent_at.0), heard.name));
    let lines = text.split('\n');
    let lines: Vec<_> = lines
        .map(|line| format!("{beginning}{}", printable(line)))
        .collect();
    lines.join("\n") + "\n"
}

fn time(milliseconds: i64) -> String {
    utc(Timestamp(milliseconds).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_controls_no_terminal_and_no_line_is_anothers() {
        let said = Heard {
            event_id: "$it".try_into().unwrap(),
            sender: "@eve:example.org".try_into().unwrap(),
            name: "Eve\u{1b}[31m\u{202e}\n".to_owned(),
            sent_at: Timestamp(0),
            encrypted: false,
            text: Some("one\u{7}\n1970-01-01T00:00:00Z Alice: two".to_owned()),
            event: serde_json::Value::Null,
        };
        assert_eq!(
            heard(&said),
            "1970-01-01T00:00:00Z Eve[31m: one\n1970-01-01T00:00:00Z Eve[31m: 1970-01-01T00:00:00Z Alice: two\n"
        );
    }
}
