//! `relay status`: the running daemon's state, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::daemon::checks::SILENT;
use crate::daemon::status::{
    ChannelStatus, Check, ConfigurationStatus, DatabaseStatus, EchoStatus, FailedReload,
    MatrixState, MatrixStatus, ParkedStatus, RadioStatus, RoomStatus, Status, Traffic, Waits,
};
use crate::daemon::{another_relay, clock_off, limit_met, put_back, times};
use relay_matrix::DeviceTrust;
use relay_model::span;
use relay_radio::LinkState;

use super::{hint, printable};

/// Reasons of drops that lose nothing: echoes of our own messages, and our delivery marks.
const NOT_WORTH_A_WORD: [&str; 4] = ["own_event", "own_packet", "feedback_sign", "duplicate"];

pub(crate) fn lines(status: &Status) -> String {
    let mut page = AlignedLines::default();
    let (version, since, pid) = (&status.version, &status.started_at, status.pid);
    let up = span::of_seconds(status.uptime_seconds);
    let about = format!("{version}, up for {up} (since {since}), process {pid}");
    page.line("relay", &about);
    configuration(&mut page, &status.configuration);
    radio(&mut page, &status.radio);
    matrix(&mut page, &status.matrix);
    database(&mut page, &status.database);
    if let Some(outbox) = &status.outbox {
        let (to_matrix, to_mesh) = (waits(&outbox.to_matrix), waits(&outbox.to_mesh));
        let waiting = format!("{to_matrix} for Matrix, {to_mesh} for the mesh");
        page.line("waiting", &waiting);
    }
    for it in &status.rooms {
        room(&mut page, it, status.matrix.state);
    }
    for it in &status.channels {
        channel(&mut page, it);
    }
    let others = reasons(&status.elsewhere);
    if !others.is_empty() {
        page.line("not relayed", &others);
    }
    for EchoStatus { node, name, count } in &status.echoes {
        let texts = if *count == 1 { "text" } else { "texts" };
        let repeats = "repeats what is relayed, as another relay does";
        let echo = format!("{node} ({name}) {repeats}: {count} {texts} not posted");
        page.line("echo", &echo);
    }
    if let Some(count @ 1..) = status.undecryptable {
        let waiting = format!("{count}: their keys have not arrived");
        page.line("undecryptable", &waiting);
    }
    if let Some(count @ 1..) = status.direct_messages {
        let kept = format!("{count} direct messages to our node are kept");
        page.line("direct", &kept);
    }
    page.0
}

fn configuration(page: &mut AlignedLines, configuration: &ConfigurationStatus) {
    let ConfigurationStatus {
        read_at,
        need_restart,
        failed,
    } = configuration;
    if !read_at.is_empty() {
        page.line("configuration", &format!("read at {read_at}"));
    }
    if !need_restart.is_empty() {
        page.more(&format!("needs a restart for {}", need_restart.join(", ")));
    }
    if let Some(FailedReload { at, cause, hint }) = failed {
        page.more(&format!("read again at {at}, and not followed: {cause}"));
        page.cure(hint.as_ref());
    }
}

fn radio(page: &mut AlignedLines, radio: &RadioStatus) {
    let time = span::of_seconds(radio.for_seconds);
    let state = match radio.state {
        LinkState::Ready => format!("ready for {time}"),
        LinkState::Connecting => format!("away for {time}, connecting"),
        LinkState::Configuring => format!("away for {time}, being configured"),
        LinkState::Lost => format!("away for {time}"),
    };
    page.line("radio", &format!("{}, {state}", radio.connection.place()));
    page.known("because", radio.cause.as_ref());
    page.cure(radio.hint.as_ref());
    if let Some(name) = &radio.name {
        let node = radio.node.as_deref().unwrap_or_default();
        let firmware = radio.firmware.as_deref().unwrap_or("not told");
        page.more(&format!("{name} ({node}), firmware {firmware}"));
    }
    if radio.restarts > 0 {
        let times = times(radio.restarts.into());
        page.more(&format!("restarted {times} since the relay started"));
    }
    if let (Some(percent), Some(age)) = (radio.channel_use_percent, radio.channel_use_age_seconds) {
        let age = span::of_seconds(age);
        page.more(&format!("channel use {percent:.1} %, told {age} ago"));
    }
    page.known(SILENT, radio.silence.as_ref());
    page.cure(radio.silence_hint.as_ref());
}

fn matrix(page: &mut AlignedLines, matrix: &MatrixStatus) {
    let state = match matrix.state {
        MatrixState::Connected => {
            let age = span::of_seconds(matrix.sync_age_seconds.unwrap_or_default());
            format!("connected, last answer {age} ago")
        }
        MatrixState::Connecting => "waiting for the homeserver's first answer".to_owned(),
        MatrixState::Away => {
            let away = span::of_seconds(matrix.away_seconds.unwrap_or_default());
            match &matrix.hint {
                Some(_) => format!("what the homeserver says cannot be stored, for {away}"),
                None => format!("the homeserver has been away for {away}"),
            }
        }
        MatrixState::NoSession => "cannot be used now".to_owned(),
    };
    page.line("matrix", &state);
    page.known("because", matrix.cause.as_ref());
    page.cure(matrix.hint.as_ref());
    if let (Some(account), Some(device)) = (&matrix.account, &matrix.device) {
        let trust = match matrix.device_trust {
            Some(DeviceTrust::Verified) => "verified by its owner",
            Some(DeviceTrust::Unverified) => "not verified: see `relay auth status`",
            Some(DeviceTrust::Unknown) | None => "not known whether verified",
        };
        page.more(&format!("{account}, device {device}, {trust}"));
    }
    if let Some(ahead) = matrix.clock_ahead_seconds.filter(|ahead| *ahead != 0) {
        page.check(&clock_off(ahead));
    }
    if let Some(limited) = &matrix.limited {
        page.check(&limit_met(limited));
    }
    if let Some(it) = &matrix.put_back {
        page.check(&put_back(it));
    }
    for other in &matrix.other_relays {
        page.check(&another_relay(other));
    }
    parked(page, matrix.parked.as_ref());
}

