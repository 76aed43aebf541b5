//! `matrix_rooms`: routes between rooms and channels; a list, or MMRelay's mapping of names to entries.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use strum::Display;

use super::choice::choices;
use super::finding::{Position, ValueSource, Wrong};
use super::keys::keys;
use super::reader::Reader;
use super::section::Section;
use super::value_types::{ValueDoc, ValueType, choice, path, shown_name};
use super::values::{nonblank, structured};
use super::yaml::{self, Node, Value};
use relay_model::{
    ChannelIndex, OwnedRoomOrAliasId, OwnedServerName, ParseIdError, RoomAddress, RoomAddressError,
    RoomId, RoomOrAliasId,
};

const REQUIRED: &str = "is required: a list of `{id: room, meshtastic_channel: channel}`";

/// One entry of `matrix_rooms`: a room tied to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRoom {
    /// Room id or alias (`!…` or `#…`), also where a link was entered.
    pub id: OwnedRoomOrAliasId,
    /// Servers over which it can be joined, where a link was given that names some.
    pub via: Vec<OwnedServerName>,
    /// The channel of the radio that is tied to the room.
    pub meshtastic_channel: ChannelRef,
    /// Which way messages cross between the two.
    pub direction: Direction,
    /// How the bot shows itself there, if otherwise than elsewhere.
    pub appearance: Appearance,
}

impl MappedRoom {
    /// Returns whether what is mapped to `name` may go to a room that is less protected: it is mapped by its id, to each
    /// channel of the name.
    pub fn permits(mapped: &[Self], name: &RoomOrAliasId, room: &RoomId) -> bool {
        let of_room = mapped.iter().filter(|it| it.id.as_str() == room.as_str());
        let mut of_name = mapped.iter().filter(|it| it.id.as_str() == name.as_str());
        of_room.clone().next().is_some()
            && of_name.all(|it| {
                let mut of_room = of_room.clone();
                of_room.any(|other| other.meshtastic_channel == it.meshtastic_channel)
            })
    }
}

/// How the bot shows itself, in a room or everywhere; what is not set stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appearance {
    /// Its name.
    pub display_name: Option<String>,
    /// The file of its picture.
    pub avatar: Option<PathBuf>,
}

/// A channel of the radio, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Display)]
pub enum ChannelRef {
    /// By its slot, 0 to 7, whatever channel is in it.
    #[strum(to_string = "{0}")]
    Index(ChannelIndex),
    /// By its name, as people see it (`LongFast` for an unnamed one); followed when it changes its slot.
    #[strum(to_string = "{0}")]
    Name(String),
}

choices! {
    /// Which way messages of a route go.
    #[derive(Hash, Display)]
    pub Direction {
        /// Both ways.
        Both,
        /// From the mesh to Matrix only.
        ToMatrix,
        /// From Matrix to the mesh only.
        ToMesh,
    }
}

keys! {
    /// The keys of an entry.
    pub(super) Entry {
        /// The room.
        id: Option<RoomAddress> = required(
            r##""#hiking:example.org""##,
            "is required: the room's id or alias",
            room_address()
        );
        /// The channel of the radio; by its name it is followed when it moves.
        meshtastic_channel: Option<ChannelRef> = required(
            "0",
            "is required: 0 to 7, or the channel's name",
            channel()
        );
        /// Which way messages go.
        direction: Direction = restricting("both", choice());
        /// Name that the bot shows in this room alone.
        display_name: Option<String> = value(r#""Hiking relay""#, shown_name());
        /// Picture that the bot shows in this room alone.
        avatar: Option<PathBuf> = value("hiking.png", path());
    }
}

impl Direction {
    /// Returns whether messages of the mesh go to the room.
    pub fn to_matrix(self) -> bool {
        self != Self::ToMesh
    }

    /// Returns whether messages of the room go to the mesh.
    pub fn to_mesh(self) -> bool {
        self != Self::ToMatrix
    }
}

impl Appearance {
    /// Takes what is set, or else what another one has.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (name, avatar) = (self.display_name.as_ref(), self.avatar.as_ref());
        Self {
            display_name: name.or(other.display_name.as_ref()).cloned(),
            avatar: avatar.or(other.avatar.as_ref()).cloned(),
        }
    }

    /// Returns whether both set something, and not to the same.
    fn differs(&self, other: &Self) -> bool {
        self.or(other) != other.or(self)
    }
}

