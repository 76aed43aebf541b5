//! What the daemon holds from its start to its end, so that no other relay uses it: its home, and its database.

use std::sync::Arc;

use tokio::time::Instant;

use super::StartError;
use crate::home::{Home, Lock, utc};
use relay_claims::{Claim, Claimant, Thing};
use relay_config::{Config, Database};
use relay_model::{Clock, Timestamp};

/// The home of a daemon, since it started.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(super) home: Home,
    pub(super) lock: Arc<Lock>,
    /// As whom it claims what it uses.
    pub(crate) claimant: Claimant,
    pub(super) clock: Clock,
    pub(super) start: Timestamp,
    pub(super) started: Instant,
}

impl Hold {
    /// Takes the home, before anything else in it is written: another daemon may be writing there.
    pub(crate) fn take(home: Home) -> Result<Self, StartError> {
        let clock = Clock::system();
        let (start, started) = (clock.now(), Instant::now());
        Ok(Self {
            lock: Arc::new(Lock::acquire(&home, start.into())?),
            claimant: Claimant::new(home.path(), utc(start.into())),
            home,
            clock,
            start,
            started,
        })
    }

    /// Claims the database: another home's configuration may name it, too.
    pub(super) fn claim_database(&self, config: &Config) -> Result<Option<Claim>, StartError> {
        let named = &config.database.path;
        let path = self.home.database(named, Database::APPLICATION_ID).path;
        self.home.prepare_file(&path)?;
        let claim = Thing::file(&path).map(|file| Claim::take(&file, &self.claimant));
        claim
            .transpose()
            .map_err(|holder| StartError::DatabaseHeld { path, holder })
    }
}
