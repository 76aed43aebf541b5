use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::test_rows::{ALICE, FIRST, NOON, RADIO, ROOM, accept_for_room, event, on_empty, room};
use crate::{imported, message_map, nodes, seen};
use relay_model::{EventId, Node};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            "../../../../tests/fixtures/mmrelay/",
            $name,
            ".sql"
        ))
    };
}

/// An MMRelay home with this database.
struct Old {
    directory: tempfile::TempDir,
}

impl Old {
    fn of(sql: &str) -> Self {
        let old = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let connection = Connection::open(old.path()).unwrap();
        connection.execute_batch(sql).unwrap();
        old
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("meshtastic.sqlite")
    }

    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy")
    }

    fn open(&self) -> OldDatabase {
        OldDatabase::open(&self.path(), &self.copy(), || true).unwrap()
    }

    /// Returns each file with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

/// Packet, event and text of a row.
type Pair = (u32, String, String);

/// Returns what can be read, how many rows are unusable, and the damaged tables.
fn pairs(old: &OldDatabase) -> (Vec<Pair>, u64, Vec<&'static str>) {
    let mut pages = old.pairs();
    let read = pages.by_ref().flatten();
    let read = read
        .map(|it| (it.packet.0, it.event.to_string(), it.text))
        .collect();
    (read, pages.unusable, pages.damaged)
}

fn pair(packet: u32, event: &str, text: &str) -> Pair {
    (packet, event.to_owned(), text.to_owned())
}

#[test]
fn the_map_is_read_in_each_form_that_it_ever_had_newest_first() {
    let both = [
        pair(u32::MAX, "$two:example.org", "from Matrix"),
        pair(2_882_343_476, "$one:example.org", "from the mesh"),
    ];
    for sql in [
        fixture!("map-first"),
        fixture!("map-numbers"),
        fixture!("map"),
    ] {
        let old = Old::of(sql);
        assert_eq!(pairs(&old.open()), (both.to_vec(), 0, vec![]));
    }
    let half = Old::of(fixture!("map-half-migrated"));
    let (read, unusable, damaged) = pairs(&half.open());
    let events: Vec<&str> = read.iter().map(|it| it.1.as_str()).collect();
    let expected = [
        "$two:example.org",
        "$three:example.org",
        "$one:example.org",
        "$two:example.org",
    ];
    assert_eq!((events, unusable, damaged), (expected.to_vec(), 0, vec![]));
}

#[test]
fn rows_that_say_nothing_usable_are_counted_and_the_others_read() {
    let old = Old::of(fixture!("map-odd"));
    let expected = vec![
        pair(u32::MAX, "$two:example.org", "a\u{fffd}b"),
        pair(2_882_343_476, "$one", ""),
    ];
    assert_eq!(pairs(&old.open()), (expected, 8, vec![]));
}

#[test]
fn a_database_without_a_map_or_without_anything_has_none() {
    for sql in [fixture!("names"), "CREATE TABLE other (a)"] {
        assert_eq!(pairs(&Old::of(sql).open()), (vec![], 0, vec![]));
    }
    let old = Old::of("CREATE TABLE other (a)");
    assert_eq!(old.open().names().count(), 0);
    assert_eq!(old.open().plugin_data(), 0);
}

#[test]
fn names_are_read_and_what_names_no_node_is_counted() {
    let old = Old::of(fixture!("names"));
    let database = old.open();
    let mut pages = database.names();
    let names: Vec<String> = pages
        .by_ref()
        .flatten()
        .map(|it| format!("{} {} {}", it.node, it.is_short, it.name))
        .collect();
    let expected = [
        "!b0b00000 false Bob",
        "!a11ce000 false Alice's Hut",
        "!c0ffee00 true C",
        "!b0b00000 true 🦊",
        "!a11ce000 true AH",
    ];
    assert_eq!(names, expected);
    assert_eq!((pages.unusable, pages.damaged), (2, vec![]));
    assert_eq!(database.plugin_data(), 3);
}

