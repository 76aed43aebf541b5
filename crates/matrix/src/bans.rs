//! The current bans of a room, applied to old events that are read late.

use std::collections::HashSet;

use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::ruma::api::client::membership::get_member_events::v3 as members;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::{Error, Room};

use super::{errors, events::Envelope};
use relay_model::{MatrixEvent, OwnedUserId};

/// The users who are banned from a room now; `None`: the server refuses to list them.
pub(super) struct Banned(Option<HashSet<OwnedUserId>>);

impl Banned {
    /// Asks the server, since the SDK's state may be older.
    pub(super) async fn of(room: &Room) -> matrix_sdk::Result<Self> {
        let mut request = members::Request::new(room.room_id().to_owned());
        request.membership = Some(MembershipState::Ban);
        match room.client().send(request).await.map_err(Error::from) {
            Ok(answer) => {
                let members = answer.chunk.iter();
                // Some servers ignore the filter and list all members.
                let banned = members.filter_map(|it| Envelope::read(it.json().get())?.banned());
                Ok(Self(Some(banned.collect())))
            }
            Err(error) if errors::is_refusal(&error) => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// Drops messages of users who are banned now. Their redactions stay in effect.
    pub(super) fn silence(&self, page: &mut Vec<TimelineEvent>) {
        let is_banned = |it: &OwnedUserId| self.0.as_ref().is_some_and(|all| all.contains(it));
        page.retain(|event| {
            Envelope::of(event).is_none_or(|event| {
                let is_written = event.state_key.is_none() && event.kind != "m.room.redaction";
                !(is_written && is_banned(&event.sender))
            })
        });
    }

    /// Drops bans that were lifted since: they would retract what the user wrote after the lift. If the list of bans is
    /// unknown, each ban may have been lifted.
    pub(super) fn forget_lifted(&self, events: &mut Vec<MatrixEvent>) {
        events.retain_mut(|event| match (event, &self.0) {
            (MatrixEvent::Banned { user, .. }, Some(all)) => all.contains(user),
            (MatrixEvent::Banned { stands, .. }, None) => {
                *stands = false;
                true
            }
            _ => true,
        });
    }
}
