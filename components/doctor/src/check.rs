//! The result of a check.

use serde::Serialize;

use crate::facts::Gap;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Pass,
    /// It does not apply, or nobody knows: the message says why.
    Skip,
    /// It works, and should be better.
    Warn,
    /// Mail suffers from it.
    Fail,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A DNS record that makes a check pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DnsRecord {
    /// `A`, `AAAA`, `CAA`, `CNAME`, `MX`, `PTR` or `TXT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Fully qualified, without a final dot.
    pub name: String,
    /// Whole: neither quoted nor split into strings.
    pub value: String,
    /// Records of the same name and type that must go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

impl DnsRecord {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind, name: name.into(), value: value.into(), replaces: Vec::new() }
    }

    pub(crate) fn replacing(mut self, records: &[String]) -> Self {
        self.replaces = records.to_vec();
        self
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Such as `spf.lookups`.
    pub check: &'static str,
    /// What was checked where there are several: an address, a selector, a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What was found, and what to do, for people.
    pub message: String,
    /// The record to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<DnsRecord>,
    /// Where the rule stands: an RFC and its section, or a URL.
    pub source: &'static str,
}

impl Check {
    pub(crate) fn new(
        check: &'static str,
        source: &'static str,
        status: Status,
        message: impl Into<String>,
    ) -> Self {
        Self { check, about: None, status, message: message.into(), record: None, source }
    }

    pub(crate) fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    pub(crate) fn paste(mut self, record: DnsRecord) -> Self {
        self.record = Some(record);
        self
    }

    /// A check whose facts are not there is never passed.
    pub(crate) fn unknown(check: &'static str, source: &'static str, gap: &Gap) -> Self {
        let message = match gap {
            Gap::Failed(detail) => format!("unknown: DNS did not answer: {}", shown(detail)),
            Gap::Missing => "unknown".to_owned(),
        };
        Self::new(check, source, Status::Skip, message)
    }
}

/// Text from outside, for a message: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const MAX: usize = 200;
    let mut short: String =
        text.chars().take(MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[31m\r\n"), "a\u{fffd}[31m\u{fffd}\u{fffd}");
        assert_eq!(shown(&"x".repeat(300)).len(), 203);
    }
}
