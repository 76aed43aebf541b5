//! Sends one event to a room, with the transaction id of its outbox row, and returns the outcome.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use matrix_sdk::ruma::api::client::receipt::create_receipt::v3::ReceiptType;
use matrix_sdk::ruma::api::client::relations::get_relating_events_with_rel_type_and_event_type as relations;
use matrix_sdk::ruma::api::error::ErrorKind;
use matrix_sdk::ruma::events::TimelineEventType;
use matrix_sdk::ruma::events::receipt::ReceiptThread;
use matrix_sdk::ruma::events::relation::RelationType;
use matrix_sdk::ruma::{OwnedEventId, TransactionId, UserId};
use matrix_sdk::{Error, Room, RoomState};
use tokio::time::{sleep, timeout};

use super::client;
use super::errors::{self, parked, retry};
use super::{content::Outgoing, events::Envelope, rooms::Rooms};
use relay_model::{EventId, RoomContent, RoomOrAliasId, RoomOutcome, SendToRoom, Timestamp};

/// Maximum time for all requests of one message, even in a large encrypted room.
const LIMIT: Duration = Duration::from_mins(2);

/// Maximum time to wait for what is being sent before the store is closed, and how often that is looked at.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Maximum number of pages of reactions, with 100 each, searched for our own.
const MOST_PAGES: usize = 10;

/// The id of the sent event, or another outcome.
type SendResult = Result<OwnedEventId, RoomOutcome>;

/// Sends to the mapped rooms; cheap to clone, usable from any task.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(super) rooms: Arc<Rooms>,
}

impl Sender {
    /// Waits until what is being sent through its clones is over, for some seconds, and closes the session's store: another
    /// session can then be opened. For when nobody is given a clone any more.
    pub async fn close(self) {
        let over = async {
            while Arc::strong_count(&self.rooms) > 1 {
                sleep(LOOK_EVERY).await;
            }
        };
        // What takes longer fails now, and is sent again.
        let _ = timeout(CLOSE_WITHIN, over).await;
        client::close(&self.rooms.client).await;
    }
}

impl SendToRoom for Sender {
    async fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        now: Timestamp,
    ) -> RoomOutcome {
        let attempt = async {
            let room = self.room(room)?;
            if self.rooms.is_refused(&room) {
                let error = "the room is encrypted and `matrix.e2ee.enabled` is false";
                return Err(parked(false, error));
            }
            // As long as that is not known, the picture is to tell nobody anything.
            let state = room.encryption_state();
            let encrypted = state.is_encrypted() || state.is_unknown();
            let avatar = self.rooms.avatars.for_message(content, encrypted);
            let post = async |content: &RoomContent| match Outgoing::build(
                content,
                now,
                avatar.as_ref(),
            ) {
                Outgoing::Event { kind, content } => room
                    .send_raw(kind, content)
                    .with_transaction_id(transaction)
                    .await
                    .map(|sent| sent.response.event_id),
                Outgoing::Redaction { target } => room
                    .redact(target, None, Some(transaction.to_owned()))
                    .await
                    .map(|sent| sent.event_id)
                    .map_err(Error::from),
            };
            let mut sent = post(content).await;
            // A homeserver that does not know the thread's root (any more) refuses the whole message.
            if sent.as_ref().is_err_and(errors::is_bad_request)
                && let Some(content) = outside_thread(content)
            {
                sent = post(&content).await;
            }
            match (sent, content) {
                (Ok(event), _) => Ok(event),
                (Err(error), RoomContent::Reaction { target, key })
                    if error.client_api_error_kind() == Some(&ErrorKind::DuplicateAnnotation) =>
                {
                    self.find_reaction(&room, target, key).await
                }
                (Err(error), _) => Err(self.outcome(&error).await),
            }
        };
        self.limited(Box::pin(attempt)).await
    }

    async fn caught_up(&self) {
        tokio::select! {
            () = self.rooms.caught_up.wait() => {}
            _ = self.rooms.refused.wait() => {}
        }
    }

    async fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> RoomOutcome {
        // An unthreaded receipt covers the room's own timeline; an event in a thread needs a receipt for that thread.
        let thread = thread.map_or(ReceiptThread::Unthreaded, |root| {
            ReceiptThread::Thread(root.to_owned())
        });
        let attempt = async {
            let room = self.room(room)?;
            let marked = room.send_single_receipt(ReceiptType::Read, thread, event.to_owned());
            match marked.await {
                Ok(()) => Ok(event.to_owned()),
                Err(error) => Err(self.outcome(&error).await),
            }
        };
        self.limited(attempt).await
    }
}

