//! Whether the daemon uses the radio that a command wants.

use std::path::Path;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{RadioOfDaemon, VisitError};
use crate::home::{Home, Lock};
use crate::tools::control;
use relay_claims::{Thing, bluetooth_address};
use relay_config::Connection;
use relay_radio::{FoundPort, find_serial_ports};

/// Maximum time for a name lookup.
const LOOKUP_LIMIT: Duration = Duration::from_secs(3);

/// Checks whether a home's daemon uses the radio at `wanted`. If it uses another one, returns that radio's node: it may
/// turn out to be the same, reached in another way. `configured` stands in for a daemon that does not answer. Fails if
/// the daemon uses, or may use, this radio.
pub(crate) async fn held_by_daemon(
    home: &Home,
    configured: Option<&Connection>,
    wanted: &Connection,
) -> Result<RadioOfDaemon, VisitError> {
    let Some(holder) = Lock::holder(home) else {
        return Ok(None);
    };
    let (connection, node) = match control::status(home).await {
        Ok(status) => (status.radio.connection, status.radio.node),
        // Without a configuration its radio is unknown.
        Err(_) => (configured.unwrap_or(wanted).clone(), None),
    };
    if may_be_same(&connection, wanted).await {
        return Err(VisitError::Held { holder, connection });
    }
    Ok(node.and_then(|node| Some((node.parse().ok()?, connection))))
}

/// Returns whether two connections may lead to the same radio; if in doubt, yes: a second client takes the radio away
/// from the first. What a place is called by different names is the claims' to say.
async fn may_be_same(held: &Connection, wanted: &Connection) -> bool {
    use Connection::{Ble, Serial, Tcp};
    match (held, wanted) {
        (Tcp { host: a, port: p }, Tcp { host: b, port: q }) => {
            p == q && is_same_host(a, b, *p).await
        }
        (Serial { serial_port: a }, Serial { serial_port: b }) => {
            is_same_port(a.as_deref(), b.as_deref())
        }
        (Ble { ble_address: a, .. }, Ble { ble_address: b, .. }) => is_same_device(a, b),
        // Of another kind: the radio behind it is known once it has told its number.
        (Tcp { .. } | Serial { .. } | Ble { .. }, _) => false,
    }
}

async fn is_same_host(one: &str, other: &str, port: u16) -> bool {
    let plain = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    if plain(one) == plain(other) {
        return true;
    }
    let (one, other) = tokio::join!(radios_at(one, port), radios_at(other, port));
    one.iter().any(|radio| other.contains(radio))
}

/// Returns the radios at a host's addresses; empty if the lookup fails or times out.
async fn radios_at(host: &str, port: u16) -> Vec<Thing> {
    match timeout(LOOKUP_LIMIT, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.map(Thing::network).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn is_same_port(one: Option<&Path>, other: Option<&Path>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => is_same_device_file(one, other),
        // Without a name, the daemon uses the only likely port.
        (Some(named), None) | (None, Some(named)) => {
            let mut likely = find_serial_ports().into_iter().filter(FoundPort::is_likely);
            match (likely.next(), likely.next()) {
                (Some(port), None) => is_same_device_file(named, &port.device),
                _ => true,
            }
        }
        (None, None) => true,
    }
}

fn is_same_device_file(one: &Path, other: &Path) -> bool {
    let both = Thing::serial_port(one).zip(Thing::serial_port(other));
    both.map_or(one == other, |(one, other)| one == other)
}

/// Compares devices, which may be named by their address or by one of several names.
fn is_same_device(one: &str, other: &str) -> bool {
    let both = bluetooth_address(one).zip(bluetooth_address(other));
    both.is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Connection {
        Connection::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn serial(port: &str) -> Connection {
        Connection::Serial {
            serial_port: Some(port.into()),
        }
    }

    fn ble(device: &str) -> Connection {
        Connection::Ble {
            ble_address: device.to_owned(),
            ble_pin: None,
        }
    }

    #[tokio::test]
    async fn a_radio_on_the_network_is_the_same_under_any_of_its_names() {
        let held = tcp("127.0.0.1", 4403);
        assert!(may_be_same(&held, &tcp("127.0.0.1", 4403)).await);
        assert!(may_be_same(&held, &tcp("::ffff:127.0.0.1", 4403)).await);
        assert!(may_be_same(&held, &tcp("::1", 4403)).await);
        assert!(may_be_same(&held, &tcp("localhost", 4403)).await);
        assert!(!may_be_same(&held, &tcp("127.0.0.1", 4404)).await);
        assert!(!may_be_same(&held, &tcp("127.0.0.2", 4403)).await);
        assert!(may_be_same(&tcp("Radio.invalid", 1), &tcp("radio.invalid.", 1)).await);
        assert!(!may_be_same(&held, &serial("/dev/ttyACM0")).await);
        assert!(!may_be_same(&held, &ble("Base_1234")).await);
    }

    #[tokio::test]
    async fn a_serial_port_is_the_same_behind_any_link() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::os::unix::fs::symlink("/dev/null", path("stable")).unwrap();
        let held = serial(&path("stable"));
        assert!(may_be_same(&held, &serial("/dev/null")).await);
        assert!(!may_be_same(&held, &serial("/dev/zero")).await);
        assert!(!may_be_same(&held, &serial(&path("unplugged"))).await);
        let gone = serial(&path("unplugged"));
        assert!(may_be_same(&gone, &gone).await);
        let unknown = Connection::Serial { serial_port: None };
        assert!(may_be_same(&unknown, &unknown).await);
    }

    #[tokio::test]
    async fn bluetooth_devices_differ_only_if_both_addresses_are_known() {
        let held = ble("C0:FF:EE:00:12:34");
        assert!(may_be_same(&held, &ble("c0-ff-ee-00-12-34")).await);
        assert!(!may_be_same(&held, &ble("C0:FF:EE:00:12:35")).await);
        assert!(may_be_same(&held, &ble("Base_1234")).await);
    }
}
