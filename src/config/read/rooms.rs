//! Reads `matrix_rooms`: a list, or MMRelay's mapping of names to entries.

use super::super::finding::{Origin, Wrong, quoted};
use super::super::section::{Reader, Section};
use super::super::values::{Checked, choice, some_text, structured};
use super::super::yaml::{Entry, Node, Place, Value};
use super::super::{ChannelRef, Direction, MappedRoom};
use crate::model::{ChannelIndex, RoomAddress, RoomAddressError};

const DIRECTIONS: &[(&str, Direction)] = &[
    ("both", Direction::Both),
    ("to_matrix", Direction::ToMatrix),
    ("to_mesh", Direction::ToMesh),
];

const REQUIRED: &str = "is required: a list of `{id: room, meshtastic_channel: channel}`";

/// One entry as it stands.
struct Item {
    path: String,
    origin: Origin,
    node: Node,
    /// The key of the mapping that it stands in: the room itself, where the entry has no `id`.
    name: Option<String>,
}

/// Reads `matrix_rooms`.
pub(in super::super) fn rooms(root: &mut Section<'_, '_>) -> Vec<MappedRoom> {
    let Some(node) = root.required("matrix_rooms", REQUIRED, |node| {
        structured(node).map_err(|wrong| vec![wrong])
    }) else {
        return Vec::new();
    };
    let origin = root.last_origin();
    let reader = root.reader();
    let (is_map, items) = items(&origin, node);
    if is_map {
        reader.note_mmrelay();
    }
    if items.is_empty() {
        reader.problem(&origin, "matrix_rooms", Wrong::new(REQUIRED));
    }
    let mut rooms: Vec<MappedRoom> = Vec::new();
    for item in items {
        let (path, origin) = (item.path.clone(), item.origin.clone());
        let Some(mapped) = room(reader, item) else {
            continue;
        };
        let twin = rooms.iter().find(|other| {
            other.id == mapped.id && other.meshtastic_channel == mapped.meshtastic_channel
        });
        match twin {
            Some(twin) if twin.direction == mapped.direction => {
                let wrong = Wrong::new("this room is tied to this channel already");
                reader.warning(&origin, &path, wrong);
            }
            Some(_) => {
                let sentence =
                    "this room is tied to this channel already, with another `direction`";
                reader.problem(&origin, &path, Wrong::new(sentence));
            }
            None => rooms.push(mapped),
        }
    }
    rooms
}

fn items(origin: &Origin, node: Node) -> (bool, Vec<Item>) {
    let at = |place: Place| match origin {
        Origin::File(_) | Origin::Nowhere => Origin::File(place),
        Origin::Variable(name) => Origin::Variable(name.clone()),
    };
    match node.value {
        Value::List(nodes) => {
            let item = |(index, node): (usize, Node)| Item {
                path: format!("matrix_rooms[{index}]"),
                origin: at(node.place),
                node,
                name: None,
            };
            (false, nodes.into_iter().enumerate().map(item).collect())
        }
        Value::Map(entries) => {
            let item = |(index, entry): (usize, Entry)| Item {
                path: format!("matrix_rooms[{index}]"),
                origin: at(entry.place),
                node: entry.value,
                name: Some(entry.key),
            };
            (true, entries.into_iter().enumerate().map(item).collect())
        }
        Value::Null { .. } | Value::Scalar { .. } => (false, Vec::new()),
    }
}

fn room(reader: &Reader<'_>, item: Item) -> Option<MappedRoom> {
    match &item.node.value {
        Value::Map(_) => {}
        Value::Null { .. } | Value::Scalar { .. } | Value::List(_) => {
            let wrong = Wrong::new("expected a room with its channel");
            let hint = "write it as `{id: \"#hiking:example.org\", meshtastic_channel: 0}`";
            reader.problem(&item.origin, &item.path, wrong.hint(hint));
            return None;
        }
    }
    let mut section = reader.section(item.path, item.origin, item.node);
    let id = match item.name {
        Some(name) if !section.is_given("id") => match address(&name) {
            Ok(id) => Some(id),
            Err(wrong) => {
                section.problem("id", wrong);
                None
            }
        },
        Some(_) | None => {
            let id = |node: &Node| address(&some_text(node)?).map_err(|wrong| vec![wrong]);
            section.required("id", "is required: the room's id or alias", id)
        }
    };
    let why = "is required: 0 to 7, or the channel's name";
    let channel = section.required("meshtastic_channel", why, channel);
    if matches!(&channel, Some(ChannelRef::Name(name)) if name.eq_ignore_ascii_case("admin")) {
        let wrong = Wrong::new("a channel named `admin` is never relayed");
        section.warning("meshtastic_channel", wrong);
    }
    let mut direction = Some(Direction::default());
    section.set_restricting("direction", &mut direction, |node| {
        choice(DIRECTIONS)(node).map(Some)
    });
    section.finish();
    let RoomAddress { room, via } = id?;
    Some(MappedRoom {
        id: room,
        via,
        meshtastic_channel: channel?,
        direction: direction?,
    })
}

fn address(text: &str) -> Result<RoomAddress, Wrong> {
    let text = text.trim();
    text.parse().map_err(|error| {
        let wrong = Wrong::new(format!("{} is not a room", quoted(text)));
        match error {
            RoomAddressError::User => wrong.hint("this is a user id"),
            RoomAddressError::Message(room) => {
                wrong.hint(format!("this is a link to a message; the room is `{room}`"))
            }
            RoomAddressError::Other => wrong.hint(
                "give its id `!abc:example.org`, its alias `#hiking:example.org`, or the link that a client copies for it, in quotes",
            ),
        }
    })
}

fn channel(node: &Node) -> Checked<ChannelRef> {
    let text = some_text(node)?;
    let text = text.trim();
    let Ok(number) = text.parse::<i64>() else {
        return Ok(ChannelRef::Name(text.to_owned()));
    };
    let index = u32::try_from(number).ok();
    index
        .and_then(|number| ChannelIndex::try_from(number).ok())
        .map(ChannelRef::Index)
        .ok_or_else(|| {
            let error = crate::model::ParseIdError::Channel(number);
            vec![Wrong::new(error.to_string())]
        })
}
