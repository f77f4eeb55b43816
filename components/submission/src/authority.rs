//! Who may send as whom (decision 10 of the design).
//!
//! With a credential or key everything that a message claims must be the tenant's. On the relay
//! port a peer is trusted but not known: the tenant is the owner of the header From, everything
//! else must be the same tenant's, and a tenant may say which networks may use its domains. Other
//! systems' bounces (null reverse-path) from trusted peers belong to no tenant.

use std::net::IpAddr;

use relevo_mailkit::model::{Author, AuthorRole};

use crate::Origin;

/// Whose the domains are.
pub trait Ownership {
    /// A configured domain.
    type OwnedDomain;

    /// The most specific configured domain that covers `domain` (lower case A-labels).
    fn covering(&self, domain: &str) -> Option<&Self::OwnedDomain>;

    /// The tenant that the domain belongs to.
    fn tenant<'a>(&self, domain: &'a Self::OwnedDomain) -> &'a str;

    /// Returns true if the domains of `tenant` may be used from `peer` on the relay port.
    fn may_use_from(&self, tenant: &str, peer: IpAddr) -> bool;
}

/// The sender claims what is not its own: 550 5.7.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAuthorised {
    /// The rule that was broken: `no-author`, `domain-not-owned` or `network-not-allowed`.
    pub rule: &'static str,
    /// For the sender.
    pub text: String,
}

/// Checks the domain (lower case A-labels) of a non-null reverse-path.
///
/// # Errors
/// It is not the sender's.
pub fn reverse_path<O: Ownership>(settings: &O, origin: &Origin, domain: &str) -> Result<(), NotAuthorised> {
    let what = "reverse-path";
    let owned = settings.covering(domain).ok_or_else(|| foreign(what, domain))?;
    match origin {
        Origin::Tenant(tenant) if settings.tenant(owned) == tenant => Ok(()),
        Origin::Tenant(_) => Err(foreign(what, domain)),
        Origin::Relay(_) => from_network(settings, origin, owned, what, domain),
    }
}

/// Checks everybody that claims authorship. `sender` is the domain of the reverse-path, none when
/// it is null. Returns the configured domain that covers the first From mailbox, which signs and
/// tracks; none for mail of a trusted peer that belongs to no tenant.
///
/// # Errors
/// A claim that is not the sender's.
pub fn authors<'a, O: Ownership>(
    settings: &'a O,
    origin: &Origin,
    sender: Option<&str>,
    authors: &[Author],
) -> Result<Option<&'a O::OwnedDomain>, NotAuthorised> {
    let from = authors.iter().find(|a| a.role == AuthorRole::From).ok_or_else(|| NotAuthorised {
        rule: "no-author",
        text: "the From field names no mailbox that could be authorised".to_owned(),
    })?;
    let null_from_peer = sender.is_none() && matches!(origin, Origin::Relay(_));
    if null_from_peer && authors.iter().all(|a| settings.covering(&a.domain).is_none()) {
        return Ok(None);
    }
    let domain = settings.covering(&from.domain).ok_or_else(|| foreign("From", &from.domain))?;
    let tenant = match origin {
        Origin::Tenant(tenant) => tenant.as_str(),
        Origin::Relay(_) => settings.tenant(domain),
    };
    let theirs = |domain: &str| settings.covering(domain).filter(|d| settings.tenant(d) == tenant);
    for author in authors {
        let what = role(author.role);
        let owned = theirs(&author.domain).ok_or_else(|| foreign(what, &author.domain))?;
        from_network(settings, origin, owned, what, &author.domain)?;
    }
    if let Some(sender) = sender {
        theirs(sender).ok_or_else(|| foreign("reverse-path", sender))?;
    }
    Ok(Some(domain))
}

/// On the relay port: whether the peer may use the domains of their owner.
fn from_network<O: Ownership>(
    settings: &O,
    origin: &Origin,
    owned: &O::OwnedDomain,
    what: &str,
    domain: &str,
) -> Result<(), NotAuthorised> {
    match origin {
        Origin::Relay(peer) if !settings.may_use_from(settings.tenant(owned), *peer) => {
            let text = format!("{what} domain {domain} may not be used from your network");
            Err(NotAuthorised { rule: "network-not-allowed", text })
        }
        Origin::Tenant(_) | Origin::Relay(_) => Ok(()),
    }
}

fn foreign(what: &str, domain: &str) -> NotAuthorised {
    let text = format!("{what} domain {domain} is not one you may send from");
    NotAuthorised { rule: "domain-not-owned", text }
}

fn role(role: AuthorRole) -> &'static str {
    match role {
        AuthorRole::From => "From",
        AuthorRole::Sender => "Sender",
        AuthorRole::ResentFrom => "Resent-From",
        AuthorRole::ResentSender => "Resent-Sender",
    }
}

#[cfg(test)]
mod tests;
