//! A record that lets our mail pass, made of the one that is published.

use super::parse::{Mechanism, Qualifier, Term, TermKind};
use super::survey::Survey;
use super::{MAX_LENGTH, MAX_LOOKUPS, MAX_VOIDS, SpfResult, evaluate};
use crate::facts::Lookups;
use crate::identity::Sources;
use crate::subject::Subject;

/// Room for `all`.
const ALL_LENGTH: usize = " ~all".len();

/// A record to paste.
pub(super) struct MendedRecord {
    pub(super) text: String,
    /// Terms of the published records that are not in it.
    pub(super) left_out: Vec<String>,
}

/// Keeps what works of the published records, in their order, and puts before it what our
/// addresses need. Terms with mistakes go, and those that are beyond the limits.
pub(super) fn mended(
    subject: &Subject,
    sources: &Sources,
    domain: &str,
    found: &[String],
    lookups: &Lookups<'_>,
) -> MendedRecord {
    let (mut words, all) = words(found);
    let is_own = |word: &str| subject.spf_terms.iter().any(|own| own == word);
    let mut kept = Kept::new();
    if !(found.len() == 1 && may_all_send(subject, sources, domain, lookups)) {
        // First, so that nothing that is published refuses them.
        subject.spf_terms.iter().for_each(|term| kept.add_own(term));
        words.retain(|word| !is_own(word));
    }
    let mut left_out = Vec::new();
    for word in words {
        if !kept.add(word, domain, lookups, is_own(word)) {
            left_out.push(word.to_owned());
        }
    }
    let end = if kept.has_redirect { "" } else { all };
    let text = format!("v=spf1 {} {end}", kept.words.join(" ")).replace("  ", " ");
    MendedRecord { text: text.trim_end().to_owned(), left_out }
}

/// The terms before `all`, each once, and the `all` that is to end the record.
fn words(found: &[String]) -> (Vec<&str>, &'static str) {
    let mut words: Vec<&str> = Vec::new();
    let mut all = "~all";
    for text in found {
        for word in text.split(' ').skip(1).filter(|word| !word.is_empty()) {
            if let Ok(Term { kind: TermKind::Directive(qualifier, Mechanism::All), .. }) = Term::parse(word) {
                if qualifier == Qualifier::Fail {
                    all = "-all";
                }
                break;
            }
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    (words, all)
}

/// Returns true if the record lets every source send already. What is unknown does not.
fn may_all_send(subject: &Subject, sources: &Sources, domain: &str, lookups: &Lookups<'_>) -> bool {
    let sender = format!("postmaster@{}", subject.domain);
    let Sources::Known(list) = sources else { return true };
    // Every source is asked about: questions that are missing go out together.
    let results: Vec<_> =
        list.iter().map(|source| evaluate(lookups, source.address, domain, &sender, &source.ehlo)).collect();
    results.iter().all(|result| *result == Ok(SpfResult::Pass))
}

struct Kept {
    words: Vec<String>,
    length: usize,
    lookups: usize,
    voids: usize,
    has_redirect: bool,
}

impl Kept {
    fn new() -> Self {
        Self { words: Vec::new(), length: "v=spf1".len(), lookups: 0, voids: 0, has_redirect: false }
    }

    fn push(&mut self, word: &str) {
        self.length += word.len() + 1;
        self.words.push(word.to_owned());
    }

    fn add_own(&mut self, word: &str) {
        self.lookups += usize::from(!word.starts_with("ip"));
        self.push(word);
    }

    /// Adds a published term if it fits; returns false if it does not.
    fn add(&mut self, word: &str, domain: &str, lookups: &Lookups<'_>, is_own: bool) -> bool {
        let Ok(term) = Term::parse(word) else { return false };
        if self.length + word.len() + 1 + ALL_LENGTH > MAX_LENGTH && !is_own {
            return false;
        }
        // What DNS does not say stays.
        let cost = Survey::of_term(&term.kind, word, domain, lookups).unwrap_or_default();
        let is_over = self.lookups + cost.lookups > MAX_LOOKUPS || self.voids + cost.voids.len() > MAX_VOIDS;
        if !is_own && (!cost.problems.is_empty() || is_over) {
            return false;
        }
        let is_redirect = matches!(term.kind, TermKind::Redirect(_));
        if is_redirect && self.has_redirect {
            return false;
        }
        self.has_redirect |= is_redirect;
        self.lookups += cost.lookups;
        self.voids += cost.voids.len();
        self.push(word);
        true
    }
}
