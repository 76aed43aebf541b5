//! Properties across files: lookups, cooldowns, and the absence of loops.

use proptest::prelude::*;

use super::{testing::*, *};
use relay_model::{
    ChannelRole, Lane, MeshRowId, MeshSource, NodeNum, PacketId, RadioOutcome, RadioText, Refusal,
    Relayed, RoomContent, RoomRedaction, RoomText, RowMessage, SendReport, WaitingPacket,
};

fn report(outcome: RadioOutcome) -> Event {
    Event::Report(SendReport::Radio {
        outbox: MeshRowId(1),
        packet: PacketId(60),
        outcome,
    })
}

fn of_alice(lane: Lane) -> RowMessage {
    RowMessage {
        source: MeshSource {
            room: room(ROOM),
            event: event("$message"),
            thread: None,
            sender: alice(),
            sent_at: NOON,
            alert: false,
        },
        lane,
        is_edit: false,
    }
}

fn behind_a_row(lane: Lane) -> Facts {
    Facts {
        reported: Some(Box::new(of_alice(lane))),
        ..Facts::default()
    }
}

#[test]
fn what_the_radio_refused_is_told_once_and_a_tapback_only_counted() {
    let refused = report(RadioOutcome::Refused(Refusal::NoChannel));
    let mut facts = behind_a_row(Lane::Message);
    let actions = bridge().verdict(&refused, &facts, NOON);
    assert_eq!(
        notices(&actions),
        [Refused::NoChannel.explanation(&config())]
    );
    facts.cooldowns = author_notice::room_names(&room(ROOM), &alice()).collect();
    let is_only_noted = |event: &Event, facts: &Facts| {
        let actions = bridge().verdict(event, facts, NOON);
        matches!(actions.as_slice(), [Action::Report(_)])
    };
    assert!(is_only_noted(&refused, &facts));
    assert!(is_only_noted(&refused, &behind_a_row(Lane::Reaction)));
    assert!(is_only_noted(&refused, &Facts::default()));
    let heard = report(RadioOutcome::Heard);
    assert!(is_only_noted(&heard, &behind_a_row(Lane::Message)));
}

#[test]
fn what_the_radio_has_begun_may_end_and_a_report_leaves_the_bridge_as_it_is() {
    let bridge = bridge();
    let mut next = bridge.clone();
    let taken = report(RadioOutcome::Accepted {
        at: NOON,
        answered: true,
    });
    let actions = next.decide(&taken, &Facts::default(), NOON);
    let until = NOON + Duration::from_mins(10);
    assert!(actions.contains(&Action::LetFinish(MeshRowId(1), until)));
    assert!(Arc::ptr_eq(&next.routes, &bridge.routes) && Arc::ptr_eq(&next.rooms, &bridge.rooms));
}

#[test]
fn a_correction_that_is_refused_when_its_turn_comes_is_told_as_an_edit() {
    let correction = RowMessage {
        is_edit: true,
        ..of_alice(Lane::Message)
    };
    let words = |reason: Refused| reason.explanation(&config()) + author_notice::ABOUT_EDIT;
    // By the radio.
    let mut facts = Facts {
        reported: Some(Box::new(correction.clone())),
        cooldowns: author_notice::room_names(&room(ROOM), &alice()).collect(),
        ..Facts::default()
    };
    let refused = report(RadioOutcome::Refused(Refusal::NoChannel));
    let actions = bridge().verdict(&refused, &facts, NOON);
    assert_eq!(notices(&actions), [words(Refused::NoChannel)]);
    let names = author_notice::edit_names(&room(ROOM), &event("$message"), &alice());
    facts.cooldowns.extend(names.into_iter().flatten());
    assert!(notices(&bridge().verdict(&refused, &facts, NOON)).is_empty());
    // As its channel is gone.
    let packet = WaitingPacket {
        id: MeshRowId(7),
        message: MeshRowId(7),
        about: correction,
        slot: slot(0),
        channel: profile().channels[0].fingerprint,
        bound: true,
        submitted: false,
        refused: true,
        is_known: false,
    };
    let facts = Facts {
        packets: vec![packet],
        ..Facts::default()
    };
    let mut other = profile();
    other.channels = vec![channel(0, "Other", ChannelRole::Primary)];
    let ready = Event::Radio(RadioEvent::Ready(Box::new(other)));
    let actions = bridge().verdict(&ready, &facts, NOON);
    let notices = notices(&actions);
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].ends_with(author_notice::ABOUT_EDIT),
        "{notices:?}"
    );
    assert!(!actions.iter().any(|it| matches!(it, Action::Sign(..))));
}

#[test]
fn a_redaction_withdraws_what_is_queued_of_its_own_room() {
    let redaction = Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
        room: room(ROOM),
        event: event("$redaction"),
        sender: alice(),
        target: event("$message"),
    })));
    let actions = bridge().verdict(&redaction, &Facts::default(), NOON);
    assert_eq!(
        actions,
        [Action::TakeAway {
            room: room(ROOM),
            event: event("$message"),
            correction: None,
        }]
    );
}

