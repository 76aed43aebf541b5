//! Opens the Matrix session, runs the adapter, and retries. While the session is missing or dead the SDK's store is closed, so
//! that `relay auth login` works beside the daemon.

mod serving;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::runtime_state::NoSession;
use super::verdict::{self, Again, Wait};
use super::{event_loop::Reload, first_login::FirstLogin, pipeline::Pipeline};
use crate::home::{Home, Lock};
use relay_claims::{Claim, Claimant, Holder, Thing};
use relay_config::{Config, MappedRoom, Secret};
use relay_matrix::auth::{AuthError, Earlier};
use relay_matrix::{Files, Matrix, MatrixError, Move, Shown};
use relay_model::{Backoff, Chain, Clock, Explained, OwnedRoomId, OwnedRoomOrAliasId};

/// For how long a homeserver must not know the token before a new device takes the place of the one that it seems to have
/// deleted: what is wrong with the homeserver for a moment must not cost the device.
const NEW_DEVICE_AFTER: Duration = Duration::from_secs(30);
/// How often the session file is polled while there is no usable session.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Back-off between two tries to open the session.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(5));
/// Time with an open session after which the back-off is reset.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);

pub(super) type OpenResult = Result<Box<Matrix>, Wait>;

/// Another relay on this host uses the same device: one home is a copy of the other.
#[derive(Debug, thiserror::Error)]
#[error("the Matrix device {device} of this home is in use by {holder}")]
pub(crate) struct DeviceHeld {
    device: String,
    pub(crate) holder: Holder,
}

impl DeviceHeld {
    /// Returns who uses the device of the login in these files, if a relay on this host does, be it of this home or of another.
    pub(crate) fn look(files: &Files) -> Option<Self> {
        let (device, thing) = device_of(files)?;
        let holder = Claim::holder_of(&thing)?;
        Some(Self { device, holder })
    }
}

/// Returns the device of the login in these files, and what is claimed for it.
fn device_of(files: &Files) -> Option<(String, Thing)> {
    let session = files.load_session().ok().flatten()?;
    let key = std::fs::read(files.key()).ok()?;
    let (user, device) = (session.user_id.as_str(), session.device_id.as_str());
    Some((device.to_owned(), Thing::device(user, device, &key)))
}

impl Explained for DeviceHeld {
    fn hint(&self) -> Option<String> {
        let hint = "one home is a copy of the other, and two relays with one device destroy its encryption: \
                    give this home a device of its own with `relay auth login --force`, also beside this relay; \
                    it is not taken over when the other one ends";
        Some(hint.to_owned())
    }
}

/// State kept between two tries to open the session.
pub(super) struct Tries {
    backoff: Backoff,
    /// The last error logged: it is logged once.
    logged: String,
    /// The same of a login as the same device.
    logged_of_login: String,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self {
            backoff: PAUSES,
            logged: String::new(),
            logged_of_login: String::new(),
        }
    }

    fn pause(&mut self) -> Duration {
        self.backoff.grow(rand::random())
    }

    fn is_news(&mut self, what: String) -> bool {
        let is_news = self.logged != what;
        self.logged = what;
        is_news
    }

    fn is_news_of_login(&mut self, what: String) -> bool {
        let is_news = self.logged_of_login != what;
        self.logged_of_login = what;
        is_news
    }
}

/// Why the adapter runs no longer.
enum Served {
    Stopped,
    Failed(MatrixError),
    /// It has to read otherwise, with this configuration.
    Until(Reload),
}

/// The Matrix side over all sessions: opens one, runs it, and waits for the next.
pub(super) struct Account {
    pub(super) files: Files,
    /// What the homeserver last said, for `status`.
    pub(super) pulse: relay_matrix::Pulse,
    pub(super) clock: Clock,
    /// Credentials from the configuration; `None`: a person logs in.
    pub(super) login: Option<FirstLogin>,
    /// Records in `relay.lock` whether the SDK's store is open.
    pub(super) lock: Arc<Lock>,
    /// As whom the device is claimed.
    pub(super) claimant: Claimant,
    /// The claim on the device, while the store is held.
    pub(super) device: Option<Claim>,
    pub(super) pipeline: Pipeline<relay_matrix::Sender>,
    pub(super) tries: Tries,
    /// Where the paths of the configuration begin.
    pub(super) home: Home,
}

