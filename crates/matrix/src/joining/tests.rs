use matrix_sdk::ruma::room_id;

use super::*;

#[test]
fn the_lines_to_paste_are_yaml_of_a_mapped_room() {
    assert_eq!(
        yaml_lines(room_id!("!abc:example.org")),
        r#"- {id: "!abc:example.org", meshtastic_channel: 0}"#
    );
}

#[test]
fn an_alias_that_is_gone_is_told_from_one_that_never_was_and_from_a_server_that_is_away() {
    let old = room_id!("!old:example.org");
    let (down, none) = (
        answer(502, Some("M_UNKNOWN"), "down"),
        answer(404, Some("M_NOT_FOUND"), "none"),
    );
    for (answer, before, expected) in [
        (None, Some(old), RoomTrouble::NoAnswer),
        (
            Some(&down),
            Some(old),
            RoomTrouble::ServerAway("down".to_owned()),
        ),
        (
            Some(&none),
            Some(old),
            RoomTrouble::AliasGone(old.to_owned()),
        ),
        (Some(&none), None, RoomTrouble::NoSuchAlias),
    ] {
        assert_eq!(unresolved(answer, before.map(ToOwned::to_owned)), expected);
    }
}

#[test]
fn a_room_that_cannot_be_joined_is_tried_less_and_less_often_and_its_trouble_is_said_once() {
    let (mut attempt, now) = (Attempt::default(), Instant::now());
    let mut pause = |trouble| {
        let is_said = attempt.failed(&trouble, now, 0.0);
        let next = attempt.next.unwrap();
        (is_said, (next - now).as_secs())
    };
    assert_eq!(pause(RoomTrouble::NoAnswer), (false, 5));
    assert_eq!(pause(RoomTrouble::NoSuchRoom), (true, 10));
    assert_eq!(pause(RoomTrouble::NoAnswer), (false, 20));
    assert_eq!(pause(RoomTrouble::NoSuchRoom), (false, 40));
    assert_eq!(pause(RoomTrouble::Encrypted), (true, 80));
}

fn answer(status: u16, errcode: Option<&str>, words: &str) -> ServerAnswer {
    ServerAnswer {
        status,
        errcode: errcode.map(str::to_owned),
        retry_after: None,
        message: words.to_owned(),
    }
}

#[test]
fn each_answer_to_a_join_has_its_own_words() {
    let bot: OwnedUserId = "@relay:example.org".try_into().unwrap();
    for (status, errcode, words, expected) in [
        (
            403,
            Some("M_FORBIDDEN"),
            "You are not invited to this room.",
            "not_invited",
        ),
        (
            403,
            Some("M_FORBIDDEN"),
            "You are banned from this room",
            "banned",
        ),
        (
            403,
            Some("M_FORBIDDEN"),
            "You do not belong to any of the required rooms/spaces to join this room.",
            "restricted",
        ),
        (
            403,
            Some("M_FORBIDDEN"),
            "Federation denied with example.org.",
            "other",
        ),
        (404, Some("M_UNKNOWN"), "no servers", "no_such_room"),
        (
            400,
            Some("M_INCOMPATIBLE_ROOM_VERSION"),
            "version 99",
            "other",
        ),
        (
            502,
            Some("M_UNKNOWN"),
            "Failed to make_join via any server",
            "server_away",
        ),
        (502, None, "<html>", "no_answer"),
        (
            500,
            Some("M_UNKNOWN"),
            "No server available to assist in joining.",
            "server_failed",
        ),
        (
            429,
            Some("M_LIMIT_EXCEEDED"),
            "Too Many Requests",
            "no_answer",
        ),
        (
            401,
            Some("M_UNKNOWN_TOKEN"),
            "Invalid access token",
            "no_answer",
        ),
    ] {
        let answer = answer(status, errcode, words);
        assert_eq!(refusal(Some(&answer), &bot).name(), expected, "{words}");
    }
}
