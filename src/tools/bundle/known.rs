//! What this relay knows of people and secrets: from its configuration, its login, its database, and the daemon's answers.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::kind::Kind;
use super::redact::Redactor;
use super::values::{host_of, is_public};
use crate::home::{Home, host_name};
use relay_config::{ChannelRef, Config, Connection, Environment};
use relay_matrix::Files;
use relay_model::Chain;

/// Words that are the relay's own, also where somebody is called so.
const OURS: [&str; 6] = ["relay", "matrix", "radio", "mesh", "root", "home"];

/// Keys of secrets, as they may stand in a file that cannot be read as a configuration.
const SECRET_KEYS: [&str; 3] = ["password", "access_token", "ble_pin"];

/// Learns where the relay lives, and on what computer.
pub(super) fn of_host(redactor: &mut Redactor, home: &Home, config_path: &Path) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let of_user = std::env::home_dir().filter(|it| it.parent().is_some());
    let paths = [
        Some(home.path().to_owned()),
        Some(config_path.to_owned()),
        of_user,
    ];
    for path in paths.into_iter().flatten() {
        let (path, real) = (
            path.display().to_string(),
            real(&path).display().to_string(),
        );
        redactor.know(Kind::Path, [path.as_str(), real.as_str()]);
    }
    redactor.know(Kind::Host, [host_name().as_str()]);
    for name in ["USER", "LOGNAME", "SUDO_USER"] {
        let user = std::env::var(name).unwrap_or_default();
        name_of_user(redactor, &user);
    }
}

fn name_of_user(redactor: &mut Redactor, name: &str) {
    if !OURS.contains(&name) {
        redactor.know(Kind::User, [name]);
    }
}

/// Learns the secrets of the environment and of a file, whatever is wrong with them.
pub(super) fn of_sources(redactor: &mut Redactor, config_path: &Path) {
    let environment = Environment::of_process();
    for key in SECRET_KEYS {
        for path in [format!("matrix.{key}"), format!("meshtastic.{key}")] {
            let given = environment.text(&path).ok().flatten();
            if let Some(secret) = given {
                redactor.hide(&secret);
            }
        }
    }
    let text = fs::read_to_string(config_path).unwrap_or_default();
    for line in text.lines().filter(|it| !it.trim_start().starts_with('#')) {
        let given = SECRET_KEYS.iter().find_map(|key| {
            let (_, value) = line.split_once(key)?;
            Some(value.trim_start_matches(['"', '\'']).split_once(':')?.1)
        });
        let given = given.unwrap_or_default().trim();
        let bare = given.trim_matches(['"', '\'']);
        redactor.hide(given);
        redactor.hide(bare);
    }
}

/// Learns what the configuration names.
pub(super) fn of_config(redactor: &mut Redactor, config: &Config) {
    let matrix = &config.matrix;
    let secrets = [
        &matrix.password,
        &matrix.access_token,
        &matrix.keycloak_client_secret,
    ];
    for secret in secrets.into_iter().flatten() {
        redactor.hide(secret.reveal());
    }
    if let Some(homeserver) = &matrix.homeserver {
        redactor.know(Kind::Host, [host_of(homeserver).as_str()]);
    }
    for room in &config.matrix_rooms {
        redactor.know(Kind::Room, [room.id.as_str()]);
        let own = room.id.server_name().into_iter().map(AsRef::as_ref);
        let servers = room.via.iter().map(AsRef::as_ref);
        for server in servers.chain(own) {
            redactor.know(Kind::Host, [host_of(server).as_str()]);
        }
        if let ChannelRef::Name(name) = &room.meshtastic_channel
            && !is_public(name)
        {
            redactor.know(Kind::Channel, [name.as_str()]);
        }
    }
    let mesh = &config.meshtastic;
    redactor.know(Kind::Mesh, mesh.meshnet_name.as_deref());
    match &mesh.connection {
        Connection::Tcp { host, .. } => redactor.know(Kind::Host, [host.as_str()]),
        Connection::Serial { serial_port } => {
            let port = serial_port.as_ref().map(|it| it.display().to_string());
            redactor.know(Kind::Path, port.as_deref());
        }
        Connection::Ble {
            ble_address,
            ble_pin,
        } => {
            redactor.know(Kind::Address, [ble_address.as_str()]);
            if let Some(pin) = ble_pin {
                redactor.hide(&format!("{:06}", pin.reveal()));
            }
        }
    }
    let own = matrix.appearance();
    let rooms = config.matrix_rooms.iter().map(|room| &room.appearance);
    let appearances = || rooms.clone().chain([&own]);
    redactor.know(
        Kind::User,
        appearances().filter_map(|it| it.display_name.as_deref()),
    );
    let pictures = appearances().filter_map(|it| it.avatar.as_ref());
    let files = [&config.database.path, &config.logging.filename];
    for path in files.into_iter().chain(pictures) {
        if path.is_absolute() {
            redactor.know(Kind::Path, [path.display().to_string().as_str()]);
        }
    }
}

