//! The home directory: the relay's files, their permissions, and which process uses them.

#[cfg_attr(windows, path = "home/files_windows.rs")]
mod files;
mod lock;
mod owners;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use relay_disk::{create_private_directory, cure};
use relay_model::{Explained, full_text};

pub(crate) use files::{host_name, rename_new, system_name};
pub(crate) use lock::{Holder, Lock, LockError, StoreGuard, utc};

/// Home of the Debian package.
const PACKAGE_HOME: &str = "/var/lib/relay";

/// Directories that are surely a mistake, as the root is.
const NO_HOMES: [&str; 9] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr",
];

/// Variables that name the home, in order of precedence; MMRelay's are aliases.
const VARIABLES: [&str; 4] = [
    "RELAY_HOME",
    "MMRELAY_HOME",
    "MMRELAY_BASE_DIR",
    "MMRELAY_DATA_DIR",
];

/// What the relay only reads there, or replaces: it may belong to another user.
const ONLY_READ: [&str; 3] = ["config.yaml", "matrix/recovery.key", "relay.sock"];

/// Files written in a home besides its log, relative to it: none may be a symbolic link.
const WRITTEN: [&str; 6] = [
    "relay.lock",
    "database",
    "matrix/sdk",
    "matrix/new",
    "matrix/next",
    "matrix/devices",
];

/// Why a directory cannot be the relay's home.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error("there is no home directory")]
    Unknown,
    /// A directory that is surely named by mistake.
    #[error("`{path}` cannot be the relay's home")]
    Unfit { path: PathBuf },
    #[error("`{path}` lies on a network file system ({kind}), on which databases break")]
    Network { path: PathBuf, kind: &'static str },
    #[error("`{path}` is a symbolic link, and the relay writes through none inside its home")]
    Link { path: PathBuf },
    #[error(
        "the home `{path}` belongs to another user (uid {owner}), and the relay runs as uid {us}"
    )]
    Anothers { path: PathBuf, owner: u32, us: u32 },
    /// Something in the home that belongs to another user, who keeps this one from it.
    #[error("`{path}` belongs to another user (uid {owner}), and the relay runs as uid {us}")]
    Within {
        path: PathBuf,
        home: PathBuf,
        owner: u32,
        us: u32,
    },
    #[error("cannot use `{0}`")]
    Use(PathBuf, #[source] io::Error),
}

impl Explained for HomeError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unknown => "name one with `--home DIR` or RELAY_HOME",
            Self::Unfit { .. } => "name a directory of its own with `--home DIR`",
            Self::Network { .. } => "take a local directory, or insist with `--allow-network-home`",
            Self::Link { .. } => {
                "put what it points to in its place (the home itself may be a link, and `database.path` and \
                 `logging.filename` may name other places)"
            }
            Self::Anothers {
                path: home,
                owner,
                us,
            }
            | Self::Within {
                home, owner, us, ..
            } => return Some(cure_of_owner(home, *owner, *us, in_container())),
            Self::Use(_, cause) => return cure(cause),
        };
        Some(hint.to_owned())
    }
}

/// The home directory and the paths in it. Nothing is created before [`Home::prepare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    path: PathBuf,
    is_default: bool,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabasePlace {
    pub(crate) path: PathBuf,
    /// Why that is not the configured path; `None`: it is.
    pub(crate) warning: Option<String>,
}

