//! The texts of the pages, one file for each language.

use std::sync::LazyLock;

use serde::Deserialize;

/// The texts of a language. `{n}` and the like are filled in by [`fill`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    pub(crate) skip: String,
    pub(crate) inbox: String,
    pub(crate) inbox_about: String,
    pub(crate) inbox_empty: String,
    pub(crate) inbox_how: String,
    pub(crate) inbox_none_found: String,
    pub(crate) search: String,
    pub(crate) search_hint: String,
    pub(crate) clear: String,
    pub(crate) older: String,
    pub(crate) newest: String,
    pub(crate) number: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) no_subject: String,
    pub(crate) no_sender: String,
    pub(crate) signatures: String,
    pub(crate) size: String,
    pub(crate) received: String,
    pub(crate) queue_id: String,
    pub(crate) pass: String,
    pub(crate) fail: String,
    pub(crate) not_signed: String,
    pub(crate) stages: String,
    pub(crate) stage: String,
    pub(crate) time: String,
    pub(crate) found: String,
    pub(crate) preview: String,
    pub(crate) preview_title: String,
    pub(crate) desktop: String,
    pub(crate) phone: String,
    pub(crate) light: String,
    pub(crate) dark: String,
    pub(crate) with_images: String,
    pub(crate) without_images: String,
    pub(crate) text: String,
    pub(crate) checks: String,
    pub(crate) no_findings: String,
    pub(crate) checks_failed: String,
    pub(crate) severity_error: String,
    pub(crate) severity_warning: String,
    pub(crate) severity_info: String,
    pub(crate) links: String,
    pub(crate) no_links: String,
    pub(crate) link: String,
    pub(crate) destination: String,
    pub(crate) unchanged: String,
    pub(crate) attachments: String,
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) header: String,
    pub(crate) field: String,
    pub(crate) value: String,
    pub(crate) meaning: String,
    pub(crate) raw: String,
    pub(crate) raw_all: String,
    /// By the lower-case name of a header field.
    pub(crate) fields: std::collections::BTreeMap<String, String>,
}

/// A language with its texts.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// The tag (RFC 5646).
    pub(crate) tag: &'static str,
    pub(crate) texts: &'static Texts,
}

/// The default first.
const FILES: [(&str, &str); 2] =
    [("en", include_str!("../texts/en.json")), ("es", include_str!("../texts/es.json"))];
static LANGUAGES: LazyLock<Vec<(&str, Option<Texts>)>> =
    LazyLock::new(|| FILES.iter().map(|(tag, file)| (*tag, serde_json::from_str(file).ok())).collect());

impl Language {
    /// The language that an Accept-Language field (RFC 9110 section 12.5.4) wants most. None: the
    /// texts are broken.
    #[must_use]
    pub fn wanted(field: &str) -> Option<Self> {
        let known = |tag: &str| FILES.iter().any(|(known, _)| *known == tag);
        let tag = relevo_pages::language::wanted(field, known).unwrap_or_else(|| FILES[0].0.to_owned());
        let (tag, texts) = LANGUAGES.iter().find(|(known, _)| *known == tag)?;
        Some(Self { tag, texts: texts.as_ref()? })
    }
}

/// Puts a value into a text.
pub(crate) fn fill(text: &str, name: &str, value: &str) -> String {
    text.replace(&format!("{{{name}}}"), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text() {
        let mut explained = None;
        for (tag, file) in FILES {
            let texts: Texts = serde_json::from_str(file).unwrap_or_else(|error| panic!("{tag}: {error}"));
            let fields: Vec<String> = texts.fields.keys().cloned().collect();
            assert_eq!(*explained.get_or_insert_with(|| fields.clone()), fields, "{tag}");
            assert!(texts.inbox_none_found.contains("{search}"), "{tag}");
        }
        assert_eq!(Language::wanted("es-MX, en;q=0.5").map(|language| language.tag), Some("es"));
        assert_eq!(Language::wanted("fr").map(|language| language.tag), Some("en"));
    }
}
