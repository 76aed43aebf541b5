use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn home(directory: &tempfile::TempDir) -> Home {
    Home::locate(Some(&directory.path().join("home")), |_| None).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_full_disk_is_told_with_its_cure_whatever_of_the_home_meets_it() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let cure = Some("make room on the disk".to_owned());
    assert_eq!(HomeError::Use("home".into(), full()).hint(), cure);
    assert_eq!(LockError::Use("relay.lock".into(), full()).hint(), cure);
}

#[test]
fn who_cannot_use_a_home_of_another_user_learns_what_helps_where_it_runs() {
    let cure = |owner, us, in_container| cure_of_owner(Path::new("/data"), owner, us, in_container);
    let chown = "give the home to this one with `chown -R 1000 /data`";
    assert_eq!(cure(0, 1000, false), chown);
    assert_eq!(
        cure(501, 1000, false),
        format!("run it as its owner, or {chown}")
    );
    assert_eq!(
        cure(501, 0, false),
        "run it as its owner: `sudo -u '#501' relay …`"
    );
    let chown = "give the home to this one with `docker run --rm --user 0 --entrypoint chown --volume VOLUME:/data IMAGE -R 1000 /data`";
    assert_eq!(cure(0, 1000, true), chown);
    assert_eq!(
        cure(501, 0, true),
        "run the container as its owner (`--user 501`)"
    );
}

#[test]
fn the_flag_beats_the_variable_and_the_variable_the_default() {
    let variables = |name: &str| match name {
        "RELAY_HOME" => Some("/srv/relay".into()),
        "HOME" => Some("/home/alice".into()),
        _ => None,
    };
    let path = |flag: Option<&str>| {
        let home = Home::locate(flag.map(Path::new), variables).unwrap();
        home.path().to_owned()
    };
    assert_eq!(path(Some("/data")), Path::new("/data"));
    assert_eq!(path(None), Path::new("/srv/relay"));
    let only_home = |name: &str| (name == "HOME").then(|| "/home/alice".into());
    let home = Home::locate(None, only_home).unwrap();
    assert_eq!(home.path(), Path::new("/home/alice/.relay"));
    let old = |name: &str| (name == "MMRELAY_HOME").then(|| "/data".into());
    assert_eq!(Home::locate(None, old).unwrap().path(), Path::new("/data"));
    assert!(matches!(
        Home::locate(None, |_| None),
        Err(HomeError::Unknown)
    ));
}

#[test]
fn a_path_is_quoted_where_a_shell_would_not_take_it_as_one() {
    assert_eq!(quoted(Path::new("/home/a/x.yaml")), "/home/a/x.yaml");
    assert_eq!(quoted(Path::new("/my home/it's")), r"'/my home/it'\''s'");
}

#[test]
fn a_told_command_names_a_home_that_is_not_the_default_one() {
    let text =
        "run `relay auth login`, or `relay status`; `relay.lock` stays, and so does `relay x";
    let home = Home::locate(Some(Path::new("/my home")), |_| None).unwrap();
    assert_eq!(
        home.named_in(text),
        "run `relay auth login --home '/my home'`, or `relay status --home '/my home'`; `relay.lock` stays, and so does `relay x"
    );
    // What strangers wrote stays as it is.
    let mut json =
        serde_json::json!({"rooms": [{"hint": text, "silence_hint": text, "name": text}]});
    home.name_hints(&mut json);
    let named = home.named_in(text);
    let expected =
        serde_json::json!({"rooms": [{"hint": named, "silence_hint": named, "name": text}]});
    assert_eq!(json, expected);
    let only_home = |name: &str| (name == "HOME").then(|| "/home/alice".into());
    let home = Home::locate(None, only_home).unwrap();
    assert_eq!(home.named_in(text), text);
}

#[test]
fn a_directory_of_the_system_is_no_home() {
    for path in ["/", "/etc", "/etc/"] {
        let error = Home::locate(Some(Path::new(path)), |_| None).unwrap_err();
        assert!(matches!(error, HomeError::Unfit { .. }), "{path}");
    }
}

