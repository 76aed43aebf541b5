//! Names and messages: from MMRelay's database into ours.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::error::ImportError;
use relay_model::{NodeNum, Timestamp};
use relay_store::mmrelay::{OldDatabase, OldName, OldPair, Pages};
use relay_store::outbox_mesh::UNKNOWN_RADIO;
use relay_store::{Result, Store, Tx, imported, single_values};

/// Maximum number of rooms that are counted apart.
const MOST_ROOMS: usize = 1_000;

/// What was found of one kind, and what became of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// Rows that were read and say something.
    pub(super) found: u64,
    /// Of them: those that are new to us, and stored; nothing is in a dry run.
    pub(super) taken: u64,
    /// Rows that say nothing usable.
    pub(super) unusable: u64,
    /// Damaged tables, of which a part was read, or nothing.
    pub(super) damaged: Vec<&'static str>,
}

/// Takes over the names of nodes; without a store they are only counted.
pub(super) fn names(
    old: &OldDatabase,
    store: Option<&mut Store>,
    at: Timestamp,
    stop: &CancellationToken,
) -> Result<Counted, ImportError> {
    let add = |tx: &Tx<'_>, radio, name: &OldName| imported::add_name(tx, radio, name, at);
    all(old.names(), store, stop, add, |_| {})
}

/// Takes over the message map, and counts the messages of each room.
pub(super) fn messages(
    old: &OldDatabase,
    store: Option<&mut Store>,
    at: Timestamp,
    stop: &CancellationToken,
) -> Result<(Counted, BTreeMap<String, u64>), ImportError> {
    let mut rooms = BTreeMap::new();
    let add = |tx: &Tx<'_>, radio, pair: &OldPair| imported::add_pair(tx, radio, pair, at);
    let counted = all(old.pairs(), store, stop, add, |pair| {
        let room = pair.room.as_str();
        if let Some(count) = rooms.get_mut(room) {
            *count += 1;
        } else if rooms.len() < MOST_ROOMS {
            rooms.insert(room.to_owned(), 1);
        }
    })?;
    Ok((counted, rooms))
}

/// Takes over pages, one transaction each.
fn all<T>(
    mut pages: Pages<'_, T>,
    mut store: Option<&mut Store>,
    stop: &CancellationToken,
    add: impl Fn(&Tx<'_>, NodeNum, &T) -> Result<bool>,
    mut seen: impl FnMut(&T),
) -> Result<Counted, ImportError> {
    let mut counted = Counted::default();
    for page in pages.by_ref() {
        if stop.is_cancelled() {
            return Err(ImportError::Interrupted);
        }
        page.iter().for_each(&mut seen);
        counted.found += count(page.len());
        let Some(store) = &mut store else {
            continue;
        };
        counted.taken += store.transaction(|tx| {
            let radio = single_values::own_radio(tx)?.unwrap_or(UNKNOWN_RADIO);
            let mut taken = 0;
            for row in &page {
                taken += u64::from(add(tx, radio, row)?);
            }
            Ok(taken)
        })?;
    }
    counted.unusable = pages.unusable;
    counted.damaged = pages.damaged;
    Ok(counted)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_an_ended_import_has_taken_stays_and_the_next_one_takes_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // One more than are read at once.
        let sql = "CREATE TABLE longnames (meshtastic_id TEXT PRIMARY KEY, longname TEXT);
                   WITH RECURSIVE node (num) AS (SELECT 1 UNION ALL SELECT num + 1 FROM node WHERE num < 5001)
                   INSERT INTO longnames SELECT printf('!%08x', num), 'Hut' FROM node";
        let connection = Connection::open(path("meshtastic.sqlite")).unwrap();
        connection.execute_batch(sql).unwrap();
        let copy = path("copy");
        let old = OldDatabase::open(&path("meshtastic.sqlite"), &copy, || true).unwrap();
        let mut store = Store::open(&path("relay.sqlite")).unwrap();

        let at = Timestamp(0);
        let add = |tx: &Tx<'_>, radio, name: &OldName| imported::add_name(tx, radio, name, at);
        let stop = CancellationToken::new();
        let ended = all(old.names(), Some(&mut store), &stop, add, |_| stop.cancel());
        assert!(matches!(ended, Err(ImportError::Interrupted)), "{ended:?}");

        let whole = names(&old, Some(&mut store), at, &CancellationToken::new()).unwrap();
        assert_eq!((whole.found, whole.taken), (5001, 1));
    }
}
