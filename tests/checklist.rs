//! The checklist in `docs/reference/simulator.md` is complete: every item is there, the tests that it names exist,
//! and every fault that it names is used by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Items of the checklist.
const ITEMS: usize = 56;

/// A test's file and name.
type TestName = (String, String);

/// Returns the items with the tests that they name.
fn checklist() -> Result<Vec<(usize, Vec<TestName>)>> {
    let document = read("docs/reference/simulator.md")?;
    let (_, table) = document
        .split_once("## The checklist")
        .context("there is no checklist")?;
    let table = table.split("\n## ").next().unwrap_or_default();
    let mut items = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(number) = cells.first().and_then(|cell| cell.parse().ok()) else {
            continue;
        };
        let names = cells.last().map_or("", |cell| cell).split('`');
        let tests = names.filter_map(|name| name.split_once("::"));
        let tests = tests.map(|(file, name)| (file.to_owned(), name.to_owned()));
        items.push((number, tests.collect()));
    }
    Ok(items)
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| format!("cannot read {name}"))
}

/// Returns the names of a file's tests.
fn tests_of(file: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in read(file)?.lines().map(str::trim) {
        let declared = line.trim_start_matches("async ").strip_prefix("fn ");
        match declared.and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if std::mem::take(&mut is_test) => {
                names.insert(name.to_owned());
            }
            Some(_) => {}
            None => is_test |= line == "#[test]" || line.starts_with("#[tokio::test"),
        }
    }
    Ok(names)
}

#[test]
fn every_item_of_the_checklist_is_there_and_shown_by_a_test() -> Result<()> {
    let items = checklist()?;
    let numbers: Vec<usize> = items.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=ITEMS).collect::<Vec<_>>());
    for (number, tests) in items {
        ensure!(!tests.is_empty(), "item {number} names no test");
    }
    Ok(())
}

#[test]
fn every_test_that_the_checklist_names_exists() -> Result<()> {
    let mut files = BTreeMap::new();
    let mut missing = Vec::new();
    for (number, tests) in checklist()? {
        for (file, name) in tests {
            if !files.contains_key(&file) {
                let known = tests_of(&file).with_context(|| format!("item {number}"))?;
                files.insert(file.clone(), known);
            }
            if !files.get(&file).is_some_and(|known| known.contains(&name)) {
                missing.push(format!("{number}: {file}::{name}"));
            }
        }
    }
    ensure!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
    Ok(())
}

/// Returns the faults named in the document.
fn faults() -> Result<Vec<String>> {
    let document = read("docs/reference/simulator.md")?;
    let (_, table) = document
        .split_once("### Faults")
        .context("there are no faults")?;
    let table = table.split("\n#").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    Ok(cells
        .flat_map(|names| names.split('`').step_by(2).map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect())
}

/// Appends the sources of all tests in a directory.
fn add_tests(directory: &Path, text: &mut String) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            add_tests(&path, text)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            let source = fs::read_to_string(&path)?;
            let is_test = path.starts_with(root().join("tests")) || path.ends_with("tests.rs");
            text.push_str(match source.split_once("#[cfg(test)]\nmod tests {") {
                _ if is_test => &source,
                Some((_, tests)) => tests,
                None => "",
            });
        }
    }
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_fault_is_ordered_by_a_test() -> Result<()> {
    let mut tests = String::new();
    for directory in ["crates", "src", "tests"] {
        add_tests(&root().join(directory), &mut tests)?;
    }
    let tests = tests.replace('\\', "");
    let faults = faults()?;
    ensure!(faults.len() > 40, "{faults:?}");
    let is_ordered = |fault: &&String| tests.contains(&format!("\"fault\": \"{fault}\""));
    let idle: Vec<_> = faults.iter().filter(|fault| !is_ordered(fault)).collect();
    ensure!(idle.is_empty(), "no test orders {idle:?}");
    Ok(())
}
