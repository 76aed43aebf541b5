//! How replies and reactions find their target on the other side.

use super::facts::Facts;
use super::feedback::Sign;
use super::route::Routes;
use super::text::folded;
use crate::config::{MessageInteractions, ReactionStyle};
use crate::model::{
    ChannelIndex, Destination, MessagePair, NodeNum, Origin, OwnedEventId, OwnedUserId, PacketId,
    RoomOrAliasId,
};

use super::dropped::DropReason;

/// A packet gets at most so many different emoji from Matrix.
const MOST_EMOJI: usize = 3;

/// What a message of the mesh answers, seen from one room.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RoomTarget {
    /// The event, if it has one already.
    pub(super) event: Option<OwnedEventId>,
    /// The packet whose event waits in our outbox.
    pub(super) packet: Option<(NodeNum, PacketId)>,
    /// The thread to go into.
    pub(super) thread: Option<OwnedEventId>,
    /// Who wrote the event in Matrix.
    pub(super) author: Option<OwnedUserId>,
}

/// Finds the event in a room that stands for one of these pairs.
pub(super) fn room_target(
    pairs: &[MessagePair],
    room: &RoomOrAliasId,
    routes: &Routes,
) -> Option<RoomTarget> {
    let mut here = pairs
        .iter()
        .filter(|pair| routes.is_same_room(&pair.room, room));
    let newest = here.next()?;
    let packet = match newest.event {
        Some(_) => None,
        None => Some((newest.sender, newest.packet)),
    };
    Some(RoomTarget {
        event: newest.event.clone(),
        packet,
        thread: newest.thread.clone(),
        author: match newest.origin {
            Origin::Mesh => None,
            Origin::Matrix => newest.author.clone(),
        },
    })
}

/// A packet that an event of Matrix answers or reacts to.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketTarget<'a> {
    /// Its channel.
    pub(super) channel: ChannelIndex,
    /// Its id.
    pub(super) packet: PacketId,
    /// Its pair.
    pub(super) pair: &'a MessagePair,
}

/// Finds the packet that stands for an event's target, or else for the root of its thread: the first part, and of
/// several tries the newest.
pub(super) fn packet_target(facts: &Facts) -> Option<PacketTarget<'_>> {
    first_part(&facts.target).or_else(|| first_part(&facts.thread))
}

fn first_part(pairs: &[MessagePair]) -> Option<PacketTarget<'_>> {
    pairs
        .iter()
        .filter_map(|pair| match pair.destination {
            Destination::Channel(channel) if pair.packet != PacketId::NONE => Some(PacketTarget {
                channel,
                packet: pair.packet,
                pair,
            }),
            Destination::Channel(_) | Destination::Direct(_) => None,
        })
        .min_by_key(|target| target.pair.part)
}

/// Returns why an emoji is not put on a packet.
pub(super) fn check_emoji(
    emoji: &str,
    target: &PacketTarget<'_>,
    style: ReactionStyle,
    facts: &Facts,
) -> Result<(), DropReason> {
    let emoji = folded(emoji);
    let ours = Sign::ALL.iter().any(|sign| folded(sign.key()) == emoji);
    if ours && target.pair.origin == Origin::Matrix {
        return Err(DropReason::FeedbackSign);
    }
    if style == ReactionStyle::Text {
        return Ok(());
    }
    let mut there: Vec<String> = facts.tapbacks.iter().map(|it| folded(it)).collect();
    there.sort_unstable();
    there.dedup();
    if there.contains(&emoji) {
        Err(DropReason::RepeatedEmoji)
    } else if there.len() >= MOST_EMOJI {
        Err(DropReason::TooManyEmoji)
    } else {
        Ok(())
    }
}

/// Returns the pairs that a packet's reply may use.
pub(super) fn reply_pairs(facts: &Facts, interactions: MessageInteractions) -> &[MessagePair] {
    if interactions.replies {
        &facts.target
    } else {
        &[]
    }
}