#[test]
fn what_was_written_last_before_a_crash_is_read_and_nothing_is_changed_or_left_beside_the_file() {
    let crashed = Old::of("");
    let connection = Connection::open(crashed.path()).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection.execute_batch(fixture!("map")).unwrap();
    // The files as a crash leaves them, while another connection is still open.
    let left = Old {
        directory: tempfile::tempdir().unwrap(),
    };
    for (path, content) in crashed.files() {
        let path = left.directory.path().join(path.file_name().unwrap());
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    let before = left.files();
    assert!(before.len() >= 2, "{before:?}");
    let database = left.open();
    assert_eq!(pairs(&database).0.len(), 2);
    assert!(left.copy().is_dir());
    drop(database);
    assert_eq!(left.files(), before);
    let sound = Old::of(fixture!("map"));
    let before = sound.files();
    let database = sound.open();
    assert_eq!(pairs(&database).0.len(), 2);
    assert_eq!(sound.files(), before);
}

#[test]
fn a_copy_can_be_ended_and_leaves_nothing() {
    let old = Old::of(fixture!("map"));
    fs::write(with_ending(&old.path(), "-wal"), "not empty").unwrap();
    let ended = OldDatabase::open(&old.path(), &old.copy(), || false);
    assert!(matches!(ended, Err(OldDatabaseError::Interrupted)));
    assert!(!old.copy().exists());
}

#[test]
fn of_a_damaged_table_what_lies_before_and_behind_the_damage_is_read() {
    const ROWS: u32 = 20_000;
    let sql = format!(
        "{}; WITH RECURSIVE number (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM number WHERE n < {ROWS})
         INSERT INTO message_map SELECT n, '$' || n || ':example.org', '!room:example.org', 'a text that fills a page', '' FROM number",
        fixture!("map")
    );
    let old = Old::of(&sql);
    let whole = fs::read(old.path()).unwrap();
    let text = b"$10000:example.org!room";
    let place = whole
        .windows(text.len())
        .rposition(|it| it == text)
        .unwrap();
    let mut damaged = whole.clone();
    let page = place / 4096 * 4096;
    damaged[page..page + 4096].fill(0xAA);
    fs::write(old.path(), damaged).unwrap();
    let (read, _, tables) = pairs(&old.open());
    assert_eq!(tables, ["message_map"]);
    let most = usize::try_from(ROWS).unwrap();
    assert!(
        read.len() > most - 300 && read.len() < most,
        "{}",
        read.len()
    );
    assert!(read.iter().any(|it| it.0 == 10) && read.iter().any(|it| it.0 == ROWS));
    // The page of the schema: nothing can be read, and that is said.
    fs::write(
        old.path(),
        [&whole[..100], &[0xAA; 3996], &whole[4096..]].concat(),
    )
    .unwrap();
    let (read, _, tables) = pairs(&old.open());
    assert_eq!((read.len(), tables.len()), (0, MAPS.len()));
}

#[test]
fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meshtastic.sqlite");
    let open = || OldDatabase::open(&path, &directory.path().join("copy"), || true);
    assert!(matches!(
        open(),
        Err(OldDatabaseError::Open(StoreError::Open(..)))
    ));
    for content in ["", "no database at all, but longer than the header of one"] {
        fs::write(&path, content).unwrap();
        assert!(matches!(
            open(),
            Err(OldDatabaseError::Open(StoreError::NotDatabase(_)))
        ));
    }
}

#[test]
fn a_path_with_odd_characters_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let odd = directory.path().join("a?b#c%20d");
    fs::create_dir(&odd).unwrap();
    let path = odd.join("meshtastic.sqlite");
    Connection::open(&path)
        .unwrap()
        .execute_batch(fixture!("map"))
        .unwrap();
    let opened = OldDatabase::open(&path, &odd.join("copy"), || true).unwrap();
    assert_eq!(pairs(&opened).0.len(), 2);
}

#[test]
fn an_import_twice_is_one_and_our_own_rows_come_first() {
    on_empty(|tx| {
        let one = event("$one:example.org");
        let own = accept_for_room(tx, ROOM, 7, "our own")?;
        crate::outbox_room::sent(tx, own, Some(&event("$own:example.org")))?;
        let known = Node {
            long_name: Some("Alice now".to_owned()),
            ..Node::unknown(ALICE)
        };
        nodes::update(tx, RADIO, &[known], NOON)?;
        let old = |packet, event: &EventId| OldPair {
            packet: PacketId(packet),
            event: event.to_owned(),
            room: room(ROOM),
            text: "from before".to_owned(),
        };
        let name = |name: &str, is_short| OldName {
            node: ALICE,
            name: name.to_owned(),
            is_short,
        };
        for is_new in [true, false] {
            assert_eq!(imported::add_pair(tx, RADIO, &old(7, &one), NOON)?, is_new);
            let other = event("$other:example.org");
            assert_eq!(
                imported::add_pair(tx, RADIO, &old(8, &other), NOON)?,
                is_new
            );
            assert!(!imported::add_name(
                tx,
                RADIO,
                &name("Alice then", false),
                NOON
            )?);
            assert_eq!(
                imported::add_name(tx, RADIO, &name("AL", true), NOON)?,
                is_new
            );
        }
        let nodes = nodes::all(tx, RADIO)?;
        let names = (nodes[0].long(), nodes[0].short());
        assert_eq!(names, ("Alice now".to_owned(), "AL".to_owned()));
        let found = message_map::by_packet(tx, RADIO, Some(FIRST), PacketId(7))?;
        let events: Vec<_> = found.iter().map(|it| it.event.clone().unwrap()).collect();
        assert_eq!(events, [event("$own:example.org"), one.clone()]);
        let found = message_map::by_event(tx, &one)?;
        assert_eq!(
            (found.len(), found[0].packet, found[0].channel),
            (1, PacketId(7), None)
        );
        assert!(seen::has_event(tx, &one)?);
        Ok(())
    });
}
