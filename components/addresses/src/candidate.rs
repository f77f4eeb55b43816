//! An address that is asked about.

use relevo_mailkit::address::{Address, AddressError};

use crate::judgement::{Judgement, Reason};
use crate::lists::{is_disposable, is_free, is_role};
use crate::repair::repaired;
use crate::typing::suggested_domain;

/// What DNS says about a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainFinding {
    /// It has MX hosts: their names, best first.
    Mx(Vec<String>),
    /// It has no MX record; its own address takes mail (RFC 5321 section 5.1).
    ImplicitMx,
    /// It says that it takes no mail (RFC 7505).
    NullMx,
    /// It does not exist.
    NoSuchDomain,
    /// It has neither an MX host nor an address that could be connected to.
    NoMailHost,
    /// Its best MX host is this relay.
    LoopsBack,
    /// SERVFAIL or no answer.
    Failed,
    /// Nobody asked: an address literal, text that is no address, or there was no time.
    NotLookedUp,
}

impl DomainFinding {
    /// The name in answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mx(_) => "mx",
            Self::ImplicitMx => "implicit_mx",
            Self::NullMx => "null_mx",
            Self::NoSuchDomain => "no_such_domain",
            Self::NoMailHost => "no_mail_host",
            Self::LoopsBack => "loops_back",
            Self::Failed => "dns_failed",
            Self::NotLookedUp => "not_looked_up",
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Mx(_) => None,
            Self::ImplicitMx => Some(Reason::ImplicitMx),
            Self::NullMx => Some(Reason::NullMx),
            Self::NoSuchDomain => Some(Reason::NoSuchDomain),
            Self::NoMailHost => Some(Reason::NoMailHost),
            Self::LoopsBack => Some(Reason::LoopsBack),
            Self::Failed => Some(Reason::DnsFailed),
            Self::NotLookedUp => Some(Reason::NotLookedUp),
        }
    }

    /// False if the domain certainly takes no mail.
    fn takes_mail(&self) -> bool {
        !matches!(self, Self::NullMx | Self::NoSuchDomain | Self::NoMailHost)
    }
}

/// What is known from earlier mail to an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Entries of the address in the list of suppressed addresses.
    pub suppressed: Vec<SuppressedBefore>,
    /// The last mail to the address failed for good, for a reason of the recipient.
    pub bounced: Option<BouncedBefore>,
}

/// An entry of the list of suppressed addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressedBefore {
    /// The entry counts for all mail, not for a stream or topic alone.
    pub all_streams: bool,
    /// `bounce`, `complaint`, `unsubscribe` or `manual`.
    pub reason: String,
}

/// A failure for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BouncedBefore {
    /// The day, such as `2026-11-29`.
    pub day: String,
    /// The answer of the receiver, harmless.
    pub reply: String,
}

/// Text that should be an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    text: String,
    parsed: Result<Address, AddressError>,
}

impl Candidate {
    /// Reads the text as a mailbox of RFC 5321 and RFC 6531. Nothing is trimmed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { text: text.to_owned(), parsed: Address::parse(text) }
    }

    /// The text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.parsed.as_ref().ok()
    }

    /// The domain to be looked up; none for text that is no address and for address literals.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.address().filter(|address| !address.is_literal()).map(|address| address.domain.as_str())
    }

    /// Returns true if the domain gives out disposable addresses.
    #[must_use]
    pub fn is_disposable(&self) -> bool {
        self.domain().is_some_and(is_disposable)
    }

    /// Returns true if everybody can have a mailbox at the domain for nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.domain().is_some_and(|domain| is_free(domain) && !is_disposable(domain))
    }

    /// Returns true if the local part is that of a role.
    #[must_use]
    pub fn is_role(&self) -> bool {
        self.address().is_some_and(|address| is_role(&address.local))
    }

    /// The judgement. `domain` says what DNS says, `history` what earlier mail says.
    #[must_use]
    pub fn judge(&self, domain: &DomainFinding, history: &History) -> Judgement {
        let address = match &self.parsed {
            Ok(address) => address,
            Err(error) => {
                let detail = format!("In detail: {error}.");
                return Judgement::of(vec![Reason::InvalidSyntax], &[detail], repaired(&self.text));
            }
        };
        let mut reasons = Vec::new();
        let mut suggestion = None;
        if address.is_literal() {
            reasons.push(Reason::AddressLiteral);
        } else {
            reasons.extend(domain.reason());
            suggestion = suggested_domain(&address.domain, domain.takes_mail())
                .map(|domain| format!("{}@{domain}", address.local))
                // It may be longer than an address may be.
                .filter(|suggestion| Address::parse(suggestion).is_ok());
        }
        let mut details = Vec::new();
        reasons.extend(of_history(history, &mut details));
        let found = [
            (suggestion.is_some(), Reason::Typo),
            (self.is_disposable(), Reason::Disposable),
            (self.is_role(), Reason::Role),
            (address.needs_smtputf8(), Reason::Internationalized),
            (self.is_free(), Reason::FreeProvider),
        ];
        reasons.extend(found.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason)));
        Judgement::of(reasons, &details, suggestion)
    }
}

fn of_history(history: &History, details: &mut Vec<String>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(entry) = history.suppressed.iter().find(|entry| entry.all_streams) {
        reasons.push(Reason::Suppressed);
        details.push(format!("It is suppressed for this reason: {}.", entry.reason));
    } else if !history.suppressed.is_empty() {
        reasons.push(Reason::SuppressedForStream);
    }
    if let Some(bounce) = &history.bounced {
        reasons.push(Reason::HardBounce);
        details.push(format!("On {} the receiver said: {}", bounce.day, bounce.reply));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_suggestion_is_an_address_and_another_one(text in "\\PC{0,60}|[a-z]{1,8}@[a-z]{1,9}\\.[a-z]{2,4}") {
            let candidate = Candidate::parse(&text);
            for finding in [DomainFinding::NoSuchDomain, DomainFinding::Mx(Vec::new()), DomainFinding::Failed] {
                let judged = candidate.judge(&finding, &History::default());
                if let Some(suggestion) = judged.suggestion {
                    prop_assert_ne!(&suggestion, &text);
                    prop_assert!(Address::parse(&suggestion).is_ok());
                }
                prop_assert_eq!(judged.reasons.is_empty(), judged.explanation.is_empty());
            }
        }
    }
}
