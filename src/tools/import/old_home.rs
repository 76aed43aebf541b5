//! Where MMRelay has its files, in the layouts of all its versions.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::error::ImportError;
use super::mmrelay::VARIABLES;
use crate::home::path_of;
use relay_config::read_text;
use relay_store::mmrelay::with_ending;

/// Where it is in containers and packages.
const SYSTEM_HOMES: [&str; 3] = ["/data", "/app/data", "/var/lib/mmrelay"];
/// Its database in a home, newest layout first.
const DATABASES: [&str; 3] = [
    "database/meshtastic.sqlite",
    "meshtastic.sqlite",
    "data/meshtastic.sqlite",
];
/// Where its keys are.
const STORES: [&str; 2] = ["matrix/store", "store"];
/// How the file ends in which it keeps the account's cross-signing identity.
const IDENTITY: &str = "_cross_signing.json";
const CREDENTIALS: [&str; 2] = ["matrix/credentials.json", "credentials.json"];
/// Maximum size of a file with credentials, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// MMRelay's home and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OldHome {
    pub(super) path: PathBuf,
    pub(super) config: Option<PathBuf>,
    pub(super) credentials: Option<PathBuf>,
}

/// Whose account MMRelay used, as far as it is written down; never its token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct OldAccount {
    pub(super) homeserver: Option<String>,
    #[serde(alias = "bot_user_id")]
    pub(super) user_id: Option<String>,
    auth_type: Option<String>,
}

impl OldAccount {
    /// Returns whether the login was made in a browser, so that the account may have no password.
    pub(super) fn is_oauth(&self) -> bool {
        self.auth_type.as_deref() == Some("oauth")
    }
}

