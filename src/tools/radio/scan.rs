//! `relay radio scan`: lists the radios in reach. Only scans and listens, never connects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceEvent};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::tools::printable;
use relay_radio::{find_bluetooth, find_serial_ports};

/// The DNS-SD service that radios announce.
const SERVICE: &str = "_meshtastic._tcp.local.";
/// Maximum time for radios on the network to answer.
const LISTEN_FOR: Duration = Duration::from_secs(5);
/// Maximum number of hosts shown: anybody on the network can announce any number.
const MOST_HOSTS: usize = 256;

/// A radio: the values that name and describe it.
type Row = BTreeMap<&'static str, String>;
type ScanResult = Result<Vec<Row>, String>;

/// The radios of one kind of link, or why the scan failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Row>,
    pub(crate) error: Option<String>,
}

/// What `relay radio scan` has found on each kind of link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Scan {
    pub(crate) serial: Findings,
    pub(crate) ble: Findings,
    pub(crate) tcp: Findings,
}

impl From<ScanResult> for Findings {
    fn from(looked: ScanResult) -> Self {
        let error = looked.as_ref().err().cloned();
        let found = looked.unwrap_or_default();
        Self { found, error }
    }
}

pub(crate) async fn scan() -> Scan {
    let (ble, mut tcp) = tokio::join!(bluetooth(), hosts(ServiceDaemon::new()));
    if tcp.as_ref().is_ok_and(Vec::is_empty)
        && let Err(error) = is_on_a_network()
    {
        tcp = Err(format!("this computer is on no network: {error}"));
    }
    Scan {
        serial: Ok(serial()).into(),
        ble: ble.into(),
        tcp: tcp.into(),
    }
}

fn serial() -> Vec<Row> {
    let ports = find_serial_ports().into_iter().map(|port| {
        let usb = port.usb.as_ref();
        let number = usb.map(|it| format!("{:04x}:{:04x}", it.vendor, it.product));
        let likely = if port.is_likely() { "yes" } else { "no" };
        row([
            ("port", Some(port.best_name().display().to_string())),
            ("device", Some(port.device.display().to_string())),
            ("likely", Some(likely.to_owned())),
            ("usb", number),
            ("name", usb.and_then(|it| it.name.clone())),
        ])
    });
    ports.collect()
}

fn row<const N: usize>(fields: [(&'static str, Option<String>); N]) -> Row {
    let known = fields.into_iter();
    known.filter_map(|(key, it)| Some((key, it?))).collect()
}

async fn bluetooth() -> ScanResult {
    let devices = find_bluetooth().await?;
    let rows = devices.into_iter().map(|device| {
        let connected = device.connected.then(|| "to this computer".to_owned());
        row([
            ("address", Some(device.address)),
            ("name", device.name),
            ("rssi", device.rssi.map(|rssi| rssi.to_string())),
            ("connected", connected),
        ])
    });
    Ok(rows.collect())
}

async fn hosts(daemon: mdns_sd::Result<ServiceDaemon>) -> ScanResult {
    let error = |error: mdns_sd::Error| format!("cannot ask the network: {error}");
    let daemon = daemon.map_err(error)?;
    let answers = daemon.browse(SERVICE).map_err(error)?;
    let until = Instant::now() + LISTEN_FOR;
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
    while let Ok(Ok(event)) = timeout_at(until, answers.recv_async()).await {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        if found.len() >= MOST_HOSTS && !found.contains_key(&service.fullname) {
            continue;
        }
        // IPv4 first: a link-local IPv6 address needs a scope.
        let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
        let addresses: BTreeSet<_> = addresses.collect();
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let property =
            |key: &str| Some(service.txt_properties.get_property_val_str(key)?.to_owned());
        let row = row([
            ("host", Some(service.host.trim_end_matches('.').to_owned())),
            ("port", Some(service.port.to_string())),
            ("addresses", Some(addresses.join(", "))),
            ("name", property("shortname")),
            ("node", property("id")),
        ]);
        found.insert(service.fullname.clone(), row);
    }
    if let Err(error) = daemon.shutdown() {
        debug!(%error, "the search on the network could not be ended");
    }
    Ok(found.into_values().collect())
}

/// Checks for a route for multicast. Sends nothing.
fn is_on_a_network() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(224, 0, 0, 251), 5353))
}

