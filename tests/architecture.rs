//! Checked against the sources: who may name whom in the program, that no files import each other, that what decides asks
//! neither for the time nor for a runtime, and that the ways through the files, in `docs/architecture.md`, lead through files
//! and functions that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module of the program itself, and what of ours it may name. What is not in a row, that module does not know of. Between
/// the crates Cargo holds the direction.
const MAY_NAME: [(&str, &[&str]); 8] = [
    ("colour", &[]),
    ("home", &["model", "disk"]),
    (
        "telemetry",
        &["model", "config", "home", "disk", "colour", "claims"],
    ),
    ("signals", &[]),
    (
        "daemon",
        &[
            "model",
            "config",
            "home",
            "telemetry",
            "signals",
            "disk",
            "bridge",
            "radio",
            "matrix",
            "store",
            "claims",
        ],
    ),
    (
        "tools",
        &[
            "model", "config", "home", "disk", "bridge", "radio", "matrix", "store", "daemon",
            "claims",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "disk",
            "daemon",
            "tools",
            "simulator",
            "matrix::auth",
            "matrix::FilesError",
            "matrix::hand",
            "config",
            "home",
            "telemetry",
            "signals",
            "colour",
        ],
    ),
    ("main", &["cli"]),
];

/// How the crates are named.
const CRATE: &str = "relay_";

/// The steps of the page, a table's row each, with the files that it names and what is to be found in them.
#[test]
fn the_ways_through_the_files_name_files_and_functions_that_are_there() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/architecture.md"))?;
    let (_, ways) = page
        .split_once("## The ways through the files")
        .context("there are no ways")?;
    let ways = ways.split("\n## ").next().unwrap_or_default();
    let (mut wrong, mut middle, mut steps) = (Vec::new(), Vec::new(), 0);
    for row in ways.lines().filter(|line| line.starts_with("| ")) {
        let tokens: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let (files, names): (Vec<&str>, Vec<&str>) =
            tokens.into_iter().partition(|name| name.contains('/'));
        steps += usize::from(!files.is_empty());
        let mut texts = Vec::new();
        for file in files {
            match fs::read_to_string(root().join(in_tree(file))) {
                Ok(text) => texts.push(text),
                Err(error) => wrong.push(format!("{file}: {error}")),
            }
        }
        let step = row.split(' ').nth(1).unwrap_or_default();
        if ["a", "b", "c", "d", "e", "f"].contains(&step) {
            middle.extend(texts.iter().cloned());
        } else if row.contains(" to f |") || row.contains(" to e |") {
            texts.extend(middle.iter().cloned());
        }
        for name in names {
            let last = name.rsplit("::").next().unwrap_or(name);
            let is_function = last.starts_with(|first: char| first.is_ascii_lowercase());
            let sought = if is_function {
                format!("fn {last}")
            } else {
                last.to_owned()
            };
            if !texts.iter().any(|text| has_word(text, &sought)) {
                wrong.push(format!("`{name}` is in no file of its step: {row}"));
            }
        }
    }
    assert!(steps > 20, "{steps} steps were read");
    none(&wrong)
}

#[test]
fn each_decision_has_a_number_of_its_own_and_stands_in_the_list() -> Result<()> {
    let folder = root().join("docs/decisions");
    let mut pages = Vec::new();
    for entry in fs::read_dir(&folder)? {
        pages.push(entry?.file_name().to_string_lossy().into_owned());
    }
    pages.retain(|page| page != "README.md");
    pages.sort();
    let mut expected = Vec::new();
    for (number, page) in (1..).zip(&pages) {
        let text = fs::read_to_string(folder.join(page))?;
        let title = text.lines().next().unwrap_or_default();
        let title = title.strip_prefix(&format!("# {number}. "));
        let title = title.filter(|_| page.starts_with(&format!("{number:04}-")));
        let title =
            title.with_context(|| format!("{page} is not the page of decision {number}"))?;
        expected.push(format!("{number}. [{title}]({page})"));
    }
    let list = fs::read_to_string(folder.join("README.md"))?;
    let listed: Vec<&str> = list.lines().filter(|line| line.contains("](")).collect();
    assert_eq!(listed, expected);
    Ok(())
}

