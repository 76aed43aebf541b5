use std::collections::BTreeSet;

use strum::VariantArray as _;

use super::*;
use crate::testing::*;
use relay_model::{EventId, Evidence, NodeNum, PacketId, Refusal};

fn step(kind: StepKind, detail: Option<&str>) -> Step {
    Step {
        kind,
        at: NOON,
        part: None,
        correction: 0,
        packet: (kind == StepKind::Handed).then_some(PacketId(60)),
        number: (kind != StepKind::Posted).then_some(3),
        detail: detail.map(str::to_owned),
        reception: None,
    }
}

/// Every kind of step, with its reason if it has one, what it rests on, and its words.
const WORDS: [(StepKind, Option<&str>, Evidence, &str); 37] = {
    use Evidence::{Inferred, Observed, Reported, Unknown};
    use StepKind::*;
    [
        (
            Accepted,
            None,
            Observed,
            "accepted from its room for the mesh",
        ),
        (Split, None, Observed, "split into 3 packets"),
        (
            Backlog,
            None,
            Observed,
            "waits since an outage: it goes spaced, behind what is new",
        ),
        (
            Handed,
            None,
            Observed,
            "given to the link to the radio as packet 60, attempt 3",
        ),
        (
            Taken,
            None,
            Reported,
            "the radio took it into its transmit queue",
        ),
        (
            TakenSilently,
            None,
            Inferred,
            "the radio did not answer when it was asked again, as it does for a packet that it knows: it has probably taken it",
        ),
        (
            NotTaken,
            Some("the radio's queue is full"),
            Reported,
            "the radio did not take it (the radio's queue is full); it is tried again, under another id",
        ),
        (
            NotTaken,
            Some("the duty cycle is used up"),
            Reported,
            "the radio did not take it (the duty cycle is used up); it is tried again, under another id",
        ),
        (
            NotTaken,
            Some("the radio's rate limit"),
            Reported,
            "the radio did not take it (the radio's rate limit); it is tried again, under another id",
        ),
        (
            Unanswered,
            Some("the link was lost before an answer"),
            Unknown,
            "the link was lost before an answer: whether the radio took it is not known; it is tried again, under the same id",
        ),
        (
            NotTried,
            Some("the link was lost"),
            Observed,
            "not given to the radio (the link was lost); it waits again",
        ),
        (
            Restarted,
            None,
            Unknown,
            "the relay was started again before the radio's answer was stored: whether the radio took it is not known; it is tried again, under the same id",
        ),
        (
            Repeated,
            None,
            Reported,
            "the radio heard it come back, repeated by another node or by MQTT; by whom, and who else received it, it does not tell",
        ),
        (
            Unheard,
            None,
            Reported,
            "the radio heard nobody repeat it; whether anybody received it is not known",
        ),
        (
            Delivered,
            None,
            Reported,
            "the node that it is for has acknowledged it",
        ),
        (
            Silent,
            None,
            Unknown,
            "the radio told nothing more of it: whether it was transmitted and received is not known",
        ),
        (
            RefusedByRadio,
            Some("no_channel"),
            Reported,
            "refused by the radio: it has no such channel",
        ),
        (
            RefusedHere,
            Some("queue_full"),
            Observed,
            "not sent to the mesh: too many messages of its room are waiting",
        ),
        (
            PartRefused,
            None,
            Observed,
            "not sent, as a part before it was refused",
        ),
        (
            Expired,
            None,
            Observed,
            "expired: too old, or too many waited after an outage; it is not tried any more",
        ),
        (
            Withdrawn,
            None,
            Observed,
            "taken back; it is not tried any more",
        ),
        (
            Changed,
            None,
            Observed,
            "changed before the radio was given it",
        ),
        (
            Moved,
            None,
            Observed,
            "its channel stands in slot 3 now, and it follows",
        ),
        (
            GivenUp,
            None,
            Unknown,
            "given up by the relay, which could not read or store something of it (see its log): what became of it is not known",
        ),
        (
            NotRelayed,
            Some("off_air"),
            Observed,
            "not sent to the mesh: meant to stay off the air",
        ),
        (
            Undecryptable,
            None,
            Observed,
            "it cannot be decrypted: its key has not arrived",
        ),
        (
            KeyGivenUp,
            None,
            Observed,
            "its key did not arrive in time: it is not relayed",
        ),
        (Heard, None, Reported, "heard by the radio"),
        (
            HeardAgain,
            None,
            Reported,
            "the radio delivered it once more",
        ),
        (
            Replayed,
            None,
            Reported,
            "repeated by a store-and-forward server",
        ),
        (
            Posted,
            Some("!a:example.org"),
            Observed,
            "accepted for the room !a:example.org",
        ),
        (
            Parked,
            Some("M_FORBIDDEN"),
            Reported,
            "the homeserver does not let it be sent now: M_FORBIDDEN",
        ),
        (
            HandedOver,
            Some("!b:example.org"),
            Observed,
            "waits for !b:example.org, which takes its room's place",
        ),
        (
            Sent,
            Some("$e:example.org"),
            Reported,
            "the homeserver took it, as event $e:example.org",
        ),
        (
            CameBack,
            Some("$e:example.org"),
            Observed,
            "it came back from the homeserver, as event $e:example.org",
        ),
        (
            RefusedByServer,
            Some("M_TOO_LARGE"),
            Reported,
            "the homeserver will never take it: M_TOO_LARGE",
        ),
        (PostGivenUp, None, Observed, "given up: it is not posted"),
    ]
};

