//! The data of the `relevo:policy` WIT package as plain Rust types, and how several answers become
//! one. `wit/relevo-policy-0.1.0/*.wit` documents every field; the names are the same.
//!
//! A [`Message`] can be written down and read again: a recorded one that is replayed is the same to
//! the last octet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::reply::Reply;

mod merge;

pub use crate::envelope::{Attribute, Envelope, Parameter, Recipient};
pub use merge::{merge, stricter};

/// `types.header-field`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderField {
    /// Without the colon.
    pub name: String,
    /// What follows the colon.
    pub value: Vec<u8>,
}

/// `types.part`: an entity of the MIME structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The index of the enclosing entity.
    pub parent: Option<u32>,
    /// Lower case `type/subtype`.
    pub media_type: String,
    /// Lower case.
    pub charset: Option<String>,
    /// The declared Content-Transfer-Encoding.
    pub transfer_encoding: String,
    /// Declared as an attachment, or named.
    pub attachment: bool,
    /// From the first octet of the message's body.
    pub offset: u64,
    /// Octets of its body.
    pub length: u64,
}

/// `types.message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The id in the queue and in events.
    pub id: String,
    /// Where in its life it is asked about.
    pub stage: String,
    /// Whose it is.
    pub tenant: String,
    /// The credential that submitted it.
    pub identity: Option<String>,
    /// MAIL and RCPT.
    pub envelope: Envelope,
    /// In order.
    pub headers: Vec<HeaderField>,
    /// Octets of all of it.
    pub size: u64,
    /// The MIME structure.
    pub parts: Vec<Part>,
    /// What the host found.
    pub facts: Vec<Attribute>,
    /// What was attached to it.
    pub attributes: Vec<Attribute>,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// `types.verdict`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Send it.
    Accept,
    /// Refuse it with this reply: 45x or 55x, one line; no enhanced code if the plugin's is none.
    Reject(Reply),
    /// Keep it, for this reason.
    Hold(String),
    /// Drop it, for this reason.
    Discard(String),
}

impl Verdict {
    /// The name in events, metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject(_) => "reject",
            Self::Hold(_) => "hold",
            Self::Discard(_) => "discard",
        }
    }

    /// Orders verdicts from lenient to strict: accept, hold, discard, reject; of two rejections the
    /// permanent one is stricter. A verdict that the sender learns goes before one that he does
    /// not: a rejected message can be sent again, a discarded one is gone.
    #[must_use]
    pub fn strictness(&self) -> u8 {
        match self {
            Self::Accept => 0,
            Self::Hold(_) => 1,
            Self::Discard(_) => 2,
            Self::Reject(reply) if reply.is_permanent() => 4,
            Self::Reject(_) => 3,
        }
    }
}

/// `types.override`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The index of the recipient.
    pub recipient: u32,
    /// Instead of the decision's.
    pub verdict: Verdict,
}

/// `types.decision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// For every recipient without an override.
    pub verdict: Verdict,
    /// At most one for each recipient.
    pub overrides: Vec<Override>,
    /// To be put above the message, in this order.
    pub headers: Vec<HeaderField>,
    /// To be attached to the message.
    pub attributes: Vec<Attribute>,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, overrides: Vec::new(), headers: Vec::new(), attributes: Vec::new() }
    }
}

impl Decision {
    /// What becomes of the recipient with this index.
    #[must_use]
    pub fn verdict_for(&self, recipient: u32) -> &Verdict {
        let own = self.overrides.iter().find(|own| own.recipient == recipient);
        own.map_or(&self.verdict, |own| &own.verdict)
    }

    /// The verdicts that some of `recipients` recipients have: the decision's own, unless every
    /// recipient has an override, then those of overrides.
    pub fn verdicts(&self, recipients: usize) -> impl Iterator<Item = &Verdict> {
        let own = (self.overrides.len() < recipients).then_some(&self.verdict);
        own.into_iter().chain(self.overrides.iter().map(|own| &own.verdict))
    }

    /// The names of its verdicts, each once: what is counted for a message.
    #[must_use]
    pub fn verdict_names(&self, recipients: usize) -> BTreeSet<&'static str> {
        self.verdicts(recipients).map(Verdict::name).collect()
    }
}

/// `observe.remote-reply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteReply {
    /// Of the next hop.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<String>,
    /// Printable ASCII, at most 400 characters.
    pub text: String,
}

/// `observe.event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id of the message.
    pub message: String,
    /// `delivery`, `defer` or `dsn`.
    pub stage: String,
    /// As in the event log.
    pub kind: String,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The address.
    pub recipient: String,
    /// Attempts so far.
    pub attempt: u32,
    /// Of the next hop.
    pub reply: Option<RemoteReply>,
    /// Those of the message, then facts of the attempt.
    pub attributes: Vec<Attribute>,
}

#[cfg(test)]
mod tests;
