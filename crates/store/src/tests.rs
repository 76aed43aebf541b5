//! Tests of the file, transactions and migrations.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;

use super::*;
use relay_model::{EventId, Explained as _, NodeNum, PacketId, RoomContent, Timestamp};

const RADIO: NodeNum = NodeNum(1);

fn path_in(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("relay.sqlite")
}

#[test]
fn a_new_file_is_ours_private_and_safe_against_power_cuts() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let mut store = Store::open(&path).unwrap();
    store
        .transaction(|tx| cooldown::start(tx, "a", Timestamp(1)))
        .unwrap();
    for file in fs::read_dir(directory.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let pragma = |name| -> String {
        store
            .connection
            .pragma_query_value(None, name, |row| {
                row.get_ref(0).map(|value| match value {
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str().unwrap().to_owned(),
                })
            })
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("foreign_keys"), "1");
    assert_eq!(pragma("application_id"), APPLICATION_ID.to_string());
    assert_eq!(pragma("user_version"), MIGRATIONS.len().to_string());
}

/// Opens a database of an earlier version, with that schema version and these rows.
fn left_by_earlier(version: usize, rows: &str) -> Store {
    let connection = Connection::open_in_memory().unwrap();
    for migration in &MIGRATIONS[..version] {
        connection.execute_batch(migration).unwrap();
    }
    connection.execute_batch(rows).unwrap();
    connection
        .pragma_update(None, "user_version", version)
        .unwrap();
    Store::prepare(connection, None).unwrap()
}

#[test]
fn of_what_an_earlier_relay_carried_no_channel_is_known_and_answers_that_wait_are_bound() {
    // Waiting: a text, a reply in two parts, a tapback and a correction; sent: a text.
    let mut rows = String::new();
    for (id, message, state, tapback, reference, correction) in [
        (1, 1, 0, 0, "NULL", 0),
        (2, 2, 0, 0, "7", 0),
        (3, 2, 0, 0, "NULL", 0),
        (4, 4, 1, 1, "7", 0),
        (5, 5, 0, 0, "NULL", 1),
        (6, 6, 3, 0, "NULL", 0),
    ] {
        write!(
            rows,
            "INSERT INTO mesh_outbox (id, message, part, parts, radio, target_kind, target, lane, tapback, text,
                 reference, packet, state, not_before, expires, room, event, sender, sent_at, source_text, alert,
                 accepted_at, active_at, correction)
             VALUES ({id}, {message}, {id} - {message}, 1, 1, 0, 1, 1, {tapback}, 'x', {reference}, {id}, {state},
                 0, 9, '!room:example.org', '$e{message}:example.org', '@bob:example.org', 1, 'x', 0, 1, 1,
                 {correction});
             INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event, text, alert,
                 part, at, mesh_outbox)
             VALUES (1, 1, 1, {id}, 0, 1, '!room:example.org', '$e{message}:example.org', 'x', 0, 0, 1, {id});"
        )
        .unwrap();
    }
    let mut store = left_by_earlier(7, &rows);
    let waiting = store
        .transaction(|tx| mesh_report::on_channels(tx, None))
        .unwrap();
    let bound: Vec<_> = waiting.iter().map(|row| (row.id.0, row.bound)).collect();
    let expected = [(1, false), (2, true), (3, true), (4, true), (5, true)];
    assert_eq!(bound, expected);
    assert!(waiting.iter().all(|row| row.channel.is_none()));
    let event = EventId::parse("$e6:example.org").unwrap();
    let pairs = store
        .transaction(|tx| message_map::by_event(tx, &event))
        .unwrap();
    assert_eq!(pairs[0].channel, None);
}

