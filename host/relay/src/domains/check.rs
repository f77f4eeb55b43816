//! Looks for the records of a domain in DNS, and says in words what is there.

use std::collections::BTreeMap;

use relevo_resolve::{Resolve, ResolveError};

use super::spf;
use crate::records::{DnsRecord, RETURN_MX, RETURN_SPF, spf_terms};
use crate::settings::{Domain, Settings};

/// Octets of a found record that are shown.
const MAX_SHOWN: usize = 500;
/// Found records that are shown.
const MAX_RECORDS: usize = 5;

/// State of a record in DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStatus {
    /// It does its work.
    Verified,
    /// There is none.
    Missing,
    /// There is another one.
    Different,
    /// DNS did not answer.
    Unanswered,
}

impl RecordStatus {
    /// The word for it in answers: Resend's where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Missing => "pending",
            Self::Different => "failed",
            Self::Unanswered => "temporary_failure",
        }
    }
}

/// A record, and what is published in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordCheck {
    /// What should be published.
    pub record: DnsRecord,
    /// What is.
    pub status: RecordStatus,
    /// The records that were found.
    pub found: Vec<String>,
    /// For people.
    pub detail: String,
}

/// What was found in the place of a record.
#[derive(Debug)]
pub(super) struct Finding {
    status: RecordStatus,
    found: Vec<String>,
    detail: String,
}

impl Finding {
    pub(super) fn new(status: RecordStatus, found: Vec<String>, detail: impl Into<String>) -> Self {
        Self { status, found, detail: detail.into() }
    }

    pub(super) fn unanswered(error: &ResolveError) -> Self {
        Self::new(RecordStatus::Unanswered, Vec::new(), error.to_string())
    }
}

/// Looks for each record.
pub(super) async fn all(
    resolve: &dyn Resolve,
    domain: &Domain,
    settings: &Settings,
    wanted: Vec<DnsRecord>,
) -> Vec<RecordCheck> {
    let mut checks = Vec::with_capacity(wanted.len());
    for record in wanted {
        let Finding { status, found, detail } = match record.purpose {
            "DKIM" => dkim(resolve, &record).await,
            "SPF" => spf::check(resolve, &record.name, &spf_terms(domain, settings)).await,
            RETURN_SPF => spf::check(resolve, &record.name, &spf_terms(domain, settings)).await,
            RETURN_MX => return_mx(resolve, &record, &settings.hostname).await,
            "DMARC" => dmarc(resolve, &domain.name).await,
            _ => host(resolve, &record).await,
        };
        let found = found.into_iter().take(MAX_RECORDS);
        let found = found.map(|text| relevo_mailkit::text::escaped(&text, MAX_SHOWN)).collect();
        checks.push(RecordCheck { record, status, found, detail });
    }
    checks
}

/// RFC 6376 section 3.6.1. White space in `p=` does not count.
async fn dkim(resolve: &dyn Resolve, record: &DnsRecord) -> Finding {
    let found = match resolve.txt(&record.name).await {
        Ok(found) => found,
        Err(error) => return Finding::unanswered(&error),
    };
    let key = |text: &str| tags(text).remove("p");
    let wanted = key(&record.value);
    let keys: Vec<String> = found.iter().filter_map(|text| key(text)).collect();
    if found.is_empty() {
        Finding::new(RecordStatus::Missing, found, "there is no TXT record here")
    } else if keys.is_empty() {
        Finding::new(RecordStatus::Different, found, "the TXT record here is no DKIM key: `p=` is missing")
    } else if keys.len() > 1 {
        let detail = "there are several keys here, so receivers take any of them: leave only this one";
        Finding::new(RecordStatus::Different, found, detail)
    } else if keys.first() == wanted.as_ref() {
        Finding::new(RecordStatus::Verified, found, "is the key that signs this domain's mail")
    } else {
        let detail = "is another key than the one that signs this domain's mail";
        Finding::new(RecordStatus::Different, found, detail)
    }
}

