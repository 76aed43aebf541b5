//! Bytes as hexadecimal text, as in JSON lines and captures.

/// Returns two lower-case digits for each byte.
pub(super) fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the bytes that such a text stands for, or `None` if it is not one.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: char| u8::try_from(digit.to_digit(16)?).ok();
    let digits = text.chars().map(digit).collect::<Option<Vec<u8>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| high << 4 | low);
    rest.is_empty().then(|| bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_print_as_hexadecimal_and_parse_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(&[0x94, 0xC3]), "94c3");
        assert_eq!(decode("94C3"), Some(vec![0x94, 0xC3]));
        assert_eq!(decode("94c"), None);
        assert_eq!(decode("9g"), None);
    }
}
