//! Asks for the homeserver's time: from the date of an answer, or from an event of ours.

use std::time::{Duration, SystemTime};

use matrix_sdk::reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap};
use matrix_sdk::ruma::api::client::message::get_message_events;
use matrix_sdk::ruma::http_headers::http_date_to_system_time;
use matrix_sdk::{Client, reqwest};
use tokio::time::timeout;
use tracing::debug;

use super::OurClocks;
use crate::events::Envelope;
use relay_model::{Clock, Timestamp};

/// Maximum time for an answer with the server's time; the error is at most half of it.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of rooms searched for an event of ours.
const ROOMS_ASKED: usize = 3;
/// Maximum age of a cached answer, in seconds: some caches keep its date, others write their own.
const OLDEST_ANSWER: u64 = 5;

/// Asks for the date of an answer. `None`: no answer, or no usable date.
pub(crate) async fn ask_date(client: &Client, clock: &Clock) -> Option<(Timestamp, OurClocks)> {
    let mut url = client.homeserver();
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(["_matrix", "client", "versions"]);
    let asked = OurClocks::now(clock);
    // Synapse lets caches keep this answer for an hour; a distinct query bypasses them.
    url.set_query(Some(&format!("at={}", asked.passed)));
    let answer = client
        .http_client()
        .get(url)
        .header(CACHE_CONTROL, "no-cache")
        .timeout(ASK_LIMIT)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let now = OurClocks::now(clock);
    let shown = answer.ok().and_then(|answer| time_shown(answer.headers()));
    if shown.is_none() {
        debug!("the homeserver does not tell the time");
    }
    Some((arrived(shown?, asked, now), now))
}

/// Asks for the homeserver's own time, from an event of ours: a proxy may date answers with its own clock. `None`:
/// there is no such event, or it carries no age.
pub(crate) async fn ask_own(client: &Client, clock: &Clock) -> Option<(Timestamp, OurClocks)> {
    let own = client.user_id()?;
    for room in client.joined_rooms().iter().take(ROOMS_ASKED) {
        let mut request = get_message_events::v3::Request::backward(room.room_id().to_owned());
        request.filter.senders = Some(vec![own.to_owned()]);
        let asked = OurClocks::now(clock);
        let Ok(Ok(answer)) = timeout(ASK_LIMIT, client.send(request)).await else {
            continue;
        };
        let now = OurClocks::now(clock);
        let events = answer.chunk.iter();
        let server_time = events
            .filter_map(|event| Envelope::read(event.json().get()))
            .find(|event| event.sender == own)
            .and_then(|event| event.told_at());
        if let Some(server_time) = server_time {
            return Some((arrived(server_time, asked, now), now));
        }
    }
    None
}

/// Returns the server's time on arrival of an answer, assuming that half of the round trip has passed since.
pub(crate) fn arrived(server_time: Timestamp, asked: OurClocks, now: OurClocks) -> Timestamp {
    Timestamp(server_time.0.saturating_add(now.after(asked) / 2))
}

/// Returns the server's time from an answer's date, unless the answer comes from a cache.
pub(crate) fn time_shown(headers: &HeaderMap) -> Option<Timestamp> {
    // Middle of the second that a date leaves open.
    const HALF: Duration = Duration::from_millis(500);
    let date = http_date_to_system_time(headers.get(DATE)?).ok()?;
    let kept: u64 = match headers.get(AGE) {
        Some(age) => age.to_str().ok()?.trim().parse().ok()?,
        None => 0,
    };
    if kept > OLDEST_ANSWER {
        return None;
    }
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(0) + (since + HALF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_believed_unless_it_comes_out_of_a_cache() {
        let told = |lines: &[(&'static str, &'static str)]| {
            let lines = lines
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            time_shown(&lines.collect::<HeaderMap>()).map(|it| it.0 - 1_767_225_600_000)
        };
        let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(told(&[date]), Some(500));
        assert_eq!(told(&[date, ("age", "0")]), Some(500));
        for nothing in [
            &[][..],
            &[("date", "now")],
            &[("date", "")],
            &[date, ("age", "6")],
            &[date, ("age", "3600")],
            &[date, ("age", "-1")],
            &[date, ("age", "99999999999999999999")],
        ] {
            assert_eq!(told(nothing), None, "{nothing:?}");
        }
    }
}
