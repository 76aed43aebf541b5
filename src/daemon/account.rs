//! Keeps the Matrix side going: opens the session, runs the adapter, and when the session is missing or dead waits for
//! a new one, with the store closed, so that `relay auth login` can work beside the daemon.

use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Secret;
use crate::home::Lock;
use crate::matrix::auth::{self, AuthError};
use crate::matrix::{self, DeviceTrust, Files, Matrix, MatrixError, ServerError};
use crate::model::{Backoff, Chain, Explained, told};
use crate::store::{gaps, known_rooms, late, mapped_rooms, meta, outbox_room};

use super::first_login::{self, FirstLogin};
use super::live::Session;
use super::parts::Parts;

/// How often the session's file is looked at while there is no usable session.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between two tries to open the session again.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(5));
/// After so long with an open session, pauses begin afresh.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);

/// The open session, or what to wait for first.
pub(super) type Opened = Result<Box<Matrix>, Wait>;

/// What to wait for before the session is opened again.
pub(super) enum Wait {
    /// A little, or until there is another login.
    Shortly,
    /// That a command lets go of the store.
    Store,
    /// A login: by hand, or with what the configuration holds.
    Login,
    /// That the homeserver accepts this access token again, or that there is another.
    Accepted(Option<Secret<String>>),
}

/// What is remembered from one try to the next.
pub(super) struct Tries {
    backoff: Backoff,
    /// What was said last, so that it is said once.
    said: String,
}

impl Tries {
    fn new() -> Self {
        Self {
            backoff: PAUSES,
            said: String::new(),
        }
    }

    /// Returns whether that is news.
    fn is_news(&mut self, what: String) -> bool {
        let is_news = self.said != what;
        self.said = what;
        is_news
    }
}

pub(super) struct Account {
    pub(super) files: Files,
    pub(super) options: matrix::Options,
    /// For a first login without a terminal.
    pub(super) login: Option<FirstLogin>,
    /// Says in `relay.lock` whether we hold the SDK's store.
    pub(super) lock: Lock,
    pub(super) parts: Parts<matrix::Sender>,
}

impl Account {
    /// Opens the session, so that `relay is ready` is said with it; why it cannot be used is logged.
    pub(super) async fn open(&self) -> (Opened, Tries) {
        let mut tries = Tries::new();
        let opened = self.reopen(&mut tries).await;
        (opened, tries)
    }

    async fn reopen(&self, tries: &mut Tries) -> Opened {
        // Before the store is opened: a login that comes in between sees it, and one under way is left in peace.
        if let Err(error) = self.lock.hold_store() {
            self.no_session(&error);
            if tries.is_news(Chain(&error).to_string()) {
                warn!(error = &error as &dyn Error, "Matrix cannot be used yet");
            }
            return Err(Wait::Store);
        }
        if self.login.is_some() && !self.files.session().exists() {
            return Err(Wait::Login);
        }
        let restored = Matrix::restore(self.files.clone(), self.options.clone()).await;
        restored
            .map(Box::new)
            .map_err(|error| self.end(&error, tries))
    }

    /// Says why there is no session, once, and lets go of the store. Returns what to wait for.
    fn end(&self, error: &MatrixError, tries: &mut Tries) -> Wait {
        self.say(error, tries);
        let wait = match error {
            MatrixError::NoSession => Wait::Login,
            // Nobody else can have written another token as long as we hold the store.
            MatrixError::SessionDead(_) => Wait::Accepted(self.token()),
            MatrixError::Files(_)
            | MatrixError::Store(..)
            | MatrixError::Server(_)
            | MatrixError::Closed => Wait::Shortly,
        };
        self.release();
        wait
    }

    fn say(&self, error: &MatrixError, tries: &mut Tries) {
        self.no_session(error);
        let what = match error {
            // A server may say it in other words each time.
            MatrixError::SessionDead(refused) => refused.errcode().to_owned(),
            other => Chain(other).to_string(),
        };
        let (is_news, hint) = (tries.is_news(what), error.hint());
        let error = error as &dyn Error;
        if is_news {
            error!(
                error,
                hint, "Matrix cannot be used now; what the mesh says is kept"
            );
        } else {
            debug!(error, "Matrix still cannot be used");
        }
    }

