//! Renews the tokens of a session that was made by OAuth 2.0: before they expire, and when the homeserver does not take
//! them any more. The new ones are on the disk before anything uses them (docs/decisions/0049).
//!
//! The SDK (0.18, `authentication/oauth`) would use them before they are saved, and its HTTP client reaches the homeserver
//! only. But before it renews, it asks the store whether another process has done so (`cross_process.rs`), and then takes
//! what the application has stored. That store is ours (`keys`): it answers the question by renewing.

use std::error::Error;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use matrix_sdk::{Client, SessionTokens};
use matrix_sdk_base::crypto::CryptoStoreError;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::MatrixError;
use super::ended::Ended;
use super::errors::{self, LoginRefusal};
use super::files::{Files, FilesError};
use super::oauth::{Grants, OAuthError, Web};
use super::session::StoredSession;
use relay_model::{Backoff, Chain, Timestamp};

/// Under which name the SDK asks its store for the newest tokens.
pub(super) const QUESTION: &str = "oidc_session_hash";

/// Tokens are renewed that long before they expire, or when a third of their time is left.
const AHEAD: Duration = Duration::from_mins(1);
/// How often the time is looked at: it goes on while the computer sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Why tokens were not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The login service cannot be asked, or refuses.
    #[error(transparent)]
    Service(#[from] OAuthError),
    /// The session cannot be read, or the new tokens cannot be saved: they are kept, and saved before they are used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is no session that could be renewed.
    #[error("the login cannot be renewed: it has no refresh token")]
    NoToken,
    /// The relay ends.
    #[error("the relay ends")]
    Ending,
}

/// Renews the tokens of one session, one renewal at a time.
#[derive(Debug)]
pub(super) struct Renewal {
    files: Files,
    /// Before the session is restored, the SDK only asks whether its tokens are the newest.
    is_open: AtomicBool,
    /// What the SDK has.
    known: Mutex<Option<Vec<u8>>>,
    /// Renewed, and not on the disk yet.
    unsaved: tokio::sync::Mutex<Option<StoredSession>>,
    /// Renewals go on when the request is dropped that needs them: their answer cannot be had again.
    working: Mutex<JoinSet<()>>,
}

impl Renewal {
    pub(super) fn of(files: Files) -> Arc<Self> {
        Arc::new(Self {
            files,
            is_open: AtomicBool::new(false),
            known: Mutex::default(),
            unsaved: tokio::sync::Mutex::default(),
            working: Mutex::default(),
        })
    }

    /// From now on a question of the SDK means that it needs other tokens than these.
    pub(super) fn open(&self, has: &SessionTokens) {
        *self.known() = Some(hash(has));
        self.is_open.store(true, Ordering::SeqCst);
    }

    fn known(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tokens that are saved, for the SDK.
    pub(super) fn saved(&self) -> Result<SessionTokens, Box<dyn Error + Send + Sync>> {
        let session = self.files.load_session()?.ok_or("there is no session")?;
        *self.known() = Some(hash(&session.tokens));
        Ok(session.tokens)
    }

    /// Answers the SDK's question for the newest tokens, by what it knows them by. Renews them, unless it does not have the
    /// newest. Cancel safe.
    pub(super) async fn newest(self: &Arc<Self>) -> Result<Option<Vec<u8>>, RenewalError> {
        if !self.is_open.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let (answer, answered) = oneshot::channel();
        let this = Arc::clone(self);
        let work = async move { drop(answer.send(this.renew().await)) };
        let working = || self.working.lock().unwrap_or_else(PoisonError::into_inner);
        while working().try_join_next().is_some() {}
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the set, in its owner"
        )]
        working().spawn(work);
        let renewed = answered.await.map_err(|_| RenewalError::Ending)??;
        Ok(Some(hash(&renewed)))
    }

    async fn renew(&self) -> Result<SessionTokens, RenewalError> {
        let mut unsaved = self.unsaved.lock().await;
        let session = if let Some(session) = unsaved.take() {
            session
        } else {
            let session = self.files.load_session()?.ok_or(RenewalError::NoToken)?;
            let is_news = self.known().as_ref() != Some(&hash(&session.tokens));
            if is_news && !is_over(&session, Timestamp::now()) {
                return Ok(session.tokens);
            }
            renewed(&session).await?
        };
        if let Err(error) = self.files.save_session(&session) {
            *unsaved = Some(session);
            return Err(error.into());
        }
        debug!("access token renewed");
        Ok(session.tokens)
    }

    /// Returns how long the tokens may still be used before they are renewed; `None`: it is not known when they expire.
    fn due_in(&self) -> Option<Duration> {
        let session = self.files.load_session().ok()??;
        let oauth = session.oauth?;
        let ahead = oauth
            .lifetime
            .map_or(AHEAD, |it| AHEAD.min(Duration::from_secs(it) / 3));
        let left = oauth.expires_at?.since(Timestamp::now());
        Some(left.saturating_sub(ahead))
    }
}

