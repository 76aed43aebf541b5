//! How tests make configurations.

use super::{Config, Connection, Environment, Loaded, MappedRoom, Meshtastic, Problems};

impl Config {
    /// Makes a configuration of what has no default; everything else has its default.
    pub fn new(connection: Connection, matrix_rooms: Vec<MappedRoom>) -> Self {
        Self {
            matrix_rooms,
            meshtastic: Meshtastic::new(connection),
            ..Self::default()
        }
    }

    /// Reads a configuration from a text, without any environment, or tells everything that is wrong with it.
    pub fn from_yaml(text: &str) -> Result<Loaded, Problems> {
        Self::from_text("config.yaml", text, &Environment::default())
    }
}
