//! Converts Matrix's HTML to plain text: words and lines, numbered lists, names for links to users, no markup. Pure;
//! the work is bounded for any input.

use ruma_html::{Children, Html, NodeData, NodeRef};

use super::links::{LinkTarget, Names, decoded};

/// Maximum length in bytes; an event has at most 64 KiB.
const LONGEST: usize = 32 * 1024;
/// Maximum number of tags: the parser's work can grow with the square of the open tags.
const MOST_TAGS: usize = 400;
/// Maximum depth of elements, as Matrix recommends.
const DEEPEST: usize = 100;

/// Returns the text; `None` if there is none, or if the HTML exceeds the limits.
pub(super) fn read_html(html: &str, names: &Names) -> Option<String> {
    if html.len() > LONGEST || html.matches('<').count() > MOST_TAGS {
        return None;
    }
    let mut page = Block::new(names, 0, false);
    page.all(Html::parse(html).children())?;
    let text = page.text.trim_end().to_owned();
    text.chars().any(|it| !it.is_whitespace()).then_some(text)
}

/// Text under construction, of an element with lines of its own.
struct Block<'a> {
    names: &'a Names,
    depth: usize,
    /// Whitespace is kept as it is.
    verbatim: bool,
    text: String,
    /// Line breaks to write before the next text.
    breaks: usize,
    space: bool,
    after_paragraph: bool,
}

impl<'a> Block<'a> {
    fn new(names: &'a Names, depth: usize, verbatim: bool) -> Self {
        Self {
            names,
            depth,
            verbatim,
            text: String::new(),
            breaks: 0,
            space: false,
            after_paragraph: false,
        }
    }

    fn all(&mut self, nodes: Children) -> Option<()> {
        self.each(nodes, Self::element)
    }

