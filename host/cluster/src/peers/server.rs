//! Answers other nodes about the shards that are here.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use relevo_queue::{
    Backlog, EmbeddedStore, EventError, EventLog as _, ItemId, ItemView, OperatorAction, Queue, QueueKey,
    StoreError,
};

use super::calls::{self, BODY_PIECE, BodyPiece, ITEMS, MAX_ENTRIES, StoreAnswer, StoreCall, StoreFailure};
use super::calls::{StoreQuestion, item};
use super::metrics::PeerMetrics;
use super::place::place_behind;
use crate::shards::Shards;
use crate::tcp::Answering;
use crate::wire::WireError;

/// Queue keys of an answer: each has some hundred octets.
const MAX_KEYS: usize = 20_000;
/// Deliveries that are looked at for one answer.
const MAX_LOOKS: u32 = 1_000_000;

/// See the module.
pub struct PeerServer {
    shards: Arc<Shards>,
    /// Does acts: over [`Self::shards`], so that it forwards nothing.
    local: Arc<dyn Queue>,
    metrics: PeerMetrics,
    waits: OnceLock<EndsWaits>,
}

/// Ends what deliveries of these queue keys were put off for: they were made due for an operator.
pub type EndsWaits = Arc<dyn Fn(&[QueueKey]) + Send + Sync>;

#[async_trait]
impl Answering for PeerServer {
    async fn answer(&self, content: &[u8]) -> Result<Vec<u8>, WireError> {
        let question: StoreQuestion = calls::decode(content)?;
        self.metrics.answered();
        calls::encode(&self.answer_to(question).await)
    }
}

impl PeerServer {
    /// Over the shards of this node. `local` is a queue over them, which does what is asked of messages.
    #[must_use]
    pub fn new(shards: Arc<Shards>, local: Arc<dyn Queue>, metrics: PeerMetrics) -> Self {
        Self { shards, local, metrics, waits: OnceLock::new() }
    }

    /// Calls this when another node makes messages due.
    pub fn ends_waits_by(&self, ends: EndsWaits) {
        // The first one stays.
        let _ = self.waits.set(ends);
    }

    /// The answer to a question of another node.
    pub async fn answer_to(&self, StoreQuestion { shard, call }: StoreQuestion) -> StoreAnswer {
        let Some(store) = self.shards.get(shard) else { return StoreAnswer::Failed(StoreFailure::NotServed) };
        if call.messages().any(|message| message.shard() != shard) {
            let why = "a message is of another shard".to_owned();
            return StoreAnswer::Failed(StoreFailure::Other(why));
        }
        let done = match call {
            StoreCall::Act { .. } | StoreCall::Append { .. } => self.change(&store, call).await,
            StoreCall::Events { .. }
            | StoreCall::EventsBefore { .. }
            | StoreCall::EventsOf { .. }
            | StoreCall::PlaceBehind { .. } => events(&store, call).await,
            _ => read(&store, call).await,
        };
        done.unwrap_or_else(|error| StoreAnswer::Failed(error.into()))
    }

    async fn change(&self, store: &EmbeddedStore, call: StoreCall) -> Result<StoreAnswer, StoreError> {
        if let StoreCall::Act { item: id, domain, action, .. } = &call {
            self.end_waits(store, item(*id), domain.as_deref(), *action).await;
        }
        match call {
            StoreCall::Act { item: id, domain: None, action, now, events } => {
                self.local.act(item(id), action, now, events).await.map(StoreAnswer::Acted)
            }
            StoreCall::Act { item: id, domain: Some(domain), action, now, .. } => {
                let acted = self.local.act_on_domain(item(id), &domain, action, now).await;
                acted.map(StoreAnswer::Acted)
            }
            StoreCall::Append { events, are_expendable: true } => {
                store.append_expendable(events).await.map(|()| StoreAnswer::Appended)
            }
            StoreCall::Append { events, .. } => store.append(events).await.map(|()| StoreAnswer::Appended),
            _ => Err(not_known()),
        }
    }
}

impl PeerServer {
    async fn end_waits(
        &self,
        store: &EmbeddedStore,
        item: ItemId,
        domain: Option<&str>,
        action: OperatorAction,
    ) {
        let Some(ends) = self.waits.get() else { return };
        if !matches!(action, OperatorAction::Retry | OperatorAction::Release) {
            return;
        }
        // What cannot be read is in quarantine soon.
        let Ok(Some(view)) = store.item(item).await else { return };
        let keys = view.deliveries.into_iter().map(|view| view.delivery.key);
        let keys: Vec<QueueKey> =
            keys.filter(|key| domain.is_none_or(|domain| key.domain == domain)).collect();
        ends(&keys);
    }
}

