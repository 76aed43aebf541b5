//! What is made of the table of keys: the sample, the JSON Schema, the tables of the reference.

use serde_json::{Value, json};

use super::key_row::{KeyRow, Requirement};
use super::mmrelay::MEANINGLESS;
use super::table::table;
use super::value_types::json_of;

/// How the schema's file is called beside a configuration: the sample names it in its first line.
pub const SCHEMA_FILE: &str = "config.schema.json";

const PREAMBLE: &str = "\
# Configuration of the relay. Every key is here with its default; a line that begins with `#` and a key is a key
# that you may take over and change. Times: 90s, 10m, 1h; a bare number is seconds. Any key can also be set by an
# environment variable: RELAY_ and the key's path in capitals, as in RELAY_MESHTASTIC_HOST.
# `relay config check` tells what is wrong with this file. Where `off` is a choice, `false` means the same.
# The first line is for editors; `relay config schema` prints the file that it names.
";

/// How wide a comment of the sample is.
const WIDTH: usize = 118;

/// All keys, to be had section by section.
struct KeyTable(Vec<KeyRow>);

impl KeyTable {
    fn of<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a KeyRow, &'a str)> {
        let split = |row: &'a KeyRow| (row, row.split());
        let all = self.0.iter().map(split);
        all.filter_map(move |(row, (parent, key))| (parent == section).then_some((row, key)))
    }

    /// Returns what another key of a row's section is in the sample.
    fn beside(&self, row: &KeyRow, other: &str) -> Option<&'static str> {
        let mut beside = self.of(row.split().0);
        let (row, _) = beside.find(|(_, key)| *key == other)?;
        Some(row.given.value())
    }
}

impl Requirement {
    /// Returns the value that people are shown.
    fn value(self) -> &'static str {
        match self {
            Self::Section => "",
            Self::Default(it)
            | Self::Example(it)
            | Self::Required(it)
            | Self::RequiredWith(it, ..) => it,
        }
    }
}

impl KeyRow {
    /// Returns the section, and the key in it.
    fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('.').unwrap_or(("", &self.path))
    }

    /// Returns what is said of the key: what it is for, and what it takes where that is not evident from its value.
    fn explanation(&self) -> String {
        let text = self.doc.as_ref().map_or("", |doc| &doc.text);
        let is_evident = text.is_empty() || text.starts_with("a ") || text == "`true` or `false`";
        if is_evident {
            return self.about.to_owned();
        }
        let about = self.about.trim_end_matches('.');
        if text.starts_with('`') || text.contains('(') {
            format!("{about}: {text}.")
        } else {
            format!("{about} ({text}).")
        }
    }
}

/// Returns a configuration with every key and its default.
pub fn sample() -> String {
    let mut text = format!("# yaml-language-server: $schema={SCHEMA_FILE}\n{PREAMBLE}");
    write_section(&mut text, &KeyTable(table()), "", "");
    text
}

fn write_section(text: &mut String, keys: &KeyTable, section: &str, indent: &str) {
    let mut lead = if section.ends_with("[]") {
        format!("{indent}- ")
    } else {
        indent.to_owned()
    };
    for (row, key) in keys.of(section).filter(|(row, _)| !row.about.is_empty()) {
        if section.is_empty() {
            text.push('\n');
        }
        write_comment(text, lead.trim_end_matches("- "), &row.explanation());
        let is_live = match row.given {
            Requirement::Section | Requirement::Required(_) => true,
            Requirement::RequiredWith(_, other, word) => keys.beside(row, other) == Some(word),
            Requirement::Default(_) | Requirement::Example(_) => false,
        };
        let mark = if is_live { "" } else { "#" };
        let line = format!("{lead}{mark}{key}: {}", row.given.value());
        text.push_str(line.trim_end());
        text.push('\n');
        lead = lead.replace('-', " ");
        let inside = format!("{lead}  ");
        write_section(text, keys, &row.path, &inside);
        write_section(text, keys, &format!("{}[]", row.path), &inside);
    }
}

fn write_comment(text: &mut String, indent: &str, comment: &str) {
    let mut line = format!("{indent}#");
    for word in comment.split_whitespace() {
        if line.chars().count() + word.chars().count() >= WIDTH {
            text.push_str(&line);
            line = format!("\n{indent}#");
        }
        line = format!("{line} {word}");
    }
    text.push_str(&line);
    text.push('\n');
}

/// What the schema says of itself.
const ABOUT: &str = "Configuration of the relay.";

/// Returns whether a text is a schema that this or an earlier version has written.
pub fn is_schema(text: &str) -> bool {
    let schema: Option<Value> = serde_json::from_str(text).ok();
    schema.is_some_and(|it| it["description"] == ABOUT)
}

/// Returns what a configuration may be, as JSON Schema (draft 7), for editors.
pub fn schema() -> String {
    let mut schema = object(&KeyTable(table()), "");
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["description"] = json!(ABOUT);
    format!("{schema:#}\n")
}

/// What has editors not propose a key that is taken all the same.
const NOT_PROPOSED: &str = "doNotSuggest";

