//! Where the work is done: by the relay that runs, on its session, or here, on the stored one.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::sleep;

use crate::cli::Globals;
use crate::cli::failure::Failure;
use crate::cli::output::warn;
use crate::cli::progress;
use crate::home::{Home, Lock, LockError, StoreGuard};
use crate::tools::control;
use relay_config::Config;
use relay_matrix::auth::Files;
use relay_matrix::hand::{Done, HandError, Operation, OwnHand};

/// Attempts to lock the store while another command holds it, and the pause between two.
const TRIES: u32 = 15;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

pub(super) enum Way<'a> {
    /// The relay that runs in this home does it.
    Daemon(&'a Home),
    /// It is done here; nobody else may open the store meanwhile.
    Here(Box<OwnHand>, StoreGuard),
}

impl<'a> Way<'a> {
    pub(super) async fn open(
        globals: &Globals,
        home: &'a Home,
        config: Option<&Config>,
    ) -> Result<Self, Failure> {
        if Lock::holder(home).is_some() {
            return Ok(Self::Daemon(home));
        }
        for warning in home.prepare(globals.allow_network_home)? {
            warn(warning)?;
        }
        let store = take_store(home).await?;
        let files = Files::new(home.matrix());
        let e2ee = config.map(|it| it.matrix.e2ee).unwrap_or_default();
        let own = OwnHand::open(&files, e2ee).await?;
        if let Err(error) = progress::of("asking the homeserver", own.catch_up()).await {
            own.close().await;
            return Err(error.into());
        }
        Ok(Self::Here(Box::new(own), store))
    }

    pub(super) async fn close(self) {
        match self {
            Self::Daemon(_) => {}
            Self::Here(own, _store) => own.close().await,
        }
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Done, Failure> {
        self.upload(operation, tokio::io::empty()).await
    }

    /// Carries an operation out that bytes follow.
    pub(super) async fn upload(
        &self,
        operation: Operation,
        mut bytes: impl AsyncRead + Unpin,
    ) -> Result<Done, Failure> {
        match self {
            Self::Daemon(home) => {
                let mut answers = control::work(home, operation, bytes).await?;
                match answers.next().await? {
                    Some(done) => Ok(done?),
                    None => Err(answers.silent().into()),
                }
            }
            Self::Here(own, _) => {
                let mut all = Vec::new();
                bytes.read_to_end(&mut all).await?;
                Ok(own.hand.perform(operation, all).await?)
            }
        }
    }

    /// Has everything told that is said in a room; without a relay, as long as the homeserver accepts the login.
    pub(super) async fn listen(
        &self,
        room: String,
        tell: impl Fn(Done) -> anyhow::Result<()>,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon(home) => {
                let operation = Operation::Listen { room };
                let empty = tokio::io::empty();
                let mut answers = control::work(home, operation, empty).await?;
                while let Some(done) = answers.next().await? {
                    tell(done?)?;
                }
                let ended = HandError::cured(
                    "the relay has ended, or opens its Matrix session anew",
                    "begin again",
                );
                Err(ended.into())
            }
            Self::Here(own, _) => {
                let mut heard = pin!(own.hand.listen(&room).await?);
                let telling = async {
                    while let Some(done) = heard.next().await {
                        tell(done)?;
                    }
                    Ok(())
                };
                tokio::select! {
                    told = telling => told,
                    never = own.keep_reading() => match never? {},
                }
            }
        }
    }
}

async fn take_store(home: &Home) -> Result<StoreGuard, LockError> {
    for _ in 1..TRIES {
        if let Ok(store) = StoreGuard::take(home) {
            return Ok(store);
        }
        sleep(BETWEEN_TRIES).await;
    }
    StoreGuard::take(home)
}
