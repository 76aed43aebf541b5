//! Who is told of a message that is not relayed, how often, and the macro that declares reasons with their texts.

use relay_model::Sign;

/// Who is told that something was not relayed, beside the counters of `status` and the debug log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Nobody: nothing is lost, or its author knows.
    Nobody,
    /// The operator, once per sender: another relay is present, and a setting may be needed.
    Operator,
    /// Its author, in the room's combined notice of expired messages.
    Expired,
    /// Its author, this often, and with this sign on the message; without one if the author meant it so, or if the sign shows
    /// the state of the message and not of its edit.
    Author(Often, Option<Sign>),
}

/// How often an author is told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    /// The sign each time, the notice once an hour in a room.
    Each,
    /// Sign and notice once a day for a person: a property of the person.
    FirstOfPerson,
    /// The sign once a day for a person, the notice once an hour in the room: a property of the room, where many may write.
    FirstInRoom,
    /// Once for each person, permanently.
    Once,
}

/// The texts of a reason for not relaying a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReasonTexts {
    /// Who is told of it, and how often.
    pub(crate) telling: Telling,
    /// Name in counters, `status` and cooldowns.
    pub(crate) name: &'static str,
    /// Text for the log.
    pub(crate) words: &'static str,
    /// What the operator can do about it; `None` if nothing.
    pub(crate) hint: Option<&'static str>,
    /// Sentences for the author: what happened, and the cure; empty if the author is not told.
    pub(crate) sentences: &'static str,
}

/// Declares an enum of reasons with their texts, which are also their documentation. The last variant can wrap another such
/// enum.
macro_rules! reasons {
    (
        $(#[$about:meta])* $reasons:ident $(and $others:ident)?;
        $(
            $(#[$doc:meta])*
            $reason:ident: $telling:expr, $name:literal, $words:literal $(=> $hint:literal)? $(, $sentences:literal)?;
        )*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $reasons {
            $($(#[$doc])* #[doc = concat!("In the log: `` ", $words, " ``.")] $reason,)*
            $(/// It cannot go on the air; its sender was told.
            $others($others),)?
        }

        impl $reasons {
            /// All of them in order of declaration, without the wrapped ones.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            pub(crate) fn texts(self) -> $crate::telling::ReasonTexts {
                match self {
                    $(Self::$reason => $crate::telling::ReasonTexts {
                        telling: $telling,
                        name: $name,
                        words: $words,
                        hint: None$(.or(Some($hint)))?,
                        sentences: concat!($($sentences)?),
                    },)*
                    $(Self::$others(other) => $others::texts(other),)?
                }
            }

            /// Returns its short name, as used in counters and in the names of cooldowns.
            pub fn name(self) -> &'static str {
                self.texts().name
            }
        }

        impl std::fmt::Display for $reasons {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(if let Self::$others(other) = self {
                    return write!(f, "refused: {other}");
                })?
                f.write_str(self.texts().words)
            }
        }

        impl std::error::Error for $reasons {}

        impl relay_model::Explained for $reasons {
            fn hint(&self) -> Option<String> {
                self.texts().hint.map(str::to_owned)
            }
        }
    };
}
pub(crate) use reasons;
