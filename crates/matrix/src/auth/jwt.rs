//! A login by a JSON web token in place of a password: where the token comes from, and as what the homeserver takes it.

use std::fs;
use std::path::PathBuf;

use super::{AuthError, Credential, Given, keycloak::Keycloak};
use crate::files::FilesError;
use relay_config::{JwtLogin, Matrix, Secret};

/// A login by a token, which is got anew each time.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// As what the homeserver takes the token.
    pub login: JwtLogin,
    /// Where the token comes from.
    pub from: TokenFrom,
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub enum TokenFrom {
    /// From Keycloak, for the account's name and password there.
    Keycloak(Keycloak),
    /// From this file, which something else keeps up to date.
    File(PathBuf),
}

impl Jwt {
    /// Returns what the configuration says of it, if it does.
    pub fn of(config: &Matrix) -> Result<Option<Self>, AuthError> {
        let login = config.jwt_login_type;
        if let Some(file) = &config.jwt_file {
            let from = TokenFrom::File(file.clone());
            return Ok(Some(Self { login, from }));
        }
        let Some(url) = config.keycloak_url.clone() else {
            return Ok(None);
        };
        let missing = |what: &str, flag: &str| {
            let what = format!("a login by Keycloak needs {what}");
            let cure = format!("give {flag}");
            AuthError::Lacking(what, cure)
        };
        let realm = config.keycloak_realm.clone().ok_or_else(|| {
            missing(
                "the realm of the accounts",
                "--keycloak-realm (`matrix.keycloak_realm`)",
            )
        })?;
        let client_id = config.keycloak_client_id.clone().ok_or_else(|| {
            missing(
                "a client as which the relay asks for tokens",
                "--keycloak-client-id (`matrix.keycloak_client_id`)",
            )
        })?;
        let client_secret = config.keycloak_client_secret.clone();
        // An empty one stands for none: templates set each variable.
        let client_secret = client_secret.filter(|secret| !secret.reveal().is_empty());
        let from = TokenFrom::Keycloak(Keycloak {
            url,
            realm,
            client_id,
            client_secret,
        });
        Ok(Some(Self { login, from }))
    }

    /// Returns whether the account's password is needed for it: that at the identity provider.
    pub fn needs_password(&self) -> bool {
        matches!(self.from, TokenFrom::Keycloak(_))
    }

    /// Gets a token for a user.
    pub async fn credential(
        &self,
        user: &str,
        password: Option<&Secret<String>>,
        allow_http: bool,
    ) -> Result<Credential, AuthError> {
        let token = match &self.from {
            TokenFrom::Keycloak(keycloak) => {
                let password = password.ok_or_else(|| {
                    let what = "a login by Keycloak needs the account's password there".to_owned();
                    let cure = "set `matrix.password`, or a variable for it";
                    AuthError::Lacking(what, cure.to_owned())
                })?;
                keycloak.token(user, password, allow_http).await?
            }
            TokenFrom::File(path) => {
                let text = fs::read_to_string(path).map_err(FilesError::of("read", path))?;
                let token = text.trim();
                if token.split('.').count() != 3 || token.contains(char::is_whitespace) {
                    let what = format!("`{}` does not hold a JSON web token", path.display());
                    let cure = "it is three words, with a full stop between them, in one line";
                    return Err(AuthError::Wrong(Given::Way, what, Some(cure)));
                }
                Secret::new(token.to_owned())
            }
        };
        Ok(Credential::Jwt(self.login, token))
    }
}

#[cfg(test)]
mod tests {
    use relay_model::Explained as _;

    use super::*;

    fn keycloak(realm: Option<&str>, client: Option<&str>) -> Matrix {
        Matrix {
            keycloak_url: Some("https://id.example.org".parse().unwrap()),
            keycloak_realm: realm.map(str::to_owned),
            keycloak_client_id: client.map(str::to_owned),
            keycloak_client_secret: Some(Secret::new(String::new())),
            ..Matrix::default()
        }
    }

    #[test]
    fn a_file_counts_before_keycloak_and_what_keycloak_lacks_is_named() {
        assert!(Jwt::of(&Matrix::default()).unwrap().is_none());
        for (config, flag) in [
            (keycloak(None, Some("relay")), "--keycloak-realm"),
            (keycloak(Some("club"), None), "--keycloak-client-id"),
        ] {
            let error = Jwt::of(&config).unwrap_err();
            assert!(error.hint().unwrap().contains(flag), "{error}");
        }
        let mut config = keycloak(Some("club"), Some("relay"));
        let jwt = Jwt::of(&config).unwrap().unwrap();
        assert!(jwt.needs_password());
        let TokenFrom::Keycloak(keycloak) = jwt.from else {
            panic!("it comes from Keycloak");
        };
        assert!(keycloak.client_secret.is_none(), "an empty secret is none");
        config.jwt_file = Some("token.jwt".into());
        assert!(!Jwt::of(&config).unwrap().unwrap().needs_password());
    }

    #[tokio::test]
    async fn a_token_is_read_at_each_login_and_what_is_none_is_not_sent() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token.jwt");
        let jwt = Jwt {
            login: JwtLogin::Synapse,
            from: TokenFrom::File(path.clone()),
        };
        let get = async || jwt.credential("relay", None, false).await;
        assert!(matches!(get().await, Err(AuthError::Files(_))));
        for token in ["aaa.bbb.ccc", "ddd.eee.fff"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            match get().await.unwrap() {
                Credential::Jwt(JwtLogin::Synapse, read) => assert_eq!(read.reveal(), token),
                other => panic!("{other:?}"),
            }
        }
        for text in ["", "<html>", "aaa.bbb.ccc and more"] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(get().await, Err(AuthError::Wrong(Given::Way, ..))),
                "{text}"
            );
        }
    }
}
