//! `relay radio send`: sends one text in one packet, and reports its fate.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{Visit, VisitError};
use relay_bridge::{PACKET_BYTES, Refused};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Event, Explained as _, Lane, MeshRowId,
    PacketId, RadioEvent, RadioMessage, RadioOutcome, RadioPayload, RadioProfile, Refusal,
    SendReport,
};
use relay_radio::Submission;

/// Maximum time for the radio to accept a text, temporary refusals included.
const TAKEN_LIMIT: Duration = Duration::from_mins(1);
/// Maximum pause that a radio may ask for; for longer ones the command gives up.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Maximum time to wait for another node to repeat the text.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
const SLOW_ANSWER_LIMIT: Duration = Duration::from_mins(3);
/// Presets with an air time of seconds per packet.
const SLOW_PRESETS: [&str; 3] = ["LongSlow", "LongMod", "custom"];
const ANSWER: &str = "waiting whether another node repeats it (Ctrl-C ends the wait)";
/// There is no table here, so one constant row id.
const ROW: MeshRowId = MeshRowId(1);

/// What became of a text that a command sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TextFate {
    /// Another node was heard repeating it.
    Heard,
    /// It was sent, but nobody was heard repeating it.
    Unheard,
    /// The radio accepted it, but sent no result.
    NoAnswer,
    /// The radio refuses it for good.
    Refused,
    /// The radio does not take it now, as when its queue is full.
    NotTaken,
    /// Unknown whether the radio accepted it.
    Unknown,
}

/// What `relay radio send` tells of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sent {
    pub(crate) channel: u8,
    pub(crate) channel_name: String,
    pub(crate) packet: u32,
    /// Length of the text in bytes.
    pub(crate) bytes: usize,
    pub(crate) taken: bool,
    pub(crate) fate: TextFate,
    /// Why it was not sent; `None` if it was.
    pub(crate) reason: Option<String>,
    /// What a person can do about that reason.
    pub(crate) hint: Option<String>,
}

/// Checks that a text fits into a packet. It is not split: the sender decides what goes on the air.
pub(crate) fn check_text(text: &str) -> Result<(), VisitError> {
    if text.trim().is_empty() {
        return Err(VisitError::NoText);
    }
    let size = text.len();
    let fits = (size <= PACKET_BYTES).then_some(());
    fits.ok_or(VisitError::TooLong { size })
}

/// Sends a text on a channel, given by its number or name, and waits for its fate. `taken` is called once the radio has
/// accepted it. Fails if there is no radio or no such channel; a refusal of the text is a result, not an error.
pub(crate) async fn send(
    visit: &mut Visit,
    channel: &str,
    text: &str,
    taken: impl Fn(&Sent),
) -> Result<Sent, VisitError> {
    let profile = visit.unlocked().await?;
    let channel = channel_of(&profile, channel)?;
    let packet = random_id();
    let mut sent = Sent {
        channel: channel.index.number(),
        channel_name: channel.name.clone(),
        packet: packet.0,
        bytes: text.len(),
        taken: false,
        fate: TextFate::NotTaken,
        reason: None,
        hint: None,
    };
    if !profile.transmits() {
        sent.became(refused(Refusal::TransmitOff, &profile));
        return Ok(sent);
    }
    let payload = RadioPayload::Text {
        text: text.to_owned(),
        reply_to: None,
    };
    let submission = Submission {
        outbox: ROW,
        packet,
        channel: channel.fingerprint,
        message: RadioMessage {
            destination: Destination::Channel(channel.index),
            lane: Lane::Message,
            payload,
        },
    };
    let taking = "waiting for the radio to take it";
    visit.awaited.send_replace(Some(taking));
    let end = visit.follow(&mut sent, submission, &profile, taken);
    let end = end.await?;
    visit.awaited.send_replace(None);
    sent.became(end);
    Ok(sent)
}

/// The fate of a text; if it was not sent, the reason and the hint.
type FateAndReason = (TextFate, Option<(String, Option<String>)>);

impl Sent {
    fn became(&mut self, (fate, why): FateAndReason) {
        self.taken = matches!(
            fate,
            TextFate::Heard | TextFate::Unheard | TextFate::NoAnswer
        );
        self.fate = fate;
        (self.reason, self.hint) = why.map_or((None, None), |(reason, hint)| (Some(reason), hint));
    }
}

