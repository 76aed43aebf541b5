//! The JSON Schema of the configuration, held against configurations by somebody else's validator and YAML parser: they come
//! with the homeserver, from the virtual environment that `scripts/test` sets up (`RELAY_TEST_VENV`, else `relay/venv` in the
//! user's cache directory).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Prints the names of the files that the schema takes; fails if the schema is none.
const VALIDATE: &str = "
import json, sys, yaml
from jsonschema import Draft7Validator
schema = json.load(open(sys.argv[1]))
Draft7Validator.check_schema(schema)
for name in sys.argv[2:]:
    try:
        document = yaml.safe_load(open(name))
    except yaml.YAMLError:
        continue
    if Draft7Validator(schema).is_valid(document):
        print(name)
    else:
        error = next(Draft7Validator(schema).iter_errors(document))
        print(name, list(error.path), error.message[:200], file=sys.stderr)
";

/// Mistakes that no schema sees: what lies between two keys, and the length in bytes.
const UNSEEN: [&str; 6] = [
    "channel_use",
    "message_as_room",
    "plain_http",
    "room_with_an_odd_query",
    "two_directions",
    "two_names_of_a_room",
];

/// Configurations with values that are left out with a warning, as MMRelay does: an editor marks them.
const LEFT_OUT: [&str; 4] = [
    "mmrelay_wrong_debug",
    "mmrelay_wrong_values",
    "port_name",
    "template_emoji",
];

fn python() -> Result<PathBuf> {
    let cache = || {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
    };
    let venv = env::var_os("RELAY_TEST_VENV").map(PathBuf::from);
    let venv = venv.or_else(|| Some(cache()?.join("relay/venv")));
    let python = venv.context("no home directory")?.join("bin/python");
    ensure!(
        python.exists(),
        "`scripts/test` sets up {}",
        python.display()
    );
    Ok(python)
}

/// Returns the files, without their endings, that the schema takes, and what the validator says of the others.
fn taken(files: &[PathBuf]) -> Result<(Vec<String>, String)> {
    let schema = root().join("config.schema.json");
    let output = Command::new(python()?)
        .args(["-c", VALIDATE])
        .arg(schema)
        .args(files)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let names = String::from_utf8(output.stdout)?;
    Ok((names.lines().map(stem).collect(), said))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stem(path: &str) -> String {
    let stem = Path::new(path).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn fixtures(kind: &str) -> Result<Vec<PathBuf>> {
    let entries = root().join("tests/fixtures/config").join(kind).read_dir()?;
    let mut files: Vec<PathBuf> = entries.map(|it| Ok(it?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

#[test]
fn the_schema_takes_the_sample_and_every_configuration_without_wrong_values() -> Result<()> {
    let (wrong, mut files): (Vec<_>, Vec<_>) = fixtures("valid")?
        .into_iter()
        .partition(|file| LEFT_OUT.contains(&stem(&file.to_string_lossy()).as_str()));
    assert_eq!(taken(&wrong)?.0, [""; 0], "the schema takes a wrong value");
    assert_eq!(wrong.len(), LEFT_OUT.len());
    files.push(root().join("config.sample.yaml"));
    // With every key given.
    let sample = std::fs::read_to_string(root().join("config.sample.yaml"))?;
    let directory = tempfile::tempdir()?;
    let full = directory.path().join("full.yaml");
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => line.replacen('#', "", 1) + "\n",
        Some(_) | None => format!("{line}\n"),
    };
    std::fs::write(&full, sample.lines().map(line).collect::<String>())?;
    files.push(full);
    let (taken, said) = taken(&files)?;
    assert_eq!(taken.len(), files.len(), "{said}");
    Ok(())
}

#[test]
fn the_schema_refuses_what_the_relay_refuses() -> Result<()> {
    let (taken, _) = taken(&fixtures("invalid")?)?;
    assert_eq!(taken, UNSEEN, "what no schema sees stands in UNSEEN");
    Ok(())
}
