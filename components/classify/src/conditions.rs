//! The conditions of a rule that are not about words.

use relevo_mailkit::reply::EnhancedCode;

/// `550`, `55x` or `5xx`: the smallest and the largest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodeRange(u16, u16);

impl CodeRange {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_code = text.len() == 3 && text.starts_with(['4', '5']);
        let at = |wildcard: &str| text.replace('x', wildcard).parse().ok();
        is_code.then_some(())?;
        Some(Self(at("0")?, at("9")?)).filter(|range| range.0 <= range.1)
    }

    pub(crate) fn contains(self, code: u16) -> bool {
        (self.0..=self.1).contains(&code)
    }
}

/// `5.1.1`, `x.1.1` or `5.7.x`; `5.7.606-649` for a range of details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusPattern {
    class: Option<u8>,
    subject: Option<u16>,
    detail: Option<(u16, u16)>,
}

impl StatusPattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let class = part(class)?;
        let detail = match detail.split_once('-') {
            Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
            None => part(detail)?.map(|detail| (detail, detail)),
        };
        let pattern = Self { class, subject: part(subject)?, detail };
        (parts.next().is_none() && class.is_none_or(|class| class == 4 || class == 5)).then_some(pattern)
    }

    pub(crate) fn matches(self, status: EnhancedCode) -> bool {
        self.class.is_none_or(|class| class == status.class)
            && self.subject.is_none_or(|subject| subject == status.subject)
            && self.detail.is_none_or(|(from, to)| (from..=to).contains(&status.detail))
    }
}

/// None: any. The outer None: a mistake.
fn part<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text == "x" { Some(None) } else { text.parse().ok().map(Some) }
}

/// Returns true if `host` is the name of a provider, or ends in one of its suffixes.
pub(crate) fn is_host_of(host: &str, name: &str, suffixes: &[String]) -> bool {
    host == name
        || suffixes.iter().any(|suffix| {
            host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_match_as_written() {
        let code = |text: &str| CodeRange::parse(text).expect("a code");
        assert!(code("5xx").contains(599) && !code("5xx").contains(450) && code("55x").contains(552));
        assert!(code("421").contains(421) && !code("421").contains(422));
        for wrong in ["", "2xx", "5", "5555", "abc", "x50"] {
            assert_eq!(CodeRange::parse(wrong), None, "{wrong}");
        }
        let matches = |pattern: &str, status: &str| {
            StatusPattern::parse(pattern).expect("a pattern").matches(status.parse().expect("a status"))
        };
        assert!(matches("x.1.1", "4.1.1") && matches("5.7.x", "5.7.26") && matches("x.7.606-649", "5.7.610"));
        assert!(
            !matches("5.1.1", "4.1.1") && !matches("5.7.x", "5.6.1") && !matches("5.7.606-649", "5.7.60")
        );
        for wrong in ["5.1", "5.1.1.1", "2.1.1", "5.1.a", ""] {
            assert_eq!(StatusPattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_is_of_a_provider_by_whole_labels() {
        let suffixes = ["google.com".to_owned()];
        assert!(is_host_of("gmail-smtp-in.l.google.com", "google", &suffixes));
        assert!(is_host_of("google", "google", &suffixes) && is_host_of("google.com", "google", &suffixes));
        assert!(!is_host_of("notgoogle.com", "google", &suffixes));
    }
}