#[test]
fn what_an_earlier_relay_had_waiting_is_about_the_same_events() {
    let text = r#"{"text":{"notice":false,"prefix":"","text":"x","heard_at":null,"reply_to":null,"thread":null,
        "mentions":[],"mentions_room":false,"fields":null,"suppress":false}}"#;
    let reaction = |target| format!(r#"{{"reaction":{{"target":"{target}","key":"👍"}}}}"#);
    let mut rows = String::new();
    for (id, content, packet) in [
        (1, text.to_owned(), "5"),
        (2, reaction("$waiting:relay.invalid"), "5"),
        (3, reaction("$other:example.org"), "NULL"),
        (4, text.to_owned(), "NULL"),
        (5, "no JSON".to_owned(), "5"),
    ] {
        write!(
            rows,
            "INSERT INTO room_outbox (id, room, txn, content, target_sender, target_packet, accepted_at)
             VALUES ({id}, '!room:example.org', '{id}', '{{\"version\":1,\"content\":{content}}}', {packet} + 1, {packet}, 1);"
        )
        .unwrap();
    }
    rows.push_str(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, room, event, text, alert, part, at)
         VALUES (0, 1, 6, 5, 0, 1, '!room:example.org', '$five:example.org', 'x', 0, 0, 1);",
    );
    let mut store = left_by_earlier(12, &rows);
    let room = "!room:example.org".try_into().unwrap();
    let about = store.transaction(|tx| {
        let mut about = Vec::new();
        while let Some(row) = outbox_room::next(tx, room)? {
            about.push(match row.content {
                RoomContent::Text { reply_to, .. } => reply_to.map(|it| it.to_string()),
                RoomContent::Reaction { target, .. } => Some(target.to_string()),
                RoomContent::Redaction { .. } => None,
            });
            outbox_room::sent(tx, row.id, None)?;
        }
        Ok(about)
    });
    let (five, other) = ("$five:example.org", "$other:example.org");
    let expected = [Some(five), Some(five), Some(other), None].map(|it| it.map(str::to_owned));
    assert_eq!(about.unwrap(), expected);
}

#[test]
fn a_commit_waits_for_the_disk_again_after_one_that_did_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&path_in(&directory)).unwrap();
    let mode = |tx: &Tx<'_>| {
        let mode = tx
            .connection
            .pragma_query_value(None, "synchronous", |row| row.get(0));
        Ok::<i64, StoreError>(mode?)
    };
    assert_eq!(store.transaction(mode).unwrap(), 2);
    assert_eq!(store.commit_relaxed(mode).unwrap(), 1);
    assert_eq!(store.commit_relaxed(mode).unwrap(), 1);
    assert_eq!(store.transaction(mode).unwrap(), 2);
}

#[test]
fn the_mark_stands_in_the_file_even_if_the_log_beside_it_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let store = Store::open(&path).unwrap();
    // As another program sees the file after a crash.
    let found = file::look_at(&path).unwrap();
    assert!(
        matches!(found, FileKind::Database { application, .. } if application == APPLICATION_ID)
    );
    drop(store);
}

#[test]
fn an_empty_file_becomes_our_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    fs::write(&path, "").unwrap();
    drop(Store::open(&path).unwrap());
    assert!(Store::open(&path).is_ok());
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let event = EventId::parse("$one:example.org").unwrap();
    Store::open(&path)
        .unwrap()
        .transaction(|tx| seen::mark_event(tx, &event, Timestamp(1)))
        .unwrap();
    let known = Store::open(&path)
        .unwrap()
        .transaction(|tx| seen::has_event(tx, &event))
        .unwrap();
    assert!(known);
}

#[test]
fn clearing_what_is_empty_writes_nothing_to_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let mut store = Store::open(&path).unwrap();
    let written = || {
        fs::metadata(path.with_extension("sqlite-wal"))
            .unwrap()
            .len()
    };
    let before = written();
    let clear = |tx: &Tx<'_>| {
        known_rooms::keep_only(tx, &[])?;
        feedback::forget_changed(tx)?;
        outage::end(tx, Timestamp(1))?;
        outage::forget_all(tx)?;
        outbox::parked::unpark_all(tx)
    };
    store.transaction(clear).unwrap();
    assert_eq!(written(), before);
}