    /// Runs until `stop`, beginning with what [`Account::open`] returned.
    pub(super) async fn run(
        self,
        (mut opened, mut tries): (Opened, Tries),
        stop: CancellationToken,
    ) {
        loop {
            let wait = match opened {
                Ok(matrix) => {
                    let since = Instant::now();
                    match self.serve(*matrix, &stop).await {
                        Ok(()) => return,
                        Err(error) => {
                            if self.was_healthy(since) {
                                tries = Tries::new();
                            }
                            self.end(&error, &mut tries)
                        }
                    }
                }
                Err(wait) => wait,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wait(wait, &mut tries) => {}
            }
            opened = self.reopen(&mut tries).await;
        }
    }

    /// Returns whether a session that was opened then has worked for a while.
    fn was_healthy(&self, since: Instant) -> bool {
        let answered = self.options.pulse.heard().answered;
        since.elapsed() >= HEALTHY_AFTER && answered.is_some_and(|at| at >= since)
    }

    async fn wait(&self, what: Wait, tries: &mut Tries) {
        match what {
            Wait::Shortly => {
                let token = self.token();
                tokio::select! {
                    () = self.other_token(token.as_ref()) => *tries = Tries::new(),
                    () = sleep(tries.backoff.grow(rand::random())) => {}
                }
            }
            Wait::Store => sleep(LOOK_EVERY).await,
            Wait::Login => self.log_in_or_wait(tries).await,
            Wait::Accepted(token) => self.accepted_again(token.as_ref(), tries).await,
        }
    }

    /// Waits until the homeserver accepts that token again, or there is another.
    async fn accepted_again(&self, token: Option<&Secret<String>>, tries: &mut Tries) {
        let mut wish = Duration::ZERO;
        loop {
            tokio::select! {
                () = self.other_token(token) => {
                    *tries = Tries::new();
                    return;
                }
                () = sleep(tries.backoff.grow(rand::random()).max(wish)) => {}
            }
            let error = match matrix::ask(&self.files).await {
                Ok(()) => {
                    info!("the homeserver accepts the login again");
                    tries.said.clear();
                    return;
                }
                Err(error) => error,
            };
            wish = match &error {
                MatrixError::Server(ServerError::RateLimited(after)) => *after,
                _ => Duration::ZERO,
            };
            if matches!(error, MatrixError::SessionDead(_) | MatrixError::NoSession) {
                self.say(&error, tries);
            } else {
                // What was known of the login is still what matters.
                debug!(
                    error = &error as &dyn Error,
                    "asked whether the homeserver accepts the login"
                );
            }
        }
    }