/// Renews the tokens in time, without end. Returns the words of a login service that does not renew them any more.
pub(super) async fn keep_fresh(client: &Client, renewal: Option<&Arc<Renewal>>) -> String {
    let Some(renewal) = renewal else {
        return pending().await;
    };
    let (mut pauses, mut told) = (PAUSES, false);
    loop {
        match renewal.due_in() {
            Some(Duration::ZERO) => {}
            Some(left) => {
                sleep(left.min(LOOK_EVERY)).await;
                continue;
            }
            None => {
                sleep(LOOK_EVERY).await;
                continue;
            }
        }
        let Err(error) = Box::pin(client.oauth().refresh_access_token()).await else {
            (pauses, told) = (PAUSES, false);
            continue;
        };
        if let Some(words) = errors::ended(&error) {
            return words;
        }
        let error = Chain(&error).to_string();
        if told {
            debug!(error, "the access token still cannot be renewed");
        } else {
            warn!(
                error,
                "the access token cannot be renewed, trying again until it can"
            );
        }
        told = true;
        sleep(pauses.grow(rand::random())).await;
    }
}

/// Returns what a failed renewal of the tokens means for the session.
pub(super) fn verdict(session: &StoredSession, error: RenewalError) -> MatrixError {
    match error {
        RenewalError::Service(OAuthError::Ended(words)) => {
            session.refused(LoginRefusal::ended(words))
        }
        RenewalError::Files(error) => error.into(),
        other @ (RenewalError::Service(_) | RenewalError::NoToken | RenewalError::Ending) => {
            MatrixError::Renewal(Box::new(other))
        }
    }
}

impl From<RenewalError> for CryptoStoreError {
    fn from(error: RenewalError) -> Self {
        match error {
            RenewalError::Service(OAuthError::Ended(words)) => Self::backend(Ended(words)),
            other => Self::backend(other),
        }
    }
}

/// Returns the session with new tokens, which are not saved yet. Nothing else may renew it at the same time.
pub(super) async fn renewed(session: &StoredSession) -> Result<StoredSession, RenewalError> {
    let (Some(oauth), Some(token)) = (&session.oauth, &session.tokens.refresh_token) else {
        return Err(RenewalError::NoToken);
    };
    let web = Web::new(&session.homeserver, session.allow_http)?;
    let grants = Grants::of(oauth, web);
    let granted = grants.renew(token).await?;
    Ok(StoredSession {
        oauth: Some(oauth.granted(&granted, Timestamp::now())),
        tokens: granted.tokens,
        ..session.clone()
    })
}

/// Renews the session in `files` if its access token has expired, and saves it. The caller holds the store lock.
pub(super) async fn renew_expired(files: &Files) -> Result<(), RenewalError> {
    if let Some(session) = files.load_session()?
        && is_over(&session, Timestamp::now() + Duration::from_secs(5))
    {
        files.save_session(&renewed(&session).await?)?;
    }
    Ok(())
}

/// Returns whether the access token has expired.
fn is_over(session: &StoredSession, now: Timestamp) -> bool {
    let until = session.oauth.as_ref().and_then(|it| it.expires_at);
    until.is_some_and(|until| until <= now)
}

/// Returns what the SDK knows tokens by (0.18, `cross_process.rs`, `compute_session_hash`).
fn hash(tokens: &SessionTokens) -> Vec<u8> {
    let hash = Sha256::new().chain_update(&tokens.access_token);
    let refresh = tokens.refresh_token.as_deref().unwrap_or_default();
    hash.chain_update(refresh).finalize().to_vec()
}
