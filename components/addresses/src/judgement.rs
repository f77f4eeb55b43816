//! The answer about an address, and its reasons.

use serde::Serialize;

/// What became of the question whether mail to an address arrives. Ordered: of several reasons the
/// greatest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deliverability {
    /// Nothing speaks against it.
    Deliverable,
    /// It may arrive, and something speaks against sending.
    Risky,
    /// It could not be found out.
    Unknown,
    /// It does not arrive.
    Undeliverable,
}

impl Deliverability {
    /// The name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deliverable => "deliverable",
            Self::Risky => "risky",
            Self::Unknown => "unknown",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// The answer about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The answer.
    pub result: Deliverability,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// The address that was probably meant. It differs from the one that was asked about.
    pub suggestion: Option<String>,
    /// The reasons in sentences, for people; empty when there is none.
    pub explanation: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $weight:ident, $sentence:literal;)*) => {
        /// Why an address is judged as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in answers.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the reason makes of an address.
            #[must_use]
            pub fn weight(self) -> Deliverability {
                match self {
                    $(Self::$variant => Deliverability::$weight,)*
                }
            }

            /// The reason for people.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)*
                }
            }
        }
    };
}

reasons! {
    /// Not an address of RFC 5321 or RFC 6531.
    InvalidSyntax = "invalid_syntax", Undeliverable, "It is not a mail address.";
    /// The name does not exist in DNS.
    NoSuchDomain = "no_such_domain", Undeliverable, "The domain does not exist.";
    /// Neither MX nor address.
    NoMailHost = "no_mail_host", Undeliverable, "The domain has no mail server.";
    /// Null MX (RFC 7505).
    NullMx = "null_mx", Undeliverable, "The domain says that it takes no mail.";
    /// The tenant's list keeps all mail from the address.
    Suppressed = "suppressed", Undeliverable, "The address is on the list of suppressed addresses.";
    /// Mail to the address failed for good not long ago.
    HardBounce = "hard_bounce", Undeliverable, "The last mail to the address failed for good.";
    /// SERVFAIL or no answer.
    DnsFailed = "dns_failed", Unknown, "DNS did not answer about the domain.";
    /// There was no time to ask.
    NotLookedUp = "not_looked_up", Unknown, "The domain was not looked up in time.";
    /// The MX of the domain is this relay.
    LoopsBack = "loops_back", Unknown, "Mail for the domain comes to this relay, which does not store it.";
    /// A domain of addresses that live for minutes.
    Disposable = "disposable", Risky, "The domain gives out disposable addresses.";
    /// Another domain was probably meant.
    Typo = "typo", Risky, "The domain looks like a mistake of typing.";
    /// A team, a machine or nobody reads it.
    Role = "role", Risky, "The address is that of a role, not of a person.";
    /// No MX: the domain's own address is used (RFC 5321 section 5.1).
    ImplicitMx = "implicit_mx", Risky, "The domain has no MX record, only an address.";
    /// `[192.0.2.1]` in place of a domain.
    AddressLiteral = "address_literal", Risky, "The address names a host by its number, which most servers refuse.";
    /// The local part is not ASCII (RFC 6531).
    Internationalized = "smtputf8", Risky, "The address needs servers that know SMTPUTF8.";
    /// The recipient left a stream or a topic.
    SuppressedForStream = "suppressed_for_stream", Risky, "The address gets no mail of some streams or topics.";
    /// Everybody can have a mailbox there.
    FreeProvider = "free_provider", Deliverable, "The domain is that of a free mail provider.";
}

impl Judgement {
    /// A judgement for these reasons. `details` are sentences that say more.
    pub(crate) fn of(mut reasons: Vec<Reason>, details: &[String], suggestion: Option<String>) -> Self {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.weight()));
        let result = reasons.first().map_or(Deliverability::Deliverable, |reason| reason.weight());
        let meant = suggestion.as_ref().map(|address| format!("Was {address} meant?"));
        let sentences = reasons.iter().map(|reason| reason.sentence().to_owned());
        let explanation: Vec<String> = sentences.chain(details.iter().cloned()).chain(meant).collect();
        Self { result, reasons, suggestion, explanation: explanation.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_those_that_are_serialised() {
        let names: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).expect("a name"), reason.name());
        }
    }

    #[test]
    fn the_weightiest_reason_decides() {
        let judged = Judgement::of(vec![Reason::FreeProvider, Reason::DnsFailed, Reason::Role], &[], None);
        assert_eq!(judged.result, Deliverability::Unknown);
        assert_eq!(judged.reasons, [Reason::DnsFailed, Reason::Role, Reason::FreeProvider]);
        assert_eq!(Judgement::of(Vec::new(), &[], None).result, Deliverability::Deliverable);
    }
}
