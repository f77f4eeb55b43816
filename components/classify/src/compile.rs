//! From the file to rules that can be asked, with the mistakes in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use relevo_mailkit::classification::{Classification, Explanation, ReceiverReply};

use crate::conditions::{CodeRange, StatusPattern};
use crate::facts::MAX_TEXT;
use crate::file::{CategoryEntry, RuleEntry, RulesFile};
use crate::phrases::{PhraseBuilder, PhraseId};
use crate::rules::{DEFAULT_RULES, Provider, Rule, Rules};

/// Octets of a file.
const MAX_FILE: usize = 1 << 20;
/// Rules and phrases.
const MAX_RULES: usize = 5_000;
const MAX_PHRASES: usize = 20_000;
/// Characters of an explanation, and of a version.
const MAX_EXPLANATION: usize = 500;
const MAX_VERSION: usize = 64;

/// What is wrong with a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError {
    /// The line, from 1; None where it cannot be told.
    pub line: Option<u32>,
    /// The rule or category that it is about.
    pub rule: Option<String>,
    /// The mistake.
    pub message: String,
}

impl std::fmt::Display for RulesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for RulesError {}

fn mistake(message: impl Into<String>) -> RulesError {
    RulesError { line: None, rule: None, message: message.into() }
}

/// Reads and compiles a file.
pub(crate) fn compile(text: &str) -> Result<Rules, RulesError> {
    let mut file = read(text)?;
    let default = if file.include_default { Some(read(DEFAULT_RULES)?) } else { None };
    let own: BTreeSet<String> = file.rule.iter().map(|rule| rule.name.get_ref().clone()).collect();
    let mut compiler = Compiler { text, ..Compiler::default() };
    compiler.add_names(&mut file);
    let mut default = default;
    if let Some(default) = &mut default {
        compiler.add_names(default);
    }
    compiler.add_rules(&file)?;
    if let Some(mut default) = default {
        compiler.text = DEFAULT_RULES;
        default.rule.retain(|rule| !own.contains(rule.name.get_ref()));
        compiler.add_rules(&default)?;
    }
    compiler.finish(file.version.get_ref())
}

fn read(text: &str) -> Result<RulesFile, RulesError> {
    if text.len() > MAX_FILE {
        return Err(mistake("the file is larger than 1 MiB"));
    }
    let file: RulesFile = toml::from_str(text).map_err(|error| RulesError {
        line: error.span().map(|span| line(text, span.start)),
        rule: None,
        message: error.message().to_owned(),
    })?;
    let version = file.version.get_ref();
    if version.is_empty() || version.chars().count() > MAX_VERSION {
        let line = Some(line(text, file.version.span().start));
        return Err(RulesError { line, ..mistake("the version is empty or longer than 64 characters") });
    }
    Ok(file)
}

fn line(text: &str, at: usize) -> u32 {
    let before = &text.as_bytes()[..at.min(text.len())];
    let breaks = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

/// Rules under construction.
#[derive(Default)]
struct Compiler<'a> {
    /// The file that is read.
    text: &'a str,
    providers: BTreeMap<String, Vec<String>>,
    categories: BTreeMap<String, CategoryEntry>,
    names: BTreeSet<String>,
    phrases: PhraseBuilder,
    count: usize,
    rules: Vec<Rule>,
    guard: Option<Arc<Classification>>,
    /// The rule that always holds: nothing may follow it.
    last: Option<String>,
}

