//! Actions on rooms and the rows that wait for them.

use tracing::{info, warn};

use super::Applier;
use crate::daemon::counts::{Place, Way};
use relay_bridge::{DropReason, GivenUp, Held, WaitingRoom, WhyGivenUp};
use relay_model::{
    Explained as _, JoinedRoom, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, RoomId, Timestamp,
};
use relay_store::mesh_report::Withdrawal;
use relay_store::{Result, known_rooms, mapped_rooms, outage, outbox_room};

impl Applier<'_> {
    pub(super) fn join(
        &mut self,
        room: &JoinedRoom,
        is_news: bool,
        opened: Option<bool>,
    ) -> Result<()> {
        let tx = self.tx;
        let id: OwnedRoomOrAliasId = room.room.clone().into();
        known_rooms::remember(tx, &room.room, &room.configured)?;
        // What waits for a room that this one has replaced moves another way.
        let aliases = room.configured.iter().filter(|it| it.is_room_alias_id());
        for alias in aliases {
            outbox_room::rename_room(tx, alias, &id)?;
        }
        mapped_rooms::remember(tx, &OldRoom::from(room))?;
        let (room, name, encrypted) = (room.room.clone(), room.name.clone(), room.encrypted);
        tx.log(move || {
            if is_news {
                info!(%room, name, encrypted, "room joined");
            }
            match opened {
                Some(true) => warn!(
                    %room,
                    hint = "set `matrix.allowed_users`",
                    "anyone may join this room and so put messages on the air"
                ),
                Some(false) => info!(%room, "not everyone may join this room any more"),
                None => {}
            }
        });
        Ok(())
    }

    pub(super) fn hold(&mut self, room: OwnedRoomId, held: Held) -> Result<()> {
        let tx = self.tx;
        match held {
            Held::No => {
                if mapped_rooms::hold(tx, &room, None)? {
                    self.outcome.rooms.insert(room.into());
                }
            }
            Held::Followed(to) => {
                mapped_rooms::hold(tx, &room, Some((None, Some(&to))))?;
            }
            Held::Waits(why, news) => {
                let successor = why.successor();
                let state = (Some(why.name()), successor.map(|it| &**it));
                mapped_rooms::hold(tx, &room, Some(state))?;
                if let Some((messages, packets)) = news {
                    let successor = successor.map_or_else(String::new, ToString::to_string);
                    let waits = WaitingRoom(&room, &why);
                    let (reason, hint) = (waits.to_string(), waits.hint());
                    tx.log(move || {
                        if messages + packets == 0 {
                            warn!(%room, successor, reason, hint, "from now on what is for this room waits");
                        } else {
                            warn!(%room, successor, messages, packets, reason, hint, "what is for this room waits");
                        }
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn hand_room_over(&mut self, from: OwnedRoomId, to: OwnedRoomId) -> Result<()> {
        let tx = self.tx;
        outage::hand_over(tx, &from, &to)?;
        let moved = outbox_room::hand_over(tx, &from, &to)?;
        if moved == outbox_room::Moved::default() {
            return Ok(());
        }
        self.count(&from.clone().into(), moved.ended, 0);
        self.outcome.rooms.insert(to.clone().into());
        tx.log(move || {
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

    pub(super) fn give_up(&mut self, given_up: GivenUp) -> Result<()> {
        let GivenUp {
            room,
            messages,
            packets: senders,
            why,
        } = given_up;
        let messages = match messages {
            Some((of, but_notices)) => outbox_room::refuse_room(self.tx, &of, but_notices)?,
            None => 0,
        };
        let mut packets = 0;
        for (from, sender) in senders {
            packets += self.take_back(Withdrawal::Sender(&from, &sender, Timestamp::NEVER))?;
        }
        self.count(&room, messages, packets);
        if let WhyGivenUp::Unmapped(_) = why
            && let Ok(room) = <&RoomId>::try_from(&*room)
        {
            mapped_rooms::forget(self.tx, room)?;
        }
        if messages + packets == 0 {
            return Ok(());
        }
        self.tx.log(move || match why {
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

    fn count(&mut self, room: &OwnedRoomOrAliasId, messages: usize, packets: usize) {
        for (count, way) in [(messages, Way::ToMatrix), (packets, Way::ToMesh)] {
            for _ in 0..count {
                let place = Place::Room(room.clone());
                let counts = &mut self.outcome.counts;
                counts.dropped(place, way, DropReason::UnmappedRoom);
            }
        }
    }
}
