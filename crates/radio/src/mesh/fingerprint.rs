//! The identity of a channel, as a hash of its name and its key; the key stays in this file.
//!
//! Radios and the apps that configure them write one key in several forms: the firmware's default key by its number or
//! in full, a short key with or without trailing zeros. The hash uses the form that encrypts on the air, so a
//! replacement radio has the same channels as its predecessor.

use sha2::{Digest as _, Sha256};

use relay_model::Fingerprint;

/// Key number 1 of the firmware (`defaultpsk` in its `Channels.h`); the keys after it differ in the last byte.
const DEFAULT_KEY: [u8; 16] = [
    0xd4, 0xf1, 0xbb, 0x3a, 0x20, 0x29, 0x07, 0x59, 0xf0, 0xbc, 0xff, 0xab, 0xcf, 0x4e, 0x69, 0x01,
];

/// Returns the identity of a channel from its displayed name and its key as the radio sends it.
pub(crate) fn of(name: &[u8], key: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    // The length prevents two pairs of name and key from hashing the same bytes.
    hash.update((name.len() as u64).to_be_bytes());
    hash.update(name);
    hash.update(written_out(key));
    Fingerprint(hash.finalize().into())
}

/// Expands a key as the firmware does before it encrypts (`Channels::getKey`); an empty key stays empty.
fn written_out(key: &[u8]) -> Vec<u8> {
    match key {
        [] | [0] => Vec::new(),
        [number] => {
            let mut key = DEFAULT_KEY;
            let [.., last] = &mut key;
            *last = last.wrapping_add(number - 1);
            key.to_vec()
        }
        key => {
            let mut key = key.to_vec();
            let length = if key.len() <= 16 { 16 } else { 32 };
            key.resize(key.len().max(length), 0);
            key
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_its_name_and_its_key() {
        let rescue = of(b"Rescue", &[7; 32]);
        assert_eq!(of(b"Rescue", &[7; 32]), rescue);
        for other in [
            of(b"rescue", &[7; 32]),
            of(b"Rescue", &[8; 32]),
            of(b"Rescue", &[7; 16]),
            of(b"Rescue", &[]),
            of(b"", &[7; 32]),
        ] {
            assert_ne!(other, rescue);
        }
        assert_ne!(of(b"ab", &[b'c'; 16]), of(b"a", &[b'b'; 16]));
    }

    #[test]
    fn one_key_in_several_forms_makes_one_channel() {
        let mut second = DEFAULT_KEY;
        second[15] = 2;
        let same: [[&[u8]; 2]; 5] = [
            [&[1], &DEFAULT_KEY],
            [&[2], &second],
            [&[0], &[]],
            [&[9; 3], &[9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
            [&[9; 17], &[[9; 17].as_slice(), &[0; 15]].concat()],
        ];
        for [short, long] in same {
            assert_eq!(of(b"Rescue", short), of(b"Rescue", long), "{short:?}");
        }
        assert_ne!(of(b"Rescue", &[1]), of(b"Rescue", &[2]));
    }

    #[test]
    fn what_is_printed_of_a_channel_does_not_hold_its_key() {
        let settings = relay_wire::proto::wire::ChannelSettings {
            psk: b"secret".to_vec(),
            name: b"Rescue".to_vec(),
        };
        let printed = format!("{settings:?} {:?}", of(b"Rescue", b"secret"));
        assert!(printed.contains("Rescue"), "{printed}");
        // Neither as text nor as numbers, of which 115 is the first.
        assert!(
            !printed.contains("secret") && !printed.contains("115"),
            "{printed}"
        );
    }
}
