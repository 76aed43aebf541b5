//! First steps of a login: finds the homeserver, and requests a new device.

use std::path::PathBuf;

use matrix_sdk::SessionTokens;
use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::ruma::{DeviceId, OwnedUserId};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::devices::{self, Note, SIGN_OUT_TIMEOUT};
use super::{
    AuthError, Authorization, Files, Given, Offers, Person, Server, ServerError, Unlock, authorize,
};
use crate::session::{BackupUse, LoginMethod, StoredSession};
use relay_config::{JwtLogin, Secret};

/// What a person or the configuration says of a login.
#[derive(Debug)]
pub struct LoginOptions {
    /// The account: its localpart or its whole id. `None`: the one that the credential is for.
    pub username: Option<String>,
    /// What proves that the account is ours.
    pub credential: Credential,
    /// Display name of the new device, as clients list it.
    pub device_name: String,
    /// Display name that the account is given; `None`: unchanged.
    pub display_name: Option<String>,
    /// Allows plain HTTP to a server that is not on loopback.
    pub allow_http: bool,
    /// What becomes of an earlier login.
    pub earlier: Earlier,
    /// What to do if the account already has an identity.
    pub unlock: Unlock,
    /// Whether the login is only worth having with the account's own identity, unlocked; otherwise it is an error.
    pub is_recovery: bool,
    /// Where a new recovery key goes, if one is made.
    pub recovery_key: KeyPlace,
}

/// What proves to a homeserver that an account is ours.
#[derive(Debug)]
pub enum Credential {
    /// The account's password, which also proves changes of its identity.
    Password(Secret<String>),
    /// The access token of a device that no other program has used for encryption, with the account's password if known.
    AccessToken(Secret<String>, Option<Secret<String>>),
    /// A JSON web token of an identity provider, for a login of this type.
    Jwt(JwtLogin, Secret<String>),
    /// A token that single sign-on has brought, for one login.
    Sso(Secret<String>, Person),
    /// A login service, where a person allows the login.
    OAuth(Box<Authorization>),
}

impl Credential {
    /// Returns the account's password, if that is known.
    pub(super) fn password(&self) -> Option<&Secret<String>> {
        match self {
            Self::Password(password) => Some(password),
            Self::AccessToken(_, password) => password.as_ref(),
            Self::Jwt(..) | Self::Sso(..) | Self::OAuth(_) => None,
        }
    }

    /// Returns the person who goes on with the login in a browser, if it is made there.
    pub(super) fn person(&self) -> Option<&Person> {
        match self {
            Self::Sso(_, person) => Some(person),
            Self::OAuth(authorization) => Some(authorization.person()),
            Self::Password(_) | Self::AccessToken(..) | Self::Jwt(..) => None,
        }
    }

    fn method(&self) -> LoginMethod {
        match self {
            Self::Password(_) => LoginMethod::Password,
            Self::AccessToken(..) => LoginMethod::AccessToken,
            Self::Jwt(..) => LoginMethod::Jwt,
            Self::Sso(..) => LoginMethod::Sso,
            Self::OAuth(_) => LoginMethod::OAuth,
        }
    }

