//! Logs the state at the end of the start: once, when both sides are known or after a timeout.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::control::Control;
use super::status::{CheckResult, MatrixState, MatrixStatus, RadioStatus, RoomStatus};
use relay_config::Direction;
use relay_radio::LinkState;

/// Timeout of the start.
const LIMIT: Duration = Duration::from_secs(15);
/// How often the state of both sides is polled.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Logs that the daemon runs, and whether it is connected yet.
pub(super) fn say_ready(control: &Control, has_session: bool) {
    let radio = match control.link.borrow().state {
        LinkState::Ready => "connected",
        LinkState::Connecting | LinkState::Configuring | LinkState::Lost => "not connected yet",
    };
    let matrix = if has_session {
        "not connected yet"
    } else {
        "cannot be used yet"
    };
    info!(radio, matrix, "relay is ready");
}

/// Waits for the end of the start, and logs the routes and everything that is not as it should be.
pub(super) async fn tell(control: Arc<Control>, stop: CancellationToken) {
    let end = Instant::now() + LIMIT;
    while !is_known(&control) && Instant::now() < end {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK_EVERY) => {}
        }
    }
    let status = control.status().await;
    let mapped = || status.rooms.iter().filter(|room| room.mapped);
    for room in mapped() {
        let directions = directions(&control, room);
        info!(
            room = room.room,
            name = room.name,
            channels = directions,
            joined = room.joined,
            encrypted = room.encrypted,
            "route of a room"
        );
    }
    let mut checks = control.health().await.checks;
    checks.retain(|check| check.result != CheckResult::Ok);
    for check in &checks {
        warn!(
            about = check.name,
            problem = check.text,
            hint = check.hint,
            "not everything is as it should be"
        );
    }
    let (radio, matrix) = (radio(&status.radio), matrix(&status.matrix));
    let joined = mapped().filter(|room| room.joined).count();
    let rooms = format!("{joined} of {} joined", mapped().count());
    let is_whole = checks.is_empty()
        && status.radio.state == LinkState::Ready
        && status.matrix.state == MatrixState::Connected;
    if is_whole {
        info!(
            radio,
            matrix, rooms, "the start is complete: messages can cross"
        );
    } else {
        warn!(
            radio,
            matrix,
            rooms,
            "the start is over, and something is missing; `relay doctor --quick` says when it is there"
        );
    }
}

/// Returns whether the state of both sides is final.
fn is_known(control: &Control) -> bool {
    let (facts, heard) = (control.runtime_state.facts(), control.pulse.heard());
    let is_radio_known = match control.link.borrow().state {
        LinkState::Ready => facts.radio.is_some(),
        LinkState::Lost => true,
        LinkState::Connecting | LinkState::Configuring => false,
    };
    let config = control.config();
    let mut mapped = config.matrix_rooms.iter();
    let is_joined = |name| facts.joined(&facts.known(name)).is_some();
    let is_matrix_known = heard.failing.is_some()
        || heard.answered.is_some()
            && mapped.all(|it| is_joined(&it.id) || heard.troubles.contains_key(&it.id));
    is_radio_known && is_matrix_known
}

fn radio(radio: &RadioStatus) -> String {
    match (radio.state, &radio.name) {
        (LinkState::Ready, Some(name)) => format!("ready ({name})"),
        (LinkState::Ready, None) => "ready".to_owned(),
        (LinkState::Connecting | LinkState::Configuring | LinkState::Lost, _) => {
            format!("away ({})", radio.connection.place())
        }
    }
}

fn matrix(matrix: &MatrixStatus) -> String {
    let account = matrix.account.as_deref().unwrap_or_default();
    match matrix.state {
        MatrixState::Connected => format!("connected ({account})"),
        MatrixState::Connecting | MatrixState::Away => format!("not connected ({account})"),
        MatrixState::NoSession => "cannot be used now".to_owned(),
    }
}

/// Returns the channels of a room with their directions.
fn directions(control: &Control, room: &RoomStatus) -> String {
    let facts = control.runtime_state.facts();
    let config = control.config();
    let mapped = config.matrix_rooms.iter();
    let mapped = mapped.filter(|it| facts.known(&it.id).as_str() == room.room);
    let routes = mapped.map(|it| format!("{} {}", it.meshtastic_channel, direction(it.direction)));
    routes.collect::<Vec<_>>().join(", ")
}

pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "both ways",
        Direction::ToMatrix => "to Matrix",
        Direction::ToMesh => "to the mesh",
    }
}
