//! The Matrix side: asks the homeserver over HTTP, with the login in the home, beside the daemon or without one.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::account;
use super::daemon::Daemon;
use super::limit::{failed_by, within};
use super::local::size;
use super::report::{Finding, Side};
use super::rooms::{self, Known, named};
use crate::daemon::DeviceHeld;
use crate::daemon::checks::{check, clock_off, ok, skipped};
use crate::daemon::status::{Check, CheckResult, MatrixState};
use crate::home::{Home, StoreGuard};
use relay_claims::Holder;
use relay_config::Config;
use relay_matrix::auth::{self, AuthError, Files};
use relay_matrix::{HomeserverFacts, Probe, RoomFound, ServerError, Shown};
use relay_model::{Clock, Explained as _, OwnedRoomId, OwnedRoomOrAliasId};

/// Maximum time for the first answer of the homeserver.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time for the state of the login, and for that of a room: some requests each.
const STATE_LIMIT: Duration = Duration::from_secs(15);
/// Number of rooms that are asked for at the same time.
const AT_ONCE: usize = 4;

const SLOW: &str = "the homeserver is overloaded, or the network loses what is sent: try again, and look at the homeserver";

/// What the Matrix side is examined with.
pub(super) struct Account<'a> {
    pub(super) home: &'a Home,
    pub(super) config: Option<&'a Config>,
    pub(super) daemon: &'a Daemon,
    pub(super) clock: Clock,
}

