//! Who may send as whom (decision 10 of the design): the settings as
//! [`relevo_submission::authority`] asks them.

use std::net::IpAddr;
use std::sync::Arc;

use relevo_mailkit::model::Author;
use relevo_submission::{Origin, Ownership, authority};

use super::submission::Rejection;
use crate::settings::{Domain, Settings, any_contains};

/// Whose message it is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// The configured domain that covers the first From mailbox: it signs and tracks.
    pub(crate) domain: Arc<Domain>,
}

impl Ownership for Settings {
    type OwnedDomain = Arc<Domain>;

    fn covering(&self, domain: &str) -> Option<&Arc<Domain>> {
        self.directory.domain(domain)
    }

    fn tenant<'a>(&self, domain: &'a Arc<Domain>) -> &'a str {
        &domain.tenant
    }

    fn may_use_from(&self, tenant: &str, peer: IpAddr) -> bool {
        let tenant = self.directory.tenant(tenant);
        tenant.is_some_and(|t| t.networks.is_empty() || any_contains(&t.networks, peer))
    }
}

/// Checks the domain (lower case A-labels) of a non-null reverse-path.
pub(crate) fn reverse_path(settings: &Settings, origin: &Origin, domain: &str) -> Result<(), Rejection> {
    Ok(authority::reverse_path(settings, origin, domain)?)
}

/// Checks everybody that claims authorship; none: mail of a trusted peer that belongs to no tenant.
pub(crate) fn authors(
    settings: &Settings,
    origin: &Origin,
    sender: Option<&str>,
    authors: &[Author],
) -> Result<Option<Owner>, Rejection> {
    let domain = authority::authors(settings, origin, sender, authors)?;
    Ok(domain.map(|domain| Owner { domain: Arc::clone(domain) }))
}
