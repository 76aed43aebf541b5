//! The sync loop: requests what happened, and hands over one batch at a time. The next request is made after the
//! previous batch is committed.

mod anew;
mod answer;

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, pending, select};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use matrix_sdk::Client;
use matrix_sdk::config::{SyncSettings, SyncToken};
use matrix_sdk::ruma::api::client::filter::{Filter, FilterDefinition, RoomFilter};
use matrix_sdk::ruma::api::client::sync::sync_events;
use matrix_sdk::sync::SyncResponse;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use matrix_sdk_base::{StateStoreDataKey, StateStoreDataValue};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::clock::{self, HistoryFilter, Moment, OurClocks};
use super::gaps::{Gaps, lazy_members};
use super::landmarks::{self, Landmarks};
use super::moved::named_elsewhere;
use super::{
    Batch, MatrixError, Options, Start, errors, gate::Notes, reader::Reader, rooms::Rooms,
};
use relay_disk::Trouble;
use relay_model::{Backoff, Explained as _, Timestamp};

use self::anew::Continuity;

/// Maximum time that the server keeps an idle request open.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Maximum number of events of one room in an answer; the server's default of 10 truncates bursts.
const TIMELINE_LIMIT: u32 = 200;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSES: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_secs(30));
/// Pauses while even the smallest answer is too large: each attempt transfers a lot.
const PAUSES_IN_VAIN: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_mins(5));
/// After how many failures in a row, and then how often, the account's server name is asked where its homeserver is.
const NAME_ASKED_AT: u32 = 3;
const NAME_ASKED_EVERY: u32 = 30;
/// A pause that nobody has to be told of.
const BRIEF: Duration = Duration::from_secs(10);
/// Minimum time between two requests whose answers bring nothing to relay: what we sent comes back several events at a time.
const OWN_PAUSE: Duration = Duration::from_millis(500);
/// For this time after an event of somebody else the next one is asked for at once: people answer each other.
const ATTENTIVE: Duration = Duration::from_secs(2);
/// Minimum time between requests to a server that does not honour the long poll.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

type RoomKeyUpdates = BoxStream<'static, Option<Vec<RoomKeyInfo>>>;

/// The sync loop: asks the homeserver, takes its answers apart, and hands over a batch at a time.
pub(super) struct Sync<'a> {
    /// Directory of the SDK's stores.
    store: &'a Path,
    rooms: &'a Rooms,
    reader: Reader<'a>,
    batches: mpsc::Sender<Batch>,
    gaps: Gaps,
    /// Position of the last committed batch; none on a first run, until all since its beginning is handed over.
    position: Option<String>,
    /// Where this run began, or the first one.
    beginning: Option<String>,
    /// On a first run, aliases have not been looked up yet: which rooms are read is not known.
    awaits_aliases: bool,
    /// Position of the last answer that was handed over in full; ahead of `position` after empty answers. The SDK's own
    /// position can be ahead of both, with events that were never handed over.
    handed_over: Option<String>,
    /// The SDK is ahead of `handed_over`: its next answer leaves a gap.
    behind: bool,
    /// Events that the homeserver has confirmed.
    landmarks: Landmarks,
    continuity: Continuity,
    /// Until when, by the server's clock, all is handed over, at the position of the last committed batch.
    read_until: Option<Timestamp>,
    committed_at: Instant,
    /// When an answer last held something to relay; at first the start.
    heard_at: Instant,
    /// State of the path to the server.
    way: Arc<Notes>,
    /// Number of events requested per room.
    timeline_limit: u32,
    /// Failures since the last answer.
    failures: u32,
    /// Where the homeserver is said to be while it does not answer, with the cure.
    moved: Option<String>,
    reported: Option<SyncState>,
}

/// What came of a request.
enum Asked {
    Answer(matrix_sdk::Result<SyncResponse>),
    /// The homeserver does not know any more what it had confirmed.
    Forgotten,
    /// It does not say whether it does.
    Unknown(matrix_sdk::Error),
}

/// State of the sync, as logged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncState {
    Well,
    /// The server does not answer, or its answer cannot be stored because of this disk trouble.
    Failing(Option<Trouble>),
}