    /// Returns the part of a login request that says who logs in, and proves it.
    pub(super) fn proof(&self, user: &str) -> Value {
        match self {
            Self::Password(password) => json!({
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user},
                "password": password.reveal(),
            }),
            // Synapse reads the user from the token.
            Self::Jwt(login @ JwtLogin::Synapse, token) => {
                json!({"type": name_of(*login), "token": token.reveal()})
            }
            Self::Jwt(login @ (JwtLogin::FamedlyOAuth | JwtLogin::Famedly), token) => json!({
                "type": name_of(*login),
                "identifier": {"type": "m.id.user", "user": user},
                "token": token.reveal(),
            }),
            Self::Sso(token, _) => json!({"type": "m.login.token", "token": token.reveal()}),
            // These make no such request.
            Self::OAuth(_) | Self::AccessToken(..) => json!({}),
        }
    }

    /// Returns the error for a homeserver that refuses it.
    pub(super) fn refused(&self, user: &str, server: &Server) -> AuthError {
        match self {
            Self::Password(_) => AuthError::wrong_password(user, &server.base),
            Self::Jwt(..) => {
                let base = &server.base;
                let what =
                    format!("{base} does not accept the identity provider's token for {user}");
                AuthError::Wrong(Given::Way, what, None)
            }
            Self::Sso(..) | Self::OAuth(_) | Self::AccessToken(..) => {
                let what = format!(
                    "{} does not accept the token of the single sign-on",
                    server.base
                );
                let cure = "try again; it is good for a minute or two, and once only";
                AuthError::Wrong(Given::Way, what, Some(cure))
            }
        }
    }
}

/// Returns the type of a login as the homeserver calls it.
pub(super) fn name_of(login: JwtLogin) -> &'static str {
    login.into()
}

/// What becomes of an earlier login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It stays: then there is no new one.
    Stays,
    /// It is replaced, by a login that is not worth less.
    Replaced,
    /// The homeserver has ended it: it is replaced by any login.
    Dead,
}

/// Where a new recovery key goes as soon as it exists: it opens the account's secrets even if the login fails.
#[derive(Debug)]
pub enum KeyPlace {
    /// Into this file.
    File(PathBuf),
    /// To the user, by this function.
    Show(fn(&Secret<String>)),
}

/// Finds the homeserver from its name, or else from the user id, and asks it how one can log in there.
pub async fn find_homeserver(
    homeserver: Option<&str>,
    username: &str,
    allow_http: bool,
) -> Result<(Server, Offers), AuthError> {
    let server = find_server(homeserver, username, allow_http).await?;
    let offers = Offers::of(&server).await?;
    Ok((server, offers))
}

/// Finds the homeserver from its name, or else from the user id.
pub(super) async fn find_server(
    homeserver: Option<&str>,
    username: &str,
    allow_http: bool,
) -> Result<Server, AuthError> {
    let of_id = || Some(username.strip_prefix('@')?.split_once(':')?.1);
    let Some(given) = homeserver.or_else(of_id) else {
        let what = "it is not known which homeserver is meant".to_owned();
        let cure = "give --homeserver (`matrix.homeserver`), or the whole user id (`@name:example.org`) as --username \
                    (`matrix.bot_user_id`)";
        return Err(AuthError::Wrong(Given::Name, what, Some(cure)));
    };
    Ok(Server::discover(given, allow_http).await?)
}

/// Requests a new device. Key backup and recovery key are not known yet.
pub(super) async fn request(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    stop: &CancellationToken,
) -> Result<StoredSession, AuthError> {
    if let Credential::OAuth(authorization) = &options.credential {
        return authorize::request(files, server, options, authorization, stop).await;
    }
    let user = options.username.as_deref().unwrap_or_default().trim();
    // Who logs in by single sign-on is known afterwards.
    let is_once = matches!(options.credential, Credential::Sso(..));
    let is_known_later = is_once && user.is_empty();
    let is_bad = !is_known_later && user.is_empty() || user.contains(char::is_whitespace);
    if is_bad || (user.starts_with('@') && OwnedUserId::try_from(user).is_err()) {
        let what = format!("`{user}` is not a user name");
        let cure = "give `name` or `@name:example.org`";
        return Err(AuthError::Wrong(Given::Name, what, Some(cure)));
    }
    // Without a refresh token where possible: a token that never expires survives months without attention.
    // A token of single sign-on is good for one try.
    let mut answer = try_once(files, server, options, user, is_once).await?;
    if !is_once && answer.get("expires_in_ms").is_some() && answer.get("refresh_token").is_none() {
        sign_out(files, server, &answer).await;
        answer = try_once(files, server, options, user, true).await?;
    }
    let Ok(MatrixSession { meta, tokens }) = serde_json::from_value(answer) else {
        let what = "no user id, device id or access token";
        return Err(AuthError::BadAnswer(server.base.clone(), what));
    };
    authorize::check_user(&meta.user_id, options.username.as_deref())?;
    Ok(StoredSession {
        homeserver: server.base.clone(),
        user_id: meta.user_id,
        device_id: meta.device_id,
        tokens,
        login: options.credential.method(),
        configured: None,
        allow_http: options.allow_http,
        recovery_key_file: None,
        key_backup: BackupUse::None,
        oauth: None,
    })
}

