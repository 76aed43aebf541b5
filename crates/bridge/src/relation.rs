//! Targets of replies and reactions on the other network.

use std::collections::BTreeSet;

use strum::VariantArray as _;

use super::route::{Routes, Spot};
use super::{dropped::DropReason, facts::Facts, text::folded};
use relay_config::ReactionStyle;
use relay_model::{
    EventRef, MessagePair, Origin, OwnedEventId, OwnedUserId, PacketId, RoomId, RoomOrAliasId, Sign,
};

/// Maximum number of different emoji from Matrix on a packet.
const MOST_EMOJI: usize = 3;

/// The target of a mesh message's reply, as seen from one room.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RoomTarget {
    pub(super) event: Option<EventRef>,
    pub(super) thread: Option<OwnedEventId>,
    /// The Matrix author of the event.
    pub(super) author: Option<OwnedUserId>,
}

/// Finds the event in a room for one of these pairs.
pub(super) fn room_target(
    pairs: &[MessagePair],
    room: &RoomOrAliasId,
    routes: &Routes,
) -> Option<RoomTarget> {
    // Pairs of the packet's channel, or without a stored channel (earlier versions): those are certain only if there is just
    // one.
    let one_channel = routes.has_one_channel(room);
    let mut here = pairs
        .iter()
        .filter(|pair| routes.is_same_room(&pair.room, room))
        .filter(|pair| pair.channel.is_some() || one_channel);
    let newest = here.next()?;
    let (sender, packet) = (newest.sender, newest.packet);
    let waiting = EventRef::Packet { sender, packet };
    Some(RoomTarget {
        event: Some(newest.event.clone().map_or(waiting, EventRef::Event)),
        thread: newest.thread.clone(),
        author: match newest.origin {
            Origin::Mesh => None,
            Origin::Matrix => newest.author.clone(),
        },
    })
}

/// The packet that an event of Matrix replies or reacts to.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketTarget<'a> {
    pub(super) spot: Spot,
    /// Id of the packet that stands for it; `None` if it was not transmitted.
    pub(super) packet: Option<PacketId>,
    pub(super) pair: &'a MessagePair,
}

/// Finds the packet of an event's target in its room, or else of its thread's root: the first part, in the newest attempt.
pub(super) fn packet_target<'a>(
    facts: &'a Facts,
    room: &RoomId,
    routes: &Routes,
) -> Option<PacketTarget<'a>> {
    let first = |pairs| first_part(pairs, room, routes);
    first(&facts.target).or_else(|| first(&facts.thread))
}

fn first_part<'a>(
    pairs: &'a [MessagePair],
    room: &RoomId,
    routes: &Routes,
) -> Option<PacketTarget<'a>> {
    pairs
        .iter()
        .filter(|pair| routes.is_same_room(&pair.room, room.into()))
        .filter_map(|pair| {
            Some(PacketTarget {
                spot: Spot::of(pair.destination, pair.channel)?,
                packet: Some(pair.packet).filter(|it| *it != PacketId::NONE),
                pair,
            })
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
    let mut signs = Sign::VARIANTS.iter();
    let is_ours = signs.any(|sign| folded(sign.key()) == emoji);
    if is_ours && target.pair.origin == Origin::Matrix {
        return Err(DropReason::FeedbackSign);
    }
    if style == ReactionStyle::Text {
        return Ok(());
    }
    let there: BTreeSet<String> = facts.tapbacks.iter().map(|it| folded(it)).collect();
    if there.contains(&emoji) {
        Err(DropReason::RepeatedEmoji)
    } else if there.len() >= MOST_EMOJI {
        Err(DropReason::TooManyEmoji)
    } else {
        Ok(())
    }
}
