use std::time::Duration;

use super::*;
use crate::outbox::{backlog, drafts, mesh_report, outbox_mesh, outbox_room};
use crate::test_rows::*;
use crate::{Store, nodes, restored, retention};
use relay_model::{
    Beginning, ChannelIndex, Destination, MeshContent, MeshMessage, Node, Notice, TextPort,
};

use StepKind::*;

/// The kinds of the steps of an event's only story.
fn kinds(tx: &Tx<'_>, name: &str) -> Result<Vec<StepKind>> {
    let stories = of_event(tx, &event(name), None)?;
    Ok(steps(stories).into_iter().map(|it| it.kind).collect())
}

fn steps(stories: Vec<Story>) -> Vec<Step> {
    let mut stories = stories.into_iter();
    let only = stories.next().map(|it| it.steps).unwrap_or_default();
    assert_eq!(stories.next(), None);
    only
}

const ONE: &str = "$one:example.org";

/// A message of one packet, which the radio was asked to take.
fn asked(tx: &Tx<'_>) -> Result<(MeshRowId, PacketId)> {
    let row = accept_for_mesh(tx, ONE, &["hello"], NOW)?[0];
    mesh_report::submitted(tx, row.0, NOON)?;
    Ok(row)
}

/// Alice's packet on the first channel.
fn text(packet: u32) -> RadioText {
    RadioText {
        sender: Node::unknown(ALICE),
        packet: PacketId(packet),
        destination: CHANNEL,
        channel_name: "LongFast".to_owned(),
        fingerprint: Some(FIRST),
        port: TextPort::Text,
        port_name: "TEXT_MESSAGE_APP".to_owned(),
        text: "hello".to_owned(),
        reply_to: None,
        is_reaction: false,
        heard_at: NOON,
        hops: Some(2),
        relayed_by: Some(0xFF),
        snr: Some(6.25),
        rssi: Some(-90),
        via_mqtt: false,
        ok_to_mqtt: false,
        replayed: false,
    }
}

fn post(tx: &Tx<'_>, packet: u32) -> Result<RoomRowId> {
    heard(tx, &text(packet))?;
    accept_for_room(tx, ROOM, packet, "hello")
}

#[test]
fn a_message_for_the_mesh_has_a_step_for_each_change_with_its_time() {
    on_empty(|tx| {
        tx.at(NOON);
        let (id, packet) = accept_for_mesh(tx, ONE, &["hello"], NOW)?[0];
        tx.at(later(1));
        mesh_report::submitted(tx, id, later(1))?;
        tx.at(later(2));
        mesh_report::accepted(tx, id, later(2))?;
        tx.at(later(9));
        mesh_report::outcome(tx, id, MeshState::Heard)?;
        let stories = of_event(tx, &event(ONE), None)?;
        assert_eq!(
            stories[0].subject,
            StorySubject::Room {
                room: Some(ROOM.try_into().unwrap()),
                event: event(ONE),
                channel: Some(ChannelIndex::PRIMARY)
            }
        );
        assert_eq!(stories[0].standing, []);
        let told: Vec<_> = steps(stories)
            .into_iter()
            .map(|it| (it.kind, it.at, it.packet, it.number, it.part))
            .collect();
        assert_eq!(
            told,
            [
                (Accepted, NOON, None, None, None),
                (Handed, later(1), Some(packet), Some(1), None),
                (Taken, later(2), None, None, None),
                (Repeated, later(9), None, None, None),
            ]
        );
        Ok(())
    });
}

#[test]
fn what_is_reported_again_makes_no_second_step() {
    on_empty(|tx| {
        let (id, packet) = asked(tx)?;
        for _ in 0..3 {
            mesh_report::submitted(tx, id, NOON)?;
            mesh_report::accepted(tx, id, NOON)?;
            mesh_report::outcome(tx, id, MeshState::Heard)?;
            mesh_report::outcome(tx, id, MeshState::Unheard)?;
        }
        assert_eq!(kinds(tx, ONE)?, [Accepted, Handed, Taken, Repeated]);
        for _ in 0..2 {
            mesh_report::refused(tx, id, packet, "too_long")?;
        }
        let expected = [Accepted, Handed, Taken, Repeated, RefusedByRadio];
        assert_eq!(kinds(tx, ONE)?, expected);
        Ok(())
    });
}

