//! What a recipient gets, leaves and comes back to.
//!
//! A recipient leaves a stream or a topic by an entry with the reason `unsubscribe`, and comes back
//! when it is removed. A topic that nobody gets unasked needs more: the recipient must have chosen
//! it.

use relevo_mailkit::labels::{Labels, Stream};
use relevo_store::{SuppressionFilter, SuppressionRecord};

use super::{ALL_STREAMS, NewSuppression, SuppressionError, Suppressions};
use crate::topics::{TopicError, TopicRecord, Topics};

/// The reason of an entry by which a recipient left.
pub const UNSUBSCRIBE: &str = "unsubscribe";

/// Entries of one list that are removed at once. There is one for each address.
const ONE: u32 = 1;

impl From<TopicError> for SuppressionError {
    fn from(_: TopicError) -> Self {
        Self::Unavailable
    }
}

/// Mail that a recipient can leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailingList {
    /// All marketing mail of the tenant.
    Marketing,
    /// A topic that was made.
    Topic(TopicRecord),
    /// A topic that mail names, and that was never made or is deleted.
    UnknownTopic(String),
}

impl MailingList {
    /// The name in entries: `marketing`, or `topic:` and a topic.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Marketing => Stream::Marketing.name().to_owned(),
            Self::Topic(topic) => format!("topic:{}", topic.name),
            Self::UnknownTopic(name) => format!("topic:{name}"),
        }
    }
}

/// A topic, and whether a recipient gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicChoice {
    /// The topic.
    pub topic: TopicRecord,
    /// Its mail is sent to the recipient.
    pub subscribed: bool,
}

/// What a recipient gets from a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// Nothing at all: the address bounced, complained, or was listed by hand.
    pub suppressed: bool,
    /// Marketing mail.
    pub marketing: bool,
    /// Every topic of the tenant, by id.
    pub topics: Vec<TopicChoice>,
    /// Names of lists that the recipient left.
    pub left: Vec<String>,
}

impl Choices {
    /// Returns true if the recipient left the list.
    #[must_use]
    pub fn has_left(&self, list: &MailingList) -> bool {
        match list {
            MailingList::Topic(topic) => {
                self.topics.iter().any(|choice| choice.topic.id == topic.id && !choice.subscribed)
            }
            other => self.left.contains(&other.name()),
        }
    }
}

impl Suppressions {
    /// The topics of all tenants.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The list of mail with this topic; empty: marketing mail.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_of(&self, tenant: &str, topic: &str) -> Result<MailingList, SuppressionError> {
        if topic.is_empty() {
            return Ok(MailingList::Marketing);
        }
        let found = self.topics.named(tenant, topic).await?;
        Ok(found.map_or_else(|| MailingList::UnknownTopic(topic.to_owned()), MailingList::Topic))
    }

    /// What an address that [`super::canonical`] wrote gets.
    ///
    /// # Errors
    /// The store's.
    pub async fn choices(&self, tenant: &str, address: &str) -> Result<Choices, SuppressionError> {
        let left: Vec<String> = self.of(tenant, address).await?.into_iter().map(|e| e.stream).collect();
        let topics = self.topics.of(tenant).await?;
        let chosen = match topics.iter().any(|topic| topic.chosen_only) {
            true => self.topics.chosen(tenant, address).await?,
            false => Vec::new(),
        };
        let choice = |topic: &TopicRecord| {
            let has_left = left.contains(&MailingList::Topic(topic.clone()).name());
            let subscribed = !has_left && (!topic.chosen_only || chosen.contains(&topic.id));
            TopicChoice { topic: topic.clone(), subscribed }
        };
        Ok(Choices {
            suppressed: left.iter().any(|list| list == ALL_STREAMS),
            marketing: !left.contains(&MailingList::Marketing.name()),
            topics: topics.iter().map(choice).collect(),
            left,
        })
    }

    /// The address leaves a list. False: it had left already. `detail` says how, for people.
    ///
    /// # Errors
    /// The store's.
    pub async fn leave(
        &self,
        tenant: &str,
        address: &str,
        list: &MailingList,
        detail: &str,
        message_id: Option<String>,
    ) -> Result<bool, SuppressionError> {
        let name = list.name();
        // Repeating is cheap: whoever has a URL can repeat as often as they like.
        if self.of(tenant, address).await?.iter().any(|entry| entry.stream == name) {
            return Ok(false);
        }
        let entry = NewSuppression {
            address: address.to_owned(),
            stream: name,
            reason: UNSUBSCRIBE.to_owned(),
            detail: detail.to_owned(),
            message_id,
        };
        let added = self.add(tenant, vec![entry]).await?;
        if let MailingList::Topic(topic) = list
            && topic.chosen_only
        {
            self.topics.choose(tenant, address, topic, false).await?;
        }
        Ok(!added.is_empty())
    }

    /// The address comes back to a list. Entries that it did not make itself stay, unless `any`.
    /// False: nothing changed.
    ///
    /// # Errors
    /// The store's.
    pub async fn come_back(
        &self,
        tenant: &str,
        address: &str,
        list: &MailingList,
        any: bool,
    ) -> Result<bool, SuppressionError> {
        let name = list.name();
        let is_undone = |entry: &SuppressionRecord| any || entry.reason == UNSUBSCRIBE;
        let entries = self.of(tenant, address).await?;
        let entry = entries.into_iter().find(|entry| entry.stream == name);
        let mut changed = false;
        if let Some(entry) = entry {
            if !is_undone(&entry) {
                return Ok(false);
            }
            let one = SuppressionFilter { id: Some(entry.id), ..SuppressionFilter::default() };
            changed = !self.remove(tenant, &one, ONE).await?.is_empty();
        }
        if let MailingList::Topic(topic) = list
            && topic.chosen_only
            && !self.topics.chosen(tenant, address).await?.contains(&topic.id)
        {
            self.topics.choose(tenant, address, topic, true).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// The entry, or the missing choice, that keeps mail with these labels from an address.
    pub(super) async fn kept_from(
        &self,
        tenant: &str,
        labels: &Labels,
        address: String,
    ) -> Result<Option<SuppressionRecord>, SuppressionError> {
        let entries = self.of(tenant, &address).await?;
        let topic = match labels.topic.as_str() {
            "" => None,
            name => self.topics.named(tenant, name).await?,
        };
        let known_as = topic.as_ref().map(|topic| topic.name.as_str());
        let entry = entries.into_iter().find(|entry| super::concerns(entry, labels, known_as));
        let Some(topic) = topic.filter(|topic| entry.is_none() && topic.chosen_only) else {
            return Ok(entry);
        };
        let chosen = self.topics.chosen(tenant, &address).await?.contains(&topic.id);
        Ok((!chosen).then(|| not_chosen(address, topic)))
    }
}

/// No entry of the store: the words of a refusal are made of it.
fn not_chosen(address: String, topic: TopicRecord) -> SuppressionRecord {
    SuppressionRecord {
        id: String::new(),
        address,
        stream: format!("topic:{}", topic.name),
        reason: "not_subscribed".to_owned(),
        detail: format!("to the opt-in topic {}", topic.name),
        message_id: None,
        created_at: topic.created_at,
        cause: None,
    }
}
