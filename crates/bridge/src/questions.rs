//! The lookups that each event needs before the decision.

use std::time::Duration;

use super::echo::is_long_enough;
use super::facts::{Questions, SeenKey, Table, Target};
use super::feedback::SHOWN_WAITING_AFTER;
use super::to_mesh::bare_media;
use super::{Bridge, author_notice, backlog, chores, notice, outage, story, undecryptable};
use relay_model::{
    Chore, Event, EventId, Lane, MatrixEvent, PacketId, RadioEvent, RadioOutcome, RadioText,
    RoomEdit, RoomReaction, RoomText, SendReport, Sign, Timestamp,
};

/// Maximum age of a relayed message whose echo is recognised.
const ECHO_WINDOW: Duration = Duration::from_mins(10);

impl Bridge {
    /// Returns the lookups for an event, for [`Bridge::decide`].
    pub fn questions(&self, event: &Event, now: Timestamp) -> Questions {
        Questions {
            seen: SeenKey::of(event),
            ..self.about(event, now)
        }
    }

    fn about(&self, event: &Event, now: Timestamp) -> Questions {
        match event {
            Event::Radio(RadioEvent::Text(packet)) => self.about_packet(packet, now),
            Event::Radio(RadioEvent::Ready(_)) => Questions::about([
                Table::Packets(None),
                Table::Cooldowns(author_notice::REFUSED),
                Table::Cooldowns(author_notice::EDITED),
                Table::RadioAway,
            ]),
            Event::Radio(RadioEvent::Lost { .. }) => Questions::about([Table::RadioAway]),
            Event::Matrix(MatrixEvent::Text(text)) => about_message(text, now),
            Event::Matrix(MatrixEvent::Edit(edit)) => about_edit(edit, now),
            Event::Matrix(MatrixEvent::Reaction(reaction)) => about_reaction(reaction, now),
            Event::Matrix(MatrixEvent::Redaction(redaction)) => Questions {
                taken_edit: Some((redaction.room.clone(), redaction.target.clone())),
                ..Questions::default()
            },
            Event::Matrix(MatrixEvent::Own { relay_id, .. }) => Questions {
                relay_id: relay_id.clone(),
                ..Questions::default()
            },
            Event::Report(SendReport::Radio {
                outbox,
                outcome: RadioOutcome::Refused(_),
                ..
            }) => Questions {
                reported: Some(*outbox),
                ..Questions::about([
                    Table::Cooldowns(author_notice::REFUSED),
                    Table::Cooldowns(author_notice::EDITED),
                ])
            },
            Event::Chore(chore) => self.about_chore(*chore, now),
            Event::Radio(
                RadioEvent::Nodes(_) | RadioEvent::Ignored { .. } | RadioEvent::ChannelUse { .. },
            )
            | Event::Matrix(
                MatrixEvent::Undecryptable { .. }
                | MatrixEvent::Joined(_)
                | MatrixEvent::Left { .. }
                | MatrixEvent::Avatar(_)
                | MatrixEvent::NoSigns { .. }
                | MatrixEvent::NameMoved { .. }
                | MatrixEvent::Synced(_)
                | MatrixEvent::Banned { .. },
            )
            | Event::Report(_) => Questions::default(),
        }
    }

    fn about_chore(&self, chore: Chore, now: Timestamp) -> Questions {
        match chore {
            Chore::Start => Questions::about([Table::RadioAway, Table::LastActive]),
            Chore::Reload => Questions::about([Table::RadioAway]),
            Chore::Login | Chore::Round(_) | Chore::Overdue => Questions::default(),
            Chore::Permissions => Questions::about([Table::Senders, Table::Busy]),
            Chore::Rooms => Questions::about([Table::Rooms, Table::Senders]),
            Chore::Channels(row) => Questions::about([
                Table::Packets(row),
                Table::Cooldowns(author_notice::REFUSED),
                Table::Cooldowns(author_notice::EDITED),
            ]),
            Chore::Keys => Questions::about([
                // How long to wait for an event's key.
                Table::Unread(now - self.config.meshtastic.max_message_age),
                Table::Cooldowns(undecryptable::TOLD),
            ]),
            Chore::Expired => Questions::about([
                Table::Expired(backlog::FEW, Sign::Expired),
                Table::Cooldowns(backlog::TOLD),
            ]),
            Chore::Outage => {
                Questions::about([Table::Outage, Table::Busy, Table::Cooldowns(outage::TOLD)])
            }
            Chore::Waiting => {
                let mode = self.config.meshtastic.delivery_feedback;
                let waiting = Table::Waiting(now - SHOWN_WAITING_AFTER, Sign::Waiting);
                let tables = mode.shows(Sign::Waiting).then_some(waiting);
                Questions::about(tables)
            }
            Chore::Tables => {
                Questions::about([Table::RowsForRooms, Table::Cooldowns(chores::BACKLOG)])
            }
            Chore::Signs => Questions::about([Table::Changed]),
        }
    }

