//! The flags of a login by a JSON web token of an identity provider.

use std::path::PathBuf;

use clap::Args;
use strum::VariantNames as _;
use url::Url;

use super::answers;
use crate::cli::failure::Failure;
use relay_config::{JwtLogin, Matrix};
use relay_matrix::auth::Jwt;

/// How a token is got, and as what the homeserver takes it.
#[derive(Debug, Default, Args)]
pub(super) struct JwtArgs {
    /// Log in by a token of an identity provider: from Keycloak, for the account's name and password there
    #[arg(long, group = "way")]
    jwt: bool,
    /// Log in by the token (a JSON web token) in this file [env: `RELAY_MATRIX_JWT_FILE`]
    #[arg(long, value_name = "FILE", group = "way")]
    jwt_file: Option<PathBuf>,
    /// As what the homeserver takes the token: com.famedly.login.token.oauth (the default), com.famedly.login.token or
    /// org.matrix.login.jwt [env: `RELAY_MATRIX_JWT_LOGIN_TYPE`]
    #[arg(long, value_name = "TYPE", value_parser = login_type)]
    jwt_login_type: Option<JwtLogin>,
    /// Keycloak's address, up to `/realms` [env: `RELAY_MATRIX_KEYCLOAK_URL`]
    #[arg(long, value_name = "URL", requires = "jwt")]
    keycloak_url: Option<Url>,
    /// The account's realm there [env: `RELAY_MATRIX_KEYCLOAK_REALM`]
    #[arg(long, value_name = "REALM", requires = "jwt")]
    keycloak_realm: Option<String>,
    /// The client as which the relay asks Keycloak [env: `RELAY_MATRIX_KEYCLOAK_CLIENT_ID`]
    #[arg(long, value_name = "ID", requires = "jwt")]
    keycloak_client_id: Option<String>,
    /// A file whose first line is that client's secret; a public client has none [env: `RELAY_MATRIX_KEYCLOAK_CLIENT_SECRET`]
    #[arg(long, value_name = "FILE", requires = "jwt")]
    keycloak_client_secret_file: Option<PathBuf>,
}

fn login_type(text: &str) -> Result<JwtLogin, String> {
    let known = || format!("known are {}", JwtLogin::VARIANTS.join(", "));
    text.parse().map_err(|_| known())
}

impl JwtArgs {
    /// Returns how a token is got, if this is the way in: a flag says so, or else the environment or the configuration.
    pub(super) fn wanted(self, configured: &Matrix) -> Result<Option<Jwt>, Failure> {
        let is_asked = self.jwt || self.jwt_file.is_some();
        let mut matrix = configured.clone();
        if self.jwt {
            // That in the configuration is for when nobody is there.
            matrix.jwt_file = None;
        }
        let secret = self.keycloak_client_secret_file.as_deref();
        let secret = secret.map(answers::first_line).transpose()?;
        matrix.jwt_file = self.jwt_file.or(matrix.jwt_file);
        matrix.jwt_login_type = self.jwt_login_type.unwrap_or(matrix.jwt_login_type);
        matrix.keycloak_url = self.keycloak_url.or(matrix.keycloak_url);
        matrix.keycloak_realm = self.keycloak_realm.or(matrix.keycloak_realm);
        matrix.keycloak_client_id = self.keycloak_client_id.or(matrix.keycloak_client_id);
        matrix.keycloak_client_secret = secret.or(matrix.keycloak_client_secret);
        let jwt = Jwt::of(&matrix)?;
        if is_asked && jwt.is_none() {
            return Err(answers::missing("--keycloak-url"));
        }
        Ok(jwt)
    }
}
