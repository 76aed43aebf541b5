//! The serial ports of this computer: the likely radios, the kind of each port, and the programs that have it open.
//!
//! Reads `/dev`, `/sys` and `/proc`; without them nothing is found.

use std::fs;
use std::path::{Path, PathBuf};

use super::found_port::{FoundPort, Usb, is_bridge, printable};

/// Name prefixes of USB serial ports.
const NAMES: [&str; 2] = ["ttyACM", "ttyUSB"];

/// Returns all USB serial ports, sorted by name.
pub fn find() -> Vec<FoundPort> {
    find_in(Path::new("/dev"), Path::new("/sys"))
}

/// Returns the device files of USB serial ports, sorted by name; cheaper than [`find`].
pub(super) fn devices() -> Vec<PathBuf> {
    devices_in(Path::new("/dev"))
}

/// Returns whether a port is a board's native USB, which sends nothing without DTR. The system sets DTR and RTS on
/// opening; behind a bridge, setting only one of them resets the board or starts its boot loader.
pub(super) fn needs_dtr(port: &Path) -> bool {
    needs_dtr_in(port, Path::new("/sys"))
}

/// Returns the programs that have a port open, as far as they can be seen.
pub(super) fn holders_of(port: &Path) -> Vec<String> {
    holders_in(port, Path::new("/proc"), std::process::id())
}

pub(super) fn group_name(group: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(group)).then(|| name.to_owned())
    })
}

fn find_in(dev: &Path, sys: &Path) -> Vec<FoundPort> {
    let links = entries(&dev.join("serial/by-id"));
    let found = |device: PathBuf| FoundPort {
        stable: links
            .iter()
            .find(|link| link.canonicalize().is_ok_and(|target| target == device))
            .cloned(),
        usb: usb_of(&device, sys),
        device,
    };
    devices_in(dev).into_iter().map(found).collect()
}

fn devices_in(dev: &Path) -> Vec<PathBuf> {
    let is_on_usb = |path: &PathBuf| NAMES.iter().any(|it| name_of(path).starts_with(it));
    entries(dev).into_iter().filter(is_on_usb).collect()
}

/// Returns the USB device behind a port, described in a parent directory of the port's own.
fn usb_of(device: &Path, sys: &Path) -> Option<Usb> {
    let class = sys.join("class/tty").join(device.file_name()?);
    let own = class.join("device").canonicalize().ok()?;
    let is_usb = |directory: &&Path| directory.join("idVendor").exists();
    let usb = own.ancestors().find(is_usb)?;
    let number = |name: &str| {
        let text = fs::read_to_string(usb.join(name)).ok()?;
        u16::from_str_radix(text.trim(), 16).ok()
    };
    let name = fs::read_to_string(usb.join("product")).ok();
    Some(Usb {
        vendor: number("idVendor")?,
        product: number("idProduct")?,
        name: name.map(|name| printable(name.trim())),
    })
}

fn needs_dtr_in(port: &Path, sys: &Path) -> bool {
    let device = port.canonicalize().unwrap_or_else(|_| port.to_owned());
    let usb = usb_of(&device, sys);
    // Newer bridges of WCH use the modem class, as boards with native USB do.
    let bridge = usb.is_some_and(|usb| is_bridge(&usb));
    name_of(&device).starts_with("ttyACM") && !bridge
}

fn holders_in(port: &Path, proc: &Path, own: u32) -> Vec<String> {
    let Ok(device) = port.canonicalize() else {
        return Vec::new();
    };
    let has_open = |process: &Path, what: &[&Path]| {
        let open = entries(&process.join("fd")).into_iter();
        let mut open = open.filter_map(|it| fs::read_link(it).ok());
        open.any(|it| what.contains(&it.as_path()))
    };
    // A program may hold both ends of its own pseudo-terminal; that is the simulated radio.
    let is_pty = device.starts_with("/dev/pts");
    let makers = ["/dev/ptmx", "/dev/pts/ptmx"].map(Path::new);
    let makes_ptys = |process: &Path| is_pty && has_open(process, &makers);
    let holds = |process: &Path| has_open(process, &[&device]) && !makes_ptys(process);
    let processes = entries(proc).into_iter();
    let processes = processes.filter_map(|path| Some((name_of(&path).parse::<u32>().ok()?, path)));
    let holders = processes.filter(|(process, path)| *process != own && holds(path));
    let mut holders: Vec<_> = holders.collect();
    holders.sort();
    let named = |(process, path): (u32, PathBuf)| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        format!("{} (process {process})", printable(name.trim()))
    };
    holders.into_iter().map(named).collect()
}

