//! A TOML file that is read into structs, with every mistake instead of the first one.
//!
//! serde stops at its first error. [`Document::read`] notes the error, removes the value that
//! caused it from a copy of the document, and tries again. Spans point into the file, so lines and
//! keys stay those of the file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use relevo_keys::KeyError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::values::{Format, Key, Located};

/// Mistakes in the shape of a file that are reported at most; each one costs another reading.
const MAX_MISTAKES: usize = 100;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mistake {
    /// The file, as it was named.
    pub(crate) file: PathBuf,
    /// From 1; 0 when it is about the file as a whole.
    pub(crate) line: usize,
    /// Dotted, such as `tenant[0].domain[1].name`; empty when it is about the file as a whole.
    pub(crate) key: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Octets of the file that a value or the header of a table takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileSpan {
    start: usize,
    end: usize,
}

impl From<Range<usize>> for FileSpan {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

impl FileSpan {
    /// Order in the file.
    pub(crate) fn start(self) -> usize {
        self.start
    }
}

/// A file with what was found wrong with it.
pub(crate) struct Document<'t> {
    file: PathBuf,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// How many of `mistakes` are about syntax, unknown keys and single values.
    of_reading: usize,
}

impl<'t> Document<'t> {
    /// Parses `text`. Errors of syntax are mistakes.
    pub(crate) fn parse(file: &Path, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let (mistakes, warnings) = (Vec::new(), Vec::new());
        let mut document = Self { file: file.to_owned(), text, root, mistakes, warnings, of_reading: 0 };
        for error in errors {
            let line = error.span().map_or(0, |span| document.line(span.start));
            document.note(line, String::new(), error.message().to_owned());
        }
        document
    }

    /// Reads all of it. None when the file is not TOML, or nothing of it can be read.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        // What a broken line hides would be said to be missing.
        if !self.mistakes.is_empty() {
            return None;
        }
        let mut rest = self.root.clone();
        let read = loop {
            let error = match T::deserialize(Deserializer::from(rest.clone())) {
                Ok(read) => break Some(read),
                Err(error) => error,
            };
            let span = error.span().map(FileSpan::from).unwrap_or_default();
            self.mistake(span, in_plain_words(error.message()));
            if self.mistakes.len() >= MAX_MISTAKES || !remove_from_table(rest.get_mut(), span) {
                break None;
            }
        };
        self.of_reading = self.mistakes.len();
        read
    }

    /// The text of a key of the root table, whatever else is wrong.
    pub(crate) fn string(&self, key: &str) -> Option<&str> {
        match self.root.get_ref().get(key)?.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The root table.
    pub(crate) fn span(&self) -> FileSpan {
        self.root.span().into()
    }

    /// Notes a mistake about a value, a key or a table.
    pub(crate) fn mistake(&mut self, at: FileSpan, message: impl Into<String>) {
        self.note(self.line(at.start), self.key_of(at), message.into());
    }

    /// Notes a mistake about a key of a table, whether the key is there or not.
    pub(crate) fn mistake_in(&mut self, table: FileSpan, key: &str, message: impl Into<String>) {
        let path = join(&self.key_of(table), key);
        let line = find_key(self.root.get_ref(), "", &path).unwrap_or(table.start);
        self.note(self.line(line), path, message.into());
    }

    /// A key that must be there.
    pub(crate) fn need<'k, F: Format>(
        &mut self,
        table: FileSpan,
        key: &'k Key<F>,
        name: &str,
    ) -> Option<&'k Located<F>> {
        if key.at().is_none() {
            self.mistake_in(table, name, "is required");
        }
        key.at()
    }

    /// Notes a mistake about a value that does not fit. An absent one has a default, which fits.
    pub(crate) fn check<F: Format>(
        &mut self,
        key: &Key<F>,
        fits: impl Fn(&F::Value) -> bool,
        message: impl Into<String>,
    ) {
        if let Some(at) = key.at().filter(|at| !fits(&at.value)) {
            self.mistake(at.span, message);
        }
    }

    /// What was read from a file that the configuration names, with the warning about its
    /// permissions.
    pub(crate) fn loaded<T>(
        &mut self,
        at: FileSpan,
        loaded: Result<(T, Option<String>), KeyError>,
    ) -> Option<T> {
        match loaded {
            Ok((value, warning)) => {
                warning.into_iter().for_each(|warning| self.warn(at, warning));
                Some(value)
            }
            Err(error) => {
                self.mistake(at, error.to_string());
                None
            }
        }
    }

    /// Notes a mistake in another file, which the configuration names; line 0: about all of it.
    pub(crate) fn mistake_in_file(
        &mut self,
        file: &Path,
        line: usize,
        key: &str,
        message: impl Into<String>,
    ) {
        let (file, key) = (file.to_owned(), key.to_owned());
        self.mistakes.push(Mistake { file, line, key, message: message.into() });
    }

    /// Notes something that is suspicious, but not wrong.
    pub(crate) fn warn(&mut self, at: FileSpan, message: impl Into<String>) {
        let (line, key) = (self.line(at.start), self.key_of(at));
        self.warnings.push(Mistake { file: self.file.clone(), line, key, message: message.into() });
    }

    /// The path of a file that the configuration names: a relative one is relative to the
    /// configuration.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Adds what was found in a file that this one names.
    pub(crate) fn include(&mut self, other: Document<'_>) {
        self.mistakes.extend(other.mistakes);
        self.warnings.extend(other.warnings);
    }

    /// Mistakes by file and line, and warnings.
    pub(crate) fn into_findings(mut self) -> (Vec<Mistake>, Vec<Mistake>) {
        let own = self.file.clone();
        let place = |mistake: &Mistake| (mistake.file != own, mistake.line);
        self.mistakes.sort_by(|a, b| (place(a), &a.key).cmp(&(place(b), &b.key)));
        (self.mistakes, self.warnings)
    }

    /// Leaves out what follows from a value that could not be read, such as that it is missing.
    fn note(&mut self, line: usize, key: String, message: String) {
        let follows = self.mistakes[..self.of_reading].iter().any(|known| {
            let inner = known.key.strip_prefix(key.as_str());
            inner.is_some_and(|inner| inner.is_empty() || inner.starts_with(['.', '[']))
        });
        if !follows || key.is_empty() {
            self.mistakes.push(Mistake { file: self.file.clone(), line, key, message });
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
    }

    fn key_of(&self, span: FileSpan) -> String {
        path_in_table(self.root.get_ref(), "", span).unwrap_or_default()
    }
}

