//! Topics of tenants: what a recipient can leave without leaving the rest.
//!
//! Mail names its topic by name or by id. A topic that was never made here is one all the same: it
//! has a name and can be left, but the unsubscribe page does not describe it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_store::{ControlStoreError, TopicStore};
pub use relevo_store::{TopicChange, TopicRecord};
use tracing::error;

use crate::clock::{Clock, IdSource};

/// Topics of a tenant: all of them are on its unsubscribe page.
pub const MAX_TOPICS: usize = 100;
/// The time for which topics that were read count, where another process may change them.
const FRESH: Duration = Duration::from_secs(5);
/// Tenants whose topics are kept in memory. Beyond them, those that are kept are forgotten.
const MAX_TENANTS: usize = 10_000;

/// Why a topic cannot be made, changed or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name is taken, or there are too many topics.
    #[error("{0}")]
    Conflict(String),
    /// The store failed. The log has the details.
    #[error("topics are not available now, try again later")]
    Unavailable,
}

impl From<ControlStoreError> for TopicError {
    fn from(error: ControlStoreError) -> Self {
        if let ControlStoreError::Conflict(reason) = error {
            return Self::Conflict(reason);
        }
        error!(%error, "the store of topics failed");
        Self::Unavailable
    }
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Unique among the tenant's topics.
    pub name: String,
    /// For recipients.
    pub description: String,
    /// Only those get mail who chose it.
    pub chosen_only: bool,
    /// The unsubscribe page offers it to every recipient of the tenant.
    pub public: bool,
}

/// The topics of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    store: Arc<dyn TopicStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    known: Arc<Mutex<HashMap<String, KnownTopics>>>,
}

struct KnownTopics {
    read_at: Duration,
    topics: Arc<[TopicRecord]>,
}

impl Topics {
    /// Topics in this store.
    #[must_use]
    pub fn new(store: Arc<dyn TopicStore>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, clock, ids, known: Arc::default() }
    }

    /// All topics of a tenant by id. They are at most five seconds old.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(&self, tenant: &str) -> Result<Arc<[TopicRecord]>, TopicError> {
        let now = self.clock.monotonic();
        if let Some(known) = self.known.lock().get(tenant)
            && now.saturating_sub(known.read_at) < FRESH
        {
            return Ok(Arc::clone(&known.topics));
        }
        let topics: Arc<[TopicRecord]> = self.store.topics(tenant).await?.into();
        let mut known = self.known.lock();
        if known.len() >= MAX_TENANTS {
            known.clear();
        }
        known.insert(tenant.to_owned(), KnownTopics { read_at: now, topics: Arc::clone(&topics) });
        Ok(topics)
    }

    /// The topic of this id or name; none if it was never made. An id goes before a name.
    ///
    /// # Errors
    /// The store's.
    pub async fn named(&self, tenant: &str, name: &str) -> Result<Option<TopicRecord>, TopicError> {
        let topics = self.of(tenant).await?;
        let by_id = topics.iter().find(|topic| topic.id == name);
        Ok(by_id.or_else(|| topics.iter().find(|topic| topic.name == name)).cloned())
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// The name is taken, the tenant has [`MAX_TOPICS`], or the store's.
    pub async fn add(&self, tenant: &str, new: NewTopic) -> Result<TopicRecord, TopicError> {
        if self.store.topics(tenant).await?.len() >= MAX_TOPICS {
            return Err(TopicError::Conflict(format!("there are {MAX_TOPICS} topics already")));
        }
        let now = self.clock.now();
        let id = self.ids.item_id(now).map_err(|error| {
            error!(%error, "no id for a topic");
            TopicError::Unavailable
        })?;
        let NewTopic { name, description, chosen_only, public } = new;
        let topic =
            TopicRecord { id: id.to_string(), name, description, chosen_only, public, created_at: now };
        self.store.add_topic(tenant, &topic).await?;
        self.forget(tenant);
        Ok(topic)
    }

    /// Changes a topic. False: there is none of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn change(&self, tenant: &str, id: &str, change: &TopicChange) -> Result<bool, TopicError> {
        let changed = self.store.change_topic(tenant, id, change).await?;
        self.forget(tenant);
        Ok(changed)
    }

    /// Deletes a topic. False: there is none of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<bool, TopicError> {
        let deleted = self.store.delete_topic(tenant, id).await?;
        self.forget(tenant);
        Ok(deleted)
    }

    /// Ids of the topics that an address chose.
    pub(crate) async fn chosen(&self, tenant: &str, address: &str) -> Result<Vec<String>, TopicError> {
        Ok(self.store.subscriptions_of(tenant, address).await?)
    }

    /// The address chooses an opt-in topic, or does not choose it any more.
    pub(crate) async fn choose(
        &self,
        tenant: &str,
        address: &str,
        topic: &TopicRecord,
        chooses: bool,
    ) -> Result<(), TopicError> {
        let since = chooses.then(|| self.clock.now());
        Ok(self.store.set_subscription(tenant, address, &topic.id, since).await?)
    }

    fn forget(&self, tenant: &str) {
        self.known.lock().remove(tenant);
    }
}
