//! What has to be looked up for each event before the bridge decides.

use super::echo::is_long_enough;
use super::facts::{Questions, SeenKey, Target};
use super::{Bridge, lesson, notice};
use crate::model::{
    Event, Lane, MatrixEvent, MeshSource, PacketId, RadioEvent, RadioOutcome, RadioText, RoomEdit,
    RoomReaction, RoomText, RoomTextKind, SendReport, Timestamp,
};

impl Bridge {
    /// Returns what has to be looked up for an event before [`Bridge::decide`].
    #[must_use]
    pub fn questions(&self, event: &Event, now: Timestamp) -> Questions {
        match event {
            Event::Radio(RadioEvent::Text(packet)) => self.about_packet(packet),
            Event::Matrix(MatrixEvent::Text(text)) => about_message(text, now),
            Event::Matrix(MatrixEvent::Edit(edit)) => about_edit(edit, now),
            // Asked, but not marked: it is decided on when its key has come.
            Event::Matrix(MatrixEvent::Undecryptable { event, .. }) => Questions {
                seen: Some(SeenKey::Event(event.clone())),
                ..Questions::default()
            },
            Event::Matrix(MatrixEvent::Reaction(reaction)) => about_reaction(reaction, now),
            Event::Matrix(MatrixEvent::Redaction(redaction)) => Questions {
                seen: Some(SeenKey::Event(redaction.event.clone())),
                ..Questions::default()
            },
            Event::Report(SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Refused(_),
                ..
            }) => Questions {
                reported: Some(*outbox),
                ..Questions::default()
            },
            Event::Radio(
                RadioEvent::Ready(_)
                | RadioEvent::Lost { .. }
                | RadioEvent::Nodes(_)
                | RadioEvent::Ignored { .. }
                | RadioEvent::ChannelUse { .. },
            )
            | Event::Matrix(
                MatrixEvent::Joined(_)
                | MatrixEvent::Left { .. }
                | MatrixEvent::AliasMoved { .. }
                | MatrixEvent::Own { .. }
                | MatrixEvent::Banned { .. },
            )
            | Event::Report(_) => Questions::default(),
        }
    }

    /// Returns the names of the notices that may be given about a message behind a row: they answer `Facts::told` for a report.
    #[must_use]
    pub fn notices_about(source: &MeshSource) -> Vec<String> {
        lesson::room_names(&source.room).collect()
    }

    fn about_packet(&self, packet: &RadioText) -> Questions {
        let channel = packet.channel();
        let id = Some(packet.packet).filter(|it| *it != PacketId::NONE);
        let reply_to = packet.reply_to.filter(|it| *it != PacketId::NONE);
        let from_us = self.own_node() == Some(packet.sender.num);
        let told = match channel {
            Some(_) => vec![notice::alert_name(packet.sender.num)],
            None => vec![
                notice::direct_name(packet.sender.num),
                notice::ANY_DIRECT.to_owned(),
            ],
        };
        Questions {
            seen: id.map(|packet_id| SeenKey::Packet {
                sender: packet.sender.num,
                packet: packet_id,
            }),
            // Not only of the radio attached now: one that comes instead of another may have kept what that one sent.
            sent_by_us: id.map(|packet_id| (packet.sender.num, packet_id)),
            target: channel.and(reply_to).map(|target| Target::Packet {
                channel: packet.fingerprint,
                packet: target,
            }),
            // An answer is a person's.
            relayed: channel
                .filter(|_| !from_us && packet.reply_to.is_none() && is_long_enough(&packet.text)),
            told,
            ..Questions::default()
        }
    }
}

fn about_message(text: &RoomText, now: Timestamp) -> Questions {
    let is_media = matches!(text.kind, RoomTextKind::Media { .. });
    Questions {
        seen: Some(SeenKey::Event(text.event.clone())),
        target: text.reply_to.clone().map(Target::Event),
        early_edit: Some((text.room.clone(), text.event.clone(), text.sender.clone())),
        thread: text.thread.clone(),
        waiting_media: (is_media && text.body.trim().is_empty())
            .then(|| (text.room.clone(), text.sender.clone())),
        relay_id: relay_id_of(text),
        heard_by_our_radio: text.relay.as_ref().and_then(|fields| fields.id),
        waiting_for_mesh: Some((text.room.clone(), Lane::Message)),
        gathering: Some(text.room.clone()),
        sender_sent: Some((text.sender.clone(), text.sent_at.min(now))),
        urgent_sent: Some((
            text.sender.clone(),
            text.sent_at.min(now),
            text.event.clone(),
        )),
        told: told_to(text),
        ..Questions::default()
    }
}

/// Returns the names of what may have been told to the author of a message.
fn told_to(text: &RoomText) -> Vec<String> {
    let in_room = lesson::room_names(&text.room);
    in_room
        .chain(lesson::person_names(&text.room, &text.sender))
        .collect()
}

fn relay_id_of(text: &RoomText) -> Option<String> {
    text.relay.as_ref()?.relay_id.clone()
}

fn about_edit(edit: &RoomEdit, now: Timestamp) -> Questions {
    let new = &edit.new;
    Questions {
        seen: Some(SeenKey::Event(new.event.clone())),
        versions: Some((new.room.clone(), edit.target.clone())),
        relay_id: relay_id_of(new),
        heard_by_our_radio: new.relay.as_ref().and_then(|fields| fields.id),
        waiting_for_mesh: Some((new.room.clone(), Lane::Message)),
        sender_sent: Some((new.sender.clone(), new.sent_at.min(now))),
        urgent_sent: Some((
            new.sender.clone(),
            new.sent_at.min(now),
            edit.target.clone(),
        )),
        told: told_to(new),
        ..Questions::default()
    }
}

fn about_reaction(reaction: &RoomReaction, now: Timestamp) -> Questions {
    Questions {
        seen: Some(SeenKey::Event(reaction.event.clone())),
        target: Some(Target::Event(reaction.target.clone())),
        told: lesson::room_names(&reaction.room).collect(),
        tapbacks: Some(reaction.target.clone()),
        waiting_for_mesh: Some((reaction.room.clone(), Lane::Reaction)),
        sender_sent: Some((reaction.sender.clone(), reaction.sent_at.min(now))),
        ..Questions::default()
    }
}