impl Account<'_> {
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let files = Files::new(self.home.matrix());
        if let Daemon::Absent(_) = self.daemon
            && let Ok(_store) = StoreGuard::take(self.home)
        {
            // No relay renews a token that has expired meanwhile.
            auth::renew_expired(&files).await;
        }
        let mut found = match Probe::of(&files) {
            Ok(Some(probe)) => Box::pin(self.with_login(&files, &probe)).await,
            Ok(None) => Box::pin(self.without_login()).await,
            Err(error) => {
                let mut found = vec![Side::Matrix.finds("session", failed_by(&error))];
                found.extend(self.rooms_skipped("the login cannot be used"));
                found
            }
        };
        let is_refused = found
            .iter()
            .any(|it| it.check.name == "session" && it.check.result == CheckResult::Failed);
        let mut of_daemon = self.daemon.findings(Side::Matrix);
        let status = self.daemon.status();
        if is_refused && status.is_some_and(|it| it.matrix.state == MatrixState::NoSession) {
            // One cause is told once.
            for sync in of_daemon.iter_mut().filter(|it| it.check.name == "sync") {
                *sync = Side::Matrix.finds("sync", skipped("there is no session: see above"));
            }
        }
        found.extend(of_daemon);
        found.extend(self.pictures());
        found
    }

    /// Looks whether the bot's pictures can be used, if some are configured.
    fn pictures(&self) -> Vec<Finding> {
        let wanted = self
            .config
            .map(|it| Shown::wanted(it, |path| self.home.resolve(path)));
        let shown = wanted.unwrap_or_default();
        let found = shown.pictures().into_iter().map(|(path, trouble)| {
            let check = match trouble {
                Some(trouble) => check(CheckResult::Warning, trouble.to_string(), trouble.hint()),
                None => ok(format!("`{}` can be used", path.display())),
            };
            Side::Matrix.finds("picture", check)
        });
        found.collect()
    }

    /// Asks the homeserver that the configuration names for a first login, if it names one.
    async fn without_login(&self) -> Vec<Finding> {
        let matrix = self.config.map(|it| &it.matrix);
        let named = matrix.and_then(|it| Some((it.homeserver.as_deref()?, it.allow_http)));
        let mut found = if let Some((given, allow_http)) = named {
            let asked = HomeserverFacts::find(given, allow_http, &self.clock);
            self.homeserver(given, asked).await.0
        } else {
            let why = "not known before a login, unless `matrix.homeserver` names it";
            vec![Side::Matrix.finds("homeserver", skipped(why))]
        };
        found.extend(account::nobody());
        found.extend(self.rooms_skipped("nobody has logged in"));
        found
    }

    async fn with_login(&self, files: &Files, probe: &Probe) -> Vec<Finding> {
        let asked = probe.homeserver(&self.clock);
        let (mut found, is_there) = self.homeserver(probe.address().as_str(), asked).await;
        if !is_there {
            if let Some(moved) = probe.named_elsewhere().await {
                for it in &mut found {
                    it.check.hint = Some(moved.clone());
                }
            }
            let why = "the homeserver does not answer";
            found.extend(account::unknown(why));
            found.extend(self.rooms_skipped(why));
            return found;
        }
        let asked = within(STATE_LIMIT, "the homeserver", SLOW, self.login(files));
        let is_alive = match asked.await {
            Ok(Ok(status)) => {
                found.extend(account::findings(&status, self.held(files).as_ref()));
                status.token_alive
            }
            Ok(Err(error)) => {
                found.push(Side::Matrix.finds("session", failed_by(&error)));
                false
            }
            Err(late) => {
                found.push(Side::Matrix.finds("session", late));
                false
            }
        };
        if is_alive {
            found.extend(self.rooms(probe).await);
        } else {
            found.extend(self.rooms_skipped("the login cannot be used"));
        }
        found
    }

    /// Returns what is found of the homeserver, and whether it is there.
    async fn homeserver(
        &self,
        address: &str,
        asked: impl Future<Output = Result<HomeserverFacts, ServerError>>,
    ) -> (Vec<Finding>, bool) {
        let who = format!("the homeserver at {address}");
        let cure = "look whether it runs, and whether this machine reaches it";
        let facts = match within(ANSWER_LIMIT, &who, cure, asked).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => return (vec![Side::Matrix.finds("homeserver", away(&error))], false),
            Err(late) => return (vec![Side::Matrix.finds("homeserver", late)], false),
        };
        // The daemon compares with the homeserver's own time, and not with that of a proxy.
        let clock = self
            .daemon
            .check("clock")
            .unwrap_or_else(|| clock(facts.clock_ahead));
        let found = vec![
            Side::Matrix.finds("homeserver", there(&facts)),
            Side::Matrix.finds("clock", clock),
        ];
        (found, true)
    }

    async fn login(&self, files: &Files) -> Result<auth::LoginStatus, AuthError> {
        // The SDK's store is opened only where no daemon can have it open.
        let store = match self.daemon {
            Daemon::Absent(_) => StoreGuard::take(self.home).ok(),
            Daemon::Answers(..) | Daemon::Mute(_) => None,
        };
        let damage = auth::damage(files, store.is_some()).await?;
        let dead = match &store {
            Some(_) => auth::renew_expired(files).await,
            None => None,
        };
        drop(store);
        let status = auth::status(files, damage).await?;
        Ok(status.refused_by_service(dead))
    }

    /// Returns who else uses the device, if that can be known: the relay of this home may.
    fn held(&self, files: &Files) -> Option<DeviceHeld> {
        let own = match self.daemon {
            Daemon::Absent(_) => None,
            Daemon::Answers(status, _) => Some(status.pid),
            Daemon::Mute(_) => return None,
        };
        let held = DeviceHeld::look(files)?;
        let is_own = matches!(&held.holder, Holder::Relay(it) if Some(it.pid) == own && it.home == self.home.path());
        (!is_own).then_some(held)
    }

    async fn rooms(&self, probe: &Probe) -> Vec<Finding> {
        let joined = within(ANSWER_LIMIT, "the homeserver", SLOW, probe.joined()).await;
        let joined = match joined {
            Ok(Ok(joined)) => joined,
            Ok(Err(error)) => return vec![Side::Matrix.finds("rooms", failed_by(&error))],
            Err(late) => return vec![Side::Matrix.finds("rooms", late)],
        };
        let names = self.mapped().into_iter();
        let asked = names.map(|name| {
            let joined = &joined;
            async move {
                let (check, shown) = self.room(probe, &name, joined).await;
                let mut finding = rooms::finding(&name, check);
                finding.names.extend(shown);
                finding
            }
        });
        let mut found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        if self.config.is_none() {
            found.push(Side::Matrix.finds(
                "rooms",
                skipped("there is no configuration that names them"),
            ));
        }
        found
    }

    /// Returns the check of a room, and the room's own name.
    async fn room(
        &self,
        probe: &Probe,
        name: &OwnedRoomOrAliasId,
        joined: &[OwnedRoomId],
    ) -> (Check, Option<String>) {
        let Some(config) = self.config else {
            return (skipped("there is no configuration"), None);
        };
        let asked = async {
            match probe.room_of(name).await? {
                Ok(id) => probe.room(name, &id, joined).await,
                Err(trouble) => Ok(RoomFound::Barred(trouble)),
            }
        };
        let found = match within(STATE_LIMIT, "the homeserver", SLOW, asked).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return (named(name, failed_by(&error)), None),
            Err(late) => return (named(name, late), None),
        };
        let shown = match &found {
            RoomFound::Joined(seen) => Some(seen.room.name.clone()),
            _ => None,
        };
        let status = self.daemon.status().map(|it| it.rooms.as_slice());
        let known = Known {
            config,
            user: &probe.user,
            name,
            found: &found,
            status: rooms::status_of(status.unwrap_or_default(), name),
        };
        (known.check(), shown)
    }

    /// Returns the rooms of the configuration, each once, in its order.
    fn mapped(&self) -> Vec<OwnedRoomOrAliasId> {
        let mut names = Vec::new();
        for mapped in self.config.iter().flat_map(|it| &it.matrix_rooms) {
            if !names.contains(&mapped.id) {
                names.push(mapped.id.clone());
            }
        }
        names
    }

    fn rooms_skipped(&self, why: &str) -> Vec<Finding> {
        let names = self.mapped().into_iter();
        names
            .map(|name| rooms::finding(&name, named(&name, skipped(why))))
            .collect()
    }
}

