//! Prefixes and reaction keys: text with variables in braces, parsed so far that filling them in cannot fail.

use std::fmt;

/// A text with variables, as in `[{long}/{mesh}]: `; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<V> {
    pieces: Vec<Piece<V>>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<V> {
    /// Text as it is.
    Text(String),
    /// A value to be filled in.
    Value {
        /// Which.
        variable: V,
        /// At most so many of its first grapheme clusters.
        limit: Option<usize>,
    },
}

/// What is known of a message of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomVariable {
    /// `{long}`, `{longN}`: the node's long name.
    Long,
    /// `{short}`: its short name.
    Short,
    /// `{mesh}`, `{meshN}`: the mesh's name.
    Mesh,
    /// `{channel}`: the channel's name.
    Channel,
    /// `{hops}`: how many hops it made.
    Hops,
    /// `{snr}`: signal to noise ratio.
    Snr,
    /// `{rssi}`: signal strength.
    Rssi,
    /// `{mqtt}`: a word when it came by MQTT.
    Mqtt,
}

/// What is known of a tapback of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReactionVariable {
    /// `{emoji}`.
    Emoji,
    /// Anything else that is known of a packet.
    Packet(RoomVariable),
}

/// What is known of a message of Matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeshVariable {
    /// `{display}`, `{displayN}`: the sender's display name.
    Display,
    /// `{user}`: the user id.
    User,
    /// `{username}`: its localpart.
    Username,
    /// `{server}`: its server.
    Server,
}

/// The variables that a template of one kind can hold.
pub trait Variable: Sized + Copy {
    /// Their names, as they are written.
    const NAMES: &'static [&'static str];

    /// Returns the variable of that name.
    fn from_name(name: &str) -> Option<Self>;

    /// Returns its name.
    fn name(self) -> &'static str;

    /// Returns whether a number may follow the name, to cut the value short.
    fn may_be_cut(self) -> bool;
}

impl<V: Variable> Template<V> {
    /// Returns the pieces in their order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece<V>] {
        &self.pieces
    }
}

impl<V: Variable> fmt::Display for Template<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Piece::Value { variable, limit } => {
                    write!(f, "{{{}", variable.name())?;
                    if let Some(limit) = limit {
                        write!(f, "{limit}")?;
                    }
                    f.write_str("}")?;
                }
            }
        }
        Ok(())
    }
}

fn text<V>(text: &str) -> Piece<V> {
    Piece::Text(text.to_owned())
}

fn value<V>(variable: V) -> Piece<V> {
    Piece::Value {
        variable,
        limit: None,
    }
}

impl Template<RoomVariable> {
    /// Returns `[{long}/{mesh}]: `.
    #[must_use]
    pub fn standard() -> Self {
        let pieces = vec![
            text("["),
            value(RoomVariable::Long),
            text("/"),
            value(RoomVariable::Mesh),
            text("]: "),
        ];
        Self { pieces }
    }
}

impl Template<ReactionVariable> {
    /// Returns `{emoji} {short}`.
    #[must_use]
    pub fn standard() -> Self {
        let pieces = vec![
            value(ReactionVariable::Emoji),
            text(" "),
            value(ReactionVariable::Packet(RoomVariable::Short)),
        ];
        Self { pieces }
    }
}

impl Template<MeshVariable> {
    /// Returns `{display5}[M]: `.
    #[must_use]
    pub fn standard() -> Self {
        let display = Piece::Value {
            variable: MeshVariable::Display,
            limit: Some(5),
        };
        Self {
            pieces: vec![display, text("[M]: ")],
        }
    }
}

impl Variable for RoomVariable {
    const NAMES: &'static [&'static str] = &[
        "long", "short", "mesh", "channel", "hops", "snr", "rssi", "mqtt",
    ];

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "long" => Self::Long,
            "short" => Self::Short,
            "mesh" => Self::Mesh,
            "channel" => Self::Channel,
            "hops" => Self::Hops,
            "snr" => Self::Snr,
            "rssi" => Self::Rssi,
            "mqtt" => Self::Mqtt,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
            Self::Mesh => "mesh",
            Self::Channel => "channel",
            Self::Hops => "hops",
            Self::Snr => "snr",
            Self::Rssi => "rssi",
            Self::Mqtt => "mqtt",
        }
    }

    fn may_be_cut(self) -> bool {
        match self {
            Self::Long | Self::Mesh => true,
            Self::Short | Self::Channel | Self::Hops | Self::Snr | Self::Rssi | Self::Mqtt => false,
        }
    }
}

impl Variable for ReactionVariable {
    const NAMES: &'static [&'static str] = &[
        "emoji", "long", "short", "mesh", "channel", "hops", "snr", "rssi", "mqtt",
    ];

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "emoji" => Some(Self::Emoji),
            other => RoomVariable::from_name(other).map(Self::Packet),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Emoji => "emoji",
            Self::Packet(variable) => variable.name(),
        }
    }

    fn may_be_cut(self) -> bool {
        match self {
            Self::Emoji => false,
            Self::Packet(variable) => variable.may_be_cut(),
        }
    }
}

impl Variable for MeshVariable {
    const NAMES: &'static [&'static str] = &["display", "user", "username", "server"];

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "display" => Self::Display,
            "user" => Self::User,
            "username" => Self::Username,
            "server" => Self::Server,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Display => "display",
            Self::User => "user",
            Self::Username => "username",
            Self::Server => "server",
        }
    }

    fn may_be_cut(self) -> bool {
        match self {
            Self::Display => true,
            Self::User | Self::Username | Self::Server => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_templates_print_as_they_are_documented() {
        assert_eq!(
            Template::<RoomVariable>::standard().to_string(),
            "[{long}/{mesh}]: "
        );
        assert_eq!(
            Template::<ReactionVariable>::standard().to_string(),
            "{emoji} {short}"
        );
        assert_eq!(
            Template::<MeshVariable>::standard().to_string(),
            "{display5}[M]: "
        );
    }
}
