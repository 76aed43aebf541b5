//! The words that a key takes, each with what it stands for.

use std::str::FromStr;

use strum::VariantNames;

/// Makes types of the words that a key takes, each with what it stands for, and how else it may be spelled.
macro_rules! choices {
    ($(
        $(#[$about:meta])*
        $vis:vis $name:ident {
            $(
                $(#[doc = $meaning:literal])*
                $(#[strum($($role:ident = $spelling:literal),*)])?
                $word:ident,
            )*
        }
    )*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
        #[strum(serialize_all = "snake_case", ascii_case_insensitive)]
        $vis enum $name {
            $( $(#[doc = $meaning])* $(#[strum($($role = $spelling),*)])? $word, )*
        }

        impl $crate::choice::Choice for $name {
            const MEANINGS: &'static [&'static str] = &[$( concat!($($meaning),*) ),*];
            const SPELLINGS: &'static [&'static str] = &[$( $($( $spelling, )*)? )*];
        }

        impl Default for $name {
            /// The first one, where nothing says which.
            fn default() -> Self {
                let [first, ..] = [$( Self::$word ),*];
                first
            }
        }
    )* };
}
pub(super) use choices;

/// The words that a key takes.
pub trait Choice: FromStr<Err = strum::ParseError> + VariantNames + Default + 'static {
    /// What each of them means, in a sentence.
    const MEANINGS: &'static [&'static str];
    /// Other spellings, most of them MMRelay's.
    const SPELLINGS: &'static [&'static str];
}
