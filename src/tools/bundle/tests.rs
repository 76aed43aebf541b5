//! Bundles without a daemon.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use relay_config::{Config, Environment};
use relay_model::{Node, NodeNum};
use relay_store::{Store, nodes};

const TIME: &str = "2026-01-31T12:00:00.123456Z";

const CONFIG: &str = "\
# the key of the shed is under the mat
matrix:
  homeserver: https://matrix.village.example
  bot_user_id: '@relaybot:village.example'
  password: hunter2-is-long
  allowed_users: ['@alice:village.example']
  prefix_format: '[Klub {long}]: '
matrix_rooms:
  - {id: '#hiking:village.example', meshtastic_channel: Familie}
meshtastic:
  connection_type: tcp
  host: funkturm
  port: 45123
  meshnet_name: Bergfunk
  retries: 3
logging: {log_to_file: true}
";

/// What must not be in a bundle of [`home`].
const GONE_WORDS: [&str; 24] = [
    "under the mat",
    "village.example",
    "relaybot",
    "hunter2",
    "alice",
    "Klub",
    "hiking",
    "Familie",
    "funkturm",
    "45123",
    "Bergfunk",
    "retries",
    "syt_cmVsYXk",
    "mcr_refresh",
    "QRSTUVWXYZ",
    "EsTB dVGa",
    "0a0b0c01",
    "168496129",
    "Base Camp",
    "BSCP",
    "!roomroom",
    "47.3769",
    "meet me at the old bridge",
    "192.168.7.9",
];

struct Given {
    directory: tempfile::TempDir,
    home: Home,
}

impl Given {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home");
        let home = Home::locate(Some(&path), |_| None).unwrap();
        home.prepare(true).unwrap();
        Self { directory, home }
    }

    /// A home with each kind of secret in each place.
    fn whole() -> Self {
        let given = Self::new();
        fs::write(given.home.config(), CONFIG).unwrap();
        let session = r#"{"homeserver": "https://matrix.village.example", "user_id": "@relaybot:village.example",
            "device_id": "QRSTUVWXYZ", "access_token": "syt_cmVsYXk_abcdefghij_0aBcDe",
            "refresh_token": "mcr_refresh_zyxwv", "login": "password"}"#;
        fs::write(given.home.matrix().join("session.json"), session).unwrap();
        let key = "EsTB dVGa pWZH 4xY3 kNLp Cf3V o6zd RpYd 7Hgs 9sXu mQ4t 2kWv\n";
        fs::write(given.home.matrix().join("recovery.key"), key).unwrap();
        let mut store = Store::open(&given.home.default_database()).unwrap();
        let node = Node {
            long_name: Some("Base Camp".to_owned()),
            short_name: Some("BSCP".to_owned()),
            ..Node::unknown(NodeNum(0x0a0b_0c01))
        };
        let now = Timestamp::now();
        store
            .transaction(|tx| nodes::update(tx, NodeNum(1), std::slice::from_ref(&node), now))
            .unwrap();
        let logs = given.home.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let log = [
            format!(
                "{TIME}  INFO relay::daemon: room joined room=!roomroom:village.example name=\"Klub am See\""
            ),
            format!(
                "{TIME}  WARN relay::radio: no link to the radio, trying again error=cannot connect to the radio at `funkturm:45123`: 192.168.7.9 refused"
            ),
            format!(
                "{TIME} DEBUG relay::bridge: not relayed sender=@alice:village.example about=\"BSCP (Base Camp) !0a0b0c01 168496129\" token=mcr_refresh_zyxwv"
            ),
            format!(
                "{TIME} ERROR relay: device QRSTUVWXYZ, token syt_cmVsYXk_abcdefghij_0aBcDe, key EsTB dVGa pWZH 4xY3 kNLp Cf3V o6zd RpYd 7Hgs 9sXu mQ4t 2kWv"
            ),
            format!("{TIME} DEBUG relay::bridge: position 47.3769, 8.5417"),
            format!("{TIME} TRACE relay::bridge: text=\"meet me at the old bridge\""),
            format!(
                "{TIME} DEBUG relay::radio::console: the radio prints line=\"meet me at the old bridge\""
            ),
        ];
        fs::write(logs.join("relay.log"), log.join("\n")).unwrap();
        given
    }

    async fn bundle(&self) -> String {
        let file = self.directory.path().join("bundle.txt");
        drop(fs::remove_file(&file));
        self.written(&file).await.unwrap();
        fs::read_to_string(file).unwrap()
    }

    async fn written(&self, file: &Path) -> Result<(), BundleError> {
        let path = self.home.config();
        let loaded = Config::load(&path, &Environment::default());
        let logging = Logging {
            log_to_file: true,
            ..Logging::default()
        };
        let configuration = Configuration {
            path: &path,
            loaded: &loaded,
            logging: &logging,
        };
        let bundle = Bundle::begin(file)?;
        let report = Err("not examined".to_owned());
        bundle.write(&self.home, &configuration, report).await
    }
}

