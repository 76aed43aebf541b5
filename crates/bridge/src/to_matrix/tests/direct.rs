//! Direct messages to our node.

use super::*;

fn direct(text: &str) -> RadioText {
    RadioText {
        destination: Destination::Direct(OWN),
        channel_name: String::new(),
        fingerprint: None,
        ..packet(text)
    }
}

#[test]
fn a_direct_message_is_kept_and_answered_once_a_day() {
    let actions = heard(&mut bridge(), &direct("psst"), &Facts::default());
    assert_eq!(actions[0], Action::KeepDirect(Box::new(direct("psst"))));
    let Action::ToMesh(MeshMessage {
        destination,
        content: MeshContent::Packet(answer),
        source: None,
        expires,
        ..
    }) = &actions[1]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(*destination, Destination::Direct(BOB));
    assert_eq!(*expires, NOON + Duration::from_mins(10));
    assert!(answer.bytes().starts_with(b"This node is a bridge"));
    let what = format!("dm_reply {BOB}");
    assert_eq!(
        actions[2],
        Action::StartCooldown {
            what: what.clone(),
            until: NOON + ANSWER_AGAIN
        }
    );
    let facts = Facts {
        cooldowns: vec![what],
        ..Facts::default()
    };
    let actions = heard(&mut bridge(), &direct("psst"), &facts);
    assert_eq!(actions, [Action::KeepDirect(Box::new(direct("psst")))]);
}

#[test]
fn many_nodes_that_write_directly_are_not_all_answered_at_once() {
    let actions = heard(&mut bridge(), &direct("psst"), &Facts::default());
    let just_now = Action::StartCooldown {
        what: notice::ANY_DIRECT.to_owned(),
        until: NOON + ANSWER_ANOTHER,
    };
    assert!(actions.contains(&just_now), "{actions:?}");
    let asked = bridge().questions(
        &relay_model::Event::Radio(relay_model::RadioEvent::Text(Box::new(direct("psst")))),
        NOON,
    );
    assert!(
        asked
            .cooldowns
            .iter()
            .any(|name| name == notice::ANY_DIRECT)
    );
    let facts = Facts {
        cooldowns: vec![notice::ANY_DIRECT.to_owned()],
        ..Facts::default()
    };
    let actions = heard(&mut bridge(), &direct("psst"), &facts);
    assert_eq!(on_air(&actions), []);
}

#[test]
fn a_direct_message_is_not_answered_where_nothing_may_be_transmitted() {
    let mut silent = config();
    silent.meshtastic.broadcast_enabled = false;
    let mut mute = config();
    mute.meshtastic.dm_reply = None;
    for config in [silent, mute] {
        let actions = heard(&mut bridge_of(config), &direct("psst"), &Facts::default());
        assert_eq!(on_air(&actions), []);
    }
    let mut ham = bridge();
    let mut licensed = profile();
    licensed.own.is_licensed = true;
    ready(&mut ham, licensed);
    assert_eq!(
        on_air(&heard(&mut ham, &direct("psst"), &Facts::default())),
        []
    );
}

#[test]
fn an_answer_that_is_too_long_is_cut() {
    let mut config = config();
    config.meshtastic.dm_reply = Some("ö".repeat(200));
    let actions = heard(&mut bridge_of(config), &direct("psst"), &Facts::default());
    assert_eq!(on_air(&actions)[0].bytes().len(), DIRECT_BYTES);
}

fn any_port() -> impl Strategy<Value = TextPort> {
    prop_oneof![
        Just(TextPort::Text),
        Just(TextPort::Alert),
        Just(TextPort::DetectionSensor),
        (0_u32..300).prop_map(TextPort::Other),
    ]
}

proptest! {
    #[test]
    fn a_direct_message_is_never_in_a_room(
        text in any::<String>(),
        to_us in any::<bool>(),
        port in any_port(),
        reply_to in proptest::option::of(any::<u32>()),
        is_reaction in any::<bool>(),
        from_us in any::<bool>(),
        known in any::<bool>(),
        radio_known in any::<bool>(),
        channel_name in "(|LongFast|Search)",
    ) {
        let mut bridge = if radio_known { bridge() } else { bridge_alone(config()) };
        let message = RadioText {
            destination: Destination::Direct(if to_us { OWN } else { NodeNum(5) }),
            port,
            reply_to: reply_to.map(PacketId),
            is_reaction,
            sender: Node::unknown(if from_us { OWN } else { BOB }),
            channel_name,
            ..packet(&text)
        };
        let facts = if known { knowing(vec![pair(), pair_of_alice()]) } else { Facts::default() };
        let actions = heard(&mut bridge, &message, &facts);
        let in_a_room = actions.iter().any(|it| matches!(it, Action::ToRoom { .. }));
        prop_assert!(!in_a_room, "{:?}", actions);
    }
}
