//! The texts of the pages by language. A language is added in `texts.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The language where none that is asked for is there.
const DEFAULT: &str = "en";

/// The texts of a language. `{sender}`, `{address}` and `{topic}` in them are filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    /// `ltr` or `rtl`.
    pub(crate) direction: String,
    pub(crate) all_marketing: String,
    pub(crate) all_marketing_description: String,
    pub(crate) ask_title: String,
    pub(crate) ask_marketing: String,
    pub(crate) ask_topic: String,
    pub(crate) ask_note: String,
    pub(crate) leave: String,
    pub(crate) left_title: String,
    pub(crate) left_marketing: String,
    pub(crate) left_topic: String,
    pub(crate) left_note: String,
    pub(crate) undo: String,
    pub(crate) returned_title: String,
    pub(crate) returned_marketing: String,
    pub(crate) returned_topic: String,
    pub(crate) suppressed: String,
    pub(crate) topics_title: String,
    pub(crate) gets: String,
    pub(crate) gets_not: String,
    pub(crate) leave_one: String,
    pub(crate) return_one: String,
    pub(crate) unknown_title: String,
    pub(crate) unknown: String,
    pub(crate) busy_title: String,
    pub(crate) busy: String,
}

/// A language with its texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Language {
    /// The tag (RFC 5646).
    pub(crate) tag: &'static str,
    pub(crate) texts: &'static Texts,
}

static LANGUAGES: LazyLock<BTreeMap<String, Texts>> =
    LazyLock::new(|| serde_json::from_str(include_str!("texts.json")).unwrap_or_default());
static NO_TEXTS: LazyLock<Texts> = LazyLock::new(Texts::default);

/// The language that an Accept-Language field (RFC 9110 section 12.5.4) wants most.
pub(crate) fn wanted(field: &str) -> Language {
    let mut best: Option<(u32, Language)> = None;
    // More ranges than anybody sends are not read.
    for range in field.split(',').take(50) {
        let mut parameters = range.split(';');
        let tag = parameters.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = parameters.find_map(|p| p.trim().strip_prefix("q=")).map_or(Some(1000), weight);
        let primary = tag.split('-').next().unwrap_or_default();
        let found = language(&tag).or_else(|| language(primary));
        if let (Some(found), Some(weight @ 1..)) = (found, weight)
            && best.is_none_or(|(most, _)| weight > most)
        {
            best = Some((weight, found));
        }
    }
    let default = || language(DEFAULT).unwrap_or(Language { tag: DEFAULT, texts: &NO_TEXTS });
    best.map_or_else(default, |(_, language)| language)
}

fn language(tag: &str) -> Option<Language> {
    LANGUAGES.get_key_value(tag).map(|(tag, texts)| Language { tag, texts })
}

/// Thousandths of a weight.
fn weight(text: &str) -> Option<u32> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_weight = matches!(whole, "0" | "1") && fraction.len() <= 3;
    let thousandths: u32 = format!("{fraction:0<3}").parse().ok()?;
    is_weight.then(|| (if whole == "1" { 1000 } else { 0 }) + thousandths).filter(|weight| *weight <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        for (field, tag) in [
            ("", "en"),
            ("es", "es"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("de,es;q=0.5,en;q=0.7", "en"),
            ("en;q=0.1, ES-419", "es"),
            ("es;q=0, en;q=0.1", "en"),
            ("es;q=0", "en"),
            ("*", "en"),
            ("fr", "en"),
            ("es;q=nonsense", "en"),
            ("es;q=1.5", "en"),
        ] {
            assert_eq!(wanted(field).tag, tag, "{field}");
        }
    }

    #[test]
    fn every_language_has_every_text() {
        let languages: BTreeMap<String, Texts> =
            serde_json::from_str(include_str!("texts.json")).expect("every text, and no other");
        assert!(languages.contains_key(DEFAULT) && languages.contains_key("es"));
        for (tag, texts) in &languages {
            assert!(matches!(texts.direction.as_str(), "ltr" | "rtl"), "{tag}");
            for text in [&texts.ask_topic, &texts.left_topic, &texts.returned_topic] {
                assert!(
                    ["{topic}", "{sender}", "{address}"].iter().all(|name| text.contains(name)),
                    "{text}"
                );
            }
            for text in [&texts.ask_marketing, &texts.left_marketing, &texts.returned_marketing] {
                assert!(text.contains("{sender}") && text.contains("{address}"), "{text}");
            }
            assert!(texts.leave_one.contains("{topic}") && texts.return_one.contains("{topic}"), "{tag}");
        }
    }
}