fn refused(refusal: Refusal, profile: &RadioProfile) -> FateAndReason {
    let refused = match refusal {
        Refusal::TransmitOff if !profile.region_set => Refused::NoRegion,
        other => other.into(),
    };
    let reason = match (refused, refusal) {
        (Refused::Radio, Refusal::Other(error)) => format!("{refused} (error {error})"),
        _ => refused.to_string(),
    };
    (TextFate::Refused, Some((reason, refused.hint())))
}

impl Visit {
    /// Submits the text until the radio accepts or refuses it; then waits until it is known whether another node
    /// repeated it.
    async fn follow(
        &mut self,
        sent: &mut Sent,
        mut submission: Submission,
        profile: &RadioProfile,
        taken: impl Fn(&Sent),
    ) -> Result<FateAndReason, VisitError> {
        // Why the radio has not accepted it yet.
        let mut not_yet = None;
        let mut limit = Instant::now() + TAKEN_LIMIT;
        self.submit(&submission).await?;
        loop {
            let outcome = match timeout_at(limit, self.news()).await {
                Ok(Ok(Event::Report(SendReport::Radio { outcome, .. }))) => outcome,
                Ok(Ok(Event::Radio(RadioEvent::Text(text)))) => {
                    self.keep(*text);
                    continue;
                }
                Ok(Ok(Event::Radio(RadioEvent::Lost { kind, cause, hint }))) => {
                    let lost = self.lost(kind, cause, hint);
                    let reason = format!("the link to the radio was lost: {lost}");
                    not_yet = Some((reason, lost.hint()));
                    continue;
                }
                // The channel is resolved once: its number must still mean the same channel.
                Ok(Ok(Event::Radio(RadioEvent::Ready(now))))
                    if !sent.taken && !submission.is_for(&now.channels) =>
                {
                    let reason = "the radio has another channel in its place now".to_owned();
                    return Ok((TextFate::Unknown, Some((reason, None))));
                }
                Ok(Ok(_)) => continue,
                Ok(Err(VisitError::Interrupted)) | Err(_) if sent.taken => {
                    return Ok((TextFate::NoAnswer, None));
                }
                Ok(Err(VisitError::Interrupted)) => {
                    let reason = "interrupted before the radio answered".to_owned();
                    return Ok((TextFate::Unknown, Some((reason, None))));
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let tried = TAKEN_LIMIT.as_secs();
                    let silent = || ("the radio did not answer".to_owned(), None);
                    let why = not_yet.map(|(reason, hint)| {
                        (format!("{reason}; it was tried for {tried} s"), hint)
                    });
                    return Ok((TextFate::Unknown, Some(why.unwrap_or_else(silent))));
                }
            };
            match outcome {
                RadioOutcome::Accepted { .. } if sent.taken => {}
                RadioOutcome::Accepted { .. } => {
                    sent.taken = true;
                    taken(sent);
                    self.awaited.send_replace(Some(ANSWER));
                    limit = Instant::now() + answer_limit(profile);
                }
                RadioOutcome::Heard | RadioOutcome::Delivered => {
                    return Ok((TextFate::Heard, None));
                }
                RadioOutcome::Unheard => return Ok((TextFate::Unheard, None)),
                RadioOutcome::Refused(refusal) => return Ok(refused(refusal, profile)),
                RadioOutcome::Retry { reason, .. } if sent.taken => {
                    return Ok((TextFate::NotTaken, Some((reason, None))));
                }
                RadioOutcome::Retry { after, reason, .. } if after > LONGEST_PAUSE => {
                    let reason = format!("{reason}: try again in {} s", after.as_secs());
                    return Ok((TextFate::NotTaken, Some((reason, None))));
                }
                RadioOutcome::Retry { reason, new_id, .. } => {
                    if new_id {
                        submission.packet = random_id();
                        sent.packet = submission.packet.0;
                    }
                    not_yet = Some((reason, None));
                    // The pacer sends it as soon as the radio accepts packets again.
                    self.submit(&submission).await?;
                }
            }
        }
    }

