//! What DNS said, and what is still to be asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Questions of one examination at most. SPF asks the most: 40 lookups, each of them for the
/// addresses of ten hosts, is more than anybody publishes.
pub const MAX_QUESTIONS: usize = 300;

/// Records of an answer that are looked at.
const MAX_RECORDS: usize = 50;
/// Octets of a record that are looked at. An RSA key of 8192 bits has 1,500.
const MAX_TEXT: usize = 4096;

/// Types of records that are asked for. The order is that of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// IPv4 addresses, such as `192.0.2.1`.
    A,
    /// IPv6 addresses, such as `2001:db8::1`.
    Aaaa,
    /// Authorities that may issue certificates (RFC 8659): `FLAGS TAG VALUE`, not quoted.
    Caa,
    /// Mail exchangers: `PREFERENCE HOST`.
    Mx,
    /// Names of an address.
    Ptr,
    /// Texts, their strings joined.
    Txt,
}

/// A question to DNS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The type.
    pub kind: RecordKind,
    /// In lower case, without a final dot.
    pub name: String,
}

/// What DNS said. Aliases are followed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Records in the form that [`RecordKind`] says.
    Found(Vec<String>),
    /// There are none.
    Nothing,
    /// SERVFAIL, timeout, or another reason why nobody knows.
    Failed(String),
}

/// Answers by question.
#[derive(Debug, Clone, Default)]
pub struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    /// Notes an answer. Records and octets beyond the bounds are cut.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        let answer = match answer {
            Answer::Found(mut records) => {
                records.truncate(MAX_RECORDS);
                records.iter_mut().for_each(|text| truncate(text, MAX_TEXT));
                if records.is_empty() { Answer::Nothing } else { Answer::Found(records) }
            }
            other => other,
        };
        self.0.insert(question, answer);
    }

    /// Questions that were answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if nothing was answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

/// Why a fact is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It was not asked for yet: this examination is not the last one.
    Missing,
    /// DNS did not say.
    Failed(String),
}

/// Reads answers, and notes those that are missing.
pub(crate) struct Lookups<'a> {
    answers: &'a Answers,
    missing: RefCell<BTreeSet<Question>>,
}

impl<'a> Lookups<'a> {
    pub(crate) fn new(answers: &'a Answers) -> Self {
        Self { answers, missing: RefCell::default() }
    }

    /// The records of a name; empty when there are none.
    pub(crate) fn records(&self, kind: RecordKind, name: &str) -> Result<&'a [String], Gap> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !is_name(&name) {
            return Ok(&[]);
        }
        let question = Question { kind, name };
        match self.answers.0.get(&question) {
            Some(Answer::Found(records)) => Ok(records),
            Some(Answer::Nothing) => Ok(&[]),
            Some(Answer::Failed(detail)) => Err(Gap::Failed(detail.clone())),
            None if self.answers.len() + self.missing.borrow().len() >= MAX_QUESTIONS => {
                Err(Gap::Failed(format!("more than {MAX_QUESTIONS} questions would be needed")))
            }
            None => {
                self.missing.borrow_mut().insert(question);
                Err(Gap::Missing)
            }
        }
    }

    /// The addresses of a name, of both families.
    pub(crate) fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Gap> {
        let (v4, v6) = (self.records(RecordKind::A, name), self.records(RecordKind::Aaaa, name));
        let texts = v4?.iter().chain(v6?);
        Ok(texts.filter_map(|text| text.parse().ok()).collect())
    }

    pub(crate) fn missing(&self) -> Vec<Question> {
        self.missing.borrow().iter().cloned().collect()
    }
}

/// Returns true for what can be asked for (RFC 1035 section 2.3.4).
fn is_name(name: &str) -> bool {
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic());
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_once() {
        let answers = Answers::default();
        let lookups = Lookups::new(&answers);
        assert_eq!(lookups.records(RecordKind::Txt, "Example.com."), Err(Gap::Missing));
        assert_eq!(lookups.records(RecordKind::Txt, "example.com"), Err(Gap::Missing));
        assert_eq!(lookups.records(RecordKind::Txt, "a..b"), Ok(&[][..]), "nobody can publish there");
        let question = Question { kind: RecordKind::Txt, name: "example.com".into() };
        assert_eq!(lookups.missing(), [question]);
    }

    #[test]
    fn hostile_answers_are_cut() {
        let mut answers = Answers::default();
        let question = Question { kind: RecordKind::Txt, name: "a.test".into() };
        answers.insert(question, Answer::Found(vec!["é".repeat(MAX_TEXT); MAX_RECORDS + 1]));
        let lookups = Lookups::new(&answers);
        let found = lookups.records(RecordKind::Txt, "a.test").expect("known");
        assert_eq!((found.len(), found[0].len()), (MAX_RECORDS, MAX_TEXT));
    }
}
