//! Addresses that get no mail: looked up for every recipient, told to the sender at once.
//!
//! A Bloom filter in memory answers for addresses that are not listed, so that they cost no look
//! into the store. The store alone decides about the others, and about all of them if other
//! processes write to it: their entries are not in this process's filter.
//!
//! The filter has a fixed size: 3.6 octets for each entry that there was at the start, and 0.2 MB at
//! least. `examples/suppressions.rs` measures it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fastbloom::AtomicBloomFilter;
use relevo_delivery::RecipientGuard;
use relevo_mailkit::address::Address;
use relevo_mailkit::event::{Event, PluginAnswer, SuppressionChange, SuppressionPause};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::Reply;
use relevo_mailkit::text::{escaped, printable};
use relevo_queue::{EventLog, ItemMeta, NewEvent};
pub use relevo_store::{ALL_STREAMS, SuppressionCause, SuppressionFilter, SuppressionRecord};
use relevo_store::{ControlStoreError, SuppressionStore};
use tracing::{error, info, warn};

use crate::clock::{Clock, IdSource, timestamp};
use crate::events;
use crate::policy::{Check, PolicyRequest, PolicyResult, RecipientDecision};
use crate::settings::Tenant;
use crate::topics::Topics;

mod rules;
mod subscriptions;
mod undo;

pub use rules::{
    ComplaintScope, IncidentRule, MailboxFullRule, SettingsOf, SuppressionOverrides, SuppressionRuleMetrics,
    SuppressionRuleSettings, SuppressionRules, suppression_reader_name,
};
pub use subscriptions::{Choices, MailingList, TopicChoice, UNSUBSCRIBE};
pub use undo::{UndoFields, UndoMistake, Undone};

/// Name of the check in answers and traces.
pub(crate) const CHECK: &str = "suppression";
/// Addresses that are not listed and are looked up all the same: one in a thousand.
const FALSE_POSITIVES: f64 = 0.001;
/// The filter is made for twice as many entries as there are, and for this many at least.
const LEAST_EXPECTED: usize = 100_000;
/// Entries that are read at once.
const PAGE: u32 = 10_000;
/// Time between two attempts to fill the filter.
const FILL_AGAIN: Duration = Duration::from_secs(10);
/// Octets of a detail.
const MAX_DETAIL: usize = 500;

/// Why an address cannot be added or looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuppressionError {
    /// It is not an address.
    #[error("{0}")]
    Address(String),
    /// The store failed. The log has the details.
    #[error("the list of suppressed addresses is not available now, try again later")]
    Unavailable,
}

impl From<ControlStoreError> for SuppressionError {
    fn from(error: ControlStoreError) -> Self {
        error!(%error, "the store of suppressed addresses failed");
        Self::Unavailable
    }
}

/// An entry to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSuppression {
    /// As [`canonical`] writes it.
    pub address: String,
    /// [`ALL_STREAMS`], a stream, or `topic:` and a topic.
    pub stream: String,
    /// `bounce`, `complaint`, `unsubscribe` or `manual`.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// The message that led to it.
    pub message_id: Option<String>,
}

/// The lists of all tenants.
pub struct Suppressions {
    store: Arc<dyn SuppressionStore>,
    events: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    topics: Topics,
    filter: AtomicBloomFilter,
    /// The filter knows every entry. Until then the store is asked about every address, and a store
    /// that other processes write to is always asked.
    filled: AtomicBool,
}

/// The form in which addresses are compared: lower case, without needless quotes, the domain in A-labels.
///
/// It is made once, where an address comes in: lower case may have more octets than an address may have.
///
/// # Errors
/// It is not an address.
pub fn canonical(address: &str) -> Result<String, SuppressionError> {
    let parsed =
        Address::parse(address.trim()).map_err(|error| SuppressionError::Address(error.to_string()))?;
    Ok(format!("{}@{}", canonical_local(&parsed), parsed.domain))
}

/// `"ana"` and `"an\a"` name the mailbox of `ana` (RFC 5321 section 4.1.2).
fn canonical_local(address: &Address) -> String {
    let quoted = address.local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
    let Some(quoted) = quoted else { return address.local.to_lowercase() };
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    let unquoted = Address::parse(&format!("{plain}@{}", address.domain));
    let needs_quotes = plain.starts_with('"') || unquoted.map_or(true, |unquoted| unquoted.local != plain);
    let plain = plain.to_lowercase();
    match needs_quotes {
        true => format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")),
        false => plain,
    }
}

