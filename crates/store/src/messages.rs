//! What is remembered of messages: what was decided on (`seen`), which packet and event are the same message
//! (`message_map`), its versions (`edits`), recent texts and authors for recognising echoes (`relayed`), and direct messages
//! to our node (`direct`).

pub mod direct;
pub mod edits;
pub mod message_map;
pub mod relayed;
pub mod seen;
