//! Reads tables and remembers every mistake with its line and key, instead of stopping at the first.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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

/// Where a value stands, for mistakes that are found after reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) key: String,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A file that is being read.
pub(crate) struct Reader<'t> {
    file: PathBuf,
    text: &'t str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &Path, text: &'t str) -> Self {
        Self { file: file.to_owned(), text, mistakes: RefCell::default() }
    }

    /// The root table. Syntax errors are mistakes; what could be read is returned all the same.
    pub(crate) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map_or(0, |span| self.line(span.start));
            self.mistake(Place { line, key: String::new() }, error.message());
        }
        table
    }

    pub(crate) fn root<'r>(&'r self, table: &'r Spanned<DeTable<'t>>) -> Section<'r, 't> {
        Section {
            reader: self,
            table: table.get_ref(),
            path: String::new(),
            line: 1,
            known: RefCell::default(),
        }
    }

    pub(crate) fn mistake(&self, place: Place, message: impl Into<String>) {
        let Place { line, key } = place;
        self.mistakes.borrow_mut().push(Mistake {
            file: self.file.clone(),
            line,
            key,
            message: message.into(),
        });
    }

    pub(crate) fn has_mistakes(&self) -> bool {
        !self.mistakes.borrow().is_empty()
    }

    /// Sorted by line.
    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        mistakes
    }

    /// A relative path is relative to the file.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
    }
}

/// A table that is being read: every key that is asked for is known, the others are mistakes.
pub(crate) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    table: &'r DeTable<'t>,
    path: String,
    line: usize,
    known: RefCell<Vec<&'static str>>,
}

impl<'r, 't> Section<'r, 't> {
    /// Where the table begins.
    pub(crate) fn place(&self) -> Place {
        Place { line: self.line, key: self.path.clone() }
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there, with a list of nothing.
    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Array(a) if a.is_empty()))
    }

    /// The place of a key in this table, whether it is there or not.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        let line = self.table.get_key_value(key).map_or(self.line, |(k, _)| self.reader.line(k.span().start));
        Place { line, key: self.join(key) }
    }

    /// The value of `key` as `parse` reads it; None when it is absent or wrong (which is a mistake then).
    pub(crate) fn get<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.lookup(key)?;
        let place = self.place_of(key);
        match parse(value.get_ref()) {
            Ok(value) => Some(At { value, place }),
            Err(message) => {
                self.reader.mistake(place, message);
                None
            }
        }
    }

    /// As [`Self::get`], with a default for an absent one.
    pub(crate) fn get_or<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> T {
        self.get(key, parse).map_or(default, |at| at.value)
    }

    /// As [`Self::get`], but an absent one is a mistake.
    pub(crate) fn need<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<At<T>> {
        if !self.table.contains_key(key) {
            self.known.borrow_mut().push(key);
            self.reader.mistake(self.place_of(key), "is required");
            return None;
        }
        self.get(key, parse)
    }

    /// A list; absent is an empty one. Entries that are wrong are mistakes.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Vec<At<T>> {
        let Some(value) = self.lookup(key) else { return Vec::new() };
        let DeValue::Array(entries) = value.get_ref() else {
            self.reader.mistake(self.place_of(key), "must be a list, such as [\"...\"]");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let place =
                Place { line: self.reader.line(entry.span().start), key: format!("{}[{i}]", self.join(key)) };
            match parse(entry.get_ref()) {
                Ok(value) => out.push(At { value, place }),
                Err(message) => self.reader.mistake(place, message),
            }
        }
        out
    }

    /// A table; absent is None.
    pub(crate) fn section(&self, key: &'static str) -> Option<Section<'r, 't>> {
        let value = self.lookup(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.reader.mistake(self.place_of(key), "must be a table");
            return None;
        };
        Some(self.child(self.join(key), value, table))
    }

    /// A list of tables; absent is empty.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Section<'r, 't>> {
        let Some(value) = self.lookup(key) else { return Vec::new() };
        let DeValue::Array(entries) = value.get_ref() else {
            self.reader.mistake(self.place_of(key), format!("must be a list of tables, such as [[{key}]]"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let path = format!("{}[{i}]", self.join(key));
            match entry.get_ref() {
                DeValue::Table(table) => out.push(self.child(path, entry, table)),
                _ => {
                    let line = self.reader.line(entry.span().start);
                    self.reader.mistake(Place { line, key: path }, "must be a table");
                }
            }
        }
        out
    }

    /// A table with keys of somebody else's, in the order of the file: each with its values as text, a list as one entry for
    /// each element.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<At<(String, String)>> {
        let Some(value) = self.lookup(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.reader.mistake(self.place_of(key), "must be a table");
            return Vec::new();
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut out = Vec::new();
        for (name, value) in entries {
            let name_text = name.get_ref().as_ref();
            let line = self.reader.line(name.span().start);
            let place = Place { line, key: format!("{}.{name_text}", self.join(key)) };
            let elements = match value.get_ref() {
                DeValue::Array(elements) => elements.iter().map(|e| e.get_ref()).collect(),
                single => vec![single],
            };
            for element in elements {
                match text_of(element) {
                    Some(text) => {
                        out.push(At { value: (name_text.to_owned(), text), place: place.clone() });
                    }
                    None => self.reader.mistake(
                        place.clone(),
                        "must be a string, a number, true or false, or a list of these",
                    ),
                }
            }
        }
        out
    }

    pub(crate) fn mistake(&self, key: &str, message: impl Into<String>) {
        self.reader.mistake(self.place_of(key), message);
    }

    /// Names every key that nobody asked for. Call it last.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let hint = nearest(name, &known).map_or_else(String::new, |k| format!(", did you mean `{k}`?"));
            let place = Place { line: self.reader.line(key.span().start), key: self.join(name) };
            self.reader.mistake(place, format!("unknown key{hint}"));
        }
    }

    fn lookup(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    fn child(&self, path: String, value: &Spanned<DeValue<'t>>, table: &'r DeTable<'t>) -> Section<'r, 't> {
        let line = self.reader.line(value.span().start);
        Section { reader: self.reader, table, path, line, known: RefCell::default() }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(s) => Some(s.as_ref().to_owned()),
        DeValue::Boolean(b) => Some(b.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i.to_string()),
        DeValue::Float(f) => f.as_str().parse::<f64>().ok().map(|f| f.to_string()),
        _ => None,
    }
}

/// The known key that a misspelt one was probably meant to be: at most two edits away.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    known.iter().map(|k| (distance(name, k), *k)).filter(|(d, _)| *d <= 2).min().map(|(_, k)| k)
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