/// How the name of a file ends that stands in for another one on Windows.
const ON_WINDOWS: &str = "_windows";

#[test]
fn what_differs_on_windows_stands_in_files_beside_those_that_they_stand_in_for() -> Result<()> {
    let mut offences = Vec::new();
    for source in sources()? {
        let ending = format!("{ON_WINDOWS}.rs");
        if let Some(name) = source.name.strip_suffix(&ending) {
            let other = root().join(format!("{name}.rs"));
            offences.extend((!other.exists()).then(|| format!("{} has no other", source.name)));
        }
        for line in source.text.lines() {
            let asks = ["cfg(", "cfg!(", "cfg_attr("]
                .iter()
                .any(|it| line.contains(it))
                && ["windows", "unix"].iter().any(|it| has_word(line, it));
            let line = line.trim();
            let chooses = line.starts_with("#[cfg_attr(windows, path = ")
                && line.ends_with(&format!("{ending}\")]"));
            let is_unused = line.starts_with("#[cfg_attr(windows, expect(dead_code,");
            offences.extend(
                (asks && !chooses && !is_unused).then(|| format!("{}: {line}", source.name)),
            );
        }
    }
    none(&offences)
}

/// Maximum width of a comment, in characters; rustfmt breaks code at 100.
const COMMENT_WIDTH: usize = 128;

