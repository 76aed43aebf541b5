//! What remains after an import: what is not taken over by design, and what is to be done next.

use std::path::Path;

use super::configuration::Taking;
use super::old_home::OldHome;
use super::report::{ImportReport, Step};
use crate::home::{Home, quoted};
use relay_config::{Loaded, MappedRoom};
use relay_matrix::Files;

/// Returns what is not taken over by design, beside what plugins have stored.
pub(super) fn not_taken(report: &ImportReport) -> Vec<String> {
    let login = "MMRelay's login and its keys: the relay logs in as a device of its own, so that you can go back";
    let loaded = report.configuration.loaded.as_ref();
    let loaded = loaded.filter(|_| report.messages.found > 0);
    let rooms = loaded.into_iter().flat_map(rooms_of_several_channels);
    std::iter::once(login.to_owned()).chain(rooms).collect()
}

/// Returns what is to be done next.
pub(super) fn next(report: &ImportReport, old: &OldHome, home: &Home) -> Vec<Step> {
    let config = &report.configuration;
    let loaded = config.loaded.as_ref();
    let account = if Files::new(home.matrix()).session().exists() {
        "the login is there already: `relay auth status` tells how it stands".to_owned()
    } else {
        login(old, loaded)
    };
    let other = (config.result == Taking::OwnIsThere).then(|| {
        let own = quoted(&config.file);
        format!(
            "to take over MMRelay's configuration, too, move {own} away, and run this again: what is there already is not taken twice"
        )
    });
    let configuration = if !config.problems.is_empty() {
        Some("correct the configuration: `relay config check` tells each mistake with its place")
    } else if loaded.is_none() {
        Some("write a configuration: `relay config generate`")
    } else {
        None
    };
    let start = "keep MMRelay stopped, and start the relay: `relay run`; `relay status` tells how it stands";
    let steps = [
        Some(account),
        other,
        configuration.map(str::to_owned),
        Some(start.to_owned()),
    ];
    steps.into_iter().flatten().map(Step::new).collect()
}

/// Returns what to type to log in, with the account that MMRelay had.
fn login(home: &OldHome, loaded: Option<&Loaded>) -> String {
    let old = home.account();
    let matrix = loaded.map(|it| &it.config.matrix);
    let server = old
        .homeserver
        .clone()
        .or_else(|| matrix?.homeserver.clone());
    let user = old.user_id.clone().or_else(|| matrix?.bot_user_id.clone());
    let flag = |name: &str, value: Option<String>| {
        let value = value.map(|it| quoted(Path::new(&it)));
        value.map_or_else(String::new, |value| format!(" --{name} {value}"))
    };
    let (server, user) = (flag("homeserver", server), flag("username", user));
    let browser = if old.is_oauth() {
        "; MMRelay logged in by OAuth: the account needs a password for that"
    } else {
        ""
    };
    let identity = home.identity().map(|path| path.display().to_string());
    let identity = flag("cross-signing-file", identity);
    format!("log in, as a new device: `relay auth login{server}{user}{identity}`{browser}")
}

/// Returns a sentence for each room that has several channels: MMRelay does not record on which one a message was.
fn rooms_of_several_channels(loaded: &Loaded) -> Vec<String> {
    let rooms = &loaded.config.matrix_rooms;
    let has_several = |index: usize, room: &MappedRoom| {
        let first = rooms.iter().position(|it| it.id == room.id) == Some(index);
        let other =
            |it: &MappedRoom| it.id == room.id && it.meshtastic_channel != room.meshtastic_channel;
        first && rooms.iter().any(other)
    };
    let rooms = rooms.iter().enumerate();
    let several = rooms.filter(|(index, room)| has_several(*index, room));
    let sentence = |room: &MappedRoom| {
        format!(
            "to which channel the messages of {} belong: it has several, and MMRelay does not record it. What the mesh \
             answers to a message from before is a plain text there, and what Matrix answers to one is refused with a word",
            room.id
        )
    };
    several.map(|(_, room)| sentence(room)).collect()
}
