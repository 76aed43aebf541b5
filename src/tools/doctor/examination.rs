//! The whole examination: all sides at the same time, each probe within its own limit.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::daemon::Daemon;
use super::homeserver::Account;
use super::report::{Finding, Report, Side};
use super::{local, radio};
use crate::daemon::status::Check;
use crate::home::Home;
use relay_config::{Config, Database};
use relay_model::{Clock, RadioText};

/// What is being waited for, for the progress line; `None` at the end.
pub(crate) type Doing = watch::Sender<Option<&'static str>>;

/// What is being waited for while both sides are examined.
const BOTH: &str = "examining the homeserver and the radio";

/// What is examined.
#[derive(Debug)]
pub(crate) struct Patient<'a> {
    pub(crate) home: &'a Home,
    /// `None` if there is none that can be used.
    pub(crate) config: Option<&'a Config>,
    /// The check of the configuration.
    pub(crate) configuration: Check,
    /// When its file was changed last, in UTC.
    pub(crate) changed_at: Option<String>,
    pub(crate) allow_network_home: bool,
}

/// How much is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// What the configuration names: the homeserver, the rooms, the radio.
    Online,
    /// One side.
    Only(Side),
}

/// What an examination has found.
#[derive(Debug)]
pub(crate) struct Examination {
    pub(crate) report: Report,
    /// Messages that the radio handed over to the examination. It does not do so again: they must be shown.
    pub(crate) kept: Vec<RadioText>,
}

impl Patient<'_> {
    /// Makes the examination. When `stop` ends it, the report is incomplete.
    pub(crate) async fn examine(
        self,
        extent: Extent,
        doing: &Doing,
        stop: CancellationToken,
    ) -> Examination {
        let Self {
            home,
            config,
            configuration,
            changed_at,
            allow_network_home,
        } = self;
        let changed_at = changed_at.as_deref();
        doing.send_replace(Some("asking the running relay"));
        let daemon = stop.run_until_cancelled(Daemon::ask(home)).await;
        let daemon = daemon.unwrap_or_else(|| Daemon::Absent("interrupted".to_owned()));
        let is_wanted = |side| match extent {
            Extent::Whole | Extent::Online => true,
            Extent::Only(only) => only == side,
        };
        let clock = Clock::system();

        let database = config.map(|it| it.database.clone()).unwrap_or_default();
        let place = home.database(&database.path, Database::APPLICATION_ID);
        let here = async {
            if extent != Extent::Whole {
                return Vec::new();
            }
            vec![
                Side::Relay.finds("home", local::home(home, allow_network_home)),
                Side::Relay.finds("disk", local::disk(home, &place.path)),
                Side::Relay.finds("database", local::database(place.clone()).await),
            ]
        };
        let account = Account {
            home,
            config,
            daemon: &daemon,
            clock: clock.clone(),
        };
        let ended = |left| {
            let is_first = *doing.borrow() == Some(BOTH);
            let left = if is_first {
                left
            } else {
                "looking for damage in the database"
            };
            doing.send_replace(Some(left));
        };
        let at_homeserver = async {
            let mut found = Vec::new();
            if is_wanted(Side::Matrix) {
                found = Box::pin(account.examine()).await;
            }
            ended("waiting for the radio");
            found
        };
        let at_radio = async {
            let mut found = (Vec::new(), Vec::new());
            if is_wanted(Side::Radio) {
                let (place, now) = ((home, allow_network_home), || clock.now());
                let examined =
                    radio::examine(place, config, &daemon, changed_at, stop.clone(), now);
                found = Box::pin(examined).await;
            }
            ended("waiting for the homeserver");
            found
        };
        doing.send_replace(Some(BOTH));
        let (here, matrix, (radio, kept)) = tokio::join!(
            stop.run_until_cancelled(here),
            stop.run_until_cancelled(at_homeserver),
            // It ends itself: the radio is left in an orderly way.
            at_radio,
        );
        let (here, matrix) = (here.unwrap_or_default(), matrix.unwrap_or_default());
        doing.send_replace(None);

        let mut found: Vec<Finding> = Vec::new();
        if extent != Extent::Online {
            found.push(Side::Relay.finds("configuration", configuration));
            found.extend(here);
        }
        let mut relay = daemon.findings(Side::Relay);
        relay.retain(|it| match extent {
            Extent::Whole => true,
            // The rest of its inside is of no concern for one side.
            Extent::Only(_) => it.check.name == "daemon",
            // That it does not answer is why the radio is not examined.
            Extent::Online => matches!(daemon, Daemon::Mute(_)),
        });
        found.extend(relay);
        // It says of what the rest is true.
        found.extend(daemon.followed(changed_at));
        found.extend(matrix);
        found.extend(radio);
        Examination {
            report: Report::of(found),
            kept,
        }
    }
}
