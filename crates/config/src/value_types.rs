//! Types of values: how each is read, and its description for people and for editors (as JSON Schema).

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::choice::Choice;
use super::finding::{Wrong, nearest, quoted};
use super::pattern::UserPattern;
use super::port::{PORTS, PortNum};
use super::secret::Secret;
use super::template::{Template, Variable};
use super::values::{self, Checked, hinted, parsed, scalar, structured};
use super::yaml::{self, Node};
use relay_model::{NodeNum, OwnedUserId};

/// How a value is read.
type Read<T> = Box<dyn Fn(&Node) -> Checked<T>>;

/// How a value of one type is read, and its description.
pub(super) struct ValueType<T> {
    pub(super) read: Read<T>,
    pub(super) doc: Box<dyn Fn() -> ValueDoc>,
}

impl<T> ValueType<T> {
    pub(super) fn new(
        doc: impl Fn() -> ValueDoc + 'static,
        read: impl Fn(&Node) -> Checked<T> + 'static,
    ) -> Self {
        let (read, doc) = (Box::new(read), Box::new(doc));
        Self { read, doc }
    }
}

/// The description of a value type.
#[derive(Debug, Clone)]
pub(super) struct ValueDoc {
    /// For people: the column "takes" of the reference.
    pub(super) text: String,
    pub(super) schema: Value,
    /// Whether the value is never shown.
    pub(super) is_secret: bool,
}

impl ValueDoc {
    pub(super) fn new(text: impl fmt::Display, schema: Value) -> Self {
        let text = text.to_string();
        Self {
            text,
            schema,
            is_secret: false,
        }
    }

    /// Describes a value that is never shown.
    pub(super) fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    /// A text of which the reader knows more than a pattern can tell.
    pub(super) fn text(text: &str, pattern: &str) -> Self {
        let schema = json!({ "type": ["string", "number", "boolean"], "pattern": pattern });
        Self::new(text, schema)
    }

    /// One of a few words, in upper or lower case.
    pub(super) fn choice<T: Choice>() -> Self {
        let meant = |(word, meaning): (&&str, &&str)| {
            let meaning = meaning.trim().trim_end_matches('.');
            format!("`{word}` ({})", with_small_letter(meaning))
        };
        let shown: Vec<String> = T::VARIANTS.iter().zip(T::MEANINGS).map(meant).collect();
        let text = match shown.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => shown.concat(),
        };
        let known = || T::VARIANTS.iter().chain(T::SPELLINGS);
        let proposed: Vec<Value> = T::VARIANTS.iter().map(|it| json_of(it)).collect();
        let mut taken = vec![json!({ "enum": proposed })];
        let mut spellings: Vec<&str> = known().copied().collect();
        for (yes, all) in [(true, values::YES), (false, values::NO)] {
            if known().any(|word| all.contains(word)) {
                spellings.extend(all);
                taken.push(json!({ "enum": [yes, i32::from(yes)] }));
            }
        }
        taken.push(json!({ "type": "string", "pattern": in_any_case(&spellings) }));
        Self::new(text, json!({ "anyOf": taken }))
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        let text = format!("{}, or {}", self.text, other.text);
        Self::new(text, json!({ "anyOf": [self.schema, other.schema] }))
    }

    fn list(items: &str, item: &Value) -> Self {
        let schema = json!({ "type": "array", "items": item });
        Self::new(format!("a list of {items}"), schema)
    }
}

fn with_small_letter(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|it| it.to_lowercase().to_string());
    first.unwrap_or_default() + rest.as_str()
}

/// Returns a pattern for whole words in any case: there is no flag for that in a schema.
fn in_any_case(words: &[&str]) -> String {
    let letter = |it: char| match it {
        _ if it.is_ascii_alphabetic() => format!("[{}{it}]", it.to_ascii_uppercase()),
        _ => it.to_string(),
    };
    let spelled = |word: &&str| word.to_ascii_lowercase().chars().map(letter).collect();
    let words: Vec<String> = words.iter().map(spelled).collect();
    format!("^({})$", words.join("|"))
}

/// Returns a value as it is written in a file.
pub(super) fn json_of(written: &str) -> Value {
    let document = yaml::parse(written);
    document.map_or(Value::Null, |it| node_as_json(&it.root))
}

