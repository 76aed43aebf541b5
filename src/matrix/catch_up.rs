//! What was said in a room between two places in the server's stream, a page at a time, oldest first.

use matrix_sdk::Room;
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::filter::LazyLoadOptions;
use tracing::debug;

use super::errors::{self, Answer};
use crate::model::Gap;

/// A page: a few hundred kilobytes at most in practice. After failures it is smaller: the answer may have been too large.
const PAGE: u32 = 250;

/// So many empty pages in a row are taken for a server that has nothing more and does not say so.
pub(super) const MOST_EMPTY: u32 = 20;

/// The oldest of what is missing.
pub(super) struct Page {
    pub(super) events: Vec<TimelineEvent>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

/// Asks once for the first page of what is missing in a room, after so many failures in a row. An error is for now: the
/// server may answer later.
pub(super) async fn fetch(room: &Room, gap: &Gap, failures: u32) -> matrix_sdk::Result<Page> {
    let mut options = MessagesOptions::forward().from(gap.from.as_str());
    options.to = Some(gap.to.clone());
    options.limit = (PAGE >> failures.min(7)).into();
    options.filter.lazy_load_options = lazy_members();
    let page = room.messages(options).await?;
    debug!(room = %gap.room, events = page.chunk.len(), "page of missed events");
    // Some servers name the same place again at the end. A page may be empty before it: all its events are hidden from us.
    let next = page.end.filter(|end| *end != gap.from && *end != gap.to);
    Ok(Page {
        events: page.chunk,
        next,
    })
}

/// Has the server tell of those members who have said something, and of no others.
pub(super) fn lazy_members() -> LazyLoadOptions {
    LazyLoadOptions::Enabled {
        include_redundant_members: false,
    }
}

/// Returns whether the server has refused: it forgot the place, or we may not read there. One such answer may be the
/// mistake of a server that is just being restored, or of a proxy.
pub(super) fn is_refusal(error: &matrix_sdk::Error) -> bool {
    errors::http(error)
        .and_then(Answer::of)
        .is_some_and(|answer| answer.errcode.is_some() && matches!(answer.status, 400 | 403 | 404))
}
