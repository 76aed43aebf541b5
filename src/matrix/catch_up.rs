//! What was said in a room between two places in the server's stream, a page at a time, oldest first.

use std::time::Duration;

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::filter::{LazyLoadOptions, RoomEventFilter};
use tokio::time::sleep;
use tracing::{debug, error};

use super::errors::{self, Answer};
use super::{MatrixError, backoff};

/// A page: a few hundred kilobytes at most in practice.
const PAGE: u32 = 250;

/// A room's events after one place up to another.
#[derive(Debug)]
pub(super) struct CatchUp {
    room: Room,
    from: Option<String>,
    to: String,
}

impl CatchUp {
    /// Starts at a place of an earlier sync; `to` is the place of the latest.
    pub(super) fn new(room: Room, from: &str, to: &str) -> Self {
        Self {
            room,
            from: Some(from.to_owned()),
            to: to.to_owned(),
        }
    }

    /// Returns the next page; `None`: that was all.
    ///
    /// A server that fails is asked again until it answers. Only where it says that it never will (it forgot the place, or we
    /// may not read there) the rest is given up, and that is said.
    ///
    /// # Errors
    ///
    /// [`MatrixError::SessionDead`]: the next session goes on from the same place.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<TimelineEvent>>, MatrixError> {
        let Some(from) = self.from.take() else {
            return Ok(None);
        };
        let mut failures = 0_u32;
        let page = loop {
            match self.room.messages(self.options(&from)).await {
                Ok(page) => break page,
                Err(error) if errors::is_dead_session(&error) => {
                    return Err(MatrixError::SessionDead);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if is_final(&error) {
                        error!(
                            room = %self.room.room_id(),
                            error = &error as &dyn std::error::Error,
                            "what was said in this room meanwhile cannot be fetched: messages may be missing"
                        );
                        return Ok(None);
                    }
                    let pause = errors::retry_after(&error).unwrap_or_else(|| {
                        backoff::pause(failures, Duration::from_secs(1), Duration::from_secs(30))
                    });
                    sleep(pause).await;
                }
            }
        };
        debug!(room = %self.room.room_id(), events = page.chunk.len(), "page of missed events");
        if page.chunk.is_empty() {
            return Ok(None);
        }
        // Some servers name the same place again at the end.
        self.from = page.end.filter(|end| *end != from);
        Ok(Some(page.chunk))
    }

    fn options(&self, from: &str) -> MessagesOptions {
        let mut options = MessagesOptions::forward().from(from);
        options.to = Some(self.to.clone());
        options.limit = PAGE.into();
        let mut filter = RoomEventFilter::default();
        filter.lazy_load_options = LazyLoadOptions::Enabled {
            include_redundant_members: false,
        };
        options.filter = filter;
        options
    }
}

fn is_final(error: &matrix_sdk::Error) -> bool {
    errors::http(error)
        .and_then(Answer::of)
        .is_some_and(|answer| answer.errcode.is_some() && matches!(answer.status, 400 | 403 | 404))
}
