//! The nodes that each radio has reported: their names survive restarts and a radio's reset.

use super::{Result, Tx};
use relay_model::{Node, NodeNum, Timestamp};

/// Stores names and state of nodes, as the attached radio reported them.
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
                 updated_at = excluded.updated_at",
            (
                radio,
                node.num,
                &node.long_name,
                &node.short_name,
                node.is_licensed,
                node.is_ignored,
                node.last_heard,
                now,
            ),
        )?;
    }
    Ok(())
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
}