#[test]
fn a_batch_that_fails_half_way_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&path_in(&directory)).unwrap();
    let failed = store.transaction(|tx| {
        seen::mark_packet(tx, RADIO, NodeNum(2), PacketId(3), Timestamp(1))?;
        cooldown::start(tx, "a", Timestamp(9))?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(matches!(failed, Err(StoreError::Closed)));
    store
        .transaction(|tx| {
            assert!(!seen::has_packet(tx, NodeNum(2), PacketId(3))?);
            assert!(!cooldown::is_running(tx, "a", Timestamp(1))?);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_row_that_cannot_be_read_and_does_not_end_is_no_endless_loop() {
    let mut store = Store::in_memory().unwrap();
    let next = store.transaction(|tx| {
        tx.run(
            "INSERT INTO told (what, until) VALUES ('one', 1), ('two', 2)",
            (),
        )?;
        let sql = "SELECT what FROM told ORDER BY until";
        let unreadable = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        tx.first_due(sql, (), unreadable, |_: String| Ok(()))
    });
    assert_eq!(next.unwrap(), None);
}

#[test]
fn what_stands_behind_the_first_row_is_not_read() {
    let mut store = Store::in_memory().unwrap();
    let first = store.read(|tx| {
        let sql = "SELECT 'none' UNION ALL VALUES (1), (2)";
        let mut looked = 0;
        let first = tx.first(sql, (), |row| {
            looked += 1;
            row.get::<_, u32>(0)
        })?;
        Ok((first, looked))
    });
    assert_eq!(first.unwrap(), (Some(1), 2));
}

#[test]
fn a_line_for_the_log_is_written_once_what_it_tells_of_is_committed() {
    let mut store = Store::in_memory().unwrap();
    let written = Rc::new(Cell::new(0));
    let mut run = |faults| {
        let line = Rc::clone(&written);
        let at_commit = Rc::clone(&written);
        testing::fault::after(faults);
        let done = store.transaction(|tx| {
            tx.log(move || line.set(line.get() + 1));
            cooldown::start(tx, "a", Timestamp(9))?;
            Ok(at_commit.get())
        });
        (done.ok(), written.get())
    };
    // The statement fails, then the commit, then nothing.
    assert_eq!(run(Some(0)), (None, 0));
    assert_eq!(run(Some(1)), (None, 0));
    assert_eq!(run(None), (Some(0), 1));
}

#[test]
fn a_full_disk_takes_nothing_of_a_batch_and_everything_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&path_in(&directory)).unwrap();
    let long = "x".repeat(100_000);
    let batch = |tx: &Tx<'_>| {
        cooldown::start(tx, "short", Timestamp(9))?;
        cooldown::start(tx, &long, Timestamp(9))
    };
    store
        .connection
        .pragma_update(None, "max_page_count", 1)
        .unwrap();
    let error = store.transaction(batch).unwrap_err();
    assert!(matches!(error, StoreError::Full(..)), "{error:?}");
    let is_told = store.transaction(|tx| cooldown::is_running(tx, "short", Timestamp(1)));
    assert!(!is_told.unwrap());
    store
        .connection
        .pragma_update(None, "max_page_count", 10_000)
        .unwrap();
    store.transaction(batch).unwrap();
}

#[test]
fn after_a_failure_of_the_disk_nothing_depends_on_the_log_that_it_may_have_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let mut store = Store::open(&path).unwrap();
    let mark = |tx: &Tx<'_>| cooldown::start(tx, "a", Timestamp(9));
    store.commit_relaxed(mark).unwrap();
    store.doubt(true);
    store.read(|_| Ok(())).unwrap();
    // The file alone, as after a power cut that takes the log with it.
    let alone = directory.path().join("alone.sqlite");
    fs::copy(&path, &alone).unwrap();
    let mut store = Store::open(&alone).unwrap();
    let is_told = store.read(|tx| cooldown::is_running(tx, "a", Timestamp(1)));
    assert!(is_told.unwrap());
}

