//! All phrases of all rules, found in one pass over the words of a reply.
//!
//! A phrase is matched word by word. `*` at its beginning or end lets a word go on there: `block*`.
//! `..` between two parts lets other words stand between them, up to 64 octets.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::words::phrase_words;

/// The most octets between two parts of a phrase.
const GAP: usize = 64;
/// Places that are remembered of one text.
const MAX_HITS: usize = 2048;
/// Octets of a phrase.
const MAX_PHRASE: usize = 200;

/// The number of a phrase.
pub(crate) type PhraseId = usize;

/// A part of a phrase.
#[derive(Debug, Clone, Copy)]
struct Part {
    pattern: usize,
    /// A word may go on before it, or after it.
    open_start: bool,
    open_end: bool,
}

/// Gathers phrases.
#[derive(Default)]
pub(crate) struct PhraseBuilder {
    patterns: Vec<String>,
    by_text: HashMap<String, usize>,
    phrases: Vec<Vec<Part>>,
}

/// Finds phrases.
pub(crate) struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Vec<Part>>,
    /// Phrases by the pattern of their last part.
    ending: Vec<Vec<PhraseId>>,
}

/// The phrases that are in a text.
pub(crate) struct Found(Vec<u64>);

/// A place of a pattern in a text.
#[derive(Clone, Copy)]
struct Hit {
    pattern: usize,
    start: usize,
    end: usize,
    /// A word begins at `start`; one ends at `end`.
    begins: bool,
    ends: bool,
}

impl PhraseBuilder {
    /// Adds a phrase.
    ///
    /// # Errors
    /// It is too long, or has no words.
    pub(crate) fn add(&mut self, phrase: &str) -> Result<PhraseId, &'static str> {
        if phrase.len() > MAX_PHRASE {
            return Err("is longer than 200 octets");
        }
        let mut parts = Vec::new();
        for part in phrase.split("..") {
            let part = part.trim();
            let words = phrase_words(part);
            if words.is_empty() {
                return Err("has no words");
            }
            let next = self.patterns.len();
            let pattern = *self.by_text.entry(words.clone()).or_insert(next);
            if pattern == next {
                self.patterns.push(words);
            }
            let (open_start, open_end) = (part.starts_with('*'), part.ends_with('*'));
            parts.push(Part { pattern, open_start, open_end });
        }
        self.phrases.push(parts);
        Ok(self.phrases.len() - 1)
    }

    /// Makes the automaton.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn build(self) -> Result<Phrases, String> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&self.patterns)
            .map_err(|error| error.to_string())?;
        let mut ending = vec![Vec::new(); self.patterns.len()];
        for (id, parts) in self.phrases.iter().enumerate() {
            if let Some(last) = parts.last() {
                ending[last.pattern].push(id);
            }
        }
        Ok(Phrases { automaton, phrases: self.phrases, ending })
    }
}

impl Phrases {
    /// Those that are in `words`.
    pub(crate) fn find(&self, words: &str) -> Found {
        let mut found = Found(vec![0; self.phrases.len().div_ceil(64)]);
        let mut hits: Vec<Hit> = Vec::new();
        for found_at in self.automaton.find_overlapping_iter(words).take(MAX_HITS) {
            let (start, end) = (found_at.start(), found_at.end());
            let hit = Hit {
                pattern: found_at.pattern().as_usize(),
                start,
                end,
                begins: is_edge(words, start),
                ends: is_edge(words, end),
            };
            hits.push(hit);
            for &phrase in &self.ending[hit.pattern] {
                if !found.has(phrase) && stands(&self.phrases[phrase], hit, &hits) {
                    found.0[phrase / 64] |= 1 << (phrase % 64);
                }
            }
        }
        found
    }
}

impl Found {
    /// Returns true if the phrase is in the text.
    pub(crate) fn has(&self, phrase: PhraseId) -> bool {
        self.0.get(phrase / 64).is_some_and(|bits| bits & (1 << (phrase % 64)) != 0)
    }
}

/// Returns true if a phrase ends with the last of `hits`: before each part stands the part before
/// it, not too far away.
fn stands(parts: &[Part], last: Hit, hits: &[Hit]) -> bool {
    let Some((part, before)) = parts.split_last() else { return false };
    if !fits(*part, last) {
        return false;
    }
    let mut start = last.start;
    for part in before.iter().rev() {
        // The nearest one leaves most room for the parts before it.
        let mut near = hits.iter().rev().take_while(|hit| hit.end + GAP + MAX_PHRASE >= start);
        let nearest = near.find(|hit| {
            hit.pattern == part.pattern && hit.end <= start && start - hit.end <= GAP && fits(*part, **hit)
        });
        match nearest {
            Some(hit) => start = hit.start,
            None => return false,
        }
    }
    true
}

fn fits(part: Part, hit: Hit) -> bool {
    (part.open_start || hit.begins) && (part.open_end || hit.ends)
}

/// Returns true if a word begins or ends at `at`. Writing without spaces has an edge everywhere.
fn is_edge(words: &str, at: usize) -> bool {
    let (before, after) = words.split_at(at);
    let is_letter = |c: char| c != ' ' && !is_without_spaces(c);
    !(before.chars().next_back().is_some_and(is_letter) && after.chars().next().is_some_and(is_letter))
}

/// Chinese, Japanese and their like.
fn is_without_spaces(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::push_words;

    fn is_in(phrase: &str, text: &str) -> bool {
        let mut builder = PhraseBuilder::default();
        let id = builder.add(phrase).expect("a phrase");
        let mut words = " ".to_owned();
        push_words(&mut words, text);
        builder.build().expect("an automaton").find(&words).has(id)
    }

    #[test]
    fn phrases_match_whole_words() {
        assert!(is_in("mailbox full", "Your Mailbox: FULL."));
        assert!(!is_in("full", "fully") && !is_in("full", "awful"));
        assert!(is_in("block*", "blocked") && is_in("*quota", "overquota") && !is_in("block*", "unblock"));
        assert!(is_in("不存在", "该用户不存在于系统"));
    }

    #[test]
    fn parts_stand_in_order_and_near() {
        assert!(is_in("user .. unknown", "user foo is unknown"));
        assert!(!is_in("user .. unknown", "unknown user"));
        assert!(is_in("a .. b .. c", "a x b y c") && !is_in("a .. b .. c", "a c b"));
        let far = format!("user {} unknown", "x ".repeat(40));
        assert!(!is_in("user .. unknown", &far));
        assert!(is_in("user .. unknown", &format!("{far} user is unknown")));
    }

    #[test]
    fn a_phrase_has_words() {
        for phrase in ["", "*", "a ..", " .. a", "- -"] {
            assert!(PhraseBuilder::default().add(phrase).is_err(), "{phrase}");
        }
        assert!(PhraseBuilder::default().add(&"x".repeat(201)).is_err());
    }
}
