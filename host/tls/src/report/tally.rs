//! Counts of sessions by policy domain, day and policy.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

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
/// Reports of a day are spread over this time (RFC 8460 section 4.1: up to four hours).
const SPREAD: i64 = 4 * 3_600_000;
/// The first one waits until the last counts of the day are stored: what is stored behind a report
/// would be reported again after a restart.
const EARLIEST: i64 = 5 * 60_000;

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
    /// By policy. The text of a policy is shared with the plans that it came from.
    #[serde(with = "shared")]
    pub policies: Vec<(Arc<TallyPolicy>, PolicyTally)>,
}

/// Shared policies are written and read as what they hold.
mod shared {
    use super::{Arc, Deserialize, PolicyTally, TallyPolicy};

    type Counted<T> = Vec<(T, PolicyTally)>;

    pub(super) fn serialize<S: serde::Serializer>(
        policies: &Counted<Arc<TallyPolicy>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(policies.iter().map(|(policy, counts)| (&**policy, counts)))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Counted<Arc<TallyPolicy>>, D::Error> {
        let policies = Counted::<TallyPolicy>::deserialize(deserializer)?;
        Ok(policies.into_iter().map(|(policy, counts)| (Arc::new(policy), counts)).collect())
    }
}

impl DomainTally {
    /// Counts one session.
    pub fn count(&mut self, policy: &Arc<TallyPolicy>, outcome: SessionOutcome) {
        let position = self.policies.iter().position(|(known, _)| known == policy);
        let position = match position {
            Some(position) => position,
            None if self.policies.len() < MAX_POLICIES => {
                self.policies.push((Arc::clone(policy), PolicyTally::default()));
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
    days: BTreeMap<i64, HashMap<String, TallyEntry>>,
}

#[derive(Debug, Default)]
struct TallyEntry {
    tally: DomainTally,
    is_changed: bool,
    /// The report is not tried again before this.
    retry_at: i64,
}

impl Tallies {
    /// With the counts that an earlier run stored. Records that cannot be read are left out.
    #[must_use]
    pub fn restored(records: Vec<TlsTallyRecord>) -> Self {
        let mut book = TallyBook::default();
        for record in records {
            match serde_json::from_str(&record.body) {
                Ok(tally) => {
                    let entry = TallyEntry { tally, ..TallyEntry::default() };
                    book.days.entry(record.day).or_default().insert(record.domain, entry);
                }
                Err(error) => {
                    tracing::error!(target: "relevo::tls", %error, domain = %record.domain, "a tally cannot be read");
                }
            }
        }
        Self(Mutex::new(book))
    }

    /// Counts one session of a policy domain.
    pub fn count(&self, now: i64, domain: &str, policy: &Arc<TallyPolicy>, outcome: SessionOutcome) {
        let mut book = self.0.lock();
        let day = book.days.entry(day_of(now)).or_default();
        if !day.contains_key(domain) && day.len() >= MAX_DOMAINS {
            return;
        }
        let entry = day.entry(domain.to_owned()).or_default();
        entry.tally.count(policy, outcome);
        entry.is_changed = true;
    }

    /// What changed since the last call, to be stored.
    #[must_use]
    pub fn take_changes(&self, node: &str) -> Vec<TlsTallyRecord> {
        let mut book = self.0.lock();
        let mut changes = Vec::new();
        for (day, domains) in &mut book.days {
            for (domain, entry) in domains {
                if std::mem::take(&mut entry.is_changed)
                    && let Ok(body) = serde_json::to_string(&entry.tally)
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

    /// Puts changes back that could not be stored: they are taken again.
    pub fn give_back(&self, changes: &[TlsTallyRecord]) {
        let mut book = self.0.lock();
        for change in changes {
            if let Some(entry) = book.days.get_mut(&change.day).and_then(|day| day.get_mut(&change.domain)) {
                entry.is_changed = true;
            }
        }
    }

    /// Reports that a node has to send by now, at most `most`, the longest due first: the day is
    /// over, and so is the delay of [`report_delay`] or the time until the next try.
    #[must_use]
    pub fn due(&self, node: &str, now: i64, most: usize) -> Vec<(i64, String)> {
        let book = self.0.lock();
        let mut due = Vec::new();
        for (day, domains) in book.days.range(..day_of(now)) {
            let end = (day + 1).saturating_mul(DAY);
            for (domain, entry) in domains {
                let at = entry.retry_at.max(end.saturating_add(report_delay(node, domain)));
                if at <= now {
                    due.push((at, *day, domain));
                }
            }
        }
        due.sort_unstable();
        due.into_iter().take(most).map(|(_, day, domain)| (day, domain.clone())).collect()
    }

    /// The counts of a day and domain.
    #[must_use]
    pub fn of(&self, day: i64, domain: &str) -> Option<DomainTally> {
        let book = self.0.lock();
        book.days.get(&day).and_then(|day| day.get(domain)).map(|entry| entry.tally.clone())
    }

    /// A report could not be sent; it is due again at `at`.
    pub fn retry(&self, day: i64, domain: &str, at: i64) {
        let mut book = self.0.lock();
        if let Some(entry) = book.days.get_mut(&day).and_then(|day| day.get_mut(domain)) {
            entry.retry_at = at;
        }
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

    /// Forgets all counts: nobody will ask for them.
    pub fn clear(&self) {
        self.0.lock().days.clear();
    }
}

/// How long after midnight the report about a domain is sent. Each node has a time of its own for
/// each domain: whoever gets reports about many domains, or from many nodes, gets them one by one.
#[must_use]
pub fn report_delay(node: &str, domain: &str) -> i64 {
    // FNV-1a: spreads well enough, and says the same after a restart.
    let octets = node.bytes().chain([0]).chain(domain.bytes());
    let mix = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    let hash = octets.fold(0xcbf2_9ce4_8422_2325, mix);
    // Its low bits hardly know the first octets.
    let spread = (SPREAD - EARLIEST).unsigned_abs();
    EARLIEST + i64::try_from((hash ^ (hash >> 32)) % spread).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Arc<TallyPolicy> {
        let (lines, mx) = (vec!["version: STSv1".into()], vec!["*.a".into()]);
        Arc::new(TallyPolicy { kind: PolicyKind::Sts, lines, mx })
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
        let tally = restored.of(1, "a.example").unwrap();
        assert_eq!((Some(&tally), tally.policies.len()), (tallies.of(1, "a.example").as_ref(), 1));
        let counts = &tally.policies[0].1;
        assert_eq!((counts.successes, counts.failures, counts.details[0].1), (1, 2, 2));
        restored.forget(1, "a.example");
        assert_eq!(restored.of(1, "a.example"), None);
    }

    #[test]
    fn what_could_not_be_stored_is_taken_again() {
        let tallies = Tallies::default();
        tallies.count(DAY, "a.example", &policy(), SessionOutcome::Success);
        let changes = tallies.take_changes("node");
        tallies.give_back(&changes);
        assert_eq!(tallies.take_changes("node"), changes);
    }

    #[test]
    fn reports_are_spread_over_four_hours_and_a_failed_one_gets_behind_the_others() {
        let tallies = Tallies::default();
        let domains: Vec<String> = (0..400).map(|number| format!("{number}.example")).collect();
        for domain in &domains {
            tallies.count(1, domain, &policy(), SessionOutcome::Success);
        }
        assert_eq!(tallies.due("node", DAY - 1, 1_000), []);
        for quarter in 1..=4 {
            let due = tallies.due("node", DAY + quarter * SPREAD / 4, 1_000).len() as i64;
            assert!((100 * quarter - due).abs() < 40, "{due} in {quarter} quarters");
        }
        assert!(report_delay("node", "1.example") != report_delay("other", "1.example"));
        let first = tallies.due("node", 2 * DAY, 1);
        assert_eq!(first, tallies.due("node", 2 * DAY, 2)[..1]);
        tallies.retry(first[0].0, &first[0].1, 2 * DAY);
        assert_eq!(tallies.due("node", 2 * DAY, 400).last(), first.first());
        tallies.retry(first[0].0, &first[0].1, 2 * DAY + 1);
        assert_eq!(tallies.due("node", 2 * DAY, 400).len(), 399);
    }

    #[test]
    fn the_text_of_a_policy_is_shared() {
        let (tallies, policy) = (Tallies::default(), policy());
        for _ in 0..3 {
            tallies.count(DAY, "a.example", &policy, SessionOutcome::Success);
        }
        assert!(Arc::ptr_eq(&tallies.of(1, "a.example").unwrap().policies[0].0, &policy));
    }

    #[test]
    fn counts_are_bounded() {
        let mut tally = DomainTally::default();
        for number in 0..MAX_FAILURES + 20 {
            tally.count(&policy(), failure(&number.to_string()));
            let other = TallyPolicy { lines: vec![number.to_string()], ..(*policy()).clone() };
            tally.count(&Arc::new(other), SessionOutcome::Success);
        }
        assert_eq!(tally.policies.len(), MAX_POLICIES);
        let counts = &tally.policies[0].1;
        assert_eq!((counts.failures, counts.details.len()), (MAX_FAILURES as u64 + 20, MAX_FAILURES));
        assert!(counts.details[0].0.reason.as_ref().is_some_and(|reason| reason.len() <= MAX_INFORMATION));
    }
}
