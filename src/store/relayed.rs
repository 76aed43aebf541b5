//! What was relayed a moment ago, and who said it: another relay may repeat it on the mesh.

use rusqlite::Row;

use super::columns::{target, user};
use super::{StoreError, Tx};
use crate::model::{Destination, EventId, NodeNum, OwnedUserId, Timestamp};

/// More texts than a radio can send, or hear, in the time of interest.
const MOST: u16 = 400;

/// A text that people in Matrix have said to the mesh, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromMatrix {
    /// Who.
    pub sender: Option<OwnedUserId>,
    /// The names that its author goes by.
    pub author: Vec<String>,
    /// It, without prefix.
    pub text: String,
    /// What we sent, prefix included.
    pub carried: String,
}

/// A text that a node has said to Matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromMesh {
    /// Which node.
    pub node: NodeNum,
    /// Its long name, if it has told one.
    pub long_name: Option<String>,
    /// Its short name likewise.
    pub short_name: Option<String>,
    /// The text.
    pub text: String,
}

/// Notes the names that the author of what is accepted for an event goes by.
///
/// # Errors
///
/// When the database fails.
pub fn note_author(tx: &Tx<'_>, event: &EventId, author: &[String]) -> Result<(), StoreError> {
    // A name has one line.
    let lines: Vec<String> = author.iter().map(|it| it.replace('\n', " ")).collect();
    tx.execute(
        "UPDATE mesh_outbox SET author = ?2 WHERE event = ?1 AND author IS NULL",
        (event.as_str(), lines.join("\n")),
    )?;
    Ok(())
}

/// Returns what people in Matrix have said to a destination since then, newest first.
///
/// # Errors
///
/// When the database fails.
pub fn from_matrix(
    tx: &Tx<'_>,
    to: Destination,
    since: Timestamp,
) -> Result<Vec<FromMatrix>, StoreError> {
    let (kind, target) = target(to);
    tx.all(
        "SELECT sender, author, source_text, text FROM mesh_outbox
         WHERE target_kind = ?1 AND target = ?2 AND active_at >= ?3
             AND tapback = 0 AND source_text IS NOT NULL
         ORDER BY active_at DESC LIMIT ?4",
        (kind, target, since, MOST),
        |row| {
            let author: Option<String> = row.get("author")?;
            Ok(FromMatrix {
                sender: user(row, "sender")?,
                author: author
                    .iter()
                    .flat_map(|it| it.lines())
                    .map(str::to_owned)
                    .collect(),
                text: row.get("source_text")?,
                carried: row.get("text")?,
            })
        },
    )
}

/// Returns what nodes have said to Matrix on a channel since then, newest first.
///
/// # Errors
///
/// When the database fails.
pub fn from_mesh(
    tx: &Tx<'_>,
    radio: NodeNum,
    on: Destination,
    since: Timestamp,
) -> Result<Vec<FromMesh>, StoreError> {
    let (kind, target) = target(on);
    tx.all(
        "SELECT pair.sender, pair.text, node.long_name, node.short_name
         FROM message_pair AS pair
             LEFT JOIN node ON node.radio = ?1 AND node.num = pair.sender
         WHERE pair.origin = 0 AND pair.at >= ?2 AND pair.target_kind = ?3 AND pair.target = ?4
         ORDER BY pair.at DESC LIMIT ?5",
        (radio, since, kind, target, MOST),
        said_by,
    )
}

fn said_by(row: &Row<'_>) -> rusqlite::Result<FromMesh> {
    Ok(FromMesh {
        node: row.get("sender")?,
        long_name: row.get("long_name")?,
        short_name: row.get("short_name")?,
        text: row.get("text")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Node;
    use crate::store::mesh_report::{accepted, submitted};
    use crate::store::nodes;
    use crate::store::samples::*;

    #[test]
    fn what_was_written_in_matrix_is_known_with_its_author_until_it_is_old() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["Bob[M]: hello"], NOW)?;
            let expected = |author: &[&str]| FromMatrix {
                sender: Some(source("$one:example.org", "").sender),
                author: author.iter().map(|it| (*it).to_owned()).collect(),
                text: "hello".to_owned(),
                carried: "Bob[M]: hello".to_owned(),
            };
            assert_eq!(from_matrix(tx, CHANNEL, NOON)?, [expected(&[])]);
            let names = ["Bob\nBuilder".to_owned(), "BOB1".to_owned()];
            note_author(tx, &event("$one:example.org"), &names)?;
            let expected = [expected(&["Bob Builder", "BOB1"])];
            assert_eq!(from_matrix(tx, CHANNEL, NOON)?, expected);
            assert_eq!(from_matrix(tx, CHANNEL, later(1))?, []);
            submitted(tx, rows[0].0, later(900))?;
            accepted(tx, rows[0].0, later(901))?;
            assert_eq!(from_matrix(tx, CHANNEL, later(901))?, expected);
            assert_eq!(from_matrix(tx, Destination::Direct(NodeNum(1)), NOON)?, []);
            Ok(())
        });
    }

    #[test]
    fn what_a_node_said_is_known_with_the_names_that_it_told_until_it_is_old() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 7, "hello")?;
            let sender = pair_of(ROOM, 7, "hello").sender;
            let nameless = FromMesh {
                node: sender,
                long_name: None,
                short_name: None,
                text: "hello".to_owned(),
            };
            let known = |since| from_mesh(tx, RADIO, CHANNEL, since);
            assert_eq!(known(NOON)?, std::slice::from_ref(&nameless));
            assert_eq!(known(later(1))?, []);
            let node = Node {
                long_name: Some("Summit Hut".to_owned()),
                short_name: Some("SUMM".to_owned()),
                ..Node::unknown(sender)
            };
            nodes::update(tx, RADIO, &[node], NOON)?;
            let named = FromMesh {
                long_name: Some("Summit Hut".to_owned()),
                short_name: Some("SUMM".to_owned()),
                ..nameless
            };
            assert_eq!(known(NOON)?, [named]);
            assert_eq!(
                from_mesh(tx, RADIO, Destination::Direct(NodeNum(1)), NOON)?,
                []
            );
            Ok(())
        });
    }
}
