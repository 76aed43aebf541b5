//! Keycloak as an identity provider: gives a token for a user's name and password (the resource owner's password grant, RFC
//! 6749 section 4.3), which a homeserver takes in place of a password.

use oauth2::http::{Request, StatusCode};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::{AuthError, Given};
use crate::oauth::{OAuthError, Web, words};
use relay_config::Secret;

/// A client of a realm of Keycloak.
#[derive(Debug, Clone)]
pub struct Keycloak {
    /// Its address, up to `/realms`.
    pub url: Url,
    /// The realm of the accounts.
    pub realm: String,
    /// The client as which the relay asks, with direct access grants.
    pub client_id: String,
    /// The client's secret; `None`: it is a public one.
    pub client_secret: Option<Secret<String>>,
}

impl Keycloak {
    /// Returns an access token for a user. Fails with [`Given::Password`] if name and password are not accepted.
    pub async fn token(
        &self,
        user: &str,
        password: &Secret<String>,
        allow_http: bool,
    ) -> Result<Secret<String>, AuthError> {
        let url = self.endpoint();
        let request = Request::post(url.as_str())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(self.form(user, password));
        let request =
            request.map_err(|error| OAuthError::BadAnswer(url.clone(), error.to_string()))?;
        let response = Web::new(&url, allow_http)?.send(request).await?;
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        if !response.status().is_success() {
            return Err(self.refused(user, response.status(), &answer));
        }
        match answer["access_token"].as_str() {
            Some(token) => Ok(Secret::new(token.to_owned())),
            None => Err(OAuthError::BadAnswer(url, "it holds no token".to_owned()).into()),
        }
    }

    fn form(&self, user: &str, password: &Secret<String>) -> Vec<u8> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "password")
            .append_pair("scope", "openid")
            .append_pair("client_id", &self.client_id)
            .append_pair("username", localpart(user))
            .append_pair("password", password.reveal());
        if let Some(secret) = &self.client_secret {
            form.append_pair("client_secret", secret.reveal());
        }
        form.finish().into_bytes()
    }

    fn endpoint(&self) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            segments.extend(["realms", &self.realm, "protocol", "openid-connect", "token"]);
        }
        url
    }

    fn refused(&self, user: &str, status: StatusCode, answer: &Value) -> AuthError {
        let text = |name: &str| answer[name].as_str().map(words);
        let error = text("error").unwrap_or_default();
        let said = text("error_description").unwrap_or_else(|| error.clone());
        let (url, realm, client) = (&self.url, &self.realm, &self.client_id);
        let user = localpart(user);
        let (given, what, cure) = match (status.as_u16(), &*error) {
            (401, "invalid_grant") => (
                Given::Password,
                format!(
                    "Keycloak does not accept this user name and password ({user}, realm `{realm}`, at {url})"
                ),
                "check both",
            ),
            (_, "invalid_grant") => (
                Given::Account,
                format!("Keycloak does not log {user} in: {said}"),
                "whoever runs Keycloak has to look at this account, for example for required actions",
            ),
            (401, _) => (
                Given::Way,
                format!("Keycloak does not accept the client `{client}`: {said}"),
                "check --keycloak-client-id and --keycloak-client-secret-file (`matrix.keycloak_client_id`, `…_secret`)",
            ),
            (_, "unauthorized_client" | "unsupported_grant_type") => (
                Given::Way,
                format!(
                    "Keycloak does not let the client `{client}` log people in by their password: {said}"
                ),
                "switch on `Direct access grants` of that client, or log in another way",
            ),
            (404, _) => (
                Given::Way,
                format!("Keycloak at {url} has no realm `{realm}`: {said}"),
                "check --keycloak-url, which ends before `/realms`, and --keycloak-realm",
            ),
            _ => return OAuthError::Refused("the token", format!("{error}: {said}")).into(),
        };
        AuthError::Wrong(given, what, Some(cure))
    }
}

/// Returns the part of a user id that Keycloak knows.
fn localpart(user: &str) -> &str {
    let name = user.trim().trim_start_matches('@');
    name.split_once(':').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keycloak(url: &str) -> Keycloak {
        Keycloak {
            url: url.parse().unwrap(),
            realm: "the club".to_owned(),
            client_id: "relay".to_owned(),
            client_secret: Some(Secret::new("hidden".to_owned())),
        }
    }

    #[test]
    fn the_address_may_have_a_path_and_the_realm_any_name() {
        for url in [
            "https://id.example.org/auth",
            "https://id.example.org/auth/",
        ] {
            assert_eq!(
                keycloak(url).endpoint().as_str(),
                "https://id.example.org/auth/realms/the%20club/protocol/openid-connect/token"
            );
        }
        assert!(!format!("{:?}", keycloak("https://id.example.org")).contains("hidden"));
    }

    #[test]
    fn what_keycloak_refuses_is_told_apart() {
        let told = |status: u16, error: &str, said: &str| {
            let answer = json!({"error": error, "error_description": said});
            let status = StatusCode::from_u16(status).unwrap();
            let keycloak = keycloak("https://id.example.org");
            match keycloak.refused("@relay:example.org", status, &answer) {
                AuthError::Wrong(given, what, Some(_)) => (Some(given), what),
                other => (None, other.to_string()),
            }
        };
        for (status, error, said, given, words) in [
            (
                401,
                "invalid_grant",
                "Invalid user credentials",
                Some(Given::Password),
                "name and password (relay,",
            ),
            (
                400,
                "invalid_grant",
                "Account disabled",
                Some(Given::Account),
                "relay in: Account disabled",
            ),
            (
                401,
                "invalid_client",
                "Invalid client",
                Some(Given::Way),
                "the client `relay`: Invalid client",
            ),
            (
                401,
                "unauthorized_client",
                "Invalid client secret",
                Some(Given::Way),
                "not accept the client",
            ),
            (
                400,
                "unauthorized_client",
                "Client not allowed",
                Some(Given::Way),
                "by their password: Client not",
            ),
            (
                404,
                "Realm does not exist",
                "",
                Some(Given::Way),
                "has no realm `the club`",
            ),
            (
                400,
                "invalid_scope",
                "no openid",
                None,
                "refuses the token: invalid_scope: no openid",
            ),
        ] {
            let (found, what) = told(status, error, said);
            assert_eq!(found, given, "{what}");
            assert!(what.contains(words), "{what}");
        }
    }
}