fn node_as_json(node: &yaml::Node) -> Value {
    match &node.value {
        yaml::Value::Scalar { text, plain: true } => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        yaml::Value::Scalar { text, plain: false } => json!(text),
        yaml::Value::List(items) => items.iter().map(node_as_json).collect(),
        yaml::Value::Map(_) | yaml::Value::Null { .. } => Value::Null,
    }
}

pub(super) fn truth() -> ValueDoc {
    let words = [values::YES, values::NO].concat();
    let schema = json!({ "anyOf": [
        { "type": "boolean" },
        { "type": "integer", "minimum": 0, "maximum": 1 },
        { "type": "string", "pattern": in_any_case(&words) },
    ]});
    ValueDoc::new("`true` or `false`", schema)
}

/// Yes or no, in all the words that YAML has had for them.
pub(super) fn boolean() -> ValueType<bool> {
    ValueType::new(truth, |node| {
        let text = scalar(node, "`true` or `false`")?;
        Ok(values::truth(text).ok_or_else(|| Wrong::not(text, "`true` or `false`"))?)
    })
}

/// One of a few words.
pub(super) fn choice<T: Choice>() -> ValueType<T> {
    ValueType::new(ValueDoc::choice::<T>, values::choice)
}

/// A whole number; what it counts is said behind the range.
pub(super) fn whole<T: TryFrom<i64> + 'static>(
    range: RangeInclusive<i64>,
    unit: &'static str,
) -> ValueType<T> {
    let (least, most) = (*range.start(), *range.end());
    let schema = move || {
        json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string", "pattern": r"^ *[+-]?[0-9_]+ *$" },
        ]})
    };
    let doc = move || ValueDoc::new(format!("{least} to {most}{unit}"), schema());
    ValueType::new(doc, move |node| {
        let text = scalar(node, "a whole number")?;
        let Ok(number) = text.trim().replace('_', "").parse::<i64>() else {
            return Err(Wrong::not(text, "a whole number").into());
        };
        let fits = range.contains(&number).then(|| T::try_from(number).ok());
        Ok(fits.flatten().ok_or_else(|| {
            Wrong::new(format!("{number} is out of range: {least} to {most}{unit}"))
        })?)
    })
}

pub(super) fn some_text() -> ValueType<String> {
    ValueType::new(|| ValueDoc::text("a text", r"\S"), values::nonblank)
}

/// A name that is shown to people; longer ones are refused by homeservers (Synapse: 256 characters).
pub(super) fn shown_name() -> ValueType<String> {
    let doc = || ValueDoc::text("a name of at most 256 characters", r"^\s*\S.{0,255}$");
    ValueType::new(doc, |node| {
        let name = values::nonblank(node)?;
        let name = name.trim();
        if name.chars().count() > 256 {
            return Err(Wrong::new("is too long: a name has at most 256 characters").into());
        }
        Ok(name.to_owned())
    })
}

pub(super) fn text_or_none() -> ValueType<Option<String>> {
    ValueType::new(|| ValueDoc::text("a text", ""), values::text_or_none)
}

pub(super) fn secret() -> ValueType<Secret<String>> {
    ValueType::new(|| ValueDoc::text("a text", "^.").secret(), values::secret)
}

/// A path; a relative one begins in the home directory, and a shell's `~` is none.
pub(super) fn path() -> ValueType<PathBuf> {
    let doc = || ValueDoc::text("path, relative to the home directory", "^(?!~(/|$)).+");
    ValueType::new(doc, |node| {
        let text = values::nonblank(node)?;
        if text.contains('\0') {
            return Err(Wrong::new("is not a path").into());
        }
        if text == "~" || text.starts_with("~/") {
            let hint = "write the whole path, or one relative to the home directory";
            return Err(Wrong::new("`~` is not understood here").hint(hint).into());
        }
        Ok(PathBuf::from(text))
    })
}

fn time(least: &str) -> ValueDoc {
    let pattern = "^ *([0-9.]+(ms|s|m|min|h|d) *)+$|^[0-9.]+$";
    let text = json!({ "type": "string", "pattern": pattern });
    let number = json!({ "type": "number", (least): 0 });
    ValueDoc::new("a time", json!({ "anyOf": [number, text] }))
}

pub(super) fn duration() -> ValueType<Duration> {
    ValueType::new(|| time("minimum"), values::duration)
}

