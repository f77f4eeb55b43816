//! Values of the rules' file.

use std::time::Duration;

use serde::Deserialize;

/// A length of time such as `30s`, `10m`, `2h`, `1d`: a second at least, 30 days at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

const MAX_SPAN: u64 = 30 * 86_400;

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::str::FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be a length of time from \"1s\" to \"30d\", such as \"10m\" or \"2h\"";
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            _ => return Err(WRONG),
        };
        let digits = &text[..text.len() - 1];
        let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
        let seconds = digits.parse::<u64>().ok().filter(|_| is_number).and_then(|n| n.checked_mul(unit));
        match seconds {
            Some(seconds @ 1..=MAX_SPAN) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(WRONG),
        }
    }
}

/// A whole number from 1 to a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Count(pub(super) u32);

impl TryFrom<u64> for Count {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        match u32::try_from(number) {
            Ok(count @ 1..=1_000_000) => Ok(Self(count)),
            _ => Err("must be a number from 1 to 1000000"),
        }
    }
}

/// A share from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Share(pub(super) f64);

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("must be a share from 0.0 to 1.0") }
    }
}

/// The end of the names of MX hosts: `.google.com`, or the whole name of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MxSuffix(pub(super) String);

impl TryFrom<String> for MxSuffix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let name = text.strip_prefix('.').unwrap_or(&text);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        };
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("must be the end of a host name such as \".google.com\", or a whole host name")
        }
    }
}

/// Whether a text may be the name of a provider: a name of the rules, or a domain.
#[must_use]
pub fn is_provider_name(text: &str) -> bool {
    let fits = |octet: u8| {
        octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'-' | b'_' | b':')
    };
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

/// A name of lower case letters, digits, dots, hyphens and underscores.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = |octet: u8| {
            octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'-' | b'_')
        };
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err("must be 1 to 64 lower case letters, digits, dots, hyphens and underscores")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_and_an_end() {
        let seconds = |text: &str| text.parse::<Span>().map(|span| span.0.as_secs()).ok();
        assert_eq!(
            ["30s", "10m", "2h", "30d"].map(seconds),
            [Some(30), Some(600), Some(7200), Some(2_592_000)]
        );
        for wrong in ["", "m", "0s", "31d", "1.5h", "-1s", "+1s", " 1s", "1", "99999999999999999999d", "1é"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_name_is_whole_labels() {
        for good in [".google.com", "mx.example", ".MX.microsoft", "127.0.0.1"] {
            assert!(MxSuffix::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for wrong in ["", ".", "..com", "*.google.com", "a b", ".com."] {
            assert!(MxSuffix::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
