//! The radio's side: one link, its session and its pace.

pub mod codec;
pub mod proto;
