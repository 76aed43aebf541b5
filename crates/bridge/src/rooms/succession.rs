//! What happens to a room with waiting rows that is replaced, has lost its alias, or is no longer mapped: whether another
//! configured room succeeds it.
//!
//! Whoever may write a tombstone or set an alias may not be who writes the configuration. So an alias alone never redirects to
//! a room with weaker protection; only a configured room id does. Which room a configured name stands for is decided in
//! `relay_matrix`, by the same rule.

use crate::Bridge;
use relay_config::MappedRoom;
use relay_model::{
    Explained, JoinedRoom, OldRoom, OwnedRoomId, OwnedRoomOrAliasId, RoomId, RoomOrAliasId,
    Weakness,
};

/// What happens to rows waiting for a room that is replaced, moved or no longer mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Succession {
    /// They are sent to the room itself.
    Stays,
    /// They go to another room, configured under this name.
    Goes(OwnedRoomOrAliasId, OwnedRoomId),
    /// They wait for this condition, with the configured name of the successor, if any.
    Waits(Option<OwnedRoomOrAliasId>, Waiting),
    /// They are dropped: the room is no longer configured.
    Ends,
}

/// Advice for the operator before configuring a room id.
const CONSENT: &str = "; under its id even if it is not encrypted or anyone may join it, unlike this room, so look at that first";

/// The condition under which a room's waiting rows continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The room is replaced by this one, for which no configured name stands yet.
    Unnamed(OwnedRoomId),
    /// The bot is not in the successor; `None`: the alias's room is unknown.
    NotJoined(Option<OwnedRoomId>),
    /// An alias names this unencrypted room as successor of an encrypted one.
    Unencrypted(OwnedRoomId),
    /// An alias names this public room as successor of a private one.
    Public(OwnedRoomId),
    /// Both are configured, and this successor does not name the room as its predecessor.
    Unconfirmed(OwnedRoomId),
    /// It is no longer configured, and not all configured rooms have been seen.
    Unmapped,
}

impl Waiting {
    /// Returns its name in `status` and in the store.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unnamed(_) => "replaced",
            Self::NotJoined(_) => "successor_not_joined",
            Self::Unencrypted(_) => "successor_unencrypted",
            Self::Public(_) => "successor_public",
            Self::Unconfirmed(_) => "successor_unconfirmed",
            Self::Unmapped => "unmapped",
        }
    }

    /// Returns the room that is to take its place.
    pub fn successor(&self) -> Option<&OwnedRoomId> {
        match self {
            Self::Unnamed(room)
            | Self::NotJoined(Some(room))
            | Self::Unencrypted(room)
            | Self::Public(room)
            | Self::Unconfirmed(room) => Some(room),
            Self::NotJoined(None) | Self::Unmapped => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Unnamed(by) => format!("this room was replaced by {by}"),
            Self::NotJoined(Some(to)) => {
                format!("{to} takes this room's place, and the bot is not in it yet")
            }
            Self::NotJoined(None) => {
                "the alias of this room stands for another, and it is not known for which".to_owned()
            }
            Self::Unencrypted(to) => {
                format!("{to} is to take the place of this encrypted room, is not encrypted, and is named by an alias alone")
            }
            Self::Public(to) => format!(
                "{to} is to take this room's place, anyone may join it, unlike this room, and it is named by an alias alone"
            ),
            Self::Unconfirmed(to) => format!(
                "this room says that {to} replaces it, and that room does not say so"
            ),
            Self::Unmapped => {
                "this room is not in `matrix_rooms` any more, and it is not known yet whether one of those replaces it"
                    .to_owned()
            }
        }
    }

    /// Returns whether it passes without anybody's action.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unnamed(_) | Self::NotJoined(None) | Self::Unmapped
        )
    }

    /// Reassembles a condition from [`Self::name`] and [`Self::successor`].
    pub fn of(name: &str, successor: Option<OwnedRoomId>) -> Self {
        match (name, successor) {
            ("replaced", Some(by)) => Self::Unnamed(by),
            ("successor_not_joined", to) => Self::NotJoined(to),
            ("successor_unencrypted", Some(to)) => Self::Unencrypted(to),
            ("successor_public", Some(to)) => Self::Public(to),
            ("successor_unconfirmed", Some(to)) => Self::Unconfirmed(to),
            (_, _) => Self::Unmapped,
        }
    }
}

/// A room whose rows wait, and for what.
#[derive(Debug, thiserror::Error)]
#[error("{}", .1.words())]
pub struct WaitingRoom<'a>(pub &'a RoomId, pub &'a Waiting);

impl Explained for WaitingRoom<'_> {
    fn hint(&self) -> Option<String> {
        let Self(room, why) = self;
        Some(match why {
            Waiting::Unnamed(by) => format!(
                "the relay goes there by itself when it may join {by}, if that names this room as the one that it replaces and is \
                 no less protected. Otherwise invite the bot there, put {by} into `matrix_rooms` in the place of {room}, and have \
                 the configuration read again{CONSENT}"
            ),
            Waiting::NotJoined(Some(to)) => format!("invite the bot to {to}: what waits goes there"),
            Waiting::NotJoined(None) | Waiting::Unmapped => {
                "what waits goes on, or is given up with a line in the log, when the bot is in all mapped rooms".to_owned()
            }
            Waiting::Unencrypted(to) | Waiting::Public(to) => format!(
                "what is new goes there already. If what waits may be read there as well, put the id {to} into `matrix_rooms` in \
                 the place of the alias; if nothing may, put {room} there"
            ),
            Waiting::Unconfirmed(to) => format!(
                "take {room} out of `matrix_rooms` if {to} replaces it"
            ),
        })
    }
}

