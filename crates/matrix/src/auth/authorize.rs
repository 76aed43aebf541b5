//! A login by OAuth 2.0: a person allows it in a browser, or by a code that is typed elsewhere.

use matrix_sdk::SessionTokens;
use matrix_sdk::ruma::{DeviceId, OwnedDeviceId, OwnedUserId};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::browser::{Browser, PATIENCE, Person, Shown};
use super::devices::{self, Note};
use super::{AuthError, Files, Given, LoginOptions, Server};
use crate::oauth::{self, Granted, Grants, OAuthError, Service, Web};
use crate::redirect::Redirect;
use crate::session::{BackupUse, LoginMethod, StoredSession};
use relay_model::Timestamp;

/// The relay, registered at the login service of a homeserver, and how a person goes on.
#[derive(Debug)]
pub struct Authorization {
    grants: Grants,
    browser: Browser,
    person: Person,
}

impl Authorization {
    /// Finds the homeserver's login service and registers the relay there. Without a `browser` it takes the way that fits a
    /// machine that has one (`has_browser`) or not, and that is offered.
    pub async fn begin(
        server: &Server,
        allow_http: bool,
        browser: Option<Browser>,
        has_browser: bool,
        person: Person,
    ) -> Result<Self, AuthError> {
        let web = Web::new(&server.base, allow_http)?;
        let service = Service::of(server, &web).await?;
        let browser = browser.unwrap_or_else(|| fitting(&service, has_browser));
        let (is_offered, what) = match browser {
            Browser::Here | Browser::Paste => (service.offers_code(), "logins in a browser"),
            Browser::Code => (
                service.offers_device_code(),
                "logins by a code that is typed elsewhere (device code)",
            ),
        };
        if !is_offered {
            return Err(OAuthError::GrantNotOffered(service.issuer, what).into());
        }
        let id = oauth::register(&service, &web).await?;
        Ok(Self {
            grants: Grants::at(&service, id, web),
            browser,
            person,
        })
    }

    pub(super) fn person(&self) -> &Person {
        &self.person
    }

    /// Waits until a person has allowed the login, and gets its tokens. The device is noted before it can exist.
    async fn granted(&self, files: &Files, note: &Note) -> Result<Granted, AuthError> {
        let (grants, person) = (&self.grants, &self.person);
        let redirect = match self.browser {
            Browser::Code => {
                let code = grants.device_code(&note.device_id).await?;
                devices::write_note(files, note)?;
                (person.show)(&Shown::Code {
                    url: code.url(),
                    with_code: code.url_with_code(),
                    code: code.code(),
                    lifetime: code.lifetime(),
                });
                return Ok(grants.device_tokens(&code).await?);
            }
            Browser::Here => Some(Redirect::listen().await.map_err(AuthError::NoListener)?),
            Browser::Paste => None,
        };
        let port = redirect.as_ref().map(Redirect::port);
        let asked = grants.code_request(&note.device_id, port)?;
        let is_here = redirect.is_some();
        (person.show)(&Shown::Page {
            url: &asked.url,
            is_here,
        });
        let brought = async {
            if let Some(redirect) = redirect {
                let is_answer = |url: &Url| Grants::is_answer(&asked, url);
                return Ok(redirect.awaited(is_answer).await);
            }
            let pasted = (person.ask)().await.map_err(|_| AuthError::Interrupted)?;
            address(&pasted).ok_or(AuthError::NotBrought("an address"))
        };
        let brought = timeout(PATIENCE, brought).await;
        let url = brought.unwrap_or(Err(AuthError::NotFinished(PATIENCE.as_secs() / 60)))?;
        devices::write_note(files, note)?;
        Ok(grants.exchange(asked, &url).await?)
    }
}

/// Returns the way that fits a machine.
fn fitting(service: &Service, has_browser: bool) -> Browser {
    match (has_browser, service.offers_device_code()) {
        (true, _) if service.offers_code() => Browser::Here,
        (_, true) => Browser::Code,
        (_, false) => Browser::Paste,
    }
}

/// Returns the address that a person has pasted; its query alone will do.
fn address(pasted: &str) -> Option<Url> {
    let pasted = pasted.trim();
    let query = || {
        Url::parse(&format!(
            "http://127.0.0.1/?{}",
            pasted.trim_start_matches('?')
        ))
    };
    match Url::parse(pasted) {
        Ok(url) if url.has_host() => Some(url),
        Ok(_) | Err(_) if pasted.contains("state=") => query().ok(),
        Ok(_) | Err(_) => None,
    }
}

