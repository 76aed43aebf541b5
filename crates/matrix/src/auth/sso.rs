//! Single sign-on: a browser brings back a token that is good for one login.

use rand::distr::{Alphanumeric, SampleString as _};
use tokio::time::timeout;
use url::Url;

use super::browser::{Browser, PATIENCE, Person, Shown};
use super::{AuthError, Offers, Server, Way};
use crate::redirect::Redirect;
use relay_config::Secret;

/// Has a person log in by single sign-on, at this identity provider of the homeserver's, and returns the token for a login.
/// Cancel safe.
pub async fn single_sign_on(
    server: &Server,
    offers: &Offers,
    provider: Option<&str>,
    browser: Browser,
    person: &Person,
) -> Result<Secret<String>, AuthError> {
    offers.demand(Way::Sso, server)?;
    if let Some(provider) = provider
        && !offers.providers.iter().any(|(id, _)| id == provider)
    {
        let offered = offers.providers.clone();
        return Err(AuthError::UnknownProvider(provider.to_owned(), offered));
    }
    // Nobody else knows the path, so nobody else can bring a token.
    let path = format!("/{}", Alphanumeric.sample_string(&mut rand::rng(), 32));
    let redirect = match browser {
        Browser::Here => Some(Redirect::listen().await.map_err(AuthError::NoListener)?),
        Browser::Paste | Browser::Code => None,
    };
    let host = match &redirect {
        Some(redirect) => format!("127.0.0.1:{}", redirect.port()),
        None => "127.0.0.1".to_owned(),
    };
    let url = page(server, provider, &format!("http://{host}{path}"));
    let is_here = redirect.is_some();
    (person.show)(&Shown::Page { url: &url, is_here });
    let brought = async {
        let Some(redirect) = redirect else {
            let pasted = (person.ask)().await.map_err(|_| AuthError::Interrupted)?;
            return pasted_token(&pasted, &path);
        };
        let is_ours = |url: &Url| url.path() == path && token_of(url).is_some();
        let url = redirect.awaited(is_ours).await;
        token_of(&url).ok_or(AuthError::NotBrought("a token"))
    };
    timeout(PATIENCE, brought)
        .await
        .unwrap_or(Err(AuthError::NotFinished(PATIENCE.as_secs() / 60)))
        .map(Secret::new)
}

fn page(server: &Server, provider: Option<&str>, redirect: &str) -> Url {
    let mut url = server.base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty()
            .extend(["_matrix", "client", "v3", "login", "sso", "redirect"])
            .extend(provider);
    }
    url.query_pairs_mut().append_pair("redirectUrl", redirect);
    url
}

fn token_of(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    let token = pairs.find_map(|(name, value)| (name == "loginToken").then_some(value))?;
    (!token.is_empty()).then(|| token.into_owned())
}

/// Returns the token of what a person has pasted: the whole address, or the token alone.
fn pasted_token(pasted: &str, path: &str) -> Result<String, AuthError> {
    let pasted = pasted.trim();
    match Url::parse(pasted) {
        Ok(url) if url.has_host() => match token_of(&url) {
            Some(token) if url.path() == path => Ok(token),
            Some(_) => Err(AuthError::NotBrought(
                "the token of this login, but another's",
            )),
            None => Err(AuthError::NotBrought("a token")),
        },
        Ok(_) | Err(_) => {
            let token = pasted.rsplit_once("loginToken=").map_or(pasted, |it| it.1);
            if token.is_empty() || token.contains(char::is_whitespace) {
                return Err(AuthError::NotBrought("a token"));
            }
            Ok(token.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_this_login_is_taken_or_the_token_alone_and_nothing_else() {
        let taken = |text: &str| pasted_token(text, "/path").ok();
        for right in [
            " http://127.0.0.1/path?loginToken=token\n",
            "token",
            "loginToken=token",
        ] {
            assert_eq!(taken(right).as_deref(), Some("token"), "{right}");
        }
        for wrong in [
            "",
            "two words",
            "http://127.0.0.1/path",
            "http://127.0.0.1/another?loginToken=token",
        ] {
            assert_eq!(taken(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_provider_is_a_part_of_the_path_and_the_redirect_of_the_query() {
        let server = Server::at("https://example.org".parse().unwrap(), false).unwrap();
        assert_eq!(
            page(&server, Some("oidc-a/b"), "http://127.0.0.1:1/x").as_str(),
            "https://example.org/_matrix/client/v3/login/sso/redirect/oidc-a%2Fb?redirectUrl=http%3A%2F%2F127.0.0.1%3A1%2Fx"
        );
    }
}
