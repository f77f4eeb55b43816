//! What a sender asks of delivery status notifications (RFC 3461): the values of RET, ENVID, NOTIFY
//! and ORCPT. The same types serve those who receive the parameters and those who send them.
//!
//! Each value is read with `parse` from the text of a parameter, and its `Display` is that text.

pub mod xtext;

use std::fmt;
use std::ops::BitOr;

use serde::{Deserialize, Serialize};

use crate::envelope::{Parameter, value};

/// Characters of ENVID as sent (RFC 3461 section 4.4).
pub const MAX_ENVELOPE_ID: usize = 100;
/// Characters of ORCPT as sent (RFC 3461 section 4.2).
pub const MAX_ORIGINAL_RECIPIENT: usize = 500;

/// RET: how much of the message a report of failure returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ret {
    /// All of it.
    Full,
    /// The header alone.
    Hdrs,
}

/// NOTIFY: the reports that a recipient's fate is to lead to.
///
/// The absence of the parameter is not a value of it: a receiver then decides itself, mostly as for
/// FAILURE and DELAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Notify(u8);

/// ENVID: the sender's name for the message, decoded. Printable ASCII and spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvelopeId(String);

/// ORCPT: the address that the sender wrote, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginalRecipient {
    kind: String,
    address: String,
}

/// What a sender asks for a message: the parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageDsn {
    /// RET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// ENVID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<EnvelopeId>,
}

/// What a sender asks for a recipient: the parameters of RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecipientDsn {
    /// NOTIFY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// ORCPT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<OriginalRecipient>,
}

/// A text that is no value of the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidValue(&'static str);

impl Ret {
    /// Reads the value of RET, in either case. None: it is neither FULL nor HDRS.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("FULL") {
            Some(Self::Full)
        } else {
            text.eq_ignore_ascii_case("HDRS").then_some(Self::Hdrs)
        }
    }
}

impl Notify {
    /// No report at all.
    pub const NEVER: Self = Self(0);
    /// A report of delivery.
    pub const SUCCESS: Self = Self(1);
    /// A report of failure.
    pub const FAILURE: Self = Self(2);
    /// A report of delay.
    pub const DELAY: Self = Self(4);
    /// The names, in the order of `Display`.
    const NAMES: [(&str, Self); 3] =
        [("SUCCESS", Self::SUCCESS), ("FAILURE", Self::FAILURE), ("DELAY", Self::DELAY)];

    /// Reads the value of NOTIFY, in either case. None: a word that is not known or stands twice, or
    /// NEVER beside another.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        text.split(',').try_fold(Self::NEVER, |all, word| {
            let (_, one) = Self::NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name))?;
            (!all.contains(*one)).then_some(all | *one)
        })
    }

    /// Returns true if all reports of `other` are asked for. NEVER contains nothing but itself.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        if other == Self::NEVER { self == other } else { self.0 & other.0 == other.0 }
    }
}

impl BitOr for Notify {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl EnvelopeId {
    /// Reads the value of ENVID, which is xtext.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(String::from_utf8(xtext::decode(text)?).ok()?)
    }

