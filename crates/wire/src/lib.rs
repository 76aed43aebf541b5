//! The frames in which a Meshtastic radio talks, and the protobufs in them.
//!
//! [`codec`] finds frames in a stream of bytes and finds its place again after noise; [`proto`] is the one place that names the
//! types of the `meshtastic` crate, and those that it lacks. Nothing here reads or writes: bytes go in, frames come out.
//!
//! ```
//! use relay_wire::proto::{Message as _, ToRadio, to_radio::PayloadVariant};
//!
//! let asked = ToRadio { payload_variant: Some(PayloadVariant::WantConfigId(7)) };
//! assert_eq!(asked.encode_to_vec(), [0x18, 7]);
//! ```

pub mod codec;
pub mod proto;