impl Suppressions {
    /// Lists in this store. [`Self::fill`] must run beside it.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(
        store: Arc<dyn SuppressionStore>,
        events: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        topics: Topics,
    ) -> Result<Self, SuppressionError> {
        let count = if store.is_shared() { 0 } else { store.count_suppressions().await? };
        let count = usize::try_from(count).unwrap_or(0);
        let expected = count.saturating_mul(2).max(LEAST_EXPECTED);
        let filter = AtomicBloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(expected);
        Ok(Self { store, events, clock, ids, topics, filter, filled: AtomicBool::new(false) })
    }

    /// Reads every entry into the filter, and tries again while the store fails. Lookups are right
    /// before it ends, and slower. It has no use for a store that other processes write to.
    pub async fn fill(&self) {
        if self.store.is_shared() {
            return;
        }
        let (mut after, mut count) = ((String::new(), String::new()), 0_usize);
        loop {
            match self.store.all_suppressions((&after.0, &after.1), PAGE).await {
                Ok(page) if page.is_empty() => break,
                Ok(page) => {
                    count += page.len();
                    for pair in page {
                        self.filter.insert(&pair);
                        after = pair;
                    }
                }
                Err(error) => {
                    warn!(%error, "suppressed addresses cannot be read: each recipient is looked up in the store");
                    tokio::time::sleep(FILL_AGAIN).await;
                }
            }
        }
        self.filled.store(true, Ordering::Release);
        info!(count, "suppressed addresses are known");
    }

    /// The entries of an address that [`canonical`] wrote, in any stream.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(&self, tenant: &str, address: &str) -> Result<Vec<SuppressionRecord>, SuppressionError> {
        if self.filled.load(Ordering::Acquire) && !self.filter.contains(&(tenant, address)) {
            return Ok(Vec::new());
        }
        Ok(self.store.suppressions_of(tenant, address).await?)
    }

    /// The entry that keeps mail with these labels from an address. A topic that the address must
    /// have chosen and did not keeps it off, too.
    ///
    /// # Errors
    /// The store's.
    pub async fn suppressed(
        &self,
        tenant: &str,
        labels: &Labels,
        address: &str,
    ) -> Result<Option<SuppressionRecord>, SuppressionError> {
        // `postmaster` without a domain, and whatever else can be no entry.
        let Ok(address) = canonical(address) else { return Ok(None) };
        self.kept_from(tenant, labels, address).await
    }

    /// Adds entries and returns those that are new.
    ///
    /// # Errors
    /// The store failed: none is added.
    pub async fn add(
        &self,
        tenant: &str,
        entries: Vec<NewSuppression>,
    ) -> Result<Vec<SuppressionRecord>, SuppressionError> {
        let now = self.clock.now();
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            records.push(SuppressionRecord {
                id: self.new_id()?,
                address: entry.address,
                stream: entry.stream,
                reason: entry.reason,
                detail: escaped(&entry.detail, MAX_DETAIL),
                message_id: entry.message_id,
                created_at: now,
                cause: None,
            });
        }
        // The filter first: an entry that is stored must never be missing in it.
        for record in &records {
            self.filter.insert(&(tenant, record.address.as_str()));
        }
        let added = self.store.add_suppressions(tenant, &records).await?;
        self.tell(tenant, &added, Event::SuppressionAdded).await;
        Ok(added)
    }

    /// Removes entries, at most `max`, and returns them.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, SuppressionError> {
        // The filter keeps what is removed: an address that it knows in vain costs one lookup.
        let removed = self.store.remove_suppressions(tenant, filter, max).await?;
        self.tell(tenant, &removed, Event::SuppressionRemoved).await;
        Ok(removed)
    }

    /// Entries by address and stream, those behind `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, SuppressionError> {
        Ok(self.store.suppressions(tenant, filter, after, max).await?)
    }

    /// The refusal of a recipient that gets no mail of any stream.
    ///
    /// # Errors
    /// The reply for RCPT: 550 for a suppressed address, 451 if that cannot be told.
    pub async fn refuse(&self, tenant: &str, address: &str) -> Result<(), Reply> {
        // `postmaster` without a domain, and whatever else can be no entry.
        let Ok(address) = canonical(address) else { return Ok(()) };
        let entries = match self.of(tenant, &address).await {
            Ok(entries) => entries,
            Err(error) => return Err(Reply::new(451, (4, 3, 0), error.to_string())),
        };
        match entries.iter().find(|entry| entry.stream == ALL_STREAMS) {
            Some(entry) => Err(reply(entry)),
            None => Ok(()),
        }
    }

    fn new_id(&self) -> Result<String, SuppressionError> {
        let id = self.ids.item_id(self.clock.now()).map_err(|error| {
            error!(%error, "no id for a suppressed address");
            SuppressionError::Unavailable
        })?;
        Ok(id.to_string())
    }

    /// Rules pause for tenants.
    async fn tell_of_pauses(&self, pauses: Vec<(String, SuppressionPause)>) {
        let now = self.clock.now();
        let told =
            |(tenant, pause): (String, _)| events::event(&tenant, None, now, Event::SuppressionPaused(pause));
        self.write(pauses.into_iter().map(told).collect()).await;
    }

    async fn tell(
        &self,
        tenant: &str,
        records: &[SuppressionRecord],
        event: impl Fn(SuppressionChange) -> Event,
    ) {
        let now = self.clock.now();
        let change = |record: &SuppressionRecord| SuppressionChange {
            recipient: record.address.clone(),
            list: record.stream.clone(),
            reason: record.reason.clone(),
            classification_rule: record.cause.as_ref().map(|cause| cause.rule.clone()),
            provider: record.cause.as_ref().map(|cause| cause.provider.clone()),
        };
        // An entry of a rule belongs to the message that led to it.
        let item = |record: &SuppressionRecord| {
            record.cause.as_ref().and(record.message_id.as_deref()).and_then(|id| id.parse().ok())
        };
        let told =
            |record: &SuppressionRecord| events::event(tenant, item(record), now, event(change(record)));
        self.write(records.iter().map(told).collect()).await;
    }

    async fn write(&self, all: Vec<NewEvent>) {
        if !all.is_empty()
            && let Err(error) = self.events.append(all).await
        {
            warn!(%error, "changes of suppressed addresses are missing in the event log");
        }
    }
}

