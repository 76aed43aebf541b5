//! Asks the homeserver how it, and the mapped rooms, stand, for `relay doctor` and `relay config check --online`. Without the
//! SDK: its store stays closed, so this works beside the daemon. Changes nothing, and joins nothing.

mod room;

use std::time::Duration;

use matrix_sdk::reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use crate::auth::{AuthError, Files};
use crate::clock::{OurClocks, ahead_of, arrived, time_shown};
use crate::moved;
use crate::server::{Server, ServerError};
use relay_model::{Clock, OwnedRoomId, OwnedUserId};

pub use room::{Entrance, RoomFound, SeenRoom};

/// Maximum time for what is told only if the homeserver tells it: its name, its limit of uploads.
const EXTRA_LIMIT: Duration = Duration::from_secs(3);

/// Asks a homeserver with the login in the home.
#[derive(Debug)]
pub struct Probe {
    /// Without a token: an answer for everybody must not fail because a login has ended.
    open: Server,
    server: Server,
    /// The bot's account.
    pub user: OwnedUserId,
}

/// A homeserver that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeserverFacts {
    /// Base address of its API.
    pub address: Url,
    /// Its program and version, as `Synapse 1.150.0`; `None` if it does not tell.
    pub software: Option<String>,
    /// The newest version of Matrix that it names, as `v1.12`.
    pub newest: Option<String>,
    /// Maximum size of an upload in bytes; `None` if it does not tell, or does not accept the login.
    pub upload: Option<u64>,
    /// Milliseconds that our clock is ahead of that by which its answers are dated; 0 if they agree, `None` if they are not
    /// dated.
    pub clock_ahead: Option<i64>,
}

impl Probe {
    /// Reads the login; `None`: nobody has logged in.
    pub fn of(files: &Files) -> Result<Option<Self>, AuthError> {
        let Some(session) = files.load_session()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            open: Server::at(session.homeserver.clone(), session.allow_http)?,
            server: session.server()?,
            user: session.user_id,
        }))
    }

    /// Returns the address that is asked.
    pub fn address(&self) -> &Url {
        &self.open.base
    }

    /// Asks whether the homeserver is there, and what it tells of itself.
    pub async fn homeserver(&self, clock: &Clock) -> Result<HomeserverFacts, ServerError> {
        HomeserverFacts::of(&self.open, &self.server, clock).await
    }

    /// Returns what a person is to be told if the account's server name names another homeserver.
    pub async fn named_elsewhere(&self) -> Option<String> {
        moved::named_elsewhere(&self.user, &self.open.base).await
    }

    /// Returns the rooms that the bot is in.
    pub async fn joined(&self) -> Result<Vec<OwnedRoomId>, ServerError> {
        let answer = self.server.get(&["v3", "joined_rooms"]).await?;
        let Some(rooms) = answer["joined_rooms"].as_array() else {
            return Err(self.server.not_matrix(StatusCode::OK));
        };
        let rooms = rooms
            .iter()
            .filter_map(|room| room.as_str()?.try_into().ok());
        Ok(rooms.collect())
    }
}

impl HomeserverFacts {
    /// Finds the homeserver of a name or an address, before anybody has logged in.
    pub async fn find(given: &str, allow_http: bool, clock: &Clock) -> Result<Self, ServerError> {
        let server = Server::discover(given, allow_http).await?;
        Self::of(&server, &server, clock).await
    }

    async fn of(open: &Server, server: &Server, clock: &Clock) -> Result<Self, ServerError> {
        let asked = OurClocks::now(clock);
        // A distinct query bypasses caches, which would repeat an old date.
        let query = format!("at={}", clock.now());
        let path = ["client", "versions"];
        let answer = open.answer(Method::GET, &path, Some(&query), None);
        let (answer, headers) = answer.await?;
        let now = OurClocks::now(clock);
        let Some(versions) = answer["versions"].as_array() else {
            return Err(open.not_matrix(StatusCode::OK));
        };
        let shown = time_shown(&headers).map(|date| arrived(date, asked, now));
        let (software, upload) = tokio::join!(software(open), upload(server));
        Ok(Self {
            address: open.base.clone(),
            software,
            newest: newest(versions),
            upload,
            clock_ahead: shown.map(|shown| ahead_of(shown, now)),
        })
    }
}

async fn software(server: &Server) -> Option<String> {
    let path = ["federation", "v1", "version"];
    let asked = server.answer(Method::GET, &path, None, None);
    let (answer, _) = timeout(EXTRA_LIMIT, asked).await.ok()?.ok()?;
    let part = |key: &str| Some(short(answer["server"][key].as_str()?));
    Some(format!("{} {}", part("name")?, part("version")?))
}

async fn upload(server: &Server) -> Option<u64> {
    let asked = server.get(&["v1", "media", "config"]);
    let answer = timeout(EXTRA_LIMIT, asked).await.ok()?.ok()?;
    answer["m.upload.size"].as_u64()
}

/// Returns the newest of the versions, which a server lists in any order.
fn newest(versions: &[Value]) -> Option<String> {
    let number = |version: &str| -> Option<(u32, u32)> {
        let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let versions = versions.iter().filter_map(Value::as_str);
    let numbered = versions.filter_map(|version| Some((number(version)?, version)));
    numbered.max().map(|(_, version)| version.to_owned())
}

/// Cuts what a server says of itself.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_version_is_told_whatever_the_order() {
        let newest = |versions: Value| newest(versions.as_array().unwrap());
        assert_eq!(
            newest(json!(["r0.6.1", "v1.12", "v1.9", 7, "v1.x"])).as_deref(),
            Some("v1.12")
        );
        assert_eq!(newest(json!(["r0.6.1"])), None);
    }
}