#[test]
fn a_log_that_cannot_begin_anew_while_somebody_reads_begins_anew_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let mut store = Store::open(&path).unwrap();
    let mark = |tx: &Tx<'_>| cooldown::start(tx, "a", Timestamp(9));
    store.transaction(mark).unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("BEGIN; SELECT count(*) FROM told")
        .unwrap();
    store.doubt(true);
    // An error that is not the disk's leaves the doubt as it is.
    let failed = store.read(|_| Err::<(), _>(StoreError::Closed));
    assert!(failed.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    store.read(|_| Ok(())).unwrap();
    let log = fs::metadata(path.with_extension("sqlite-wal")).unwrap();
    assert_eq!(log.len(), 0);
}

#[test]
fn a_database_that_another_program_holds_is_an_error_that_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let mut store = Store::open(&path).unwrap();
    store.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mark = |tx: &Tx<'_>| cooldown::start(tx, "a", Timestamp(9));
    assert!(matches!(store.transaction(mark), Err(StoreError::Busy(_))));
    other.execute_batch("ROLLBACK").unwrap();
    store.transaction(mark).unwrap();
}

#[test]
fn a_database_of_another_program_is_refused_and_stays_as_it_is_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE message_map (id TEXT); INSERT INTO message_map VALUES ('a')")
        .unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Foreign(_, 0))));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    for content in ["short", &"long ".repeat(100)] {
        fs::write(&path, content).unwrap();
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::NotDatabase { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_database_of_a_later_relay_is_refused_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let store = Store::open(&path).unwrap();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    // Once read from the WAL, once from the file's header.
    let beside = Store::open(&path);
    drop(store);
    for refused in [beside, Store::open(&path)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Newer(_, 99, known) if known == newest_version()));
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_directory_that_is_missing_is_a_plain_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none").join("relay.sqlite");
    assert!(matches!(Store::open(&path), Err(StoreError::Open(..))));
}

#[test]
fn a_damaged_file_is_an_error_that_names_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    drop(Store::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(100) {
        *byte = 0xFF;
    }
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&path)
        .and_then(|mut store| store.transaction(|tx| cooldown::is_running(tx, "a", Timestamp(1))))
        .unwrap_err();
    assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
}

/// Fills the database until it has leaf pages to damage; returns its size in pages of 4096 bytes.
fn filled(path: &Path) -> usize {
    let mut store = Store::open(path).unwrap();
    let fill = |tx: &Tx<'_>| {
        for number in 0..2_000 {
            cooldown::start(tx, &format!("{number:0100}"), Timestamp(9))?;
        }
        Ok(())
    };
    store.transaction(fill).unwrap();
    drop(store);
    usize::try_from(fs::metadata(path).unwrap().len() / 4096).unwrap()
}

fn count_told(store: &mut Store) -> Result<u64, StoreError> {
    store.read(|tx| tx.value::<u64>("SELECT COUNT(*) FROM told NOT INDEXED", ()))
}

#[test]
fn a_file_whose_header_is_damaged_is_an_error_that_names_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    filled(&path);
    let mut bytes = fs::read(&path).unwrap();
    // Magic and ids are valid, the fields between are not (page size, versions, sizes).
    bytes[16..60].fill(0xFF);
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(fs::read(&path).unwrap(), bytes, "it was not touched");
}

#[test]
fn a_damaged_page_in_the_middle_is_an_error_where_it_is_used_and_the_rest_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let pages = filled(&path);
    let mut bytes = fs::read(&path).unwrap();
    let sound = bytes.clone();
    for page in bytes.chunks_mut(4096).skip(pages - 20) {
        page.fill(0xA5);
    }
    fs::write(&path, &bytes).unwrap();

    let mut store = Store::open(&path).unwrap();
    let error = count_told(&mut store).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(..)), "{error:?}");
    let event = EventId::parse("$one:example.org").unwrap();
    store
        .transaction(|tx| seen::mark_event(tx, &event, Timestamp(1)))
        .unwrap();
    drop(store);

    // An older copy replaces it while the database is in use.
    let mut store = Store::open(&path).unwrap();
    assert!(count_told(&mut store).is_err());
    fs::write(&path, &sound).unwrap();
    assert_eq!(count_told(&mut store).unwrap(), 2_000);
}

