//! Who may send as whom (decision 10 of the design).
//!
//! With a credential or key everything that a message claims must be the tenant's. On the relay port a peer is trusted but not
//! known: the tenant is the owner of the header From, everything else must be the same tenant's, and a tenant may say which
//! networks may use its domains. Other systems' bounces (null reverse-path) from trusted peers belong to no tenant.

use std::sync::Arc;

use relevo_mailkit::model::{Author, AuthorRole};

use super::submission::{Origin, Rejection};
use crate::settings::{Domain, Settings, any_contains};

/// Whose message it is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// The configured domain that covers the first From mailbox: it signs and tracks.
    pub(crate) domain: Arc<Domain>,
}

/// Checks the domain (lower case A-labels) of a non-null reverse-path.
pub(crate) fn reverse_path(settings: &Settings, origin: &Origin, domain: &str) -> Result<(), Rejection> {
    let what = "reverse-path";
    let owned = owned(settings, domain).ok_or_else(|| foreign(what, domain))?;
    match origin {
        Origin::Tenant(tenant) if owned.tenant == *tenant => Ok(()),
        Origin::Tenant(_) => Err(foreign(what, domain)),
        Origin::Relay(_) => from_network(settings, origin, owned, what, domain),
    }
}

/// Checks everybody that claims authorship. `sender` is the domain of the reverse-path, none when it is null. `Ok(None)`:
/// mail of a trusted peer that belongs to no tenant.
pub(crate) fn authors(
    settings: &Settings,
    origin: &Origin,
    sender: Option<&str>,
    authors: &[Author],
) -> Result<Option<Owner>, Rejection> {
    let from = authors.iter().find(|a| a.role == AuthorRole::From).ok_or_else(|| {
        Rejection::new(
            550,
            (5, 7, 1),
            "no-author",
            "the From field names no mailbox that could be authorised",
        )
    })?;
    let null_from_peer = sender.is_none() && matches!(origin, Origin::Relay(_));
    if null_from_peer && authors.iter().all(|a| owned(settings, &a.domain).is_none()) {
        return Ok(None);
    }
    let domain = owned(settings, &from.domain).ok_or_else(|| foreign("From", &from.domain))?;
    let tenant = match origin {
        Origin::Tenant(tenant) => tenant,
        Origin::Relay(_) => &domain.tenant,
    };
    for author in authors {
        let theirs = owned(settings, &author.domain).filter(|d| d.tenant == *tenant);
        let theirs = theirs.ok_or_else(|| foreign(role(author.role), &author.domain))?;
        from_network(settings, origin, theirs, role(author.role), &author.domain)?;
    }
    if let Some(sender) = sender {
        owned(settings, sender)
            .filter(|d| d.tenant == *tenant)
            .ok_or_else(|| foreign("reverse-path", sender))?;
    }
    Ok(Some(Owner { domain: Arc::clone(domain) }))
}

fn owned<'a>(settings: &'a Settings, domain: &str) -> Option<&'a Arc<Domain>> {
    settings.tenants.domain(domain)
}

/// On the relay port: whether the peer may use the domains of their owner.
fn from_network(
    settings: &Settings,
    origin: &Origin,
    owned: &Domain,
    what: &str,
    domain: &str,
) -> Result<(), Rejection> {
    let Origin::Relay(peer) = origin else { return Ok(()) };
    let networks = settings.tenants.by_id.get(&owned.tenant).map(|t| t.networks.as_slice());
    match networks {
        Some([]) => Ok(()),
        Some(networks) if any_contains(networks, *peer) => Ok(()),
        _ => {
            let text = format!("{what} domain {domain} may not be used from your network");
            Err(Rejection::new(550, (5, 7, 1), "network-not-allowed", &text))
        }
    }
}

fn foreign(what: &str, domain: &str) -> Rejection {
    let text = format!("{what} domain {domain} is not one you may send from");
    Rejection::new(550, (5, 7, 1), "domain-not-owned", &text)
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