    /// Takes a text that is not encoded.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let length = xtext::encode(text.as_bytes()).len();
        (printable && (1..=MAX_ENVELOPE_ID).contains(&length)).then_some(Self(text))
    }

    /// The text, not encoded: as a report names it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OriginalRecipient {
    /// Reads the value of ORCPT: a type of address and the address, which is xtext or, for the type
    /// `utf-8`, one of the forms of RFC 6533 section 3.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, address) = text.split_once(';')?;
        let address = if kind.eq_ignore_ascii_case("utf-8") {
            xtext::decode_unicode(address)?
        } else {
            String::from_utf8(xtext::decode(address)?).ok()?
        };
        Self::new(kind, address)
    }

    /// The address that RCPT named when the message was received: for a recipient that came without
    /// ORCPT (RFC 3461 section 5.2.1). None: it is longer than the parameter may be.
    #[must_use]
    pub fn of_address(address: &str) -> Option<Self> {
        Self::new(if address.is_ascii() { "rfc822" } else { "utf-8" }, address.to_owned())
    }

    fn new(kind: &str, address: String) -> Option<Self> {
        let is_atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&b);
        if kind.is_empty() || !kind.bytes().all(is_atom) {
            return None;
        }
        let kind = kind.to_ascii_lowercase();
        let is_printable =
            |c| matches!(c, ' '..='~') || (kind == "utf-8" && !c.is_ascii() && !c.is_control());
        if address.is_empty() || !address.chars().all(is_printable) {
            return None;
        }
        let made = Self { kind, address };
        (made.to_string().len() <= MAX_ORIGINAL_RECIPIENT).then_some(made)
    }

    /// The value of `Original-Recipient` in a report, in ASCII (RFC 3464 section 2.3.1, RFC 6533
    /// section 3).
    #[must_use]
    pub fn to_field(&self) -> String {
        let Self { kind, address } = self;
        if kind == "utf-8" {
            return format!("{kind}; {}", xtext::encode_unicode(address));
        }
        format!("{kind}; {address}")
    }

    /// The type of address in lower case: mostly `rfc822` or `utf-8`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address, not encoded. It is the sender's word: nothing says that it is an address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl MessageDsn {
    /// RET and ENVID of the parameters of MAIL. A value that is malformed counts as absent.
    #[must_use]
    pub fn of_parameters(parameters: &[Parameter]) -> Self {
        Self {
            ret: value(parameters, "RET").and_then(Ret::parse),
            envid: value(parameters, "ENVID").and_then(EnvelopeId::parse),
        }
    }

    /// Returns true if nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RecipientDsn {
    /// NOTIFY and ORCPT of the parameters of RCPT. A value that is malformed counts as absent.
    #[must_use]
    pub fn of_parameters(parameters: &[Parameter]) -> Self {
        Self {
            notify: value(parameters, "NOTIFY").and_then(Notify::parse),
            orcpt: value(parameters, "ORCPT").and_then(OriginalRecipient::parse),
        }
    }

    /// Returns true if nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns false if the sender named the reports that it wants, and not that of failure.
    #[must_use]
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.contains(Notify::FAILURE))
    }

    /// Returns true if the sender asked to be told of a delivery.
    #[must_use]
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| notify.contains(Notify::SUCCESS))
    }

    /// Returns true if the sender asked to be told of a delay.
    #[must_use]
    pub fn wants_delay(&self) -> bool {
        self.notify.is_some_and(|notify| notify.contains(Notify::DELAY))
    }

    /// Returns true if the sender wants no report at all.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.notify == Some(Notify::NEVER)
    }

    /// What RCPT says to a host that offers DSN (RFC 3461 section 5.2.1): NOTIFY and ORCPT as they
    /// were received. Where ORCPT was not, it is `received_for`, the address that RCPT named then.
    #[must_use]
    pub fn relayed(&self, received_for: &str) -> Self {
        let orcpt = self.orcpt.clone().or_else(|| OriginalRecipient::of_address(received_for));
        Self { notify: self.notify, orcpt }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("NEVER");
        }
        let asked = Self::NAMES.iter().filter(|(_, one)| self.contains(*one));
        for (position, (name, _)) in asked.enumerate() {
            write!(f, "{}{name}", if position > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&xtext::encode(self.0.as_bytes()))
    }
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.kind == "utf-8" {
            xtext::encode_unicode(&self.address)
        } else {
            xtext::encode(self.address.as_bytes())
        };
        write!(f, "{};{address}", self.kind)
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a value of {}", self.0)
    }
}

impl std::error::Error for InvalidValue {}

/// Stored as the text of the parameter.
macro_rules! stored_as_text {
    ($($type:ident $name:literal),*) => {$(
        impl TryFrom<String> for $type {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                Self::parse(&text).ok_or(InvalidValue($name))
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

stored_as_text!(Ret "RET", Notify "NOTIFY", EnvelopeId "ENVID", OriginalRecipient "ORCPT");

#[cfg(test)]
mod tests;
