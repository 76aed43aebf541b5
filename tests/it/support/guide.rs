//! What the guide, the reference and the README tell to type: their blocks of commands and configurations, and how each is tried.
//!
//! A block marked `console`, `python` or `yaml` has a comment on the line above it: `<!-- run by FILE -->`, the file of `tests/it` that
//! runs it, or `<!-- not run: WHY -->`. A `yaml` block without a comment is a configuration, and is loaded.

use std::fs;
use std::path::{Path, PathBuf};

/// A block between two lines of backquotes.
#[derive(Debug)]
pub(crate) struct Block {
    /// The page, relative to the repository.
    pub(crate) page: String,
    /// The line on which it begins.
    pub(crate) line: usize,
    /// The last heading of the second level before it; empty: none.
    pub(crate) section: String,
    /// `console`, `yaml` …
    pub(crate) language: String,
    /// The comment above it.
    pub(crate) mark: Option<String>,
    /// Its lines, without the indentation of the block.
    pub(crate) lines: Vec<String>,
}

impl Block {
    /// Returns the file that runs it.
    pub(crate) fn run_by(&self) -> Option<&str> {
        self.mark.as_deref()?.strip_prefix("run by ")
    }

    /// Returns why it is not run.
    pub(crate) fn why_not(&self) -> Option<&str> {
        self.mark.as_deref()?.strip_prefix("not run: ")
    }

    /// Returns its commands; one that ends in a backslash goes on in the next line.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = Vec::new();
        let mut goes_on = false;
        for line in &self.lines {
            let (text, more) = match line.strip_suffix('\\') {
                Some(text) => (text.trim_end(), true),
                None => (line.as_str(), false),
            };
            if let Some(command) = text.strip_prefix("$ ") {
                commands.push(command.to_owned());
            } else if goes_on && let Some(last) = commands.last_mut() {
                *last = format!("{last} {}", text.trim_start());
            }
            goes_on = more;
        }
        commands
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the README and the pages of the guide and the reference.
pub(crate) fn pages() -> Vec<String> {
    let mut pages = vec![root().join("README.md"), root().join("docs/index.md")];
    for folder in ["docs/guide", "docs/reference"] {
        let entries = fs::read_dir(root().join(folder)).expect("there are pages");
        pages.extend(entries.map(|it| it.expect("it can be read").path()));
    }
    pages.sort();
    let name = |page: &PathBuf| {
        let name = page.strip_prefix(root()).expect("it is below the root");
        name.to_str().expect("its name is a text").to_owned()
    };
    pages.iter().map(name).collect()
}

/// Returns the blocks of a page, in their order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let (mut blocks, mut open) = (Vec::new(), None::<(Block, usize)>);
    let (mut section, mut before) = (String::new(), "");
    for (at, line) in text.lines().enumerate() {
        let inner = line.trim_start();
        let indent = line.len() - inner.len();
        if let Some((mut block, margin)) = open.take() {
            if inner == "```" {
                blocks.push(block);
            } else {
                block
                    .lines
                    .push(line[margin.min(indent)..].trim_end().to_owned());
                open = Some((block, margin));
            }
        } else if let Some(language) = inner.strip_prefix("```") {
            let mark = before
                .strip_prefix("<!-- ")
                .and_then(|it| it.strip_suffix(" -->"));
            let block = Block {
                page: page.to_owned(),
                line: at + 1,
                section: section.clone(),
                language: language.to_owned(),
                mark: mark.map(str::to_owned),
                lines: Vec::new(),
            };
            open = Some((block, indent));
        } else if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        before = inner;
    }
    assert!(open.is_none(), "{page}: a block does not end");
    blocks
}

/// Returns the blocks of a page that this file of `tests/it` runs, in their order.
pub(crate) fn run_by(page: &str, file: &str) -> Vec<Block> {
    let mut found = blocks(page);
    found.retain(|block| block.run_by() == Some(file));
    assert!(!found.is_empty(), "{page}: no block is run by {file}");
    found
}

/// Returns their commands.
pub(crate) fn commands(page: &str, file: &str) -> Vec<String> {
    let blocks = run_by(page, file);
    blocks.iter().flat_map(Block::commands).collect()
}
