//! Alerts.

use super::*;

#[test]
fn an_alert_is_marked_and_mentions_the_room_once_in_ten_minutes() {
    let mut config = config();
    config.meshtastic.alert_mentions_room = true;
    let mut bridge = bridge_of(config);
    let alert = RadioText {
        port: TextPort::Alert,
        ..packet("man down")
    };
    let posted = first(&heard(&mut bridge, &alert, &Facts::default()));
    assert_eq!(posted.text, "[Bob/LongFast]: 🚨 man down");
    assert!(!posted.mentions_room, "its power level does not allow it");
    assert!(posted.pair.unwrap().alert);

    join(
        &mut bridge,
        JoinedRoom {
            may_mention_room: true,
            may_write: true,
            may_react: true,
            ..joined(ROOM)
        },
    );
    let actions = heard(&mut bridge, &alert, &Facts::default());
    assert!(first(&actions).mentions_room);
    let what = format!("alert {BOB}");
    assert_eq!(
        actions.last(),
        Some(&Action::StartCooldown {
            what: what.clone(),
            until: NOON + MENTION_AGAIN
        })
    );
    let facts = Facts {
        cooldowns: vec![what],
        ..Facts::default()
    };
    let actions = heard(&mut bridge, &alert, &facts);
    assert!(!first(&actions).mentions_room && actions.len() == 1);
}

#[test]
fn an_empty_alert_is_still_an_alert() {
    let alert = RadioText {
        port: TextPort::Alert,
        ..packet("")
    };
    let posted = first(&heard(&mut bridge(), &alert, &Facts::default()));
    assert_eq!(posted.text, "[Bob/LongFast]: 🚨");
}
