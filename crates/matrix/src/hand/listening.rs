//! What is said in a room from now on, as the session's sync brings it.

use futures_util::stream::{self, Stream, StreamExt as _};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::sync::RoomUpdate;
use matrix_sdk::{Client, Room};
use relay_reading::{Names, Quote, read_message};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::words::{Done, Heard};
use crate::events::{Envelope, display_name};

/// Returns what is said in a room, without end. The queue before it is bounded: who reads too slowly is told what he missed.
pub(super) fn listen(client: &Client, room: Room) -> impl Stream<Item = Done> + Send + use<> {
    let updates = client.subscribe_to_room_updates(room.room_id());
    let heard = stream::unfold((updates, room), next).flat_map(stream::iter);
    stream::once(async { Done::Listening }).chain(heard)
}

type Listener = (broadcast::Receiver<RoomUpdate>, Room);

async fn next((mut updates, room): Listener) -> Option<(Vec<Done>, Listener)> {
    let said = match updates.recv().await {
        Ok(RoomUpdate::Joined { updates, .. }) => {
            let mut said = Vec::new();
            for event in &updates.timeline.events {
                said.extend(
                    heard(&room, event)
                        .await
                        .map(|it| Done::Heard(Box::new(it))),
                );
            }
            said
        }
        Ok(_) => Vec::new(),
        Err(RecvError::Lagged(answers)) => vec![Done::Missed(answers)],
        Err(RecvError::Closed) => return None,
    };
    Some((said, (updates, room)))
}

/// Returns what an event says to people; `None`: nothing.
async fn heard(room: &Room, event: &TimelineEvent) -> Option<Heard> {
    let envelope = Envelope::of(event)?;
    let json: Value = serde_json::from_str(event.raw().json().get()).ok()?;
    let content = envelope.content();
    let text = match envelope.kind.as_str() {
        "m.room.encrypted" => None,
        "m.reaction" => {
            let relation = &content["m.relates_to"];
            let (key, event) = (relation["key"].as_str()?, relation["event_id"].as_str()?);
            Some(format!("(reacts to {event} with {key})"))
        }
        "m.room.redaction" => {
            let redacts = json.get("redacts").unwrap_or(&content["redacts"]);
            Some(format!("(redacts {})", redacts.as_str()?))
        }
        "m.room.member" => Some(format!(
            "(membership of {}: {})",
            envelope.state_key.as_deref()?,
            envelope.membership()?
        )),
        kind => {
            let shown = content.get("m.new_content").unwrap_or(content);
            Some(read_message(kind, shown, Quote::Perhaps, &Names::new())?.1)
        }
    };
    let member = room
        .get_member_no_sync(&envelope.sender)
        .await
        .ok()
        .flatten();
    Some(Heard {
        name: display_name(
            member.as_ref().and_then(|it| it.display_name()),
            &envelope.sender,
        ),
        event_id: envelope.event.clone(),
        sender: envelope.sender.clone(),
        sent_at: envelope.sent_at,
        encrypted: event.encryption_info().is_some() || envelope.kind == "m.room.encrypted",
        text,
        event: json,
    })
}
