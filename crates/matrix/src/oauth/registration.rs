//! Registers the relay at a login service (RFC 7591), as a native program without a secret.

use serde_json::{Value, json};

use super::{OAuthError, Service, Web, words};

/// The relay's page, which a login service shows to people. Whoever publishes the relay sets it when building.
const HOMEPAGE: &str = match option_env!("RELAY_HOMEPAGE") {
    Some(page) => page,
    None => "https://relay.invalid/",
};

/// Where a browser ends up after a login, without the port: that is another one each time (RFC 8252, 7.3).
pub(super) const LOOPBACK: &str = "http://127.0.0.1/callback";

/// Registers the relay, and returns its client id.
pub(crate) async fn register(service: &Service, web: &Web) -> Result<String, OAuthError> {
    let Some(url) = &service.registration_endpoint else {
        let what = "it registers nobody by itself".to_owned();
        return Err(OAuthError::NotRegistered(what));
    };
    let mut grants = vec!["refresh_token"];
    if service.offers_code() {
        grants.push("authorization_code");
    }
    if service.offers_device_code() {
        grants.push("urn:ietf:params:oauth:grant-type:device_code");
    }
    let client = json!({
        "client_name": "relay",
        "client_uri": HOMEPAGE,
        "application_type": "native",
        "grant_types": grants,
        "response_types": ["code"],
        "redirect_uris": [LOOPBACK],
        "token_endpoint_auth_method": "none",
    });
    let (status, answer) = web.post(url, &client).await?;
    match answer["client_id"].as_str() {
        Some(id) if status.is_success() && !id.is_empty() => Ok(id.to_owned()),
        _ if status.is_success() => {
            let what = "it has no client id".to_owned();
            Err(OAuthError::BadAnswer(url.clone(), what))
        }
        _ => Err(OAuthError::NotRegistered(refusal(&answer, status.as_u16()))),
    }
}

/// Returns why a service refuses, in its words.
fn refusal(answer: &Value, status: u16) -> String {
    let field = |name: &str| answer[name].as_str().filter(|it| !it.is_empty());
    match (field("error"), field("error_description")) {
        (Some(code), Some(text)) => words(&format!("{text} ({code})")),
        (Some(code), None) => words(code),
        (None, Some(text)) => words(text),
        (None, None) => format!("HTTP {status}"),
    }
}
