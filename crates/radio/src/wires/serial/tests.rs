//! Serial ports, as pseudo-terminals.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::link::FRAME_PAUSE;
use super::opening::{BAUD, cure_for_rights, refused};
use super::*;
use crate::claim::RadioClaim;
use crate::error::ConnectionError;
use crate::wires::connection::{Connection, Wire};
use relay_model::{Chain, full_text};
use relay_wire::codec::Item;
use rustix::pty::OpenptFlags;
use rustix::termios::ControlModes;

/// A device behind a link.
struct Device {
    master: std::os::fd::OwnedFd,
    path: PathBuf,
}

impl Device {
    fn new() -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        Self { master, path }
    }

    fn say(&self, bytes: &[u8]) {
        assert_eq!(rustix::io::write(&self.master, bytes), Ok(bytes.len()));
    }
}

fn port(path: &Path) -> SerialPort {
    SerialPort::new(Some(path.to_owned()))
}

#[tokio::test]
async fn a_port_is_opened_as_radios_want_it() {
    let device = Device::new();
    let link = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap();
    let settings = rustix::termios::tcgetattr(&device.master).unwrap();
    assert_eq!(settings.output_speed(), BAUD);
    assert!(!settings.control_modes.contains(ControlModes::HUPCL));
    let modes = settings.control_modes;
    assert!(modes.contains(ControlModes::CS8 | ControlModes::CLOCAL | ControlModes::CREAD));
    assert!(!modes.intersects(ControlModes::PARENB | ControlModes::CSTOPB));
    drop(link);
    let settings = rustix::termios::tcgetattr(&device.master).unwrap();
    assert!(!settings.control_modes.contains(ControlModes::HUPCL));
}

#[tokio::test]
async fn a_port_in_use_is_told_with_who_uses_it_and_is_free_again_after_its_end() {
    let device = Device::new();
    let held = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap();
    let error = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SerialError::Busy { .. }), "{error}");
    drop(held);
    // The process of another test has it open as well, from its fork until it runs its program.
    let is_free = async {
        while port(&device.path)
            .connect_as(&mut RadioClaim::default())
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(1), is_free).await.unwrap();
}

/// Nothing cleans up after a killed process.
#[tokio::test]
async fn a_pseudo_terminal_is_left_open_to_ordinary_users_at_all_times() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65534;
    let device = Device::new();
    let _link = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap();
    let mut user = std::process::Command::new("sh");
    user.args(["-c", ": <> \"$0\""]).arg(&device.path);
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&device.path, fs::Permissions::from_mode(0o666)).unwrap();
        user.uid(NOBODY).gid(NOBODY);
    }
    assert!(user.status().unwrap().success());
    let error = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SerialError::Busy { .. }), "{error}");
}

#[tokio::test]
async fn frames_go_both_ways_and_a_port_that_is_gone_says_so() {
    let device = Device::new();
    let mut ours = Wire::Serial(port(&device.path)).connect().await.unwrap();
    device.say(b"boot\r\n\x94\xc3\x00\x03\r\n\x11");
    assert!(matches!(ours.receive().await.unwrap(), Item::Log(_)));
    let frame = Item::Frame(b"\r\n\x11".as_slice().into());
    assert_eq!(ours.receive().await.unwrap(), frame);
    ours.send(b"\n\x00").await.unwrap();
    let mut bytes = [0; 6];
    assert_eq!(rustix::io::read(&device.master, &mut bytes), Ok(6));
    assert_eq!(&bytes, b"\x94\xc3\x00\x02\n\x00");
    drop(device);
    let told = [
        Chain(&ours.receive().await.unwrap_err()).to_string(),
        Chain(&ours.send(b"x").await.unwrap_err()).to_string(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
        cannot read from the radio: the serial port is gone (was the radio unplugged, or did it restart?)
        cannot write to the radio: the serial port is gone (was the radio unplugged, or did it restart?)
        ");
}

#[tokio::test(start_paused = true)]
async fn frames_do_not_follow_each_other_at_once() {
    let (device, start) = (Device::new(), Instant::now());
    let link = port(&device.path)
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap();
    let mut ours = Connection::over(link);
    for _ in 0..5 {
        ours.send(b"x").await.unwrap();
    }
    assert_eq!(start.elapsed().as_millis() / FRAME_PAUSE.as_millis(), 4);
}

#[tokio::test]
async fn a_device_is_looked_up_anew_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("radio");
    let mut port = port(&link);
    let error = port
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SerialError::Missing { .. }), "{error}");
    let first = Device::new();
    symlink(&first.path, &link).unwrap();
    port.returns().await;
    let open = port.connect_as(&mut RadioClaim::default()).await.unwrap();
    let second = Device::new();
    fs::remove_file(&link).unwrap();
    symlink(&second.path, &link).unwrap();
    port.returns().await;
    drop((open, first));
    let mut open = Connection::over(port.connect_as(&mut RadioClaim::default()).await.unwrap());
    second.say(b"\x94\xc3\x00\x00");
    assert_eq!(
        open.receive().await.unwrap(),
        Item::Frame(Vec::new().into())
    );
    fs::remove_file(&link).unwrap();
    symlink("/nowhere", &link).unwrap();
    let error = port
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SerialError::Missing { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_has_not_changed_is_no_reason_to_hurry() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Device::new());
    let link = directory.path().join("radio");
    symlink(&device.path, &link).unwrap();
    let mut port = port(&link);
    drop(port.connect_as(&mut RadioClaim::default()).await.unwrap());
    let waited = timeout(Duration::from_mins(5), port.returns()).await;
    assert!(waited.is_err());
    fs::remove_file(&link).unwrap();
    let waited = timeout(Duration::from_mins(5), port.returns()).await;
    assert!(waited.is_err());
}