/// Requests a new device. Its note stays until it is known that there is none, or whose it is.
pub(super) async fn request(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    authorization: &Authorization,
    stop: &CancellationToken,
) -> Result<StoredSession, AuthError> {
    let mut note = Note {
        homeserver: server.base.clone(),
        user: options.username.clone().unwrap_or_default(),
        device_id: DeviceId::new(),
        tokens: None,
        allow_http: options.allow_http,
        oauth: Some(authorization.grants.client().clone()),
    };
    let granted = stop.run_until_cancelled(authorization.granted(files, &note));
    let granted = match granted.await.unwrap_or(Err(AuthError::Interrupted)) {
        Ok(granted) => granted,
        Err(error) => {
            if !may_have_made_a_device(&error) {
                devices::forget(files, &note.device_id);
            }
            return Err(error);
        }
    };
    let oauth = authorization.grants.client();
    let oauth = oauth.granted(&granted, Timestamp::now());
    note.tokens = Some(granted.tokens.clone());
    note.oauth = Some(oauth.clone());
    if let Err(error) = devices::write_note(files, &note) {
        let revoked = authorization.grants.revoke(&granted.tokens).await;
        return Err(match revoked {
            Ok(()) => {
                devices::forget(files, &note.device_id);
                error.into()
            }
            Err(_) => AuthError::DeviceLeft(note.device_id, Box::new(error.into())),
        });
    }
    let (user, device) = whose(server, &granted.tokens).await?;
    check_user(&user, options.username.as_deref())?;
    if device != note.device_id {
        let what = "it gives the login another device than it was asked for";
        return Err(AuthError::BadAnswer(server.base.clone(), what));
    }
    Ok(StoredSession {
        homeserver: server.base.clone(),
        user_id: user,
        device_id: device,
        tokens: granted.tokens,
        login: LoginMethod::OAuth,
        configured: None,
        allow_http: options.allow_http,
        recovery_key_file: None,
        key_backup: BackupUse::None,
        oauth: Some(oauth),
    })
}

/// Asks a homeserver whose tokens these are.
async fn whose(
    server: &Server,
    tokens: &SessionTokens,
) -> Result<(OwnedUserId, OwnedDeviceId), AuthError> {
    let answer = server
        .clone()
        .with_token(&tokens.access_token)
        .whoami()
        .await?;
    let user = answer["user_id"]
        .as_str()
        .and_then(|it| OwnedUserId::try_from(it).ok());
    let device = answer["device_id"].as_str().map(OwnedDeviceId::from);
    let both = user.zip(device);
    both.ok_or_else(|| AuthError::BadAnswer(server.base.clone(), "no user id or device id"))
}

/// Fails if somebody else has logged in than was meant.
pub(super) fn check_user(user: &OwnedUserId, expected: Option<&str>) -> Result<(), AuthError> {
    let Some(expected) = expected.map(str::trim).filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    if user == expected || user.localpart() == expected {
        return Ok(());
    }
    let what = format!("in the browser {user} has logged in, and {expected} was to");
    let cure =
        "log out there, or use a private window, and try again; or give the other --username";
    Err(AuthError::Wrong(Given::Name, what, Some(cure)))
}

/// Returns whether the login service may have given tokens, although this went wrong.
fn may_have_made_a_device(error: &AuthError) -> bool {
    match error {
        AuthError::OAuth(error) => matches!(
            error,
            OAuthError::Unreachable(..) | OAuthError::NotOAuth(..) | OAuthError::BadAnswer(..)
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_browser_ended_up_at_is_taken_whole_or_its_query_alone() {
        let whole = address(" http://127.0.0.1/callback?code=a&state=b\n").unwrap();
        assert_eq!(whole.query(), Some("code=a&state=b"));
        for query in ["?code=a&state=b", "code=a&state=b"] {
            assert_eq!(address(query).unwrap().query(), whole.query());
        }
        assert_eq!(address("a code"), None);
    }

    #[test]
    fn who_logs_in_in_the_browser_must_be_who_was_meant() {
        let user: OwnedUserId = "@relay:example.org".try_into().unwrap();
        for expected in [None, Some("relay"), Some("@relay:example.org"), Some(" ")] {
            check_user(&user, expected).unwrap();
        }
        for other in ["alice", "@relay:other.org"] {
            let error = check_user(&user, Some(other)).unwrap_err();
            assert!(error.to_string().contains(other), "{error}");
        }
    }
}