#[test]
fn what_is_above_the_home_or_beside_it_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    let elsewhere = directory.path().join("elsewhere");
    for path in [home.path(), &elsewhere, &home.path().join("data")] {
        fs::create_dir_all(path).unwrap();
    }
    let wide = [directory.path(), &elsewhere];
    for path in wide {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in [
        "../data.sqlite",
        "../elsewhere/r.log",
        "data/../../x",
        "data/..",
    ] {
        home.prepare_file(&home.resolve(Path::new(file))).unwrap();
    }
    assert!(wide.iter().all(|path| mode(path) == 0o755));

    // A path that leads back into the home is inside.
    let data = home.path().join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    home.prepare_file(&home.path().join("logs/../data/r.sqlite"))
        .unwrap();
    assert_eq!(mode(&data), 0o700);
    symlink(&elsewhere, home.path().join("link")).unwrap();
    let through = home.prepare_file(&home.path().join("link/../r.sqlite"));
    assert!(matches!(through, Err(HomeError::Link { .. })));
}

#[test]
fn a_prepared_home_is_private_whatever_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    fs::create_dir_all(home.matrix()).unwrap();
    let session = home.matrix().join("session.json");
    fs::write(&session, "{}").unwrap();
    for (path, wide) in [
        (home.path(), 0o755),
        (&home.matrix(), 0o755),
        (&session, 0o644),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(wide)).unwrap();
    }
    assert_eq!(home.prepare(true).unwrap(), Vec::<String>::new());
    assert!(!home.is_shared());
    assert_eq!(mode(home.path()), 0o700);
    assert_eq!(mode(&home.matrix()), 0o700);
    assert_eq!(mode(&home.path().join("database")), 0o700);
    assert_eq!(mode(&session), 0o600);
}

#[test]
fn in_a_home_that_mmrelay_has_what_is_not_ours_keeps_its_modes() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    let path = |name: &str| home.path().join(name);
    let theirs = [
        "matrix/credentials.json",
        "matrix/store/bot_OLD.db",
        "database/meshtastic.sqlite",
        "database/meshtastic.sqlite-wal",
        "logs/mmrelay.log",
        "logs/mmrelay.log.1",
        "config.yaml",
    ];
    let ours = [
        "matrix/session.json",
        "database/relay.sqlite",
        "logs/relay.log.1",
    ];
    for name in theirs.into_iter().chain(ours) {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), "x").unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::create_dir(path("matrix/sdk")).unwrap();
    let directories = [
        "",
        "matrix",
        "matrix/store",
        "matrix/sdk",
        "database",
        "logs",
    ];
    for name in directories {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(home.is_shared());
    assert_eq!(home.prepare(true).unwrap(), Vec::<String>::new());
    for file in [
        "database/relay.sqlite",
        "logs/relay.log",
        "logs/mmrelay.log",
    ] {
        home.prepare_file(&path(file)).unwrap();
    }
    let modes =
        |names: &[&str]| -> Vec<u32> { names.iter().map(|name| mode(&path(name))).collect() };
    assert_eq!(modes(&theirs), [0o644; 7]);
    assert_eq!(modes(&ours), [0o600; 3]);
    assert_eq!(
        modes(&directories),
        [0o755, 0o755, 0o755, 0o700, 0o755, 0o755]
    );

    // The doctor tells what is left open.
    let told = home.examine(true).unwrap().join("\n");
    let config = path("config.yaml");
    assert!(
        told.contains(&format!("`chmod go= {}`", quoted(&config))),
        "{told}"
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(home.examine(true).unwrap(), Vec::<String>::new());
    fs::set_permissions(path("logs"), fs::Permissions::from_mode(0o777)).unwrap();
    let told = home.examine(true).unwrap().join("\n");
    assert!(told.contains("/logs`, which is left as it is"), "{told}");
}

#[test]
fn a_directory_without_mmrelay_s_files_is_ours_also_in_a_home_that_both_use() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    for name in ["matrix", "data"] {
        fs::create_dir_all(home.path().join(name)).unwrap();
    }
    fs::write(home.path().join("data/meshtastic.sqlite"), "x").unwrap();
    for name in ["", "matrix", "data"] {
        let wide = fs::Permissions::from_mode(0o755);
        fs::set_permissions(home.path().join(name), wide).unwrap();
    }
    home.prepare(true).unwrap();
    let modes = ["", "matrix", "data"].map(|name| mode(&home.path().join(name)));
    assert_eq!(modes, [0o755, 0o700, 0o755]);
}

