//! Links to users, rooms and messages, as Matrix clients write them, and the names that replace them. Pure.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use relay_model::{OwnedRoomAliasId, OwnedServerName, OwnedUserId};

/// Known display names in the room.
pub type Names = HashMap<OwnedUserId, String>;

/// Prefixes of links.
const BEGINNINGS: [&str; 3] = ["https://matrix.to/#/", "http://matrix.to/#/", "matrix:"];
/// Punctuation that may follow a link.
const PUNCTUATION: &[char] = &['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '*'];
/// Maximum number of bytes before an address that are searched for the start of its label.
const LONGEST_LABEL: usize = 300;

/// Maximum length of an address: two ids, percent-encoded, and servers.
const LONGEST_ADDRESS: usize = 2000;
/// Maximum number of candidates for the end of an address, from the last one backwards.
const MOST_ENDS: usize = 64;

/// What a link of Matrix points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkTarget {
    User(OwnedUserId),
    /// A room by its alias.
    Room(String),
    /// A room by its id, which means nothing to a reader.
    NamelessRoom,
    Message,
    /// Any other Matrix link, or an invalid one.
    Other,
}

impl LinkTarget {
    /// Parses an address; `None` if it is not a Matrix link.
    pub(super) fn of(address: &str) -> Option<Self> {
        let address = address.trim();
        if let Some(path) = address.strip_prefix("matrix:") {
            return Self::of_parts(path);
        }
        let (site, fragment) = address.split_once("/#/")?;
        let host = site
            .strip_prefix("https://")
            .or_else(|| site.strip_prefix("http://"))?;
        let host = host.strip_prefix("www.").unwrap_or(host);
        // Other servers may have their own addresses, with a path segment before the id.
        let sigiled = match fragment.split_once('/') {
            Some(("user" | "room", id)) => Some(id),
            Some(_) | None => None,
        };
        if host.eq_ignore_ascii_case("matrix.to") {
            return Some(Self::of_ids(sigiled.unwrap_or(fragment)).unwrap_or(Self::Other));
        }
        Self::of_ids(sigiled?)
    }

    /// Parses `u/bob:example.org`, `roomid/room:example.org/e/event` and the like.
    fn of_parts(path: &str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let (kind, id) = path.split_once('/')?;
        let sigil = match kind {
            "u" | "user" => '@',
            "r" | "room" => '#',
            "roomid" => '!',
            _ => return None,
        };
        let ids = match id.split_once('/') {
            Some((room, event)) => format!("{sigil}{room}/${}", event.split_once('/')?.1),
            None => format!("{sigil}{id}"),
        };
        Self::of_ids(&ids)
    }

    /// Parses `@bob:example.org`, `!room:example.org/$event` and the like; any character may be percent-encoded.
    fn of_ids(ids: &str) -> Option<Self> {
        let (ids, _) = ids.split_once('?').unwrap_or((ids, ""));
        let (first, second) = ids.split_once('/').unwrap_or((ids, ""));
        let first = decoded(first);
        let room = match first.chars().next()? {
            '@' if second.is_empty() => return OwnedUserId::try_from(first).ok().map(Self::User),
            '$' if is_opaque_id(&decoded(ids)) => return Some(Self::Message),
            '#' if OwnedRoomAliasId::try_from(first.as_str()).is_ok() => Self::Room(first),
            '!' if is_opaque_id(&first) => Self::NamelessRoom,
            _ => return None,
        };
        if second.is_empty() {
            return Some(room);
        }
        is_opaque_id(&decoded(second)).then_some(Self::Message)
    }

    /// Returns the text for a link to this target with this label.
    pub(super) fn read(&self, label: &str, names: &Names) -> String {
        let label = without_brackets(label.trim());
        let shown = decoded(label);
        // A label that is itself an address is useless.
        let telling = !label.is_empty() && Self::of(label).is_none();
        match self {
            Self::User(user) if !telling || shown == user.as_str() => {
                let name = names.get(user).map(String::as_str);
                name.unwrap_or_else(|| user.localpart()).to_owned()
            }
            Self::Room(alias) if !telling => alias.clone(),
            Self::NamelessRoom if !telling || shown.starts_with('!') => "[room]".to_owned(),
            Self::Message if !telling || shown.starts_with(['!', '$']) => "[message]".to_owned(),
            _ => label.to_owned(),
        }
    }
}

/// Returns whether a text has the form of a room id or an event id.
fn is_opaque_id(id: &str) -> bool {
    let opaque = |text: &str| {
        let known = |it: char| it.is_ascii_alphanumeric() || "!$_-+/=.~".contains(it);
        text.chars().all(known)
    };
    match id.split_once(':') {
        Some((opaque_part, server)) => {
            opaque(opaque_part) && OwnedServerName::try_from(server).is_ok()
        }
        None => opaque(id),
    }
}

