//! The real parts that the tests are made of: a homeserver, a Matrix user, a radio, the relay, and the scene that joins them.

#[cfg(feature = "ble")]
pub(crate) mod bluetooth;
#[cfg(feature = "ble")]
pub(crate) mod bluez;
pub(crate) mod books;
#[cfg(feature = "ble")]
pub(crate) mod bus;
pub(crate) mod canned;
pub(crate) mod delay;
pub(crate) mod forwarder;
#[cfg(feature = "ble")]
pub(crate) mod gatt;
pub(crate) mod guide;
pub(crate) mod held;
pub(crate) mod held_thread;
pub(crate) mod keycloak;
pub(crate) mod limit;
pub(crate) mod lines;
pub(crate) mod login_service;
pub(crate) mod machine;
pub(crate) mod person;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod radio;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod service_manager;
pub(crate) mod synapse;
pub(crate) mod user;

pub(crate) use limit::{LIMIT, within};
