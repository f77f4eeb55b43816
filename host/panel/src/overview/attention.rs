//! What needs attention, each with the page where it is mended.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::{ApiClient, List, Problem, path};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// Entries of one kind.
const MAX_OF_A_KIND: usize = 10;
/// The share of a quota from which on it is nearly used.
const NEARLY_USED: f64 = 0.8;
/// Keys that expire within this time are named.
const KEY_DAYS: i64 = 14;

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attention {
    /// `bad` or `warning`.
    pub(super) tone: &'static str,
    /// In the reader's language.
    pub(super) text: String,
    /// More about it, in English.
    pub(super) detail: String,
    /// Where it is mended; empty: not in the panel.
    pub(super) url: String,
}

/// The use of quotas.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Quota {
    pub(super) hour: Use,
    pub(super) day: Use,
    pub(super) month: Use,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Use {
    pub(super) used: u64,
    pub(super) limit: Option<u64>,
    pub(super) resets_at: String,
}

impl Use {
    /// The share of the quota that is used.
    #[must_use]
    pub(super) fn share(&self) -> Option<f64> {
        let limit = self.limit?;
        Some(if limit == 0 { 1.0 } else { self.used as f64 / limit as f64 })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DomainRow {
    pub(super) name: String,
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
struct Reputation {
    blocklists: Vec<Listing>,
    domains: Vec<DomainRates>,
    failing: Vec<Failing>,
}

#[derive(Debug, Deserialize)]
struct Listing {
    list: String,
    address: String,
    status: String,
    #[serde(default)]
    detail: String,
}

#[derive(Debug, Deserialize)]
struct DomainRates {
    name: String,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    status: String,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Failing {
    domain: String,
    reason: String,
    stopped: bool,
}

#[derive(Debug, Deserialize)]
struct WebhookRow {
    id: String,
    endpoint: String,
    #[serde(default)]
    disabled_reason: Option<String>,
    #[serde(default)]
    failing_since: Option<String>,
}

#[derive(Debug, Deserialize)]
struct KeyRow {
    name: String,
    #[serde(default)]
    expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shaping {
    #[serde(default)]
    suspensions: Vec<Suspension>,
}

#[derive(Debug, Deserialize)]
struct Suspension {
    subject: String,
    provider: String,
    until: String,
    #[serde(default)]
    reason: String,
}

/// What was found, and the domains and quotas that the page shows, too.
pub(super) struct Found {
    pub(super) attention: Vec<Attention>,
    pub(super) domains: Vec<DomainRow>,
    pub(super) quota: Option<Quota>,
}

/// Looks at everything that the visitor may see. A question that fails is named and hides no other.
pub(super) async fn look(tenant: &TenantPage, now: Timestamp) -> Found {
    let api = Some(&tenant.api);
    let administers = api.filter(|_| tenant.visitor.is_at_least(UserRole::Developer));
    let (domains, reputation, quota, webhooks, keys, shaping) = tokio::join!(
        ask::<List<DomainRow>>(api, "/domains?limit=100"),
        ask::<Reputation>(api, "/reputation"),
        ask::<Quota>(api, "/quota"),
        ask::<List<WebhookRow>>(administers, "/webhooks?limit=100"),
        ask::<List<KeyRow>>(administers, "/api-keys?limit=100"),
        ask::<Shaping>(tenant.relay.as_ref(), "/shaping"),
    );
    let l = tenant.l;
    let mut finder = Finder { tenant, now, attention: Vec::new() };
    let domains = finder.known(l.say("nav.domains"), domains).map(|list| list.data).unwrap_or_default();
    finder.domains(&domains);
    if let Some(reputation) = finder.known(l.say("overview.reputation"), reputation) {
        finder.reputation(&reputation);
    }
    if let Some(shaping) = finder.known(l.say("nav.shaping"), shaping) {
        finder.suspensions(&shaping.suspensions);
    }
    if let Some(webhooks) = finder.known(l.say("nav.webhooks"), webhooks) {
        finder.webhooks(&webhooks.data);
    }
    let quota = finder.known(l.say("overview.quota"), quota);
    if let Some(quota) = &quota {
        finder.quotas(quota);
    }
    if let Some(keys) = finder.known(l.say("nav.keys"), keys) {
        finder.keys(&keys.data);
    }
    finder.attention.sort_by_key(|found| found.tone != "bad");
    Found { attention: finder.attention, domains, quota }
}

/// None: the visitor may not see it.
async fn ask<T: DeserializeOwned>(api: Option<&ApiClient>, line: &str) -> Result<Option<T>, Problem> {
    match api {
        Some(api) => api.get(line).await.map(Some),
        None => Ok(None),
    }
}

struct Finder<'a> {
    tenant: &'a TenantPage,
    now: Timestamp,
    attention: Vec<Attention>,
}

impl Finder<'_> {
    fn push(&mut self, tone: &'static str, text: String, detail: &str, place: &[&str]) {
        let url = if place.is_empty() { String::new() } else { self.tenant.url(place, &[]) };
        self.attention.push(Attention { tone, text, detail: detail.to_owned(), url });
    }

    fn known<T>(&mut self, name: &str, answer: Result<Option<T>, Problem>) -> Option<T> {
        answer.unwrap_or_else(|problem| {
            let text = self.tenant.l.fill("overview.not_known", &name);
            self.push("warning", text, &problem.message, &[]);
            None
        })
    }

    fn domains(&mut self, domains: &[DomainRow]) {
        let unverified = domains.iter().filter(|domain| domain.status != "verified");
        for domain in unverified.take(MAX_OF_A_KIND) {
            let text = self.tenant.l.fill("overview.unverified", &domain.name);
            self.push("warning", text, "", &["domains", &domain.name]);
        }
    }

    fn reputation(&mut self, reputation: &Reputation) {
        let l = self.tenant.l;
        for failing in reputation.failing.iter().take(MAX_OF_A_KIND) {
            let key = if failing.stopped { "overview.stopped" } else { "overview.failing" };
            let text = l.fill(key, &failing.domain);
            self.push("bad", text, &failing.reason, &["domains", &failing.domain]);
        }
        let is_failing = |name: &str| reputation.failing.iter().any(|failing| failing.domain == name);
        for domain in reputation.domains.iter().filter(|domain| !is_failing(&domain.name)) {
            let worth = |check: &&Check| matches!(check.status.as_str(), "warn" | "fail");
            for check in domain.checks.iter().filter(worth).take(MAX_OF_A_KIND) {
                let tone = if check.status == "fail" { "bad" } else { "warning" };
                let text = l.fill("overview.rates_high", &domain.name);
                self.push(tone, text, &check.message, &["domains", &domain.name]);
            }
        }
        let listed = reputation.blocklists.iter().filter(|listing| listing.status == "listed");
        for listing in listed.take(MAX_OF_A_KIND) {
            let text = l.fill("overview.listed", &listing.address);
            self.push("bad", text, &format!("{} {}", listing.list, listing.detail), &[]);
        }
    }

    /// Those of the tenant, and of addresses and pools, which may be the tenant's.
    fn suspensions(&mut self, suspensions: &[Suspension]) {
        let l = self.tenant.l;
        let own = format!("tenant:{}", self.tenant.tenant);
        let concerns = |s: &&Suspension| s.subject == own || !s.subject.starts_with("tenant:");
        for suspension in suspensions.iter().filter(concerns).take(MAX_OF_A_KIND) {
            let text = l.fill("overview.suspended", &suspension.provider);
            let text = format!("{text} {}", l.fill("overview.until", &l.time(&suspension.until)));
            let detail = format!("{}: {}", suspension.subject, suspension.reason);
            self.push("bad", text, &detail, &[]);
            if let Some(last) = self.attention.last_mut() {
                last.url = path(&["panel", "relay", "shaping"], &[]);
            }
        }
    }

    fn webhooks(&mut self, webhooks: &[WebhookRow]) {
        let l = self.tenant.l;
        let broken = |hook: &&WebhookRow| hook.disabled_reason.is_some() || hook.failing_since.is_some();
        for hook in webhooks.iter().filter(broken).take(MAX_OF_A_KIND) {
            match (&hook.disabled_reason, &hook.failing_since) {
                (Some(reason), _) => {
                    let text = l.fill("overview.webhook_disabled", &hook.endpoint);
                    self.push("bad", text, reason, &["webhooks", &hook.id]);
                }
                (None, since) => {
                    let text = l.fill("overview.webhook_failing", &hook.endpoint);
                    let since = l.time(since.as_deref().unwrap_or_default());
                    let text = format!("{text} {}", l.fill("overview.since", &since));
                    self.push("warning", text, "", &["webhooks", &hook.id]);
                }
            }
        }
    }

    fn quotas(&mut self, quota: &Quota) {
        let l = self.tenant.l;
        for (period, used) in [("hour", &quota.hour), ("day", &quota.day), ("month", &quota.month)] {
            let Some(share) = used.share().filter(|share| *share >= NEARLY_USED) else { continue };
            let tone = if share >= 1.0 { "bad" } else { "warning" };
            let text = l.fill("overview.quota_used", &l.percent(Some(share)));
            self.push(tone, text.replacen("{}", l.term("period", period), 1), "", &[]);
            if let Some(last) = self.attention.last_mut() {
                last.url = "#quota".to_owned();
            }
        }
    }

    fn keys(&mut self, keys: &[KeyRow]) {
        let l = self.tenant.l;
        let soon = self.now.saturating_add(SignedDuration::from_hours(24 * KEY_DAYS)).unwrap_or(self.now);
        let ends = |key: &KeyRow| key.expires_at.as_deref()?.parse::<Timestamp>().ok();
        let due = keys.iter().filter_map(|key| Some((key, ends(key)?))).filter(|(_, at)| *at <= soon);
        for (key, at) in due.take(MAX_OF_A_KIND) {
            let is_over = at <= self.now;
            let text =
                l.fill(if is_over { "overview.key_expired" } else { "overview.key_expires" }, &key.name);
            let when = l.time(key.expires_at.as_deref().unwrap_or_default());
            let tone = if is_over { "bad" } else { "warning" };
            self.push(tone, format!("{text} {when}."), "", &["keys"]);
        }
    }
}