impl OldHome {
    /// Finds the home: the named one, else that of a variable, else the first of the usual places that has MMRelay's files.
    pub(super) fn find(
        named: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ImportError> {
        if let Some(named) = named {
            let unreadable = |cause| ImportError::Unreadable(named.to_owned(), cause);
            fs::read_dir(named).map_err(unreadable)?;
            let home = Self::at(named);
            let is_one = home.has_data() || home.config.is_some();
            return if is_one {
                Ok(home)
            } else {
                Err(ImportError::NotAHome(named.to_owned()))
            };
        }
        let set = |name: &str| path_of(variable(name));
        let mut looked: Vec<PathBuf> = VARIABLES.iter().filter_map(|name| set(name)).collect();
        looked.extend(set("HOME").map(|home| home.join(".mmrelay")));
        let own = looked.len();
        looked.extend(SYSTEM_HOMES.map(PathBuf::from));
        // A configuration alone may be anybody's in places that are not named after MMRelay.
        let is_one = |(index, home): &(usize, Self)| {
            home.has_data() || (*index < own && home.config.is_some())
        };
        let mut homes = looked.iter().map(|it| Self::at(it)).enumerate();
        match homes.find(is_one) {
            Some((_, home)) => Ok(home),
            None => Err(ImportError::NoHome(looked)),
        }
    }

    fn at(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let existing = |path: PathBuf| path.is_file().then_some(path);
        // Up to version 1.2 the data could lie below the configuration's directory.
        let above = path.parent().filter(|_| path.ends_with("data"));
        let configs = [Some(path.as_path()), above].into_iter().flatten();
        let config = configs.map(|it| it.join("config.yaml")).find_map(existing);
        let beside = above.into_iter().chain([path.as_path()]);
        let credentials = beside
            .flat_map(|home| CREDENTIALS.map(|name| home.join(name)))
            .find_map(existing);
        Self {
            path,
            config,
            credentials,
        }
    }

    /// Returns the directories that MMRelay takes for its home: that of the configuration can be another one than that of the
    /// data.
    pub(super) fn directories(&self) -> Vec<&Path> {
        let of_config = self.config.as_deref().and_then(Path::parent);
        let of_config = of_config.filter(|it| *it != self.path);
        [self.path.as_path()].into_iter().chain(of_config).collect()
    }

    fn has_data(&self) -> bool {
        self.credentials.is_some() || !self.databases(None, None).is_empty()
    }

    /// Returns the databases, the one written last first. `configured` is the place that the configuration names, `user` what
    /// `~` stands for.
    pub(super) fn databases(&self, configured: Option<&Path>, user: Option<&Path>) -> Vec<PathBuf> {
        let configured = configured.map(|path| match (path.strip_prefix("~"), user) {
            (Ok(rest), Some(user)) => user.join(rest),
            _ => self.path.join(path),
        });
        let usual = DATABASES.iter().map(|name| self.path.join(name));
        let mut found: Vec<PathBuf> = Vec::new();
        for path in configured.into_iter().chain(usual) {
            // One behind two names is one.
            let real = path.canonicalize().ok().filter(|it| it.is_file());
            if real.is_some() && found.iter().all(|it| it.canonicalize().ok() != real) {
                found.push(path);
            }
        }
        found.sort_by_key(|path| std::cmp::Reverse(last_written(path)));
        found
    }

    /// Returns the file of the account's cross-signing identity, if MMRelay has made it; of several that of its login.
    pub(super) fn identity(&self) -> Option<PathBuf> {
        let entries = STORES
            .iter()
            .filter_map(|it| fs::read_dir(self.path.join(it)).ok());
        let paths = entries.flatten().flatten().map(|it| it.path());
        let ends = |path: &PathBuf| path.to_string_lossy().ends_with(IDENTITY);
        let mut found: Vec<PathBuf> = paths.filter(ends).collect();
        found.sort();
        let user = self.account().user_id.unwrap_or_default();
        let is_of = |path: &&PathBuf| {
            path.to_string_lossy()
                .ends_with(&format!("{user}{IDENTITY}"))
        };
        found.iter().find(is_of).or(found.first()).cloned()
    }

    /// Returns the account of MMRelay's login; nothing of it if that cannot be read.
    pub(super) fn account(&self) -> OldAccount {
        let text = self
            .credentials
            .as_ref()
            .and_then(|path| read_text(path, LARGEST).ok());
        let account = text.and_then(|text| serde_json::from_str(&text).ok());
        account.unwrap_or_default()
    }
}

/// Returns when a database was written last, its WAL included.
pub(super) fn last_written(path: &Path) -> Option<SystemTime> {
    let modified = |path: &Path| fs::metadata(path).ok()?.modified().ok();
    modified(path).max(modified(&with_ending(path, "-wal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_with(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        directory
    }

    #[test]
    fn the_home_is_found_in_each_layout() {
        for database in DATABASES {
            let directory = home_with(&["config.yaml", database]);
            let home = OldHome::find(Some(directory.path()), |_| None).unwrap();
            assert_eq!(home.config, Some(directory.path().join("config.yaml")));
            assert_eq!(
                home.databases(None, None),
                [directory.path().join(database)]
            );
        }
        let directory = home_with(&["config.yaml", "data/meshtastic.sqlite", "credentials.json"]);
        let data = directory.path().join("data");
        let home = OldHome::find(Some(&data), |_| None).unwrap();
        assert_eq!(home.config, Some(directory.path().join("config.yaml")));
        assert_eq!(
            home.credentials,
            Some(directory.path().join("credentials.json"))
        );
        assert_eq!(home.databases(None, None), [data.join("meshtastic.sqlite")]);
    }

    #[test]
    fn a_variable_counts_before_the_usual_place_and_an_empty_directory_never_does() {
        let (user, other) = (
            home_with(&[".mmrelay/config.yaml"]),
            home_with(&["credentials.json"]),
        );
        let find = |set: Option<&Path>| {
            OldHome::find(None, |name| match name {
                "HOME" => Some(user.path().into()),
                "MMRELAY_HOME" => set.map(|it| it.as_os_str().to_owned()),
                _ => None,
            })
        };
        assert_eq!(find(None).unwrap().path, user.path().join(".mmrelay"));
        assert_eq!(find(Some(other.path())).unwrap().path, other.path());
        let empty = home_with(&[]);
        assert_eq!(
            find(Some(empty.path())).unwrap().path,
            user.path().join(".mmrelay")
        );
        let named = OldHome::find(Some(empty.path()), |_| None).unwrap_err();
        assert!(matches!(named, ImportError::NotAHome(_)), "{named}");
        let missing = OldHome::find(Some(&empty.path().join("none")), |_| None).unwrap_err();
        assert!(matches!(missing, ImportError::Unreadable(..)), "{missing}");
    }

    #[test]
    fn the_database_that_was_written_last_comes_first_wherever_it_is() {
        let directory = home_with(&["database/meshtastic.sqlite", "own/mesh.db"]);
        let home = OldHome::find(Some(directory.path()), |_| None).unwrap();
        let path = |name: &str| directory.path().join(name);
        let older = fs::File::open(path("database/meshtastic.sqlite")).unwrap();
        older.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let expected = [path("own/mesh.db"), path("database/meshtastic.sqlite")];
        assert_eq!(
            home.databases(Some(Path::new("own/mesh.db")), None),
            expected
        );
        let below_user = home.databases(Some(Path::new("~/own/mesh.db")), Some(directory.path()));
        assert_eq!(below_user, expected);
        assert_eq!(
            home.databases(Some(Path::new("/nowhere")), None),
            expected[1..]
        );
    }

    #[test]
    fn the_account_is_read_under_both_names_and_its_token_is_not() {
        let directory = home_with(&["matrix/credentials.json"]);
        let path = directory.path().join("matrix/credentials.json");
        let home = OldHome::find(Some(directory.path()), |_| None).unwrap();
        assert_eq!(home.account(), OldAccount::default());
        for name in ["user_id", "bot_user_id"] {
            let json = format!(
                r#"{{"homeserver": "https://example.org", "{name}": "@bot:example.org", "access_token": "syt", "auth_type": "oauth", "oauth": {{}}}}"#
            );
            fs::write(&path, json).unwrap();
            let account = home.account();
            assert_eq!(account.user_id.as_deref(), Some("@bot:example.org"));
            assert!(account.is_oauth() && home.identity().is_none());
            assert!(!format!("{account:?}").contains("syt"));
        }
    }

    #[test]
    fn of_several_identities_that_of_the_login_is_named() {
        let store = |name: &str| format!("matrix/store/{name}_cross_signing.json");
        let files = [
            store("@a:example.org"),
            store("@bot:example.org"),
            "matrix/credentials.json".to_owned(),
        ];
        let directory = home_with(&files.each_ref().map(String::as_str));
        let home = OldHome::find(Some(directory.path()), |_| None).unwrap();
        let named = |name: &str| Some(directory.path().join(store(name)));
        assert_eq!(home.identity(), named("@a:example.org"));
        let credentials = directory.path().join("matrix/credentials.json");
        fs::write(credentials, r#"{"user_id": "@bot:example.org"}"#).unwrap();
        assert_eq!(home.identity(), named("@bot:example.org"));
    }
}
