//! Keeps the Matrix side going: opens the session, runs the adapter, and when the session is missing or dead waits for
//! a new one, with the store closed, so that `relay auth login` can work beside the daemon.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::home::Lock;
use crate::matrix::{self, Batch, DeviceTrust, Files, Matrix, MatrixError};
use crate::store::Database;

use super::backoff::Backoff;

/// How often the session's file is looked at while there is no usable session.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the Matrix side needs.
pub struct Account {
    /// The session's files.
    pub files: Files,
    /// What the adapter is told by the configuration.
    pub options: matrix::Options,
    /// Says in `relay.lock` whether we hold the SDK's store.
    pub lock: Lock,
    /// Where the sync position is kept.
    pub database: Database,
    /// Where what happens in the rooms goes.
    pub batches: mpsc::Sender<Batch>,
    /// Who sends to rooms, while a session is open.
    pub sender: watch::Sender<Option<matrix::Sender>>,
}

impl Account {
    /// Opens the session for the first time, so that `relay is ready` is said with it. `None`: there is none yet that can be
    /// used, and why is logged.
    pub async fn open(&self) -> Option<Matrix> {
        // Taken before the store is opened: a login that comes in between sees it.
        if let Err(error) = self.lock.hold_store() {
            warn!(error = &error as &dyn std::error::Error, "cannot write relay.lock");
        }
        match Matrix::restore(self.files.clone(), self.options.clone()).await {
            Ok(matrix) => Some(matrix),
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "Matrix cannot be used yet; what the mesh says is kept");
                self.release();
                None
            }
        }
    }

    /// Runs until `stop`, beginning with the session that [`Account::open`] returned.
    pub async fn run(self, first: Option<Matrix>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut opened = first;
        loop {
            let seen = self.session_changed_at();
            let matrix = match opened.take() {
                Some(matrix) => matrix,
                None => {
                    if !self.new_session(seen, &stop).await {
                        return;
                    }
                    match self.open().await {
                        Some(matrix) => matrix,
                        None => continue,
                    }
                }
            };
            match self.serve(matrix, &stop).await {
                Ok(()) => {}
                Err(MatrixError::SessionDead) => {
                    error!("the homeserver does not accept the session any more: run `relay auth login --force`; what the mesh says is kept");
                    self.release();
                    continue;
                }
                Err(error) => {
                    let delay = backoff.next();
                    warn!(
                        error = &error as &dyn std::error::Error,
                        delay_ms = delay.as_millis(),
                        "the Matrix side ended, starting it again"
                    );
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
            if stop.is_cancelled() {
                return;
            }
            opened = self.open().await;
        }
    }

    async fn serve(&self, matrix: Matrix, stop: &CancellationToken) -> Result<(), MatrixError> {
        let user = matrix.own_user().to_string();
        let trust = match matrix.device_trust().await {
            DeviceTrust::Verified => "verified by its owner",
            DeviceTrust::Unverified => "not verified: run `relay auth status`",
            DeviceTrust::Unknown => "not known yet",
        };
        info!(account = user, device = %matrix.own_device(), verification = trust, "Matrix session open");
        let position = loop {
            let account = user.clone();
            match self.database.run(move |store| store.sync_position(&account)).await {
                Ok(position) => break position,
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
        let result = matrix.run(position, self.batches.clone(), stop.clone()).await;
        if !stop.is_cancelled() {
            self.sender.send_replace(None);
        }
        result
    }

    fn release(&self) {
        if let Err(error) = self.lock.release_store() {
            warn!(error = &error as &dyn std::error::Error, "cannot write relay.lock");
        }
    }

    /// Waits until the session's file is another than the one seen; false: asked to stop.
    async fn new_session(&self, seen: Option<SystemTime>, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = self.session_changed_at();
            if now.is_some() && now != seen {
                return true;
            }
        }
    }

    fn session_changed_at(&self) -> Option<SystemTime> {
        let path: PathBuf = self.files.session();
        std::fs::metadata(path).and_then(|it| it.modified()).ok()
    }
}
