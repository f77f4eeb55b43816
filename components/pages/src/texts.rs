//! The texts of the pages by language. A language is added in `texts.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::language;

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

/// The language that an Accept-Language field wants most.
pub(crate) fn wanted(field: &str) -> Language {
    let tag = language::wanted(field, |tag| LANGUAGES.contains_key(tag));
    let found = tag.and_then(|tag| named(&tag)).or_else(|| named(DEFAULT));
    found.unwrap_or(Language { tag: DEFAULT, texts: &NO_TEXTS })
}

fn named(tag: &str) -> Option<Language> {
    LANGUAGES.get_key_value(tag).map(|(tag, texts)| Language { tag, texts })
}

#[cfg(test)]
mod tests {
    use super::*;

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
