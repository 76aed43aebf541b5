//! What authors are told, and how often.

use super::*;
use crate::testing::*;
use crate::{Facts, notice::Refused};
use relay_config::{Config, Direction, Media};
use relay_model::{Event, MatrixEvent, RoomText, RoomTextKind, Sign};

/// What an author is told: the reason, its cooldowns with their ends, and a sign.
struct Learnt {
    reason: DropReason,
    names: Vec<(String, Timestamp)>,
    sign: Option<Sign>,
}

impl Learnt {
    /// Checks that it is told as configured, and not again during the cooldown.
    fn is_told_of(&self, config: &Config, text: &RoomText) {
        let Telling::Author(..) = self.reason.telling() else {
            panic!("{} is nobody's business", self.reason);
        };
        let actions = said(&mut bridge_of(config.clone()), text, &Facts::default());
        let mut wanted = vec![Action::Drop(self.reason)];
        assert_eq!(notices(&actions), [self.reason.sentences(config, &alice())]);
        wanted.push(actions[1].clone());
        let remembered = self.names.iter().cloned();
        wanted.extend(remembered.map(|(what, until)| Action::StartCooldown { what, until }));
        wanted.extend(self.sign.map(signed));
        assert_eq!(actions, wanted, "{text:?}");
        let asked = bridge_of(config.clone()).questions(
            &Event::Matrix(MatrixEvent::Text(Box::new(text.clone()))),
            NOON,
        );
        let names: Vec<String> = self.names.iter().map(|(name, _)| name.clone()).collect();
        assert!(names.iter().all(|name| asked.cooldowns.contains(name)));
        let facts = Facts {
            cooldowns: names,
            ..Facts::default()
        };
        let actions = said(&mut bridge_of(config.clone()), text, &facts);
        assert_eq!(actions, dropped(self.reason), "{text:?}");
    }
}

#[test]
fn what_would_surprise_its_author_is_told_with_its_reason_and_not_again_and_again() {
    let deaf = || {
        let mut config = config();
        config.matrix_rooms[0].direction = Direction::ToMatrix;
        config
    };
    let silent = || {
        let mut config = config();
        config.meshtastic.broadcast_enabled = false;
        config
    };
    let blind = || {
        let mut config = config();
        config.meshtastic.media = Media::Ignore;
        config
    };
    let (hour, day) = (NOON + ROOM_AGAIN, NOON + PERSON_AGAIN);
    let room = |name: &str| {
        vec![
            (format!("refused {name} {ROOM}"), hour),
            (format!("{name} {} {ROOM}", alice()), day),
        ]
    };
    let person = |name: &str| vec![(format!("{name} {}", alice()), Timestamp::NEVER)];
    let image = RoomTextKind::Media { word: "image" };
    let learnt = |reason, names, sign| Learnt {
        reason,
        names,
        sign,
    };
    let (refused, denied) = (Some(Sign::Refused), Some(Sign::Denied));
    let off_air = || learnt(DropReason::OffAir, person("off_air"), None);
    let notice = || learnt(DropReason::Notice, person("notice"), refused);
    let media = || learnt(DropReason::MediaOff, room("media_off"), refused);
    for (config, text, learnt) in [
        (
            deaf(),
            message("x"),
            learnt(DropReason::OneWayRoom, room("one_way_room"), denied),
        ),
        (
            silent(),
            message("x"),
            learnt(DropReason::BroadcastOff, room("broadcast_off"), denied),
        ),
        (blind(), of_kind(image.clone(), "a view"), media()),
        (blind(), of_kind(image, ""), media()),
        (config(), of_kind(RoomTextKind::Notice, "x"), notice()),
        (
            config(),
            of_kind(RoomTextKind::LiveLocation, ""),
            learnt(
                DropReason::LiveLocation,
                vec![(format!("live_location {}", alice()), day)],
                None,
            ),
        ),
        (config(), message("//between us"), off_air()),
        (config(), reply(" // between us"), off_air()),
        (config(), message("\u{200b}//between us"), off_air()),
    ] {
        learnt.is_told_of(&config, &text);
    }
}

#[test]
fn where_a_room_has_just_read_the_reason_another_person_gets_the_sign_alone() {
    let mut config = config();
    config.matrix_rooms[0].direction = Direction::ToMatrix;
    let facts = Facts {
        cooldowns: vec![format!("refused one_way_room {ROOM}")],
        ..Facts::default()
    };
    let actions = said(&mut bridge_of(config), &message("x"), &facts);
    assert_eq!(
        actions,
        [
            Action::Drop(DropReason::OneWayRoom),
            Action::StartCooldown {
                what: format!("one_way_room {} {ROOM}", alice()),
                until: NOON + Duration::from_hours(24)
            },
            signed(Sign::Denied),
        ]
    );
}

#[test]
fn where_nothing_is_transmitted_nobody_is_told_how_it_could_be() {
    let mut config = config();
    config.matrix_rooms[0].direction = Direction::ToMatrix;
    for (text, reason) in [
        (message("//between us"), DropReason::OffAir),
        (of_kind(RoomTextKind::Notice, "x"), DropReason::Notice),
    ] {
        let actions = said(&mut bridge_of(config.clone()), &text, &Facts::default());
        assert_eq!(actions, dropped(reason));
    }
    let actions = said(&mut bridge_of(config), &message("!ping"), &Facts::default());
    assert_eq!(actions[0], Action::Drop(DropReason::OneWayRoom));
}

#[test]
fn a_command_is_refused_with_a_word_and_what_only_looks_like_one_is_a_text() {
    let image = RoomTextKind::Media { word: "image" };
    for text in [
        message("!ping"),
        reply(" !Weather 47.1,11.2"),
        of_kind(RoomTextKind::Emote, "!help"),
        of_kind(image, "!map"),
        message("Relay Bot: !nodes"),
        message("@bot:example.org !health"),
    ] {
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(refused(&actions), Some(Refused::Command), "{text:?}");
        assert_eq!(notices(&actions), [Refused::Command.explanation(&config())]);
        assert!(actions.contains(&signed(Sign::Refused)));
        assert_eq!(on_air(&actions), []);
    }
    for (text, spoken_as) in [
        (message("!!! HELP !!!"), "Alice[M]: !!! HELP !!!"),
        (message("!important"), "Alice[M]: !important"),
        (message("!"), "Alice[M]: !"),
        (
            message("https://example.org"),
            "Alice[M]: https://example.org",
        ),
        (message("/ /"), "Alice[M]: / /"),
        (message("Bob: !ping"), "Alice[M]: Bob: !ping"),
        (
            of_kind(RoomTextKind::Poll, "!help"),
            "Alice[M]: [poll] !help",
        ),
        (of_kind(RoomTextKind::Other, "a word"), "Alice[M]: a word"),
    ] {
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(spoken(&actions), [spoken_as]);
    }
}

#[test]
fn what_has_nothing_to_read_in_it_is_refused() {
    for text in [message(" \u{202e}\n"), of_kind(RoomTextKind::Location, "")] {
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(actions[0], Action::Drop(DropReason::Empty));
        assert_eq!(
            notices(&actions),
            [DropReason::Empty.sentences(&config(), &alice())]
        );
        assert_eq!(actions.last(), Some(&signed(Sign::Refused)));
    }
}
