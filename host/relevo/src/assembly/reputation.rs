//! Reputation.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_relay::reputation::{Reputation, ReputationMetrics};
use relevo_resolve::LookUp;
use relevo_statistics::Statistics;

use super::Base;
use crate::rates;
use crate::tasks::MainTasks;

/// Opens what is kept of the reputation.
pub(super) fn open(base: &Base, lookups: Arc<dyn LookUp>, registry: &mut Registry) -> Arc<Reputation> {
    let (config, clock) = (base.parts.reputation.clone(), base.clock.clone());
    let file = base.parts.data_dir.join(relevo_relay::reputation::FILE);
    let metrics = ReputationMetrics::register(registry);
    Arc::new(Reputation::open(config, lookups, base.settings.clone(), clock, file, metrics))
}

/// The tasks that ask block lists and count rates.
pub(super) fn spawn(
    tasks: &mut MainTasks,
    base: &Base,
    reputation: &Arc<Reputation>,
    statistics: &Statistics,
) {
    let asking = reputation.clone();
    tasks.spawn("the questions to block lists", async move { asking.run().await });
    let counted =
        rates::run(statistics.clone(), base.settings.clone(), base.clock.clone(), reputation.clone());
    tasks.spawn("the counting of rates", counted);
}