impl Home {
    /// Locates the home: the flag, else `RELAY_HOME`, else `~/.relay`.
    pub(crate) fn locate(
        flag: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, HomeError> {
        let set = |name: &str| path_of(variable(name));
        let by_variable = || VARIABLES.iter().find_map(|name| set(name));
        let named = flag.map(Path::to_owned).or_else(by_variable);
        let is_default = named.is_none();
        let path = named.or_else(|| Some(set(files::USER_HOME)?.join(".relay")));
        let path = path.ok_or(HomeError::Unknown)?;
        let path = std::path::absolute(&path).map_err(|_| HomeError::Unknown)?;
        if path.parent().is_none() || NO_HOMES.iter().any(|unfit| Path::new(unfit) == path) {
            return Err(HomeError::Unfit { path });
        }
        Ok(Self { path, is_default })
    }

    /// Returns the home of the system's service: the package's, unless another one is named.
    #[cfg_attr(windows, expect(dead_code, reason = "there is no service"))]
    pub(crate) fn of_service(self) -> Self {
        let path = if self.is_default {
            PACKAGE_HOME.into()
        } else {
            self.path
        };
        Self {
            path,
            is_default: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("config.yaml")
    }

    pub(crate) fn matrix(&self) -> PathBuf {
        self.path.join("matrix")
    }

    pub(crate) fn default_database(&self) -> PathBuf {
        self.path.join("database/relay.sqlite")
    }

    /// Returns where a command copies the database to before it writes the copy elsewhere.
    pub(crate) fn copied_database(&self) -> PathBuf {
        self.path.join("database/copy.sqlite")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("relay.lock")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("relay.sock")
    }

    /// Resolves a configured path: relative ones start at the home.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.path.join(path)
    }

    /// Returns the path of the database: as configured, unless another program's database is there (MMRelay's, for
    /// example), which is left alone.
    pub(crate) fn database(&self, configured: &Path, application_id: u32) -> DatabasePlace {
        let path = self.resolve(configured);
        let default = self.default_database();
        let is_foreign = path != default && is_foreign_database(&path, application_id);
        let warning = is_foreign.then(|| {
            format!(
                "database.path names `{}`, a database of another program: it is left alone, `{}` is used",
                path.display(),
                default.display()
            )
        });
        let path = if is_foreign { default } else { path };
        DatabasePlace { path, warning }
    }

    /// Returns whether MMRelay has, or had, its files in this home.
    pub(crate) fn is_shared(&self) -> bool {
        !owners::shared(&self.path).is_empty()
    }

    /// Returns a hint if this is the default home, it does not exist, and the package's home does.
    pub(crate) fn hint(&self) -> Option<String> {
        let package = Path::new(PACKAGE_HOME);
        let package_alone = self.is_default && !self.path.exists() && package.exists();
        package_alone.then(|| {
            format!(
                "the Debian package keeps its home in {PACKAGE_HOME}: use `--home {PACKAGE_HOME}`"
            )
        })
    }

    /// Adds this home to the relay's commands (between backticks) in a text, unless it is the default home.
    pub(crate) fn named_in(&self, text: &str) -> String {
        let home = format!(" --home {}`", quoted(&self.path));
        match text.split_once("`relay ") {
            Some((before, commands)) if !self.is_default => {
                let commands = commands.split("`relay ");
                let named: Vec<_> = commands.map(|it| it.replacen('`', &home, 1)).collect();
                format!("{before}`relay {}", named.join("`relay "))
            }
            Some(_) | None => text.to_owned(),
        }
    }

    /// Does so in the hints of a JSON value; its other texts may be those of strangers.
    pub(crate) fn name_hints(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(hint) if key.ends_with("hint") => *hint = self.named_in(hint),
                        value => self.name_hints(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|it| self.name_hints(it)),
            _ => {}
        }
    }

    /// Prepares the home for use: creates what is missing, removes other users' rights from what is ours, and returns
    /// warnings. Sets the umask, so that all new files are private. Fails if the home is on a network file system, unless
    /// that is allowed; if it cannot be created; or if it contains symbolic links.
    pub(crate) fn prepare(&self, allow_network: bool) -> Result<Vec<String>, HomeError> {
        self.check_place(allow_network)?;
        // The SDK's files are created by SQLite, with modes from the umask.
        files::make_new_files_private();
        let within = |name: &str| self.path.join(name);
        for path in [&self.path, &within("matrix"), &within("database")] {
            create_directory(path)?;
        }
        let wide = files::narrow(&owners::private(&self.path));
        Ok(self.owner_warning().or(wide).into_iter().collect())
    }

    /// Fails if the home belongs to another user, who could not read what we write there.
    pub(crate) fn check_owner(&self) -> Result<(), HomeError> {
        let path = self.path.clone();
        match files::other_owner(&path) {
            Some((owner, us)) => Err(HomeError::Anothers { path, owner, us }),
            None => Ok(()),
        }
    }

    fn owner_warning(&self) -> Option<String> {
        let error = self.check_owner().err()?;
        Some(full_text(&error))
    }

    /// Checks the home as [`Self::prepare`] does, and changes nothing; returns what deserves attention.
    pub(crate) fn examine(&self, allow_network: bool) -> Result<Vec<String>, HomeError> {
        self.check_place(allow_network)?;
        let wide = files::wide(&owners::private(&self.path));
        let of_both = owners::shared(&self.path);
        let shared = || {
            let path = files::exposed(&of_both)?;
            let named = quoted(path);
            let path = path.display();
            Some(format!(
                "others on this machine may use `{path}`, which is left as it is, as MMRelay is at home here as well: \
                 `chmod go= {named}` takes that away"
            ))
        };
        let wide = wide.or_else(shared);
        Ok(self.owner_warning().or(wide).into_iter().collect())
    }