/// Every cooldown that a decision starts is looked up before.
#[test]
fn what_is_remembered_is_asked_for() {
    let mut bridge = bridge();
    let text = Event::Matrix(MatrixEvent::Text(Box::new(message(&"x".repeat(900)))));
    let direct = Event::Radio(RadioEvent::Text(Box::new(RadioText {
        destination: relay_model::Destination::Direct(OWN),
        ..packet("psst")
    })));
    for event in [text, direct] {
        let asked = bridge.questions(&event, NOON).cooldowns;
        let remembered: Vec<String> = bridge
            .verdict(&event, &Facts::default(), NOON)
            .into_iter()
            .filter_map(|action| match action {
                Action::StartCooldown { what, .. } => Some(what),
                _ => None,
            })
            .collect();
        assert!(!remembered.is_empty());
        assert!(remembered.iter().all(|it| asked.contains(it)));
    }
}

#[test]
fn a_packet_without_id_is_never_looked_up_as_a_duplicate() {
    let event = |id: u32| {
        Event::Radio(RadioEvent::Text(Box::new(RadioText {
            packet: PacketId(id),
            reply_to: Some(PacketId(id)),
            ..packet("hi")
        })))
    };
    let none = bridge().questions(&event(0), NOON);
    assert_eq!((none.seen, none.target), (None, None));
    let some = bridge().questions(&event(5), NOON);
    assert_eq!(
        some.seen,
        Some(SeenKey::Packet {
            sender: BOB,
            packet: PacketId(5)
        })
    );
    assert_eq!(
        some.target,
        Some(Target::Packet {
            channel: Some(print_of("LongFast")),
            packet: PacketId(5)
        })
    );
}

/// Returns what rooms receive of a packet: body and fields.
fn seen_in_room(actions: &[Action]) -> Option<RoomText> {
    actions.iter().find_map(|action| match action {
        Action::ToRoom { message: sent, .. } => match &sent.content {
            RoomContent::Text {
                prefix,
                text,
                fields,
                suppress,
                ..
            } => Some(RoomText {
                relay: fields.clone(),
                suppress: *suppress,
                ..message(&format!("{prefix}{text}"))
            }),
            _ => None,
        },
        _ => None,
    })
}

proptest! {
    #[test]
    fn what_we_sent_to_the_mesh_is_never_bridged_back(
        body in "[ -~äß👍漢\n]{1,400}",
        name in "[ -~äß]{0,20}",
    ) {
        let mut bridge = bridge();
        let text = RoomText { sender_name: name, ..message(&body) };
        let sent = said(&mut bridge, &text, &Facts::default());
        for part in spoken(&sent) {
            let mut heard_again = packet(&part);
            heard_again.sender.num = OWN;
            let ours = Facts { sent_by_us: true, ..Facts::default() };
            prop_assert_eq!(
                heard(&mut bridge, &heard_again, &ours),
                [Action::Drop(DropReason::OwnPacket)]
            );
        }
    }

    #[test]
    fn what_another_relay_repeats_on_the_mesh_is_never_bridged_back(
        body in "[a-z][ -~äß漢]{10,120}[a-z]",
        prefix in "(\\[Alice/[A-Za-z]{1,8}\\]: |Alice: |\\[Alice\\]: |<Alice> |Ali\\[M\\]: )",
    ) {
        let mut bridge = bridge();
        let message = message(&body);
        let sent = said(&mut bridge, &message, &Facts::default());
        let Some(ours) = spoken(&sent).pop() else { return Ok(()) };
        let relayed = Relayed {
            author: super::echo::author_of(&message),
            node: None,
            text: body.clone(),
            carried: ours.clone(),
        };
        let facts = Facts { relayed: vec![relayed], ..Facts::default() };
        for echo in [ours, format!("{prefix}{body}")] {
            prop_assert_eq!(
                heard(&mut bridge, &packet(&echo), &facts),
                [Action::Drop(DropReason::Echo)]
            );
        }
    }

    #[test]
    fn what_we_posted_is_never_transmitted_again(body in "[a-z][ -~äß👍漢\n]{0,200}") {
        let mut config = config();
        config.matrix.trusted_relays = vec![alice()];
        let mut bridge = bridge_of(config);
        let actions = heard(&mut bridge, &packet(&body), &Facts::default());
        let Some(posted) = seen_in_room(&actions) else { return Ok(()) };
        // By our own account, and word for word by another relay's that is trusted.
        let own = RoomText { sender: bot(), ..posted.clone() };
        prop_assert_eq!(
            said(&mut bridge, &own, &Facts::default()),
            [Action::Drop(DropReason::OwnEvent)]
        );
        prop_assert_eq!(
            said(&mut bridge, &posted, &Facts::default()),
            [Action::Drop(DropReason::SameMeshnet)]
        );
    }

    #[test]
    fn notices_of_the_bot_are_never_transmitted(long in 700_usize..2000) {
        let mut bridge = bridge();
        let actions = said(&mut bridge, &message(&"x".repeat(long)), &Facts::default());
        let notice = seen_in_room(&actions).unwrap();
        prop_assert_eq!(
            said(&mut bridge, &notice, &Facts::default()),
            [Action::Drop(DropReason::Suppressed)]
        );
    }

    #[test]
    fn a_packet_of_any_node_is_asked_for_without_a_panic(num in any::<u32>(), text in any::<String>()) {
        let mut bridge = bridge();
        let mut any = packet(&text);
        any.sender.num = NodeNum(num);
        let event = Event::Radio(RadioEvent::Text(Box::new(any)));
        let questions = bridge.questions(&event, NOON);
        prop_assert!(questions.cooldowns.len() == 1);
        prop_assert!(!bridge.verdict(&event, &Facts::default(), NOON).is_empty());
    }
}
