//! The nodes that each radio has reported: their names survive restarts and a radio's reset.

use std::time::Duration;

use super::{Result, Tx};
use relay_model::{Node, NodeNum, Timestamp};

/// How much later a node has to be heard to be written for that alone: our own is heard each minute.
const HEARD_APART: Duration = Duration::from_hours(1);

/// Stores names and state of nodes, as the attached radio reported them, and when they were heard to the hour.
pub fn update(tx: &Tx<'_>, radio: NodeNum, nodes: &[Node], now: Timestamp) -> Result<()> {
    for node in nodes {
        tx.execute(
            "INSERT INTO node (radio, num, long_name, short_name, licensed, ignored, last_heard, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (radio, num) DO UPDATE SET
                 long_name = COALESCE(excluded.long_name, long_name),
                 short_name = COALESCE(excluded.short_name, short_name),
                 licensed = excluded.licensed,
                 ignored = excluded.ignored,
                 last_heard = COALESCE(excluded.last_heard, last_heard),
                 updated_at = excluded.updated_at
             WHERE COALESCE(excluded.long_name, long_name) IS NOT long_name
                 OR COALESCE(excluded.short_name, short_name) IS NOT short_name
                 OR excluded.licensed <> licensed
                 OR excluded.ignored <> ignored
                 OR COALESCE(excluded.last_heard, last_heard) IS NOT last_heard
                     AND excluded.updated_at NOT BETWEEN updated_at AND updated_at + ?9",
            (
                radio,
                node.num,
                &node.long_name,
                &node.short_name,
                node.is_licensed,
                node.is_ignored,
                node.last_heard,
                now,
                i64::try_from(HEARD_APART.as_millis()).unwrap_or(i64::MAX),
            ),
        )?;
    }
    Ok(())
}

/// Assigns the names that were stored before any radio was known to this one, which keeps those that it has reported itself.
pub fn adopt(tx: &Tx<'_>, radio: NodeNum) -> Result<()> {
    use super::outbox_mesh::UNKNOWN_RADIO;

    tx.execute(
        "INSERT INTO node (radio, num, long_name, short_name, licensed, ignored, last_heard, updated_at)
         SELECT ?1, num, long_name, short_name, licensed, ignored, last_heard, updated_at
         FROM node WHERE radio = ?2
         ON CONFLICT (radio, num) DO UPDATE SET
             long_name = COALESCE(long_name, excluded.long_name),
             short_name = COALESCE(short_name, excluded.short_name)",
        (radio, UNKNOWN_RADIO),
    )?;
    tx.run("DELETE FROM node WHERE radio = ?1", [UNKNOWN_RADIO])
}

/// Returns all nodes that this radio ever reported, by number.
pub fn all(tx: &Tx<'_>, radio: NodeNum) -> Result<Vec<Node>> {
    tx.all(
        "SELECT * FROM node WHERE radio = ?1 ORDER BY num",
        [radio],
        |row| {
            Ok(Node {
                num: row.get("num")?,
                long_name: row.get("long_name")?,
                short_name: row.get("short_name")?,
                is_licensed: row.get("licensed")?,
                is_ignored: row.get("ignored")?,
                last_heard: row.get("last_heard")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::outbox_mesh::UNKNOWN_RADIO;

    const RADIO: NodeNum = NodeNum(1);

    #[test]
    fn a_node_keeps_its_name_when_the_radio_has_forgotten_it() {
        let alice = Node {
            long_name: Some("Alice".to_owned()),
            short_name: Some("🦊".to_owned()),
            last_heard: Some(Timestamp(5_000)),
            ..Node::unknown(NodeNum(u32::MAX - 1))
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                update(tx, RADIO, std::slice::from_ref(&alice), Timestamp(1))?;
                update(tx, RADIO, &[Node::unknown(alice.num)], Timestamp(2))?;
                assert_eq!(all(tx, RADIO)?, [alice]);
                assert_eq!(all(tx, NodeNum(2))?, []);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_node_that_is_heard_all_the_time_is_written_once_an_hour() {
        let heard = |minute: u64| {
            let at = Timestamp(0) + Duration::from_mins(minute);
            let node = Node {
                last_heard: Some(at),
                ..Node::unknown(NodeNum(7))
            };
            (node, at)
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                for minute in 0..=130 {
                    let (node, now) = heard(minute);
                    update(tx, RADIO, &[node], now)?;
                }
                assert_eq!(all(tx, RADIO)?, [heard(122).0]);
                // After the clock was set back.
                update(tx, RADIO, &[heard(30).0], heard(30).1)?;
                assert_eq!(all(tx, RADIO)?, [heard(30).0]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_new_name_replaces_the_old_one() {
        let named = |name: &str| Node {
            long_name: Some(name.to_owned()),
            ..Node::unknown(NodeNum(7))
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                update(tx, RADIO, &[named("Alice")], Timestamp(1))?;
                update(tx, RADIO, &[named("Bob")], Timestamp(2))?;
                assert_eq!(all(tx, RADIO)?, [named("Bob")]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn names_from_before_a_radio_was_known_are_those_of_the_first_radio_and_lose_against_what_it_reports()
     {
        let named = |num, name: Option<&str>| Node {
            long_name: name.map(str::to_owned),
            short_name: Some("old".to_owned()),
            ..Node::unknown(NodeNum(num))
        };
        let reported = Node {
            long_name: Some("Alice now".to_owned()),
            ..Node::unknown(NodeNum(7))
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                let before = [named(7, Some("Alice")), named(8, Some("Bob"))];
                update(tx, UNKNOWN_RADIO, &before, Timestamp(1))?;
                update(tx, RADIO, &[reported], Timestamp(2))?;
                adopt(tx, RADIO)?;
                adopt(tx, RADIO)?;
                let after = [named(7, Some("Alice now")), named(8, Some("Bob"))];
                assert_eq!(all(tx, RADIO)?, after);
                assert_eq!(all(tx, UNKNOWN_RADIO)?, []);
                Ok(())
            })
            .unwrap();
    }
}