#[test]
fn a_step_and_its_effect_are_there_together_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("relay.sqlite");
    let mut store = Store::open(&path).unwrap();
    let (id, _) = store.transaction(asked).unwrap();
    let cut: Result<()> = store.transaction(|tx| {
        mesh_report::accepted(tx, id, NOON)?;
        assert_eq!(kinds(tx, ONE)?, [Accepted, Handed, Taken]);
        Err(rusqlite::Error::QueryReturnedNoRows.into())
    });
    cut.unwrap_err();
    drop(store);
    let mut store = Store::open(&path).unwrap();
    let stands = |store: &mut Store| {
        let read = |tx: &Tx<'_>| Ok((kinds(tx, ONE)?, mesh_report::state(tx, id)?));
        store.read(read).unwrap()
    };
    let asked = (vec![Accepted, Handed], Some(MeshState::Submitted));
    assert_eq!(stands(&mut store), asked);
    store.transaction(mesh_report::recover).unwrap();
    store.transaction(mesh_report::recover).unwrap();
    let again = (vec![Accepted, Handed, Restarted], Some(MeshState::Waiting));
    assert_eq!(stands(&mut store), again);
}

#[test]
fn each_way_of_a_packet_has_its_own_step() {
    type Way = fn(&Tx<'_>, MeshRowId, PacketId) -> Result<()>;
    let ways: [(Way, &[StepKind]); 11] = [
        (
            |tx, id, _| mesh_report::accepted_silently(tx, id, NOON).map(drop),
            &[TakenSilently],
        ),
        (
            |tx, id, packet| mesh_report::retry(tx, id, packet, NOON, true, "full").map(drop),
            &[NotTaken],
        ),
        (
            |tx, id, packet| mesh_report::retry(tx, id, packet, NOON, false, "lost").map(drop),
            &[Unanswered],
        ),
        (
            |tx, id, packet| mesh_report::not_tried(tx, id, packet, NOON, "lost").map(drop),
            &[NotTried],
        ),
        (|tx, _, _| mesh_report::recover(tx).map(drop), &[Restarted]),
        (
            |tx, id, packet| mesh_report::refused(tx, id, packet, "no_channel").map(drop),
            &[RefusedByRadio],
        ),
        (|tx, id, _| mesh_report::give_up(tx, id), &[GivenUp]),
        (
            |tx, id, packet| {
                let what = mesh_report::Withdrawal::Message(id);
                mesh_report::withdraw(tx, what)?;
                mesh_report::retry(tx, id, packet, NOON, false, "lost").map(drop)
            },
            &[Unanswered, Withdrawn],
        ),
        (
            |tx, id, _| {
                mesh_report::withdraw(tx, mesh_report::Withdrawal::Message(id))?;
                mesh_report::recover(tx).map(drop)
            },
            &[Restarted, Withdrawn],
        ),
        (
            |tx, id, packet| {
                mesh_report::not_tried(tx, id, packet, NOON, "lost")?;
                mesh_report::refuse_waiting(tx, id, Some("channel_gone")).map(drop)
            },
            &[NotTried, RefusedHere],
        ),
        (
            |tx, id, packet| {
                mesh_report::not_tried(tx, id, packet, NOON, "lost")?;
                mesh_report::expire(tx, NOW.expires).map(drop)
            },
            &[NotTried, Expired],
        ),
    ];
    for (way, expected) in ways {
        on_empty(|tx| {
            let (id, packet) = asked(tx)?;
            way(tx, id, packet)?;
            let kinds = kinds(tx, ONE)?;
            assert_eq!(&kinds[2..], expected);
            Ok(())
        });
    }
}

#[test]
fn a_text_that_waits_tells_its_changes_its_channel_and_its_backlog() {
    on_empty(|tx| {
        let message = for_mesh(MeshContent::Text(draft("hello")), Some(source(ONE)));
        let (id, _) = outbox_mesh::insert(tx, RADIO, &message, NOON)?;
        drafts::change(tx, id, &draft("hullo"))?;
        backlog::add(
            tx,
            &relay_model::OwnedRoomId::try_from(ROOM).unwrap(),
            &event(ONE),
            9,
            GATHERING,
            NOON,
        )?;
        backlog::add(
            tx,
            &relay_model::OwnedRoomId::try_from(ROOM).unwrap(),
            &event(ONE),
            9,
            GATHERING,
            NOON,
        )?;
        mesh_report::move_to(tx, id, ChannelIndex::PRIMARY, None)?;
        mesh_report::move_to(tx, id, 3.try_into().unwrap(), None)?;
        assert_eq!(kinds(tx, ONE)?, [Accepted, Changed, Backlog, Moved]);
        let stories = of_event(tx, &event(ONE), None)?;
        let turn = Standing::Turn {
            expires: NOW.expires,
        };
        assert_eq!(stories[0].standing, [turn]);
        assert_eq!(steps(stories)[3].number, Some(3));
        Ok(())
    });
}

#[test]
fn parts_have_their_steps_and_one_that_is_refused_ends_those_behind_it() {
    on_empty(|tx| {
        let rows = accept_for_mesh(tx, ONE, &["1/3", "2/3", "3/3"], NOW)?;
        mesh_report::submitted(tx, rows[0].0, NOON)?;
        mesh_report::accepted(tx, rows[0].0, NOON)?;
        mesh_report::submitted(tx, rows[1].0, NOON)?;
        mesh_report::refused(tx, rows[1].0, rows[1].1, "error 8")?;
        let told: Vec<_> = steps(of_event(tx, &event(ONE), None)?)
            .into_iter()
            .map(|it| (it.kind, it.part.map(|it| it.0), it.number))
            .collect();
        assert_eq!(
            told,
            [
                (Accepted, None, None),
                (Split, None, Some(3)),
                (Handed, Some(1), Some(1)),
                (Taken, Some(1), None),
                (Handed, Some(2), Some(1)),
                (RefusedByRadio, Some(2), None),
                (PartRefused, Some(3), None),
            ]
        );
        Ok(())
    });
}

#[test]
fn direct_messages_have_no_story() {
    on_empty(|tx| {
        let answer = MeshMessage {
            destination: Destination::Direct(ALICE),
            ..for_mesh(packet("This node is a bridge"), None)
        };
        let (id, packet) = outbox_mesh::insert(tx, RADIO, &answer, NOON)?;
        mesh_report::submitted(tx, id, NOON)?;
        mesh_report::accepted(tx, id, NOON)?;
        let direct = RadioText {
            destination: Destination::Direct(RADIO),
            ..text(7)
        };
        heard_again(tx, &direct)?;
        assert!(!tx.exists("SELECT 1 FROM story", ())?);
        assert_eq!(of_packet(tx, packet, None)?, []);
        assert_eq!(of_packet(tx, PacketId(7), None)?, []);
        Ok(())
    });
}

#[test]
fn a_packet_tells_how_it_was_received_and_what_each_room_made_of_it() {
    on_empty(|tx| {
        let other = "!other:example.org";
        let first = post(tx, 7)?;
        let second = accept_for_room(tx, other, 7, "hello")?;
        parked(tx, second, "M_FORBIDDEN")?;
        parked(tx, second, "M_FORBIDDEN")?;
        outbox_room::sent(tx, first, Some(&event(ONE)))?;
        let whole = of_packet(tx, PacketId(7), None)?;
        assert_eq!(
            whole[0].standing,
            [Standing::Homeserver {
                room: other.to_owned(),
                parked: None
            }]
        );
        let told: Vec<_> = steps(whole)
            .into_iter()
            .map(|it| (it.kind, it.detail.unwrap_or_default()))
            .collect();
        let own = |kind, detail: &str| (kind, detail.to_owned());
        assert_eq!(
            told,
            [
                own(Heard, ""),
                own(Posted, ROOM),
                own(Posted, other),
                own(Parked, "M_FORBIDDEN"),
                own(Sent, ONE),
            ]
        );
        // In its room nobody learns of the other one.
        let here: OwnedEventId = event(ONE);
        let room: relay_model::OwnedRoomId = ROOM.try_into().unwrap();
        let stories = of_event(tx, &here, Some(&room))?;
        assert_eq!(stories[0].standing, []);
        let here_kinds: Vec<_> = steps(stories).into_iter().map(|it| it.kind).collect();
        assert_eq!(here_kinds, [Heard, Posted, Sent]);
        let elsewhere: relay_model::OwnedRoomId = other.try_into().unwrap();
        assert_eq!(of_event(tx, &here, Some(&elsewhere))?, []);
        outbox_room::refused_by_server(tx, second, "M_TOO_LARGE")?;
        let last = steps(of_packet(tx, PacketId(7), Some(ALICE))?).pop();
        assert_eq!(last.map(|it| it.kind), Some(RefusedByServer));
        Ok(())
    });
}

#[test]
fn a_packet_that_is_posted_late_says_how_late() {
    on_empty(|tx| {
        let late = |packet, now| -> Result<Option<u32>> {
            let pair = pair_of(ROOM, packet, "hello");
            outbox_room::insert(tx, &text_for(ROOM, "hello"), Some((RADIO, &pair)), now)?;
            Ok(steps(of_packet(tx, PacketId(packet), None)?)[0].number)
        };
        assert_eq!(late(7, later(60))?, None);
        assert_eq!(late(8, later(720))?, Some(720));
        Ok(())
    });
}

#[test]
fn an_event_that_came_back_and_one_that_is_given_up_are_told() {
    on_empty(|tx| {
        let row = post(tx, 7)?;
        outbox_room::came_back(tx, row, &event(ONE))?;
        outbox_room::sent(tx, row, Some(&event(ONE)))?;
        assert_eq!(kinds(tx, ONE)?, [Heard, Posted, CameBack]);
        let row = post(tx, 8)?;
        let to: relay_model::OwnedRoomId = "!new:example.org".try_into().unwrap();
        let from: relay_model::OwnedRoomId = ROOM.try_into().unwrap();
        outbox_room::hand_over(tx, &from, &to)?;
        outbox_room::refuse(tx, row)?;
        let told = steps(of_packet(tx, PacketId(8), None)?);
        let told: Vec<_> = told.into_iter().map(|it| it.kind).collect();
        assert_eq!(told, [Heard, Posted, HandedOver, PostGivenUp]);
        Ok(())
    });
}

#[test]
fn a_reception_tells_the_known_nodes_that_may_have_relayed_it_and_guesses_none() {
    on_empty(|tx| {
        post(tx, 7)?;
        let told = || -> Result<Reception> {
            let first = steps(of_packet(tx, PacketId(7), None)?).swap_remove(0);
            Ok(first.reception.unwrap())
        };
        assert_eq!(
            told()?,
            Reception {
                snr: Some(6.25),
                rssi: Some(-90),
                hops: Some(2),
                relayed_by: Some(0xFF),
                candidates: Vec::new(),
                via_mqtt: false,
            }
        );
        // Firmware tells 0 as 255.
        let nodes = [0x0102_03FF, 0x0102_0300, 0x0102_03FE].map(|it| Node::unknown(NodeNum(it)));
        nodes::update(tx, RADIO, &nodes, NOON)?;
        let both = [NodeNum(0x0102_0300), NodeNum(0x0102_03FF)];
        assert_eq!(told()?.candidates, both);
        Ok(())
    });
}

#[test]
fn what_is_delivered_again_is_noted_as_long_as_it_has_a_story_and_not_for_ever() {
    on_empty(|tx| {
        heard_again(tx, &text(7))?;
        assert!(!tx.exists("SELECT 1 FROM story", ())?);
        post(tx, 7)?;
        heard_again(tx, &text(7))?;
        let replayed = RadioText {
            replayed: true,
            ..text(7)
        };
        heard_again(tx, &replayed)?;
        let told = steps(of_packet(tx, PacketId(7), None)?);
        let told: Vec<_> = told.into_iter().map(|it| it.kind).collect();
        assert_eq!(told, [Heard, Posted, HeardAgain, Replayed]);
        let (id, own) = asked(tx)?;
        let ours = RadioText {
            sender: Node::unknown(RADIO),
            packet: own,
            ..text(0)
        };
        for _ in 0..100 {
            heard_again(tx, &text(7))?;
            heard_again(tx, &ours)?;
        }
        assert_eq!(steps(of_packet(tx, PacketId(7), None)?).len(), 16);
        assert_eq!(kinds(tx, ONE)?.len(), 2 + 16);
        assert_eq!(mesh_report::state(tx, id)?, Some(MeshState::Submitted));
        Ok(())
    });
}

#[test]
fn of_a_radio_that_is_asked_for_hours_the_newest_attempts_stay() {
    on_empty(|tx| {
        let (id, mut packet) = asked(tx)?;
        for _ in 0..100 {
            let retried =
                mesh_report::retry(tx, id, packet, NOON, true, "the duty cycle is used up")?;
            let mesh_report::Retried::Waits(next) = retried else {
                panic!("{retried:?}")
            };
            packet = next;
            mesh_report::submitted(tx, id, NOON)?;
        }
        let told = steps(of_event(tx, &event(ONE), None)?);
        assert_eq!(told.len(), 1 + 2 * usize::from(MOST_REPEATED));
        assert_eq!(told[0].kind, Accepted);
        let last = told.last().unwrap();
        assert_eq!((last.number, last.packet), (Some(101), Some(packet)));
        Ok(())
    });
}

#[test]
fn a_packet_id_alone_can_name_several_messages_and_with_its_node_one() {
    on_empty(|tx| {
        let (_, packet) = asked(tx)?;
        post(tx, packet.0)?;
        assert_eq!(of_packet(tx, packet, None)?.len(), 2);
        let ours = of_packet(tx, packet, Some(RADIO))?;
        assert!(matches!(
            &ours[..],
            [Story {
                subject: StorySubject::Room { .. },
                ..
            }]
        ));
        let hers = of_packet(tx, packet, Some(ALICE))?;
        assert!(matches!(
            &hers[..],
            [Story {
                subject: StorySubject::Packet { .. },
                ..
            }]
        ));
        assert_eq!(of_packet(tx, packet, Some(NodeNum(1)))?, []);
        assert_eq!(of_packet(tx, PacketId(1), None)?, []);
        Ok(())
    });
}

#[test]
fn an_event_that_does_not_go_to_the_mesh_has_its_reason_in_its_own_room_alone() {
    on_empty(|tx| {
        let room: relay_model::OwnedRoomId = ROOM.try_into().unwrap();
        let other: relay_model::OwnedRoomId = "!other:example.org".try_into().unwrap();
        let id = event(ONE);
        of_room_event(tx, (&room, &id), NotRelayed, Some("off_air"))?;
        assert_eq!(of_event(tx, &id, Some(&other))?, []);
        let told = steps(of_event(tx, &id, Some(&room))?);
        assert_eq!(told[0].detail.as_deref(), Some("off_air"));
        Ok(())
    });
}

#[test]
fn a_database_from_a_backup_says_what_is_not_known_of_what_waited() {
    on_empty(|tx| {
        asked(tx)?;
        let at = Beginning {
            ours: NOON,
            passed: 0,
            boot: String::new(),
            position: None,
        };
        restored::settle(tx, &at, None, &Notice::default())?;
        assert_eq!(kinds(tx, ONE)?, [Accepted, Handed, Restored]);
        Ok(())
    });
}

#[test]
fn stories_are_kept_for_some_days_and_no_longer() {
    on_empty(|tx| {
        tx.at(NOON);
        asked(tx)?;
        post(tx, 7)?;
        tx.at(NOON + Duration::from_hours(48));
        post(tx, 8)?;
        let now = NOON + Duration::from_hours(24 * 9);
        while retention::prune(tx, now, 8, u64::MAX)? {}
        assert_eq!(kinds(tx, ONE)?, []);
        assert_eq!(of_packet(tx, PacketId(8), None)?.len(), 1);
        let posted = steps(of_packet(tx, PacketId(8), None)?);
        assert_eq!(posted.last().map(|it| it.kind), Some(Posted));
        Ok(())
    });
}

#[test]
fn a_message_costs_a_few_short_rows() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("relay.sqlite");
    let mut store = Store::open(&path).unwrap();
    let messages = 1_000_u32;
    let (rows, bytes) = store
        .transaction(|tx| {
            for number in 0..messages {
                let name = format!("$message{number:036}");
                let (id, _) = accept_for_mesh(tx, &name, &["hello"], NOW)?[0];
                mesh_report::submitted(tx, id, NOON)?;
                mesh_report::accepted(tx, id, NOON)?;
                mesh_report::outcome(tx, id, MeshState::Heard)?;
                let row = post(tx, number + 1)?;
                let name = format!("$posted{number:037}");
                outbox_room::sent(tx, row, Some(&event(&name)))?;
            }
            let rows: u32 = tx.value("SELECT COUNT(*) FROM story", ())?;
            // The pages of the table and of its indexes.
            let sql = "SELECT SUM(pgsize) FROM dbstat WHERE name LIKE 'story%'";
            Ok((rows, tx.value::<u32>(sql, ())?))
        })
        .unwrap();
    assert_eq!(rows, messages * 7);
    assert!(
        bytes / messages < 500,
        "{} bytes for both ways",
        bytes / messages
    );
}
