//! What rooms are told of a radio that is away, and of its return.

use std::time::Duration;

use crate::model::{Notice, OwnedRoomId, RoomMessage, Timestamp, span};

/// Returns the notice that the radio has been away for so long. What is written meanwhile waits up to `longest`, in a room
/// from which something goes to the mesh.
pub(super) fn away_notice(
    room: &OwnedRoomId,
    away: Duration,
    longest: Option<Duration>,
    now: Timestamp,
) -> RoomMessage {
    let away = span::short(away);
    let waits = longest.map(|longest| {
        format!(
            " Messages wait for it, and expire after {}.",
            span::short(longest)
        )
    });
    let text = format!(
        "The radio of this bridge has been away for {away}: nothing crosses between this room and the mesh.{}",
        waits.unwrap_or_default()
    );
    notice(room, text, now)
}

/// Returns the notice that the radio, which was away since then, is back.
pub(super) fn back_notice(room: &OwnedRoomId, since: Timestamp, back: Timestamp) -> RoomMessage {
    let away = span::short(back.since(since));
    let text = format!("The radio of this bridge is back after {away}.");
    notice(room, text, back)
}

/// Both say how late they are if the homeserver was away, too.
fn notice(room: &OwnedRoomId, text: String, at: Timestamp) -> RoomMessage {
    let notice = Notice {
        text,
        at: Some(at),
        ..Notice::default()
    };
    notice.for_room(room)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::config::Direction;
    use crate::model::RoomContent;

    #[test]
    fn only_where_something_goes_to_the_mesh_messages_wait() {
        let (room, now) = (room(ROOM), NOON + Duration::from_mins(34));
        let told = |direction| {
            let mut config = config();
            config.matrix_rooms[0].direction = direction;
            let bridge = bridge_of(config);
            let message = bridge.away_notice(&room, NOON, now);
            let RoomContent::Text {
                text,
                suppress,
                notice,
                ..
            } = message.content
            else {
                panic!("not a text")
            };
            assert!(suppress && notice);
            text
        };
        let both = told(Direction::Both);
        assert!(both.contains("away for 34 min"), "{both}");
        assert!(both.contains("expire after"), "{both}");
        assert!(!told(Direction::ToMatrix).contains("expire"));
        let back = back_notice(&room, NOON, now);
        assert!(
            format!("{back:?}").contains("is back after 34 min."),
            "{back:?}"
        );
    }
}
