//! Urgent texts: alerts, and answers to them.

use super::*;

#[test]
fn an_urgent_text_begins_with_a_siren_or_answers_an_alert() {
    let siren = said(&mut bridge(), &message("🚨 help"), &Facts::default());
    assert_eq!(lane(&siren), (Lane::Urgent, true));
    let alert = MessagePair {
        alert: true,
        ..pair()
    };
    let answer = said(&mut bridge(), &reply("coming"), &knowing(vec![alert]));
    assert_eq!(lane(&answer), (Lane::Urgent, false));
    let plain = said(&mut bridge(), &message("no 🚨"), &Facts::default());
    assert_eq!(lane(&plain), (Lane::Message, false));
}

fn lane(actions: &[Action]) -> (Lane, bool) {
    match &actions[0] {
        Action::ToMesh(MeshMessage { lane, source, .. }) => (*lane, source.as_ref().unwrap().alert),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fourth_siren_of_an_hour_is_an_ordinary_text_and_an_answer_to_an_alert_never_is() {
    let alert = MessagePair {
        alert: true,
        ..pair()
    };
    for (urgent_sent, is_alert) in [(2, (Lane::Urgent, true)), (3, (Lane::Message, false))] {
        let facts = Facts {
            urgent_sent,
            ..Facts::default()
        };
        let siren = said(&mut bridge(), &message("🚨 help"), &facts);
        assert_eq!(lane(&siren), is_alert);
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![alert.clone()])
        };
        let answer = said(&mut bridge(), &reply("coming"), &facts);
        assert_eq!(lane(&answer), (Lane::Urgent, false));
        let siren = said(&mut bridge(), &reply("🚨 coming"), &facts);
        assert_eq!(lane(&siren), (Lane::Urgent, true));
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![pair()])
        };
        let siren = said(&mut bridge(), &reply("🚨 help"), &facts);
        assert_eq!(lane(&siren), is_alert);
    }
}

#[test]
fn who_answers_an_alert_of_their_own_is_counted() {
    let own = MessagePair {
        alert: true,
        ..pair_of_alice()
    };
    for (urgent_sent, expected) in [(2, Lane::Urgent), (3, Lane::Message)] {
        let facts = Facts {
            urgent_sent,
            ..knowing(vec![own.clone()])
        };
        let more = said(&mut bridge(), &reply("and more"), &facts);
        assert_eq!(lane(&more), (expected, false));
        let siren = said(&mut bridge(), &reply("🚨 and more"), &facts);
        assert_eq!(lane(&siren), (expected, expected == Lane::Urgent));
    }
}

#[test]
fn a_siren_of_a_sender_without_the_power_is_an_ordinary_text() {
    let mut config = config();
    config.matrix.urgent_power_level = Some(50);
    for (sender_power, is_alert) in [(50, (Lane::Urgent, true)), (49, (Lane::Message, false))] {
        let siren = RoomText {
            sender_power,
            ..message("🚨 help")
        };
        let actions = said(&mut bridge_of(config.clone()), &siren, &Facts::default());
        assert_eq!(lane(&actions), is_alert);
        assert_eq!(spoken(&actions), ["Alice[M]: 🚨 help"]);
    }
}
