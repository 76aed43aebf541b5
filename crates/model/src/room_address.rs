//! Room addresses as people enter them: an id, an alias, or a link copied from a client.

use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::matrix_uri::MatrixId;
use ruma::{MatrixToUri, MatrixUri};

use super::ids::{OwnedRoomOrAliasId, OwnedServerName};

const MATRIX_TO: &str = "https://matrix.to/#/";

/// A room, with servers through which it can be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomAddress {
    /// Room id or alias (`!…` or `#…`), also where a link was entered.
    pub room: OwnedRoomOrAliasId,
    /// Servers to join the room through (`via` of a link); empty for an id or alias alone.
    pub via: Vec<OwnedServerName>,
}

/// Why a text that a person entered names no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomAddressError {
    /// It is a user id, or a link to one.
    #[error("this is a user")]
    User,
    /// It is a link to a message in this room: the room alone has to be named.
    #[error("this is a link to a message in `{0}`")]
    Message(OwnedRoomOrAliasId),
    /// It begins like a room address, but continues with other text.
    #[error("this is not a room's address")]
    Other,
}

impl FromStr for RoomAddress {
    type Err = RoomAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_odd = |it: char| it.is_whitespace() || it.is_control();
        if text.contains(is_odd) {
            return Err(RoomAddressError::Other);
        }
        let (id, via) = if text.starts_with("matrix:") {
            let uri = MatrixUri::parse(&with_via_only(text));
            let uri = uri.map_err(|_| RoomAddressError::Other)?;
            (uri.id().clone(), uri.via().to_vec())
        } else {
            let linked = in_link(text).or_else(|| text.contains("?via=").then_some(text));
            // An alias may contain a question mark.
            let plain = || utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path = linked.map_or_else(plain, with_via_only);
            let uri = MatrixToUri::parse(&format!("{MATRIX_TO}{path}"));
            let uri = uri.map_err(|_| RoomAddressError::Other)?;
            (uri.id().clone(), uri.via().to_vec())
        };
        let room = match id {
            MatrixId::Room(room) if is_room_id(room.as_str()) => room.into(),
            MatrixId::RoomAlias(alias) => alias.into(),
            MatrixId::Event(room, _) => return Err(RoomAddressError::Message(room)),
            MatrixId::User(_) => return Err(RoomAddressError::User),
            // The SDK may add further kinds.
            _ => return Err(RoomAddressError::Other),
        };
        Ok(Self { room, via })
    }
}

/// Returns whether this can be a room id: with a server name after `:`, or base64url without one.
fn is_room_id(id: &str) -> bool {
    if let Some((_, server)) = id.split_once(':') {
        return OwnedServerName::try_from(server).is_ok();
    }
    let is_base64url = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
    id.len() > 1 && id.bytes().skip(1).all(is_base64url)
}

/// Returns the identifier in a link of matrix.to (`#/!room:server`) or of a web client (`#/room/!room:server`).
fn in_link(text: &str) -> Option<&str> {
    let (site, path) = text.split_once("#/")?;
    let is_link = site.starts_with("https://")
        || site.starts_with("http://")
        || site.trim_end_matches('/') == "matrix.to";
    let path = path
        .strip_prefix("room/")
        .or_else(|| path.strip_prefix("user/"))
        .unwrap_or(path);
    is_link.then_some(path)
}

/// Query parameters other than servers (`action=join`, the client) are ignored.
fn with_via_only(link: &str) -> String {
    let Some((thing, query)) = link.split_once('?') else {
        return link.to_owned();
    };
    let via: Vec<&str> = query
        .split('&')
        .filter(|it| it.starts_with("via="))
        .collect();
    if via.is_empty() {
        return thing.to_owned();
    }
    format!("{thing}?{}", via.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Vec<String>), RoomAddressError> {
        let address: RoomAddress = text.parse()?;
        let via = address.via.iter().map(ToString::to_string).collect();
        Ok((address.room.to_string(), via))
    }

    #[test]
    fn what_clients_copy_as_a_rooms_link_names_the_room_and_the_servers_to_join_it_over() {
        let id = "!abc:example.org";
        for (text, room, via) in [
            (id, id, vec![]),
            ("#hiking:example.org", "#hiking:example.org", vec![]),
            ("#what?:example.org", "#what?:example.org", vec![]),
            ("!newstyle", "!newstyle", vec![]),
            ("!abc:[::1]:8448", "!abc:[::1]:8448", vec![]),
            (
                "!abc:example.org?via=one.example&via=two.example:8448",
                id,
                vec!["one.example", "two.example:8448"],
            ),
            (
                "!newstyle?via=one.example",
                "!newstyle",
                vec!["one.example"],
            ),
            (
                "https://matrix.to/#/!abc:example.org?via=one.example",
                id,
                vec!["one.example"],
            ),
            (
                "https://matrix.to/#/%21abc%3Aexample.org?via=one.example&web-instance[element.io]=app.element.io",
                id,
                vec!["one.example"],
            ),
            ("matrix.to/#/!abc:example.org", id, vec![]),
            (
                "https://matrix.to/#/%23hiking:example.org",
                "#hiking:example.org",
                vec![],
            ),
            (
                "https://matrix.to/#/#hiking:example.org",
                "#hiking:example.org",
                vec![],
            ),
            (
                "https://app.element.io/#/room/#hiking:example.org",
                "#hiking:example.org",
                vec![],
            ),
            (
                "matrix:roomid/abc:example.org?action=join&via=one.example",
                id,
                vec!["one.example"],
            ),
            ("matrix:r/hiking:example.org", "#hiking:example.org", vec![]),
        ] {
            let via = via.into_iter().map(str::to_owned).collect();
            assert_eq!(read(text), Ok((room.to_owned(), via)), "{text}");
        }
    }

    #[test]
    fn what_names_no_room_is_refused() {
        let message: OwnedRoomOrAliasId = "!abc:example.org".try_into().unwrap();
        let message = RoomAddressError::Message(message);
        for (text, error) in [
            ("@alice:example.org", RoomAddressError::User),
            (
                "https://matrix.to/#/@alice:example.org",
                RoomAddressError::User,
            ),
            ("matrix:u/alice:example.org", RoomAddressError::User),
            (
                "https://matrix.to/#/!abc:example.org/$event?via=one.example",
                message.clone(),
            ),
            ("matrix:roomid/abc:example.org/e/event", message),
            ("!", RoomAddressError::Other),
            ("hiking", RoomAddressError::Other),
            ("#hiking", RoomAddressError::Other),
            (
                "!abc:example.org?server=one.example",
                RoomAddressError::Other,
            ),
            ("!abc:example.org?via=", RoomAddressError::Other),
            ("!abc: example.org", RoomAddressError::Other),
            ("!abc:example.org&via=one.example", RoomAddressError::Other),
            ("!abc:example.org:99999", RoomAddressError::Other),
            ("!abc:", RoomAddressError::Other),
            ("!newstyle&via=one.example", RoomAddressError::Other),
            (
                "https://matrix.to/#/!abc:example.org:99999?via=one.example",
                RoomAddressError::Other,
            ),
            ("!abc:example.org/$event", RoomAddressError::Other),
            ("https://example.org/hiking", RoomAddressError::Other),
            ("https://matrix.to/#/", RoomAddressError::Other),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }
}
