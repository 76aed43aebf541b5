//! What the bridge decided on rooms, and on what waits for them.

use tracing::{info, warn};

use super::super::Outcome;
use crate::bridge::{DropReason, GivenUp, Held, WhyGivenUp};
use crate::daemon::counts::{Place, Way};
use crate::model::{JoinedRoom, OldRoom, OwnedRoomId, OwnedRoomOrAliasId};
use crate::store::mesh_report::Withdrawal;
use crate::store::{StoreError, Tx, known_rooms, mapped_rooms, mesh_report, outage, outbox_room};

pub(super) fn join(
    tx: &Tx<'_>,
    room: &JoinedRoom,
    is_news: bool,
    is_open: bool,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let id: OwnedRoomOrAliasId = room.room.clone().into();
    known_rooms::note(tx, &room.room, &room.configured)?;
    let aliases = || room.configured.iter().filter(|name| **name != id);
    for alias in aliases() {
        outbox_room::rename_room(tx, alias, &id)?;
    }
    let last = OldRoom {
        room: room.room.clone(),
        alias: aliases().next().cloned(),
        encrypted: room.encrypted,
        public: room.public,
        tombstone: room.tombstone.clone(),
    };
    mapped_rooms::note(tx, &last)?;
    let (room, name, encrypted) = (room.room.clone(), room.name.clone(), room.encrypted);
    outcome.log(move || {
        if is_news {
            info!(%room, name, encrypted, "room joined");
        }
        if is_open {
            warn!(
                %room,
                "anyone may join this room and so put messages on the air: set matrix.allowed_users"
            );
        }
    });
    Ok(())
}

pub(super) fn hold(
    tx: &Tx<'_>,
    room: OwnedRoomId,
    held: Held,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    match held {
        Held::No => {
            if mapped_rooms::hold(tx, &room, None)? {
                outcome.rooms.insert(room.into());
            }
        }
        Held::Followed(to) => {
            mapped_rooms::hold(tx, &room, Some((mapped_rooms::FOLLOWED, Some(&to))))?;
        }
        Held::Waits(why, news) => {
            let successor = why.successor();
            mapped_rooms::hold(tx, &room, Some((why.name(), successor.map(|it| &**it))))?;
            if let Some((messages, packets)) = news {
                let successor = successor.map_or_else(String::new, ToString::to_string);
                let (reason, hint) = (why.text(), why.hint(&room));
                outcome.log(move || warn!(%room, successor, messages, packets, reason, hint, "what is for this room waits"));
            }
        }
    }
    Ok(())
}

pub(super) fn hand_over(
    tx: &Tx<'_>,
    from: OwnedRoomId,
    to: OwnedRoomId,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    outage::hand_over(tx, &from, &to)?;
    let moved = mapped_rooms::hand_over(tx, &from, &to)?;
    if moved == mapped_rooms::Moved::default() {
        return Ok(());
    }
    count(&from.clone().into(), moved.ended, 0, outcome);
    outcome.rooms.insert(to.clone().into());
    outcome.log(move || {
        info!(room = %from, successor = %to, messages = moved.rows, "what waited for this room goes to the one that takes its place");
        if moved.ended > 0 {
            warn!(
                room = %from, successor = %to, reactions = moved.ended,
                "reactions on messages of this room are given up: its messages are not in the room that takes its place"
            );
        }
    });
    Ok(())
}

pub(super) fn give_up(
    tx: &Tx<'_>,
    given_up: GivenUp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let GivenUp {
        room,
        messages,
        packets: senders,
        why,
    } = given_up;
    let messages = match messages {
        Some((of, but_notices)) => outbox_room::refuse_room(tx, &of, but_notices)?,
        None => 0,
    };
    let mut packets = 0;
    for (from, sender) in senders {
        let withdrawn = mesh_report::withdraw(tx, Withdrawal::Sender(&from, &sender))?;
        outcome.withdrawn.extend(withdrawn.submitted);
        packets += withdrawn.packets;
    }
    count(&room, messages, packets, outcome);
    if messages + packets == 0 {
        return Ok(());
    }
    outcome.log(move || match why {
        WhyGivenUp::Direction(successor) => {
            warn!(%room, %successor, messages, packets, "the room that takes this one's place has another direction: what waited is given up");
        }
        WhyGivenUp::Unmapped(successor) => {
            let successor = successor.map_or_else(String::new, |it| it.to_string());
            warn!(%room, successor, messages, packets, "this room is not in `matrix_rooms` any more, nor one that replaces it: what waited is given up");
        }
        WhyGivenUp::Forbidden => {
            warn!(%room, messages, packets, "these waited, and the configuration does not permit them any more: they are given up");
        }
    });
    Ok(())
}

fn count(room: &OwnedRoomOrAliasId, messages: usize, packets: usize, outcome: &mut Outcome) {
    for (count, way) in [(messages, Way::ToMatrix), (packets, Way::ToMesh)] {
        for _ in 0..count {
            let place = Place::Room(room.clone());
            outcome.counts.dropped(place, way, DropReason::UnmappedRoom);
        }
    }
}