#[test]
fn only_a_port_that_was_not_there_has_appeared() {
    let port = |name: &str, changed| (Path::new("/dev").join(name), [5, 1, 188], [changed, 0]);
    let (stick, radio) = (port("ttyUSB0", 1), port("ttyUSB1", 2));
    let both = [stick.clone(), radio.clone()];
    assert!(!has_appeared(&[], &both));
    assert!(!has_appeared(std::slice::from_ref(&stick), &both));
    assert!(has_appeared(&both, std::slice::from_ref(&stick)));
    let with_other_rights = port("ttyUSB1", 3);
    assert!(has_appeared(&[stick, with_other_rights], &both));
}

#[tokio::test]
async fn what_is_no_serial_port_is_refused_untouched() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "precious").unwrap();
    let error = port(file.path())
        .connect_as(&mut RadioClaim::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SerialError::NotSerial { .. }), "{error}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "precious");
}

fn found(device: &str, name: Option<&str>) -> FoundPort {
    FoundPort {
        device: device.into(),
        stable: name.map(|name| format!("/dev/serial/by-id/usb-{name}").into()),
        usb: name.map(|name| crate::wires::found_port::Usb {
            vendor: 0x10C4,
            product: 0xEA60,
            name: Some(name.to_owned()),
        }),
    }
}

#[test]
fn without_a_name_the_only_likely_port_is_taken() {
    let radio = found("/dev/ttyUSB3", Some("CP2102"));
    let stick = found("/dev/ttyUSB0", Some("Zigbee"));
    let only = only_likely(vec![stick.clone(), radio.clone()]).unwrap();
    assert_eq!(only, Path::new("/dev/ttyUSB3"));
    let none = full_text(&only_likely(vec![stick]).unwrap_err());
    let several = vec![radio, found("/dev/ttyACM0", None)];
    let several = full_text(&only_likely(several).unwrap_err());
    insta::assert_snapshot!(format!("{none}\n{several}"), @r"
        no serial port looks like a radio; plug it in with a cable that carries data, or name its port as `meshtastic.serial_port`
        several serial ports may be the radio: `/dev/serial/by-id/usb-CP2102` (CP2102), `/dev/ttyACM0`; set `meshtastic.serial_port` to one of them
        ");
}

/// Tests may run as root, who is never refused, so the system's errors are tested directly.
#[test]
fn what_the_system_refuses_is_told_with_its_cure() {
    let tells = |errno: rustix::io::Errno| {
        let error = refused(Path::new("/dev/null"), errno.into());
        full_text(&ConnectionError::from(error))
    };
    let busy = |holders: &[&str]| {
        let holders = holders.iter().map(|&it| it.to_owned()).collect();
        let port = PathBuf::from("/dev/ttyUSB0");
        full_text(&SerialError::Busy { port, holders })
    };
    let all = [
        tells(rustix::io::Errno::NOENT),
        tells(rustix::io::Errno::ACCESS),
        tells(rustix::io::Errno::IO),
        cure_for_rights(Some("uucp")),
        busy(&[]),
        busy(&["screen (process 12)"]),
        busy(&["ModemManager (process 7)"]),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
        there is no serial port `/dev/null`; is the radio plugged in?
        the relay may not open the serial port `/dev/null`: Permission denied (os error 13); add its user to the group `dialout` (`sudo usermod -aG dialout USER`) and start it from a new login; in a container, hand the device in (`--device`) and add the group
        cannot open the serial port `/dev/null`: Input/output error (os error 5); unplug the radio, and plug it in again
        add its user to the group `uucp` (`sudo usermod -aG uucp USER`) and start it from a new login; in a container, hand the device in (`--device`) and add the group
        the serial port `/dev/ttyUSB0` is in use; close the other program (a terminal, an app, another relay, ModemManager)
        the serial port `/dev/ttyUSB0` is in use by screen (process 12); only one program can have it
        the serial port `/dev/ttyUSB0` is in use by ModemManager (process 7); it takes radios for modems: `sudo systemctl disable --now ModemManager`, or have udev set ID_MM_DEVICE_IGNORE for the radio
        ");
    assert!(matches!(
        refused(Path::new("/dev/null"), rustix::io::Errno::BUSY.into()),
        SerialError::Busy { .. }
    ));
}