impl Account {
    /// Returns the configuration that decides now.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.pipeline.config.borrow())
    }

    /// Returns what the adapter is told by a configuration.
    fn options(&self, config: &Config) -> relay_matrix::Options {
        let mut rooms = Vec::new();
        let mut via: HashMap<_, Vec<_>> = HashMap::new();
        for mapped in &config.matrix_rooms {
            if !rooms.contains(&mapped.id) {
                rooms.push(mapped.id.clone());
            }
            let servers = via.entry(mapped.id.clone()).or_default();
            servers.extend_from_slice(&mapped.via);
        }
        let ids: Vec<OwnedRoomId> = (rooms.iter())
            .filter_map(|name| name.as_str().try_into().ok())
            .collect();
        let permits = |(name, id): &(OwnedRoomOrAliasId, OwnedRoomId)| {
            MappedRoom::permits(&config.matrix_rooms, name, id)
        };
        let permitted = (rooms.iter().cloned())
            .flat_map(|name| ids.iter().map(move |id| (name.clone(), id.clone())))
            .filter(permits)
            .collect();
        relay_matrix::Options {
            rooms,
            permitted,
            via,
            invites: config.matrix.invites.clone(),
            verify_with: config.matrix.verify_with.clone(),
            e2ee: config.matrix.e2ee,
            shown: Shown::wanted(config, |it| self.home.resolve(it)),
            pulse: self.pulse.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Returns whether the adapter reads the same with another configuration.
    fn reads_the_same(&self, other: &Config) -> bool {
        let (now, new) = (self.options(&self.config()), self.options(other));
        now.rooms == new.rooms
            && now.permitted == new.permitted
            && now.via == new.via
            && now.invites == new.invites
            && now.verify_with == new.verify_with
            && now.e2ee == new.e2ee
            && now.shown == new.shown
    }

    /// Opens the session; logs why it cannot be used.
    pub(super) async fn open(&mut self) -> OpenResult {
        // Locked before the store is opened, so that a login at the same time is detected.
        if let Err(error) = self.lock.hold_store() {
            let hint = error.hint();
            self.no_session(&error, hint.clone());
            if self.tries.is_news(Chain(&error).to_string()) {
                let error = &error as &dyn Error;
                warn!(error, hint, "Matrix cannot be used yet");
            }
            return Err(Wait::Store);
        }
        if self.login.is_some() && !self.files.session().exists() {
            return Err(Wait::Login);
        }
        if let Err(error) = self.claim_device() {
            let (hint, token) = (error.hint(), self.token());
            self.no_session(&error, hint.clone());
            let error = &error as &dyn Error;
            error!(
                error,
                hint, "Matrix cannot be used now; what the mesh says is kept"
            );
            self.release();
            return Err(Wait::OtherLogin(token));
        }
        if let Err(error) = self.follow_configuration().await {
            return Err(self.end(&error));
        }
        let options = self.options(&self.config());
        let restored = Matrix::restore(self.files.clone(), options).await;
        restored.map(Box::new).map_err(|error| self.end(&error))
    }

    /// Has the login go on at the homeserver that the configuration names anew.
    async fn follow_configuration(&self) -> Result<(), MatrixError> {
        let matrix = &self.config().matrix;
        let configured = matrix.homeserver.as_deref();
        match relay_matrix::follow_configuration(&self.files, configured, matrix.allow_http).await?
        {
            Move::None => {}
            Move::Done(address) => {
                info!(%address, "the login goes on at the homeserver's new address");
            }
            Move::Refused(address, error) => error!(
                %address,
                error,
                hint = "correct `matrix.homeserver`, or log in there with `relay auth login --force`",
                "the homeserver that the configuration names does not know the login: it stays at its old address"
            ),
        }
        Ok(())
    }

    /// Claims the device of the session that is there. Two programs with one device destroy each other's encryption.
    fn claim_device(&mut self) -> Result<(), DeviceHeld> {
        let Some((device, thing)) = device_of(&self.files) else {
            return Ok(());
        };
        // That of an earlier session, which another process may have replaced.
        self.device = None;
        let claim = Claim::take(&thing, &self.claimant);
        self.device = Some(claim.map_err(|holder| DeviceHeld { device, holder })?);
        Ok(())
    }

    /// Logs once why there is no session, and releases the store. Returns what to wait for.
    fn end(&mut self, error: &MatrixError) -> Wait {
        self.say(error);
        // Read while the store is locked: nobody else can have written another token.
        let wait = verdict::wait_after(error, self.token());
        self.release();
        wait
    }

    fn say(&mut self, error: &MatrixError) {
        let (is_news, hint) = (self.tries.is_news(verdict::gist(error)), error.hint());
        self.no_session(error, hint.clone());
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

    /// Runs until `stop`, starting with the result of [`Account::open`]. Configurations to go on with are passed on once
    /// nothing is read that another one was to read.
    pub(super) async fn run(
        mut self,
        mut opened: OpenResult,
        mut reloads: mpsc::Receiver<Reload>,
        stop: CancellationToken,
    ) {
        loop {
            let wait = match opened {
                Ok(matrix) => {
                    let since = Instant::now();
                    let error = match self.serve(*matrix, &mut reloads, &stop).await {
                        Served::Stopped => return,
                        Served::Until(reload) => {
                            if stop
                                .run_until_cancelled(self.pass_on(reload))
                                .await
                                .is_none()
                            {
                                return;
                            }
                            opened = self.open().await;
                            continue;
                        }
                        Served::Failed(error) => error,
                    };
                    let answered = self.pulse.heard().answered;
                    let has_worked = answered.is_some_and(|at| at >= since);
                    if has_worked && since.elapsed() >= HEALTHY_AFTER {
                        self.tries = Tries::new();
                    }
                    self.end(&error)
                }
                Err(wait) => wait,
            };
            if stop
                .run_until_cancelled(self.wait_and_pass_on(wait, &mut reloads))
                .await
                .is_none()
            {
                return;
            }
            opened = self.open().await;
        }
    }

    /// Waits, and passes on what comes meanwhile: nothing is read.
    async fn wait_and_pass_on(&mut self, what: Wait, reloads: &mut mpsc::Receiver<Reload>) {
        let passing = self.pipeline.reloads.clone();
        let mut waiting = Box::pin(self.wait(what));
        loop {
            tokio::select! {
                () = &mut waiting => return,
                Some(reload) = reloads.recv() => drop(passing.send(reload).await),
            }
        }
    }

    /// Passes a configuration on, and returns when the event loop is done with it.
    async fn pass_on(&self, Reload { config, done }: Reload) {
        let (stored, is_stored) = oneshot::channel();
        let reload = Reload {
            config,
            done: stored,
        };
        drop(self.pipeline.reloads.send(reload).await);
        // Without an answer the relay ends.
        if let Ok(result) = is_stored.await {
            drop(done.send(result));
        }
    }

    async fn wait(&mut self, what: Wait) {
        match what {
            Wait::Shortly => {
                let (token, pause) = (self.token(), self.tries.pause());
                self.other_login(token.as_ref(), Some(pause)).await;
            }
            Wait::Store => sleep(LOOK_EVERY).await,
            Wait::Login => self.log_in_or_wait().await,
            Wait::OtherLogin(token) => {
                self.other_login(token.as_ref(), None).await;
            }
            Wait::Accepted(token) => self.accepted_again(token.as_ref(), false).await,
            Wait::SameDevice(token) => self.accepted_again(token.as_ref(), true).await,
        }
    }

    /// Logs in as the same device with what the configuration holds. Otherwise returns when to try again.
    async fn log_in_again(&mut self) -> Result<(), Again> {
        let log_in = async |files: &Files, login: &FirstLogin| login.log_in_again(files).await;
        self.log_in_to(log_in, verdict::same_login_after).await
    }

    /// Logs in as a new device, as which the relay goes on, in the place of one that the homeserver has ended. Otherwise
    /// returns when to try again.
    async fn log_in_anew(&mut self) -> Result<(), Again> {
        let log_in =
            async |files: &Files, login: &FirstLogin| login.log_in(files, Earlier::Dead).await;
        self.log_in_to(log_in, |error| verdict::login_after(error).0)
            .await
    }

    /// Logs in to the account of the session, if what the configuration holds is for this account.
    async fn log_in_to(
        &mut self,
        log_in: impl AsyncFnOnce(&Files, &FirstLogin) -> Result<(), AuthError>,
        try_again: fn(&AuthError) -> Again,
    ) -> Result<(), Again> {
        let session = self.files.load_session().ok().flatten();
        let (Some(first @ FirstLogin::Own(config)), Some(session)) = (&self.login, session) else {
            return Err(Again::Never);
        };
        let user = config.bot_user_id.as_deref().unwrap_or_default();
        // A name alone is that of another account at another homeserver, which must not be given the password.
        let server = config.homeserver.as_deref().unwrap_or_default();
        let servers = [
            "",
            session.homeserver.as_str(),
            session.user_id.server_name().as_str(),
        ];
        let is_there = servers.contains(&server)
            || session.homeserver.as_str().trim_end_matches('/') == server;
        let is_name = user == session.user_id.localpart() && is_there;
        if user != session.user_id.as_str() && !is_name {
            return Err(Again::Never);
        }
        if self.lock.hold_store().is_err() {
            return Err(Again::Soon);
        }
        let done = log_in(&self.files, first).await;
        self.release();
        let Err(error) = done else {
            self.tries = Tries::new();
            return Ok(());
        };
        if self.tries.is_news_of_login(Chain(&error).to_string()) {
            let (error, hint) = (&error as &dyn Error, error.hint());
            warn!(
                error,
                hint, "cannot log in again with what the configuration holds"
            );
        }
        Err(try_again(&error))
    }

    /// Waits until the homeserver accepts this token again, or the session file holds another. Where it `keeps_device`, the
    /// relay tries to get another token; where it goes on not to know the token, another device.
    async fn accepted_again(&mut self, token: Option<&Secret<String>>, keeps_device: bool) {
        let mut wish = Duration::ZERO;
        let began = Instant::now();
        let mut same_at = keeps_device.then_some(began);
        let mut new_at = Some(began);
        // Since when it has said nothing else than that it does not know the token.
        let mut ended_since: Option<Instant> = None;
        loop {
            for (at, is_new) in [(&mut same_at, false), (&mut new_at, true)] {
                let is_ended = ended_since.is_some_and(|since| since.elapsed() >= NEW_DEVICE_AFTER);
                if is_new && !is_ended || at.is_none_or(|at| at > Instant::now()) {
                    continue;
                }
                let done = if is_new {
                    self.log_in_anew().await
                } else {
                    self.log_in_again().await
                };
                match done {
                    Ok(()) => return,
                    Err(Again::Never) => *at = None,
                    Err(Again::After(pause)) => *at = Some(Instant::now() + pause),
                    Err(Again::Soon) => {}
                }
            }
            let pause = self.tries.pause().max(wish);
            if self.other_login(token, Some(pause)).await {
                return;
            }
            let Err(error) = relay_matrix::ask(&self.files).await else {
                info!("the homeserver accepts the login again");
                self.tries.logged.clear();
                return;
            };
            wish = verdict::wish(&error);
            ended_since = if verdict::is_ended(&error) {
                ended_since.or_else(|| Some(Instant::now()))
            } else {
                None
            };
            if verdict::is_about_login(&error) {
                self.say(&error);
            } else {
                debug!(
                    error = &error as &dyn Error,
                    "asked whether the homeserver accepts the login"
                );
            }
        }
    }

    /// Logs in with the configured credentials, or waits for a login by hand. Returns after a login, or when it is time to
    /// try again.
    async fn log_in_or_wait(&mut self) {
        let mut pause = None;
        if let Some(login) = &self.login {
            let error = match login.log_in(&self.files, Earlier::Stays).await {
                Ok(()) | Err(AuthError::AlreadyLoggedIn(_)) => {
                    self.tries = Tries::new();
                    return;
                }
                Err(error) => error,
            };
            let (again, cure) = verdict::login_after(&error);
            if self.tries.is_news(Chain(&error).to_string()) {
                let hint = cure.map(str::to_owned).or_else(|| error.hint());
                self.no_session(&error, hint.clone());
                error!(
                    error = &error as &dyn Error,
                    hint,
                    "cannot log in to Matrix with what the configuration holds; what the mesh says is kept"
                );
            }
            pause = match again {
                Again::Never => None,
                Again::After(pause) => Some(pause),
                Again::Soon => Some(self.tries.pause()),
            };
        }
        self.release();
        self.other_login(None, pause).await;
    }

    /// Waits, up to `limit`, for a session with another access token. Returns whether there is one; this resets the tries.
    async fn other_login(
        &mut self,
        seen: Option<&Secret<String>>,
        limit: Option<Duration>,
    ) -> bool {
        tokio::select! {
            () = self.other_token(seen) => {}
            () = sleep(limit.unwrap_or_default()), if limit.is_some() => return false,
        }
        self.tries = Tries::new();
        true
    }

    fn no_session(&self, error: &(dyn Error + 'static), hint: Option<String>) {
        let cause = Chain(error).to_string();
        self.pipeline
            .runtime_state
            .session(Err(NoSession { cause, hint }));
    }

    fn release(&mut self) {
        self.device = None;
        if let Err(error) = self.lock.release_store() {
            let (error, hint) = (&error as &dyn Error, error.hint());
            warn!(error, hint, "cannot write relay.lock");
        }
    }

    /// Waits until the session file holds another access token than `seen`. The file's time does not tell: the file may have
    /// been touched, or restored.
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
