//! What waits follows its channel: to another slot, on another radio, after a correction of the configuration.

use tracing::{info, warn};

use crate::bridge::{Bridge, Refused};
use crate::model::{Channel, Event, Lane, OutboxId, Timestamp};
use crate::store::mesh_report::{self, OnChannel};
use crate::store::{StoreError, Tx, outbox_mesh, told};

use super::super::facts::source_of;
use super::{Ledger, Outcome, Place, Way};

impl Ledger {
    /// Has what waits go where its rooms speak with these channels of the radio (`None`: those that are known), and
    /// refuses what has no channel any more. The radio must not be asked to take anything before; what it has is called
    /// back.
    pub(super) fn follow_channels(
        &mut self,
        tx: &Tx<'_>,
        channels: Option<&[Channel]>,
        (cause, now): (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let mut moved = 0_usize;
        for row in mesh_report::on_channels(tx)? {
            if self.follow_channel(tx, &row, channels, (cause, now), outcome)? {
                moved += 1;
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

    /// Refuses what came back from the radio if its channel was gone meanwhile.
    pub(super) fn refuse_what_is_back(
        &mut self,
        tx: &Tx<'_>,
        id: OutboxId,
        cause: (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match mesh_report::on_channel(tx, id)? {
            Some(row) if row.refused && !row.submitted => {
                self.follow_channel(tx, &row, None, cause, outcome)?;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same for one packet. Returns whether it goes to another slot.
    fn follow_channel(
        &mut self,
        tx: &Tx<'_>,
        row: &OnChannel,
        channels: Option<&[Channel]>,
        cause: (&Event, Timestamp),
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        let goes = match self.bridge.moved(&row.room, row.slot, channels) {
            // Its slot may be another channel's now.
            Ok(_) if row.refused => Err(Refused::NoChannel),
            goes => goes,
        };
        match goes {
            Ok(slot) if slot == row.slot => return Ok(false),
            Ok(slot) => {
                mesh_report::move_to(tx, row.id, slot)?;
                outcome.mesh.extend(outbox_mesh::queue_of(tx, row.id)?);
            }
            // It may be on the air: its sender is told when it is back.
            Err(_) if row.submitted => mesh_report::refuse_later(tx, row.id)?,
            Err(refused) => self.refuse(tx, row.id, refused, cause, outcome)?,
        }
        if row.submitted {
            outcome.withdrawn.push(row.id);
        }
        Ok(goes.is_ok())
    }

    /// Refuses a packet that waits, and tells its sender, once for all parts of a message.
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
        if !mesh_report::is_first_refused(tx, &row)? {
            return Ok(());
        }
        let Some(source) = row.source.map(source_of) else {
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
    use std::time::Duration;

    use super::super::tests::*;
    use super::*;
    use crate::config::{ChannelRef, Config, MappedRoom};
    use crate::model::{
        ChannelIndex, ChannelRole, Destination, JoinedRoom, MatrixEvent, OwnedEventId, PacketId,
        RadioOutcome, RoomContent, SendReport,
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
    fn a_locked_radio_takes_nothing_from_what_waits() {
        let config = mapped_to(&[name("Rescue")]);
        let mut store = Store::in_memory().unwrap();
        let events = [radio(BEFORE), joined(), hello_of_alice()];
        decide(&mut store, &config, &events);
        let locked = ready(|profile| {
            profile.channels.clear();
            profile.locked = true;
        });
        decide(&mut store, &config, &[locked, joined()]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
        assert_eq!(notices(&mut store), [""; 0]);
        decide(&mut store, &config, &[radio(AFTER)]);
        assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
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

    /// A relay that runs on from one event to the next.
    struct Running {
        store: Store,
        ledger: Ledger,
    }

    impl Running {
        /// It has `events` decided, and asked the radio to take the first packet. Returns that packet's id too.
        fn with_first_submitted(config: &Config, events: &[Event]) -> (Self, PacketId) {
            let mut store = Store::in_memory().unwrap();
            let ledger = store.transaction(|tx| Ledger::open(tx, config, NOON));
            let ledger = ledger.unwrap();
            let mut running = Self { store, ledger };
            running.decide(events);
            let packet = running.store.transaction(|tx| {
                assert!(mesh_report::submitted(tx, OutboxId(1), NOON)?);
                let pairs = message_map::by_event(tx, &hello())?;
                let first = pairs.into_iter().find(|pair| pair.part == 0);
                Ok(first.unwrap().packet)
            });
            (running, packet.unwrap())
        }

        fn decide(&mut self, events: &[Event]) -> Outcome {
            let Self { store, ledger } = self;
            let decided = store.transaction(|tx| {
                let mut outcome = Outcome::default();
                for event in events {
                    ledger.event(tx, event, NOON, &mut outcome)?;
                }
                Ok(outcome)
            });
            decided.unwrap()
        }

        fn states(&mut self) -> Vec<MeshState> {
            let read = self.store.transaction(|tx| {
                let states = (1..=3).map(|id| mesh_report::state(tx, OutboxId(id)));
                states.collect::<Result<Vec<_>, _>>()
            });
            read.unwrap().into_iter().flatten().collect()
        }
    }

    /// Alice's `$hello` in three parts.
    fn long_hello() -> Event {
        let mut message = hello_of_alice();
        if let Event::Matrix(MatrixEvent::Text(text)) = &mut message {
            text.body = "word ".repeat(90).trim().to_owned();
        }
        message
    }

    /// How many messages of the room were refused.
    fn refused(outcome: &Outcome) -> u64 {
        let room = Place::Room("!room:example.org".try_into().unwrap());
        outcome.counts.of(&room, Way::ToMesh).refused.values().sum()
    }

    #[test]
    fn the_sender_is_told_once_of_a_message_of_which_a_part_is_on_the_air() {
        let config = mapped_to(&[name("Rescue")]);
        let events = [radio(BEFORE), joined(), long_hello()];
        let (mut relay, _) = Running::with_first_submitted(&config, &events);
        let accepted = relay
            .store
            .transaction(|tx| mesh_report::accepted(tx, OutboxId(1), NOON));
        assert!(accepted.unwrap());
        let outcome = relay.decide(&[radio(&["LongFast", "Public"])]);
        assert_eq!(refused(&outcome), 1);
        let over = MeshState::Refused;
        assert_eq!(relay.states(), [MeshState::Accepted, over, over]);
        let told = notices(&mut relay.store);
        assert!(told[0].contains("no such channel"), "{told:?}");
    }

    #[test]
    fn what_the_radio_holds_is_called_back_and_refused_once_it_is_back() {
        let whole = mapped_to(&[name("Rescue")]);
        // A room that speaks on the slot's new channel too sends nothing there that was meant for the old one.
        let both = mapped_to(&[name("Rescue"), name("Public")]);
        for config in [whole, both] {
            let events = [radio(BEFORE), joined(), hello_of_alice()];
            let (mut relay, packet) = Running::with_first_submitted(&config, &events);
            let outcome = relay.decide(&[radio(&["LongFast", "Public"]), joined()]);
            assert!(outcome.withdrawn.contains(&OutboxId(1)));
            assert_eq!(refused(&outcome), 0);
            assert_eq!(relay.states(), [MeshState::Submitted]);
            assert_eq!(notices(&mut relay.store), Vec::<String>::new());

            let outcome = relay.decide(&[given_back(OutboxId(1), packet)]);
            assert_eq!(refused(&outcome), 1);
            assert_eq!(relay.states(), [MeshState::Refused]);
            let told = notices(&mut relay.store);
            assert_eq!(told.len(), 1);
            assert!(told[0].contains("no such channel"), "{told:?}");
        }
    }

    #[test]
    fn a_part_that_comes_back_behind_the_others_is_refused_and_not_told_again() {
        let config = mapped_to(&[name("Rescue")]);
        let events = [radio(BEFORE), joined(), long_hello()];
        let (mut relay, packet) = Running::with_first_submitted(&config, &events);
        let outcome = relay.decide(&[radio(&["LongFast", "Public"])]);
        assert_eq!(refused(&outcome), 1);
        assert_eq!(notices(&mut relay.store).len(), 1);
        let outcome = relay.decide(&[given_back(OutboxId(1), packet)]);
        assert_eq!(refused(&outcome), 0);
        assert_eq!(relay.states(), [MeshState::Refused; 3]);
    }

    #[test]
    fn what_the_radio_holds_as_the_relay_stops_is_refused_after_the_start() {
        let config = mapped_to(&[name("Rescue")]);
        let events = [radio(BEFORE), joined(), hello_of_alice()];
        let (mut relay, _) = Running::with_first_submitted(&config, &events);
        let gone = [radio(&["LongFast", "Public"])];
        relay.decide(&gone);
        let outcome = decide(&mut relay.store, &config, &gone);
        assert_eq!(refused(&outcome), 1);
        assert_eq!(relay.states(), [MeshState::Refused]);
    }

    /// The pacer gives a packet back that it did not send.
    fn given_back(outbox: OutboxId, packet: PacketId) -> Event {
        Event::Report(SendReport::Radio {
            outbox,
            packet,
            outcome: RadioOutcome::Retry {
                after: Duration::ZERO,
                new_id: false,
                written: false,
                reason: "withdrawn".into(),
            },
        })
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
