//! A radio without a radio.