    fn each(
        &mut self,
        nodes: Children,
        mut write: impl FnMut(&mut Self, &str, &NodeRef) -> Option<()>,
    ) -> Option<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        for node in nodes {
            match node.data() {
                NodeData::Text(text) => self.say(&text.borrow()),
                NodeData::Element(element) => write(self, &element.name.local, &node)?,
                NodeData::Document | NodeData::Other => {}
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn element(&mut self, name: &str, node: &NodeRef) -> Option<()> {
        match name {
            // The quote of a reply, and elements that no client shows.
            "mx-reply" | "script" | "style" | "template" | "textarea" | "option" | "noscript"
            | "iframe" | "noembed" | "noframes" => {}
            "br" => self.breaks += 1,
            "hr" => self.end_line(2),
            // A custom emoji is replaced by its name.
            "img" => {
                let named = |name| attribute(node, name).filter(|it| !it.trim().is_empty());
                let words = named("alt").or_else(|| named("title"));
                self.say(&words.unwrap_or_else(|| "[image]".to_owned()));
            }
            "input" if attribute(node, "type").is_some_and(|it| it == "checkbox") => {
                self.say(match attribute(node, "checked") {
                    Some(_) => "[x] ",
                    None => "[ ] ",
                });
            }
            "a" => self.link(node)?,
            // Without a mark the text would mean the opposite.
            "del" | "s" | "strike" => self.changed(node, |words| format!("~~{words}~~"))?,
            "sup" => self.changed(node, |words| {
                power(words).map_or_else(|| words.to_owned(), |power| format!("^{power}"))
            })?,
            "sub" => self.changed(node, |words| match expression(words) {
                Some(index) if index.contains(OPERATORS) => format!("_({index})"),
                Some(_) | None => words.to_owned(),
            })?,
            "span" | "div" if attribute(node, "data-mx-maths").is_some_and(|it| !it.is_empty()) => {
                let formula = attribute(node, "data-mx-maths").unwrap_or_default();
                self.block(name == "div", |page| {
                    page.say(&formula);
                    Some(())
                })?;
            }
            "span" => {
                if let Some(reason) = attribute(node, "data-mx-spoiler")
                    && !reason.trim().is_empty()
                {
                    self.say(&format!("({}) ", reason.trim()));
                }
                self.all(node.children())?;
            }
            "p" => {
                let gap = if self.after_paragraph { 2 } else { 1 };
                self.end_line(gap);
                self.all(node.children())?;
                self.end_line(1);
                self.after_paragraph = true;
            }
            "pre" => {
                let lines = self.apart(node, true)?;
                self.lines(lines.trim_matches('\n'), "", "");
            }
            "blockquote" => {
                let lines = self.apart(node, self.verbatim)?;
                self.lines(&lines, "> ", "> ");
            }
            "ul" | "menu" | "dir" => self.list(node, None)?,
            "ol" => {
                let start = attribute(node, "start").and_then(|it| it.trim().parse().ok());
                self.list(node, Some(start.unwrap_or(1)))?;
            }
            "li" => self.item(node, "- ")?,
            "tr" => self.row(node)?,
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "div" | "dl" | "dt" | "dd" | "table"
            | "caption" | "details" | "summary" | "section" | "article" | "header" | "footer"
            | "address" | "center" | "figure" | "figcaption" | "main" | "nav" | "aside" => {
                self.block(true, |page| page.all(node.children()))?;
            }
            _ => self.all(node.children())?,
        }
        Some(())
    }

    fn say(&mut self, words: &str) {
        for character in words.chars() {
            match character {
                '\n' if self.verbatim => self.breaks += 1,
                // Editors put no-break spaces after mentions and into empty lines.
                ' ' | '\t' | '\n' | '\r' | '\u{c}' | '\u{a0}' if !self.verbatim => {
                    self.space = true;
                }
                other => {
                    self.begin();
                    self.text.push(other);
                }
            }
        }
    }

    /// Writes the pending line breaks or space.
    fn begin(&mut self) {
        if self.verbatim {
            self.text.extend(std::iter::repeat_n('\n', self.breaks));
        } else if !self.text.is_empty() {
            if self.breaks > 0 {
                self.text
                    .extend(std::iter::repeat_n('\n', self.breaks.min(2)));
            } else if self.space {
                self.text.push(' ');
            }
        }
        (self.breaks, self.space, self.after_paragraph) = (0, false, false);
    }

    fn end_line(&mut self, breaks: usize) {
        self.breaks = self.breaks.max(breaks);
    }

    fn block(&mut self, own_line: bool, write: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let breaks = usize::from(own_line);
        self.end_line(breaks);
        write(self)?;
        self.end_line(breaks);
        Some(())
    }

    /// Returns the text of an element that has lines of its own.
    fn apart(&self, node: &NodeRef, verbatim: bool) -> Option<String> {
        let mut page = Block::new(self.names, self.depth, verbatim);
        page.all(node.children())?;
        Some(page.text)
    }

    /// Writes lines, each with a prefix.
    fn lines(&mut self, lines: &str, first: &str, others: &str) {
        if lines.trim().is_empty() {
            return;
        }
        self.end_line(1);
        self.begin();
        for (number, line) in lines.lines().enumerate() {
            let head = if number == 0 { first } else { others };
            if number > 0 {
                self.text.push('\n');
            }
            self.text.push_str(match line {
                "" => head.trim_end(),
                _ => head,
            });
            self.text.push_str(line);
        }
        self.end_line(1);
    }

    fn list(&mut self, node: &NodeRef, mut number: Option<i64>) -> Option<()> {
        self.block(true, |page| {
            page.each(node.children(), |page, name, child| {
                let (Some(next), "li") = (number, name) else {
                    return page.element(name, child);
                };
                number = Some(next.saturating_add(1));
                page.item(child, &format!("{next}. "))
            })
        })
    }

    fn item(&mut self, node: &NodeRef, mark: &str) -> Option<()> {
        let lines = self.apart(node, false)?;
        self.lines(&lines, mark, "  ");
        Some(())
    }

    fn row(&mut self, node: &NodeRef) -> Option<()> {
        let mut cells = Vec::new();
        for cell in node.children().filter(|cell| cell.as_element().is_some()) {
            let words = self.apart(&cell, false)?;
            cells.push(words.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        if cells.iter().any(|it| !it.is_empty()) {
            self.lines(&cells.join(" | "), "", "");
        }
        Some(())
    }

    fn link(&mut self, node: &NodeRef) -> Option<()> {
        let start = self.text.len();
        self.all(node.children())?;
        let Some(address) = attribute(node, "href") else {
            return Some(());
        };
        match LinkTarget::of(&address) {
            Some(target) => {
                if self.text.get(start..).is_none_or(|it| it.trim().is_empty()) {
                    self.say(&target.read("", self.names));
                }
                let names = self.names;
                self.replace_since(start, |label| target.read(label, names));
            }
            None if is_readable(&address) => self.replace_since(start, |label| {
                if bare(label) == bare(&address) {
                    label.to_owned()
                } else {
                    format!("{label} ({})", address.trim())
                }
            }),
            None => {}
        }
        Some(())
    }

    /// Replaces the text of an element, if it has any.
    fn changed(&mut self, node: &NodeRef, other: impl FnOnce(&str) -> String) -> Option<()> {
        let start = self.text.len();
        self.all(node.children())?;
        self.replace_since(start, other);
        Some(())
    }

    /// Replaces the text written since `start`, if there is any.
    fn replace_since(&mut self, start: usize, other: impl FnOnce(&str) -> String) {
        let Some(written) = self.text.get(start..) else {
            return;
        };
        let words = written.trim_start();
        if words.is_empty() {
            return;
        }
        let new = other(words);
        self.text.truncate(self.text.len() - words.len());
        self.text.push_str(&new);
    }
}

const OPERATORS: &[char] = &['+', '-', '−', '*', '/', '·'];

/// Returns a superscript to write as a power, unless it is the end of a word (`1st`) or a mark (`™`).
fn power(words: &str) -> Option<String> {
    let power = expression(words)?;
    let size = power.strip_prefix(['-', '−']).unwrap_or(power);
    let is_number = size.chars().all(|it| it.is_ascii_digit());
    let is_letter = size.chars().count() == 1;
    // In some languages `1o` and `2e` mean `1st` and `2nd`.
    let is_ending =
        power.chars().all(char::is_alphabetic) && (!is_letter || "aeor".contains(power));
    if is_ending {
        None
    } else if is_number || is_letter {
        Some(power.to_owned())
    } else {
        Some(format!("({power})"))
    }
}

/// Returns a text that can be a formula, trimmed.
fn expression(words: &str) -> Option<&str> {
    let words = words.trim();
    let known = |it: char| it.is_alphanumeric() || OPERATORS.contains(&it) || "()".contains(it);
    let is_name = |name: &str| name.chars().count() <= 2;
    let mut names = words.split(|it: char| !it.is_alphabetic());
    let has_any = words.contains(char::is_alphanumeric);
    (has_any && words.chars().all(known) && names.all(is_name)).then_some(words)
}

/// Returns whether Matrix lists the address's scheme as one for links.
fn is_readable(address: &str) -> bool {
    let scheme = address.trim().split_once(':').map(|(scheme, _)| scheme);
    let known = ["https", "http", "ftp", "mailto", "magnet", "geo", "tel"];
    scheme.is_some_and(|it| known.iter().any(|known| it.eq_ignore_ascii_case(known)))
}

/// Returns an address without the parts that people omit when they write it.
fn bare(address: &str) -> String {
    let decoded = decoded(address.trim());
    let mut rest = decoded.as_str();
    for scheme in ["https://", "http://", "mailto:", "tel:", "www."] {
        rest = rest.strip_prefix(scheme).unwrap_or(rest);
    }
    rest.trim_end_matches('/').to_lowercase()
}

fn attribute(node: &NodeRef, name: &str) -> Option<String> {
    let attributes = node.as_element()?.attrs.borrow();
    let found = attributes.iter().find(|it| &*it.name.local == name)?;
    Some(found.value.to_string())
}

#[cfg(test)]
mod tests;