/// A column of a row: its key, the text before and after the value, and the value that is not shown.
type Part = (&'static str, &'static str, &'static str, &'static str);

const SERIAL: &[Part] = &[
    ("port", "--serial ", "", ""),
    ("name", "  ", "", ""),
    ("usb", "  ", "", ""),
    ("likely", "  (probably ", " radio)", "yes"),
];
const BLE: &[Part] = &[
    ("address", "--ble ", "", ""),
    ("name", "  ", "", ""),
    ("rssi", "  ", " dBm", ""),
    ("connected", "  (connected ", ")", ""),
];
const TCP: &[Part] = &[
    ("host", "--host ", "", ""),
    ("port", ":", "", "4403"),
    ("name", "  ", "", ""),
    ("node", "  ", "", ""),
    ("addresses", "  ", "", ""),
];

/// Returns the radios for people, with the option that selects each.
pub(crate) fn found_lines(scan: &Scan) -> String {
    let no_ble = "no radio heard: is Bluetooth enabled on it, and no phone connected to it?";
    let mut text = String::new();
    for (title, nothing, kind, columns) in [
        ("Serial ports", "none found", &scan.serial, SERIAL),
        ("Bluetooth", no_ble, &scan.ble, BLE),
        ("Network", "no radio answers", &scan.tcp, TCP),
    ] {
        let _ = writeln!(text, "{title}");
        if let Some(error) = &kind.error {
            let _ = writeln!(text, "  cannot look: {}", printable(error));
        } else if kind.found.is_empty() {
            let _ = writeln!(text, "  {nothing}");
        }
        for row in &kind.found {
            let cells = columns.iter().filter_map(|(key, before, after, unless)| {
                let value = row.get(key).filter(|it| it != unless)?;
                Some(format!("{before}{value}{after}"))
            });
            let _ = writeln!(text, "  {}", printable(&cells.collect::<String>()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use mdns_sd::{IfKind, ServiceInfo};

    use super::*;

    /// On loopback only, with a port of its own.
    fn on_loopback(port: u16) -> mdns_sd::Result<ServiceDaemon> {
        let daemon = ServiceDaemon::new_with_port(port)?;
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::LoopbackV4)?;
        Ok(daemon)
    }

    #[tokio::test]
    async fn a_host_that_announces_itself_is_found() {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let radio = on_loopback(port).unwrap();
        let properties = [("shortname", "HI\u{1b}LL"), ("id", "!a11ce001")];
        let service = ServiceInfo::new(
            SERVICE,
            "Meshtastic",
            "meshtastic.local.",
            "127.0.0.1",
            4403,
            &properties[..],
        );
        radio.register(service.unwrap()).unwrap();
        let found = hosts(on_loopback(port)).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        let scan = Scan {
            serial: Ok(Vec::new()).into(),
            ble: Err("no adapter".to_owned()).into(),
            tcp: Ok(found).into(),
        };
        insta::assert_snapshot!(found_lines(&scan), @r"
        Serial ports
          none found
        Bluetooth
          cannot look: no adapter
        Network
          --host meshtastic.local  HILL  !a11ce001  127.0.0.1
        ");
        drop(radio.shutdown());
    }

    #[test]
    fn what_is_found_comes_with_the_option_that_names_it() {
        let serial = BTreeMap::from([
            ("port", "/dev/serial/by-id/usb-RAK".to_owned()),
            ("device", "/dev/ttyACM0".to_owned()),
            ("likely", "no".to_owned()),
            ("name", "u-blox".to_owned()),
        ]);
        let ble = BTreeMap::from([
            ("address", "C0:FF:EE:00:12:34".to_owned()),
            ("name", "Base_1234".to_owned()),
            ("rssi", "-70".to_owned()),
        ]);
        let tcp = BTreeMap::from([
            ("host", "radio.local".to_owned()),
            ("port", "4404".to_owned()),
        ]);
        let scan = Scan {
            serial: Ok(vec![serial]).into(),
            ble: Ok(vec![ble]).into(),
            tcp: Ok(vec![tcp]).into(),
        };
        insta::assert_snapshot!(found_lines(&scan), @r"
        Serial ports
          --serial /dev/serial/by-id/usb-RAK  u-blox  (probably no radio)
        Bluetooth
          --ble C0:FF:EE:00:12:34  Base_1234  -70 dBm
        Network
          --host radio.local:4404
        ");
    }
}
