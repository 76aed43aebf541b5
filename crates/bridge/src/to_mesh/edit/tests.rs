//! Rules for edits.

use super::*;
use crate::author_notice::{self, ABOUT_EDIT};
use crate::testing::*;
use relay_config::{Config, Direction, Overflow};
use relay_model::{
    ChannelIndex, ChannelRole, EarlyEdit, Event, MatrixEvent, MeshMessage, MeshRowId, MeshSource,
    NewVersion, PacketId, RadioPayload, RadioProfile, Sign, Version,
};

const MINUTE: Duration = Duration::from_mins(1);

/// Alice's edit of `$target`.
fn edit(body: &str) -> RoomEdit {
    RoomEdit {
        target: event("$target"),
        new: RoomText {
            event: event("$edit"),
            ..message(body)
        },
    }
}

fn edited(config: Config, edit: &RoomEdit, facts: &Facts) -> Vec<Action> {
    let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit.clone())));
    bridge_of(config).verdict(&event, facts, NOON)
}

/// Alice's `$target`, written a minute ago; it waits.
fn waiting() -> Version {
    Version {
        row: MeshRowId(7),
        correction: 0,
        waits: true,
        source: MeshSource {
            room: room(ROOM),
            event: event("$target"),
            thread: None,
            sender: alice(),
            sent_at: NOON - MINUTE,
            alert: false,
        },
        text: "helo".into(),
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel: Some(print_of("LongFast")),
        lane: Lane::Message,
        packet: PacketId(60),
        reply_to: None,
        packets: 1,
        accepted_at: NOON - MINUTE,
        edited_at: None,
    }
}

fn sent() -> Version {
    Version {
        waits: false,
        ..waiting()
    }
}

/// A correction of [`sent`] that waits for a moment.
fn correction(text: &str, number: u8) -> Version {
    Version {
        row: MeshRowId(8),
        correction: number,
        packet: PacketId(61),
        reply_to: Some(PacketId(60)),
        text: text.into(),
        accepted_at: NOON,
        ..waiting()
    }
}

fn knowing_versions(versions: Vec<Version>) -> Facts {
    Facts {
        versions,
        target_seen: true,
        ..Facts::default()
    }
}

fn only(actions: &[Action]) -> &Action {
    match actions {
        [action] => action,
        other => panic!("{other:?}"),
    }
}

fn rewritten(actions: &[Action]) -> &NewVersion {
    match actions.first() {
        Some(Action::Rewrite(_, new)) => new,
        other => panic!("{other:?}"),
    }
}

fn texts(draft: &Draft) -> Vec<(String, Option<u32>)> {
    let parts = rendered(draft, &config().meshtastic.long_messages);
    let text = |part: &RadioPayload| match part {
        RadioPayload::Text { text, reply_to } => (text.clone(), reply_to.map(|it| it.0)),
        RadioPayload::Tapback { .. } => panic!("a tapback"),
    };
    parts.iter().map(text).collect()
}

#[test]
fn what_waits_is_changed_where_it_is() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit("hello"), &facts);
    assert_eq!(
        only(&actions),
        &Action::Rewrite(
            MeshRowId(7),
            NewVersion {
                draft: draft("hello"),
                lane: Lane::Message,
                alert: false,
                not_before: None,
            },
        )
    );
}

#[test]
fn a_changed_reply_stays_a_reply_and_a_longer_text_gets_more_parts() {
    let reply = Version {
        reply_to: Some(PacketId(50)),
        ..waiting()
    };
    let long = "word ".repeat(80);
    let actions = edited(config(), &edit(&long), &knowing_versions(vec![reply]));
    let parts = texts(&rewritten(&actions).draft);
    assert!(parts.len() > 1);
    assert_eq!(parts[0].1, Some(50));
    assert!(parts[1..].iter().all(|(_, reply_to)| reply_to.is_none()));
}

