//! `config.yaml`, checked.
