//! What the sender of a Matrix message is shown of its fate: one sign, put on the message as a reaction of the bot.

/// A sign on a message of Matrix; design.md 9 says what each tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// It waits in our queue.
    Waiting,
    /// Another node repeated it.
    Heard,
    /// It was on the air; no repeat was heard.
    Unheard,
    /// The addressee confirmed it.
    Delivered,
    /// It will not be transmitted.
    Refused,
    /// Its sender may not transmit.
    Denied,
    /// It was too old when its turn came.
    Expired,
}

impl Sign {
    /// All signs, in the order in which they are declared.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Heard,
        Self::Unheard,
        Self::Delivered,
        Self::Refused,
        Self::Denied,
        Self::Expired,
    ];

    /// Returns the key of the reaction.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Waiting => "⏳",
            Self::Heard => "📡",
            Self::Unheard => "📤",
            Self::Delivered => "✅",
            Self::Refused => "❌",
            Self::Denied => "🚫",
            Self::Expired => "⌛",
        }
    }
}
