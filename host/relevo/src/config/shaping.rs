//! Reads `[shaping]` and the file of rules that it names.

use std::sync::Arc;

use relevo_relay::delivery::shaping::{RulesFile, ShapingRules};

use super::document::Document;
use super::schema::File;
use super::values::{Format, Raw};

/// Octets of a file of rules.
const MAX_RULES: u64 = 1 << 20;

pub(crate) fn rules(d: &mut Document<'_>, file: &File) -> Arc<ShapingRules> {
    let Some(at) = file.shaping.rules.at() else { return Arc::default() };
    let path = d.path(&at.value);
    let text = match std::fs::metadata(&path).map(|metadata| metadata.len()) {
        Ok(size) if size > MAX_RULES => Err("is larger than 1 MiB".to_owned()),
        _ => std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}")),
    };
    let text = match text {
        Ok(text) => text,
        Err(message) => {
            d.mistake(at.span, format!("{} {message}", path.display()));
            return Arc::default();
        }
    };
    let mut document = Document::parse(&path, &text);
    let rules = document.read::<RulesFile>().map(ShapingRules::with);
    let rules = match rules {
        Some(Ok(rules)) => Arc::new(rules),
        Some(Err(mistakes)) => {
            for mistake in mistakes {
                document.mistake(mistake.span.into(), mistake.message);
            }
            Arc::default()
        }
        None => Arc::default(),
    };
    d.include(document);
    rules
}

/// Whether the addresses of a pool are warmed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WarmupMode {
    Off,
    Auto,
}

impl Format for WarmupMode {
    type Value = Self;

    fn read(raw: Raw) -> Result<Self, String> {
        super::formats::one_of(raw, &[("off", Self::Off), ("auto", Self::Auto)])
    }
}
