//! What a message looks like on the other side: `text` cleans and measures what strangers wrote, `format` adds names and
//! prefixes, `split` fits a text into packets, `render` makes them when the first is submitted.

pub(crate) mod format;
pub(crate) mod render;
pub(crate) mod split;
pub(crate) mod text;