/// Replaces the Matrix links in a text by names, including Markdown links such as
/// `[Bob](https://matrix.to/#/@bob:example.org)`.
pub(super) fn read_links(text: &str, names: &Names) -> String {
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = beginning(rest) {
        let (before, from) = rest.split_at(start);
        read.push_str(before);
        let labelled = ["](", "](<"].iter().find(|it| read.ends_with(**it));
        let address = match labelled {
            Some(_) => up_to(from, |it| it.is_whitespace() || ")>".contains(it)),
            None => bare_address(from),
        };
        rest = from.get(address.len()..).unwrap_or_default();
        let Some(target) = LinkTarget::of(address).filter(|it| *it != LinkTarget::Other) else {
            read.push_str(address);
            continue;
        };
        match labelled.and_then(|mark| label_before(&read, mark)) {
            Some((open, label)) => {
                read.truncate(open);
                read.push_str(&target.read(&label, names));
                rest = after_address(rest).unwrap_or(rest);
            }
            None => read.push_str(&target.read("", names)),
        }
    }
    read.push_str(rest);
    read
}

fn up_to(text: &str, end: impl Fn(char) -> bool) -> &str {
    text.split(end).next().unwrap_or(text)
}

/// Returns the address that a text begins with, without what a sentence puts behind it: an `'s`, a dash, another
/// address.
fn bare_address(text: &str) -> &str {
    let text = cut(text, LONGEST_ADDRESS);
    let word = up_to(text, |it| it.is_whitespace() || "<>\"|`".contains(it));
    let sites = BEGINNINGS.iter().filter(|it| it.starts_with("http"));
    let next = sites.filter_map(|site| Some(word.get(1..)?.find(site)? + 1));
    let word = cut(word, next.min().unwrap_or(word.len()));
    // After the colon of an id only ASCII can follow.
    let id = word.find("#/").map_or("matrix:".len(), |at| at + 2);
    let colon = word.get(id..).and_then(|it| it.find(':')).unwrap_or(0);
    let foreign = |(at, it): &(usize, char)| *at >= id + colon && !it.is_ascii();
    let end = word.char_indices().find(foreign);
    let whole = cut(word, end.map_or(word.len(), |(at, _)| at)).trim_end_matches(PUNCTUATION);
    let mut address = whole;
    for _ in 0..MOST_ENDS {
        #[cfg(test)]
        tests::TRIED.set(tests::TRIED.get() + 1);
        let query = address.split_once('?').map_or("", |(_, query)| query);
        let in_query = |it: char| it.is_ascii_alphanumeric() || "=&.:-_~%+[]".contains(it);
        if query.chars().all(in_query)
            && LinkTarget::of(address).is_some_and(|it| it != LinkTarget::Other)
        {
            return address;
        }
        let end = address.rfind(|it: char| !it.is_ascii_alphanumeric());
        let Some(end) = end else { break };
        address = cut(address, end).trim_end_matches(PUNCTUATION);
    }
    whole
}

/// Returns the text behind a link; a title is part of the link.
fn after_address(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('>').unwrap_or(rest).trim_start();
    let quote = rest.chars().next().filter(|it| "\"'".contains(*it));
    let rest = match quote {
        Some(quote) => rest.strip_prefix(quote)?.split_once(quote)?.1.trim_start(),
        None => rest,
    };
    rest.strip_prefix(')')
}

fn beginning(text: &str) -> Option<usize> {
    let found = BEGINNINGS.iter().filter_map(|beginning| {
        let mut places = text.match_indices(beginning).map(|(at, _)| at);
        places.find(|at| {
            let before = text.get(..*at).and_then(|it| it.chars().next_back());
            !before.is_some_and(char::is_alphanumeric)
        })
    });
    found.min()
}

/// Returns the position of the `[` of the label that ends with `](`, and the label. Not all clients escape brackets in
/// names.
fn label_before(read: &str, mark: &str) -> Option<(usize, String)> {
    let end = read.len().checked_sub(mark.len())?;
    let head = read.get(..end)?;
    let mut depth = 0_usize;
    let mut nearest = None;
    for (at, character) in head.char_indices().rev() {
        if character == '\n' || end - at > LONGEST_LABEL {
            break;
        }
        let escaped = head.get(..at).is_some_and(|it| it.ends_with('\\'));
        match character {
            ']' if !escaped => depth += 1,
            '[' if !escaped && depth == 0 => return Some((at, unescaped(head.get(at + 1..)?))),
            '[' if !escaped => {
                depth -= 1;
                nearest = Some(at);
            }
            _ => {}
        }
    }
    let at = nearest?;
    Some((at, unescaped(head.get(at + 1..)?)))
}

/// Returns the name in `@[Bob B]#1234`, which `FluffyChat` writes for names with spaces.
fn without_brackets(label: &str) -> &str {
    let named = label.strip_prefix("@[").and_then(|it| it.split_once(']'));
    match named {
        Some((name, rest)) if rest.is_empty() || rest.starts_with('#') => name,
        Some(_) | None => label,
    }
}

/// Removes Markdown's backslashes.
fn unescaped(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    let mut characters = label.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(next) if character == '\\' && next.is_ascii_punctuation() => {
                text.push(*next);
                characters.next();
            }
            Some(_) | None => text.push(character),
        }
    }
    text
}

/// Decodes percent-encoding; invalid sequences stay as they are.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text)
        .decode_utf8()
        .map_or_else(|_| text.to_owned(), Into::into)
}

/// Cuts a text to at most `longest` bytes, at a character boundary.
pub fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests;