fn there(facts: &HomeserverFacts) -> Check {
    let software = facts.software.as_deref().unwrap_or("a homeserver");
    let mut text = format!("{software} at {}", facts.address);
    if let Some(newest) = &facts.newest {
        text = format!("{text}, Matrix up to {newest}");
    }
    if let Some(bytes) = facts.upload {
        text = format!("{text}, uploads up to {}", size(bytes));
    }
    ok(text)
}

fn away(error: &ServerError) -> Check {
    let portal = "something else answers in its place, such as the login page of a network, or a proxy: look at that address with a browser on this machine";
    let hint = match error {
        ServerError::NotMatrix(..) => Some(portal.to_owned()),
        other => other.hint(),
    };
    Check {
        hint,
        ..failed_by(error)
    }
}

/// `ahead`: milliseconds that our clock is ahead of the homeserver's.
fn clock(ahead: Option<i64>) -> Check {
    match ahead {
        None => skipped("the homeserver does not date its answers"),
        Some(0) => ok("agrees with the homeserver's"),
        Some(ahead) => clock_off(ahead / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_homeserver_is_told_with_all_that_it_tells_of_itself() {
        let facts = HomeserverFacts {
            address: "https://example.org".parse().unwrap(),
            software: Some("Synapse 1.150.0".to_owned()),
            newest: Some("v1.12".to_owned()),
            upload: Some(50 << 20),
            clock_ahead: Some(0),
        };
        assert_eq!(
            there(&facts).text,
            "Synapse 1.150.0 at https://example.org/, Matrix up to v1.12, uploads up to 50 MB"
        );
        let silent = HomeserverFacts {
            software: None,
            newest: None,
            upload: None,
            ..facts
        };
        assert_eq!(there(&silent).text, "a homeserver at https://example.org/");
    }

    #[test]
    fn a_page_in_the_homeservers_place_is_no_homeserver() {
        let error = ServerError::NotMatrix("https://example.org".parse().unwrap(), 200);
        let check = away(&error);
        assert_eq!(check.result, CheckResult::Failed);
        assert!(
            check.text.contains("it is not a Matrix homeserver"),
            "{}",
            check.text
        );
        assert!(check.hint.unwrap().contains("login page of a network"));
    }

    #[test]
    fn a_clock_is_told_only_where_it_is_off() {
        assert_eq!(clock(Some(0)).result, CheckResult::Ok);
        assert_eq!(clock(None).result, CheckResult::Skipped);
        let off = clock(Some(-7_200_000));
        assert_eq!(off.result, CheckResult::Warning);
        assert_eq!(
            off.text,
            "the clock of this machine is 2 h behind the homeserver's"
        );
    }
}
