//! The texts of the pages, one file for each language.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::LazyLock;

use axum::http::{HeaderMap, header};

use crate::visitor::Visitor;

/// A language with its texts.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// The tag (RFC 5646).
    pub tag: &'static str,
    texts: &'static BTreeMap<String, String>,
}

/// The default first.
const FILES: [(&str, &str); 2] =
    [("en", include_str!("../texts/en.json")), ("es", include_str!("../texts/es.json"))];
static LANGUAGES: LazyLock<Vec<(&str, BTreeMap<String, String>)>> = LazyLock::new(|| {
    FILES.iter().map(|(tag, file)| (*tag, serde_json::from_str(file).unwrap_or_default())).collect()
});

impl Language {
    /// The language that an Accept-Language field (RFC 9110 section 12.5.4) wants most.
    #[must_use]
    pub fn wanted(field: &str) -> Self {
        let known = |tag: &str| FILES.iter().any(|(known, _)| *known == tag);
        Self::tagged(relevo_pages::language::wanted(field, known).as_deref().unwrap_or_default())
    }

    /// The language that a visitor chose, or what the browser asks for.
    #[must_use]
    pub fn of(visitor: &Visitor, fields: &HeaderMap) -> Self {
        if let Some(tag) = &visitor.language {
            return Self::tagged(tag);
        }
        let wanted = fields.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self::wanted(wanted.unwrap_or_default())
    }

    /// The language with this tag, or the first one.
    #[must_use]
    pub fn tagged(tag: &str) -> Self {
        let found = LANGUAGES.iter().find(|(known, _)| *known == tag);
        let (tag, texts) = found.unwrap_or(&LANGUAGES[0]);
        Self { tag, texts }
    }

    /// The tag and the own name of each language.
    #[must_use]
    pub fn all() -> [(&'static str, &'static str); 2] {
        FILES.map(|(tag, _)| (tag, if tag == "es" { "Español" } else { "English" }))
    }

