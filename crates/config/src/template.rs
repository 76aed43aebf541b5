//! Prefixes and reaction keys: text with variables in braces, parsed so far that filling them in cannot fail.

use std::str::FromStr;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use super::finding::printable;

/// A text with variables, as in `[{long}/{mesh}]: `; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<V> {
    /// Literal texts and variables, in their order.
    pub pieces: Vec<Piece<V>>,
}

/// A literal text, or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<V> {
    /// Text as it is, with doubled braces made single.
    Text(String),
    /// A value to be filled in.
    Value {
        /// What is filled in.
        variable: V,
        /// At most so many of its first grapheme clusters.
        limit: Option<usize>,
    },
}

/// What is known of a message of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RoomVariable {
    /// `{long}`, `{longN}`: the node's long name.
    Long,
    /// `{short}`: its short name.
    Short,
    /// `{mesh}`, `{meshN}`: the mesh's name.
    Mesh,
    /// `{channel}`: the channel's name.
    Channel,
    /// `{hops}`: number of hops that it made, or `?`.
    Hops,
    /// `{snr}`: signal-to-noise ratio in dB, or `?`.
    Snr,
    /// `{rssi}`: signal strength in dBm, or `?`.
    Rssi,
    /// `{mqtt}`: `MQTT` if it passed an MQTT server, otherwise nothing.
    Mqtt,
}

/// What is known of a tapback of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReactionVariable {
    /// `{emoji}`: the emoji of the tapback.
    Emoji,
    /// Anything else that is known of a packet.
    Packet(RoomVariable),
}

/// What is known of a message of Matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MeshVariable {
    /// `{display}`, `{displayN}`: the sender's display name.
    Display,
    /// `{user}`: the sender's user id.
    User,
    /// `{username}`: the localpart of that id.
    Username,
    /// `{server}`: the server name of that id.
    Server,
}

/// The variables that a template of one kind can hold.
pub trait Variable: Copy {
    /// Returns all of them, each with its name, and whether a number may follow that, to cut the value short.
    fn all() -> Vec<(&'static str, bool, Self)>;
}

impl Variable for RoomVariable {
    fn all() -> Vec<(&'static str, bool, Self)> {
        let all = Self::iter();
        all.map(|it| (it.into(), matches!(it, Self::Long | Self::Mesh), it))
            .collect()
    }
}

impl Variable for ReactionVariable {
    fn all() -> Vec<(&'static str, bool, Self)> {
        let mut all = vec![("emoji", false, Self::Emoji)];
        let of_packet = RoomVariable::all().into_iter();
        all.extend(of_packet.map(|(name, may_be_cut, it)| (name, may_be_cut, Self::Packet(it))));
        all
    }
}

impl Variable for MeshVariable {
    fn all() -> Vec<(&'static str, bool, Self)> {
        let all = Self::iter();
        all.map(|it| (it.into(), it == Self::Display, it)).collect()
    }
}

impl<V> Default for Template<V> {
    /// The empty one.
    fn default() -> Self {
        let pieces = Vec::new();
        Self { pieces }
    }
}

impl<V: Variable> FromStr for Template<V> {
    /// Why a text is not a template.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(index) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(index);
            let (brace, after) = from.split_at(1);
            plain.push_str(before);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "{"
                && let Some((name, after)) = after.split_once('}')
            {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(parse_value(name)?);
                rest = after;
            } else {
                let sentence = "stands alone: a brace of its own is written twice";
                return Err(format!("a `{brace}` {sentence}"));
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }
}

fn parse_value<V: Variable>(written: &str) -> Result<Piece<V>, String> {
    let name = written.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = written.get(name.len()..).unwrap_or_default();
    let written = printable(written);
    let all = V::all();
    let Some((name, may_be_cut, variable)) = all.iter().find(|it| it.0 == name) else {
        let known: Vec<String> = all.iter().map(|it| format!("`{{{}}}`", it.0)).collect();
        let known = known.join(" ");
        return Err(format!(
            "unknown variable `{{{written}}}`: there are {known}"
        ));
    };
    let limit = match number.parse::<usize>() {
        Ok(limit @ 1..=99) => Some(limit),
        Err(_) if number.is_empty() => None,
        Ok(_) | Err(_) => return Err(format!("`{{{written}}}` has a number that is not 1 to 99")),
    };
    if limit.is_some() && !may_be_cut {
        return Err(format!(
            "`{{{name}}}` cannot be cut to a number of characters"
        ));
    }
    Ok(Piece::Value {
        variable: *variable,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<V>(text: &str) -> Piece<V> {
        Piece::Text(text.to_owned())
    }

    fn value<V>(variable: V, limit: Option<usize>) -> Piece<V> {
        Piece::Value { variable, limit }
    }

    #[test]
    fn braces_hold_variables_and_two_are_one() {
        let (long, mesh) = (RoomVariable::Long, RoomVariable::Mesh);
        for (written, pieces) in [
            (
                "[{long}/{mesh}]: ",
                vec![
                    text("["),
                    value(long, None),
                    text("/"),
                    value(mesh, None),
                    text("]: "),
                ],
            ),
            ("", vec![]),
            (
                "{long4}{{x}}{mesh}",
                vec![value(long, Some(4)), text("{x}"), value(mesh, None)],
            ),
            ("}}{{", vec![text("}{")]),
            (
                "🚨 {short}",
                vec![text("🚨 "), value(RoomVariable::Short, None)],
            ),
        ] {
            assert_eq!(written.parse(), Ok(Template { pieces }), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        let error = |text: &str| text.parse::<Template<RoomVariable>>().unwrap_err();
        assert_eq!(
            error("{long"),
            "a `{` stands alone: a brace of its own is written twice"
        );
        assert_eq!(
            error("a}"),
            "a `}` stands alone: a brace of its own is written twice"
        );
        assert!(
            error("{lnog}").starts_with("unknown variable `{lnog}`: there are `{long}` `{short}`")
        );
        assert!(error("{emoji}").starts_with("unknown variable"));
        assert_eq!(
            error("{short2}"),
            "`{short}` cannot be cut to a number of characters"
        );
        assert_eq!(
            error("{long0}"),
            "`{long0}` has a number that is not 1 to 99"
        );
        assert_eq!(
            error("{long99999999999999999999}"),
            "`{long99999999999999999999}` has a number that is not 1 to 99"
        );
    }

    #[test]
    fn the_standard_templates_are_as_they_are_documented() {
        let config = crate::Matrix::default();
        assert_eq!("[{long}/{mesh}]: ".parse(), Ok(config.prefix_format));
        assert_eq!("{emoji} {short}".parse(), Ok(config.reaction_format));
        let rooms = Vec::new();
        let radio = crate::Connection::Serial { serial_port: None };
        let config = crate::Config::new(radio, rooms).meshtastic;
        assert_eq!("{display5}[M]: ".parse(), Ok(config.prefix_format));
    }
}
