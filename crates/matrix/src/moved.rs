//! A homeserver whose address has changed: the login follows where the configuration names the new one; elsewhere it is only
//! told (docs/decisions/0045).

use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::renewal;
use super::server::{self, Server, ServerError};
use super::{Files, MatrixError, StoredSession};
use relay_config::is_loopback;
use relay_model::UserId;

/// Maximum time to ask a server name for its homeserver.
const NAME_LIMIT: Duration = Duration::from_secs(10);

/// Where the login was to go on, by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// It stays where it is.
    None,
    /// It goes on at this address.
    Done(Url),
    /// The homeserver at this address does not know the login, in its words: it stays where it is.
    Refused(Url, String),
}

/// Has the login go on at the homeserver that the configuration names, if that was changed since the login was last used: only
/// then is the token sent there. The caller holds the store lock. Fails if that homeserver cannot be asked.
pub async fn follow_configuration(
    files: &Files,
    configured: Option<&str>,
    allow_http: bool,
) -> Result<Move, MatrixError> {
    let configured = configured.unwrap_or_default();
    let Some(mut session) = files.load_session()? else {
        return Ok(Move::None);
    };
    let before = session.configured.replace(configured.to_owned());
    if before.as_deref() == Some(configured) {
        return Ok(Move::None);
    }
    let mut done = Move::None;
    if before.is_some() && !configured.is_empty() {
        let server = Server::discover(configured, allow_http).await?;
        let to = server.base.clone();
        if !is_same(&to, &session.homeserver) {
            if session.oauth.is_some() {
                let renewed = renewal::renew_expired(files).await;
                renewed.map_err(|error| renewal::verdict(&session, error))?;
                session = files.load_session()?.ok_or(MatrixError::NoSession)?;
                session.configured = Some(configured.to_owned());
            }
            if let Some(why) = refusal(server, &session).await? {
                return Ok(Move::Refused(to, why));
            }
            (session.homeserver, session.allow_http) = (to.clone(), allow_http);
            done = Move::Done(to);
        }
    }
    files.save_session(&session)?;
    Ok(done)
}

/// Returns why a homeserver does not know a login; `None`: it does.
async fn refusal(server: Server, session: &StoredSession) -> Result<Option<String>, ServerError> {
    let server = server.with_token(&session.tokens.access_token);
    match server.whoami().await {
        Ok(answer) => Ok(session.is_anothers(&answer)),
        // An access token that has to be renewed, of a device that it knows.
        Err(ServerError::Refused { body, .. }) if body["soft_logout"] == true => Ok(None),
        Err(error @ ServerError::Refused { .. }) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Returns what a person is to be told if the server name of this account names another homeserver than that at `base`, and one
/// answers there. Asks without the login.
pub(super) async fn named_elsewhere(user: &UserId, base: &Url) -> Option<String> {
    // The name stands for the address that others use; ours was chosen in spite of it.
    if is_loopback(base) {
        return None;
    }
    let name = user.server_name();
    let url = Url::parse(&format!("https://{name}")).ok()?;
    let told = told(name.as_str(), &url, base);
    timeout(NAME_LIMIT, told).await.ok()?
}

async fn told(name: &str, url: &Url, base: &Url) -> Option<String> {
    let to = server::named_by(url)
        .await
        .filter(|to| !is_same(to, base))?;
    Some(format!(
        "{name} names {to} as its homeserver: write `homeserver: {to}` below `matrix` into the configuration, and start the \
         relay again; the login goes on there"
    ))
}

fn is_same(one: &Url, other: &Url) -> bool {
    let [one, other] = [one, other].map(|it| it.as_str().trim_end_matches('/'));
    one == other
}

#[cfg(test)]
mod tests {
    use super::super::server::tests::answer;
    use super::super::session::test_session;
    use super::*;

    const VERSIONS: &str = r#"{"versions": ["v1.1"]}"#;
    const OURS: &str = r#"{"user_id": "@relay:example.org", "device_id": "DEVICE"}"#;

    fn ok(body: &str) -> (&'static str, String) {
        ("200 OK", body.to_owned())
    }

    /// Stores a login that was last used with a configuration that named `before`; follows one that names a server with these
    /// answers. Returns what came of it, and the login then.
    async fn followed(
        before: Option<&str>,
        answers: Vec<(&'static str, String)>,
    ) -> (Result<Move, MatrixError>, StoredSession, Url) {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path().join("matrix"));
        let session = StoredSession {
            configured: before.map(str::to_owned),
            ..test_session::session()
        };
        files.save_session(&session).unwrap();
        let url = answer(answers);
        let moved = follow_configuration(&files, Some(url.as_str()), false).await;
        (moved, files.load_session().unwrap().unwrap(), url)
    }

    #[tokio::test]
    async fn a_login_goes_on_at_an_address_that_the_configuration_names_anew() {
        for before in ["", "https://old.example.org"] {
            let (moved, session, url) = followed(Some(before), vec![ok(VERSIONS), ok(OURS)]).await;
            assert_eq!(moved.unwrap(), Move::Done(url.clone()));
            assert_eq!(
                (&session.homeserver, session.configured.as_deref()),
                (&url, Some(url.as_str()))
            );
            assert_eq!(session.device_id, "DEVICE");
        }
    }

    #[tokio::test]
    async fn what_the_configuration_named_all_along_is_not_sent_the_login() {
        // As after a login by hand at another homeserver.
        let (moved, session, url) = followed(None, Vec::new()).await;
        assert_eq!(moved.unwrap(), Move::None);
        assert_eq!(session.homeserver, test_session::session().homeserver);
        assert_eq!(session.configured.as_deref(), Some(url.as_str()));
    }

    #[tokio::test]
    async fn a_homeserver_that_does_not_know_the_login_does_not_get_it() {
        let unknown = r#"{"errcode": "M_UNKNOWN_TOKEN", "error": "who"}"#;
        let anothers = r#"{"user_id": "@bob:example.org", "device_id": "DEVICE"}"#;
        for whoami in [("401 Unauthorized", unknown.to_owned()), ok(anothers)] {
            let (moved, session, _) = followed(Some(""), vec![ok(VERSIONS), whoami]).await;
            assert!(matches!(moved, Ok(Move::Refused(..))), "{moved:?}");
            // It is asked again at the next start.
            let before = StoredSession {
                configured: Some(String::new()),
                ..test_session::session()
            };
            assert_eq!(session, before);
        }
        let soft = r#"{"errcode": "M_UNKNOWN_TOKEN", "error": "old", "soft_logout": true}"#;
        let answers = vec![ok(VERSIONS), ("401 Unauthorized", soft.to_owned())];
        let (moved, ..) = followed(Some(""), answers).await;
        assert!(matches!(moved, Ok(Move::Done(_))), "{moved:?}");
    }

    #[tokio::test]
    async fn a_server_name_that_names_another_homeserver_is_told_with_the_cure() {
        let there = answer(vec![ok(VERSIONS); 2]);
        let well_known = format!(r#"{{"m.homeserver": {{"base_url": "{there}"}}}}"#);
        let name = answer(vec![ok(&well_known); 2]);
        let old = Url::parse("https://old.example.org").unwrap();
        let text = told("example.org", &name, &old).await.unwrap();
        let words =
            format!("example.org names {there} as its homeserver: write `homeserver: {there}`");
        assert!(text.starts_with(&words), "{text}");
        assert_eq!(told("example.org", &name, &there).await, None);
        // Nobody is there any more.
        assert_eq!(told("example.org", &name, &old).await, None);
    }
}
