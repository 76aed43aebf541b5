//! What the author of an edit is told.

use super::*;

#[test]
fn an_edit_that_is_refused_is_told_whatever_the_room_has_read_and_leaves_the_sign_as_it_is() {
    let set_up = |change: fn(&mut RadioProfile)| {
        let mut bridge = bridge();
        let mut profile = profile();
        change(&mut profile);
        ready(&mut bridge, profile);
        bridge
    };
    let fine = |_: &mut RadioProfile| {};
    let of_room: Vec<String> = author_notice::room_names(&room(ROOM), &alice()).collect();
    let (long, short) = ("x".repeat(900), "hello".to_owned());
    let mut busy = knowing_versions(vec![sent()]);
    busy.waiting_for_mesh = 5_000;
    let mut often = knowing_versions(vec![sent()]);
    often.sender_sent = (5_000, 5_000);
    let known = || knowing_versions(vec![sent()]);
    for (mut bridge, body, facts, reason) in [
        (set_up(fine), &long, known(), Refused::TooLong),
        (set_up(fine), &short, busy, Refused::QueueFull),
        (set_up(fine), &short, often, Refused::SenderLimit),
        (
            set_up(|it| it.region_set = false),
            &short,
            known(),
            Refused::NoRegion,
        ),
        (
            set_up(|it| it.transmit_enabled = false),
            &short,
            known(),
            Refused::TransmitOff,
        ),
        (
            set_up(|it| it.locked = true),
            &short,
            known(),
            Refused::Locked,
        ),
        (
            set_up(|it| it.channels[0] = channel(0, "Other", ChannelRole::Primary)),
            &short,
            known(),
            Refused::ChannelGone,
        ),
    ] {
        let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit(body))));
        let facts = Facts {
            cooldowns: of_room.clone(),
            ..facts
        };
        let actions = bridge.verdict(&event, &facts, NOON);
        let reason = DropReason::from(reason);
        assert_eq!(actions[0], Action::Drop(reason));
        assert_eq!(notices(&actions), [of_edit(reason)]);
        assert!(!actions.iter().any(|it| matches!(it, Action::Sign(..))));
        let [.., Action::StartCooldown { what, until }] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(*until, NOON + MINUTE);
        assert!(bridge.questions(&event, NOON).cooldowns.contains(what));
        let again = Facts {
            cooldowns: vec![what.clone()],
            ..facts
        };
        assert_eq!(bridge.verdict(&event, &again, NOON), dropped(reason));
    }
}

#[test]
fn who_alternates_edits_that_go_and_others_is_told_once_a_minute_and_of_three_messages() {
    let (mut told, mut remembered) = (Vec::new(), Vec::new());
    for number in [1, 1, 2, 3, 3, 4, 5] {
        for body in ["x".repeat(900), "hello".to_owned()] {
            let mut edit = edit(&body);
            edit.target = event(&format!("${number}"));
            let facts = Facts {
                cooldowns: remembered.clone(),
                ..knowing_versions(vec![sent()])
            };
            let actions = edited(config(), &edit, &facts);
            told.extend(notices(&actions).into_iter().map(|_| number));
            for action in actions {
                if let Action::StartCooldown { what, until } = action {
                    assert_eq!(until, NOON + MINUTE);
                    remembered.push(what);
                }
            }
        }
    }
    assert_eq!(told, [1, 2, 3]);
    // Another reason uses the same cooldown.
    let facts = Facts {
        cooldowns: remembered[..3].to_vec(),
        waiting_for_mesh: 5_000,
        ..knowing_versions(vec![sent()])
    };
    let mut edit = edit("hello");
    edit.target = event("$1");
    let refused = dropped(DropReason::Refused(Refused::QueueFull));
    assert_eq!(edited(config(), &edit, &facts), refused);
}

#[test]
fn a_room_reads_of_six_edits_a_minute_however_many_people_write_them() {
    let (mut told, mut remembered) = (0, Vec::new());
    for number in 0..10 {
        let mut edit = edit(&"x".repeat(900));
        edit.target = event(&format!("${number}"));
        let sender: OwnedUserId = format!("@member{number}:example.org").try_into().unwrap();
        edit.new.sender = sender.clone();
        let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit)));
        let mut bridge = bridge();
        let asked = bridge.questions(&event, NOON).cooldowns;
        let known = remembered.iter().filter(|it| asked.contains(it)).cloned();
        let mut sent = sent();
        sent.source.sender = sender.clone();
        let facts = Facts {
            cooldowns: known.collect(),
            ..knowing_versions(vec![sent])
        };
        for action in bridge.verdict(&event, &facts, NOON) {
            match action {
                Action::StartCooldown { what, .. } => remembered.push(what),
                it => told += notices(&[it]).len(),
            }
        }
    }
    assert_eq!(told, 6);
}

#[test]
fn who_would_take_back_what_was_sent_is_told_that_it_stays() {
    for body in ["// only for this room", "!help", "  "] {
        let facts = knowing_versions(vec![sent()]);
        is_told(&edit(body), &facts, DropReason::Unsaid, &config());
        // A waiting correction is not sent then.
        let facts = knowing_versions(vec![sent(), correction("hello", 1)]);
        let row = facts.versions[1].row;
        is_told(&edit(body), &facts, DropReason::Unsaid, &config());
        let actions = edited(config(), &edit(body), &facts);
        assert_eq!(actions[0], Action::WithdrawCorrection(row));
    }
}

#[test]
fn an_edit_of_what_stays_off_the_air_is_told_only_where_it_would_go_there_now() {
    let unsent = Facts {
        target_seen: true,
        ..Facts::default()
    };
    is_told(&edit("hello"), &unsent, DropReason::Edit, &config());
    is_told(&edit("!help"), &unsent, DropReason::Edit, &config());
    let mut closed = config();
    closed.matrix.allowed_users = Some(Vec::new());
    let mut notice = edit("hello");
    notice.new.kind = RoomTextKind::Notice;
    for (config, edit, reason) in [
        (config(), edit("// still"), DropReason::OffAir),
        (closed, edit("hello"), DropReason::Denied),
        (config(), notice.clone(), DropReason::Notice),
    ] {
        assert_eq!(edited(config, &edit, &unsent), dropped(reason));
    }
    assert_eq!(
        edited(config(), &notice, &Facts::default()),
        dropped(DropReason::UnknownTarget)
    );
}
