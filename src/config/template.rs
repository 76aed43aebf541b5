//! Prefixes and reaction keys: text with variables in braces, parsed so far that filling them in cannot fail.

use std::fmt;
use std::str::FromStr;

use super::finding::printable;

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

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace has no partner.
    #[error("a `{0}` stands alone: a brace of its own is written twice")]
    Brace(char),
    /// A variable that nobody knows.
    #[error("unknown variable `{{{name}}}`: there are {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A number after a variable that is never cut.
    #[error("`{{{0}}}` cannot be cut to a number of characters")]
    Uncuttable(&'static str),
    /// A number that makes no sense.
    #[error("`{{{0}}}` has a number that is not 1 to 99")]
    Limit(String),
}

impl<V: Variable> FromStr for Template<V> {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(index) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(index);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else if let Some((name, after)) =
                from.strip_prefix('{').and_then(|from| from.split_once('}'))
            {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(parse_value(name)?);
                rest = after;
            } else {
                let brace = if from.starts_with('{') { '{' } else { '}' };
                return Err(TemplateError::Brace(brace));
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }
}

fn parse_value<V: Variable>(written: &str) -> Result<Piece<V>, TemplateError> {
    let name = written.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = written.get(name.len()..).unwrap_or_default();
    let Some(variable) = V::from_name(name) else {
        let known: Vec<String> = V::NAMES
            .iter()
            .map(|name| format!("`{{{name}}}`"))
            .collect();
        return Err(TemplateError::Unknown {
            name: printable(written),
            known: known.join(" "),
        });
    };
    let limit = match number.parse::<usize>() {
        Ok(limit @ 1..=99) => Some(limit),
        Err(_) if number.is_empty() => None,
        Ok(_) | Err(_) => return Err(TemplateError::Limit(printable(written))),
    };
    if limit.is_some() && !variable.may_be_cut() {
        return Err(TemplateError::Uncuttable(variable.name()));
    }
    Ok(Piece::Value { variable, limit })
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
    fn what_is_printed_parses_to_the_same() {
        for text in [
            "[{long}/{mesh}]: ",
            "",
            "{long4}{{x}}{mesh}",
            "}}{{",
            "🚨 {short}",
        ] {
            let template: Template<RoomVariable> = text.parse().unwrap();
            assert_eq!(template.to_string(), text);
        }
        assert_eq!(
            "{display5}[M]: ".parse(),
            Ok(Template::<MeshVariable>::standard())
        );
        assert_eq!(
            "{emoji} {short}".parse(),
            Ok(Template::<ReactionVariable>::standard())
        );
        assert_eq!(
            "[{long}/{mesh}]: ".parse(),
            Ok(Template::<RoomVariable>::standard())
        );
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        let error = |text: &str| {
            text.parse::<Template<RoomVariable>>()
                .unwrap_err()
                .to_string()
        };
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