/// Learns account and secrets of the login; returns why they cannot be known.
pub(super) fn of_login(redactor: &mut Redactor, home: &Home) -> Option<String> {
    let files = Files::new(home.matrix());
    let session = match files.load_session() {
        Ok(session) => session?,
        Err(error) => return Some(format!("the login: {}", Chain(&error))),
    };
    redactor.hide(&session.tokens.access_token);
    if let Some(token) = &session.tokens.refresh_token {
        redactor.hide(token);
    }
    for path in files
        .recovery_keys()
        .iter()
        .chain(&session.recovery_key_file)
    {
        redactor.hide(fs::read_to_string(path).unwrap_or_default().trim());
        redactor.know(Kind::Path, [path.display().to_string().as_str()]);
    }
    redactor.know(Kind::Device, [session.device_id.as_str()]);
    user(redactor, session.user_id.as_str());
    let host = session.homeserver.host_str().unwrap_or_default();
    redactor.know(Kind::Host, [host.trim_matches(['[', ']'])]);
    None
}

/// Learns a user by the whole id, and by the name in it.
fn user(redactor: &mut Redactor, id: &str) {
    redactor.know(Kind::User, [id]);
    if let Some((name, server)) = id.trim_start_matches('@').split_once(':') {
        redactor.know(Kind::Host, [host_of(server).as_str()]);
        if !OURS.contains(&name) {
            redactor.know(Kind::User, [id, name]);
        }
    }
}

/// Learns nodes, rooms and people of the database, and what they wrote last; returns why they cannot be known.
pub(super) fn of_database(redactor: &mut Redactor, path: &Path) -> Option<String> {
    if !path.exists() {
        return None;
    }
    let names = match relay_store::names(path) {
        Ok(names) => names,
        Err(error) => return Some(format!("the database: {}", Chain(&error))),
    };
    for (node, called) in &names.nodes {
        let spellings = [
            node.to_string(),
            node.to_string().trim_start_matches('!').to_owned(),
            format!("{:#x}", node.0),
            node.0.to_string(),
        ];
        let called = called.iter().chain(&spellings).map(String::as_str);
        redactor.know(Kind::Node, called);
    }
    for room in &names.rooms {
        redactor.know(Kind::Room, [room.as_str()]);
    }
    for id in &names.users {
        user(redactor, id);
    }
    for text in &names.texts {
        redactor.hide_text(text);
    }
    None
}

/// Learns what the daemon names in its status.
pub(super) fn of_status(redactor: &mut Redactor, status: &Value) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    for room in list("rooms") {
        let names = [&room["room"], &room["name"], &room["trouble"]["successor"]];
        let [id, name, successor] = names.map(text);
        redactor.know(Kind::Room, successor.as_deref());
        redactor.know(Kind::Room, id.iter().chain(&name).map(String::as_str));
    }
    for channel in list("channels") {
        let name = text(&channel["name"]).filter(|it| !is_public(it));
        redactor.know(Kind::Channel, name.as_deref());
    }
    let nodes = list("echoes");
    for node in nodes.iter().chain([&status["radio"]]) {
        let names = [text(&node["node"]), text(&node["name"])];
        redactor.know(Kind::Node, names.iter().flatten().map(String::as_str));
    }
    if let Some(account) = text(&status["matrix"]["account"]) {
        user(redactor, &account);
    }
    redactor.know(Kind::Device, text(&status["matrix"]["device"]).as_deref());
}