    /// The text of a key. A test holds that there is one for each key that a page uses.
    #[must_use]
    pub fn say<'k>(&self, key: &'k str) -> &'k str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// The text of a key that depends on data, such as the name of a status: the name itself where
    /// there is no text.
    #[must_use]
    pub fn term<'k>(&self, group: &str, name: &'k str) -> &'k str {
        self.texts.get(&format!("{group}.{name}")).map_or(name, String::as_str)
    }

    /// The text of a key that depends on data, if there is one.
    #[must_use]
    pub fn find(&self, group: &str, name: &str) -> Option<&'static str> {
        self.texts.get(&format!("{group}.{name}")).map(String::as_str)
    }

    /// A text with a value for its `{}`.
    #[must_use]
    pub fn fill(&self, key: &str, value: &dyn Display) -> String {
        self.say(key).replacen("{}", &value.to_string(), 1)
    }

    /// A number with the separators of the language.
    #[must_use]
    pub fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push_str(self.say("format.thousands"));
            }
            text.push(digit);
        }
        text
    }

    /// A share of 0 to 1 in percent; a dash where there is none.
    #[must_use]
    pub fn percent(&self, share: Option<f64>) -> String {
        let Some(share) = share.filter(|share| share.is_finite()) else { return "\u{2013}".to_owned() };
        let digits = if share < 0.01 && share > 0.0 { 2 } else { 1 };
        let text = format!("{:.digits$}", share * 100.0).replace('.', self.say("format.decimal"));
        format!("{text}\u{a0}%")
    }

    /// Octets in the unit that they are read in best.
    #[must_use]
    pub fn octets(&self, octets: u64) -> String {
        let (unit, name) = match octets {
            0..1_000 => return format!("{octets}\u{a0}B"),
            1_000..1_000_000 => (1_000, "kB"),
            1_000_000..1_000_000_000 => (1_000_000, "MB"),
            _ => (1_000_000_000, "GB"),
        };
        let tenths = octets / (unit / 10);
        format!("{}{}{}\u{a0}{name}", self.number(tenths / 10), self.say("format.decimal"), tenths % 10)
    }

    /// A length of time, in the unit that it is read in best.
    #[must_use]
    pub fn duration(&self, millis: u64) -> String {
        match millis {
            0..1_000 => format!("{millis}\u{a0}ms"),
            1_000..60_000 => {
                format!("{}{}{}\u{a0}s", millis / 1_000, self.say("format.decimal"), millis % 1_000 / 100)
            }
            60_000..7_200_000 => format!("{}\u{a0}min", millis / 60_000),
            7_200_000..172_800_000 => format!("{}\u{a0}h", millis / 3_600_000),
            _ => format!("{}\u{a0}d", millis / 86_400_000),
        }
    }

    /// A time of RFC 3339 in UTC, such as `29 Nov 2026, 20:02:07 UTC`. What is no time stays as it is.
    #[must_use]
    pub fn time(&self, at: &str) -> String {
        let part = |range: std::ops::Range<usize>| at.get(range);
        let parts = (part(0..4), part(5..7).and_then(|m| m.parse::<usize>().ok()), part(8..10), part(11..19));
        let (Some(year), Some(month @ 1..=12), Some(day), Some(time)) = parts else { return at.to_owned() };
        let month = self.say("format.months").split(' ').nth(month - 1).unwrap_or_default();
        format!("{} {month} {year}, {time} UTC", day.trim_start_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Groups whose keys are made of data ([`Language::term`], [`Language::find`]).
    const OF_DATA: &[&str] = &[
        "act",
        "actor",
        "breaker",
        "check",
        "check_status",
        "compared",
        "complaints",
        "count",
        "delivery_status",
        "dimension",
        "domain_source",
        "domain_status",
        "domain_tls",
        "done",
        "event",
        "event_type",
        "field",
        "format",
        "intake",
        "interval",
        "listing",
        "nav",
        "on_fail",
        "peer",
        "period",
        "plugin_state",
        "problem",
        "published",
        "purpose",
        "quota_period",
        "rate",
        "reason",
        "record_purpose",
        "record_status",
        "role",
        "role_hint",
        "scope",
        "severity",
        "span",
        "status",
        "stream",
        "subject",
        "suppression_reason",
        "suppression_why",
        "suspended_by",
        "template_field",
        "tenant_source",
        "topic_default",
        "topic_visibility",
        "user_state",
        "validation",
        "visitor",
        "wait",
        "webhook_status",
    ];

    fn files(folder: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files(path.to_str().expect("a path"), found);
            } else {
                found.push(std::fs::read_to_string(&path).expect("a text"));
            }
        }
    }

    /// What stands in quotes behind one of these calls.
    fn used() -> BTreeSet<String> {
        let mut sources = Vec::new();
        for folder in ["templates", "src"] {
            files(&format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")), &mut sources);
        }
        let mut keys = BTreeSet::new();
        for source in sources {
            for quoted in source.split('"').skip(1).step_by(1) {
                let is_key = quoted.split_once('.').is_some_and(|(group, name)| {
                    let plain = |text: &str| {
                        !text.is_empty()
                            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
                    };
                    plain(group) && plain(name) && name != "html"
                });
                if is_key {
                    keys.insert(quoted.to_owned());
                }
            }
        }
        keys
    }

    #[test]
    fn every_language_has_every_text_that_is_used_and_no_other() {
        let texts = |file: &str| -> BTreeMap<String, String> { serde_json::from_str(file).expect("texts") };
        let first: BTreeSet<String> = texts(FILES[0].1).into_keys().collect();
        for (tag, file) in FILES {
            let known: BTreeSet<String> = texts(file).into_keys().collect();
            let missing: Vec<_> = first.symmetric_difference(&known).collect();
            assert!(missing.is_empty(), "{tag} and {} differ in {missing:?}", FILES[0].0);
            assert!(texts(file).values().all(|text| !text.trim().is_empty() || text == "\u{a0}"), "{tag}");
        }
        let of_data = |key: &String| OF_DATA.contains(&key.split('.').next().unwrap_or_default());
        let used = used();
        let groups: BTreeSet<&str> = first.iter().filter_map(|key| key.split('.').next()).collect();
        let asked = |key: &&String| groups.contains(key.split('.').next().unwrap_or_default());
        let unknown: Vec<_> = used.iter().filter(asked).filter(|key| !first.contains(*key)).collect();
        assert!(unknown.is_empty(), "there are no texts for {unknown:?}");
        let unused: Vec<_> = first.iter().filter(|key| !of_data(key) && !used.contains(*key)).collect();
        assert!(unused.is_empty(), "nothing uses {unused:?}");
    }

    #[test]
    fn numbers_and_times_are_of_the_language() {
        let (english, spanish) = (Language::tagged("en"), Language::wanted("es-MX, en;q=0.5"));
        assert_eq!((spanish.tag, Language::wanted("fr").tag), ("es", "en"));
        assert_eq!(
            (english.number(1_234_567), spanish.number(1_234_567)),
            ("1,234,567".into(), "1.234.567".into())
        );
        assert_eq!(english.number(17), "17");
        assert_eq!(spanish.percent(Some(0.1234)), "12,3\u{a0}%");
        assert_eq!(english.percent(Some(0.000_5)), "0.05\u{a0}%");
        assert_eq!(english.percent(None), "\u{2013}");
        assert_eq!(english.octets(51_234), "51.2\u{a0}kB");
        assert_eq!(english.time("2026-11-09T20:02:07.123Z"), "9 Nov 2026, 20:02:07 UTC");
        assert_eq!(english.time("soon"), "soon");
    }
}
