//! Who is banned from a room now: what is read after newer things is measured by it.

use std::collections::HashSet;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::client::membership::get_member_events::v3 as members;
use matrix_sdk::ruma::events::room::member::MembershipState;

use super::catch_up;
use super::events::Envelope;
use crate::model::{MatrixEvent, OwnedUserId};

/// The people who are banned from a room now.
pub(super) struct Banned(HashSet<OwnedUserId>);

impl Banned {
    /// Asks the server, as what the SDK knows may be older. `None`: it refuses to tell.
    pub(super) async fn of(room: &Room) -> matrix_sdk::Result<Option<Self>> {
        let mut request = members::Request::new(room.room_id().to_owned());
        request.membership = Some(MembershipState::Ban);
        match room.client().send(request).await {
            Ok(answer) => {
                let members = answer.chunk.iter();
                // Some servers tell of all members.
                let banned = members.filter_map(|it| Envelope::read(it.json().get())?.banned());
                Ok(Some(Self(banned.collect())))
            }
            Err(error) => {
                let error = error.into();
                if catch_up::is_refusal(&error) {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Drops what people wrote who are banned now. What they took away stays taken away.
    pub(super) fn silence(&self, page: &mut Vec<TimelineEvent>) {
        page.retain(|event| {
            let Some(event) = Envelope::of(event) else {
                return false;
            };
            let is_written = event.state_key.is_none() && event.kind != "m.room.redaction";
            !(is_written && self.0.contains(&event.sender))
        });
    }

    /// Drops bans that were lifted since: they would take back what those people have written after it.
    pub(super) fn forget_lifted(&self, events: &mut Vec<MatrixEvent>) {
        events.retain(|event| match event {
            MatrixEvent::Banned { user, .. } => self.0.contains(user),
            _ => true,
        });
    }
}
