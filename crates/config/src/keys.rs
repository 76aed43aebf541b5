//! The macro that makes sections of the table of their keys.

use super::environment::Environment;
use super::finding::ValueSource;
use super::reader::Reader;
use super::section::Section;
use super::yaml::Node;

/// Makes sections of the table of their keys: what each is for, in the words in which people read it everywhere; MMRelay's
/// name, if that is another; its type; by which method of [`Section`] it is read, and with what: its default or an example,
/// as they are written in a file, and what it takes. A key may use the values of those above it.
macro_rules! keys {
    ($(
        $(#[doc = $about:literal])*
        $(#[derive($($derived:ident),*)])?
        $vis:vis $name:ident {
            $(
                $(#[doc = $purpose:literal])*
                $(#[mmrelay = $old:literal])?
                $key:ident: $kind:ty = $how:ident($($with:expr),*);
            )*
        }
    )*) => { $(
        $(#[doc = $about])*
        $(#[derive($($derived),*)])?
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $purpose])* pub $key: $kind, )*
        }

        impl $name {
            pub(in $crate) fn read(it: &mut $crate::section::Section<'_>) -> Self {
                $(
                    it.line(stringify!($key), concat!($($purpose),*), [$($old),*].first().copied());
                    let $key = it.$how(stringify!($key), $($with),*);
                )*
                Self { $( $key ),* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $crate::keys::defaults(Self::read)
            }
        }
    )* };
}
pub(super) use keys;

/// Returns what a section is of which nothing is given.
pub(super) fn defaults<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut reader = Reader::new("", Environment::default());
    reader.section(String::new(), ValueSource::Nowhere, Node::NOTHING, read)
}
