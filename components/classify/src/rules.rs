//! The rules in their order, and the answer of the first that holds.

use std::fmt;
use std::sync::Arc;

use relevo_mailkit::classification::{
    Action, BounceType, Classification, Explanation, ReceiverReply, Subject,
};

use crate::compile::{RulesError, compile};
use crate::conditions::{CodeRange, StatusPattern, is_host_of};
use crate::facts::Facts;
use crate::phrases::{Found, PhraseId, Phrases};

/// The rules that this version comes with.
pub const DEFAULT_RULES: &str = include_str!("rules.toml");

/// Rules that can be asked.
pub struct Rules {
    version: String,
    rules: Vec<Rule>,
    guard: Arc<Classification>,
    undetermined: Classification,
    phrases: Phrases,
}

/// Who is meant by a provider's name.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) suffixes: Vec<String>,
}

/// A rule. An empty list is no condition.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) providers: Vec<Provider>,
    pub(crate) codes: Vec<CodeRange>,
    pub(crate) statuses: Vec<StatusPattern>,
    pub(crate) commands: Vec<&'static str>,
    pub(crate) any: Vec<PhraseId>,
    pub(crate) all: Vec<PhraseId>,
    pub(crate) none: Vec<PhraseId>,
    pub(crate) names_ip: Option<bool>,
    pub(crate) answer: Arc<Classification>,
    pub(crate) cases: Vec<ReceiverReply>,
}

/// A case that another rule decides than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseError {
    /// The rule that it belongs to.
    pub rule: String,
    /// The rule that decides it.
    pub decided_by: String,
    /// The reply.
    pub case: String,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: its case {:?} is decided by {}", self.rule, self.case, self.decided_by)
    }
}

impl std::error::Error for CaseError {}

impl Rules {
    /// The rules of a file.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        compile(text)
    }

    pub(crate) fn new(
        version: &str,
        mut rules: Vec<Rule>,
        guard: Option<Arc<Classification>>,
        phrases: Phrases,
    ) -> Self {
        let undetermined = undetermined(version);
        let versioned = |answer: &Classification| {
            Arc::new(Classification { rules_version: version.to_owned(), ..answer.clone() })
        };
        for rule in &mut rules {
            rule.answer = versioned(&rule.answer);
        }
        let guard = guard.map_or_else(|| Arc::new(undetermined.clone()), |guard| versioned(&guard));
        Self { version: version.to_owned(), rules, guard, undetermined, phrases }
    }

    /// The version that the file gives itself.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a reply means. The same reply always means the same.
    #[must_use]
    pub fn classify(&self, reply: &ReceiverReply) -> Classification {
        let facts = Facts::new(reply);
        let found = self.phrases.find(&facts.words);
        let Some(rule) = self.rules.iter().find(|rule| rule.holds(&facts, &found)) else {
            return self.undetermined.clone();
        };
        if rule.answer.action == Action::Suppress && facts.names_us {
            return Classification::clone(&self.guard);
        }
        Classification::clone(&rule.answer)
    }

    /// The cases that another rule decides than their own; none in a good file.
    #[must_use]
    pub fn wrong_cases(&self) -> Vec<CaseError> {
        let cases = self.rules.iter().flat_map(|rule| rule.cases.iter().map(move |case| (rule, case)));
        let wrong = cases.filter_map(|(rule, case)| {
            let decided_by = self.classify(case).rule;
            let rule = &rule.answer.rule;
            (decided_by != *rule).then(|| CaseError {
                rule: rule.clone(),
                decided_by,
                case: case.text.clone(),
            })
        });
        wrong.collect()
    }

    /// Each rule's answer, in their order, and its cases.
    pub fn answers(&self) -> impl Iterator<Item = (&Classification, &[ReceiverReply])> {
        self.rules.iter().map(|rule| (&*rule.answer, &rule.cases[..]))
    }
}

impl Rule {
    /// Returns true if it has no conditions.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.providers.is_empty()
            && self.codes.is_empty()
            && self.statuses.is_empty()
            && self.commands.is_empty()
            && self.any.is_empty()
            && self.all.is_empty()
            && self.none.is_empty()
            && self.names_ip.is_none()
    }

    fn holds(&self, facts: &Facts, found: &Found) -> bool {
        let has = |phrase: &PhraseId| found.has(*phrase);
        (self.any.is_empty() || self.any.iter().any(has))
            && self.all.iter().all(has)
            && !self.none.iter().any(has)
            && one_of(&self.codes, facts.code, |range, code| range.contains(code))
            && one_of(&self.statuses, facts.status, |pattern, status| pattern.matches(status))
            && one_of(&self.commands, facts.command, |known, command| *known == command)
            && one_of(&self.providers, facts.host.as_deref(), |provider, host| {
                is_host_of(host, &provider.name, &provider.suffixes)
            })
            && self.names_ip.is_none_or(|names_ip| names_ip == facts.names_ip)
    }
}

/// Returns true if there are no alternatives, or one of them holds for what is known.
fn one_of<A, T: Copy>(alternatives: &[A], known: Option<T>, holds: impl Fn(&A, T) -> bool) -> bool {
    alternatives.is_empty() || known.is_some_and(|known| alternatives.iter().any(|one| holds(one, known)))
}

/// The answer when no rule holds.
fn undetermined(version: &str) -> Classification {
    Classification {
        bounce_type: BounceType::Undetermined,
        category: "undetermined".to_owned(),
        about: Subject::RemoteSystem,
        action: Action::Retry,
        rule: "none".to_owned(),
        rules_version: version.to_owned(),
        explanation: Explanation {
            en: "The reply does not say why.".to_owned(),
            es: "La respuesta no dice por qué.".to_owned(),
        },
        doc: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_decided_by_its_own_rule() {
        let rules = Rules::parse(DEFAULT_RULES).unwrap_or_else(|error| unreachable!("{error}"));
        let wrong: Vec<String> = rules.wrong_cases().iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