    /// Fails if the home is on a network file system, unless that is allowed, if it contains symbolic links, or if another
    /// user keeps it from this one.
    fn check_place(&self, allow_network: bool) -> Result<(), HomeError> {
        if !allow_network && let Some(kind) = files::network_file_system(&self.path) {
            return Err(HomeError::Network {
                path: self.path.clone(),
                kind,
            });
        }
        let within = |name: &str| self.path.join(name);
        let written = WRITTEN.iter().map(|name| within(name));
        for path in written.chain(owners::entries(&within("matrix/sdk"), "")) {
            self.inside(&path)?;
        }
        let home = self.path.clone();
        let mut used = vec![home.clone()];
        used.extend(owners::private(&home));
        used.retain(|path| !ONLY_READ.iter().any(|it| *path == within(it)));
        match files::barred(&used) {
            None => Ok(()),
            Some((path, owner, us)) if *path == home => Err(HomeError::Anothers {
                path: home,
                owner,
                us,
            }),
            Some((path, owner, us)) => Err(HomeError::Within {
                path: path.clone(),
                home,
                owner,
                us,
            }),
        }
    }

    /// Prepares the place of a file whose path is configurable: inside the home, no symbolic links are followed, and
    /// nobody else may enter its directory or read its files. Places outside the home are left alone.
    pub(crate) fn prepare_file(&self, path: &Path) -> Result<(), HomeError> {
        let Some(path) = self.inside(path)?.filter(|path| *path != self.path) else {
            return Ok(());
        };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let mut private = owners::entries(directory, &name.to_string_lossy());
        for path in &private {
            self.inside(path)?;
        }
        create_directory(directory)?;
        private.push(directory.to_owned());
        // On failure, preparing the home has already warned.
        drop(files::narrow(&owners::without_mmrelay(&self.path, private)));
        Ok(())
    }

    /// Returns a path without `..` if it stays inside the home. Fails if it goes through a symbolic link there; the
    /// home itself may be one.
    fn inside(&self, path: &Path) -> Result<Option<PathBuf>, HomeError> {
        let Ok(inside) = path.strip_prefix(&self.path) else {
            return Ok(None);
        };
        let mut path = self.path.clone();
        let mut depth = 0_usize;
        for part in inside.components() {
            match part {
                Component::Normal(name) => {
                    path.push(name);
                    depth += 1;
                    if path.is_symlink() {
                        return Err(HomeError::Link { path });
                    }
                }
                // Directories above the home are the user's.
                Component::ParentDir if depth == 0 => return Ok(None),
                Component::ParentDir => {
                    path.pop();
                    depth -= 1;
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(Some(path))
    }
}

/// Returns the path that a variable of the environment holds; an empty one holds none.
pub(crate) fn path_of(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|it| !it.is_empty()).map(PathBuf::from)
}

/// Returns what helps where a home, or something in it, belongs to another user.
fn cure_of_owner(home: &Path, owner: u32, us: u32, in_container: bool) -> String {
    let home = quoted(home);
    let as_owner = if in_container {
        format!("run the container as its owner (`--user {owner}`)")
    } else if us == 0 {
        format!("run it as its owner: `sudo -u '#{owner}' relay …`")
    } else {
        "run it as its owner".to_owned()
    };
    let give = if in_container {
        format!(
            "give the home to this one with `docker run --rm --user 0 --entrypoint chown --volume VOLUME:{home} IMAGE -R {us} {home}`"
        )
    } else {
        format!("give the home to this one with `chown -R {us} {home}`")
    };
    match (owner, us) {
        // Root can give it to itself, and the service of that user would not start any more.
        (_, 0) => as_owner,
        (0, _) => give,
        (_, _) => format!("{as_owner}, or {give}"),
    }
}

/// Returns whether this process runs in a container, as far as that shows.
pub(crate) fn in_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    // https://systemd.io/CONTAINER_INTERFACE
    let variable = std::env::var_os("container");
    variable.is_some() || marks.iter().any(|path| Path::new(path).exists())
}

/// Quotes a path for a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |it: char| it.is_alphanumeric() || "/._-+,:@%=".contains(it);
    if path.chars().all(is_plain) {
        path.into_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

fn create_directory(path: &Path) -> Result<(), HomeError> {
    create_private_directory(path).map_err(|cause| HomeError::Use(path.to_owned(), cause))
}

/// Returns whether the file is another program's database. An empty or missing file is not.
fn is_foreign_database(path: &Path, application_id: u32) -> bool {
    // Format of the header: https://www.sqlite.org/fileformat2.html#the_database_header
    const MAGIC: &[u8] = b"SQLite format 3\0";
    const APPLICATION: std::ops::Range<usize> = 68..72;
    let mut header = Vec::new();
    let file = File::open(path).map(|file| file.take(100));
    let read = file.and_then(|mut file| file.read_to_end(&mut header));
    let id = header
        .get(APPLICATION)
        .and_then(|bytes| bytes.try_into().ok());
    let is_ours = header.starts_with(MAGIC) && id.map(u32::from_be_bytes) == Some(application_id);
    read.is_ok_and(|size| size > 0) && !is_ours
}

#[cfg(test)]
mod tests;