#[test]
fn no_comment_is_too_wide_to_be_read_beside_the_code() -> Result<()> {
    let mut wide = Vec::new();
    for source in sources()? {
        for (number, line) in source.text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > COMMENT_WIDTH {
                wide.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    none(&wide)
}

/// Returns where a file stands that the page names by its crate.
fn in_tree(file: &str) -> String {
    match file.split_once('/') {
        Some((part, rest)) if root().join("crates").join(part).is_dir() => {
            format!("crates/{part}/src/{rest}")
        }
        _ => format!("src/{file}"),
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// What is pure: the beginnings of the files' names.
const MACHINES: [&str; 22] = [
    "crates/bridge/src/",
    "src/daemon/counts.rs",
    "src/daemon/health",
    "src/daemon/room_trouble.rs",
    "src/daemon/verdict.rs",
    "crates/matrix/src/content.rs",
    "crates/matrix/src/events.rs",
    "crates/matrix/src/undecryptable.rs",
    "crates/model/src/",
    "crates/radio/src/pacer",
    "crates/wire/src/codec.rs",
    "crates/radio/src/session",
    "crates/radio/src/mesh/",
    "crates/radio/src/wires/found_device.rs",
    "crates/radio/src/reconnect.rs",
    "crates/reading/src/",
    "crates/simulator/src/",
    "src/telemetry/rate.rs",
    "src/telemetry/sanitize.rs",
    "src/tools/doctor/account.rs",
    "src/tools/doctor/report.rs",
    "src/tools/doctor/rooms.rs",
];

/// What lies in such a folder and is not: it reads a clock or a file, or serves a simulated radio.
const EDGES: [&str; 6] = [
    "crates/model/src/time",
    "crates/simulator/src/driver.rs",
    "crates/simulator/src/pipe",
    "crates/simulator/src/driver/pty",
    "crates/simulator/src/recording.rs",
    "crates/simulator/src/driver/tcp.rs",
];

/// What a pure machine never says: it waits for nothing.
const IMPURE_WORDS: [&str; 5] = ["async", "await", "elapsed", "SystemTime", "Clock"];

/// What a pure machine never names in a path: it gets the time and everything else handed in.
const IMPURE_NAMES: [&str; 10] = [
    "tokio",
    "tokio_util",
    "now",
    "rand",
    "thread",
    "fs",
    "net",
    "env",
    "io",
    "process",
];

#[test]
fn a_module_of_the_program_names_only_those_that_the_table_allows() -> Result<()> {
    let mut offences = Vec::new();
    let is_of_program = |file: &Source| file.name.starts_with("src/");
    for file in sources()?.into_iter().filter(is_of_program) {
        let (_, may_name) = MAY_NAME
            .iter()
            .find(|(module, _)| *module == file.top())
            .with_context(|| format!("{} belongs to no module of the table", file.name))?;
        for path in file.paths()? {
            let is_path = path.len() > 1;
            let path = path.join("::");
            let in_crate = path.strip_prefix(CRATE).filter(|_| is_path);
            let ours = path
                .strip_prefix("crate::")
                .or(path.strip_prefix("relay::"));
            let Some(ours) = ours.or(in_crate) else {
                continue;
            };
            let within =
                |allowed: &str| ours == allowed || ours.starts_with(&format!("{allowed}::"));
            let is_module = MAY_NAME.iter().any(|(module, _)| within(module));
            let is_ours = is_module || in_crate.is_some();
            if is_ours && !within(file.top()) && !may_name.iter().any(|allowed| within(allowed)) {
                offences.push(format!("{} names {ours}", file.name));
            }
        }
    }
    none(&offences)
}

#[test]
fn no_two_files_import_each_other() -> Result<()> {
    let sources = sources()?;
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &sources {
        for path in file.paths()? {
            let target = file.file_of(&path, &sources);
            // What is in a file's own folder belongs to it: it says what is there, and may be asked for what it shares.
            if let Some(target) = target.filter(|target| !file.is_kin(target)) {
                imports.entry(&file.name).or_default().insert(&target.name);
            }
        }
    }
    let mut circles = Vec::new();
    for start in imports.keys() {
        let reached = reached_from(start, &imports);
        if reached.contains(start) {
            let ring = reached
                .iter()
                .filter(|it| reached_from(it, &imports).contains(start));
            circles.push(ring.copied().collect::<Vec<_>>().join(" <-> "));
        }
    }
    circles.sort();
    circles.dedup();
    none(&circles)
}

/// Returns every file to which imports lead from this one.
fn reached_from<'a>(
    start: &str,
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(file) = next.pop() {
        for target in imports.get(file).into_iter().flatten() {
            if reached.insert(*target) {
                next.push(target);
            }
        }
    }
    reached
}

/// The macros of `tracing` that write a line.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

#[test]
fn each_line_of_the_log_is_a_fixed_sentence_and_its_fields_stand_in_the_reference() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/reference/log.md"))?;
    let (_, table) = page.split_once("## Fields").context("there is no table")?;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<&str> = rows
        .filter_map(|row| Some(row.split_once('`')?.0))
        .collect();
    let (mut offences, mut used) = (Vec::new(), BTreeSet::new());
    for source in &sources()? {
        log_calls(&without_tests(source.tokens()?), &mut |parts| {
            let mut sentences = 0;
            for part in parts {
                match part {
                    [TokenTree::Literal(sentence)] => {
                        sentences += 1;
                        let sentence = sentence.to_string();
                        if sentence.contains('{') || !sentence.contains(' ') {
                            offences.push(format!("{}: {sentence} is no sentence", source.name));
                        }
                    }
                    [TokenTree::Ident(word), ..] if word == "target" => {}
                    field => _ = used.insert(field_name(field)),
                }
            }
            if sentences != 1 {
                offences.push(format!("{}: a line without a sentence", source.name));
            }
        });
    }
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    let unknown = used.symmetric_difference(&told);
    offences.extend(unknown.map(|it| format!("`{it}` is not in the table, or in no line")));
    assert!(used.len() > 20, "{used:?}");
    none(&offences)
}

/// Hands over the arguments of each call that writes a line of the log.
fn log_calls(tokens: &[TokenTree], take: &mut impl FnMut(Vec<&[TokenTree]>)) {
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let inside: Vec<TokenTree> = group.stream().into_iter().collect();
        if let Some([TokenTree::Ident(level), mark]) = tokens.get(at.saturating_sub(2)..at)
            && is_punct(mark, '!')
            && LEVELS.iter().any(|it| level == it)
        {
            let parts = inside.split(|it| is_punct(it, ','));
            take(parts.filter(|part| !part.is_empty()).collect());
        }
        log_calls(&inside, take);
    }
}

/// Returns the name of a field of a line: `name = value`, or the last word of a value.
fn field_name(field: &[TokenTree]) -> String {
    let named = field.iter().position(|it| is_punct(it, '='));
    let mut words = field[..named.unwrap_or(field.len())].iter().rev();
    let word = words.find(|it| matches!(it, TokenTree::Ident(_)));
    word.map(ToString::to_string).unwrap_or_default()
}

/// What a pure machine may name all the same: bytes, what a seed alone decides, and the words for how something ended.
const HARMLESS: [&str; 6] = [
    "std::io::Error",
    "std::process::ExitCode",
    "tokio_util::bytes",
    "rand::rngs::StdRng",
    "rand::RngExt",
    "rand::SeedableRng",
];

#[test]
fn what_decides_asks_neither_for_the_time_nor_for_a_runtime() -> Result<()> {
    let mut offences = Vec::new();
    let sources = sources()?;
    for listed in MACHINES.iter().chain(&EDGES) {
        if !sources.iter().any(|file| file.name.starts_with(listed)) {
            offences.push(format!("{listed} is not there"));
        }
    }
    for file in sources {
        let is_in = |names: &[&str]| names.iter().any(|it| file.name.starts_with(it));
        if is_in(&MACHINES) && !is_in(&EDGES) {
            let mut paths = Vec::new();
            collect(
                &without_tests(file.tokens()?),
                &file.module,
                &[],
                &mut paths,
            );
            for path in paths {
                let name = path.join("::");
                // The words of `model` are gathered there, the clock among them.
                let is_gathered =
                    file.name == "crates/model/src/lib.rs" && name.ends_with("time::Clock");
                if is_impure(&path) && !is_gathered {
                    offences.push(format!("{} names {name}", file.name));
                }
            }
        }
    }
    none(&offences)
}

/// Returns whether a path leads to what a pure machine does not have.
fn is_impure(path: &[String]) -> bool {
    let name = path.join("::");
    let says = |words: &[&str]| path.iter().any(|said| words.contains(&said.as_str()));
    let is_ours = |first: &String| first == "crate" || first.starts_with(CRATE);
    let foreign = path.first().is_some_and(|first| !is_ours(first))
        && !HARMLESS.iter().any(|it| name.starts_with(it));
    says(&IMPURE_WORDS)
        || path.len() > 1 && says(&IMPURE_NAMES) && (foreign || name.ends_with("::now"))
}

#[test]
fn a_clock_files_and_processes_are_seen_whatever_the_way_to_them() {
    for (path, is_seen) in [
        ("crate::model::Clock::system", true),
        ("crate::model::Clock", true),
        ("std::time::Instant::now", true),
        ("std::io::stdin", true),
        ("std::io", true),
        ("std::process::exit", true),
        ("std::io::Error", false),
        ("std::process::ExitCode", false),
        ("std::time::Instant", false),
    ] {
        let parts: Vec<_> = path.split("::").map(str::to_owned).collect();
        assert_eq!(is_impure(&parts), is_seen, "{path}");
    }
}

#[test]
fn the_reader_of_sources_sees_what_is_named() -> Result<()> {
    let source = "
        use crate::store::{Database, thread::{self, Handle as H}};
        // use crate::http;
        /// crate::plugins
        fn f() { let s = \"crate::cli\"; info!(x = crate::radio::Radio::new()); super::super::bridge::g() }
        mod inner { use super::sibling; use super::super::top; }
        #[cfg(test)]
        mod tests { use crate::simulator; }
    ";
    let tokens = TokenStream::from_str(source).map_err(|error| anyhow!("{error}"))?;
    let mut found = Vec::new();
    collect(
        &without_tests(tokens),
        &["daemon".into(), "queues".into()],
        &[],
        &mut found,
    );
    let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    let found: Vec<_> = found
        .iter()
        .filter(|path| path.starts_with("crate"))
        .collect();
    assert_eq!(
        found,
        [
            "crate::store::Database",
            "crate::store::thread",
            "crate::store::thread::Handle",
            "crate::radio::Radio::new",
            "crate::bridge::g",
            "crate::daemon::queues::sibling",
            "crate::daemon::top",
        ]
    );
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn none(offences: &[String]) -> Result<()> {
    if offences.is_empty() {
        Ok(())
    } else {
        Err(anyhow!("{}", offences.join("\n")))
    }
}

/// A file of ours.
struct Source {
    /// Its path from the package's root.
    name: String,
    /// Its module's path, of a crate the crate's name first: `radio`, `pacer`.
    module: Vec<String>,
    text: String,
}

impl Source {
    /// Returns the file in which a path ends; `None`: it is none of ours, or this one.
    fn file_of<'a>(&self, path: &[String], sources: &'a [Self]) -> Option<&'a Self> {
        let is_crate = self.name.starts_with("crates/");
        let module = match path.split_first()? {
            (first, rest)
                if first == "crate" && is_crate && rest.first() != self.module.first() =>
            {
                [&self.module[..1], rest].concat()
            }
            (first, rest) if first == "crate" => rest.to_vec(),
            (first, rest) => [&[first.strip_prefix(CRATE)?.to_owned()], rest].concat(),
        };
        let holds = |file: &&Self| module.starts_with(&file.module);
        let file = sources
            .iter()
            .filter(holds)
            .max_by_key(|file| file.module.len())?;
        (file.name != self.name).then_some(file)
    }

    /// Returns whether one of two files stands in the folder of the other.
    fn is_kin(&self, other: &Self) -> bool {
        self.module.starts_with(&other.module) || other.module.starts_with(&self.module)
    }

    fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    fn tokens(&self) -> Result<TokenStream> {
        TokenStream::from_str(&self.text).map_err(|error| anyhow!("{}: {error}", self.name))
    }

    /// Returns every path that it names outside its tests; modules of its own, `self` and `super` are resolved to `crate`.
    fn paths(&self) -> Result<Vec<Vec<String>>> {
        let tokens = without_tests(self.tokens()?);
        let mut found = Vec::new();
        collect(&tokens, &self.module, &[], &mut found);
        let children = children(&tokens);
        for path in &mut found {
            if path.first().is_some_and(|first| children.contains(first)) {
                path.splice(
                    0..0,
                    ["crate".to_owned()]
                        .into_iter()
                        .chain(self.module.iter().cloned()),
                );
            }
        }
        Ok(found)
    }
}

/// Returns the modules that a file declares: `mod name`.
fn children(tokens: &[TokenTree]) -> Vec<String> {
    let declared = tokens.windows(2).filter_map(|pair| match pair {
        [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mod" => Some(name.to_string()),
        _ => None,
    });
    declared.collect()
}

/// Returns all our sources but the program's `lib.rs`, which names every module.
fn sources() -> Result<Vec<Source>> {
    let root = root();
    let mut sources = Vec::new();
    let mut directories = vec![root.join("src")];
    for part in fs::read_dir(root.join("crates"))? {
        directories.push(part?.path().join("src"));
    }
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(root, &path)?);
            }
        }
    }
    sources.retain(|source| source.name != "src/lib.rs");
    anyhow::ensure!(sources.len() > 10, "the sources were not found");
    let mut tests = Vec::new();
    for source in &sources {
        for name in test_modules(source.tokens()?) {
            let mut module = source.module.clone();
            module.push(name);
            tests.push(module);
        }
    }
    // A test may use any part to try its own, also from a file of its own.
    sources.retain(|source| tests.iter().all(|test| !source.module.starts_with(test)));
    Ok(sources)
}