fn database(page: &mut AlignedLines, database: &DatabaseStatus) {
    if database.ok {
        return;
    }
    let error = database.error.as_deref().unwrap_or("it does not work");
    let time = database.for_seconds.map(span::of_seconds);
    let time = time.map(|time| format!(" for {time}")).unwrap_or_default();
    page.line("database", &format!("fails{time}: {error}"));
    page.cure(database.hint.as_ref());
}

fn room(page: &mut AlignedLines, room: &RoomStatus, matrix: MatrixState) {
    let name = room.name.as_ref().filter(|name| **name != room.room);
    let name = name.map(|name| format!("{name}, ")).unwrap_or_default();
    let mut about = format!("{name}{}", room.room);
    if !room.channels.is_empty() {
        let s = if room.channels.len() == 1 { "" } else { "s" };
        let _ = write!(about, ", channel{s} {}", room.channels.join(", "));
    }
    if !room.mapped {
        about.push_str(", not mapped");
    } else if !room.joined {
        about.push_str(match matrix {
            // As in `doctor`: the homeserver may not have answered since the start.
            MatrixState::NoSession | MatrixState::Connecting | MatrixState::Away => {
                ", not known whether the bot is in it"
            }
            MatrixState::Connected => ", NOT JOINED",
        });
    } else if room.encrypted == Some(true) {
        about.push_str(", encrypted");
    }
    page.line("room", &about);
    page.known("PROBLEM", room.trouble.as_ref().map(|it| &it.text));
    page.cure(room.trouble.as_ref().map(|it| &it.hint));
    for problem in &room.problems {
        page.known("PROBLEM", Some(problem));
    }
    page.cure(room.hint.as_ref());
    parked(page, room.parked.as_ref());
    if let Some(count @ 1..) = room.missing {
        let stretches = match count {
            1 => "a stretch".to_owned(),
            count => format!("{count} stretches"),
        };
        let what = "of its history could not be fetched yet; it is tried again";
        page.more(&format!("{stretches} {what}"));
    }
    page.both_ways(&room.to_matrix, &room.to_mesh);
}

fn channel(page: &mut AlignedLines, channel: &ChannelStatus) {
    let name = channel.name.as_ref().filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    page.line("channel", &format!("{}{name}", channel.channel));
    page.both_ways(&channel.to_matrix, &channel.to_mesh);
}

fn parked(page: &mut AlignedLines, parked: Option<&ParkedStatus>) {
    if let Some(parked) = parked {
        let time = span::of_seconds(parked.for_seconds);
        page.more(&format!("PARKED for {time}: {}", parked.reason));
        page.cure(parked.hint.as_ref());
    }
}

fn traffic(traffic: &Traffic) -> String {
    let mut text = format!("{} relayed", traffic.relayed);
    if let Some(outbox) = traffic.outbox.as_ref().filter(|it| it.waiting > 0) {
        let age = span::of_seconds(outbox.oldest_seconds.unwrap_or_default());
        let _ = write!(text, ", {} waiting (oldest {age})", outbox.waiting);
    }
    if traffic.expired > 0 {
        let _ = write!(text, ", {} expired", traffic.expired);
    }
    if traffic.in_clear > 0 {
        let _ = write!(
            text,
            ", {} taken that were not encrypted in this encrypted room",
            traffic.in_clear
        );
    }
    for (word, counts) in [
        ("refused", &traffic.refused),
        ("not relayed", &traffic.dropped),
    ] {
        let reasons = reasons(counts);
        if !reasons.is_empty() {
            let _ = write!(text, "; {word}: {reasons}");
        }
    }
    text
}

fn waits(waits: &Waits) -> String {
    match waits.oldest_seconds {
        Some(age) => format!("{} (oldest {})", waits.waiting, span::of_seconds(age)),
        None => waits.waiting.to_string(),
    }
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let is_shown = |reason: &str| !NOT_WORTH_A_WORD.contains(&reason);
    let shown = counts.iter().filter(|(reason, _)| is_shown(reason));
    let shown = shown.map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")));
    shown.collect::<Vec<_>>().join(", ")
}

/// Aligned lines with a heading each.
#[derive(Default)]
struct AlignedLines(String);

impl AlignedLines {
    fn line(&mut self, heading: &str, text: &str) {
        let _ = writeln!(self.0, "{heading:<13} {}", printable(text));
    }

    fn more(&mut self, text: &str) {
        self.line("", text);
    }

    fn known(&mut self, what: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.more(&format!("{what}: {text}"));
        }
    }

    fn cure(&mut self, cure: Option<&String>) {
        if let Some(cure) = cure {
            self.more(&hint(cure));
        }
    }

    fn check(&mut self, check: &Check) {
        self.more(&check.text);
        self.cure(check.hint.as_ref());
    }

    fn both_ways(&mut self, to_matrix: &Traffic, to_mesh: &Traffic) {
        self.more(&format!("to Matrix    {}", traffic(to_matrix)));
        self.more(&format!("to the mesh  {}", traffic(to_mesh)));
    }
}

#[cfg(test)]
mod tests;
