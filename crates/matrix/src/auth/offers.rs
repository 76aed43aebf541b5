//! Which ways to log in a homeserver offers.

use serde_json::Value;
use strum::VariantNames as _;

use super::entry::name_of;
use super::{AuthError, Given, Server};
use relay_config::JwtLogin;

const PASSWORD: &str = "m.login.password";
const SSO: &str = "m.login.sso";
/// What a flow says of a homeserver whose logins go through a login service, by the specification and before it.
const OAUTH_PREFERRED: [&str; 2] = [
    "oauth_aware_preferred",
    "org.matrix.msc3824.delegated_oidc_compatibility",
];

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With the account's password.
    Password,
    /// With a JSON web token.
    Jwt(JwtLogin),
    /// By single sign-on, in a browser.
    Sso,
}

/// What a homeserver offers to those who log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// The types of `GET /_matrix/client/v3/login`, as `m.login.password`.
    pub flows: Vec<String>,
    /// The identity providers of single sign-on: id and name.
    pub providers: Vec<(String, String)>,
    /// The homeserver says that it has left logins to a login service (OAuth 2.0). One that does not say so may have, too.
    pub oauth: bool,
}

impl Offers {
    /// Asks a homeserver what it offers.
    pub(super) async fn of(server: &Server) -> Result<Self, AuthError> {
        match server.get(&["v3", "login"]).await {
            Ok(answer) => Ok(Self::read(&answer)),
            // A homeserver that has left all logins to a login service (OAuth 2.0).
            Err(error) if error.errcode() == Some("M_UNRECOGNIZED") => Ok(Self {
                oauth: true,
                ..Self::read(&Value::Null)
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn read(answer: &Value) -> Self {
        let flows = || answer["flows"].as_array().into_iter().flatten();
        let providers = flows().filter_map(|flow| flow["identity_providers"].as_array());
        let text = |it: &Value| it.as_str().map(|it| it.chars().take(200).collect());
        let provider = |it: &Value| Some((text(&it["id"])?, text(&it["name"]).unwrap_or_default()));
        let providers = providers.flatten().filter_map(provider).take(50).collect();
        let prefers = |flow: &Value| OAUTH_PREFERRED.iter().any(|name| flow[*name] == true);
        let oauth = flows().any(prefers);
        let flows = flows().filter_map(|flow| flow["type"].as_str());
        Self {
            providers,
            oauth,
            flows: flows.map(str::to_owned).collect(),
        }
    }

    /// Returns whether this way is offered.
    pub fn has(&self, way: Way) -> bool {
        let name = match way {
            Way::Password => PASSWORD,
            Way::Jwt(login) => name_of(login),
            Way::Sso => SSO,
        };
        self.flows.iter().any(|flow| flow == name)
    }

    /// Fails if this way is not offered; with what is.
    pub fn demand(&self, way: Way, server: &Server) -> Result<(), AuthError> {
        if self.has(way) {
            return Ok(());
        }
        let what = match way {
            Way::Password => "takes no passwords".to_owned(),
            Way::Jwt(login) => format!("does not know the login type {}", name_of(login)),
            Way::Sso => "offers no single sign-on".to_owned(),
        };
        let offered = self.named();
        let what = format!("{} {what} (it offers {offered})", server.base);
        let cure = if self.oauth {
            "log in by OAuth 2.0, with `relay auth login --oauth`"
        } else if self.has(Way::Sso) {
            "log in in a browser, with `relay auth login --sso`"
        } else {
            "log in as a flag says, or with the access token of another login (`--access-token-file`)"
        };
        Err(AuthError::Wrong(Given::Way, what, Some(cure)))
    }

    /// Names what is offered, each with the flag for it.
    fn named(&self) -> String {
        let flag = |flow: &str| match flow {
            PASSWORD => Some("`--password-file`"),
            SSO => Some("`--sso`"),
            flow if JwtLogin::VARIANTS.contains(&flow) => Some("`--jwt` or `--jwt-file`"),
            _ => None,
        };
        let with_flag = |flow: &String| match flag(flow) {
            Some(flag) => format!("{flow}: {flag}"),
            None => flow.clone(),
        };
        let mut named: Vec<String> = self.flows.iter().map(with_flag).collect();
        if self.oauth {
            named.push("OAuth 2.0: `--oauth`".to_owned());
        }
        if named.is_empty() {
            return "nothing".to_owned();
        }
        named.join(", ").chars().take(300).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_offered_is_told_with_what_is() {
        let server = Server::at("http://127.0.0.1:1".parse().unwrap(), false).unwrap();
        let flows = json!({"flows": [{"type": "m.login.sso"}, {"type": "m.login.token"}, {}]});
        let offers = Offers::read(&flows);
        let error = offers.demand(Way::Password, &server).unwrap_err();
        assert_eq!(
            error.to_string(),
            "http://127.0.0.1:1/ takes no passwords (it offers m.login.sso: `--sso`, m.login.token)"
        );
        let cure = |flow: Value| {
            let offers = Offers::read(&json!({"flows": [flow]}));
            let error = offers.demand(Way::Password, &server).unwrap_err();
            relay_model::Explained::hint(&error).unwrap()
        };
        assert!(cure(json!({"type": "m.login.sso"})).contains("--sso"));
        let delegated = json!({"type": "m.login.sso", "oauth_aware_preferred": true});
        assert!(cure(delegated).contains("--oauth"));
        let nothing = Offers::read(&json!({}));
        let error = nothing.demand(Way::Password, &server).unwrap_err();
        assert!(
            error.to_string().ends_with("(it offers nothing)"),
            "{error}"
        );
        let flows = json!({"flows": [{"type": "m.login.password"}]});
        Offers::read(&flows).demand(Way::Password, &server).unwrap();
    }
}