fn holds_nothing(bundle: &str) {
    for word in GONE_WORDS {
        let holds = bundle.to_lowercase().contains(&word.to_lowercase());
        assert!(!holds, "{word} in:\n{bundle}");
    }
}

#[tokio::test]
async fn each_kind_of_secret_put_in_is_not_in_the_bundle_and_what_helps_is() {
    let bundle = Given::whole().bundle().await;
    holds_nothing(&bundle);
    for word in [
        "== versions",
        "meshtastic.host: host-",
        "meshtastic.connection_type: tcp",
        "matrix.password: …",
        "matrix_rooms[0].meshtastic_channel: channel-1",
        "no relay is running",
        "not relayed sender=user-",
        "no link to the radio, trying again",
        "room joined room=room-",
    ] {
        assert!(bundle.contains(word), "{word} is missing in:\n{bundle}");
    }
}

#[tokio::test]
async fn a_thing_has_one_placeholder_throughout() {
    let bundle = Given::whole().bundle().await;
    let line = |beginning: &str| {
        let found = bundle.lines().find_map(|line| line.strip_prefix(beginning));
        let found = found.unwrap_or_else(|| panic!("{beginning} is missing in:\n{bundle}"));
        found.split_whitespace().next().unwrap().to_owned()
    };
    let host = line("meshtastic.host: ");
    assert!(
        bundle.contains(&format!("the radio at `{host}`")),
        "{bundle}"
    );
    let alice = line("matrix.allowed_users: ");
    let alice = alice.trim_matches(['[', ']']);
    assert!(bundle.contains(&format!("sender={alice} ")), "{bundle}");
    assert!(bundle.contains("node-1 (node-1) node-1 node-1"), "{bundle}");
}

#[tokio::test]
async fn of_a_broken_configuration_its_problems_are_told_and_not_its_words() {
    let given = Given::whole();
    let broken = CONFIG.replace(
        "host: funkturm",
        "hots: funkturm\n  edits: meet me at the old bridge",
    );
    for text in [broken.as_str(), "matrix: {password: hunter2-is-long\n", ""] {
        fs::write(given.home.config(), text).unwrap();
        let bundle = given.bundle().await;
        holds_nothing(&bundle);
        assert!(!bundle.contains("hots"), "{bundle}");
    }
    fs::write(given.home.config(), broken).unwrap();
    let bundle = given.bundle().await;
    assert!(
        bundle.contains("meshtastic.edits: `…` is not one of"),
        "{bundle}"
    );
    assert!(bundle.contains("…: unknown key"), "{bundle}");
}

#[tokio::test]
async fn an_empty_home_has_a_bundle_too() {
    let bundle = Given::new().bundle().await;
    assert!(bundle.contains("there is no configuration"), "{bundle}");
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let given = Given::whole();
    fs::write(given.home.default_database(), "no database").unwrap();
    fs::write(given.home.matrix().join("session.json"), "{").unwrap();
    let bundle = given.bundle().await;
    for word in ["== not known", "the login: ", "the database: "] {
        assert!(bundle.contains(word), "{word} is missing in:\n{bundle}");
    }
}

#[tokio::test]
async fn the_file_is_new_and_its_owners_alone() {
    let given = Given::new();
    let file = given.directory.path().join("bundle.txt");
    given.written(&file).await.unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&file, "mine").unwrap();
    let error = given.written(&file).await.unwrap_err();
    assert!(error.to_string().ends_with("is there already"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let nowhere = given.directory.path().join("nowhere/bundle.txt");
    assert!(matches!(
        given.written(&nowhere).await,
        Err(BundleError::Write(..))
    ));
}

#[tokio::test]
async fn a_run_that_was_killed_or_fails_leaves_nothing_that_is_in_the_way() {
    let given = Given::new();
    let directory = given.directory.path();
    let (file, part) = (
        directory.join("bundle.txt"),
        directory.join("bundle.txt.part"),
    );
    // As a killed run leaves it.
    fs::write(&part, "half a bun").unwrap();
    given.written(&file).await.unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("== versions"));
    assert!(!part.exists());
    // The name is taken while the relay is being examined.
    let other = directory.join("other.txt");
    let home = given.home.config();
    let loaded = Config::load(&home, &Environment::default());
    let configuration = Configuration {
        path: &home,
        loaded: &loaded,
        logging: &Logging::default(),
    };
    let bundle = Bundle::begin(&other).unwrap();
    fs::write(&other, "mine").unwrap();
    let report = Err("not examined".to_owned());
    let taken = bundle.write(&given.home, &configuration, report).await;
    assert!(matches!(taken, Err(BundleError::Exists(path)) if path == other));
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 3);
}

#[test]
fn a_new_name_replaces_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::write(&from, "new").unwrap();
    rename_new(&from, &to).unwrap();
    fs::write(&from, "newer").unwrap();
    let error = rename_new(&from, &to).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&to).unwrap(), "new");
}

#[test]
fn what_is_quoted_is_taken_out() {
    for (said, told) in [
        ("`alice` is not a user id", "`…` is not a user id"),
        ("a \"b\" c `d", "a \"…\" c `"),
    ] {
        assert_eq!(without_quoted(said), told);
    }
}