#[test]
fn a_file_that_is_taken_away_is_missed_and_nothing_is_written_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let path = home.join("relay.sqlite");
    let mut store = Store::open(&path).unwrap();
    let mark = |tx: &Tx<'_>| cooldown::start(tx, "a", Timestamp(9));
    store.transaction(mark).unwrap();

    let away = directory.path().join("away");
    fs::rename(&home, &away).unwrap();
    let error = store.transaction(mark).unwrap_err();
    assert!(matches!(error, StoreError::Gone { .. }), "{error:?}");
    assert!(error.hint().is_some());
    assert!(matches!(
        count_told(&mut store),
        Err(StoreError::Gone { .. })
    ));
    assert!(!home.exists(), "nothing is made in its place");

    fs::rename(&away, &home).unwrap();
    store.transaction(mark).unwrap();
}

#[test]
fn a_copy_that_takes_the_files_place_is_used_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(&directory);
    let copy = directory.path().join("copy.sqlite");
    let mut store = Store::open(&path).unwrap();
    let mark = |name: &'static str| move |tx: &Tx<'_>| cooldown::start(tx, name, Timestamp(9));
    store.transaction(mark("before")).unwrap();
    store
        .connection
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    store.transaction(mark("after the copy")).unwrap();
    fs::rename(&copy, &path).unwrap();
    for beside in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{beside}", path.display())).unwrap();
    }

    store.transaction(mark("later")).unwrap();
    drop(store);
    let mut store = Store::open(&path).unwrap();
    let told = |store: &mut Store, name: &'static str| {
        store.read(|tx| cooldown::is_running(tx, name, Timestamp(1)))
    };
    assert!(told(&mut store, "before").unwrap());
    assert!(told(&mut store, "later").unwrap());
    assert!(!told(&mut store, "after the copy").unwrap());
}

#[test]
fn the_architecture_page_lists_every_table_with_its_columns() {
    let mut store = Store::in_memory().unwrap();
    let mut schema: Vec<String> = store
        .read(|tx| {
            tx.all(
                "SELECT name, (SELECT group_concat('`' || column.name || '`', ', ')
                               FROM pragma_table_info(master.name) AS column)
                 FROM sqlite_schema AS master
                 WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
                (),
                |row| {
                    Ok(format!(
                        "`{}`: {}",
                        row.get::<_, String>(0)?,
                        row.get::<_, String>(1)?
                    ))
                },
            )
        })
        .unwrap();
    let page = include_str!("../../../docs/architecture.md");
    let listed = page.split("## Tables").nth(1).unwrap();
    let listed = listed.split("\n## ").next().unwrap();
    let mut listed: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells
                .get(1)?
                .starts_with('`')
                .then(|| format!("{}: {}", cells[1], cells[3]))
        })
        .collect();
    schema.sort();
    listed.sort();
    let lacking = |all: &[String], of: &[String]| -> Vec<String> {
        let them = of.iter().filter(|it| !all.contains(it));
        them.cloned().collect()
    };
    let (missing, surplus) = (lacking(&listed, &schema), lacking(&schema, &listed));
    assert!(
        missing.is_empty() && surplus.is_empty() && listed.len() == schema.len(),
        "docs/architecture.md, Tables: missing {missing:#?}, not in the schema {surplus:#?}"
    );
}

#[test]
fn a_row_that_cannot_be_ended_by_its_key_holds_none_up() {
    let mut store = Store::in_memory().unwrap();
    let found = store.transaction(|tx| {
        cooldown::start(tx, "one", Timestamp(1))?;
        cooldown::start(tx, "two", Timestamp(2))?;
        tx.first_due(
            "SELECT what, until FROM told ORDER BY until",
            (),
            |row| match row.get(1)? {
                Timestamp(1) => Err(columns::unreadable(fmt::Error)),
                until => Ok(until),
            },
            |key: i64| panic!("{key}"),
        )
    });
    assert_eq!(found.unwrap(), Some(Timestamp(2)));
}

