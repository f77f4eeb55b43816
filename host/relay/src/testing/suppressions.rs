//! Lists of suppressed addresses in memory.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_queue::EventLog;
use relevo_store::{
    ControlStoreError, SuppressionFilter, SuppressionRecord, SuppressionStore, TopicChange, TopicRecord,
    TopicStore,
};

use crate::clock::{Clock, RandomIds};
use crate::suppressions::Suppressions;
use crate::topics::Topics;

/// What is found, and the address at which the store fails.
#[derive(Default)]
pub(crate) struct FixedSuppressions {
    pub(crate) entries: Vec<SuppressionRecord>,
    pub(crate) broken: Option<&'static str>,
}

/// The tenant whose entries fill the filter.
pub(crate) const TENANT: &str = "acme";

/// An entry of `address` in `stream`.
pub(crate) fn suppressed(address: &str, stream: &str) -> SuppressionRecord {
    SuppressionRecord {
        id: format!("{address} {stream}"),
        address: address.into(),
        stream: stream.into(),
        reason: "bounce".into(),
        detail: "no such user".into(),
        message_id: None,
        created_at: 1_795_325_621_500,
        cause: None,
    }
}

#[async_trait]
impl SuppressionStore for FixedSuppressions {
    async fn add_suppressions(
        &self,
        _: &str,
        _: &[SuppressionRecord],
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn remove_suppressions(
        &self,
        _: &str,
        _: &SuppressionFilter,
        _: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn suppressions_of(
        &self,
        _: &str,
        address: &str,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        if self.broken == Some(address) {
            return Err(ControlStoreError::File("the disk is gone".into()));
        }
        Ok(self.entries.iter().filter(|entry| entry.address == address).cloned().collect())
    }

    async fn suppressions(
        &self,
        _: &str,
        _: &SuppressionFilter,
        _: (&str, &str),
        _: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn count_matching(&self, _: &str, _: &SuppressionFilter) -> Result<i64, ControlStoreError> {
        Ok(0)
    }

    async fn suppression_rule_tenants(&self, _: i64, _: i64) -> Result<Vec<String>, ControlStoreError> {
        Ok(Vec::new())
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn count_suppressions(&self) -> Result<i64, ControlStoreError> {
        Ok(0)
    }

    async fn all_suppressions(
        &self,
        after: (&str, &str),
        _: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError> {
        let pairs = self.entries.iter().map(|entry| (TENANT.to_owned(), entry.address.clone()));
        Ok(pairs.filter(|(tenant, address)| (tenant.as_str(), address.as_str()) > after).collect())
    }
}

pub(crate) async fn no_suppressions(events: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Arc<Suppressions> {
    open_suppressions(FixedSuppressions::default(), events, clock).await
}

pub(crate) async fn open_suppressions(
    store: FixedSuppressions,
    events: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
) -> Arc<Suppressions> {
    let topics = Topics::new(Arc::new(NoTopics), clock.clone(), Arc::new(RandomIds));
    let opened = Suppressions::open(Arc::new(store), events, clock, Arc::new(RandomIds), topics).await;
    Arc::new(opened.expect("opens"))
}

/// A store without topics.
struct NoTopics;

#[async_trait]
impl TopicStore for NoTopics {
    async fn add_topic(&self, _: &str, _: &TopicRecord) -> Result<(), ControlStoreError> {
        Ok(())
    }

    async fn topics(&self, _: &str) -> Result<Vec<TopicRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn change_topic(&self, _: &str, _: &str, _: &TopicChange) -> Result<bool, ControlStoreError> {
        Ok(false)
    }

    async fn delete_topic(&self, _: &str, _: &str) -> Result<bool, ControlStoreError> {
        Ok(false)
    }

    async fn subscriptions_of(&self, _: &str, _: &str) -> Result<Vec<String>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn set_subscription(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: Option<i64>,
    ) -> Result<(), ControlStoreError> {
        Ok(())
    }
}
