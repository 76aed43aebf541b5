//! Parsers of single values in a line.

use serde::Deserialize as _;
use serde::de::{self, Deserializer};
use serde_json::Value;

use relay_model::NodeNum;

/// Parses a number up to `MOST`.
pub(super) fn at_most<'de, D, T, const MOST: u64>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = serde_json::Number::deserialize(input)?;
    let in_range = number.as_u64().filter(|number| *number <= MOST);
    in_range
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| de::Error::custom(format!("{number} is out of range: 0 to {MOST}")))
}

/// Parses a node's id or number.
pub(super) fn node<'de, D: Deserializer<'de>>(input: D) -> Result<Option<NodeNum>, D::Error> {
    let read = |node| match node {
        Value::String(text) if text == "^all" => Ok(NodeNum::BROADCAST),
        Value::String(text) => text.parse().map_err(de::Error::custom),
        number => Ok(NodeNum(
            u32::deserialize(number).map_err(de::Error::custom)?,
        )),
    };
    Option::deserialize(input)?.map(read).transpose()
}

/// Parses hexadecimal bytes.
pub(super) fn bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    let read = |text: String| {
        let wrong = |_| de::Error::custom(format!("`{text}` is not hexadecimal"));
        hex::decode(&text).map_err(wrong)
    };
    text.map(read).transpose()
}
