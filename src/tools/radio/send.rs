//! `relay radio send`: one text in one packet, and what becomes of it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{News, Phase, Visit, VisitError};
use crate::bridge::{PACKET_BYTES, Refused};
use crate::model::{
    Channel, ChannelIndex, ChannelRole, Destination, Lane, MeshRowId, PacketId, RadioMessage,
    RadioOutcome, RadioPayload, RadioProfile, Refusal, SendReport,
};
use crate::radio::Submission;

/// How long the radio may take to accept a text, its own refusals for now included.
const TAKEN_LIMIT: Duration = Duration::from_mins(1);
/// A radio that wants more time than that is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long to wait for another node to repeat it; the second is for slow presets.
const ANSWER_LIMITS: [Duration; 2] = [Duration::from_secs(90), Duration::from_mins(3)];
/// Presets on which a packet takes seconds.
const SLOW_PRESETS: [&str; 3] = ["LongSlow", "LongMod", "custom"];
/// There is no table here, and one row.
const ROW: MeshRowId = MeshRowId(1);

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Another node repeated it.
    Heard,
    /// It was sent, and nobody was heard repeating it.
    Unheard,
    /// The radio took it, and no answer has come.
    NoAnswer,
    /// The radio will never send it.
    Refused,
    /// The radio did not take it now.
    NotTaken,
    /// The radio may have taken it or not.
    Unknown,
}

/// A text that was sent, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sent {
    pub(crate) channel: u8,
    pub(crate) channel_name: String,
    pub(crate) packet: u32,
    /// How long the text is.
    pub(crate) bytes: usize,
    /// The radio took it.
    pub(crate) taken: bool,
    pub(crate) fate: Fate,
    /// Why, where it was not sent; with the cure.
    pub(crate) reason: Option<String>,
}

/// Looks whether a text goes into a packet. It is not split: who sends by hand sees what goes on the air.
pub(crate) fn check_text(text: &str) -> Result<(), VisitError> {
    if text.trim().is_empty() {
        return Err(VisitError::Text("there is nothing to send".to_owned()));
    }
    if text.len() > PACKET_BYTES {
        return Err(VisitError::Text(format!(
            "the text has {} bytes, and a packet takes {PACKET_BYTES}: shorten it, or send it in parts",
            text.len()
        )));
    }
    Ok(())
}

/// Sends a text on a channel, given by its number or name, and waits for what becomes of it. `taken` is told as soon as
/// the radio has it.
///
/// # Errors
///
/// When there is no radio, or no such channel. What the radio makes of the text is no error here.
pub(crate) async fn send(
    visit: &mut Visit,
    channel: &str,
    text: &str,
    taken: impl FnOnce(&Sent),
) -> Result<Sent, VisitError> {
    check_text(text)?;
    let profile = visit.unlocked().await?;
    let channel = channel_of(&profile, channel)?;
    let mut sent = Sent {
        channel: channel.index.number(),
        channel_name: channel.name.clone(),
        packet: new_id().0,
        bytes: text.len(),
        taken: false,
        fate: Fate::NotTaken,
        reason: None,
    };
    if !(profile.region_set && profile.transmit_enabled) {
        sent.refuse(Refusal::TransmitOff, &profile);
        return Ok(sent);
    }
    let message = RadioMessage {
        destination: Destination::Channel(channel.index),
        lane: Lane::Message,
        payload: RadioPayload::Text {
            text: text.to_owned(),
            reply_to: None,
        },
    };
    visit.phase.send_replace(Phase::Sending);
    visit.follow(&mut sent, &message, &profile, taken).await?;
    visit.phase.send_replace(Phase::Ready);
    Ok(sent)
}

impl Sent {
    fn refuse(&mut self, refusal: Refusal, profile: &RadioProfile) {
        self.taken = false;
        self.fate = Fate::Refused;
        let refused = match refusal {
            Refusal::TransmitOff if !profile.region_set => Refused::NoRegion,
            other => other.into(),
        };
        self.reason = Some(match (refused, refusal) {
            (Refused::Radio, Refusal::Other(error)) => format!("{refused} (error {error})"),
            _ => refused.to_string(),
        });
    }
}

