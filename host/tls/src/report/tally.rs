//! Counts of sessions by policy domain, day and policy.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use parking_lot::Mutex;
use relevo_store::TlsTallyRecord;
use serde::{Deserialize, Serialize};

/// Domains of one day that are counted.
const MAX_DOMAINS: usize = 20_000;
/// Policies of one domain and day.
const MAX_POLICIES: usize = 16;
/// Kinds of failures of one policy.
const MAX_FAILURES: usize = 100;
/// Octets of what is said about a failure.
const MAX_INFORMATION: usize = 200;
const DAY: i64 = 86_400_000;

/// Kinds of policies (RFC 8460 section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyKind {
    /// DANE.
    #[serde(rename = "tlsa")]
    Tlsa,
    /// MTA-STS.
    #[serde(rename = "sts")]
    Sts,
    /// None was found.
    #[serde(rename = "no-policy-found")]
    None,
}

/// A policy that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TallyPolicy {
    /// Its kind.
    #[serde(rename = "policy-type")]
    pub kind: PolicyKind,
    /// Lines of the policy file, or TLSA records.
    #[serde(rename = "policy-string", default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Patterns of MX hosts of an MTA-STS policy.
    #[serde(rename = "mx-host", default, skip_serializing_if = "Vec::is_empty")]
    pub mx: Vec<String>,
}

/// A kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailureDetail {
    /// A result type of section 4.3.
    #[serde(rename = "result-type")]
    pub result_type: String,
    /// Our address.
    #[serde(rename = "sending-mta-ip", default, skip_serializing_if = "Option::is_none")]
    pub sending_ip: Option<IpAddr>,
    /// The MX host.
    #[serde(rename = "receiving-mx-hostname", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its address.
    #[serde(rename = "receiving-ip", default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// What else is known.
    #[serde(rename = "failure-reason-code", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a session went, seen by one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutcome {
    /// TLS came about as the policy asks.
    Success,
    /// It did not.
    Failure(FailureDetail),
}

/// Counts of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTally {
    /// Sessions that went well.
    pub successes: u64,
    /// Sessions that did not.
    pub failures: u64,
    /// These by kind; kinds beyond the bound are only in the sum.
    pub details: Vec<(FailureDetail, u64)>,
}

/// Counts of one domain and day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainTally {
    /// By policy.
    pub policies: Vec<(TallyPolicy, PolicyTally)>,
}

impl DomainTally {
    /// Counts one session.
    pub fn count(&mut self, policy: &TallyPolicy, outcome: SessionOutcome) {
        let position = self.policies.iter().position(|(known, _)| known == policy);
        let position = match position {
            Some(position) => position,
            None if self.policies.len() < MAX_POLICIES => {
                self.policies.push((policy.clone(), PolicyTally::default()));
                self.policies.len() - 1
            }
            None => return,
        };
        self.policies[position].1.count(outcome);
    }
}

impl PolicyTally {
    fn count(&mut self, outcome: SessionOutcome) {
        let mut detail = match outcome {
            SessionOutcome::Success => {
                self.successes += 1;
                return;
            }
            SessionOutcome::Failure(detail) => detail,
        };
        self.failures += 1;
        if let Some(reason) = &mut detail.reason {
            let end = reason.floor_char_boundary(MAX_INFORMATION);
            reason.truncate(end);
        }
        if let Some((_, count)) = self.details.iter_mut().find(|(known, _)| *known == detail) {
            *count += 1;
        } else if self.details.len() < MAX_FAILURES {
            self.details.push((detail, 1));
        }
    }
}

/// The day of a moment: days since 1970 in UTC.
#[must_use]
pub fn day_of(now: i64) -> i64 {
    now.div_euclid(DAY)
}

/// Counts of all domains, in memory; what changed is stored now and then.
#[derive(Debug, Default)]
pub struct Tallies(Mutex<TallyBook>);

#[derive(Debug, Default)]
struct TallyBook {
    days: BTreeMap<i64, HashMap<String, (DomainTally, bool)>>,
}

impl Tallies {
    /// With the counts that an earlier run stored. Records that cannot be read are left out.
    #[must_use]
    pub fn restored(records: Vec<TlsTallyRecord>) -> Self {
        let mut book = TallyBook::default();
        for record in records {
            match serde_json::from_str(&record.body) {
                Ok(tally) => {
                    book.days.entry(record.day).or_default().insert(record.domain, (tally, false));
                }
                Err(error) => {
                    tracing::error!(target: "relevo::tls", %error, domain = %record.domain, "a tally cannot be read");
                }
            }
        }
        Self(Mutex::new(book))
    }

