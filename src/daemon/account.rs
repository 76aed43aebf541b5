//! Keeps the Matrix side going: opens the session, runs the adapter, and when the session is missing or dead waits for
//! a new one, with the store closed, so that `relay auth login` can work beside the daemon.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, Homeserver, Secret};
use crate::home::Lock;
use crate::matrix::auth::{self, AuthError, Identity, LoginOptions, TokenOptions};
use crate::matrix::{self, Batch, DeviceTrust, Files, Matrix, MatrixError, Unlock};
use crate::store::{Database, gaps, known_rooms, late, mapped_rooms, meta, outbox_room};

use super::backoff::Backoff;
use super::ledger::Ledger;
use super::live::{Live, Session, with_causes};
use super::status::Trust;

/// How often the session's file is looked at while there is no usable session.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What came of opening the session.
pub(super) enum Opened {
    /// It is open; when its file was changed last.
    Session(Box<Matrix>, Option<SystemTime>),
    /// It is not.
    Not(Wait),
}

/// What to wait for before the session is opened again.
pub(super) enum Wait {
    /// A little.
    Shortly,
    /// The first login.
    Login,
    /// Another session than the one whose file was changed then.
    NewSession(Option<SystemTime>),
}

/// What to wait for after a failure of the session whose file was changed then.
fn after(error: &MatrixError, file: Option<SystemTime>) -> Wait {
    match error {
        MatrixError::NoSession | MatrixError::SessionDead => Wait::NewSession(file),
        MatrixError::Files(_) | MatrixError::Store { .. } | MatrixError::Closed => Wait::Shortly,
    }
}

/// For a first login without a terminal.
pub(super) struct FirstLogin {
    homeserver: Option<String>,
    user: Option<String>,
    proof: Proof,
    allow_http: bool,
}

/// What lets us in.
enum Proof {
    /// The account's password: a new device.
    Password(Secret<String>),
    /// The access token of a device that somebody has made for us.
    AccessToken(Secret<String>),
}

impl FirstLogin {
    /// Takes what the configuration holds; `None` if that is not enough. A password goes before a token: it makes a
    /// device of our own, and can sign it.
    pub(super) fn of(config: &config::Matrix) -> Option<Self> {
        let password = config
            .password
            .clone()
            .filter(|_| config.bot_user_id.is_some());
        let token = config.access_token.clone().map(Proof::AccessToken);
        Some(Self {
            homeserver: config.homeserver.as_ref().map(|server| match server {
                Homeserver::Url(url) => url.to_string(),
                Homeserver::Name(name) => name.to_string(),
            }),
            user: config
                .bot_user_id
                .as_ref()
                .map(|user| user.as_str().to_owned()),
            proof: password.map(Proof::Password).or(token)?,
            allow_http: config.allow_http,
        })
    }
}

/// What the Matrix side needs.
pub(super) struct Account {
    /// The session's files.
    pub(super) files: Files,
    /// What the adapter is told by the configuration.
    pub(super) options: matrix::Options,
    /// For a first login without a terminal.
    pub(super) login: Option<FirstLogin>,
    /// Says in `relay.lock` whether we hold the SDK's store.
    pub(super) lock: Lock,
    /// Where the sync position is kept.
    pub(super) database: Database,
    /// Told which account the rooms are seen with.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Where what happens in the rooms goes.
    pub(super) batches: mpsc::Sender<Batch>,
    /// Who sends to rooms, while a session is open.
    pub(super) sender: watch::Sender<Option<matrix::Sender>>,
    /// Told how the session stands.
    pub(super) live: Arc<Live>,
}

impl Account {
    /// Opens the session for the first time, so that `relay is ready` is said with it; why it cannot be used is logged.
    pub(super) async fn open(&self) -> Opened {
        // Before the store is opened: a login that comes in between sees it, and one under way is left in peace.
        if let Err(error) = self.lock.hold_store() {
            warn!(error = &error as &dyn Error, "Matrix cannot be used yet");
            self.no_session(&error);
            return Opened::Not(Wait::Shortly);
        }
        let file = self.session_changed_at();
        if file.is_none() && self.login.is_some() {
            return Opened::Not(Wait::Login);
        }
        let error = match Matrix::restore(self.files.clone(), self.options.clone()).await {
            Ok(matrix) => return Opened::Session(Box::new(matrix), file),
            Err(error) => error,
        };
        error!(
            error = &error as &dyn Error,
            "Matrix cannot be used yet; what the mesh says is kept"
        );
        self.no_session(&error);
        self.release();
        Opened::Not(after(&error, file))
    }

    /// Tries to log in until it works, or somebody logs in by hand.
    async fn keep_logging_in(&self, backoff: &mut Backoff) {
        let mut told = String::new();
        loop {
            let error = match self.log_in().await {
                Ok(()) => return,
                Err(error) => error,
            };
            if error.to_string() != told {
                told = error.to_string();
                self.no_session(&error);
                error!(
                    error = &error as &dyn Error,
                    "cannot log in to Matrix with what the configuration holds; what the mesh says is kept"
                );
            }
            match error {
                // Trying again is useless, and could lock the account: the configuration is not read again.
                AuthError::DeviceInUse { .. } => {
                    error!(
                        "run `relay auth login`, or set matrix.password instead of matrix.access_token and start the relay again: either makes a device of the relay's own"
                    );
                    self.release();
                    return self.new_session(None).await;
                }
                AuthError::WrongPassword { .. }
                | AuthError::DeadToken { .. }
                | AuthError::OtherAccount { .. }
                | AuthError::NoDevice { .. }
                | AuthError::Deactivated { .. }
                | AuthError::NoPasswordLogin { .. }
                | AuthError::BadUsername { .. }
                | AuthError::NoHomeserver => {
                    error!(
                        "correct the configuration and start the relay again, or run `relay auth login`"
                    );
                    self.release();
                    return self.new_session(None).await;
                }
                AuthError::AlreadyLoggedIn { .. } => return,
                AuthError::NotLoggedIn
                | AuthError::BadAnswer { .. }
                | AuthError::Server(_)
                | AuthError::Files(_)
                | AuthError::Store(_) => tokio::time::sleep(backoff.grow()).await,
            }
        }
    }