impl Visit {
    /// Gives the text to the radio until it takes it, or will not; then waits until it is known whether anybody repeated
    /// it.
    async fn follow(
        &mut self,
        sent: &mut Sent,
        message: &RadioMessage,
        profile: &RadioProfile,
        taken: impl FnOnce(&Sent),
    ) -> Result<(), VisitError> {
        let mut taken = Some(taken);
        let mut limit = Instant::now() + TAKEN_LIMIT;
        let mut submit_at = Some(Instant::now());
        loop {
            let news = tokio::select! {
                () = sleep_until(submit_at.unwrap_or(limit)), if submit_at.is_some() => {
                    submit_at = None;
                    let submission = Submission {
                        outbox: ROW,
                        packet: PacketId(sent.packet),
                        message: message.clone(),
                    };
                    self.submissions.send(submission).await.map_err(|_| VisitError::Ended)?;
                    continue;
                }
                news = timeout_at(limit, self.news()) => news,
            };
            let outcome = match news {
                Ok(Ok(News::Report(SendReport::Radio { outcome, .. }))) => outcome,
                Ok(Ok(News::Text(text))) => {
                    self.keep(*text);
                    continue;
                }
                Ok(Ok(News::Lost(cause))) if !sent.taken => {
                    let cure = super::cure(&self.connection, &cause);
                    let cure = cure.map(|cure| format!(" ({cure})")).unwrap_or_default();
                    sent.reason = Some(format!("the link to the radio was lost: {cause}{cure}"));
                    continue;
                }
                Ok(Ok(News::Ready(_) | News::Lost(_) | News::Report(SendReport::Room { .. }))) => {
                    continue;
                }
                Ok(Err(VisitError::Interrupted)) | Err(_) if sent.taken => return Ok(()),
                Ok(Err(VisitError::Interrupted)) => {
                    sent.fate = Fate::Unknown;
                    sent.reason = Some("interrupted before the radio answered".to_owned());
                    return Ok(());
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    sent.fate = Fate::Unknown;
                    sent.reason = Some(match sent.reason.take() {
                        Some(why) => format!("{why}; it was tried for {} s", TAKEN_LIMIT.as_secs()),
                        None => "the radio did not answer".to_owned(),
                    });
                    return Ok(());
                }
            };
            match outcome {
                RadioOutcome::Accepted { .. } => {
                    let Some(taken) = taken.take() else {
                        continue;
                    };
                    (sent.taken, sent.fate, sent.reason) = (true, Fate::NoAnswer, None);
                    taken(sent);
                    self.phase.send_replace(Phase::AwaitingAnswer);
                    limit = Instant::now() + answer_limit(profile);
                }
                RadioOutcome::Heard | RadioOutcome::Delivered => {
                    (sent.taken, sent.fate) = (true, Fate::Heard);
                    return Ok(());
                }
                RadioOutcome::Unheard => {
                    (sent.taken, sent.fate) = (true, Fate::Unheard);
                    return Ok(());
                }
                RadioOutcome::Refused(refusal) => {
                    sent.refuse(refusal, profile);
                    return Ok(());
                }
                RadioOutcome::Retry {
                    after,
                    new_id: is_new,
                    reason,
                    ..
                } => {
                    if sent.taken {
                        (sent.taken, sent.fate) = (false, Fate::NotTaken);
                        sent.reason = Some(reason);
                        return Ok(());
                    }
                    if is_new {
                        sent.packet = new_id().0;
                    }
                    if after > LONGEST_PAUSE {
                        sent.reason = Some(format!("{reason}: try again in {} s", after.as_secs()));
                        return Ok(());
                    }
                    sent.reason = Some(reason);
                    submit_at = Some(Instant::now() + after);
                }
            }
        }
    }
}

fn answer_limit(profile: &RadioProfile) -> Duration {
    let preset = profile.setup.preset.as_deref().unwrap_or_default();
    let [short, long] = ANSWER_LIMITS;
    if SLOW_PRESETS.contains(&preset) {
        long
    } else {
        short
    }
}

/// Returns the channel that a number, or else a name, stands for.
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
        let names: Vec<_> = names.collect();
        VisitError::NoChannel {
            wanted: wanted.to_owned(),
            available: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        }
    })
}

/// Returns a new random packet id.
fn new_id() -> PacketId {
    PacketId(rand::random::<u32>().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Node, NodeNum, RadioSetup};

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
        assert!(error.to_string().contains("464 bytes"), "{error}");
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
            fate: Fate::NoAnswer,
            reason: None,
        };
        sent.refuse(Refusal::TransmitOff, &profile());
        assert!(!sent.taken);
        let reason = sent.reason.clone().unwrap();
        assert!(reason.contains("set lora.region"), "{reason}");
        sent.refuse(Refusal::Other(36), &profile());
        assert_eq!(
            sent.reason.as_deref(),
            Some("the radio refused it (error 36)")
        );
    }
}