#[test]
fn what_a_link_points_to_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    let target = directory.path().join("target.yaml");
    fs::write(&target, "").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(home.path()).unwrap();
    symlink(&target, home.config()).unwrap();
    home.prepare(true).unwrap();
    assert_eq!(mode(&target), 0o644);
}

#[test]
fn nothing_inside_the_home_is_written_through_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in [
        "matrix",
        "matrix/sdk",
        "matrix/sdk/matrix-sdk-state.sqlite3",
        "matrix/new",
        "matrix/devices",
        "database",
        "relay.lock",
    ] {
        let home = home(&directory);
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A dangling link counts too.
        symlink(elsewhere.join("nothing"), &path).unwrap();
        let error = home.prepare(true).unwrap_err();
        assert!(matches!(&error, HomeError::Link { path: it } if *it == path));
        fs::remove_dir_all(home.path()).unwrap();
    }
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn the_home_itself_may_be_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, home.path()).unwrap();
    home.prepare(true).unwrap();
    home.prepare_file(&home.default_database()).unwrap();
    assert!(target.join("matrix").is_dir());
    assert_eq!(mode(&target), 0o700);
}

#[test]
fn the_place_of_a_log_is_private_wherever_in_the_home_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    home.prepare(true).unwrap();
    let logs = home.path().join("protocol");
    fs::create_dir(&logs).unwrap();
    for name in ["it.log", "it.log.1", "other.log"] {
        fs::write(logs.join(name), "").unwrap();
        fs::set_permissions(logs.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o755)).unwrap();
    home.prepare_file(&logs.join("it.log")).unwrap();
    assert_eq!(mode(&logs), 0o700);
    assert_eq!(mode(&logs.join("it.log")), 0o600);
    assert_eq!(mode(&logs.join("it.log.1")), 0o600);
    assert_eq!(mode(&logs.join("other.log")), 0o644);

    symlink("/nowhere", logs.join("it.log.2")).unwrap();
    let error = home.prepare_file(&logs.join("it.log")).unwrap_err();
    assert!(error.to_string().contains("it.log.2"), "{error}");
    // Paths outside the home are the user's.
    let elsewhere = directory.path().join("link.log");
    symlink("/nowhere", &elsewhere).unwrap();
    home.prepare_file(&elsewhere).unwrap();
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    const OURS: u32 = 0x1234_5678;
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory);
    home.prepare(true).unwrap();
    let configured = Path::new("database/meshtastic.sqlite");
    let path = home.resolve(configured);
    let place = |home: &Home| home.database(configured, OURS);
    assert_eq!(place(&home).path, path);

    let mut header = b"SQLite format 3\0".to_vec();
    header.resize(100, 0);
    fs::write(&path, &header).unwrap();
    let foreign = place(&home);
    assert_eq!(foreign.path, home.default_database());
    assert!(foreign.warning.unwrap().contains("left alone"));
    assert_eq!(fs::read(&path).unwrap(), header);

    header[68..72].copy_from_slice(&OURS.to_be_bytes());
    fs::write(&path, &header).unwrap();
    assert_eq!(
        place(&home),
        DatabasePlace {
            path: path.clone(),
            warning: None
        }
    );
    fs::write(&path, "a text").unwrap();
    assert!(place(&home).warning.is_some());
}

#[test]
fn the_page_of_the_files_names_each_of_them() {
    let page = include_str!("../../docs/reference/files.md");
    for name in owners::PRIVATE.iter().chain(&WRITTEN) {
        let is_told = page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}/"));
        assert!(is_told, "{name} is missing");
    }
}
