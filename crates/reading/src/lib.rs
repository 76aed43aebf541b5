//! Reads a Matrix message aloud: the words that a person would say, from whatever a client or a stranger has sent.
//!
//! Pure, and apart from the account, so that hostile input can be tried on it alone (`fuzz`). `message_text` takes a
//! message's content, `html` its formatted body, `links` the addresses in either.

mod html;
mod links;
mod message_text;

pub use self::links::{Names, cut};
pub use self::message_text::{Quote, read_message};
