//! The words of a message's story, and the answer to whoever asks for it by a reaction. Never more than what a step rests on.

use std::time::Duration;

use super::{Bridge, action::Action, dropped::DropReason, facts::Facts, notice::Refused};
use relay_model::{
    MeshSource, Notice, Reception, RoomId, RoomReaction, Standing, Step, StepKind, Story,
    StorySubject, Timestamp, span,
};

/// The reactions that ask for the story of a message; apps may add a variation selector.
const QUESTIONS: [&str; 2] = ["🔍", "🔎"];
/// Cooldown of the answers in a room.
const ANSWER_AGAIN: Duration = Duration::from_mins(1);
/// Age from which a question is not answered any more.
const LATE_AFTER: Duration = Duration::from_mins(10);
/// Maximum number of steps in a notice: the first and the last ones.
const MOST_LINES: usize = 24;
/// Number of first steps in a notice that leaves some out.
const FIRST_LINES: usize = 4;
/// Maximum number of letters of a reason in the other side's words.
const LONGEST_REASON: usize = 200;

/// Names of `Routing.Error` in mesh.proto, as apps show them.
const ROUTING_ERRORS: [(u32, &str); 17] = [
    (1, "NO_ROUTE"),
    (2, "GOT_NAK"),
    (3, "TIMEOUT"),
    (4, "NO_INTERFACE"),
    (5, "MAX_RETRANSMIT"),
    (6, "NO_CHANNEL"),
    (7, "TOO_LARGE"),
    (8, "NO_RESPONSE"),
    (9, "DUTY_CYCLE_LIMIT"),
    (32, "BAD_REQUEST"),
    (33, "NOT_AUTHORIZED"),
    (34, "PKI_FAILED"),
    (35, "PKI_UNKNOWN_PUBKEY"),
    (36, "ADMIN_BAD_SESSION_KEY"),
    (37, "ADMIN_PUBLIC_KEY_UNAUTHORIZED"),
    (38, "RATE_LIMIT_EXCEEDED"),
    (39, "PKI_SEND_FAIL_PUBLIC_KEY"),
];

/// Returns whether a reaction with this key asks for the story of its message.
pub(super) fn is_question(key: &str) -> bool {
    QUESTIONS.contains(&key.trim_end_matches('\u{fe0f}'))
}

/// Returns the cooldown name of the answers in a room.
pub(super) fn question_name(room: &RoomId) -> String {
    format!("story {room}")
}

/// Returns what happened at a step, in words.
pub fn words(step: &Step) -> String {
    let correction = match step.correction {
        0 => String::new(),
        number => format!("correction {number}: "),
    };
    let part = step.part.map_or_else(String::new, |(part, parts)| {
        format!("part {part} of {parts}: ")
    });
    format!("{correction}{part}{}", happened(step))
}