impl<'a> Sync<'a> {
    pub(super) fn new(
        rooms: &'a Rooms,
        store: &'a Path,
        way: Arc<Notes>,
        start: Start,
        batches: mpsc::Sender<Batch>,
    ) -> Self {
        rooms.remember(&start.known, &start.former);
        let (position, mut gaps) = (start.position, start.gaps);
        let known = start.known.into_iter().map(|(_, room)| room);
        let former = start.former.into_iter().map(|it| it.room);
        let known: HashSet<_> = known.chain(former).collect();
        let now = OurClocks::now(&rooms.options.clock);
        let is_first = start.first.is_some();
        let mut names = rooms.options.rooms.iter();
        let has_alias = names.any(|name| !name.is_room_id());
        let from = (start.first.as_ref()).map_or(Moment::ThisBoot(now), |it| Moment::of(it, now));
        let news = HistoryFilter::new(known, is_first, !start.knows_all, from);
        gaps.retain(|gap| news.knows(&gap.room));
        Self {
            store,
            rooms,
            reader: Reader::new(rooms, news, start.kept, start.clock),
            batches,
            gaps: Gaps::new(gaps, Instant::now()),
            beginning: position
                .clone()
                .or_else(|| start.first.and_then(|it| it.position)),
            position,
            awaits_aliases: is_first && has_alias,
            handed_over: None,
            behind: false,
            landmarks: Landmarks::new(start.landmarks),
            continuity: Continuity::Doubted(0),
            read_until: start.read_until,
            committed_at: Instant::now(),
            heard_at: Instant::now(),
            way,
            timeline_limit: TIMELINE_LIMIT,
            failures: 0,
            moved: None,
            reported: None,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), MatrixError> {
        tokio::select! {
            // An answer that has arrived is processed first: the SDK counts it as seen.
            biased;
            ended = Box::pin(self.go_on()) => match ended? {},
            () = stop.cancelled() => {}
        }
        self.leave_position();
        Ok(())
    }

    /// Requests and hands over, without end. Cancel safe: what the SDK received and was not handed over is fetched
    /// again from the position.
    async fn go_on(&mut self) -> Result<Infallible, MatrixError> {
        let client = &self.rooms.client;
        let taken = sdk_position(client).await;
        if self.read_from().is_none() && !self.reader.news.first_run {
            self.position.clone_from(&taken);
            error!(
                position = self.position,
                "up to where the homeserver was read cannot be read from the database; going on from where the Matrix library stands: what it was given just before the last stop may be missing; please report this"
            );
        }
        // On a first run after a login that read nothing, all is still to come if the SDK has no position either.
        self.behind = taken.as_ref() != self.read_from();
        let mut keys = keys(client).await;
        let mut wait = Duration::ZERO;
        let mut last = String::new();

        // A key that arrived just before the last stop may decrypt events kept then.
        self.look_again().await?;
        loop {
            let asked = Instant::now();
            let response = match Box::pin(self.ask(wait, &mut keys)).await? {
                Asked::Answer(Ok(response)) => response,
                Asked::Answer(Err(error)) => {
                    sleep(self.failed(&error).await).await;
                    // After an outage the first answer should come at once.
                    wait = Duration::ZERO;
                    continue;
                }
                Asked::Unknown(error) if self.continuity.is_unanswerable(&error) => {
                    let error = errors::sentence(&error);
                    warn!(
                        error,
                        "the homeserver does not say whether it knows its newest event, and is read without that"
                    );
                    self.continuity = Continuity::Kept;
                    continue;
                }
                Asked::Unknown(error) => {
                    sleep(self.failed(&error).await).await;
                    continue;
                }
                Asked::Forgotten => {
                    if let Err(error) = Box::pin(self.begin_anew()).await? {
                        sleep(self.failed(&error).await).await;
                    }
                    continue;
                }
            };
            self.answered();
            wait = if self.awaits_aliases {
                IDLE_PAUSE
            } else {
                LONG_POLL
            };
            // Limits the rate with a server that does not honour the long poll.
            let is_idle = response.next_batch == last && asked.elapsed() < IDLE_PAUSE;
            last.clone_from(&response.next_batch);
            self.look_at_clock().await;
            self.compare_position(&last);
            Box::pin(self.take(response, &mut keys)).await?;
            self.rooms.caught_up.set(()).ok();
            sleep(self.pause(asked)).await;
            if is_idle && asked.elapsed() < IDLE_PAUSE {
                sleep(IDLE_PAUSE).await;
            }
        }
    }

    /// Returns from where what is missing is to be read.
    fn read_from(&self) -> Option<&String> {
        self.position.as_ref().or(self.beginning.as_ref())
    }

    /// Returns the time to wait before the next request, when the last one was made at `asked`.
    fn pause(&self, asked: Instant) -> Duration {
        if self.heard_at.elapsed() < ATTENTIVE {
            return Duration::ZERO;
        }
        OWN_PAUSE.saturating_sub(asked.elapsed())
    }

    fn answered(&mut self) {
        self.rooms.options.pulse.answered(Instant::now());
        if self.reported != Some(SyncState::Well) {
            info!("connected to the homeserver");
            self.reported = Some(SyncState::Well);
            self.reader.server.connected();
        }
        (self.failures, self.moved) = (0, None);
        self.timeline_limit = self.timeline_limit.saturating_mul(2).min(TIMELINE_LIMIT);
    }

    /// Records a failed request, or an answer that could not be stored. Returns the pause before the next attempt.
    async fn failed(&mut self, error: &matrix_sdk::Error) -> Duration {
        if let Some(refusal) = errors::refused_login(error) {
            // This ends the adapter, and the loop with it.
            self.rooms.refused.set(refusal).ok();
            return pending().await;
        }
        self.continuity.doubt();
        let client = &self.rooms.client;
        if errors::is_about_versions(error) {
            // A wrong answer of the server, or of a proxy, would stay cached for a week.
            client.reset_supported_versions().await.ok();
        }
        // The SDK stores an answer's position before all of its effects.
        let taken = sdk_position(client).await;
        let reached = self.handed_over.as_ref().or(self.read_from());
        self.behind |= taken.as_ref() != reached;
        self.failures = self.failures.saturating_add(1);
        let wish = errors::retry_after(error);
        let disk = errors::disk(error).map(|trouble| trouble.at(self.store));
        let (mut error, pauses) = self.what_failed(error);
        if self.failures % NAME_ASKED_EVERY == NAME_ASKED_AT && disk.is_none() {
            let moved = named_elsewhere(&self.rooms.own, &client.homeserver()).await;
            if moved.is_some() && moved != self.moved {
                // That is news, whatever was logged.
                self.reported = None;
            }
            self.moved = moved;
        }
        if let Some(moved) = &self.moved {
            error = format!("{error}; {moved}");
        }
        let pause = wish.unwrap_or_else(|| pauses.after(self.failures, rand::random()));
        self.rooms
            .options
            .pulse
            .failed(&error, disk, Instant::now());
        let delay_ms = pause.as_millis();
        let standing = Some(SyncState::Failing(disk));
        // A single failure after an answer is nothing, if it is over in a moment.
        let is_brief = self.failures == 1 && pause < BRIEF && disk.is_none();
        if self.reported == standing || is_brief && self.reported == Some(SyncState::Well) {
            debug!(error, delay_ms, "sync failed");
            return pause;
        }
        if let Some(trouble) = disk {
            error!(
                disk = %trouble,
                path = %self.store.display(),
                hint = trouble.hint(),
                error,
                "what the homeserver says cannot be stored, trying again until it can"
            );
        } else {
            warn!(
                error,
                delay_ms, "the homeserver cannot be read, trying again until it can"
            );
        }
        self.reported = standing;
        pause
    }

    /// Returns the message for a failure, and its back-off. After an answer that was too large, fewer events are
    /// requested.
    fn what_failed(&mut self, error: &matrix_sdk::Error) -> (String, Backoff) {
        // Another answer may have been cut off meanwhile: then this one failed for another reason.
        if !(self.way.take_cut() && errors::is_broken_off(error)) {
            let error = errors::sentence(error);
            let trouble = self.way.trouble.borrow().clone();
            return (trouble.unwrap_or(error), PAUSES);
        }
        let pauses = match self.timeline_limit {
            1 => PAUSES_IN_VAIN,
            TIMELINE_LIMIT => {
                // The first such failure is logged, whatever failed before.
                self.reported = None;
                PAUSES
            }
            _ => PAUSES,
        };
        self.timeline_limit = (self.timeline_limit / 4).max(1);
        let error = format!(
            "its answer is larger than 64 MB; asking for {} events of each room at once",
            self.timeline_limit
        );
        (error, pauses)
    }

    /// Asks for the server's time if due: events are dated by it.
    async fn look_at_clock(&mut self) {
        let Options { pulse, clock, .. } = &self.rooms.options;
        let (client, server) = (&self.rooms.client, &mut self.reader.server);
        if server.is_due(OurClocks::now(clock)) {
            let dated = clock::ask_date(client, clock).await;
            let own = match dated {
                Some(dated) if server.is_news(dated) => clock::ask_own(client, clock).await,
                Some(_) | None => None,
            };
            server.answered(dated, own, OurClocks::now(clock));
        }
        let now = OurClocks::now(clock);
        pulse.clock(server.difference(now), server.dates_ahead(now));
    }

    /// Sends a sync request, and does other work until its answer arrives. Where it is doubted, the homeserver is asked first
    /// whether it knows what it had confirmed: the sync request itself has it delete what it keeps for the device up to a
    /// position.
    async fn ask(
        &mut self,
        wait: Duration,
        keys: &mut RoomKeyUpdates,
    ) -> Result<Asked, MatrixError> {
        let rooms = self.rooms;
        // An earlier cut concerned another answer.
        self.way.take_cut();
        let mut settings = settings(wait, self.timeline_limit);
        match &self.continuity {
            Continuity::Broken(_) => return Ok(Asked::Forgotten),
            Continuity::ReadAnew(_) => settings = settings.token(SyncToken::NoToken),
            Continuity::Kept | Continuity::Doubted(_) => {}
        }
        let doubted = self.doubted();
        let mut request = Box::pin(async move {
            match landmarks::is_forgotten(&rooms.client, &doubted).await {
                Ok(false) => Asked::Answer(rooms.client.sync_once(settings).await),
                Ok(true) => Asked::Forgotten,
                Err(error) => Asked::Unknown(error),
            }
        });
        loop {
            let work = tokio::select! {
                () = rooms.changed.notified() => self.look_again().boxed(),
                Some(keys) = keys.next() => self.try_late(keys).boxed(),
                (gap, fetched) = self.gaps.next(rooms) => self.take_missing(gap, fetched).boxed(),
                answer = &mut request => return Ok(answer),
            };
            // Both must progress together: the request may hold a lock of the SDK that the other work waits for.
            match select(work, request).await {
                Either::Left((done, pending)) => {
                    done?;
                    request = pending;
                }
                Either::Right((answer, work)) => {
                    work.await?;
                    return Ok(answer);
                }
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), MatrixError> {
        self.announce().await?;
        self.try_late(None).await
    }
}

/// Returns the SDK's own sync position.
pub(super) async fn sdk_position(client: &Client) -> Option<String> {
    let store = client.state_store();
    let stored = store.get_kv_data(StateStoreDataKey::SyncToken).await;
    stored.ok()?.and_then(StateStoreDataValue::into_sync_token)
}

async fn keys(client: &Client) -> RoomKeyUpdates {
    let keys = client.encryption().room_keys_received_stream().await;
    Box::pin(stream::iter(keys).flatten().map(Result::ok))
}

/// Returns the sync's filter: timelines up to a limit, state of rooms and senders, nothing else.
pub(super) fn settings(wait: Duration, timeline_limit: u32) -> SyncSettings {
    let mut room = RoomFilter::default();
    room.timeline.limit = Some(timeline_limit.into());
    room.timeline.lazy_load_options = lazy_members();
    room.state.lazy_load_options = lazy_members();
    // Typing notices and read receipts are not needed.
    room.ephemeral.not_types = vec!["*".to_owned()];
    room.account_data.not_types = vec!["*".to_owned()];
    let mut filter = FilterDefinition::default();
    filter.room = room;
    filter.presence = Filter::ignore_all();
    SyncSettings::new()
        .timeout(wait)
        .filter(sync_events::v3::Filter::FilterDefinition(filter))
}

#[cfg(test)]
mod tests;