    /// Logs in with what the configuration holds, or waits until somebody has logged in by hand. Returns after a failure
    /// when it is time to try again.
    async fn log_in_or_wait(&self, tries: &mut Tries) {
        let pause = match &self.login {
            None => None,
            Some(login) => match login.log_in(&self.files).await {
                Ok(()) | Err(AuthError::AlreadyLoggedIn(_)) => {
                    *tries = Tries::new();
                    return;
                }
                Err(error) => {
                    if tries.is_news(Chain(&error).to_string()) {
                        self.no_session(&error);
                        first_login::say_failure(&error);
                    }
                    first_login::pause_after(&error, &mut tries.backoff)
                }
            },
        };
        self.release();
        tokio::select! {
            () = self.other_token(None) => *tries = Tries::new(),
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }

    async fn serve(&self, matrix: Matrix, stop: &CancellationToken) -> Result<(), MatrixError> {
        let user = matrix.session().user_id.to_string();
        let device = matrix.session().device_id.to_string();
        let mut trust = matrix.trust();
        let verification = match self.show_session(&user, &device, &mut trust).await {
            DeviceTrust::Verified => "verified by its owner",
            DeviceTrust::Unverified => "not verified: run `relay auth status`",
            DeviceTrust::Unknown => "not known yet",
        };
        if let Some(path) = matrix.session().recovery_key_left() {
            warn!(path = %path.display(), "the recovery key of the bot's account lies here: move it to a safe place");
        }
        info!(account = user, device, verification, "Matrix session open");
        let from = loop {
            let account = matrix.session().user_id.clone();
            let ledger = Arc::clone(&self.parts.ledger);
            let start = self.parts.database.run(move |store| {
                let start = store.transaction(|tx| {
                    // What was refused to the session before may be granted to this one.
                    outbox_room::unpark_all(tx)?;
                    Ok(matrix::Start {
                        position: meta::sync_position(tx, &account)?,
                        known: known_rooms::all(tx)?,
                        former: mapped_rooms::all(tx)?
                            .into_iter()
                            .map(|it| it.room)
                            .collect(),
                        gaps: gaps::all(tx, &account)?,
                        kept: late::waiting(tx)?,
                        clock: meta::server_clock(tx)?,
                    })
                })?;
                ledger
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .bridge
                    .remember_own_user(account);
                Ok(start)
            });
            match start.await {
                Ok(start) => break start,
                Err(error) => {
                    error!(
                        error = &error as &dyn Error,
                        hint = error.hint(),
                        "cannot read the sync position, trying again"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
            }
        };
        self.parts.sender.send_replace(Some(matrix.sender()));
        let running = matrix.run(from, self.parts.batches.clone(), stop.clone());
        let beside = async {
            tokio::join!(
                self.part_with_others(),
                self.keep_showing(&user, &device, trust)
            )
        };
        let result = tokio::select! {
            result = running => result,
            ((), ()) = beside => Ok(()),
        };
        if !stop.is_cancelled() {
            self.parts.sender.send_replace(None);
        }
        result
    }

    /// Signs out the devices of logins that came to no end. The store is ours meanwhile.
    async fn part_with_others(&self) {
        let parted = match auth::part_with_others(&self.files, None).await {
            Ok(parted) => parted,
            Err(error) => {
                warn!(
                    error = &error as &dyn Error,
                    hint = error.hint(),
                    "cannot look for devices of logins that came to no end"
                );
                return;
            }
        };
        for parted in parted {
            match parted.left {
                None => {
                    info!(device = %parted.device, "a device of an earlier login is signed out");
                }
                Some(left) => info!(
                    device = %parted.device, why = %left,
                    "a device of an earlier login is still there: remove it with another client"
                ),
            }
        }
    }

    /// Shows the session as it is now.
    async fn show_session(
        &self,
        user: &str,
        device: &str,
        trust: &mut matrix::Trust,
    ) -> DeviceTrust {
        let trust = trust.now().await;
        self.parts.live.session(Session::Open {
            account: user.to_owned(),
            device: device.to_owned(),
            trust,
        });
        trust
    }

    /// Shows it whenever it changes: after a login it takes a while until others have signed the device. Never ends.
    async fn keep_showing(&self, user: &str, device: &str, mut trust: matrix::Trust) {
        loop {
            trust.changed().await;
            self.show_session(user, device, &mut trust).await;
        }
    }

    fn no_session(&self, error: &(dyn Explained + 'static)) {
        self.parts.live.session(Session::None(told(error)));
    }

    fn release(&self) {
        if let Err(error) = self.lock.release_store() {
            warn!(error = &error as &dyn Error, "cannot write relay.lock");
        }
    }

    /// Waits until there is a session with another access token than that. Only that is another session: the file alone
    /// may have been touched, or restored.
    async fn other_token(&self, seen: Option<&Secret<String>>) {
        loop {
            let now = self.token();
            if now.is_some() && now.as_ref() != seen {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn token(&self) -> Option<Secret<String>> {
        let session = self.files.load_session().ok().flatten()?;
        Some(Secret::new(session.tokens.access_token))
    }
}
