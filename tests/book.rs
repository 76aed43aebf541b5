//! The documentation is whole: every page stands once in the book's table of contents, every link leads to a page, a heading
//! or a file that is there, and so does every `docs/…` that a text or a source names. What the guide tells to type is run
//! elsewhere (`tests/it/guide.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

const CONTENTS: &str = "docs/SUMMARY.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files below a directory with one of these endings (of all, without any), relative to the repository.
fn files(directory: &str, endings: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if endings.is_empty()
                || path
                    .extension()
                    .is_some_and(|it| endings.iter().any(|ending| it == *ending))
            {
                found.push(path.strip_prefix(root())?.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the pages beside the book: README, CHANGELOG …
fn outside() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root())? {
        let path = PathBuf::from(entry?.file_name());
        if path.extension().is_some_and(|it| it == "md") {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Returns the pages of the book and those beside it, with their texts.
fn pages() -> Result<BTreeMap<String, String>> {
    let mut names = files("docs", &["md"])?;
    names.extend(outside()?);
    let read = |name: String| {
        let text = fs::read_to_string(root().join(&name));
        Ok((name.clone(), text.with_context(|| name)?))
    };
    names.into_iter().map(read).collect()
}

/// Leaves out blocks of code, and what stands between backquotes if `inline`.
fn prose(text: &str, inline: bool) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let spans = line.split('`').enumerate();
            let kept = spans.filter(|(at, _)| !inline || at % 2 == 0);
            prose.extend(kept.map(|(_, span)| span));
            prose.push('\n');
        }
    }
    prose
}

/// Returns the names by which a page's headings are linked to: mdBook and the forges make them alike.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text, false);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let letters = heading.chars().filter_map(|it| match it {
            ' ' => Some('-'),
            it if it.is_alphanumeric() || it == '-' || it == '_' => Some(it),
            _ => None,
        });
        letters.collect()
    };
    headings.map(name).collect()
}

/// Returns the targets of a page's links and pictures.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text, true);
    let targets = prose.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    targets.collect()
}

/// Returns where a link leads, relative to the repository; `None`: out of it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path.to_string_lossy().into_owned())
}

fn none(wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_link_leads_to_something_that_is_there() -> Result<()> {
    let pages = pages()?;
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (page, text) in &pages {
        for link in links(text) {
            seen += 1;
            if link.starts_with("https://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = if target.is_empty() {
                Some(page.clone())
            } else {
                resolve(page, target)
            };
            let Some(file) = file.filter(|file| root().join(file).exists()) else {
                wrong.push(format!("{page}: {link}: there is no such file"));
                continue;
            };
            // What is not in the book has no address there.
            if page.starts_with("docs/") && !file.starts_with("docs/") {
                wrong.push(format!("{page}: {link} leads out of the book"));
            }
            let has_anchor = || {
                pages
                    .get(&file)
                    .is_some_and(|it| anchors(it).contains(anchor))
            };
            if !anchor.is_empty() && !has_anchor() {
                wrong.push(format!("{page}: {link}: there is no such heading"));
            }
        }
    }
    ensure!(seen > 100, "{seen} links were found");
    none(&wrong)
}

#[test]
fn every_page_stands_once_in_the_table_of_contents() -> Result<()> {
    let contents = fs::read_to_string(root().join(CONTENTS))?;
    let mut told = BTreeMap::<String, usize>::new();
    for link in links(&contents) {
        let page = resolve(CONTENTS, &link).with_context(|| link.clone())?;
        *told.entry(page).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for page in files("docs", &["md"])? {
        let times = told.remove(&page).unwrap_or_default();
        if page != CONTENTS && times != 1 {
            wrong.push(format!("{page} stands {times} times in {CONTENTS}"));
        }
    }
    wrong.extend(told.into_keys().map(|page| format!("{page} is not there")));
    none(&wrong)
}

#[test]
fn every_page_that_a_text_or_a_source_names_is_there() -> Result<()> {
    let mut sources = files("docs", &["md"])?;
    sources.extend(outside()?);
    for directory in ["src", "crates", "tests", "docker"] {
        sources.extend(files(directory, &["rs", "py", "toml", "yaml"])?);
    }
    for directory in [".github", "packaging", "scripts"] {
        sources.extend(files(directory, &[])?);
    }
    let mut wrong = Vec::new();
    for source in sources {
        let text = fs::read_to_string(root().join(&source))?;
        for (at, _) in text.match_indices("docs/") {
            let rest = &text[at..];
            let is_part = |it: char| it.is_alphanumeric() || "/-_.".contains(it);
            let path = rest.split(|it| !is_part(it)).next().unwrap_or_default();
            if let Some(page) = path.split(".md").next().filter(|_| path.contains(".md")) {
                let page = format!("{page}.md");
                if !root().join(&page).exists() && !page.contains('…') {
                    wrong.push(format!("{source}: {page}"));
                }
            }
        }
    }
    none(&wrong)
}

#[test]
fn every_picture_is_what_its_text_makes() -> Result<()> {
    let output = std::process::Command::new(root().join("scripts/pictures"))
        .arg("--check")
        .output()
        .context("Python runs")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