#[test]
fn what_is_damaged_beside_what_a_message_for_a_room_takes_costs_nothing() {
    let mut store = Store::in_memory().unwrap();
    let room = test_rows::room("!room:example.org");
    let alias = test_rows::room("#room:example.org");
    let accepted =
        store.transaction(|tx| test_rows::accept_for_room(tx, alias.as_str(), 1, "hello"));
    let id = accepted.unwrap();
    store.damage_types(
        "UPDATE room_outbox SET error = x'00', attempts = 'many';
         INSERT INTO known_room (name, room) VALUES ('#a:example.org', x'00')",
    );
    let renamed = store.transaction(|tx| outbox_room::rename_room(tx, &alias, &room));
    renamed.unwrap();
    assert_eq!(store.next_for_room(&room).unwrap().unwrap().id, id);
    assert!(!store.read(known_rooms::are_readable).unwrap());
}

#[test]
fn what_was_decided_on_and_what_waits_for_another_room_stays_known_whatever_is_damaged() {
    let mut store = Store::in_memory().unwrap();
    let one = EventId::parse("$one:example.org").unwrap();
    let accepted = store.transaction(|tx| {
        seen::mark_event(tx, &one, Timestamp(1))?;
        test_rows::accept_for_mesh(tx, one.as_str(), &["hello"], test_rows::NOW).map(drop)
    });
    accepted.unwrap();
    store.damage_types(
        "UPDATE seen_event SET at = x'00';
         UPDATE mesh_outbox SET author = x'00';
         INSERT INTO mapped_room (room, alias, encrypted, public, waits)
         VALUES ('!old:example.org', x'00', 'no', 1, 'no_successor')",
    );
    let known = store.transaction(|tx| {
        tx.run("UPDATE mesh_outbox SET attempts = attempts + 1", ())?;
        assert!(!tx.exists("SELECT 1 FROM mesh_outbox", ())?);
        let sql = "SELECT 1 FROM mapped_room WHERE waits = 'no_successor' AND encrypted = 1";
        assert!(tx.exists(sql, ())?);
        seen::has_event(tx, &one)
    });
    assert!(known.unwrap());
}

#[test]
fn what_a_change_had_done_before_it_met_a_damaged_row_is_not_done_twice() {
    let mut store = Store::in_memory().unwrap();
    let accepted = store.transaction(|tx| {
        for name in ["$one:example.org", "$two:example.org"] {
            test_rows::accept_for_mesh(tx, name, &["hello"], test_rows::NOW)?;
        }
        Ok(())
    });
    accepted.unwrap();
    store.damage_types("UPDATE mesh_outbox SET author = x'00' WHERE event = '$two:example.org'");
    let changed = store.transaction(|tx| {
        let sql = "UPDATE mesh_outbox SET edited_at = COALESCE(edited_at, 0) + 1";
        assert_eq!(tx.execute(sql, ())?, 1);
        tx.column("SELECT edited_at FROM mesh_outbox", ())
    });
    let changed: Vec<u64> = changed.unwrap();
    assert_eq!(changed, [1]);
}

#[test]
fn a_relaxed_transaction_whose_result_is_not_kept_has_done_nothing() {
    let mut store = Store::in_memory().unwrap();
    let start = |tx: &Tx<'_>| cooldown::start(tx, "a", Timestamp(9));
    store.commit_relaxed_if(start, |()| false).unwrap();
    let is_running = |store: &mut Store| {
        store
            .read(|tx| cooldown::is_running(tx, "a", Timestamp(1)))
            .unwrap()
    };
    assert!(!is_running(&mut store));
    store.commit_relaxed_if(start, |()| true).unwrap();
    assert!(is_running(&mut store));
}