    fn about_packet(&self, packet: &RadioText, now: Timestamp) -> Questions {
        let channel = packet.channel();
        let reply_to = packet.reply_to.filter(|it| *it != PacketId::NONE);
        let cooldowns = match channel {
            Some(_) => vec![notice::alert_name(packet.sender.num)],
            None => vec![
                notice::direct_name(packet.sender.num),
                notice::ANY_DIRECT.to_owned(),
            ],
        };
        Questions {
            target: channel.and(reply_to).map(|target| Target::Packet {
                channel: packet.fingerprint,
                packet: target,
            }),
            relayed: (channel.is_some()
                && self.may_be_echo(packet)
                && is_long_enough(&packet.text))
            .then(|| (packet.destination, now - ECHO_WINDOW)),
            cooldowns,
            ..Questions::default()
        }
    }
}

fn about_message(text: &RoomText, now: Timestamp) -> Questions {
    Questions {
        target: text.reply_to.clone().map(Target::Event),
        early_edit: Some((text.room.clone(), text.event.clone(), text.sender.clone())),
        thread: text.thread.clone(),
        waiting_media: bare_media(text).map(|_| (text.room.clone(), text.sender.clone())),
        gathering: Some(text.room.clone()),
        ..about_words(text, &text.event, now)
    }
}

fn about_edit(edit: &RoomEdit, now: Timestamp) -> Questions {
    let new = &edit.new;
    let mut questions = about_words(new, &edit.target, now);
    let names = author_notice::edit_names(&new.room, &edit.target, &new.sender);
    questions.cooldowns.extend(names.into_iter().flatten());
    Questions {
        versions: Some((new.room.clone(), edit.target.clone())),
        ..questions
    }
}

/// Returns the lookups for a new or edited message's text.
fn about_words(text: &RoomText, message: &EventId, now: Timestamp) -> Questions {
    let sent_at = text.sent_at.min(now);
    let relay = text.relay.as_ref();
    let in_room = author_notice::room_names(&text.room, &text.sender);
    let cooldowns = in_room.chain(author_notice::person_names(&text.room, &text.sender));
    Questions {
        relay_id: relay.and_then(|fields| fields.relay_id.clone()),
        heard_by_our_radio: relay.and_then(|fields| fields.id),
        waiting_for_mesh: Some((text.room.clone(), Lane::Message)),
        sender_sent: Some((text.sender.clone(), sent_at)),
        urgent_sent: Some((text.sender.clone(), sent_at, message.to_owned())),
        cooldowns: cooldowns.collect(),
        ..Questions::default()
    }
}

fn about_reaction(reaction: &RoomReaction, now: Timestamp) -> Questions {
    if story::is_question(&reaction.key) {
        return Questions {
            target: Some(Target::Event(reaction.target.clone())),
            story: Some((reaction.room.clone(), reaction.target.clone())),
            cooldowns: vec![story::question_name(&reaction.room)],
            ..Questions::default()
        };
    }
    Questions {
        target: Some(Target::Event(reaction.target.clone())),
        cooldowns: author_notice::room_names(&reaction.room, &reaction.sender).collect(),
        tapbacks: true,
        waiting_for_mesh: Some((reaction.room.clone(), Lane::Reaction)),
        sender_sent: Some((reaction.sender.clone(), reaction.sent_at.min(now))),
        ..Questions::default()
    }
}

impl Questions {
    fn about(tables: impl IntoIterator<Item = Table>) -> Self {
        Self {
            tables: tables.into_iter().collect(),
            ..Self::default()
        }
    }
}