#[test]
fn a_waiting_text_that_became_too_long_is_taken_back_and_its_author_told() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit(&"x".repeat(900)), &facts);
    assert_eq!(
        actions[..2],
        [
            Action::Withdraw(room(ROOM), event("$target")),
            Action::Drop(DropReason::Refused(Refused::TooLong)),
        ]
    );
    assert!(actions.contains(&Action::Sign(room(ROOM), event("$target"), Sign::Refused)));
    // About the message, which is given up: independent of the cooldown of edits.
    let words = DropReason::from(Refused::TooLong).sentences(&config(), &alice());
    assert_eq!(notices(&actions), [&*words]);
    let told = Facts {
        cooldowns: author_notice::edit_names(&room(ROOM), &event("$target"), &alice())
            .into_iter()
            .flatten()
            .collect(),
        ..facts.clone()
    };
    let actions = edited(config(), &edit(&"x".repeat(900)), &told);
    assert_eq!(notices(&actions), [words]);
    let mut cuts = config();
    cuts.meshtastic.long_messages.overflow = Overflow::Cut;
    let actions = edited(cuts, &edit(&"x".repeat(900)), &facts);
    assert_eq!(rewritten(&actions).draft.packets, 3);
    assert_eq!(notices(&actions), [of_edit(Refused::Cut.into())]);
}

/// The notice to the author of an edit that is not transmitted.
fn of_edit(reason: DropReason) -> String {
    reason.sentences(&config(), &alice()) + ABOUT_EDIT
}

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
fn a_waiting_text_that_its_author_wants_off_the_air_is_taken_back_and_a_command_refused() {
    let facts = knowing_versions(vec![waiting()]);
    let refusal = Refused::Command;
    let command = DropReason::Refused(refusal);
    let off_air = DropReason::OffAir.sentences(&config(), &alice());
    let taken = Action::Withdraw(room(ROOM), event("$target"));
    for (body, reason, told) in [
        ("// only for this room", DropReason::OffAir, vec![off_air]),
        ("!help", command, vec![refusal.explanation(&config())]),
        ("  ", DropReason::Empty, Vec::new()),
    ] {
        let actions = edited(config(), &edit(body), &facts);
        assert_eq!(
            actions[..2],
            [taken.clone(), Action::Drop(reason)],
            "{body}"
        );
        assert_eq!(notices(&actions), told, "{body}");
        let sign = Action::Sign(room(ROOM), event("$target"), Sign::Refused);
        assert_eq!(actions.contains(&sign), reason == command, "{body}");
    }
    // It is a text as long as no command has that name.
    let actions = edited(config(), &edit("!!! HELP !!!"), &facts);
    assert_eq!(rewritten(&actions).draft.text, "!!! HELP !!!");
}

/// The author gets a notice, once a day: the sign shows the state of the message itself.
fn is_told(edit: &RoomEdit, facts: &Facts, reason: DropReason, config: &Config) {
    let Telling::Author(..) = reason.telling() else {
        panic!("{reason} is nobody's business");
    };
    let actions = edited(config.clone(), edit, facts);
    let what = format!("{} {}", reason.name(), alice());
    assert!(actions.contains(&Action::Drop(reason)), "{actions:?}");
    assert_eq!(notices(&actions), [reason.sentences(config, &alice())]);
    assert_eq!(
        actions.last(),
        Some(&Action::StartCooldown {
            what: what.clone(),
            until: NOON + Duration::from_hours(24)
        })
    );
    let told = Facts {
        cooldowns: vec![what],
        ..facts.clone()
    };
    let actions = edited(config.clone(), edit, &told);
    assert_eq!(notices(&actions), [""; 0]);
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

#[test]
fn a_waiting_alert_becomes_urgent() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit("🚨 help"), &facts);
    let new = rewritten(&actions);
    assert_eq!((new.lane, new.alert), (Lane::Urgent, true));
}

