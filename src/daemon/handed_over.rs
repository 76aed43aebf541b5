//! Accepts what a radio has handed over to a command while no daemon ran: it does so once only, so that the command does with
//! it what the daemon would have done.

use std::iter::once;

use super::ledger::Ledger;
use super::{Hold, StartError};
use crate::home::Home;
use relay_config::{Config, Database};
use relay_model::{Event, RadioEvent, RadioProfile, RadioText, Timestamp};
use relay_store::{Result, Store};

/// Stores what becomes of these messages of that radio, all or none, as a daemon does that starts and is ended at once: the
/// next one posts them. Fails where a daemon could not start; then nothing is stored.
pub(crate) fn accept(
    config: &Config,
    home: &Home,
    allow_network_home: bool,
    profile: &RadioProfile,
    texts: &[RadioText],
    now: Timestamp,
) -> std::result::Result<(), StartError> {
    // What another user makes here would keep the daemon from starting.
    home.check_owner()?;
    drop(home.prepare(allow_network_home)?);
    let hold = Hold::take(home.clone())?;
    let _database = hold.claim_database(config)?;
    let place = home.database(&config.database.path, Database::APPLICATION_ID);
    let ready = RadioEvent::Ready(Box::new(profile.clone()));
    let texts = texts
        .iter()
        .map(|it| RadioEvent::Text(Box::new(it.clone())));
    let events: Vec<Event> = once(ready).chain(texts).map(Event::Radio).collect();
    let stored = || -> Result<()> {
        Store::open(&place.path)?.transaction(|tx| {
            let (mut ledger, mut outcome) = Ledger::open(tx, config, now)?;
            let mut events = events.iter();
            events.try_for_each(|event| ledger.event(tx, event, now, &mut outcome))
        })
    };
    stored().map_err(StartError::Database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Lock;
    use relay_config::{ChannelRef, Connection, Direction, MappedRoom};
    use relay_model::{
        Channel, ChannelIndex, ChannelRole, Destination, Node, NodeNum, PacketId, RadioSetup,
        TextPort,
    };
    use relay_store::outbox_room;

    const NOON: Timestamp = Timestamp(1_767_225_600_000);

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        // It is made here: nothing was started yet.
        let path = directory.path().join("home");
        let home = Home::locate(Some(&path), |_| None).unwrap();
        (directory, home)
    }

    fn config() -> Config {
        let room = MappedRoom {
            id: "!room:example.org".try_into().unwrap(),
            via: Vec::new(),
            meshtastic_channel: ChannelRef::Name("Rescue".to_owned()),
            direction: Direction::Both,
            appearance: relay_config::Appearance::default(),
        };
        Config::new(Connection::Serial { serial_port: None }, vec![room])
    }

    fn profile() -> RadioProfile {
        let rescue = Channel {
            index: ChannelIndex::try_from(2).unwrap(),
            name: "Rescue".to_owned(),
            role: ChannelRole::Secondary,
            fingerprint: None,
        };
        RadioProfile {
            own: Node::unknown(NodeNum(1)),
            firmware: "2.7.26".to_owned(),
            channels: vec![rescue],
            hop_limit: 3,
            region_set: true,
            transmit_enabled: true,
            reboot_count: 0,
            locked: false,
            setup: RadioSetup::default(),
        }
    }

    fn text(packet: u32, slot: u32) -> RadioText {
        RadioText {
            sender: Node::unknown(NodeNum(7)),
            packet: PacketId(packet),
            destination: Destination::Channel(ChannelIndex::try_from(slot).unwrap()),
            channel_name: if slot == 2 { "Rescue" } else { "Club" }.to_owned(),
            fingerprint: None,
            port: TextPort::Text,
            port_name: "TEXT_MESSAGE_APP".to_owned(),
            text: format!("number {packet}"),
            reply_to: None,
            is_reaction: false,
            heard_at: NOON,
            hops: None,
            relayed_by: None,
            snr: None,
            rssi: None,
            via_mqtt: false,
            ok_to_mqtt: false,
            replayed: false,
        }
    }

    fn waiting(home: &Home) -> u64 {
        let mut store = Store::open(&home.default_database()).unwrap();
        store.transaction(outbox_room::count).unwrap()
    }

    #[test]
    fn what_was_handed_over_waits_for_its_room_once_as_if_a_daemon_had_taken_it() {
        let (_directory, home) = home();
        let texts = [text(1, 2), text(2, 2), text(3, 0)];
        for _ in 0..2 {
            accept(&config(), &home, true, &profile(), &texts, NOON).unwrap();
            assert_eq!(waiting(&home), 2);
        }
        assert_eq!(Lock::holder(&home), None);
    }

    #[test]
    fn beside_a_daemon_nothing_is_stored() {
        let (_directory, home) = home();
        home.prepare(true).unwrap();
        let _lock = Lock::acquire(&home, NOON.into()).unwrap();
        let refused = accept(&config(), &home, true, &profile(), &[text(1, 2)], NOON);
        assert!(matches!(refused, Err(StartError::Lock(_))));
        assert!(!home.default_database().exists());
    }
}
