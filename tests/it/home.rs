//! The home directory: permissions, symbolic links, and the owner.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::support::person::{names, readable_by_others};
use crate::support::relay::{Home, text_of};
use crate::support::synapse::{PASSWORD, Synapse};

const CONFIG: &str = "\
matrix_rooms:
  - {id: '!room:localhost', meshtastic_channel: 0}
meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}
";

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[tokio::test]
async fn everything_in_the_home_is_its_owners_alone_also_what_was_wider_before() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    home.configure(&format!("{CONFIG}logging: {{log_to_file: true}}\n"));
    let logs = home.path("logs");
    fs::create_dir(&logs).expect("it can be made");
    for name in ["relay.log", "relay.log.1"] {
        fs::write(logs.join(name), "").expect("it can be written");
        allow(&logs.join(name), 0o644);
    }
    allow(&logs, 0o755);
    home.log_in(synapse).await;
    fs::remove_file(home.path("password")).expect("it was written");
    for name in names(&home.path("matrix/sdk")) {
        allow(&home.path("matrix/sdk").join(name), 0o644);
    }
    let mut relay = home.start().await;
    relay.logs("Matrix session open").await;
    let readable = readable_by_others(&home.path(""));
    assert_eq!(readable, Vec::<PathBuf>::new());
    assert!(fs::read(home.path("relay.lock")).is_ok_and(|it| !it.is_empty()));
    assert!(relay.stop().await.success());
    assert_eq!(
        fs::read(home.path("relay.lock")).expect("it stays"),
        b"",
        "nobody holds the home any more"
    );
    let readable = readable_by_others(&home.path(""));
    assert_eq!(readable, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nothing_in_the_home_is_written_through_a_link_and_the_home_may_be_one() {
    let synapse = Synapse::shared().await;
    let home = Home::new();
    let elsewhere = Home::new();
    let username = synapse.register("bot").await;
    home.configure(&format!(
        "{CONFIG}database: {{path: data/relay.sqlite}}\nlogging: {{log_to_file: true, filename: logs/it.log}}\n"
    ));
    let target = elsewhere.path("target");
    for name in [
        "matrix",
        "matrix/sdk",
        "matrix/new",
        "matrix/devices",
        "database",
        "data",
        "data/relay.sqlite",
        "data/relay.sqlite-wal",
        "logs",
        "logs/it.log",
        "logs/it.log.1",
        "relay.lock",
    ] {
        let link = home.path(name);
        fs::create_dir_all(link.parent().expect("it is in the home")).expect("it can be made");
        // Files of an earlier start.
        fs::remove_dir_all(&link)
            .or_else(|_| fs::remove_file(&link))
            .ok();
        symlink(&target, &link).expect("a link can be made");
        let output = home.run(["run"]).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        assert!(text.contains("is a symbolic link"), "{name}: {text}");
        assert!(text.contains(link.to_str().expect("a text")), "{text}");
        if name.starts_with("matrix") {
            let output = home.log_in_as(synapse.url(), &username, PASSWORD).await;
            let text = text_of(&output);
            assert!(text.contains("is a symbolic link"), "{name}: {text}");
        }
        assert!(!target.exists(), "{name}");
        fs::remove_file(&link).expect("it is a link");
        fs::remove_dir_all(home.path("matrix")).ok();
    }
    let output = home.log_in_as(synapse.url(), &username, PASSWORD).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let mut relay = home.start().await;
    assert!(relay.stop().await.success());

    let link = elsewhere.path("home");
    symlink(home.path(""), &link).expect("a link can be made");
    let link = link.to_str().expect("a path is a text");
    let output = std::process::Command::new(crate::support::process::relay_program())
        .args(["--home", link, "auth", "login", "--username", &username])
        .args([
            "--homeserver",
            synapse.url(),
            "--password",
            PASSWORD,
            "--force",
        ])
        .output()
        .expect("the relay runs");
    assert!(output.status.success(), "{}", text_of(&output));
}

#[tokio::test]
async fn a_home_of_another_user_is_warned_of_once() {
    let home = Home::new();
    home.configure(CONFIG);
    if chown(home.path(""), Some(12_345), None).is_err() {
        eprintln!("not tested: this process may not give a directory away");
        return;
    }
    let mut relay = home.start().await;
    relay
        .logs_times("belongs to another user (uid 12345)", 1)
        .await;
    assert!(relay.stop().await.success());
    let log = relay.log();
    assert_eq!(log.matches("belongs to another user").count(), 1, "{log}");
}

#[tokio::test]
async fn a_home_that_another_user_keeps_to_himself_is_told_with_its_owner_and_cure() {
    let mut home = Home::new();
    home.use_ordinary_rights();
    home.configure(CONFIG);
    let database = home.path("database");
    fs::create_dir(&database).expect("a directory can be made");
    allow(&database, 0o755);
    if chown(&database, Some(12_345), None).is_err() {
        eprintln!("not tested: this process may not give a directory away");
        return;
    }
    let output = home.run(["run"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text_of(&output);
    let error = format!(
        "error: `{}` belongs to another user (uid 12345), and the relay runs as uid 0",
        database.display()
    );
    assert!(said.contains(&error), "{said}");
    assert!(said.contains(" as its owner"), "{said}");

    // Nothing of the home can be seen.
    allow(&home.path(""), 0o700);
    chown(home.path(""), Some(12_345), None).expect("it was possible before");
    let said = text_of(&home.run(["run"]).await);
    assert!(
        said.contains("belongs to uid 12345, and is closed to others"),
        "{said}"
    );
}