    async fn submit(&self, submission: &Submission) -> Result<(), VisitError> {
        let submitted = self.submissions.send(submission.clone()).await;
        submitted.map_err(|_| VisitError::Ended)
    }
}

fn answer_limit(profile: &RadioProfile) -> Duration {
    match profile.setup.preset.as_deref() {
        Some(preset) if SLOW_PRESETS.contains(&preset) => SLOW_ANSWER_LIMIT,
        Some(_) | None => ANSWER_LIMIT,
    }
}

/// Returns the channel by its number, or else by its name.
fn channel_of<'a>(profile: &'a RadioProfile, wanted: &str) -> Result<&'a Channel, VisitError> {
    let used = || {
        let channels = profile.channels.iter();
        channels.filter(|it| it.role != ChannelRole::Disabled)
    };
    let number: Option<u32> = wanted.parse().ok();
    let index = number.and_then(|number| ChannelIndex::try_from(number).ok());
    let by_number = used().find(|it| Some(it.index) == index);
    let by_name = || used().find(|it| it.name == wanted);
    by_number.or_else(by_name).ok_or_else(|| {
        let names = used().map(|it| format!("{} ({})", it.index, it.name));
        let mut available = names.collect::<Vec<_>>().join(", ");
        if available.is_empty() {
            available.push_str("none");
        }
        let wanted = wanted.to_owned();
        VisitError::NoChannel { wanted, available }
    })
}

fn random_id() -> PacketId {
    PacketId(rand::random::<u32>().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::{Node, NodeNum, RadioSetup};

    fn profile() -> RadioProfile {
        let channel = |index: u32, name: &str, role| Channel {
            index: ChannelIndex::try_from(index).unwrap(),
            name: name.to_owned(),
            role,
            fingerprint: None,
        };
        RadioProfile {
            own: Node::unknown(NodeNum(1)),
            firmware: String::new(),
            channels: vec![
                channel(0, "LongFast", ChannelRole::Primary),
                channel(1, "Rescue", ChannelRole::Secondary),
                channel(2, "112", ChannelRole::Secondary),
                channel(3, "", ChannelRole::Disabled),
            ],
            hop_limit: 3,
            region_set: false,
            transmit_enabled: true,
            reboot_count: 0,
            locked: false,
            setup: RadioSetup::default(),
        }
    }

    #[test]
    fn a_channel_is_found_by_its_number_or_its_name() {
        let profile = profile();
        let found = |wanted: &str| {
            let found = channel_of(&profile, wanted).map(|it| it.index.number());
            found.map_err(|error| error.to_string())
        };
        assert_eq!(found("0"), Ok(0));
        assert_eq!(found("Rescue"), Ok(1));
        assert_eq!(found("112"), Ok(2));
        for wrong in ["3", "8", "rescue", ""] {
            let error = found(wrong).unwrap_err();
            assert!(
                error.ends_with("it has 0 (LongFast), 1 (Rescue), 2 (112)"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_text_is_sent_whole_or_not_at_all() {
        assert!(check_text(&"x".repeat(PACKET_BYTES)).is_ok());
        let error = check_text(&"ä".repeat(PACKET_BYTES)).unwrap_err();
        let expected = "the text has 464 bytes, and a packet takes 232";
        assert_eq!(error.to_string(), expected);
        let hint = "shorten it, or send it in parts";
        assert_eq!(error.hint().as_deref(), Some(hint));
        assert!(check_text(" \n").is_err());
    }

    #[test]
    fn a_refusal_comes_with_its_cure() {
        let mut sent = Sent {
            channel: 0,
            channel_name: String::new(),
            packet: 1,
            bytes: 1,
            taken: true,
            fate: TextFate::NoAnswer,
            reason: None,
            hint: None,
        };
        sent.became(refused(Refusal::TransmitOff, &profile()));
        assert!(!sent.taken);
        let (reason, hint) = (sent.reason.clone().unwrap(), sent.hint.clone().unwrap());
        assert!(hint.contains("set lora.region"), "{hint}");
        assert!(!reason.contains("set lora.region"), "{reason}");
        sent.became(refused(Refusal::Other(36), &profile()));
        assert_eq!(
            sent.reason.as_deref(),
            Some("the radio refused it (error 36)")
        );
    }
}
