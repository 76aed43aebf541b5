//! The simulated firmware versions.

use strum::{Display, EnumString};

/// A firmware version, printed and parsed as its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Display, EnumString)]
#[strum(parse_err_ty = String, parse_err_fn = not_simulated)]
pub enum Firmware {
    /// 2.7, as measured.
    #[default]
    #[strum(serialize = "2.7")]
    V2_7,
    /// 2.8: region presets in the handshake, shorter node infos, and stored packets of other nodes after it.
    #[strum(serialize = "2.8")]
    V2_8,
}

impl Firmware {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V2_7 => "2.7.26.54e0d8d",
            Self::V2_8 => "2.8.0.7754068",
        }
    }
}

fn not_simulated(text: &str) -> String {
    format!("`{text}` is not simulated: 2.7 and 2.8 are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firmware_is_known_by_its_two_numbers() {
        for firmware in [Firmware::V2_7, Firmware::V2_8] {
            assert_eq!(firmware.to_string().parse(), Ok(firmware));
            assert!(firmware.version().starts_with(&firmware.to_string()));
        }
        assert!(
            "2.6"
                .parse::<Firmware>()
                .unwrap_err()
                .contains("2.7 and 2.8")
        );
    }
}
