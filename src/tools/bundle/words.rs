//! Many words, each with what is put in its place, looked for in a text all at once. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;

/// Words that are to be taken out of texts.
#[derive(Debug)]
pub(super) struct Words {
    any_case: bool,
    /// In that order.
    learned: Vec<(String, String)>,
    /// Where each stands in that.
    places: HashMap<String, usize>,
    /// Made of them for the first text; `None` inside: there are too many of them.
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Words {
    /// `any_case`: ASCII letters are found in either case; the words are in lower case then.
    pub(super) fn new(any_case: bool) -> Self {
        Self {
            any_case,
            learned: Vec::new(),
            places: HashMap::new(),
            automaton: OnceLock::new(),
        }
    }

    /// Learns a word, unless it is known.
    pub(super) fn add(&mut self, word: String, put: &str) {
        if self.places.contains_key(&word) {
            return;
        }
        self.places.insert(word.clone(), self.learned.len());
        self.learned.push((word, put.to_owned()));
        self.automaton = OnceLock::new();
    }

    /// Returns what is put in the place of a word.
    pub(super) fn get(&self, word: &str) -> Option<&str> {
        let (_, put) = self.learned.get(*self.places.get(word)?)?;
        Some(put)
    }

    /// Returns where words stand that fit there, and what is put in their places, in the order of the text; where some overlap
    /// the longest. If there are too many to be looked for, all of the text is to be replaced by `all`.
    pub(super) fn find_all<'a>(
        &'a self,
        text: &str,
        all: &'a str,
        fits: impl Fn(&Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, &'a str)> {
        let automaton = self.automaton.get_or_init(|| {
            let words = self.learned.iter().map(|(word, _)| word);
            let mut builder = AhoCorasick::builder();
            builder
                .ascii_case_insensitive(self.any_case)
                .build(words)
                .ok()
        });
        let Some(automaton) = automaton else {
            return vec![(0..text.len(), all)];
        };
        let found = automaton.find_overlapping_iter(text);
        let found = found.map(|it| (it.pattern().as_usize(), it.range()));
        let mut found: Vec<_> = found.filter(|(_, range)| fits(range)).collect();
        found.sort_by_key(|(word, range)| (Reverse(range.len()), *word, range.start));
        let mut chosen: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (word, range) in found {
            let before = chosen.range(..range.end).next_back();
            if before.is_none_or(|(_, (end, _))| *end <= range.start) {
                chosen.insert(range.start, (range.end, word));
            }
        }
        let chosen = chosen.into_iter().filter_map(|(start, (end, word))| {
            let (_, put) = self.learned.get(word)?;
            Some((start..end, put.as_str()))
        });
        chosen.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str], text: &str) -> Vec<(Range<usize>, String)> {
        let mut all = Words::new(true);
        for word in words {
            all.add((*word).to_owned(), &word.to_uppercase());
        }
        let found = all.find_all(text, "", |_| true).into_iter();
        found.map(|(range, put)| (range, put.to_owned())).collect()
    }

    #[test]
    fn of_words_that_overlap_the_longest_counts_wherever_it_begins() {
        let put = |text: &str| text.to_owned();
        let words = ["ab cd", "cd efgh", "gh"];
        assert_eq!(found(&words, "AB CD efgh"), [(3..10, put("CD EFGH"))]);
        assert_eq!(
            found(&words, "ab cd gh"),
            [(0..5, put("AB CD")), (6..8, put("GH"))]
        );
        assert_eq!(found(&[], "ab"), []);
    }

    #[test]
    fn a_word_that_is_learned_later_is_found_too() {
        let mut words = Words::new(false);
        words.add("one".to_owned(), "1");
        assert_eq!(words.find_all("one two", "", |_| true).len(), 1);
        words.add("two".to_owned(), "2");
        words.add("two".to_owned(), "3");
        assert_eq!(words.find_all("one two", "", |_| true).len(), 2);
        assert_eq!(words.get("two"), Some("2"));
        assert_eq!(words.find_all("ONE two", "", |it| it.start > 9), []);
    }
}
