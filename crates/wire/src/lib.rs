//! The frames of the Meshtastic protocol, and their protobufs.
//!
//! [`codec`] finds frames in a byte stream, also after noise; [`proto`] alone names the types of the `meshtastic`
//! crate, and adds those that the crate lacks. No I/O.
//!
//! ```
//! use relay_wire::proto::{Message as _, ToRadio, to_radio::PayloadVariant};
//!
//! let asked = ToRadio { payload_variant: Some(PayloadVariant::WantConfigId(7)) };
//! assert_eq!(asked.encode_to_vec(), [0x18, 7]);
//! ```

pub mod codec;
pub mod proto;