impl Sender {
    /// Waits for an attempt's outcome, with a timeout.
    async fn limited(&self, attempt: impl Future<Output = SendResult>) -> RoomOutcome {
        let sent = tokio::select! {
            biased;
            _ = self.rooms.refused.wait() => Err(retry("the homeserver does not accept the login now")),
            sent = timeout(LIMIT, attempt) => {
                sent.unwrap_or_else(|_| Err(retry("the homeserver took too long")))
            }
        };
        sent.map_or_else(|outcome| outcome, |event| RoomOutcome::Sent { event })
    }

    /// Returns the outcome after an error. If the login was refused, asks the server again: the next sync may be half a
    /// minute away, and a single wrong answer must not stop everything.
    async fn outcome(&self, error: &Error) -> RoomOutcome {
        if errors::refused_login(error).is_some()
            && let Err(error) = self.rooms.client.whoami().await
            && let Some(refusal) = errors::refused_login(&error.into())
        {
            self.rooms.refused.set(refusal).ok();
        }
        errors::outcome(error)
    }

    /// Returns a joined room that a sync answer has shown; otherwise the outcome for its messages.
    fn room(&self, name: &RoomOrAliasId) -> Result<Room, RoomOutcome> {
        let id = self.rooms.room_of(name);
        let room = id.and_then(|id| self.rooms.client.get_room(&id));
        let state = room.as_ref().map(|room| room.state());
        match (room, state) {
            (_, Some(RoomState::Left | RoomState::Banned)) => {
                Err(parked(false, "the bot is not in this room any more"))
            }
            (Some(room), Some(RoomState::Joined)) if self.rooms.is_synced(room.room_id()) => {
                Ok(room)
            }
            (_, _) => Err(retry("the room is not joined yet")),
        }
    }

    /// Finds the event id of our reaction that exists already.
    async fn find_reaction(&self, room: &Room, target: &EventId, key: &str) -> SendResult {
        let mut page = None;
        for _ in 0..MOST_PAGES {
            let mut request = relations::v1::Request::new(
                room.room_id().to_owned(),
                target.to_owned(),
                RelationType::Annotation,
                TimelineEventType::Reaction,
            );
            request.limit = Some(100_u32.into());
            request.from = page;
            let found = match self.rooms.client.send(request).await {
                Ok(found) => found,
                Err(error) => return Err(self.outcome(&error.into()).await),
            };
            let mut events = found.chunk.iter();
            let ours = events.find_map(|it| own_reaction(it.json().get(), room.own_user_id(), key));
            if let Some(event) = ours {
                return Ok(event);
            }
            page = found.next_batch;
            if page.is_none() {
                break;
            }
        }
        let error = "the same reaction is there already".to_owned();
        Err(RoomOutcome::Refused { error })
    }
}

/// Returns a message of a thread as one outside of it.
fn outside_thread(content: &RoomContent) -> Option<RoomContent> {
    let mut content = content.clone();
    let RoomContent::Text { thread, .. } = &mut content else {
        return None;
    };
    thread.take()?;
    Some(content)
}

fn own_reaction(json: &str, own: &UserId, key: &str) -> Option<OwnedEventId> {
    let event = Envelope::read(json)?;
    let its_key = event.content()["m.relates_to"]["key"].as_str();
    (event.sender == own && its_key == Some(key)).then_some(event.event)
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_event_id, user_id};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_our_own_reaction_with_that_key_is_the_one() {
        let reaction = |sender: &str, key: &str| {
            let reaction = json!({
                "type": "m.reaction", "event_id": "$it", "sender": sender,
                "content": {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$x", "key": key}},
            });
            reaction.to_string()
        };
        let own = user_id!("@relay:example.org");
        assert_eq!(
            own_reaction(&reaction(own.as_str(), "👍"), own, "👍"),
            Some(owned_event_id!("$it"))
        );
        assert_eq!(own_reaction(&reaction(own.as_str(), "👎"), own, "👍"), None);
        assert_eq!(
            own_reaction(&reaction("@alice:example.org", "👍"), own, "👍"),
            None
        );
        assert_eq!(own_reaction("{}", own, "👍"), None);
    }
}
