//! Which firmware is simulated.

use std::fmt;
use std::str::FromStr;

/// A version of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// 2.7, as measured.
    #[default]
    V2_7,
    /// 2.8: region presets in the handshake, thin nodes, and after it what was kept of other nodes.
    V2_8,
}

impl Firmware {
    /// Returns the version as the radio tells it.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V2_7 => "2.7.26.54e0d8d",
            Self::V2_8 => "2.8.0.7754068",
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its first two numbers.
        write!(f, "{:.3}", self.version())
    }
}

impl FromStr for Firmware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::V2_7, Self::V2_8].into_iter();
        let mut named = known.filter(|it| it.to_string() == text);
        named
            .next()
            .ok_or_else(|| format!("`{text}` is not simulated: 2.7 and 2.8 are"))
    }
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
