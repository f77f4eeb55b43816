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

/// Checks that everybody that claims authorship, and a non-null reverse-path, is of `domain` or of
/// one below it.
pub(crate) fn within(domain: &str, sender: Option<&str>, authors: &[Author]) -> Result<(), Rejection> {
    let mut claimed = sender.into_iter().chain(authors.iter().map(|author| author.domain.as_str()));
    match claimed.find(|claimed| !is_within(claimed, domain)) {
        None => Ok(()),
        Some(other) => {
            let text = format!("the API key sends from {domain} only, not from {other}");
            Err(Rejection::new(550, (5, 7, 1), "domain-of-key", &text))
        }
    }
}

/// Returns true if `name` is `domain` or below it; both are lower-case A-labels.
pub(crate) fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
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

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::AuthorRole;

    use super::*;

    #[test]
    fn a_key_of_one_domain_sends_from_it_alone() {
        let author = |domain: &str| Author {
            role: AuthorRole::From,
            address: format!("a@{domain}"),
            domain: domain.into(),
        };
        let within = |sender, authors: &[&str]| {
            let authors: Vec<Author> = authors.iter().map(|domain| author(domain)).collect();
            super::within("shop.example.com", sender, &authors).map_err(|rejection| rejection.rule)
        };
        assert_eq!(within(Some("shop.example.com"), &["shop.example.com", "a.shop.example.com"]), Ok(()));
        assert_eq!(within(None, &["shop.example.com"]), Ok(()));
        let refused = Err("domain-of-key".to_owned());
        assert_eq!(within(None, &["shop.example.com", "example.com"]), refused);
        assert_eq!(within(None, &["myshop.example.com"]), refused);
        assert_eq!(within(Some("example.com"), &["shop.example.com"]), refused);
    }
}
