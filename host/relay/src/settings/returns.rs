//! `[returns]`: where mail comes back to, and what is done with it.

use super::Network;
use crate::directory::Directory;

/// Mail that comes back. Without domains there are no return paths, and nothing is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnSettings {
    /// Return domains, in lower case A-labels.
    pub domains: Vec<String>,
    /// The return domain of sending domains that have none below them. None: their mail keeps the
    /// envelope sender that it came with.
    pub default: Option<String>,
    /// What becomes of mail that is no report.
    pub ordinary_mail: OrdinaryMail,
    /// What becomes of mail whose SPF fails.
    pub spf_fail: SpfFail,
    /// Octets of a message.
    pub max_size: u64,
    /// Connections of peers that are not in trusted networks.
    pub max_connections: usize,
    /// Messages of all of them.
    pub messages_per_minute: u32,
    /// Messages of one of them: an IPv4 address or an IPv6 /64.
    pub messages_per_minute_per_client: u32,
    /// Domains whose DKIM signature makes a complaint count: d= is one of them or below it.
    pub feedback_domains: Vec<String>,
    /// Networks whose complaints count without a signature.
    pub feedback_networks: Vec<Network>,
    /// Which mail gets a Feedback-ID, for Gmail.
    pub feedback_id: FeedbackId,
    /// Marketing mail gets CFBL-Address (RFC 9477), and complaints count that prove to be about it.
    pub cfbl: bool,
}

/// What becomes of mail that is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrdinaryMail {
    /// It goes to the postmaster.
    Forward,
    /// It is taken and dropped.
    Drop,
}

/// What becomes of mail that comes back and whose SPF fails (RFC 7208 section 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfFail {
    /// The result is recorded with the report, and decides nothing.
    Record,
    /// It is refused.
    Reject,
}

/// Which mail gets a Feedback-ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedbackId {
    /// None.
    Off,
    /// Marketing mail.
    Marketing,
    /// All mail that is signed.
    All,
}

impl Default for ReturnSettings {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            default: None,
            ordinary_mail: OrdinaryMail::Drop,
            spf_fail: SpfFail::Record,
            // Reports return a header, or at most a message of the usual size.
            max_size: 1 << 20,
            max_connections: 100,
            // A list of a million addresses of which one in a hundred bounces comes back in five
            // minutes at this rate.
            messages_per_minute: 2_000,
            messages_per_minute_per_client: 300,
            feedback_domains: Vec::new(),
            feedback_networks: Vec::new(),
            feedback_id: FeedbackId::Marketing,
            cfbl: false,
        }
    }
}

impl ReturnSettings {
    /// Returns true if mail may come back.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.domains.is_empty()
    }

    /// The return domain for mail of a sending domain: the one below it or, going up, below a
    /// domain of the same tenant that covers it. Such a return path is aligned (RFC 7489 section
    /// 3.1.2, relaxed). Otherwise the default.
    #[must_use]
    pub fn domain_for<'s>(&'s self, directory: &Directory, sending: &str) -> Option<&'s str> {
        let tenant = directory.domain(sending).map(|domain| &domain.tenant);
        let mut name = Some(sending);
        while let Some(covering) = name {
            let is_own = directory.configured_domain(covering).is_some_and(|d| Some(&d.tenant) == tenant);
            let is_below =
                |domain: &&String| domain.strip_suffix(covering).is_some_and(|rest| rest.ends_with('.'));
            if is_own && let Some(found) = self.domains.iter().find(is_below) {
                return Some(found);
            }
            name = covering.split_once('.').map(|(_, parent)| parent);
        }
        self.default.as_deref()
    }

    /// Returns true if a signature of this domain makes a complaint count.
    #[must_use]
    pub fn trusts_domain(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        self.feedback_domains.iter().any(|known| {
            domain.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_domain_lies_below_the_sending_domain_or_one_that_covers_it() {
        let directory = crate::testing::settings().directory;
        let mut returns = ReturnSettings {
            domains: vec!["r.other.example".into(), "r.example.com".into()],
            ..ReturnSettings::default()
        };
        assert_eq!(returns.domain_for(&directory, "example.com"), Some("r.example.com"));
        assert_eq!(returns.domain_for(&directory, "news.example.com"), Some("r.example.com"));
        assert_eq!(returns.domain_for(&directory, "other.example"), Some("r.other.example"));
        assert_eq!(returns.domain_for(&directory, "tracked.example"), None);
        returns.default = Some("r.example.com".into());
        assert_eq!(returns.domain_for(&directory, "tracked.example"), Some("r.example.com"));
    }

    #[test]
    fn a_signature_of_a_feedback_source_may_be_below_it() {
        let feedback_domains = vec!["yahoo.example".to_owned()];
        let returns = ReturnSettings { feedback_domains, ..ReturnSettings::default() };
        for (domain, trusted) in
            [("yahoo.example", true), ("ARF.Yahoo.example", true), ("notyahoo.example", false), ("", false)]
        {
            assert_eq!(returns.trusts_domain(domain), trusted, "{domain}");
        }
    }
}
