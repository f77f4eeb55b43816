//! Lists of domains and local parts.
//!
//! Disposable domains are those of the crate `mailchecker`. Free providers and roles are text files
//! in `data`, which `cargo xtask lists` makes from packages: their first lines say which.

use std::sync::LazyLock;

const FREE: &str = include_str!("../data/free.txt");
const ROLES: &str = include_str!("../data/roles.txt");

static DISPOSABLE_DOMAINS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut domains = mailchecker::blacklist();
    domains.sort_unstable();
    domains
});
static FREE_DOMAINS: LazyLock<Vec<&'static str>> = LazyLock::new(|| entries(FREE));
static ROLE_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| entries(ROLES));

fn entries(file: &'static str) -> Vec<&'static str> {
    let mut lines: Vec<_> = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines
}

/// Returns true if the domain, or one above it, gives out addresses that live for minutes. `domain`
/// is in lower case A-labels.
#[must_use]
pub fn is_disposable(domain: &str) -> bool {
    let mut domain = domain;
    // A top-level domain is no provider, whatever a list says.
    while domain.contains('.') {
        if DISPOSABLE_DOMAINS.binary_search(&domain).is_ok() {
            return true;
        }
        domain = domain.split_once('.').map_or("", |(_, above)| above);
    }
    false
}

/// Returns true if everybody can have a mailbox at the domain for nothing. `domain` is in lower case
/// A-labels.
#[must_use]
pub fn is_free(domain: &str) -> bool {
    FREE_DOMAINS.binary_search(&domain).is_ok()
}

/// Returns true if a team, a machine or nobody reads mail to this local part, such as `info`,
/// `support+shop` or `no-reply`.
#[must_use]
pub fn is_role(local: &str) -> bool {
    let unquoted = local.strip_prefix('"').and_then(|local| local.strip_suffix('"')).unwrap_or(local);
    let name = unquoted.split_once('+').map_or(unquoted, |(name, _)| name).to_lowercase();
    ROLE_NAMES.binary_search(&name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disposable_domains_and_those_below_them_are_known() {
        assert!(is_disposable("mailinator.com") && is_disposable("yopmail.com"));
        assert!(is_disposable("anything.mailinator.com"));
        for domain in ["gmail.com", "example.com", "com", "", "xmailinator.com"] {
            assert!(!is_disposable(domain), "{domain}");
        }
    }

    #[test]
    fn free_providers_are_known() {
        for domain in ["gmail.com", "yahoo.co.uk", "gmx.de", "orange.fr", "qq.com", "mail.ru", "proton.me"] {
            assert!(is_free(domain), "{domain}");
            assert!(!is_disposable(domain), "{domain}");
        }
        assert!(!is_free("example.com") && !is_free("mail.gmail.com") && !is_free(""));
    }

    #[test]
    fn roles_are_known_with_tags_and_in_any_case() {
        for local in ["info", "Support", "no-reply", "postmaster+x", "abuse", "\"info\"", "marketing"] {
            assert!(is_role(local), "{local}");
        }
        for local in ["ana", "info.smith", "paris", "2020", "", "+info"] {
            assert!(!is_role(local), "{local}");
        }
    }
}