/// Returns the modules in files of their own that are only there for tests: `#[cfg(test)] mod name;`.
fn test_modules(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let declared = tokens.windows(5).filter_map(|five| match five {
        [
            hash,
            TokenTree::Group(group),
            TokenTree::Ident(word),
            TokenTree::Ident(name),
            end,
        ] if is_punct(hash, '#')
            && is_for_tests(&group.stream().to_string())
            && word == "mod"
            && is_punct(end, ';') =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    declared.collect()
}

fn source(root: &Path, path: &PathBuf) -> Result<Source> {
    let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
    let module = name.replacen("/src/", "/", 1);
    let module = module
        .trim_start_matches("crates/")
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches(ON_WINDOWS)
        .trim_end_matches("/mod")
        .trim_end_matches("/lib");
    let module = module.split('/').map(str::to_owned).collect();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok(Source { name, module, text })
}

/// Returns whether an attribute is `#[cfg(test)]`, or has its item there for the tests of other crates as well.
fn is_for_tests(attribute: &str) -> bool {
    let attribute = attribute.replace(' ', "");
    attribute == "cfg(test)" || attribute.starts_with("cfg(any(test,")
}

/// Leaves out what follows `#[cfg(test)]`: a test may use any part to try its own.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = match tokens.peek() {
            Some(TokenTree::Group(group)) if is_punct(&token, '#') => group.stream().to_string(),
            Some(_) | None => String::new(),
        };
        if is_for_tests(&attribute) {
            // The item ends with its braces, or with a semicolon.
            tokens.next();
            for skipped in tokens.by_ref() {
                let braces = matches!(&skipped, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
                if braces || is_punct(&skipped, ';') {
                    break;
                }
            }
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Collects the paths in `tokens`, which stand in `module`; within the braces of a `use`, all begin with `prefix`.
fn collect(
    tokens: &[TokenTree],
    module: &[String],
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) {
    let mut at = 0;
    let mut last_words = [String::new(), String::new()];
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(word) => {
                let mut path = prefix.to_vec();
                path.push(word.to_string());
                while follows_colons(tokens, at) {
                    at += 2;
                    match tokens.get(at) {
                        Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let inner: Vec<_> = group.stream().into_iter().collect();
                            collect(&inner, module, &path, found);
                            path.clear();
                        }
                        Some(_) | None => break,
                    }
                    at += 1;
                }
                last_words = [
                    last_words[1].clone(),
                    path.last().cloned().unwrap_or_default(),
                ];
                // What follows `as` is a name of its own.
                if !path.is_empty() && last_words[0] != "as" && last_words[1] != "as" {
                    found.push(resolve(&path, module));
                }
            }
            TokenTree::Group(group) => {
                let mut module = module.to_vec();
                if last_words[0] == "mod" {
                    module.push(last_words[1].clone());
                }
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, &module, &[], found);
                last_words = [String::new(), String::new()];
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn follows_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
    colon(at) && colon(at + 1)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn resolve(path: &[String], module: &[String]) -> Vec<String> {
    let ups = path
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let mut resolved = path.to_vec();
    if ups > 0 || path.first().is_some_and(|first| first == "self") {
        let own = path.iter().take_while(|segment| *segment == "self").count();
        let here = module
            .iter()
            .take(module.len().saturating_sub(ups))
            .cloned();
        resolved = ["crate".to_owned()].into_iter().chain(here).collect();
        resolved.extend(path.iter().skip(ups + own).cloned());
    }
    resolved.retain(|segment| segment != "self");
    resolved
}
