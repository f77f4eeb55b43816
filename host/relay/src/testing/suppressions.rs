//! A list on which nobody stands.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_queue::EventLog;
use relevo_store::{ControlStoreError, SuppressionFilter, SuppressionRecord, SuppressionStore};

use crate::clock::{Clock, RandomIds};
use crate::suppressions::Suppressions;

struct Empty;

#[async_trait]
impl SuppressionStore for Empty {
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

    async fn suppressions_of(&self, _: &str, _: &str) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        Ok(Vec::new())
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

    fn is_shared(&self) -> bool {
        false
    }

    async fn count_suppressions(&self) -> Result<i64, ControlStoreError> {
        Ok(0)
    }

    async fn all_suppressions(
        &self,
        _: (&str, &str),
        _: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError> {
        Ok(Vec::new())
    }
}

pub(crate) async fn no_suppressions(events: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Arc<Suppressions> {
    Arc::new(Suppressions::open(Arc::new(Empty), events, clock, Arc::new(RandomIds)).await.expect("is empty"))
}