/// What no words say: nobody can know it.
const TOO_MUCH: [&str; 5] = [
    "everybody",
    "was received",
    "was read",
    "arrived at",
    "failed",
];

#[test]
fn each_step_has_words_that_say_no_more_than_its_evidence() {
    for (kind, detail, evidence, expected) in WORDS {
        let step = step(kind, detail);
        assert_eq!(words(&step), expected);
        assert_eq!(kind.evidence(), evidence, "{kind}");
        for word in TOO_MUCH {
            assert!(!expected.contains(word), "{expected}");
        }
        // What is not known is said in these words.
        if evidence == Evidence::Unknown {
            assert!(expected.contains("not known"), "{expected}");
        }
        if evidence == Evidence::Inferred {
            assert!(expected.contains("probably"), "{expected}");
        }
    }
    let late = Step {
        number: Some(720),
        ..step(StepKind::Posted, Some("!a:example.org"))
    };
    let expected = "accepted for the room !a:example.org, 12 min after it was heard";
    assert_eq!(words(&late), expected);
    let told: BTreeSet<StepKind> = WORDS.iter().map(|it| it.0).collect();
    let all = StepKind::VARIANTS.iter().copied();
    let left_out: Vec<_> = all.filter(|kind| !told.contains(kind)).collect();
    assert_eq!(left_out, [StepKind::Restored]);
    let restored = words(&step(StepKind::Restored, None));
    assert!(restored.contains("may have sent it since"), "{restored}");
}

#[test]
fn each_refusal_of_a_radio_says_by_whom_as_far_as_that_is_known() {
    for (refusal, expected) in [
        (
            Refusal::TooLong,
            "refused: it is longer than the radio takes",
        ),
        (
            Refusal::NoChannel,
            "refused by the radio: it has no such channel",
        ),
        (
            Refusal::TransmitOff,
            "refused: the radio's transmitter is switched off, or it has no region",
        ),
        (
            Refusal::NoInterface,
            "refused by the radio: it has nothing to transmit with",
        ),
        (
            Refusal::NoKey,
            "refused by the radio: it does not know the addressee's key",
        ),
        (Refusal::Other(77), "refused by the radio: error 77"),
    ] {
        let name = refusal.to_string();
        let step = step(StepKind::RefusedByRadio, Some(&name));
        assert_eq!(words(&step), expected);
        let is_reported = step.evidence() == Evidence::Reported;
        assert_eq!(is_reported, expected.contains("by the radio"), "{expected}");
    }
    for (number, name) in ROUTING_ERRORS {
        let detail = Refusal::Other(number).to_string();
        let step = step(StepKind::RefusedByRadio, Some(&detail));
        let expected = format!("refused by the radio: error {number} ({name})");
        assert_eq!(words(&step), expected);
    }
}

#[test]
fn each_rule_of_the_relay_has_its_words() {
    for reason in DropReason::all() {
        let step = step(StepKind::NotRelayed, Some(reason.name()));
        let words = words(&step);
        assert!(words.starts_with("not sent to the mesh: "), "{words}");
        assert!(!words.ends_with(reason.name()), "{words}");
    }
}

#[test]
fn a_reception_is_told_as_far_as_the_radio_tells_it_and_an_ambiguous_byte_names_nobody() {
    let told = |reception| received(Some(&reception));
    let base = Reception::default;
    let node = NodeNum(0xA1B2_C3D4);
    assert_eq!(told(base()), "");
    let direct = Reception {
        hops: Some(0),
        snr: Some(6.25),
        rssi: Some(-90),
        ..base()
    };
    assert_eq!(told(direct), ": directly, SNR 6.2 dB, RSSI -90 dBm");
    let by = |candidates| Reception {
        hops: Some(2),
        relayed_by: Some(0xD4),
        candidates,
        ..base()
    };
    assert_eq!(
        told(by(vec![])),
        ": over 2 hops, relayed by a node whose id ends in d4 (no known node)"
    );
    assert_eq!(
        told(by(vec![node])),
        ": over 2 hops, relayed by a node whose id ends in d4 (of the known nodes only !a1b2c3d4)"
    );
    let two = told(by(vec![node, NodeNum(0xD4)]));
    assert!(
        two.ends_with("(2 known nodes)") && !two.contains('!'),
        "{two}"
    );
    let mqtt = Reception {
        via_mqtt: true,
        hops: Some(0),
        ..base()
    };
    assert_eq!(
        told(mqtt),
        ": by MQTT; which gateway put it there, it does not tell"
    );
}

