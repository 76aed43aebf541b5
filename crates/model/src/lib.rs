//! Types shared by the adapters, the bridge and the store.
//!
//! No decisions, and no I/O but the clock in `time`. Most types with a range check it on construction.

mod backoff;
mod chore;
mod error;
mod event;
mod fate;
mod ids;
mod invisible;
mod mesh;
mod message;
mod radio_event;
mod room;
mod room_address;
mod room_event;
mod room_message;
mod send;
pub mod span;
#[cfg(feature = "sql")]
mod sql;
mod story;
mod time;
mod undecryptable;

pub use backoff::*;
pub use chore::*;
pub use error::*;
pub use event::*;
pub use fate::*;
pub use ids::*;
pub use invisible::*;
pub use mesh::*;
pub use message::*;
pub use radio_event::*;
pub use room::*;
pub use room_address::*;
pub use room_event::*;
pub use room_message::*;
pub use send::*;
pub use story::*;
pub use time::*;
pub use undecryptable::*;
