//! What waits by the recipients' domain, and acts on all mail to one.

use std::collections::{BTreeMap, HashMap};

use relevo_delivery::KeyPlace;
use relevo_delivery::clock::timestamp;
use relevo_delivery::shaping::SuspensionReport;
use relevo_queue::{Acted, ItemId, KeyBacklog, Millis, QueueKey};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{AttemptView, LOOKS, QueueAction, QueueAdmin, QueueAdminError, parse};
use crate::audit::Act;

/// The most domains that are listed.
pub const MAX_DOMAINS: usize = 500;
/// Messages that one call acts on.
const STEP: usize = 500;
/// Writes that are under way at once: they share their syncs.
const WRITES: usize = 50;

/// What waits by domain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainsView {
    /// Domains with the most pending recipients first.
    pub data: Vec<DomainView>,
    /// There are domains beside those of `data`.
    pub has_more: bool,
    /// All domains that were seen.
    pub domains: usize,
    /// More waits than was looked at: counts are too low, and domains may be missing.
    pub truncated: bool,
    /// Shards that could not be asked: what they have is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unavailable_shards: Vec<u16>,
}

/// What waits for a domain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainView {
    /// The recipients' domain.
    pub domain: String,
    /// Deliveries with pending recipients.
    pub deliveries: u64,
    /// Pending recipients.
    pub recipients: u64,
    /// Deliveries that are due.
    pub due: u64,
    /// Deliveries that are being attempted.
    pub being_attempted: u64,
    /// Deliveries that are held.
    pub held: u64,
    /// The first that will be due, or is. None: all is held or being attempted.
    pub next_attempt: Option<String>,
    /// When the oldest message was accepted.
    pub oldest_accepted_at: Option<String>,
    /// Pools that it is sent from, those that mail names.
    pub pools: Vec<String>,
    /// MX hosts. None: they were not looked up of late.
    pub site: Option<String>,
    /// The provider of the hosts.
    pub provider: Option<String>,
    /// Why nothing more is begun now, in words. None: nothing is in the way.
    pub hold: Option<String>,
    /// What the last attempt of the oldest message found.
    pub last: Option<AttemptView>,
    /// What is suspended at the provider, for any subject.
    pub suspensions: Vec<SuspensionReport>,
}

/// What came of an act on a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteActed {
    /// Messages that it was done to.
    pub count: usize,
    /// Where to go on: after this id. None: it was done to all.
    pub next: Option<ItemId>,
    /// Shards that could not be asked: it was not done to what they have.
    pub unavailable_shards: Vec<u16>,
}

/// What waits for one domain, over all its queue keys.
#[derive(Default)]
struct DomainSum {
    keys: Vec<KeyBacklog>,
    recipients: u64,
}

impl DomainSum {
    fn sum(&self, count: impl Fn(&KeyBacklog) -> u64) -> u64 {
        self.keys.iter().map(count).sum()
    }

    fn next(&self) -> Option<Millis> {
        self.keys.iter().filter_map(|of| of.next_due).min()
    }
}

impl QueueAdmin {
    /// What waits by domain, those with the most pending recipients first, `max` of them. From
    /// memory, but for one record of each domain.
    pub async fn domains(&self, max: usize) -> DomainsView {
        let backlog = self.queue.backlog(self.clock.now(), LOOKS).await;
        let mut by_domain: HashMap<String, DomainSum> = HashMap::new();
        for of in backlog.keys {
            let sum = by_domain.entry(of.key.domain.clone()).or_default();
            sum.recipients += of.recipients;
            sum.keys.push(of);
        }
        let domains = by_domain.len();
        let mut sums: Vec<(String, DomainSum)> = by_domain.into_iter().collect();
        sums.sort_by(|a, b| b.1.recipients.cmp(&a.1.recipients).then_with(|| a.0.cmp(&b.0)));
        sums.truncate(max.min(MAX_DOMAINS));
        let suspensions = self.delivery.as_ref().map(|d| d.shaping().suspensions).unwrap_or_default();
        let mut data = Vec::with_capacity(sums.len());
        for (domain, sum) in sums {
            data.push(self.domain_view(domain, sum, &suspensions).await);
        }
        DomainsView {
            has_more: domains > data.len(),
            data,
            domains,
            truncated: backlog.is_truncated,
            unavailable_shards: backlog.unavailable_shards,
        }
    }

