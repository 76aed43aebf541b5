//! What can be held, whatever it is called: the same thing has the same name. And who is believed that says that it holds it.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::identity;

/// Something that one relay at a time can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    name: String,
    believed: Believed,
}

/// Who is believed that says that it holds a thing: anybody on the host can take its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Believed {
    /// Whoever answers as a relay does.
    Anybody,
    /// A process of this user, or of root.
    ThisUser,
    /// Whoever proves that it has the same key.
    Keyholder(ProofKey),
}

/// What only those have that can use a thing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProofKey([u8; 32]);

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ProofKey {
    /// Returns what only a holder of the key can answer to a question. Questions are of one length: no answer to a shorter one
    /// helps to find another.
    pub(crate) fn proof(&self, question: &[u8]) -> String {
        hex(&Sha256::new()
            .chain_update(self.0)
            .chain_update(question)
            .finalize())
    }
}

impl Thing {
    /// A radio on the network.
    pub fn network(address: SocketAddr) -> Self {
        let ip = match address.ip().to_canonical() {
            IpAddr::V6(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::of("network", format!("{ip} {}", address.port()).as_bytes())
    }

    /// A radio on a serial port; `None`: there is no such port.
    pub fn serial_port(path: &Path) -> Option<Self> {
        Some(Self::of("serial port", identity::port(path)?.as_bytes()))
    }

    /// A radio on Bluetooth, by its address, and the message bus over which it is reached if that is not the system's.
    pub fn bluetooth(address: &str, bus: &str) -> Self {
        let address = bluetooth_address(address).unwrap_or_else(|| address.to_owned());
        Self::of("bluetooth", format!("{address} {bus}").as_bytes())
    }

    /// A file, which need not exist yet; `None`: its directory does not exist.
    pub fn file(path: &Path) -> Option<Self> {
        let path = path.canonicalize().or_else(|_| {
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).canonicalize();
            parent.map(|parent| parent.join(path.file_name().unwrap_or_default()))
        });
        let path = path.ok()?;
        let mut name = identity::directory(path.parent()?)?.into_bytes();
        name.extend_from_slice(path.file_name()?.as_encoded_bytes());
        Some(Self {
            // Nobody else can write it, and whoever took its name would keep the relay from starting.
            believed: Believed::ThisUser,
            ..Self::of("file", &name)
        })
    }

    /// A device of an account, by its ids and the key of its store, so that a new login under the same id is another thing.
    pub fn device(user: &str, device: &str, key: &[u8]) -> Self {
        let ids = format!("{user} {device} ");
        let what = [ids.as_bytes(), key].concat();
        Self {
            // Who has it runs in a copied home, whosever process it is; anybody else would keep the relay from Matrix.
            believed: Believed::Keyholder(ProofKey(digest("proof of a device", &what))),
            ..Self::of("device", &what)
        }
    }

    fn of(kind: &str, what: &[u8]) -> Self {
        let digits = hex(&digest(kind, what));
        Self {
            name: format!("relay/{}", digits.get(..32).unwrap_or_default()),
            believed: Believed::Anybody,
        }
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    pub(crate) fn believed(&self) -> &Believed {
        &self.believed
    }
}

/// Returns a Bluetooth address in its one spelling; `None`: it is none, but a name.
pub fn bluetooth_address(device: &str) -> Option<String> {
    let text = device.trim().to_ascii_uppercase().replace('-', ":");
    let bytes: Vec<&str> = text.split(':').collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|it| it.is_ascii_hexdigit());
    (bytes.len() == 6 && bytes.iter().all(is_byte)).then_some(text)
}

fn digest(kind: &str, what: &[u8]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(kind).chain_update([0]);
    hash.chain_update(what).finalize().into()
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_radio_on_the_network_is_the_same_under_any_spelling_of_its_address() {
        let of = |address: &str| Thing::network(address.parse().unwrap());
        assert_eq!(of("192.0.2.7:4403"), of("[::ffff:192.0.2.7]:4403"));
        assert_eq!(of("127.0.0.1:4403"), of("[::1]:4403"));
        assert_ne!(of("192.0.2.7:4403"), of("192.0.2.7:4404"));
        assert_ne!(of("192.0.2.7:4403"), of("192.0.2.8:4403"));
    }

    #[test]
    fn a_bluetooth_address_is_the_same_in_any_spelling() {
        let of = |address: &str| Thing::bluetooth(address, "");
        assert_eq!(of("C0:FF:EE:00:12:34"), of("c0-ff-ee-00-12-34"));
        assert_ne!(of("C0:FF:EE:00:12:34"), of("C0:FF:EE:00:12:35"));
        assert_eq!(bluetooth_address("Base_1234"), None);
    }

    #[test]
    fn a_file_is_the_same_behind_any_link_also_before_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let of = |path: &Path| Thing::file(path).unwrap();
        assert_eq!(of(&real.join("a")), of(&link.join("a")));
        assert_ne!(of(&real.join("a")), of(&real.join("b")));
        let before = of(&real.join("a"));
        fs::write(real.join("a"), "").unwrap();
        std::os::unix::fs::symlink(real.join("a"), directory.path().join("other")).unwrap();
        assert_eq!(of(&directory.path().join("other")), before);
        assert_eq!(Thing::file(&directory.path().join("nowhere/a")), None);
    }

    #[test]
    fn a_serial_port_is_the_same_behind_any_link() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("port");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let null = Thing::serial_port(Path::new("/dev/null"));
        assert!(null.is_some());
        assert_eq!(Thing::serial_port(&link), null);
        assert_ne!(Thing::serial_port(Path::new("/dev/zero")), null);
        assert_eq!(Thing::serial_port(Path::new("/nowhere")), None);
    }

    #[test]
    fn a_name_tells_nothing_of_what_it_stands_for() {
        let device = Thing::device("@relay:example.org", "DEVICE", b"secret");
        assert_eq!(device.name.len(), "relay/".len() + 32);
        assert!(!device.name.contains("secret"));
        let shown = format!("{device:?}");
        assert!(shown.contains("Keyholder(…)"), "{shown}");
    }
}