    /// Counts one session of a policy domain.
    pub fn count(&self, now: i64, domain: &str, policy: &TallyPolicy, outcome: SessionOutcome) {
        let mut book = self.0.lock();
        let day = book.days.entry(day_of(now)).or_default();
        if !day.contains_key(domain) && day.len() >= MAX_DOMAINS {
            return;
        }
        let (tally, is_changed) = day.entry(domain.to_owned()).or_default();
        tally.count(policy, outcome);
        *is_changed = true;
    }

    /// What changed since the last call, to be stored.
    #[must_use]
    pub fn take_changes(&self, node: &str) -> Vec<TlsTallyRecord> {
        let mut book = self.0.lock();
        let mut changes = Vec::new();
        for (day, domains) in &mut book.days {
            for (domain, (tally, is_changed)) in domains {
                if std::mem::take(is_changed)
                    && let Ok(body) = serde_json::to_string(tally)
                {
                    changes.push(TlsTallyRecord {
                        day: *day,
                        domain: domain.clone(),
                        node: node.to_owned(),
                        body,
                    });
                }
            }
        }
        changes
    }

    /// Domains with counts of days before `day`: their reports are due.
    #[must_use]
    pub fn due(&self, day: i64) -> Vec<(i64, String, DomainTally)> {
        let book = self.0.lock();
        let days = book.days.range(..day);
        days.flat_map(|(day, domains)| {
            domains.iter().map(|(domain, (tally, _))| (*day, domain.clone(), tally.clone()))
        })
        .collect()
    }

    /// Forgets the counts of a day and domain.
    pub fn forget(&self, day: i64, domain: &str) {
        let mut book = self.0.lock();
        if let Some(domains) = book.days.get_mut(&day) {
            domains.remove(domain);
            if domains.is_empty() {
                book.days.remove(&day);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> TallyPolicy {
        TallyPolicy { kind: PolicyKind::Sts, lines: vec!["version: STSv1".into()], mx: vec!["*.a".into()] }
    }

    fn failure(host: &str) -> SessionOutcome {
        SessionOutcome::Failure(FailureDetail {
            result_type: "certificate-expired".into(),
            sending_ip: None,
            host: Some(host.to_owned()),
            receiving_ip: None,
            reason: Some("\u{fc}".repeat(300)),
        })
    }

    #[test]
    fn counts_survive_a_restart() {
        let tallies = Tallies::default();
        tallies.count(DAY + 1, "a.example", &policy(), SessionOutcome::Success);
        tallies.count(DAY + 2, "a.example", &policy(), failure("mx"));
        tallies.count(DAY + 3, "a.example", &policy(), failure("mx"));
        tallies.count(2 * DAY, "a.example", &policy(), SessionOutcome::Success);
        let stored = tallies.take_changes("node");
        assert_eq!((stored.len(), tallies.take_changes("node").len()), (2, 0));
        let restored = Tallies::restored(stored);
        assert_eq!(restored.due(1), []);
        let due = restored.due(2);
        assert_eq!(due, tallies.due(2));
        let (day, domain, tally) = &due[0];
        assert_eq!((*day, domain.as_str(), tally.policies.len()), (1, "a.example", 1));
        let counts = &tally.policies[0].1;
        assert_eq!((counts.successes, counts.failures, counts.details[0].1), (1, 2, 2));
        restored.forget(1, "a.example");
        assert_eq!(restored.due(2), []);
    }

    #[test]
    fn counts_are_bounded() {
        let mut tally = DomainTally::default();
        for number in 0..MAX_FAILURES + 20 {
            tally.count(&policy(), failure(&number.to_string()));
            let other = TallyPolicy { lines: vec![number.to_string()], ..policy() };
            tally.count(&other, SessionOutcome::Success);
        }
        assert_eq!(tally.policies.len(), MAX_POLICIES);
        let counts = &tally.policies[0].1;
        assert_eq!((counts.failures, counts.details.len()), (MAX_FAILURES as u64 + 20, MAX_FAILURES));
        assert!(counts.details[0].0.reason.as_ref().is_some_and(|reason| reason.len() <= MAX_INFORMATION));
    }
}
