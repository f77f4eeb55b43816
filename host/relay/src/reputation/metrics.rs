//! Metrics of block lists.

use std::net::IpAddr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListingLabels {
    list: String,
    address: String,
}

/// `relevo_blocklist_listed`.
#[derive(Debug, Clone, Default)]
pub struct ReputationMetrics {
    listed: Family<ListingLabels, Gauge>,
}

impl ReputationMetrics {
    /// Shows the metrics in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "A block list has an address that mail leaves from: 1; it has not: 0; it does not say: -1";
        registry.register("blocklist_listed", help, metrics.listed.clone());
        metrics
    }

    pub(super) fn set(&self, listings: impl Iterator<Item = ((String, IpAddr), i64)>) {
        self.listed.clear();
        for ((list, address), listed) in listings {
            self.listed.get_or_create(&ListingLabels { list, address: address.to_string() }).set(listed);
        }
    }
}
