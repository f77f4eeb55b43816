//! What a sender asks of a message beyond the envelope, by the API or by header fields.

use relevo_mailkit::labels::Labels;

use crate::tracking::Tracking;

/// Options of a submission. The default is a transactional message that is sent at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmissionOptions {
    /// Stream, topic, tags, metadata: what events carry.
    pub labels: Labels,
    /// When the message is sent, in milliseconds since 1970; none: at once.
    pub send_at: Option<i64>,
    /// When what is left is given up, in milliseconds since 1970; none: as configured.
    pub expires_at: Option<i64>,
    /// Tracking that differs from the domain's.
    pub tracking: TrackingOverride,
    /// Only over a verified TLS connection.
    pub enforce_tls: bool,
}

/// Tracking that a sender asks for; what is none is as the domain has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackingOverride {
    /// The open pixel is inserted.
    pub opens: Option<bool>,
    /// Links are rewritten.
    pub clicks: Option<bool>,
    /// Links in text/plain too.
    pub text_links: Option<bool>,
    /// Domains whose links stay as they are, subdomains included; lower-case A-labels.
    pub exclude_domains: Vec<String>,
}

impl TrackingOverride {
    /// Returns true if something is asked for that needs the tracking host of the domain.
    #[must_use]
    pub fn needs_tracking(&self) -> bool {
        [self.opens, self.clicks, self.text_links].contains(&Some(true))
    }

    /// The tracking of the domain with what the sender asks for.
    #[must_use]
    pub fn apply(&self, domain: &Tracking) -> Tracking {
        Tracking {
            opens: self.opens.unwrap_or(domain.opens),
            clicks: self.clicks.unwrap_or(domain.clicks),
            text_links: self.text_links.unwrap_or(domain.text_links),
            ..domain.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_as_the_domain_has_it() {
        let url = "https://t.example".to_owned();
        let domain = Tracking { url, opens: true, clicks: true, text_links: false, rewrite_signed: false };
        assert_eq!(TrackingOverride::default().apply(&domain), domain);
        let asked = TrackingOverride { opens: Some(false), text_links: Some(true), ..Default::default() };
        let applied = asked.apply(&domain);
        assert_eq!((applied.opens, applied.clicks, applied.text_links), (false, true, true));
        assert!(asked.needs_tracking());
        assert!(!TrackingOverride { opens: Some(false), ..Default::default() }.needs_tracking());
    }
}