#[test]
fn a_part_and_a_correction_say_so() {
    let step = Step {
        part: Some((2, 3)),
        correction: 1,
        ..step(StepKind::Taken, None)
    };
    let expected = "correction 1: part 2 of 3: the radio took it into its transmit queue";
    assert_eq!(words(&step), expected);
}

fn story(count: u64) -> Story {
    let steps = (0..count).map(|number| Step {
        at: NOON + Duration::from_millis(1_500 * number),
        ..step(StepKind::Taken, None)
    });
    Story {
        subject: StorySubject::Room {
            room: Some(room(ROOM)),
            event: event("$target"),
            channel: None,
        },
        steps: steps.collect(),
        standing: vec![Standing::Mesh],
    }
}

fn knowing_story(stories: Vec<Story>) -> Facts {
    Facts {
        story: stories,
        ..knowing(vec![pair()])
    }
}

#[test]
fn a_reaction_with_a_magnifying_glass_is_answered_by_the_story_and_never_transmitted() {
    for key in ["🔍", "🔎", "🔍\u{fe0f}"] {
        let facts = knowing_story(vec![story(2)]);
        let actions = reacted(&mut bridge(), &reaction(key), &facts);
        assert!(on_air(&actions).is_empty());
        let [notice] = &notices(&actions)[..] else {
            panic!("{actions:?}")
        };
        let lines: Vec<&str> = notice.lines().collect();
        assert_eq!(lines.len(), 4, "{notice}");
        assert!(lines[1].contains("UTC  the radio took it"), "{notice}");
        assert!(lines[1].ends_with("(reported)"), "{notice}");
        assert!(lines[2].starts_with("+1.5 s  "), "{notice}");
        assert_eq!(
            lines[3],
            "now: the radio has it; nothing was heard of it since"
        );
        let Some(Action::ToRoom {
            message,
            pair: None,
        }) = actions.first()
        else {
            panic!("{actions:?}")
        };
        let target = message.content.target().map(ToString::to_string);
        assert_eq!(target.as_deref(), Some(event("$target").as_str()));
    }
}

#[test]
fn a_question_is_answered_once_a_minute_in_a_room() {
    let mut facts = knowing_story(vec![story(1)]);
    let mut bridge = bridge();
    let actions = reacted(&mut bridge, &reaction("🔍"), &facts);
    let Some(Action::StartCooldown { what, until }) = actions.last() else {
        panic!("{actions:?}")
    };
    assert_eq!(*until, NOON + Duration::from_mins(1));
    let of_reaction = relay_model::MatrixEvent::Reaction(Box::new(reaction("🔍")));
    let questions = bridge.questions(&relay_model::Event::Matrix(of_reaction), NOON);
    assert_eq!(&questions.cooldowns, std::slice::from_ref(what));
    let asked: (_, relay_model::OwnedEventId) = questions.story.unwrap();
    assert_eq!(asked, (room(ROOM), event("$target")));
    facts.cooldowns.push(what.clone());
    let again = reacted(&mut bridge, &reaction("🔍"), &facts);
    assert_eq!(again, dropped(DropReason::AskedAgain));
}

#[test]
fn a_question_that_comes_late_twice_or_from_a_relay_is_not_answered() {
    let late = RoomReaction {
        sent_at: Timestamp(NOON.0 - 601_000),
        ..reaction("🔍")
    };
    let facts = knowing_story(vec![story(1)]);
    let actions = reacted(&mut bridge(), &late, &facts);
    assert_eq!(actions, dropped(DropReason::LateQuestion));
    let relays = RoomReaction {
        suppress: true,
        ..reaction("🔍")
    };
    let actions = reacted(&mut bridge(), &relays, &facts);
    assert_eq!(actions, dropped(DropReason::Suppressed));
    let seen = Facts {
        already_seen: true,
        ..facts
    };
    let actions = reacted(&mut bridge(), &reaction("🔍"), &seen);
    assert_eq!(actions, dropped(DropReason::Duplicate));
}

#[test]
fn a_message_without_a_story_is_said_to_have_none() {
    let actions = reacted(&mut bridge(), &reaction("🔍"), &knowing_story(vec![]));
    let [notice] = &notices(&actions)[..] else {
        panic!("{actions:?}")
    };
    assert!(notice.starts_with("Nothing is known"), "{notice}");
}

#[test]
fn of_a_long_story_a_notice_tells_the_beginning_and_the_end() {
    let text = told(&story(100));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), MOST_LINES + 3, "{text}");
    assert_eq!(lines[FIRST_LINES + 1], "… 76 more steps");
    assert!(lines[MOST_LINES + 1].starts_with("+2 min"), "{text}");
    assert!(EventId::parse("$target").is_ok());
}
