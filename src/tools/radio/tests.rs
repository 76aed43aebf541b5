use tokio::time::Instant;

use super::*;
use relay_model::Chain;

fn away(connection: Connection, cause: &str) -> VisitError {
    lost(connection, LossKind::Absent, cause)
}

fn lost(connection: Connection, kind: LossKind, cause: &str) -> VisitError {
    VisitError::Away(Lost {
        connection,
        kind,
        cause: cause.to_owned(),
        hint: None,
    })
}

fn tcp(host: &str) -> Connection {
    Connection::Tcp {
        host: host.to_owned(),
        port: 4403,
    }
}

#[test]
fn a_radio_that_is_not_there_is_named_once() {
    for (connection, cause, expected) in [
        (
            tcp("192.0.2.7"),
            "cannot connect to the radio at `192.0.2.7:4403`: refused",
            "cannot reach the radio: cannot connect to the radio at `192.0.2.7:4403`: refused",
        ),
        (
            tcp("::1"),
            "cannot connect to the radio at `[::1]:4403`: refused",
            "cannot reach the radio: cannot connect to the radio at `[::1]:4403`: refused",
        ),
        (
            tcp("192.0.2.7"),
            "the radio closed the connection",
            "cannot reach the radio (192.0.2.7:4403): the radio closed the connection",
        ),
        (
            Connection::Serial {
                serial_port: Some("/dev/ttyUSB0".into()),
            },
            "the serial port `/dev/ttyUSB0` is in use",
            "cannot reach the radio: the serial port `/dev/ttyUSB0` is in use",
        ),
    ] {
        assert_eq!(Chain(&away(connection, cause)).to_string(), expected);
    }
}

#[test]
fn only_a_radio_on_the_network_needs_a_hint_beside_the_cause() {
    let serial = Connection::Serial { serial_port: None };
    let ble = Connection::Ble {
        ble_address: "Base_1234".to_owned(),
        ble_pin: None,
    };
    assert!(away(tcp("radio"), "refused").hint().is_some());
    assert_eq!(away(serial, "in use").hint(), None);
    assert_eq!(away(ble, "no D-Bus").hint(), None);
    let own = VisitError::Away(Lost {
        connection: tcp("radio"),
        kind: LossKind::Barred,
        cause: "a web server".to_owned(),
        hint: Some("check the port".to_owned()),
    });
    assert_eq!(own.hint().as_deref(), Some("check the port"));
    assert!(!Chain(&own).to_string().contains("check"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_word_of_a_radio_is_told_after_a_while_and_one_with_is_not() {
    let (link, looks) = watch::channel(Link {
        state: LinkState::Connecting,
        heard: false,
        since: Instant::now(),
        cause: None,
        hint: None,
        restarts: 0,
    });
    let minute = Duration::from_mins(1);
    let is_told = async |link| timeout(minute, silence(link)).await.is_ok();
    assert!(!is_told(looks.clone()).await, "not connected");
    link.send_modify(|link| link.state = LinkState::Configuring);
    let began = Instant::now();
    assert!(is_told(looks.clone()).await);
    assert_eq!(began.elapsed(), PATIENCE);
    link.send_modify(|link| link.heard = true);
    assert!(!is_told(looks.clone()).await, "a long list of nodes");
    drop(link);
    assert!(!is_told(looks).await, "it has ended");
}

#[test]
fn a_radio_that_ends_the_link_is_another_clients_and_one_that_cannot_be_reached_is_not() {
    for (kind, words) in [
        (LossKind::Ended, "serves one client"),
        (LossKind::Broken, "serves one client"),
        (LossKind::Absent, "is on and in reach"),
        (LossKind::Silent, "is on and in reach"),
        (LossKind::Nobody, "check the host and the port"),
    ] {
        let hint = lost(tcp("radio"), kind, "it is gone").hint().unwrap();
        assert!(hint.contains(words), "{kind:?}: {hint}");
    }
}