pub(super) fn rooms(root: &mut Section<'_>, key: &'static str) -> Vec<MappedRoom> {
    let doc = || ValueDoc::new("a list of rooms with their channels", Json::Null);
    let list = ValueType::new(doc, |node| Ok(structured(node)?));
    let Some(node) = root.required(key, "", REQUIRED, list) else {
        return Vec::new();
    };
    let origin = root.origin_of(key).clone();
    // Each with the key of the mapping that it stands in: the room itself, where the entry has no `id`.
    let items: Vec<_> = match node.value {
        Value::List(nodes) => nodes.into_iter().map(|it| (None, it.place, it)).collect(),
        Value::Map(entries) => {
            root.reader.is_mmrelay = true;
            let item = |it: yaml::Entry| (Some(it.key), it.place, it.value);
            entries.into_iter().map(item).collect()
        }
        Value::Null { .. } | Value::Scalar { .. } => Vec::new(),
    };
    if items.is_empty() {
        root.problem(key, Wrong::new(REQUIRED));
    }
    let mut rooms: Vec<MappedRoom> = Vec::new();
    for (index, (name, place, node)) in items.into_iter().enumerate() {
        let (path, origin) = (format!("{key}[{index}]"), origin.at(place));
        let Some(mapped) = room(root.reader, &path, &origin, (name, place), node) else {
            continue;
        };
        let is_twin = |other: &&MappedRoom| {
            other.id == mapped.id && other.meshtastic_channel == mapped.meshtastic_channel
        };
        let other_looks = |other: &&MappedRoom| {
            other.id == mapped.id && other.appearance.differs(&mapped.appearance)
        };
        if rooms.iter().any(|other| other_looks(&other)) {
            let sentence =
                "this room has another `display_name` or `avatar` above: it can have only one";
            root.reader.problem(&origin, &path, Wrong::new(sentence));
        }
        match rooms.iter().find(is_twin) {
            Some(twin) if twin.direction == mapped.direction => {
                let wrong = Wrong::new("this room is tied to this channel already");
                root.reader.warning(&origin, &path, wrong);
            }
            Some(_) => {
                let sentence =
                    "this room is tied to this channel already, with another `direction`";
                root.reader.problem(&origin, &path, Wrong::new(sentence));
            }
            None => rooms.push(mapped),
        }
    }
    rooms
}

fn room(
    reader: &mut Reader,
    path: &str,
    origin: &ValueSource,
    (name, place): (Option<String>, Position),
    node: Node,
) -> Option<MappedRoom> {
    let Value::Map(_) = &node.value else {
        let hint = "write it as `{id: \"#hiking:example.org\", meshtastic_channel: 0}`";
        let wrong = Wrong::new("expected a room with its channel").hint(hint);
        reader.problem(origin, path, wrong);
        return None;
    };
    reader.section(path.to_owned(), origin.clone(), node, |section| {
        if let Some(name) = name.filter(|_| !section.is_given("id")) {
            let value = Node::text(name, place);
            let key = "id".to_owned();
            section.entries.push(yaml::Entry { key, place, value });
        }
        let entry = Entry::read(section);
        let channel = entry.meshtastic_channel;
        if matches!(&channel, Some(ChannelRef::Name(name)) if name.eq_ignore_ascii_case("admin")) {
            let sentence = "a channel named `admin` is never relayed";
            section.warning("meshtastic_channel", sentence);
        }
        let RoomAddress { room, via } = entry.id?;
        Some(MappedRoom {
            id: room,
            via,
            meshtastic_channel: channel?,
            direction: entry.direction,
            appearance: Appearance {
                display_name: entry.display_name,
                avatar: entry.avatar,
            },
        })
    })
}

fn room_address() -> ValueType<RoomAddress> {
    let text = "its id (`!…`), alias (`#…`), or the link that a client copies for it";
    let doc = move || ValueDoc::text(text, "^ *([!#]|matrix:|https?://.*#/|matrix\\.to/*#/)");
    ValueType::new(doc, |node| Ok(address(&nonblank(node)?)?))
}

fn address(text: &str) -> Result<RoomAddress, Wrong> {
    let text = text.trim();
    text.parse().map_err(|error| {
        let hint = match error {
            RoomAddressError::User => "this is a user id",
            RoomAddressError::Message(room) => {
                &format!("this is a link to a message; the room is `{room}`")
            }
            RoomAddressError::Other => {
                "give its id `!abc:example.org`, its alias `#hiking:example.org`, or the link that a client copies for it, in quotes"
            }
        };
        Wrong::not(text, "a room").hint(hint)
    })
}

fn channel() -> ValueType<ChannelRef> {
    let doc = || {
        let number = json!({ "type": "integer", "minimum": 0, "maximum": 7 });
        let text = json!({ "type": "string", "pattern": "^ *([0-7]|.*[^-+0-9 ].*) *$" });
        ValueDoc::new(
            "0 to 7, or the channel's name",
            json!({ "anyOf": [number, text] }),
        )
    };
    ValueType::new(doc, |node| {
        let text = nonblank(node)?;
        let text = text.trim();
        let Ok(number) = text.parse::<i64>() else {
            return Ok(ChannelRef::Name(text.to_owned()));
        };
        let slot = u32::try_from(number).map_err(|_| ParseIdError::Channel(number));
        let index = slot.and_then(ChannelIndex::try_from);
        let index = index.map_err(|error| Wrong::new(error.to_string()))?;
        Ok(ChannelRef::Index(index))
    })
}