/// Requests a device whose note is written first, so that the device can be signed out whatever happens.
async fn try_once(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    user: &str,
    refresh: bool,
) -> Result<Value, AuthError> {
    let mut note = Note {
        homeserver: server.base.clone(),
        user: user.to_owned(),
        device_id: DeviceId::new(),
        tokens: None,
        allow_http: options.allow_http,
        oauth: None,
    };
    devices::write_note(files, &note)?;
    let mut body = options.credential.proof(user);
    body["device_id"] = json!(note.device_id);
    body["initial_device_display_name"] = json!(options.device_name);
    body["refresh_token"] = json!(refresh);
    let answer = match server.post(&["v3", "login"], &body).await {
        Ok(answer) => answer,
        Err(error) => {
            if was_not_let_in(&error) {
                devices::forget(files, &note.device_id);
            }
            return Err(match error.errcode() {
                Some("M_FORBIDDEN") => options.credential.refused(user, server),
                Some("M_USER_DEACTIVATED") => {
                    let what = format!("the account {user} is deactivated");
                    AuthError::Wrong(Given::Account, what, Some("use another one"))
                }
                Some(_) | None => error.into(),
            });
        }
    };
    note.tokens = serde_json::from_value::<SessionTokens>(answer.clone()).ok();
    if let Some(device) = answer["device_id"].as_str()
        && note.device_id != device
    {
        devices::forget(files, &note.device_id);
        note.device_id = device.into();
    }
    match devices::write_note(files, &note) {
        Ok(()) => Ok(answer),
        Err(error) => Err(unmake(files, server, note, error.into()).await),
    }
}

/// Signs out the device of this answer to a login. If that fails, its note stays, and it is tried again later.
async fn sign_out(files: &Files, server: &Server, answer: &Value) {
    let (Some(device), Some(token)) = (
        answer["device_id"].as_str(),
        answer["access_token"].as_str(),
    ) else {
        return;
    };
    let server = server.clone().with_token(token);
    if let Ok(Ok(())) = timeout(SIGN_OUT_TIMEOUT, server.sign_out()).await {
        devices::forget(files, device.into());
    }
}

/// Signs out a device whose note cannot be written, and returns the error to report.
async fn unmake(files: &Files, server: &Server, note: Note, error: AuthError) -> AuthError {
    if let Some(tokens) = &note.tokens {
        let server = server.clone().with_token(&tokens.access_token);
        if let Ok(Ok(())) = timeout(SIGN_OUT_TIMEOUT, server.sign_out()).await {
            devices::forget(files, &note.device_id);
            return error;
        }
    }
    AuthError::DeviceLeft(note.device_id, Box::new(error))
}

/// Returns whether the server certainly created no device.
fn was_not_let_in(error: &ServerError) -> bool {
    match error {
        ServerError::Unreachable(_, cause) => cause.0.is_connect(),
        // A proxy answers so when the server took too long.
        ServerError::NotMatrix(..) | ServerError::Failing(..) | ServerError::TooLarge(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_without_a_server_is_asked_where() {
        for username in ["relay", "@relay"] {
            let error = find_homeserver(None, username, false).await.unwrap_err();
            assert!(
                matches!(error, AuthError::Wrong(Given::Name, ..)),
                "{error}"
            );
            assert_eq!(
                error.to_string(),
                "it is not known which homeserver is meant"
            );
        }
    }
}
