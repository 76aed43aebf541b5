//! Recently relayed texts and their authors, for recognising another relay's echo on the mesh.

use crate::columns::{Row, optional, target};
use crate::{Result, Tx};
use relay_model::{
    Destination, EventId, Node, NodeNum, Origin, OwnedUserId, Relayed, Timestamp, spoken,
};

/// Maximum number of texts compared: more than a radio can send or hear in that time.
const MOST: u16 = 400;

/// Stores the names under which another relay may show an event's author.
pub fn note_author(tx: &Tx<'_>, event: &EventId, author: &[String]) -> Result<()> {
    // Names contain no line break.
    let lines: Vec<String> = author.iter().map(|it| it.replace('\n', " ")).collect();
    tx.run(
        "UPDATE mesh_outbox SET author = ?2 WHERE event = ?1 AND author IS NULL",
        (event.as_str(), lines.join("\n")),
    )
}

/// Returns what was relayed between a channel and Matrix since that time: first messages from Matrix, then from nodes, each
/// newest first.
pub fn on(
    tx: &Tx<'_>,
    radio: NodeNum,
    channel: Destination,
    since: Timestamp,
) -> Result<Vec<Relayed>> {
    let (kind, target) = target(channel);
    let mut relayed = tx.all(
        "SELECT sender, author, source_text, correction, draft, prefix, text FROM mesh_outbox
         WHERE target_kind = ?1 AND target = ?2 AND active_at >= ?3
             AND tapback = 0 AND source_text IS NOT NULL
         ORDER BY active_at DESC LIMIT ?4",
        (kind, target, since, MOST),
        from_matrix,
    )?;
    relayed.extend(tx.all(
        "SELECT pair.sender, pair.text, node.long_name, node.short_name
         FROM message_pair AS pair
             LEFT JOIN node ON node.radio = ?1 AND node.num = pair.sender
         WHERE pair.origin = ?6 AND pair.at >= ?2 AND pair.target_kind = ?3 AND pair.target = ?4
         ORDER BY pair.at DESC LIMIT ?5",
        (radio, since, kind, target, MOST, Origin::Mesh),
        from_mesh,
    )?);
    Ok(relayed)
}

fn from_matrix(row: &Row<'_>) -> rusqlite::Result<Relayed> {
    // Without readable names the text alone is compared.
    let names: Option<String> = row.get("author").unwrap_or_default();
    let mut author: Vec<String> = names
        .iter()
        .flat_map(|it| it.lines())
        .map(str::to_owned)
        .collect();
    let sender: Option<OwnedUserId> = optional(row, "sender").unwrap_or_default();
    if let Some(sender) = sender {
        author.extend([sender.localpart().to_owned(), sender.to_string()]);
    }
    let text = spoken(
        &row.get::<_, String>("source_text")?,
        row.get("correction")?,
    );
    let carried = if row.get("draft")? {
        format!("{}{text}", row.get::<_, String>("prefix")?)
    } else {
        row.get("text")?
    };
    Ok(Relayed {
        author,
        node: None,
        text,
        carried,
    })
}

fn from_mesh(row: &Row<'_>) -> rusqlite::Result<Relayed> {
    let speaker = Node {
        long_name: row.get("long_name").unwrap_or_default(),
        short_name: row.get("short_name").unwrap_or_default(),
        ..Node::unknown(row.get("sender")?)
    };
    Ok(Relayed {
        author: vec![speaker.long(), speaker.short()],
        node: Some(speaker.num),
        text: row.get("text")?,
        carried: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes;
    use crate::outbox::mesh_report::{accepted, submitted};
    use crate::outbox::outbox_mesh;
    use crate::test_rows::*;
    use relay_model::{Draft, Heading, MeshContent};

    #[test]
    fn what_was_written_in_matrix_is_known_with_its_author_until_it_is_old() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["Bob[M]: hello"], NOW)?;
            let id = ["bob", "@bob:example.org"];
            let expected = |names: &[&str]| Relayed {
                author: names.iter().chain(&id).map(|it| (*it).to_owned()).collect(),
                node: None,
                text: "hello".to_owned(),
                carried: "Bob[M]: hello".to_owned(),
            };
            assert_eq!(on(tx, RADIO, CHANNEL, NOON)?, [expected(&[])]);
            let names = ["Bob\nBuilder".to_owned(), "BOB1".to_owned()];
            note_author(tx, &event("$one:example.org"), &names)?;
            let expected = [expected(&["Bob Builder", "BOB1"])];
            assert_eq!(on(tx, RADIO, CHANNEL, NOON)?, expected);
            assert_eq!(on(tx, RADIO, CHANNEL, later(1))?, []);
            submitted(tx, rows[0].0, later(900))?;
            accepted(tx, rows[0].0, later(901))?;
            assert_eq!(on(tx, RADIO, CHANNEL, later(901))?, expected);
            assert_eq!(on(tx, RADIO, Destination::Direct(NodeNum(1)), NOON)?, []);
            Ok(())
        });
    }

    #[test]
    fn what_waits_is_known_as_it_will_be_carried() {
        on_empty(|tx| {
            let waits = Draft {
                heading: Heading {
                    prefix: "Bob[M]: ".to_owned(),
                    label: "Bob".to_owned(),
                },
                ..draft("hello")
            };
            for (correction, text) in [(0, "hello"), (1, "* hello")] {
                let content = MeshContent::Text(Draft {
                    correction,
                    ..waits.clone()
                });
                let event = format!("${correction}:example.org");
                let message = for_mesh(content, Some(source(&event)));
                let now = later(correction.into());
                outbox_mesh::insert(tx, RADIO, &message, now)?;
                let known = &on(tx, RADIO, CHANNEL, now)?[0];
                assert_eq!(known.text, text);
                assert_eq!(known.carried, format!("Bob[M]: {text}"));
            }
            Ok(())
        });
    }

    #[test]
    fn what_a_node_said_is_known_with_the_names_that_it_told_until_it_is_old() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 7, "hello")?;
            let sender = pair_of(ROOM, 7, "hello").sender;
            let said_by = |node: &Node| Relayed {
                author: vec![node.long(), node.short()],
                node: Some(sender),
                text: "hello".to_owned(),
                carried: String::new(),
            };
            let known = |since| on(tx, RADIO, CHANNEL, since);
            assert_eq!(known(NOON)?, [said_by(&Node::unknown(sender))]);
            assert_eq!(known(later(1))?, []);
            let node = Node {
                long_name: Some("Summit Hut".to_owned()),
                short_name: Some("SUMM".to_owned()),
                ..Node::unknown(sender)
            };
            nodes::update(tx, RADIO, std::slice::from_ref(&node), NOON)?;
            assert_eq!(known(NOON)?, [said_by(&node)]);
            assert_eq!(on(tx, RADIO, Destination::Direct(NodeNum(1)), NOON)?, []);
            Ok(())
        });
    }
}
