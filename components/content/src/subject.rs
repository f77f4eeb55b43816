//! The subject.

use relevo_mailkit::model::Severity;

use crate::inspector::{Findings, placeholders};

/// Characters that most programs show.
const SHOWN: usize = 70;
/// Letters from which capitals alone are shouting: `IBM` is none.
const SHOUTING: usize = 10;
/// The beginnings of answers and forwarded mail, in several languages.
const ANSWER_PREFIXES: [&str; 7] = ["re:", "fwd:", "fw:", "aw:", "rv:", "tr:", "wg:"];

/// Checks a subject. `is_answer`: the message names another one that it answers.
pub(crate) fn check(subject: &str, is_answer: bool, findings: &mut Findings) {
    let mut add = |severity, message: &str| findings.add("subject", severity, message, "subject".to_owned());
    let text = subject.trim();
    if text.is_empty() {
        return add(Severity::Error, "There is no subject, which readers and filters distrust. Write one.");
    }
    if text.chars().count() > SHOWN {
        let message =
            "The subject has more than 70 characters, and most programs cut it. Begin with what matters.";
        add(Severity::Info, message);
    }
    if is_shouted(text) {
        add(Severity::Warning, "The subject is in capitals, as that of spam often is. Use small letters.");
    }
    if has_many_marks(text) {
        let message =
            "The subject has many marks such as !!! or $$$, as that of spam often has. Remove them.";
        add(Severity::Warning, message);
    }
    let lower = text.to_lowercase();
    if !is_answer && ANSWER_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        let message =
            "The subject begins as that of an answer, but the message answers none. Remove the beginning.";
        add(Severity::Warning, message);
    }
    placeholders(text, "subject", findings);
}

fn is_shouted(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let capitals = text.chars().filter(|c| c.is_uppercase()).count();
    letters >= SHOUTING && capitals * 10 >= letters * 8
}

/// Three marks in a row, or three exclamation marks anywhere.
fn has_many_marks(text: &str) -> bool {
    let mut row = 0;
    text.matches('!').count() >= 3
        || text.chars().any(|c| {
            row = if matches!(c, '!' | '?' | '$' | '\u{20ac}' | '\u{a3}') { row + 1 } else { 0 };
            row == 3
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_as_characters() {
        for subject in ["Win $$$ now", "\u{20ac}\u{20ac}\u{20ac} for you", "A! B! C!", "What?!?"] {
            assert!(has_many_marks(subject), "{subject}");
        }
        for subject in ["Ready? Go! 5 $", "\u{238e3}", "Caf\u{e9} !!"] {
            assert!(!has_many_marks(subject), "{subject}");
        }
    }

    #[test]
    fn capitals_of_a_name_are_no_shouting() {
        assert!(is_shouted("BUY IT NOW, Ana") && !is_shouted("IBM and NASA meet") && !is_shouted("NEWS"));
    }
}