    /// Logs in as `relay auth login` does, with what the configuration holds for a first start without a terminal.
    async fn log_in(&self) -> Result<(), AuthError> {
        let Some(login) = &self.login else {
            return Ok(());
        };
        let made = match &login.proof {
            Proof::Password(password) => {
                let options = LoginOptions {
                    homeserver: login.homeserver.clone(),
                    username: login.user.clone().unwrap_or_default(),
                    password: password.clone(),
                    device_name: "relay".to_owned(),
                    display_name: None,
                    allow_http: login.allow_http,
                    force: false,
                    unlock: Unlock::Nothing,
                    recovery_key_file: Some(self.files.recovery_key()),
                };
                Box::pin(auth::login(&self.files, &options)).await?
            }
            Proof::AccessToken(token) => {
                let options = TokenOptions {
                    homeserver: login.homeserver.clone(),
                    user: login.user.clone(),
                    access_token: token.clone(),
                    allow_http: login.allow_http,
                    recovery_key_file: self.files.recovery_key(),
                };
                Box::pin(auth::adopt(&self.files, &options)).await?
            }
        };
        info!(account = %made.session.user_id, device = %made.session.device_id, "logged in to Matrix with what the configuration holds");
        for problem in &made.standing.problems {
            warn!("{problem}");
        }
        match made.standing.identity {
            Identity::Foreign => warn!(
                "the device is not verified, and other people's clients warn of its messages: an earlier login has made the account's identity; run `relay auth login --force --recovery-key-file FILE`, or with --reset-cross-signing"
            ),
            Identity::Missing => warn!(
                "the device is not verified, and other people's clients warn of its messages: the homeserver did not take its signature; run `relay auth login --force`, with the password"
            ),
            Identity::Created | Identity::Recovered | Identity::Reset => {}
        }
        Ok(())
    }

    /// Runs until `stop`, beginning with what [`Account::open`] returned.
    pub(super) async fn run(self, first: Opened, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut opened = first;
        loop {
            let wait = match opened {
                Opened::Session(matrix, file) => match self.serve(*matrix, &stop).await {
                    Ok(()) => return,
                    Err(error) => {
                        error!(
                            error = &error as &dyn Error,
                            "the Matrix side ended; what the mesh says is kept"
                        );
                        self.no_session(&error);
                        self.release();
                        after(&error, file)
                    }
                },
                Opened::Not(wait) => wait,
            };
            let over = async {
                match wait {
                    Wait::Shortly => tokio::time::sleep(backoff.grow()).await,
                    Wait::Login => self.keep_logging_in(&mut backoff).await,
                    Wait::NewSession(seen) => {
                        self.new_session(seen).await;
                        backoff.reset();
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = over => {}
            }
            opened = self.open().await;
        }
    }

    async fn serve(&self, matrix: Matrix, stop: &CancellationToken) -> Result<(), MatrixError> {
        let user = matrix.own_user().to_string();
        let (trust, verification) = match matrix.device_trust().await {
            DeviceTrust::Verified => (Trust::Verified, "verified by its owner"),
            DeviceTrust::Unverified => (Trust::Unverified, "not verified: run `relay auth status`"),
            DeviceTrust::Unknown => (Trust::Unknown, "not known yet"),
        };
        self.live.session(Session::Open {
            account: user.clone(),
            device: matrix.own_device().to_string(),
            trust,
        });
        if let Some(path) = matrix.session().recovery_key_left() {
            warn!(path = %path.display(), "the recovery key of the bot's account lies here: move it to a safe place");
        }
        info!(account = user, device = %matrix.own_device(), verification, "Matrix session open");
        let from = loop {
            let (account, ledger) = (matrix.own_user().clone(), Arc::clone(&self.ledger));
            let start = self.database.run(move |store| {
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
                    .use_account(account);
                Ok(start)
            });
            match start.await {
                Ok(start) => break start,
                Err(error) => {
                    error!(%error, "cannot read the sync position, trying again");
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
            }
        };
        self.sender.send_replace(Some(matrix.sender()));
        let result = matrix.run(from, self.batches.clone(), stop.clone()).await;
        if !stop.is_cancelled() {
            self.sender.send_replace(None);
        }
        result
    }

    fn no_session(&self, error: &dyn Error) {
        self.live.session(Session::None(with_causes(error)));
    }

    fn release(&self) {
        if let Err(error) = self.lock.release_store() {
            warn!(error = &error as &dyn Error, "cannot write relay.lock");
        }
    }

    /// Waits until the session's file is another than the one seen.
    async fn new_session(&self, seen: Option<SystemTime>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.session_changed_at();
            if now.is_some() && now != seen {
                return;
            }
        }
    }

    fn session_changed_at(&self) -> Option<SystemTime> {
        std::fs::metadata(self.files.session())
            .and_then(|it| it.modified())
            .ok()
    }
}
