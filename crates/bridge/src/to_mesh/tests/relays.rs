//! Posts of other relays.

use super::*;

fn of_relay(meshnet: &str) -> RoomText {
    RoomText {
        sender: user("@relay:example.org"),
        relay: Some(Box::new(RelayFields {
            id: Some(PacketId(99)),
            longname: "Carol".into(),
            shortname: "CRL7".into(),
            meshnet: meshnet.into(),
            text: Some("hello hill".into()),
            ..RelayFields::default()
        })),
        ..message("[Carol/Mountains]: hello hill")
    }
}

fn trusting() -> Bridge {
    let mut config = config();
    config.matrix.trusted_relays = vec![user("@relay:example.org")];
    bridge_of(config)
}

#[test]
fn a_relay_is_never_taught_and_its_texts_are_no_commands() {
    let mut notice = of_relay("Mountains");
    notice.kind = RoomTextKind::Notice;
    let mut config = config();
    config.matrix_rooms[0].direction = Direction::ToMatrix;
    for text in [of_relay("Mountains"), notice] {
        let actions = said(&mut bridge_of(config.clone()), &text, &Facts::default());
        assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    }
    let mut bang = of_relay("Mountains");
    if let Some(fields) = &mut bang.relay {
        fields.text = Some("!ping".into());
    }
    bang.body = "!ping".into();
    let actions = said(&mut trusting(), &bang, &Facts::default());
    assert_eq!(spoken(&actions), ["CRL7/Moun: !ping"]);
}

#[test]
fn another_relays_message_is_not_carried_on_unless_that_relay_is_trusted() {
    let actions = said(&mut bridge(), &of_relay("Mountains"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    let actions = said(&mut trusting(), &of_relay("Mountains"), &Facts::default());
    assert_eq!(spoken(&actions), ["CRL7/Moun: hello hill"]);
}

#[test]
fn a_post_of_ours_that_a_person_forwards_is_that_persons_text() {
    let mut forwarded = RoomText {
        sender: alice(),
        ..of_relay("LongFast")
    };
    forwarded.relay.as_mut().unwrap().relay_id = Some("0af3".into());
    let asked = bridge().questions(
        &Event::Matrix(MatrixEvent::Text(Box::new(forwarded.clone()))),
        NOON,
    );
    assert_eq!(asked.relay_id.as_deref(), Some("0af3"));
    let ours = Facts {
        is_our_post: true,
        heard_by_our_radio: true,
        ..Facts::default()
    };
    let actions = said(&mut bridge(), &forwarded, &ours);
    assert_eq!(
        spoken(&actions),
        ["Alice[M]: [Carol/Mountains]: hello hill"]
    );
    // An id that we have not made, or that says nothing of itself, makes nobody a person.
    let actions = said(&mut bridge(), &forwarded, &Facts::default());
    assert_eq!(actions, dropped(DropReason::UntrustedRelay));
    // The bot's notices are not relayed, whoever repeats them.
    forwarded.suppress = true;
    let actions = said(&mut bridge(), &forwarded, &ours);
    assert_eq!(actions, dropped(DropReason::Suppressed));
}

#[test]
fn a_trusted_relays_reaction_in_words_is_carried_on() {
    let mut told = of_relay("Mountains");
    told.kind = RoomTextKind::Emote;
    told.body = "\n [Carol/Mountains]: reacted 👍 to \"is anybody...\"".into();
    if let Some(fields) = &mut told.relay {
        fields.emoji = true;
    }
    let actions = said(&mut trusting(), &told, &Facts::default());
    assert_eq!(
        spoken(&actions),
        ["CRL7/Moun: reacted 👍 to \"is anybody...\""]
    );
}

#[test]
fn a_message_of_our_own_mesh_is_never_carried_on() {
    let actions = said(&mut trusting(), &of_relay("LongFast"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::SameMeshnet));
    let heard = Facts {
        heard_by_our_radio: true,
        ..Facts::default()
    };
    let actions = said(&mut trusting(), &of_relay("Mountains"), &heard);
    assert_eq!(actions, dropped(DropReason::RelayOnOurMesh));
}