    async fn domain_view(
        &self,
        domain: String,
        mut sum: DomainSum,
        suspensions: &[SuspensionReport],
    ) -> DomainView {
        // The key with the most mail says where it goes.
        sum.keys.sort_by_key(|of| std::cmp::Reverse(of.recipients));
        let keys: Vec<&QueueKey> = sum.keys.iter().map(|of| &of.key).collect();
        let KeyPlace { site, provider, hold } = self.place(&keys);
        let oldest = match sum.keys.iter().map(|of| of.oldest).min() {
            // What cannot be read says nothing here; delivery puts it into quarantine.
            Some(oldest) => self.queue.delivery(oldest).await.ok().flatten(),
            None => None,
        };
        let mut pools: Vec<String> =
            keys.iter().map(|key| key.pool.clone()).filter(|pool| !pool.is_empty()).collect();
        pools.sort();
        pools.dedup();
        let at_provider = |suspension: &&SuspensionReport| Some(&suspension.provider) == provider.as_ref();
        DomainView {
            deliveries: sum.sum(|of| of.deliveries),
            recipients: sum.recipients,
            due: sum.sum(|of| of.due),
            being_attempted: sum.sum(|of| of.leased),
            held: sum.sum(|of| of.held),
            next_attempt: sum.next().map(timestamp),
            oldest_accepted_at: oldest.as_ref().map(|oldest| timestamp(oldest.meta.accepted_at)),
            last: oldest
                .as_ref()
                .and_then(|oldest| oldest.view.delivery.last.as_ref())
                .map(AttemptView::from),
            suspensions: suspensions.iter().filter(at_provider).cloned().collect(),
            domain,
            pools,
            site,
            provider,
            hold,
        }
    }

    fn place(&self, keys: &[&QueueKey]) -> KeyPlace {
        let places = self.delivery.as_ref().map(|delivery| delivery.places(keys.iter().copied()));
        let places = places.unwrap_or_default();
        let known = places.iter().find(|place| **place != KeyPlace::default());
        known.cloned().unwrap_or_default()
    }

    /// Acts on the mail to one domain, of up to 500 messages after an id, oldest first. `actor` is
    /// who asks, as the audit log names them. Other recipients of these messages stay as they are.
    ///
    /// # Errors
    /// `after` is no id, or the store's: what was done by then stays done.
    pub async fn act_on_domain(
        &self,
        actor: &str,
        domain: &str,
        action: QueueAction,
        after: Option<&str>,
    ) -> Result<SiteActed, QueueAdminError> {
        let after = after.map(parse).transpose()?;
        let found = self.queue.items_to(domain, after, LOOKS, STEP).await;
        if action.ends_a_wait()
            && let Some(delivery) = &self.delivery
        {
            delivery.reset_backoff_of_domain(domain);
        }
        let (counts, done) = self.act_on_items(domain, action, found.items).await;
        let count = counts.values().sum();
        tracing::info!(domain, ?action, count, "operator");
        let verb = format!("queue {} --domain", action.name());
        for (tenant, count) in counts {
            let result = format!("done: {count} messages");
            let act = Act { tenant: &tenant, actor, action: &verb, subject: domain, result: &result };
            self.audit.write(act).await;
        }
        let unavailable_shards = found.unavailable_shards;
        done.map(|()| SiteActed { count, next: found.next, unavailable_shards })
    }

    /// How many messages of each tenant it was done to, and the first error.
    async fn act_on_items(
        &self,
        domain: &str,
        action: QueueAction,
        items: Vec<(ItemId, String)>,
    ) -> (BTreeMap<String, usize>, Result<(), QueueAdminError>) {
        let now = self.clock.now();
        let (mut counts, mut done) = (BTreeMap::new(), Ok(()));
        let mut writes = JoinSet::new();
        let mut items = items.into_iter();
        loop {
            while writes.len() < WRITES && done.is_ok() {
                let Some((id, tenant)) = items.next() else { break };
                let (queue, domain) = (self.queue.clone(), domain.to_owned());
                writes.spawn(
                    async move { (tenant, queue.act_on_domain(id, &domain, action.into(), now).await) },
                );
            }
            match writes.join_next().await {
                None => return (counts, done),
                Some(Ok((tenant, Ok(Acted::Done)))) => *counts.entry(tenant).or_default() += 1,
                // It went meanwhile, or a part of it is being attempted and cannot be dropped.
                Some(Ok((_, Ok(_)))) => {}
                Some(Ok((_, Err(error)))) => done = Err(error.into()),
                Some(Err(error)) => {
                    let error = relevo_queue::StoreError::Io(format!("internal fault: {error}"));
                    done = Err(error.into());
                }
            }
        }
    }
}
