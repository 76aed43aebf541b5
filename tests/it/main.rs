//! End-to-end tests: a real homeserver, a Matrix user, the built relay, and its simulated radio. One file per promise.
//! Tests begin in the order of their names: a file whose tests wait for long has an early one, so that its last test is not
//! waited for alone.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

#[cfg(test)]
mod access_tokens;
#[cfg(test)]
mod account;
#[cfg(test)]
mod alive;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod backlog;
#[cfg(all(test, feature = "ble", target_os = "linux"))]
mod ble;
#[cfg(test)]
#[cfg(all(feature = "ble", target_os = "linux"))]
mod ble_leftovers;
#[cfg(test)]
mod bundle;
#[cfg(test)]
mod bursts;
#[cfg(test)]
mod catch_up;
#[cfg(test)]
mod channels;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod echoes;
#[cfg(test)]
mod edits;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod export;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod feedback;
#[cfg(test)]
mod first_hour;
#[cfg(test)]
mod forwards;
#[cfg(test)]
#[cfg(all(feature = "ble", target_os = "linux"))]
mod gatt;
#[cfg(test)]
mod guide;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod hand;
#[cfg(test)]
mod home;
#[cfg(test)]
mod host;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod import;
#[cfg(test)]
mod in_clear;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod kept_identity;
#[cfg(test)]
mod late_keys;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod log;
#[cfg(test)]
mod log_file;
#[cfg(test)]
mod login;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod older_database;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod python_client;
#[cfg(test)]
mod radio_away;
#[cfg(test)]
mod radio_tool;
#[cfg(test)]
mod reactions;
#[cfg(test)]
mod reconnect;
#[cfg(test)]
mod recover;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod serial;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod service;
#[cfg(test)]
mod several;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod single_sign_on;
#[cfg(test)]
mod start;
#[cfg(test)]
mod status;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod story;
#[cfg(test)]
#[cfg_attr(
    not(feature = "ble"),
    expect(dead_code, reason = "Bluetooth needs the rest of it")
)]
mod support;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod text;
#[cfg(test)]
mod told;
#[cfg(test)]
mod verify;