/// The dotted key of what has this span. The first table of a list has the span of the list: the
/// innermost one counts.
fn path_in_table(table: &DeTable<'_>, path: &str, span: FileSpan) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let own = join(path, key.get_ref());
        let found = path_in_value(value, &own, span);
        found.or_else(|| (FileSpan::from(key.span()) == span).then_some(own))
    })
}

fn path_in_value(value: &Spanned<DeValue<'_>>, path: &str, span: FileSpan) -> Option<String> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => path_in_table(table, path, span),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(i, entry)| path_in_value(entry, &format!("{path}[{i}]"), span)),
        _ => None,
    };
    inner.or_else(|| (FileSpan::from(value.span()) == span).then(|| path.to_owned()))
}

/// Where the key with this dotted path stands.
fn find_key(table: &DeTable<'_>, path: &str, wanted: &str) -> Option<usize> {
    table.iter().find_map(|(key, value)| {
        let own = join(path, key.get_ref());
        if own == wanted {
            return Some(key.span().start);
        }
        match value.get_ref() {
            DeValue::Table(inner) => find_key(inner, &own, wanted),
            DeValue::Array(array) => array.iter().enumerate().find_map(|(i, entry)| match entry.get_ref() {
                DeValue::Table(inner) => find_key(inner, &format!("{own}[{i}]"), wanted),
                _ => None,
            }),
            _ => None,
        }
    })
}

/// Removes the innermost value or key with this span.
fn remove_from_table(table: &mut DeTable<'_>, span: FileSpan) -> bool {
    if table.iter_mut().any(|(_, value)| remove_from_value(value, span)) {
        return true;
    }
    let is_it = |range: Range<usize>| FileSpan::from(range) == span;
    let found = table.iter().find(|(key, value)| is_it(key.span()) || is_it(value.span()));
    let Some(key) = found.map(|(key, _)| key.clone()) else { return false };
    table.remove(&key).is_some()
}

fn remove_from_value(value: &mut Spanned<DeValue<'_>>, span: FileSpan) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove_from_table(table, span),
        DeValue::Array(array) => {
            if array.iter_mut().any(|entry| remove_from_value(entry, span)) {
                return true;
            }
            let before = array.len();
            let entries = std::mem::replace(array, DeArray::new()).into_iter();
            *array = entries.filter(|entry| FileSpan::from(entry.span()) != span).collect();
            array.len() < before
        }
        _ => false,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// serde's words for an unknown key and for a value of another type; others are [`super::formats`]'
/// own.
fn in_plain_words(message: &str) -> String {
    if message.starts_with("unknown field") {
        // "unknown field `a`, expected one of `b`, `c`"
        let mut names = message.split('`').skip(1).step_by(2);
        let name = names.next().unwrap_or_default();
        let near = names.map(|known| (distance(name, known), known)).filter(|(d, _)| *d <= 2).min();
        return near.map_or_else(
            || "unknown key".to_owned(),
            |(_, known)| format!("unknown key, did you mean `{known}`?"),
        );
    }
    match message.split_once(", expected ").map(|(_, expected)| expected) {
        Some(what) if what.starts_with("a sequence") => "must be a list, such as [\"...\"]".to_owned(),
        Some(what) if what.starts_with("struct") || what.starts_with("a map") => "must be a table".to_owned(),
        // An integer of more than 64 bits.
        Some("any value") => "is too large".to_owned(),
        _ => message.to_owned(),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
