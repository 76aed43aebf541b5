//! What waits follows its channel: to another slot, on another radio, after a correction of the configuration.

use tracing::{info, warn};

use crate::bridge::{Bridge, Refused};
use crate::model::{Channel, Event, Lane, OutboxId, Timestamp};
use crate::store::{StoreError, Tx, mesh_report, outbox_mesh, told};

use super::super::facts::source_of;
use super::{Ledger, Outcome, Place, Way};

impl Ledger {
    /// Has what waits go where its rooms speak with these channels of the radio (`None`: those that are known), and
    /// refuses what has no channel any more. The radio must not be asked to take anything before.
    pub(super) fn follow_channels(
        &mut self,
        tx: &Tx<'_>,
        channels: Option<&[Channel]>,
        (cause, now): (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let mut moved = 0_usize;
        for row in mesh_report::on_channels(tx)? {
            match self.bridge.moved(&row.room, row.slot, channels) {
                Ok(slot) if slot == row.slot => continue,
                Ok(slot) => {
                    mesh_report::move_to(tx, row.id, slot)?;
                    outcome.mesh.extend(outbox_mesh::queue_of(tx, row.id)?);
                    moved += 1;
                }
                Err(refused) => self.refuse(tx, row.id, refused, (cause, now), outcome)?,
            }
            if row.submitted {
                outcome.withdrawn.push(row.id);
            }
        }
        if moved > 0 {
            info!(
                packets = moved,
                "the channels have changed: what waits follows its channel to another slot"
            );
        }
        Ok(())
    }

    /// Refuses a packet that waits, and tells its sender.
    fn refuse(
        &mut self,
        tx: &Tx<'_>,
        id: OutboxId,
        refused: Refused,
        (cause, now): (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let destination = outbox_mesh::queue_of(tx, id)?.map(|(destination, _)| destination);
        let Some(row) = mesh_report::refuse_waiting(tx, id)? else {
            return Ok(());
        };
        warn!(outbox = %id, reason = %refused, "what waited is not transmitted");
        let Some(source) = row.source.filter(|_| row.part == 0).map(source_of) else {
            return Ok(());
        };
        let room = Place::Room(source.room.clone().into());
        for place in [Some(room), destination.map(Place::from)]
            .into_iter()
            .flatten()
        {
            outcome.counts.refused(place, Way::ToMesh, refused.name());
        }
        // A reaction is not worth a notice.
        if row.lane == Lane::Reaction {
            return Ok(());
        }
        let names = Bridge::notices_about(&source);
        let told = told::told(tx, names.iter().map(String::as_str), now)?;
        for action in self.bridge.refuse_waiting(&source, refused, &told, now) {
            self.apply(tx, cause, action, now, outcome)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::config::{ChannelRef, Config, MappedRoom};
    use crate::model::{
        ChannelIndex, ChannelRole, Destination, JoinedRoom, MatrixEvent, OwnedEventId, RoomContent,
    };
    use crate::store::{MeshState, Store, message_map, outbox_room};

    fn slot(index: u32) -> ChannelIndex {
        ChannelIndex::try_from(index).unwrap()
    }

    /// A radio with these channels, from slot 0 on.
    fn radio(names: &[&str]) -> Event {
        ready(|profile| {
            profile.channels = (0..)
                .zip(names)
                .map(|(index, name)| Channel {
                    index: slot(index),
                    name: (*name).to_owned(),
                    role: match index {
                        0 => ChannelRole::Primary,
                        _ => ChannelRole::Secondary,
                    },
                })
                .collect();
        })
    }

    fn mapped_to(channels: &[ChannelRef]) -> Config {
        let mut config = config();
        let room = config.matrix_rooms[0].clone();
        config.matrix_rooms = channels
            .iter()
            .map(|channel| MappedRoom {
                meshtastic_channel: channel.clone(),
                ..room.clone()
            })
            .collect();
        config
    }

    fn name(name: &str) -> ChannelRef {
        ChannelRef::Name(name.to_owned())
    }

    fn hello() -> OwnedEventId {
        "$hello:example.org".try_into().unwrap()
    }

    /// Where something waits, by the outbox and by the message map.
    fn waits_for(store: &mut Store) -> Vec<Destination> {
        let found = store.transaction(|tx| {
            let queues: Vec<_> = outbox_mesh::queues(tx)?;
            for pair in message_map::by_event(tx, &hello())? {
                assert_eq!([(pair.destination, Lane::Message)], *queues);
            }
            Ok(queues.into_iter().map(|(to, _)| to).collect())
        });
        found.unwrap()
    }

    fn notices(store: &mut Store) -> Vec<String> {
        let room = "!room:example.org".try_into().unwrap();
        let notice = store.transaction(|tx| outbox_room::next(tx, room)).unwrap();
        notice
            .into_iter()
            .filter_map(|row| match row.message.content {
                RoomContent::Text { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }

    const BEFORE: &[&str] = &["LongFast", "Rescue"];
    const AFTER: &[&str] = &["LongFast", "Public", "Rescue"];

    #[test]
    fn what_waits_follows_its_channel_to_another_slot_and_another_radio() {
        let config = mapped_to(&[name("Rescue")]);
        let mut store = Store::in_memory().unwrap();
        let events = [radio(BEFORE), joined(), hello_of_alice()];
        decide(&mut store, &config, &events);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
        let outcome = decide(&mut store, &config, &[radio(AFTER)]);
        let rescue = Destination::Channel(slot(2));
        assert_eq!(waits_for(&mut store), [rescue]);
        assert!(outcome.mesh.contains(&(rescue, Lane::Message)));
    }

    #[test]
    fn channels_that_change_places_keep_each_its_own() {
        let config = mapped_to(&[name("Rescue"), name("LongFast")]);
        let mut store = Store::in_memory().unwrap();
        decide(
            &mut store,
            &config,
            &[radio(BEFORE), joined(), hello_of_alice()],
        );
        for names in [["Rescue", "LongFast"], ["LongFast", "Rescue"]] {
            decide(&mut store, &config, &[radio(&names)]);
            let place = names.iter().position(|it| *it == "Rescue").unwrap();
            let place = slot(u32::try_from(place).unwrap());
            assert_eq!(waits_for(&mut store), [Destination::Channel(place)]);
        }
    }

    #[test]
    fn what_waits_goes_where_a_corrected_configuration_says() {
        let mut store = Store::in_memory().unwrap();
        let wrong = mapped_to(&[ChannelRef::Index(slot(0))]);
        decide(
            &mut store,
            &wrong,
            &[radio(AFTER), joined(), hello_of_alice()],
        );
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
        decide(&mut store, &mapped_to(&[name("Rescue")]), &[radio(AFTER)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
    }

    #[test]
    fn an_answer_stays_on_the_other_channel_of_its_room_as_long_as_that_is_mapped() {
        let both = [ChannelRef::Index(slot(0)), name("Rescue")];
        let mut store = Store::in_memory().unwrap();
        // As if it answered a message there.
        decide(
            &mut store,
            &mapped_to(&both[1..]),
            &[radio(BEFORE), joined(), hello_of_alice()],
        );
        decide(&mut store, &mapped_to(&both), &[radio(AFTER)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
        decide(&mut store, &mapped_to(&both[..1]), &[radio(AFTER)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
    }

    #[test]
    fn what_has_no_channel_any_more_is_refused_and_its_sender_told() {
        let config = mapped_to(&[name("Rescue")]);
        let mut store = Store::in_memory().unwrap();
        decide(
            &mut store,
            &config,
            &[radio(BEFORE), joined(), hello_of_alice()],
        );
        decide(&mut store, &config, &[radio(&["LongFast", "Public"])]);
        assert_eq!(waits_for(&mut store), []);
        let state = store.transaction(|tx| mesh_report::state(tx, OutboxId(1)));
        assert_eq!(state.unwrap(), Some(MeshState::Refused));
        let told = notices(&mut store);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("no such channel"), "{told:?}");
    }

    #[test]
    fn a_room_that_is_known_by_its_alias_is_followed_before_a_server_has_told_which_it_is() {
        let mut config = mapped_to(&[ChannelRef::Index(slot(0))]);
        let alias = "#rescue:example.org";
        config.matrix_rooms[0].id = alias.try_into().unwrap();
        let joined = match joined() {
            Event::Matrix(MatrixEvent::Joined(room)) => {
                Event::Matrix(MatrixEvent::Joined(JoinedRoom {
                    configured: vec![alias.try_into().unwrap()],
                    ..room
                }))
            }
            other => panic!("{other:?}"),
        };
        let mut store = Store::in_memory().unwrap();
        decide(
            &mut store,
            &config,
            &[radio(BEFORE), joined.clone(), hello_of_alice()],
        );
        config.matrix_rooms[0].meshtastic_channel = name("Rescue");
        decide(&mut store, &config, &[radio(AFTER)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);

        // Under a new alias it stays on its channel until the server has told.
        config.matrix_rooms[0].id = "#new:example.org".try_into().unwrap();
        config.matrix_rooms[0].meshtastic_channel = ChannelRef::Index(slot(0));
        decide(&mut store, &config, &[radio(BEFORE)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
        let renamed = match joined {
            Event::Matrix(MatrixEvent::Joined(room)) => {
                Event::Matrix(MatrixEvent::Joined(JoinedRoom {
                    configured: vec![config.matrix_rooms[0].id.clone()],
                    ..room
                }))
            }
            other => panic!("{other:?}"),
        };
        // As long as no radio has told its channels in this run, nothing goes elsewhere.
        decide(&mut store, &config, std::slice::from_ref(&renamed));
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
        decide(&mut store, &config, &[radio(BEFORE), renamed]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
    }
}