fn not_known() -> StoreError {
    StoreError::Io("the call is not known: the node has another version".into())
}

fn entries(max: u32) -> usize {
    usize::try_from(max.min(MAX_ENTRIES)).unwrap_or(0)
}

fn looks(max: u32) -> usize {
    usize::try_from(max.min(MAX_LOOKS)).unwrap_or(0)
}

async fn read(store: &EmbeddedStore, call: StoreCall) -> Result<StoreAnswer, StoreError> {
    Ok(match call {
        StoreCall::Item(id) => StoreAnswer::Item(store.item(item(id)).await?),
        StoreCall::Body { item: id, offset } => StoreAnswer::Body(body(store, item(id), offset).await?),
        StoreCall::Delivery(id) => StoreAnswer::Delivery(store.delivery(id).await?),
        StoreCall::List { after, max } => fitting(store.list(after.map(item), entries(max)).await?.items),
        StoreCall::ItemsTo { domain, after, looks: all, max } => {
            let found = store.items_to(&domain, after.map(item), looks(all), entries(max));
            StoreAnswer::ItemsTo(found.await)
        }
        StoreCall::Backlog { now, looks: all } => {
            StoreAnswer::Backlog(largest(store.backlog(now, looks(all)).await))
        }
        StoreCall::Counts(tenants) => {
            let held = tenants.iter().take(entries(MAX_ENTRIES)).map(|tenant| store.held(tenant)).collect();
            StoreAnswer::Counts { stats: store.stats(), held }
        }
        StoreCall::AcceptedRequest { tenant, key, now } => {
            StoreAnswer::Request(store.accepted_request(&tenant, &key, now).await?)
        }
        _ => return Err(not_known()),
    })
}

async fn events(store: &EmbeddedStore, call: StoreCall) -> Result<StoreAnswer, StoreError> {
    let found = match call {
        StoreCall::Events { tenant, after, max } => store.events(Some(&tenant), after, entries(max)).await,
        StoreCall::EventsBefore { tenant, of_messages: true, before, max } => {
            Ok(store.messages_before(&tenant, before, entries(max)).await?)
        }
        StoreCall::EventsBefore { tenant, before, max, .. } => {
            Ok(store.events_before(&tenant, before, entries(max)).await?)
        }
        StoreCall::EventsOf { message, after, max } => {
            Ok(store.events_of(item(message), after, entries(max)).await?)
        }
        StoreCall::PlaceBehind { tenant, at } => {
            return match place_behind(store, &tenant, at).await {
                Ok(place) => Ok(StoreAnswer::Place(place)),
                Err(error) => failed(error),
            };
        }
        _ => return Err(not_known()),
    };
    found.map(StoreAnswer::Events).or_else(failed)
}

fn failed(error: EventError) -> Result<StoreAnswer, StoreError> {
    match error {
        EventError::Pruned { oldest } => Ok(StoreAnswer::Failed(StoreFailure::Pruned(oldest))),
        EventError::Store(error) => Err(error),
    }
}

/// As many items as fit, and one at least.
fn fitting(mut items: Vec<ItemView>) -> StoreAnswer {
    let mut octets = 0;
    let count = items.iter().take_while(|item| {
        let is_first = octets == 0;
        octets += calls::length(*item);
        is_first || octets <= ITEMS
    });
    let count = count.count();
    let is_cut = count < items.len();
    items.truncate(count);
    StoreAnswer::Items { items, is_cut }
}

/// The keys with the most recipients.
fn largest(mut backlog: Backlog) -> Backlog {
    if backlog.keys.len() > MAX_KEYS {
        backlog.keys.sort_by_key(|key| std::cmp::Reverse(key.recipients));
        backlog.keys.truncate(MAX_KEYS);
        backlog.is_truncated = true;
    }
    backlog
}

async fn body(store: &EmbeddedStore, item: ItemId, offset: u64) -> Result<Option<BodyPiece>, StoreError> {
    let Some(source) = store.body(item).await? else { return Ok(None) };
    let read = move || {
        let size = source.size();
        let left = size.saturating_sub(offset).min(u64::from(BODY_PIECE));
        let mut octets = vec![0; usize::try_from(left).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match source.read_at(offset.saturating_add(filled as u64), rest) {
                Ok(0) => return Err(StoreError::Io("the body is cut short".into())),
                Ok(read) => filled += read,
                Err(error) => return Err(StoreError::Io(error.to_string())),
            }
        }
        Ok(Some(BodyPiece { size, octets }))
    };
    let fault = |error: tokio::task::JoinError| StoreError::Io(format!("internal fault: {error}"));
    tokio::task::spawn_blocking(read).await.map_err(fault)?
}
