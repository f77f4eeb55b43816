//! The envelope: what MAIL and RCPT say. The names are those of
//! `wit/relevo-policy-0.1.0/types.wit`.

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// An ESMTP parameter (RFC 5321 section 4.1.1.11); `types.parameter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Upper case.
    pub keyword: String,
    /// Empty where there is none.
    pub value: String,
}

impl Parameter {
    /// SMTPUTF8 (RFC 6531): an address needs it.
    #[must_use]
    pub fn smtputf8() -> Self {
        Self { keyword: "SMTPUTF8".to_owned(), value: String::new() }
    }
}

/// The value of the parameter with this keyword, in upper case. None: there is no such parameter.
#[must_use]
pub fn value<'p>(parameters: &'p [Parameter], keyword: &str) -> Option<&'p str> {
    parameters.iter().find(|parameter| parameter.keyword == keyword).map(|parameter| parameter.value.as_str())
}

/// A recipient; `types.recipient`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The forward-path without angle brackets and source route. The server also takes `postmaster`
    /// without a domain (RFC 5321 section 4.5.1).
    pub address: String,
    /// Lower case A-labels; empty for `postmaster` without a domain.
    pub domain: String,
    /// The parameters of RCPT.
    pub parameters: Vec<Parameter>,
}

impl Recipient {
    /// A recipient without parameters.
    #[must_use]
    pub fn new(address: impl Into<String>, domain: impl Into<String>) -> Self {
        Self { address: address.into(), domain: domain.into(), parameters: Vec::new() }
    }
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self::new(address.to_string(), address.domain)
    }
}

/// Reverse-path and forward-paths; `types.envelope`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// Lower case A-labels; empty for the null reverse-path.
    pub sender_domain: String,
    /// The parameters of MAIL; none for mail that came otherwise.
    pub parameters: Vec<Parameter>,
    /// At least one.
    pub recipients: Vec<Recipient>,
}

impl Envelope {
    /// Returns true if MAIL had the parameter SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn has_smtputf8(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.keyword == "SMTPUTF8")
    }
}

/// A named text that is attached to a message, a domain or an outcome; `types.attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attribute {
    /// May stand more than once in a list.
    pub name: String,
    /// A text.
    pub value: String,
}

impl Attribute {
    /// An attribute of this name and value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}
