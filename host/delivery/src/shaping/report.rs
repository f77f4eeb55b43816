//! What operators are shown of shaping.

use std::collections::BTreeMap;
use std::sync::Arc;

use relevo_queue::Millis;
use serde::Serialize;

use super::rules::{Provider, ShapingRules};
use super::state::Shaping;
use super::suspension::{SuspendedBy, Suspension};
use super::warmup::Day;
use crate::clock::timestamp;

/// The state of shaping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShapingReport {
    /// The version of the rules in force, the operator's first.
    pub rules_version: String,
    /// Providers that were sent to, and what goes there now.
    pub providers: Vec<ProviderReport>,
    /// What is suspended, the next end first.
    pub suspensions: Vec<SuspensionReport>,
}

/// A provider with its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderReport {
    /// The name, such as `google`; for a provider without rules, the domain of its MX hosts.
    pub name: String,
    /// The most connections from one source address; absent: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Messages over one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_connection: Option<u32>,
    /// Messages in a minute from one source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_minute: Option<u32>,
    /// Recipients in one transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_per_transaction: Option<u32>,
    /// Where the figures are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// Pools that send to it.
    pub pools: Vec<PathReport>,
}

/// One pool at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathReport {
    /// The pool; empty: as `[delivery]` says.
    pub pool: String,
    /// Connections, open or being opened.
    pub open: u32,
    /// Why it is slower than usual; absent: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowed: Option<SlowDownReport>,
}

/// A rate that refusals brought down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlowDownReport {
    /// Messages in a minute, now.
    pub per_minute: u32,
    /// Messages in a minute at which it ends.
    pub ends_at: u32,
    /// When it is raised next, RFC 3339.
    pub next_step: String,
    /// The reply rule.
    pub rule: String,
    /// The words of the receiver.
    pub reply: String,
}

/// A suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuspensionReport {
    /// Its name, such as `source:192.0.2.1@gmail`.
    pub id: String,
    /// Whose mail: `source:ADDRESS`, `source:system`, `pool:NAME` or `tenant:ID`.
    pub subject: String,
    /// To which provider.
    pub provider: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it ends, RFC 3339.
    pub until: String,
    /// `rule` or `operator`.
    pub by: SuspendedBy,
    /// The reply rule, or the operator.
    pub author: String,
    /// The words of the receiver, or of the operator.
    pub reason: String,
}

impl From<&Suspension> for SuspensionReport {
    fn from(suspension: &Suspension) -> Self {
        Self {
            id: suspension.id(),
            subject: suspension.subject.to_string(),
            provider: suspension.provider.clone(),
            since: timestamp(suspension.since),
            until: timestamp(suspension.until),
            by: suspension.by,
            author: suspension.author.clone(),
            reason: suspension.reason.clone(),
        }
    }
}

/// Where an address stands at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarmupReport {
    /// The source address.
    pub address: String,
    /// The provider.
    pub provider: String,
    /// `true`: the address is warm, it has no cap.
    pub is_warm: bool,
    /// The step of the ladder, from 1.
    pub step: u32,
    /// Steps of the ladder.
    pub steps: usize,
    /// The last day of use, in UTC.
    pub day: String,
    /// Recipients that it may have in a day; absent: it is warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// Of these, recipients that it may have in an hour; absent: it is warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_per_hour: Option<u32>,
    /// Recipients of that day, sent to or set aside.
    pub used: u32,
    /// Recipients that were accepted.
    pub accepted: u32,
    /// Recipients that were refused or deferred for a reason that is about the sender.
    pub deferred: u32,
    /// Complaints.
    pub complaints: u32,
    /// Why the step is what it is.
    pub note: String,
}

impl Shaping {
    /// What operators are shown.
    #[must_use]
    pub fn report(&self, rules_version: &str, known: &[Arc<Provider>], now: Millis) -> ShapingReport {
        let mut providers: BTreeMap<&str, ProviderReport> = BTreeMap::new();
        for provider in known {
            providers.entry(&provider.name).or_insert_with(|| report_of(provider));
        }
        let mut paths: Vec<_> = self.path_reports(now);
        paths.sort_by(|a, b| a.1.pool.cmp(&b.1.pool));
        for (name, path) in paths {
            if let Some(provider) = providers.get_mut(name) {
                provider.pools.push(path);
            }
        }
        ShapingReport {
            rules_version: rules_version.to_owned(),
            providers: providers.into_values().collect(),
            suspensions: self.suspensions().iter().map(|s| SuspensionReport::from(&**s)).collect(),
        }
    }

    fn path_reports(&self, now: Millis) -> Vec<(&str, PathReport)> {
        let report = |slowed: &super::SlowDown| SlowDownReport {
            per_minute: slowed.per_minute,
            ends_at: slowed.ceiling,
            next_step: timestamp(self.time_of_day(slowed.next_step.max(now))),
            rule: slowed.rule.clone(),
            reply: slowed.reply.clone(),
        };
        let of = self.paths().map(|(path, open, pace)| {
            let slowed = pace.slowed().map(|slowed| report(slowed));
            (path.provider.as_str(), PathReport { pool: path.pool.clone(), open, slowed })
        });
        of.collect()
    }

    /// Where each address that is warmed up stands, by address and provider. Those that were not used
    /// since the start are as the store has them.
    #[must_use]
    pub fn warmup_report(&self, rules: &ShapingRules) -> Vec<WarmupReport> {
        let used = self.warmups().map(|(key, warmup, provider)| (key, warmup.clone(), provider.clone()));
        let mut all: Vec<_> = used.chain(self.unused_warmups(rules)).collect();
        all.sort_by(|a, b| a.0.cmp(b.0));
        let report = |(key, warmup, provider): (&super::WarmupKey, super::Warmup, Arc<Provider>)| {
            let (count, cap) = (warmup.count(), warmup.cap(&provider.warmup));
            WarmupReport {
                address: key.address.to_string(),
                provider: key.provider.clone(),
                is_warm: cap.is_none(),
                step: count.step.saturating_add(1),
                steps: provider.warmup.ladder.len(),
                day: Day(count.day).to_string(),
                cap,
                cap_per_hour: warmup.hour_cap(&provider.warmup),
                used: warmup.used(),
                accepted: count.accepted,
                deferred: count.deferred,
                complaints: count.complaints,
                note: count.note.clone(),
            }
        };
        all.into_iter().map(report).collect()
    }
}

fn report_of(provider: &Provider) -> ProviderReport {
    let limits = &provider.limits;
    ProviderReport {
        name: provider.name.clone(),
        connections: limits.connections,
        messages_per_connection: limits.messages_per_connection,
        messages_per_minute: limits.messages_per_minute,
        recipients_per_transaction: limits.recipients_per_transaction,
        source: provider.source.clone(),
        checked: provider.checked.clone(),
        pools: Vec::new(),
    }
}