impl Bridge {
    /// Decides what happens to rows waiting for a room.
    pub(crate) fn succession(&self, old: &OldRoom) -> Succession {
        let is_mapped = self.routes.name_of(&old.room).is_some();
        let successor = old.successor();
        if is_mapped && successor.is_none() {
            return Succession::Stays;
        }
        if let Some(to) = successor
            && let Some(name) = self.routes.name_of(to)
        {
            return self.by_tombstone(old, is_mapped, name, to);
        }
        let is_configured =
            |alias: &&OwnedRoomOrAliasId| self.routes.entries().any(|it| it == *alias);
        let alias = old.alias.as_ref().filter(is_configured);
        match (alias, successor) {
            (Some(alias), _) if !is_mapped => self.by_alias(old, alias),
            (_, Some(by)) if is_mapped => waits(None, Waiting::Unnamed(by.clone())),
            (_, successor) => self.by_its_own_word(old, successor),
        }
    }

    /// Its tombstone names a mapped room.
    fn by_tombstone(
        &self,
        old: &OldRoom,
        is_mapped: bool,
        name: &OwnedRoomOrAliasId,
        to: &OwnedRoomId,
    ) -> Succession {
        let why = match self.rooms.get(to) {
            None => Some(Waiting::NotJoined(Some(to.clone()))),
            Some(joined) if is_mapped && joined.predecessor.as_ref() != Some(&old.room) => {
                Some(Waiting::Unconfirmed(to.clone()))
            }
            Some(joined) => self.weakness(old, joined),
        };
        match why {
            None => goes(name, to),
            // A room that is still mapped keeps its own messages.
            Some(why) => waits((!is_mapped).then_some(name), why),
        }
    }

    /// Its alias resolves to another room, or to none known.
    fn by_alias(&self, old: &OldRoom, alias: &OwnedRoomOrAliasId) -> Succession {
        let to = self.routes.known.get(alias);
        match to.and_then(|to| self.rooms.get(to)) {
            None => waits(Some(alias), Waiting::NotJoined(to.cloned())),
            Some(joined) => self.unless_weak(old, alias, joined),
        }
    }

    /// It is no longer mapped and names no mapped room: one of those, or its successor, may name it.
    fn by_its_own_word(&self, old: &OldRoom, successor: Option<&OwnedRoomId>) -> Succession {
        // If we can still read it, we would have seen a tombstone.
        let is_silent = successor.is_none() && self.rooms.contains_key(&old.room);
        let follows = |joined: &JoinedRoom| {
            let before = joined.predecessor.as_ref();
            let is_next = before == Some(&old.room) && successor.is_none() && !is_silent;
            let is_next_but_one = successor.is_some() && before == successor;
            is_next || is_next_but_one
        };
        let is_seen = |name: &OwnedRoomOrAliasId| {
            let mut rooms = self.rooms.keys();
            rooms.any(|room| self.routes.stands_for(name, (&**room).into()))
        };
        let named = self.rooms.values().filter(|joined| follows(joined));
        let mut named =
            named.filter_map(|joined| Some((self.routes.name_of(&joined.room)?, joined)));
        if let Some((name, joined)) = named.next() {
            self.unless_weak(old, name, joined)
        } else if self.routes.entries().all(is_seen) {
            Succession::Ends
        } else {
            waits(None, Waiting::Unmapped)
        }
    }

    fn unless_weak(
        &self,
        old: &OldRoom,
        name: &OwnedRoomOrAliasId,
        joined: &JoinedRoom,
    ) -> Succession {
        match self.weakness(old, joined) {
            Some(why) => waits(Some(name), why),
            None => goes(name, &joined.room),
        }
    }

    /// Returns how a room is less protected, unless the configuration permits that.
    fn weakness(&self, old: &OldRoom, joined: &JoinedRoom) -> Option<Waiting> {
        let to = joined.room.clone();
        let by_old_name = |name: &&OwnedRoomOrAliasId| {
            name.as_str() == old.room.as_str()
                || old.alias.as_ref() == Some(*name)
                || self.routes.stands_for(name, (&*old.room).into())
        };
        let is_permitted =
            |name: &RoomOrAliasId| MappedRoom::permits(&self.config.matrix_rooms, name, &to);
        let mut names = self.routes.entries().filter(by_old_name);
        if is_permitted((&*to).into()) && names.all(|name| is_permitted(name)) {
            return None;
        }
        match old.weakness_of(joined.encrypted, joined.public)? {
            Weakness::Unencrypted => Some(Waiting::Unencrypted(to)),
            Weakness::Public => Some(Waiting::Public(to)),
        }
    }
}

fn goes(name: &OwnedRoomOrAliasId, to: &OwnedRoomId) -> Succession {
    Succession::Goes(name.clone(), to.clone())
}

fn waits(name: Option<&OwnedRoomOrAliasId>, why: Waiting) -> Succession {
    Succession::Waits(name.cloned(), why)
}

#[cfg(test)]
mod tests;