/// Returns what a section may be.
fn object(keys: &KeyTable, section: &str) -> Value {
    let mut properties = json!({});
    let (mut required, mut conditions) = (Vec::new(), Vec::new());
    for (row, key) in keys.of(section) {
        let mut schema = described(keys, row);
        match row.given {
            Requirement::Required(_) => required.push(key),
            Requirement::Section if schema["required"][0].is_string() => required.push(key),
            Requirement::RequiredWith(_, other, word) => conditions.push(json!({
                "if": { "properties": { other: { "const": word } }, "required": [other] },
                "then": { "required": [key] },
            })),
            Requirement::Section | Requirement::Default(_) | Requirement::Example(_) => {}
        }
        if let Some(old) = row.old {
            properties[old] = schema.clone();
            properties[old][NOT_PROPOSED] = json!(true);
            properties[old]["description"] = json!(format!("The old name of `{key}`."));
        }
        if row.about.is_empty() {
            schema[NOT_PROPOSED] = json!(true);
            schema["description"] = json!("A switch of MMRelay that has another name here.");
        }
        properties[key] = schema;
    }
    for (paths, why) in MEANINGLESS {
        for path in paths.split(' ') {
            let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
            if parent == section {
                let why = format!("Has no meaning here: {why}.");
                properties[key] = json!({ NOT_PROPOSED: true, "description": why });
            }
        }
    }
    // A section in which nothing is required may be empty.
    let kind = if required.is_empty() {
        json!(["object", "null"])
    } else {
        json!("object")
    };
    let mut schema = json!({
        "type": kind,
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    });
    if !conditions.is_empty() {
        schema["allOf"] = json!(conditions);
    }
    schema
}

fn described(keys: &KeyTable, row: &KeyRow) -> Value {
    let items = format!("{}[]", row.path);
    let mut schema = match &row.doc {
        None => object(keys, &row.path),
        Some(_) if keys.of(&items).next().is_some() => list(&object(keys, &items)),
        Some(doc) => doc.schema.clone(),
    };
    if row.may_be_empty {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    let mut description = row.explanation();
    if let Some(restart) = row.restart.filter(|_| row.doc.is_some()) {
        description = format!("{description} A change {restart}.");
    }
    if let Requirement::Default(default) = row.given {
        description = format!("{description} Default: {default}");
        schema["default"] = json_of(default);
    }
    schema["description"] = json!(description);
    schema
}

/// A list of entries, or MMRelay's mapping of rooms, in whose entries the room may be missing.
fn list(entry: &Value) -> Value {
    let mut named = entry.clone();
    named["required"] = json!([]);
    json!({ "anyOf": [
        { "type": "array", "minItems": 1, "items": entry },
        { "type": "object", "minProperties": 1, "additionalProperties": named },
    ]})
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::{env, fs};

    use super::*;

    /// Returns the tables of the reference, a section each, and that of MMRelay's keys without meaning.
    fn tables() -> String {
        let keys = KeyTable(table());
        let mut text = String::new();
        for (section, name) in keys.of("") {
            let about = section.about;
            write!(text, "\n### `{name}`\n\n{about}\n\n").unwrap();
            text.push_str(
                "| key | takes | default | what it is for |\n| --- | --- | --- | --- |\n",
            );
            let (inside, items) = (format!("{name}."), format!("{name}[]."));
            let is_inside =
                |it: &&KeyRow| it.path.starts_with(&inside) || it.path.starts_with(&items);
            for row in keys.0.iter().filter(is_inside) {
                if row.about.is_empty() {
                    continue;
                }
                let default = match row.given {
                    Requirement::Default(it) => format!("`{it}`"),
                    Requirement::Required(_) => "required".to_owned(),
                    Requirement::RequiredWith(_, other, word) => {
                        format!("required for `{other}: {word}`")
                    }
                    Requirement::Section | Requirement::Example(_) => String::new(),
                };
                let takes = row.doc.as_ref().map_or("a section", |it| &it.text);
                let old = row.old.map(|it| format!(" MMRelay's name: `{it}`."));
                let restart = row.restart.filter(|_| row.doc.is_some());
                let restart = restart.map(|it| format!(" A change {it}."));
                let (path, about) = (&row.path, row.about);
                let (old, restart) = (old.unwrap_or_default(), restart.unwrap_or_default());
                writeln!(
                    text,
                    "| `{path}` | {takes} | {default} | {about}{old}{restart} |"
                )
                .unwrap();
            }
        }
        text.push_str("\n### Keys of MMRelay that mean nothing here\n\n");
        text.push_str("| keys | why |\n| --- | --- |\n");
        for (paths, why) in MEANINGLESS {
            writeln!(text, "| `{}` | {why} |", paths.replace(' ', "`, `")).unwrap();
        }
        text + "\n"
    }

    /// Holds a file of the repository against what the table of keys makes of it; writes it if that is asked for.
    fn assert_made(file: &str, make: impl FnOnce(&str) -> String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(file);
        let there = fs::read_to_string(&path).unwrap_or_default();
        let text = make(&there);
        if env::var_os("UPDATE_CONFIG_FILES").is_some() {
            fs::write(&path, text).unwrap();
        } else {
            assert!(
                there == text,
                "{file} is not what the table of keys makes: `UPDATE_CONFIG_FILES=1 cargo test -p relay-config pages` writes it anew"
            );
        }
    }

    #[test]
    fn the_sample_is_made_of_the_table() {
        assert_made("config.sample.yaml", |_| sample());
    }

    #[test]
    fn the_schema_is_made_of_the_table() {
        assert_made(SCHEMA_FILE, |_| schema());
    }

    #[test]
    fn the_tables_of_the_reference_are_made_of_the_table() {
        const BEGIN: &str = "<!-- made of the table of keys: begin -->\n";
        const END: &str = "<!-- end -->\n";
        assert_made("docs/reference/configuration.md", |page| {
            let (before, rest) = page.split_once(BEGIN).expect("the mark is there");
            let (_, after) = rest.split_once(END).expect("the mark is there");
            format!("{before}{BEGIN}{}{END}{after}", tables())
        });
    }

    #[test]
    fn what_mmrelay_is_compared_by_are_keys() {
        let keys = table();
        for it in crate::mmrelay::DEFAULTS {
            let (key, _) = it.split_once(": ").unwrap();
            assert!(keys.iter().any(|row| row.path == key), "{key}");
        }
    }
}