/// Returns the file name; empty if it is not UTF-8.
fn name_of(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The system directories of a computer.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for directory in ["dev/serial/by-id", "sys/class/tty", "proc"] {
                fs::create_dir_all(root.path().join(directory)).unwrap();
            }
            for other in ["ttyS0", "tty1", "null"] {
                fs::write(root.path().join("dev").join(other), "").unwrap();
            }
            Self(root)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn plug(&self, name: &str, usb: Option<(&str, &str, &str)>) -> PathBuf {
            let device = self.path("dev").join(name);
            fs::write(&device, "").unwrap();
            if let Some((vendor, product, title)) = usb {
                let usb = self.path("sys/devices/usb1").join(name);
                let interface = usb.join("1-1:1.0").join(name);
                fs::create_dir_all(&interface).unwrap();
                for (file, text) in [
                    ("idVendor", vendor),
                    ("idProduct", product),
                    ("product", title),
                ] {
                    fs::write(usb.join(file), format!("{text}\n")).unwrap();
                }
                let class = self.path("sys/class/tty").join(name);
                fs::create_dir_all(&class).unwrap();
                symlink(&interface, class.join("device")).unwrap();
            }
            device
        }

        fn find(&self) -> Vec<FoundPort> {
            find_in(&self.path("dev"), &self.path("sys"))
        }
    }

    #[test]
    fn ports_on_usb_are_found_with_their_lasting_names() {
        let machine = Machine::new();
        assert_eq!(machine.find(), []);
        let second = machine.plug("ttyUSB0", Some(("10c4", "ea60", "CP2102 USB\x07 to UART")));
        let first = machine.plug("ttyACM0", None);
        let stable = machine.path("dev/serial/by-id/usb-Silicon_Labs-port0");
        symlink("../../ttyUSB0", &stable).unwrap();
        let found = machine.find();
        assert_eq!(found[0].best_name(), first);
        assert_eq!(found[0].usb, None);
        assert_eq!(found[1].device, second);
        assert_eq!(found[1].best_name(), stable);
        let usb = Usb {
            vendor: 0x10C4,
            product: 0xEA60,
            name: Some("CP2102 USB to UART".to_owned()),
        };
        assert_eq!(found[1].usb, Some(usb));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_known_to_be_something_else_is_not_likely() {
        let machine = Machine::new();
        machine.plug("ttyACM0", Some(("1546", "01a8", "u-blox GNSS receiver")));
        machine.plug("ttyACM1", Some(("239a", "8029", "WisCore RAK4631 Board")));
        machine.plug(
            "ttyUSB0",
            Some(("10c4", "ea60", "Sonoff Zigbee 3.0 USB Dongle Plus")),
        );
        machine.plug("ttyUSB1", None);
        let likely: Vec<_> = machine.find().iter().map(FoundPort::is_likely).collect();
        assert_eq!(likely, [false, true, false, true]);
    }

    #[test]
    fn only_a_boards_own_usb_needs_dtr() {
        let machine = Machine::new();
        let sys = machine.path("sys");
        for (name, usb, needs_dtr) in [
            ("ttyACM0", None, true),
            ("ttyACM1", Some(("239a", "8029", "RAK4631")), true),
            (
                "ttyACM2",
                Some(("1a86", "55d4", "USB Single Serial")),
                false,
            ),
            ("ttyUSB0", Some(("10c4", "ea60", "CP2102")), false),
            ("ttyUSB1", None, false),
        ] {
            let device = machine.plug(name, usb);
            let link = machine.path("dev/serial/by-id").join(format!("by-{name}"));
            symlink(&device, &link).unwrap();
            assert_eq!(needs_dtr_in(&link, &sys), needs_dtr, "{name}");
        }
        assert!(!needs_dtr_in(Path::new("/nowhere"), Path::new("/nowhere")));
    }

    #[test]
    fn who_holds_a_port_is_told_but_for_ourselves() {
        let machine = Machine::new();
        let device = machine.plug("ttyUSB0", None);
        for (process, name, open) in [
            ("12", "ModemManager", device.as_path()),
            ("13", "relay", &device),
            ("14", "bash", Path::new("/dev/null")),
            ("self", "relay", &device),
        ] {
            let fd = machine.path("proc").join(process).join("fd");
            fs::create_dir_all(&fd).unwrap();
            symlink(open, fd.join("5")).unwrap();
            fs::write(fd.parent().unwrap().join("comm"), format!("{name}\n")).unwrap();
        }
        let holders = holders_in(&device, &machine.path("proc"), 13);
        assert_eq!(holders, ["ModemManager (process 12)"]);
        assert_eq!(holders_in(&device, Path::new("/nowhere"), 13), [""; 0]);
    }

    #[test]
    fn who_has_made_a_pseudo_terminal_does_not_hold_it() {
        use std::os::unix::ffi::OsStrExt as _;
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let device = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let machine = Machine::new();
        let plugged = machine.plug("ttyUSB0", None);
        for (process, open) in [
            ("12", vec![device.as_path(), Path::new("/dev/ptmx")]),
            ("13", vec![&device]),
            ("14", vec![&plugged, Path::new("/dev/ptmx")]),
        ] {
            let fd = machine.path("proc").join(process).join("fd");
            fs::create_dir_all(&fd).unwrap();
            for (number, open) in open.into_iter().enumerate() {
                symlink(open, fd.join(number.to_string())).unwrap();
            }
        }
        let holders = |port: &Path| holders_in(port, &machine.path("proc"), 1);
        assert_eq!(holders(&device), [" (process 13)"]);
        assert_eq!(holders(&plugged), [" (process 14)"]);
    }

    #[test]
    fn a_group_has_a_name() {
        assert_eq!(group_name(0).as_deref(), Some("root"));
        assert_eq!(group_name(u32::MAX), None);
    }
}