/// A time of more than nothing.
pub(super) fn some_duration() -> ValueType<Duration> {
    ValueType::new(|| time("exclusiveMinimum"), values::some_duration)
}

pub(super) fn duration_or_off() -> ValueType<Option<Duration>> {
    let off = || json!({ "anyOf": [{ "enum": ["off", false, 0] }, { "pattern": in_any_case(&values::NO), "type": "string" }] });
    let doc = move || ValueDoc::new("`off`", off()).or(&time("exclusiveMinimum"));
    ValueType::new(doc, |node| {
        if values::truth(scalar(node, "a time or `off`")?) == Some(false) {
            return Ok(None);
        }
        let hint = "write it as `90s`, `10m`, `1h`, or `off`";
        hinted(hint, values::some_duration(node)).map(Some)
    })
}

/// A number of bytes: `5242880`, `5 MiB`, `5MB`.
pub(super) fn size() -> ValueType<u64> {
    let doc = || {
        let number = json!({ "type": "integer", "minimum": 1024, "maximum": 1_u64 << 40 });
        let pattern = "^ *[0-9]+ *([kKmMgG]([iI]?[bB])?|[bB])?$";
        let text = json!({ "type": "string", "pattern": pattern });
        ValueDoc::new(
            "1 KiB to 1 TiB, in bytes or as in `5 MiB`",
            json!({ "anyOf": [number, text] }),
        )
    };
    ValueType::new(doc, |node| {
        let text = scalar(node, "a size, as in `5 MiB`")?;
        let bytes = parse_size(text.trim_start())
            .ok_or_else(|| Wrong::not(text, "a size").hint("write it in bytes, or as `5 MiB`"))?;
        if !(1024..=1 << 40).contains(&bytes) {
            return Err(Wrong::new("is out of range: 1 KiB to 1 TiB").into());
        }
        Ok(bytes)
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A text with variables in braces.
pub(super) fn template<V: Variable + 'static>() -> ValueType<Template<V>> {
    let doc = || {
        let all = V::all().into_iter();
        let (mut shown, mut patterns) = (Vec::new(), Vec::new());
        for (name, may_be_cut, _) in all {
            shown.push(format!("`{{{name}}}`"));
            patterns.push(name.to_owned());
            if may_be_cut {
                shown.push(format!("`{{{name}N}}`"));
                patterns.push(format!("{name}[1-9][0-9]?"));
            }
        }
        let text = format!("text with {}, N characters at most", shown.join(" "));
        let pattern = format!(r"^([^{{}}]|\{{\{{|\}}\}}|\{{({})\}})*$", patterns.join("|"));
        ValueDoc::text(&text, &pattern)
    };
    ValueType::new(doc, |node| parsed(&values::text(node)?))
}

pub(super) fn patterns_doc() -> ValueDoc {
    let item = json!({ "type": "string", "pattern": "^ *[@*?]" });
    ValueDoc::list("user ids, or globs as in `@*:example.org`", &item)
}

/// Users named one by one or by a glob.
pub(super) fn patterns() -> ValueType<Vec<UserPattern>> {
    ValueType::new(patterns_doc, values::list_of(values::pattern))
}

pub(super) fn user_ids() -> ValueType<Vec<OwnedUserId>> {
    let item = || json!({ "type": "string", "pattern": "^ *@[^:]*:." });
    let doc = move || ValueDoc::list("user ids", &item());
    ValueType::new(doc, values::list_of(values::user_id))
}

pub(super) fn nodes() -> ValueType<Vec<NodeNum>> {
    let item = || {
        json!({ "anyOf": [
            { "type": "string", "pattern": "^ *![0-9a-fA-F]{8} *$" },
            { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        ]})
    };
    let doc = move || ValueDoc::list("nodes", &item());
    ValueType::new(doc, values::list_of(node_num))
}

/// Reads a node: `!a1b2c3d4`, or its number.
fn node_num(node: &Node) -> Checked<NodeNum> {
    let text = scalar(node, "a node id")?.trim();
    let number = text.parse::<u32>().map(NodeNum);
    number.or_else(|_| parsed(text))
}

/// Ports; one is a list of one.
pub(super) fn ports() -> ValueType<Vec<PortNum>> {
    let doc = || {
        let names: Vec<&str> = PORTS.iter().map(|(name, _)| *name).collect();
        let port = json!({ "anyOf": [
            { "enum": names },
            { "type": "integer", "minimum": 0, "maximum": 511 },
            { "type": "string", "pattern": in_any_case(&names) },
        ]});
        let list = ValueDoc::list("ports", &port);
        ValueDoc::new(list.text, json!({ "anyOf": [list.schema, port] }))
    };
    ValueType::new(doc, |node| match structured(node)?.value {
        yaml::Value::Scalar { .. } => Ok(vec![port_num(node)?]),
        _ => values::list_of(port_num)(node),
    })
}

fn port_num(node: &Node) -> Checked<PortNum> {
    let text = scalar(node, "a port's name or number")?.trim();
    if let Ok(number) = text.parse::<u32>() {
        if number <= 511 {
            return Ok(PortNum(number));
        }
        let sentence = format!("{number} is out of range: ports are 0 to 511");
        return Err(Wrong::new(sentence).into());
    }
    let mut ports = PORTS.iter();
    let found = ports.find(|(name, _)| name.eq_ignore_ascii_case(text));
    Ok(found.map(|(_, number)| PortNum(*number)).ok_or_else(|| {
        let near = nearest(text, PORTS.iter().map(|(name, _)| *name));
        let hint = near.unwrap_or_else(|| "a port can also be given by its number".to_owned());
        Wrong::new(format!("{} is no port's name", quoted(text))).hint(hint)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Node {
        yaml::parse(yaml).unwrap().root
    }

    fn read<T>(value: &ValueType<T>, yaml: &str) -> Checked<T> {
        (value.read)(&node(yaml))
    }

    fn message<T>(checked: Checked<T>) -> String {
        match checked {
            Ok(_) => panic!("nothing is wrong"),
            Err(all) => all[0].message.clone(),
        }
    }

    #[test]
    fn off_is_false_and_false_is_off() {
        #[derive(Debug, PartialEq, strum::EnumString, strum::VariantNames)]
        #[strum(serialize_all = "snake_case")]
        enum Signs {
            Reactions,
            Off,
        }
        for yaml in ["off", "false", "no", "\"off\"", "False"] {
            assert_eq!(read(&duration_or_off(), yaml), Ok(None), "{yaml}");
        }
        assert_eq!(values::choice(&node("reactions")), Ok(Signs::Reactions));
        assert_eq!(values::choice(&node("false")), Ok(Signs::Off));
        assert_eq!(
            message(values::choice::<Signs>(&node("reaktions"))),
            "`reaktions` is not one of `reactions`, `off`"
        );
    }

    #[test]
    fn numbers_outside_their_range_are_told_the_range() {
        let channels = whole::<u8>(0..=7, "");
        assert_eq!(read(&channels, "7"), Ok(7));
        assert_eq!(message(read(&channels, "9")), "9 is out of range: 0 to 7");
        assert_eq!(
            message(read(&channels, "many")),
            "`many` is not a whole number"
        );
        assert_eq!(
            message(read(&channels, "1.5")),
            "`1.5` is not a whole number"
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(read(&size(), "5 MiB"), Ok(5 << 20));
        assert_eq!(read(&size(), "5242880"), Ok(5 << 20));
        assert_eq!(read(&size(), "5MB"), Ok(5_000_000));
        for yaml in ["5 furlongs", "-1", "99999999999999 GiB", "é"] {
            assert!(read(&size(), yaml).is_err(), "{yaml}");
        }
    }

    #[test]
    fn each_bad_item_of_a_list_is_reported_with_its_place() {
        let wrongs = read(&nodes(), "['!a1b2c3d4', x, 7, !a1b2c3d4 ]").unwrap_err();
        let places: Vec<_> = wrongs.iter().map(|wrong| wrong.within.as_str()).collect();
        assert_eq!(places, ["[1]", "[3]"]);
        assert!(
            wrongs[1]
                .hint
                .as_deref()
                .unwrap_or_default()
                .contains("\"!a1b2c3d4\"")
        );
    }

    #[test]
    fn a_list_from_the_environment_is_read_as_yaml() {
        let given = Node::text("[1, RANGE_TEST_APP]".to_owned(), Node::NOTHING.place);
        assert_eq!((ports().read)(&given), Ok(vec![PortNum(1), PortNum(66)]));
    }
}
