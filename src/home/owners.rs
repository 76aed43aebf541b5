//! Which entries of a home are ours and nobody else's business, and which MMRelay has there: both may share a directory, and
//! what is MMRelay's stays as it is, its modes as well.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Private entries of a home, by their paths in it.
pub(super) const PRIVATE: [&str; 10] = [
    "matrix",
    "matrix/sdk",
    "database",
    "logs",
    "config.yaml",
    "matrix/session.json",
    "matrix/sdk.key",
    "matrix/recovery.key",
    "relay.lock",
    "relay.sock",
];

/// Private entries of a home, by their directory in it and the prefix of their names.
const PRIVATE_ENTRIES: [(&str, &str); 3] = [
    ("matrix/sdk", ""),
    ("database", "relay.sqlite"),
    ("logs", "relay.log"),
];

/// MMRelay's files in a home, relative to it, in the layouts of all its versions. Further ones have names that begin so: a
/// WAL, an older log.
const OF_MMRELAY: [&str; 8] = [
    "matrix/credentials.json",
    "credentials.json",
    "matrix/store",
    "store",
    "database/meshtastic.sqlite",
    "meshtastic.sqlite",
    "data/meshtastic.sqlite",
    "logs/mmrelay.log",
];

/// Returns the paths that are ours and private, whether they exist or not.
pub(super) fn private(home: &Path) -> Vec<PathBuf> {
    let mut private = vec![home.to_owned()];
    private.extend(PRIVATE.iter().map(|name| home.join(name)));
    for (directory, beginning) in PRIVATE_ENTRIES {
        private.extend(entries(&home.join(directory), beginning));
    }
    without_mmrelay(home, private)
}

/// Takes out of these paths what is MMRelay's.
pub(super) fn without_mmrelay(home: &Path, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let theirs = of_mmrelay(home);
    let shared = shared(home);
    paths.retain(|path| !theirs.contains(path) && !shared.contains(path));
    paths
}

/// Returns MMRelay's files and directories in this home.
pub(super) fn of_mmrelay(home: &Path) -> Vec<PathBuf> {
    let of = |name: &str| {
        let path = home.join(name);
        let (directory, name) = (path.parent().unwrap_or(home), path.file_name());
        entries(directory, &name.unwrap_or_default().to_string_lossy())
    };
    OF_MMRELAY.iter().flat_map(|name| of(name)).collect()
}

/// Returns what both use, if MMRelay is at home here: the directories that its files are in, and the configuration.
pub(super) fn shared(home: &Path) -> Vec<PathBuf> {
    let theirs = of_mmrelay(home);
    if theirs.is_empty() {
        return Vec::new();
    }
    let directories = theirs.iter().filter_map(|path| path.parent());
    let mut shared = vec![home.to_owned(), home.join("config.yaml")];
    shared.extend(directories.map(Path::to_owned));
    shared
}

/// Returns a directory's entries whose names have this prefix.
pub(super) fn entries(directory: &Path, beginning: &str) -> Vec<PathBuf> {
    let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(beginning.as_bytes());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter(|entry| ours(&entry.file_name()));
    named.map(|entry| entry.path()).collect()
}