/// Tags of a list (RFC 6376 section 3.2), without white space in their values.
fn tags(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|tag| tag.split_once('='));
    let value = |value: &str| value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    pairs.map(|(name, text)| (name.trim().to_ascii_lowercase(), value(text))).collect()
}

/// The record of the domain, or of one above it (RFC 7489 section 6.6.3).
async fn dmarc(resolve: &dyn Resolve, domain: &str) -> Finding {
    let mut name = domain;
    loop {
        let mut found = match resolve.txt(&format!("_dmarc.{name}")).await {
            Ok(found) => found,
            Err(error) => return Finding::unanswered(&error),
        };
        found.retain(|text| tags(text).get("v").is_some_and(|version| version == "DMARC1"));
        match found.len() {
            0 => {}
            1 => return policy(name, found),
            _ => {
                let detail = format!("there are several DMARC records at _dmarc.{name}: receivers take none");
                return Finding::new(RecordStatus::Different, found, detail);
            }
        }
        match name.split_once('.') {
            Some((_, above)) if above.contains('.') => name = above,
            _ => return Finding::new(RecordStatus::Missing, Vec::new(), "there is no DMARC record"),
        }
    }
}

fn policy(name: &str, found: Vec<String>) -> Finding {
    let policy = found.first().and_then(|text| tags(text).remove("p")).unwrap_or_default();
    match policy.to_ascii_lowercase().as_str() {
        "none" | "quarantine" | "reject" => {
            let detail = format!("the policy of _dmarc.{name} is {policy}");
            Finding::new(RecordStatus::Verified, found, detail)
        }
        _ => {
            let detail = format!("the record at _dmarc.{name} has no `p=` of none, quarantine or reject");
            Finding::new(RecordStatus::Different, found, detail)
        }
    }
}

/// The MX of a return domain: this host is among the hosts. The resolver of delivery cuts off our
/// own names, and says that mail would loop.
async fn return_mx(resolve: &dyn Resolve, record: &DnsRecord, hostname: &str) -> Finding {
    let leads_here = format!("leads to {hostname}");
    match resolve.route(&record.name).await {
        Ok(route) => {
            let names: Vec<String> = route.hosts.into_iter().map(|host| host.name).collect();
            match names.iter().any(|name| name == hostname) {
                true => Finding::new(RecordStatus::Verified, names, leads_here),
                false => {
                    let detail = format!("leads elsewhere than {hostname}: no mail comes back here");
                    Finding::new(RecordStatus::Different, names, detail)
                }
            }
        }
        Err(ResolveError::LoopsBack(_)) => Finding::new(RecordStatus::Verified, Vec::new(), leads_here),
        Err(error @ ResolveError::Temporary { .. }) => Finding::unanswered(&error),
        Err(error) => Finding::new(RecordStatus::Missing, Vec::new(), error.to_string()),
    }
}

/// A tracking host: an alias of this host, or another name that leads to one of its addresses.
async fn host(resolve: &dyn Resolve, record: &DnsRecord) -> Finding {
    let found = match resolve.addresses(&record.name).await {
        Ok(found) => found.addresses,
        Err(error @ ResolveError::Temporary { .. }) => return Finding::unanswered(&error),
        Err(error) => return Finding::new(RecordStatus::Missing, Vec::new(), error.to_string()),
    };
    let shown = found.iter().map(ToString::to_string).collect();
    match resolve.addresses(&record.value).await {
        Ok(ours) if ours.addresses.iter().any(|address| found.contains(address)) => {
            Finding::new(RecordStatus::Verified, shown, format!("leads to {}", record.value))
        }
        Ok(_) => {
            let detail = format!("leads elsewhere than {}: to a proxy before it, perhaps", record.value);
            Finding::new(RecordStatus::Different, shown, detail)
        }
        Err(error) => Finding::unanswered(&error),
    }
}
