//! The macro that makes sections of the table of their keys.

use super::environment::Environment;
use super::finding::ValueSource;
use super::reader::Reader;
use super::section::Section;
use super::yaml::Node;

/// Makes sections of the table of their keys: what each is for, in the words in which people read it everywhere; MMRelay's
/// name, if that is another; that a change needs a restart, if it does; that a wrong value is left out, as by MMRelay; its
/// type; by which method of [`Section`] it is read, and with what: its default or an example, as they are written in a
/// file, and what it takes. A key may use the values of those above it.
macro_rules! keys {
    ($(
        $(#[doc = $about:literal])*
        $(#[derive($($derived:ident),*)])?
        $vis:vis $name:ident {
            $(
                $(#[doc = $purpose:literal])*
                $(#[mmrelay = $old:literal])?
                $(#[changed = $restart:literal])?
                $(#[wrong = $wrong:literal])?
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
                    let wrong: &[$crate::key_row::Key] = &[$($wrong),*];
                    it.line($crate::section::Line {
                        key: stringify!($key),
                        about: concat!($($purpose),*),
                        old: [$($old),*].first().copied(),
                        is_lenient: !wrong.is_empty(),
                    });
                    let outer = it.reader.restart;
                    it.reader.restart = [$($restart),*].first().copied().or(outer);
                    let $key = it.$how(stringify!($key), $($with),*);
                    it.reader.restart = outer;
                )*
                Self { $( $key ),* }
            }
        }

        impl $crate::changes::Follow for $name {
            fn follow(&mut self, new: &Self, section: &str, changes: &mut $crate::changes::Changes) {
                $(
                    let path = format!("{section}{}", stringify!($key));
                    $crate::keys::follow!($how ($($restart)?) (self.$key) (new.$key) path changes);
                )*
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

/// Has a key follow a new configuration: a section key by key, anything else as a whole.
macro_rules! follow {
    (within () ($own:expr) ($new:expr) $path:ident $changes:ident) => {
        $crate::changes::Follow::follow(&mut $own, &$new, &format!("{}.", $path), $changes)
    };
    ($how:ident ($($restart:literal)?) ($own:expr) ($new:expr) $path:ident $changes:ident) => {
        $changes.value(&mut $own, &$new, $path, [$($restart),*].first().copied())
    };
}
pub(super) use follow;

/// Returns what a section is of which nothing is given.
pub(super) fn defaults<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut reader = Reader::new("", Environment::default());
    reader.section(String::new(), ValueSource::Nowhere, Node::NOTHING, read)
}
