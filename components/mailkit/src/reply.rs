//! SMTP replies (RFC 5321 section 4.2) and enhanced status codes (RFC 3463): the one type and
//! parser for each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An enhanced status code (RFC 3463), such as `5.7.1`. Its text form, also in JSON, is
/// `class.subject.detail`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 temporary failure, 5 permanent failure.
    pub class: u8,
    /// What the code is about; up to 999.
    pub subject: u16,
    /// What exactly; up to 999.
    pub detail: u16,
}

/// The error of parsing an [`EnhancedCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEnhancedCode;

impl fmt::Display for InvalidEnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enhanced status code is class.subject.detail with class 2, 4 or 5")
    }
}

impl std::error::Error for InvalidEnhancedCode {}

impl EnhancedCode {
    /// The code `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// The same code with another class.
    #[must_use]
    pub const fn with_class(self, class: u8) -> Self {
        Self { class, ..self }
    }

    /// Returns true if the code says that trying again makes no sense.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        self.class == 5
    }

    /// Returns true if the class of the code is the first digit of the reply code.
    #[must_use]
    pub fn fits(self, reply_code: u16) -> bool {
        u16::from(self.class) == reply_code / 100
    }

    /// Parses the code at the start of a reply's text (RFC 2034 section 4): a word that ends at
    /// white space.
    #[must_use]
    pub fn leading(text: &str) -> Option<Self> {
        text.split([' ', '\t', '\r', '\n']).next()?.parse().ok()
    }
}

impl From<(u8, u16, u16)> for EnhancedCode {
    fn from((class, subject, detail): (u8, u16, u16)) -> Self {
        Self { class, subject, detail }
    }
}

impl PartialEq<(u8, u16, u16)> for EnhancedCode {
    fn eq(&self, (class, subject, detail): &(u8, u16, u16)) -> bool {
        (self.class, self.subject, self.detail) == (*class, *subject, *detail)
    }
}

/// Three digits at most, no leading zeros (RFC 3463 section 2).
fn number(text: &str) -> Option<u16> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    (digits && (text.len() == 1 || !text.starts_with('0'))).then(|| text.parse().ok())?
}

impl FromStr for EnhancedCode {
    type Err = InvalidEnhancedCode;

    fn from_str(text: &str) -> Result<Self, InvalidEnhancedCode> {
        let mut numbers = text.split('.');
        let class = match numbers.next() {
            Some("2") => 2,
            Some("4") => 4,
            Some("5") => 5,
            _ => return Err(InvalidEnhancedCode),
        };
        match (numbers.next().and_then(number), numbers.next().and_then(number), numbers.next()) {
            (Some(subject), Some(detail), None) => Ok(Self { class, subject, detail }),
            _ => Err(InvalidEnhancedCode),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EnhancedCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnhancedCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a server says. The peer reads bland text; the log has what is specific.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// The enhanced status code; none where RFC 2034 has none.
    pub enhanced: Option<EnhancedCode>,
    /// Lines joined by LF, without the codes.
    pub text: String,
}

impl Reply {
    /// A reply with an enhanced status code.
    #[must_use]
    pub fn new(code: u16, enhanced: impl Into<EnhancedCode>, text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced.into()), text: text.into() }
    }

    /// A reply without an enhanced status code, of several lines.
    #[must_use]
    pub fn of_lines(code: u16, lines: &[String]) -> Self {
        Self { code, enhanced: None, text: lines.join("\n") }
    }

    /// Returns true if the reply is 2xx or 3xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Returns true if the reply is 5xx.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The enhanced status code, or `x.0.0` of the reply's class (RFC 3463 section 3.1).
    #[must_use]
    pub fn status(&self) -> EnhancedCode {
        let class = match self.code {
            500.. => 5,
            400.. => 4,
            _ => 2,
        };
        self.enhanced.unwrap_or(EnhancedCode::new(class, 0, 0))
    }
}

impl fmt::Display for Reply {
    /// On one line: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.text.split('\n').filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_are_parsed() {
        for (text, class, subject, detail) in
            [("5.7.509", 5, 7, 509), ("2.0.0", 2, 0, 0), ("4.999.999", 4, 999, 999)]
        {
            assert_eq!(text.parse(), Ok(EnhancedCode::new(class, subject, detail)));
        }
        for text in [
            "", "5", "5.7", "5.7.1.1", "5.7.1000", "5.-7.1", "5..1", "5.7.1 ", "5.07.1", "3.7.1", "55.7.1",
            "5.7.x",
        ] {
            assert_eq!(text.parse::<EnhancedCode>(), Err(InvalidEnhancedCode), "{text}");
        }
    }

    #[test]
    fn a_reply_text_may_begin_with_a_code() {
        assert_eq!(EnhancedCode::leading("5.1.1 no"), Some(EnhancedCode::new(5, 1, 1)));
        assert_eq!(EnhancedCode::leading("5.1.1\nno"), Some(EnhancedCode::new(5, 1, 1)));
        assert_eq!(EnhancedCode::leading("5.1.1.1 no"), None);
        assert_eq!(EnhancedCode::leading("192.0.2.1 is listed"), None);
    }

    #[test]
    fn replies_are_shown_on_one_line() {
        let reply = Reply::new(550, EnhancedCode::new(5, 7, 509), "no\nreally");
        assert_eq!(reply.to_string(), "550 5.7.509 no really");
        assert_eq!(Reply::of_lines(421, &[]).to_string(), "421");
        assert_eq!(Reply::of_lines(451, &["x".into()]).status(), EnhancedCode::new(4, 0, 0));
    }

    #[test]
    fn the_json_form_is_text() {
        let reply = Reply::new(550, EnhancedCode::new(5, 7, 509), "no");
        let json = serde_json::to_string(&reply).unwrap();
        assert_eq!(json, r#"{"code":550,"enhanced":"5.7.509","text":"no"}"#);
        assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);
        assert!(serde_json::from_str::<EnhancedCode>(r#""5.7""#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_reads_back_the_same(text in "[245]\\.[0-9]{1,4}\\.[0-9]{1,4}|\\PC{0,12}") {
            if let Ok(code) = text.parse::<EnhancedCode>() {
                prop_assert_eq!(code.to_string(), text);
                prop_assert!(code.subject < 1000 && code.detail < 1000);
            }
        }
    }
}