fn happened(step: &Step) -> String {
    let why = step.detail.as_deref().map(shortened).unwrap_or_default();
    let number = step.number.unwrap_or_default();
    match step.kind {
        StepKind::Accepted => "accepted from its room for the mesh".to_owned(),
        StepKind::Split => format!("split into {number} packets"),
        StepKind::Backlog => {
            "waits since an outage: it goes spaced, behind what is new".to_owned()
        }
        StepKind::Handed => {
            let packet = step.packet.map_or_else(|| "?".to_owned(), |it| it.to_string());
            format!("given to the link to the radio as packet {packet}, attempt {number}")
        }
        StepKind::Taken => "the radio took it into its transmit queue".to_owned(),
        StepKind::TakenSilently => {
            "the radio did not answer when it was asked again, as it does for a packet that it knows: it has probably taken it"
                .to_owned()
        }
        StepKind::NotTaken => {
            format!("the radio did not take it ({why}); it is tried again, under another id")
        }
        StepKind::Unanswered => format!(
            "{why}: whether the radio took it is not known; it is tried again, under the same id"
        ),
        StepKind::NotTried => format!("not given to the radio ({why}); it waits again"),
        StepKind::Restarted => {
            "the relay was started again before the radio's answer was stored: whether the radio took it is not known; it is \
             tried again, under the same id"
                .to_owned()
        }
        StepKind::Repeated => {
            "the radio heard it come back, repeated by another node or by MQTT; by whom, and who else received it, it does not \
             tell"
                .to_owned()
        }
        StepKind::Unheard => {
            "the radio heard nobody repeat it; whether anybody received it is not known".to_owned()
        }
        StepKind::Delivered => "the node that it is for has acknowledged it".to_owned(),
        StepKind::Silent => {
            "the radio told nothing more of it: whether it was transmitted and received is not known"
                .to_owned()
        }
        StepKind::RefusedByRadio => refusal(&why),
        StepKind::RefusedHere | StepKind::NotRelayed => {
            format!("not sent to the mesh: {}", reason(&why))
        }
        StepKind::PartRefused => "not sent, as a part before it was refused".to_owned(),
        StepKind::Expired => {
            "expired: too old, or too many waited after an outage; it is not tried any more"
                .to_owned()
        }
        StepKind::Withdrawn => "taken back; it is not tried any more".to_owned(),
        StepKind::Changed => "changed before the radio was given it".to_owned(),
        StepKind::Moved => format!("its channel stands in slot {number} now, and it follows"),
        StepKind::GivenUp => {
            "given up by the relay, which could not read or store something of it (see its log): what became of it is not known"
                .to_owned()
        }
        StepKind::Undecryptable => "it cannot be decrypted: its key has not arrived".to_owned(),
        StepKind::KeyGivenUp => "its key did not arrive in time: it is not relayed".to_owned(),
        StepKind::Heard => format!("heard by the radio{}", received(step.reception.as_ref())),
        StepKind::HeardAgain => format!(
            "the radio delivered it once more{}",
            received(step.reception.as_ref())
        ),
        StepKind::Replayed => format!(
            "repeated by a store-and-forward server{}",
            received(step.reception.as_ref())
        ),
        StepKind::Posted => match step.number {
            None => format!("accepted for the room {why}"),
            Some(late) => format!(
                "accepted for the room {why}, {} after it was heard",
                span::of_seconds(late.into())
            ),
        },
        StepKind::Parked => format!("the homeserver does not let it be sent now: {why}"),
        StepKind::HandedOver => format!("waits for {why}, which takes its room's place"),
        StepKind::Sent => format!("the homeserver took it, as event {why}"),
        StepKind::CameBack => format!("it came back from the homeserver, as event {why}"),
        StepKind::RefusedByServer => format!("the homeserver will never take it: {why}"),
        StepKind::PostGivenUp => "given up: it is not posted".to_owned(),
        StepKind::Restored => {
            "given up as the database came from a backup; the relay that made it may have sent it since".to_owned()
        }
    }
}

/// Returns what a message waits for, in words.
pub fn waits(standing: &Standing) -> String {
    match standing {
        Standing::Turn { .. } => "it waits for its turn on the way to the radio".to_owned(),
        Standing::Answer => "it waits for the radio's answer".to_owned(),
        Standing::Mesh => "the radio has it; nothing was heard of it since".to_owned(),
        Standing::Homeserver { room, parked } => match parked {
            None => format!("it waits to be sent to {room}"),
            Some(why) => format!("it waits to be sent to {room}: {}", shortened(why)),
        },
    }
}

/// Returns the words for a [`relay_model::Refusal`], by its name.
fn refusal(name: &str) -> String {
    let number: Option<u32> = name.strip_prefix("error ").and_then(|it| it.parse().ok());
    match (name, number) {
        // The relay knows the radio's limits and settings, and does not ask it in vain.
        ("too_long", _) => "refused: it is longer than the radio takes".to_owned(),
        ("transmit_off", _) => {
            "refused: the radio's transmitter is switched off, or it has no region".to_owned()
        }
        ("no_channel", _) => "refused by the radio: it has no such channel".to_owned(),
        ("no_interface", _) => "refused by the radio: it has nothing to transmit with".to_owned(),
        ("no_key", _) => "refused by the radio: it does not know the addressee's key".to_owned(),
        (_, Some(number)) => match ROUTING_ERRORS.iter().find(|(error, _)| *error == number) {
            Some((_, name)) => format!("refused by the radio: error {number} ({name})"),
            None => format!("refused by the radio: error {number}"),
        },
        (_, None) => format!("refused by the radio: {name}"),
    }
}