impl Compiler<'_> {
    /// Takes providers and categories over; those that are there already stay.
    fn add_names(&mut self, file: &mut RulesFile) {
        for (name, suffixes) in std::mem::take(&mut file.provider) {
            self.providers.entry(name).or_insert(suffixes);
        }
        for (name, entry) in std::mem::take(&mut file.category) {
            self.categories.entry(name).or_insert(entry);
        }
    }

    fn add_rules(&mut self, file: &RulesFile) -> Result<(), RulesError> {
        for entry in &file.rule {
            self.add(entry).map_err(|message| RulesError {
                line: Some(line(self.text, entry.name.span().start)),
                rule: Some(entry.name.get_ref().clone()),
                message,
            })?;
        }
        Ok(())
    }

    fn add(&mut self, entry: &RuleEntry) -> Result<(), String> {
        let name = entry.name.get_ref();
        if !is_name(name) {
            return Err("a name has 1 to 64 lower case letters, digits and hyphens".to_owned());
        }
        if !self.names.insert(name.clone()) {
            return Err("there is another rule of this name".to_owned());
        }
        if self.names.len() > MAX_RULES {
            return Err("there are more than 5000 rules".to_owned());
        }
        let answer = Arc::new(self.answer(entry)?);
        let rule = Rule {
            providers: entry.provider.iter().map(|name| self.provider(name)).collect::<Result<_, _>>()?,
            codes: parsed(&entry.code, CodeRange::parse, "a code such as 550 or 5xx")?,
            statuses: parsed(
                &entry.enhanced,
                StatusPattern::parse,
                "an enhanced code such as 5.1.1 or x.1.x",
            )?,
            commands: parsed(&entry.command, command, "a command such as RCPT")?,
            any: self.phrases(&entry.any)?,
            all: self.phrases(&entry.all)?,
            none: self.phrases(&entry.none)?,
            names_ip: entry.names_ip,
            answer: answer.clone(),
            cases: entry.cases.iter().map(|case| self.case(case, entry)).collect::<Result<_, _>>()?,
        };
        if entry.guard {
            return self.add_guard(answer, &rule);
        }
        if entry.cases.is_empty() {
            return Err("has no case: a reply that it decides".to_owned());
        }
        if let Some(last) = &self.last {
            return Err(format!("is never asked: {last} before it has no conditions"));
        }
        if rule.is_unconditional() {
            self.last = Some(name.clone());
        }
        self.rules.push(rule);
        Ok(())
    }

    fn add_guard(&mut self, answer: Arc<Classification>, rule: &Rule) -> Result<(), String> {
        if !rule.is_unconditional() || !rule.cases.is_empty() {
            return Err("a guard has neither conditions nor cases".to_owned());
        }
        // An operator's own comes first.
        self.guard.get_or_insert(answer);
        Ok(())
    }

    fn answer(&self, entry: &RuleEntry) -> Result<Classification, String> {
        let category = self
            .categories
            .get(&entry.category)
            .ok_or_else(|| format!("there is no category {}", entry.category))?;
        let text = |own: &Option<String>, general: &String| own.as_ref().unwrap_or(general).clone();
        let explanation =
            Explanation { en: text(&entry.en, &category.en), es: text(&entry.es, &category.es) };
        let is_text = |text: &str| !text.is_empty() && text.chars().count() <= MAX_EXPLANATION;
        if !is_text(&explanation.en) || !is_text(&explanation.es) {
            return Err("an explanation is empty or longer than 500 characters".to_owned());
        }
        let doc = entry.doc.as_ref().or(category.doc.as_ref()).cloned();
        if doc.as_ref().is_some_and(|doc| !doc.starts_with("https://") || doc.len() > 300) {
            return Err("doc is not an https address of at most 300 octets".to_owned());
        }
        Ok(Classification {
            bounce_type: entry.bounce_type.unwrap_or(category.bounce_type),
            category: entry.category.clone(),
            about: entry.about.unwrap_or(category.about),
            action: entry.action.unwrap_or(category.action),
            rule: entry.name.get_ref().clone(),
            rules_version: String::new(),
            explanation,
            doc,
        })
    }

    fn provider(&self, name: &str) -> Result<Provider, String> {
        let suffixes = self.providers.get(name).ok_or_else(|| format!("there is no provider {name}"))?;
        Ok(Provider { name: name.to_owned(), suffixes: suffixes.clone() })
    }

    fn phrases(&mut self, phrases: &[String]) -> Result<Vec<PhraseId>, String> {
        self.count += phrases.len();
        if self.count > MAX_PHRASES {
            return Err("there are more than 20000 phrases".to_owned());
        }
        let mut add =
            |phrase: &String| self.phrases.add(phrase).map_err(|why| format!("the phrase {phrase:?} {why}"));
        phrases.iter().map(&mut add).collect()
    }

    fn case(&self, text: &str, entry: &RuleEntry) -> Result<ReceiverReply, String> {
        if text.len() > MAX_TEXT {
            return Err("a case is longer than 4 KiB".to_owned());
        }
        let first = entry.provider.first().cloned();
        let host = entry.case_host.clone().or(first);
        Ok(ReceiverReply { host, text: text.to_owned(), ..ReceiverReply::default() })
    }

    fn finish(self, version: &str) -> Result<Rules, RulesError> {
        if self.rules.is_empty() {
            return Err(mistake("there are no rules"));
        }
        let phrases = self.phrases.build().map_err(mistake)?;
        Ok(Rules::new(version, self.rules, self.guard, phrases))
    }
}

fn parsed<T>(texts: &[String], parse: impl Fn(&str) -> Option<T>, what: &str) -> Result<Vec<T>, String> {
    texts.iter().map(|text| parse(text).ok_or_else(|| format!("{text:?} is not {what}"))).collect()
}

fn is_name(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(is_part)
}

fn command(name: &str) -> Option<&'static str> {
    ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "DOT"]
        .into_iter()
        .find(|known| *known == name)
}