/// Why an address gets no mail, and since when.
pub(crate) fn in_words(entry: &SuppressionRecord) -> String {
    let day = timestamp(entry.created_at);
    let day = day.split('T').next().unwrap_or_default();
    let text = format!("{} is suppressed since {day}: {} {}", entry.address, entry.reason, entry.detail);
    printable(text.trim_end(), 400)
}

fn reply(entry: &SuppressionRecord) -> Reply {
    Reply::new(550, (5, 7, 1), in_words(entry))
}

/// Mail meets entries of its stream, of its topic, and those of all streams. `topic` is the name of
/// the topic where mail names it by id.
fn concerns(entry: &SuppressionRecord, labels: &Labels, topic: Option<&str>) -> bool {
    let is_topic = || {
        let named = entry.stream.strip_prefix("topic:");
        named.is_some_and(|named| named == labels.topic || Some(named) == topic)
    };
    entry.stream == ALL_STREAMS || entry.stream == labels.stream.name() || is_topic()
}

/// An address that was suppressed after the message was accepted gets nothing any more.
#[async_trait]
impl RecipientGuard for Suppressions {
    async fn suppression(&self, meta: &ItemMeta, address: &str) -> Result<Option<String>, String> {
        if meta.tenant.is_empty() {
            return Ok(None);
        }
        let found = self.suppressed(&meta.tenant, &meta.labels, address).await;
        Ok(found.map_err(|error| error.to_string())?.map(|entry| in_words(&entry)))
    }
}

#[async_trait]
impl Check for Suppressions {
    fn name(&self) -> &'static str {
        CHECK
    }

    fn applies_to(&self, _: &Tenant) -> bool {
        true
    }

    fn reads_fields(&self) -> bool {
        false
    }

    async fn check(&self, request: &PolicyRequest) -> PolicyResult {
        let mut result = PolicyResult::accept_all(request.envelope.recipients.len());
        for (index, recipient) in request.envelope.recipients.iter().enumerate() {
            let labels = &request.options.labels;
            let entry = match self.suppressed(&request.tenant.id, labels, &recipient.address).await {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(error) => return unavailable(request.envelope.recipients.len(), &error),
            };
            let decided_by = Some(result.answers.len());
            result.decisions[index] =
                RecipientDecision { verdict: Verdict::Reject(reply(&entry)), decided_by };
            result.answers.push(answer(entry.reason));
        }
        result
    }
}

/// Every recipient is refused for now: a 4xx for some beside others that are accepted would be a
/// bounce, and the client would not try again.
fn unavailable(recipients: usize, error: &SuppressionError) -> PolicyResult {
    let verdict = Verdict::Reject(Reply::new(451, (4, 3, 0), error.to_string()));
    PolicyResult {
        decisions: vec![RecipientDecision { verdict, decided_by: Some(0) }; recipients],
        answers: vec![answer("fault".to_owned())],
        faulted: true,
        ..PolicyResult::default()
    }
}

fn answer(reason: String) -> PluginAnswer {
    PluginAnswer { plugin: CHECK.to_owned(), digest: String::new(), verdict: "reject".to_owned(), reason }
}

#[cfg(test)]
mod tests;