/// Returns the words for a reason by its name: as in the log, without whom else it concerns.
fn reason(name: &str) -> String {
    let here = Refused::ALL.iter().find(|it| it.name() == name);
    match here {
        Some(refused) => refused.to_string(),
        None => match DropReason::ALL.iter().find(|it| it.name() == name) {
            Some(reason) => reason.to_string(),
            None => name.to_owned(),
        },
    }
}

/// Returns how a packet was received, as far as it is told, to be put behind a verb.
fn received(reception: Option<&Reception>) -> String {
    let Some(it) = reception else {
        return String::new();
    };
    let mut told = Vec::new();
    if it.via_mqtt {
        told.push("by MQTT; which gateway put it there, it does not tell".to_owned());
    }
    match it.hops {
        Some(0) if it.via_mqtt => {}
        Some(0) => told.push("directly".to_owned()),
        Some(1) => told.push("over 1 hop".to_owned()),
        Some(hops) => told.push(format!("over {hops} hops")),
        None => {}
    }
    if let Some(byte) = it.relayed_by {
        let candidates = it.candidates.as_slice();
        let who = match candidates {
            [] => "no known node".to_owned(),
            [one] => format!("of the known nodes only {one}"),
            more => format!("{} known nodes", more.len()),
        };
        told.push(format!(
            "relayed by a node whose id ends in {byte:02x} ({who})"
        ));
    }
    told.extend(it.snr.map(|snr| format!("SNR {snr:.1} dB")));
    told.extend(it.rssi.map(|rssi| format!("RSSI {rssi} dBm")));
    if told.is_empty() {
        return String::new();
    }
    format!(": {}", told.join(", "))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_REASON).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Returns the story in lines for a notice: what happened, when after the first step, and what that rests on.
fn told(story: &Story) -> String {
    let began = story.steps.iter().map(|it| it.at).min();
    let mut lines: Vec<String> = Vec::new();
    for step in &story.steps {
        let after = step.at.since(began.unwrap_or_default());
        let when = match after.as_millis() {
            0 => clock_of(step.at),
            milliseconds @ 1..10_000 => {
                format!("+{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
            }
            _ => format!("+{}", span::short(after)),
        };
        lines.push(format!("{when}  {} ({})", words(step), step.evidence()));
    }
    if lines.len() > MOST_LINES {
        let left_out = lines.len() - MOST_LINES;
        lines.splice(
            FIRST_LINES..FIRST_LINES + left_out,
            [format!("… {left_out} more steps")],
        );
    }
    lines.extend(
        story
            .standing
            .iter()
            .map(|it| format!("now: {}", waits(it))),
    );
    let of = match &story.subject {
        StorySubject::Room { .. } => {
            "What became of this message on its way to the mesh".to_owned()
        }
        StorySubject::Packet { sender, packet } => {
            format!("What became of packet {packet} of {sender}")
        }
    };
    format!("{of}:\n{}", lines.join("\n"))
}

/// Returns the time of day in UTC.
fn clock_of(at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1000).rem_euclid(86_400);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

impl Bridge {
    /// Answers a reaction that asks for the story of a message, once a minute in a room. It is never transmitted.
    pub(super) fn tell_story(
        &self,
        reaction: &RoomReaction,
        source: &MeshSource,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        if let Err(reason) = self.check_event(source, reaction.suppress, facts) {
            return vec![Action::Drop(reason)];
        }
        if now.since(source.sent_at) > LATE_AFTER {
            return vec![Action::Drop(DropReason::LateQuestion)];
        }
        let what = question_name(&reaction.room);
        if facts.cooldowns.contains(&what) {
            return vec![Action::Drop(DropReason::AskedAgain)];
        }
        let told: Vec<String> = facts.story.iter().map(told).collect();
        let text = if told.is_empty() {
            "Nothing is known of this message's way to or from the mesh: it never had one, or it was long ago.".to_owned()
        } else {
            told.join("\n\n")
        };
        let notice = Notice {
            text,
            reply_to: Some(reaction.target.clone()),
            thread: facts.target.first().and_then(|it| it.thread.clone()),
            mentions: vec![reaction.sender.clone()],
            at: None,
        };
        vec![
            Action::say(notice.for_room(&reaction.room)),
            Action::StartCooldown {
                what,
                until: now + ANSWER_AGAIN,
            },
        ]
    }
}

#[cfg(test)]
mod tests;
