//! The checks of this machine: the home, the disk, the database.

use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::limit::{failed_by, within};
use crate::daemon::checks::{check, failed, ok, skipped, warning};
use crate::daemon::status::{Check, CheckResult};
use crate::home::{DatabasePlace, Home};
use relay_disk::Disk;
use relay_model::Explained as _;
use relay_store::{SoundDatabase, StoreError};

/// Free space below which there is a warning, in bytes: some days of a busy relay, and its log.
const LITTLE_ROOM: u64 = 200 * 1024 * 1024;
/// Maximum time to look for damage in the database.
const DATABASE_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn home(home: &Home, allow_network: bool) -> Check {
    let path = home.path().display();
    if !home.path().exists() {
        let text = format!("`{path}` is not there yet");
        let cure = "the first `relay config generate`, `relay auth login` or `relay run` makes it";
        return check(
            CheckResult::Warning,
            text,
            Some(home.hint().unwrap_or_else(|| cure.to_owned())),
        );
    }
    match home.examine(allow_network) {
        Ok(warnings) => match warnings.first() {
            Some(text) => check(CheckResult::Warning, text, None),
            None => ok(format!("`{path}`, for its owner only")),
        },
        Err(error) => failed_by(&error),
    }
}

/// Looks at the disk of the home and, if it lies elsewhere, at that of the database.
pub(super) fn disk(home: &Home, database: &Path) -> Check {
    let places = [home.path(), database];
    let found = places.map(|place| (place, Disk::of(place)));
    let [of_home, of_database] = found.map(|(place, disk)| match disk {
        Ok(disk) => of_disk(place, disk),
        Err(error) => warning(
            format!(
                "the disk of `{}` cannot be looked at: {error}",
                place.display()
            ),
            "check whether it is mounted",
        ),
    });
    // The home's disk is told if there is nothing worse.
    let is_worse = of_database.result == CheckResult::Failed
        && of_home.result != CheckResult::Failed
        || of_database.result == CheckResult::Warning && of_home.result == CheckResult::Ok;
    if is_worse { of_database } else { of_home }
}

fn of_disk(place: &Path, disk: Disk) -> Check {
    let place = place.display();
    if let Some(trouble) = disk.trouble {
        let text = format!("{trouble} (`{place}`)");
        return check(CheckResult::Failed, text, trouble.hint());
    }
    let text = format!("{} are free", size(disk.free));
    if disk.free < LITTLE_ROOM {
        let text = format!("only {text} at `{place}`");
        return warning(
            text,
            "make room on the disk: without it nothing can be accepted",
        );
    }
    ok(text)
}

/// Looks for damage in the database.
pub(super) async fn database(place: DatabasePlace) -> Check {
    let path = place.path.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it only reads; after the limit it ends with the process"
    )]
    let examined = spawn_blocking(move || relay_store::examine(&path));
    let cure =
        "the file is large, or the disk is slow: look at the system's log for errors of the disk";
    let who = format!("the examination of `{}`", place.path.display());
    match within(DATABASE_LIMIT, &who, cure, examined).await {
        Ok(Ok(found)) => of_database(&place, found),
        Ok(Err(_panicked)) => failed("it could not be examined", "please report this"),
        Err(late) => late,
    }
}

fn of_database(place: &DatabasePlace, found: Result<Option<SoundDatabase>, StoreError>) -> Check {
    match (found, &place.warning) {
        (Err(error), _) => failed_by(&error),
        (Ok(_), Some(text)) => {
            let cure = "take `database.path` out of the configuration, or name a file of its own";
            warning(text, cure)
        }
        (Ok(None), None) => skipped("there is none yet: the first start makes it"),
        (Ok(Some(SoundDatabase { bytes, schema })), None) => ok(format!(
            "no damage found, {}, schema version {schema}",
            size(bytes)
        )),
    }
}

/// Returns a size in bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(30, "GB"), (20, "MB"), (10, "kB")];
    let unit = UNITS.into_iter().find(|(shift, _)| bytes >> shift >= 2);
    match unit {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_disk::Trouble;

    #[test]
    fn a_disk_is_told_by_what_is_free_on_it() {
        let place = Path::new("/srv/relay");
        let disk = |free, trouble| of_disk(place, Disk { free, trouble });
        let well = disk(5 << 30, None);
        assert_eq!(
            (well.result, &*well.text),
            (CheckResult::Ok, "5 GB are free")
        );
        let little = disk(100 << 20, None);
        assert_eq!(little.result, CheckResult::Warning);
        assert_eq!(little.text, "only 100 MB are free at `/srv/relay`");
        let full = disk(0, Some(Trouble::Full));
        assert_eq!(full.result, CheckResult::Failed);
        assert_eq!(full.text, "the disk is full (`/srv/relay`)");
        assert_eq!(full.hint.as_deref(), Some("make room on the disk"));
    }

    #[test]
    fn a_size_is_told_in_whole_units() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (2047, "2047 bytes"),
            (2048, "2 kB"),
            (52_428_800, "50 MB"),
            (u64::MAX, "17179869183 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_database_is_told_with_what_it_is() {
        let place = |warning: Option<&str>| DatabasePlace {
            path: "relay.sqlite".into(),
            warning: warning.map(str::to_owned),
        };
        let sound = SoundDatabase {
            bytes: 1 << 20,
            schema: 18,
        };
        let found = of_database(&place(None), Ok(Some(sound)));
        assert_eq!(found.text, "no damage found, 1024 kB, schema version 18");
        let foreign = of_database(&place(Some("another program's")), Ok(Some(sound)));
        assert_eq!(foreign.result, CheckResult::Warning);
        assert_eq!(
            of_database(&place(None), Ok(None)).result,
            CheckResult::Skipped
        );
        let closed = of_database(&place(None), Err(StoreError::Closed));
        assert_eq!(closed.result, CheckResult::Failed);
    }

    #[test]
    fn a_home_is_looked_at_and_not_touched() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home");
        let located = Home::locate(Some(&path), |_| None).unwrap();
        assert_eq!(home(&located, true).result, CheckResult::Warning);
        assert!(!path.exists());
        located.prepare(true).unwrap();
        assert_eq!(home(&located, true).result, CheckResult::Ok);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode.clone()).unwrap();
        let wide = home(&located, true);
        assert_eq!(wide.result, CheckResult::Warning);
        assert!(
            wide.text.contains("others on this machine may read"),
            "{}",
            wide.text
        );
        let now = std::fs::metadata(&path).unwrap().permissions();
        assert_eq!(now.mode() & 0o777, 0o755);
    }
}