#[test]
fn an_edit_makes_no_more_alerts_than_its_author_has() {
    let beyond = |versions| Facts {
        urgent_sent: 3,
        ..knowing_versions(versions)
    };
    let actions = edited(config(), &edit("🚨 help"), &beyond(vec![waiting()]));
    let new = rewritten(&actions);
    assert_eq!((new.lane, new.alert), (Lane::Message, false));
    let corrected = |first: Version| {
        let actions = edited(config(), &edit("🚨 help"), &beyond(vec![first]));
        match only(&actions) {
            Action::ToMesh(message) => (message.lane, message.source.as_ref().unwrap().alert),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(corrected(sent()), (Lane::Message, false));
    let alert = Version {
        lane: Lane::Urgent,
        ..sent()
    };
    assert_eq!(corrected(alert), (Lane::Urgent, true));
}

#[test]
fn what_was_sent_is_corrected_by_an_answer_to_it() {
    let facts = knowing_versions(vec![sent()]);
    let actions = edited(config(), &edit("hello"), &facts);
    assert_eq!(
        only(&actions),
        &Action::ToMesh(MeshMessage {
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel: Some(print_of("LongFast")),
            bound: true,
            lane: Lane::Message,
            content: MeshContent::Text(Draft {
                correction: 1,
                reply_to: Some(PacketId(60)),
                ..draft("hello")
            }),
            source: Some(Box::new(MeshSource {
                sent_at: NOON,
                ..sent().source
            })),
            not_before: Some(NOON + CORRECTION_WAIT),
            expires: NOON + Duration::from_hours(1),
        })
    );
    let mut plain = config();
    plain.meshtastic.message_interactions.replies = false;
    let actions = edited(plain, &edit("hello"), &facts);
    let Action::ToMesh(message) = only(&actions) else {
        panic!("{actions:?}");
    };
    let MeshContent::Text(draft) = &message.content else {
        panic!("{message:?}");
    };
    assert_eq!(texts(draft), [("Alice[M]: * hello".to_owned(), None)]);
}

#[test]
fn several_edits_become_one_correction() {
    let facts = knowing_versions(vec![sent(), correction("hell", 1)]);
    let actions = edited(config(), &edit("hello"), &facts);
    let new = rewritten(&actions);
    assert_eq!(
        texts(&new.draft),
        [("Alice[M]: * hello".to_owned(), Some(60))]
    );
    assert_eq!(
        (new.draft.text.as_str(), new.draft.correction),
        ("hello", 1)
    );
    assert_eq!(new.not_before, Some(NOON + CORRECTION_WAIT));
}

#[test]
fn whoever_edits_without_end_delays_a_correction_for_half_a_minute_at_most() {
    let begun = NOON - Duration::from_secs(25);
    let waits = Version {
        accepted_at: begun,
        ..correction("hell", 1)
    };
    let actions = edited(
        config(),
        &edit("hello"),
        &knowing_versions(vec![sent(), waits]),
    );
    assert_eq!(
        rewritten(&actions).not_before,
        Some(begun + LONGEST_CORRECTION_WAIT)
    );
}

#[test]
fn a_correction_that_is_changed_back_is_not_sent() {
    let facts = knowing_versions(vec![sent(), correction("hello", 1)]);
    let actions = edited(config(), &edit("helo"), &facts);
    let row = facts.versions[1].row;
    assert_eq!(
        actions,
        [
            Action::WithdrawCorrection(row),
            Action::Drop(DropReason::SameText),
        ]
    );
}

#[test]
fn a_message_is_corrected_twice_at_most() {
    let gone = |number| Version {
        waits: false,
        ..correction("hullo", number)
    };
    let once = knowing_versions(vec![sent(), gone(1)]);
    let actions = edited(config(), &edit("hello"), &once);
    let Action::ToMesh(message) = only(&actions) else {
        panic!("{actions:?}");
    };
    assert!(matches!(&message.content, MeshContent::Text(draft) if draft.correction == 2));
    let twice = knowing_versions(vec![sent(), gone(1), gone(2)]);
    is_told(&edit("hello"), &twice, DropReason::TooManyEdits, &config());
}

#[test]
fn only_a_changed_text_is_said_again() {
    for facts in [
        knowing_versions(vec![sent()]),
        knowing_versions(vec![waiting()]),
        knowing_versions(vec![
            Version {
                text: "first".into(),
                ..sent()
            },
            correction("helo", 1),
        ]),
    ] {
        assert_eq!(
            edited(config(), &edit("helo"), &facts),
            dropped(DropReason::SameText)
        );
    }
}

#[test]
fn a_correction_comes_within_a_quarter_of_an_hour_by_the_messages_own_times() {
    let written = |minutes: u64| {
        let mut version = sent();
        version.source.sent_at = NOON - MINUTE * u32::try_from(minutes).unwrap();
        knowing_versions(vec![version])
    };
    let corrects = |facts: &Facts, edit: &RoomEdit| {
        matches!(edited(config(), edit, facts)[..], [Action::ToMesh(_)])
    };
    assert!(corrects(&written(15), &edit("hello")));
    assert!(!corrects(&written(16), &edit("hello")));
    // Both were written during an outage of the relay.
    let mut early = edit("hello");
    early.new.sent_at = NOON - MINUTE * 40;
    assert!(corrects(&written(45), &early));
    early.new.sent_at = NOON - MINUTE * 61;
    is_told(&early, &written(62), DropReason::LateEdit, &config());
    // Nothing has changed for the mesh.
    let same = edited(config(), &edit("helo"), &written(16));
    assert_eq!(same, dropped(DropReason::SameText));
}

#[test]
fn only_the_author_changes_a_message() {
    for version in [waiting(), sent()] {
        let mut foreign = edit("something else");
        foreign.new.sender = user("@mallory:example.org");
        assert_eq!(
            edited(config(), &foreign, &knowing_versions(vec![version])),
            dropped(DropReason::ForeignEdit)
        );
    }
}

#[test]
fn the_key_edits_says_what_an_edit_does() {
    let with = |edits| {
        let mut config = config();
        config.meshtastic.edits = edits;
        config
    };
    let (queue, air) = (
        knowing_versions(vec![waiting()]),
        knowing_versions(vec![sent()]),
    );
    let change = edit("hello");
    assert!(matches!(
        edited(with(Edits::Queued), &change, &queue)[..],
        [Action::Rewrite(..)]
    ));
    is_told(&change, &air, DropReason::EditsOff, &with(Edits::Queued));
    for facts in [queue, air] {
        is_told(&change, &facts, DropReason::EditsOff, &with(Edits::Ignore));
    }
    assert_eq!(
        edited(with(Edits::Ignore), &change, &Facts::default()),
        dropped(DropReason::UnknownTarget)
    );
}

#[test]
fn who_may_not_transmit_any_more_changes_nothing_and_is_told() {
    let mut closed = config();
    closed.matrix.allowed_users = Some(Vec::new());
    let mut one_way = config();
    one_way.matrix_rooms[0].direction = Direction::ToMatrix;
    let mut silent = config();
    silent.meshtastic.broadcast_enabled = false;
    for (config, reason) in [
        (closed, DropReason::Denied),
        (one_way, DropReason::OneWayRoom),
        (silent, DropReason::BroadcastOff),
    ] {
        for version in [waiting(), sent()] {
            let facts = knowing_versions(vec![version]);
            let actions = edited(config.clone(), &edit("hello"), &facts);
            assert_eq!(actions[0], Action::Drop(reason));
            assert_eq!(notices(&actions), [of_edit(reason)]);
            // The next message that is not sent has its own sign.
            let until = NOON + MINUTE;
            let is_remembered =
                |it: &Action| matches!(it, Action::StartCooldown { until: it, .. } if *it == until);
            assert!(actions[2..].iter().all(is_remembered), "{actions:?}");
        }
    }
}

#[test]
fn edits_count_for_the_senders_limit() {
    let mut limited = config();
    limited.matrix.sender_limit.per_minute = 3;
    let often = |version: Version| Facts {
        sender_sent: (3, 3),
        ..knowing_versions(vec![version])
    };
    let refused = Action::Drop(DropReason::Refused(Refused::SenderLimit));
    let actions = edited(limited.clone(), &edit("hello"), &often(sent()));
    assert_eq!(actions[0], refused);
    // As many packets as before cost nothing more; further ones do, and then what waits goes as it is.
    let actions = edited(limited.clone(), &edit("hello"), &often(waiting()));
    assert!(matches!(actions[..], [Action::Rewrite(..)]));
    let actions = edited(limited, &edit(&"long ".repeat(80)), &often(waiting()));
    assert_eq!(actions[0], refused);
    assert!(
        !actions
            .iter()
            .any(|it| matches!(it, Action::Sign(..) | Action::Withdraw(..)))
    );
}

#[test]
fn a_full_queue_does_not_keep_what_stands_in_it_from_being_changed() {
    let mut facts = knowing_versions(vec![waiting()]);
    facts.waiting_for_mesh = 5_000;
    assert!(matches!(
        edited(config(), &edit("hello"), &facts)[..],
        [Action::Rewrite(..)]
    ));
    facts.versions = vec![sent()];
    assert_eq!(
        edited(config(), &edit("hello"), &facts)[0],
        Action::Drop(DropReason::Refused(Refused::QueueFull))
    );
}

#[test]
fn an_edit_of_what_never_went_is_dropped_and_one_that_comes_first_waits_for_its_message() {
    let known = Facts {
        target_seen: true,
        ..Facts::default()
    };
    let actions = edited(config(), &edit("hello"), &known);
    assert_eq!(actions[0], Action::Drop(DropReason::Edit));
    let actions = edited(config(), &edit("hello"), &Facts::default());
    let Action::KeepEdit(kept) = only(&actions) else {
        panic!("{actions:?}");
    };
    let body = kept.new.body.clone();
    assert_eq!((&kept.target, body.as_str()), (&event("$target"), "hello"));
    let early = Facts {
        early_edit: Some(EarlyEdit {
            emote: false,
            body,
            sent_at: NOON,
        }),
        ..Facts::default()
    };
    assert_eq!(
        spoken_of(&said(&mut bridge(), &message("helo"), &early)),
        ["Alice[M]: hello"]
    );
    let emote = Facts {
        early_edit: Some(EarlyEdit {
            emote: true,
            body: "waves".into(),
            sent_at: NOON,
        }),
        ..Facts::default()
    };
    assert_eq!(
        spoken_of(&said(&mut bridge(), &message("helo"), &emote)),
        ["* Alice[M] waves"]
    );
}

fn spoken_of(actions: &[Action]) -> Vec<String> {
    crate::testing::spoken(actions)
}

#[test]
fn an_edit_that_was_written_before_one_that_came_already_changes_nothing() {
    let second = Duration::from_secs(1);
    for version in [waiting(), sent()] {
        for (newest, is_older) in [(NOON + second, true), (NOON, false)] {
            let version = Version {
                edited_at: Some(newest),
                ..version.clone()
            };
            let mut edit = edit("hello");
            edit.new.sent_at = NOON;
            let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit)));
            let facts = knowing_versions(vec![version]);
            let actions = bridge().verdict(&event, &facts, NOON + second);
            let older = dropped(DropReason::OlderEdit);
            assert_eq!(actions == older, is_older, "{actions:?}");
        }
    }
}

#[test]
fn an_edit_is_decided_on_once() {
    let seen = Facts {
        already_seen: true,
        ..Facts::default()
    };
    assert_eq!(
        edited(config(), &edit("hello"), &seen),
        dropped(DropReason::Duplicate)
    );
}
