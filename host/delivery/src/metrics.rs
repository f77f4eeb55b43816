//! Metrics of delivery: outcomes and the wait for the first attempt as they happen, gauges when
//! somebody looks.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{DeliveryHandle, DeliveryObserver, Disposition};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: String,
}

/// Counts outcomes; told by delivery.
#[derive(Debug, Clone)]
pub struct DeliveryCounters {
    outcomes: Family<OutcomeLabel, Counter>,
    first_attempt: Histogram,
}

/// Seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 3600.0];

impl DeliveryCounters {
    /// Puts them into `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Self { outcomes: Family::default(), first_attempt: Histogram::new(BUCKETS) };
        registry.register(
            "delivery_outcomes",
            "Recipients by what an attempt found",
            counters.outcomes.clone(),
        );
        registry.register(
            "delivery_first_attempt_seconds",
            "Time from when a delivery was first due to its first attempt",
            counters.first_attempt.clone(),
        );
        counters
    }
}

impl DeliveryObserver for DeliveryCounters {
    fn concluded(&self, disposition: Disposition) {
        self.outcomes
            .get_or_create(&OutcomeLabel { outcome: format!("{disposition:?}").to_lowercase() })
            .inc();
    }

    fn first_attempt(&self, waited: Duration) {
        self.first_attempt.observe(waited.as_secs_f64());
    }
}

/// Reads delivery's gauges when somebody looks.
pub struct DeliveryGauges(DeliveryHandle);

impl DeliveryGauges {
    /// Puts the gauges of `delivery` into `registry`.
    pub fn register(registry: &mut Registry, delivery: DeliveryHandle) {
        registry.register_collector(Box::new(Self(delivery)));
    }
}

impl fmt::Debug for DeliveryGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryGauges").finish_non_exhaustive()
    }
}

impl DeliveryGauges {
    fn pools(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let pools = self.0.pools();
        if pools.is_empty() {
            return Ok(());
        }
        let help = "Connections to next hops from a pool, open or being opened";
        let mut metric = encoder.encode_descriptor("pool_connections", help, None, MetricType::Gauge)?;
        for (pool, active) in pools {
            let labels = [("pool", pool)];
            let gauge = ConstGauge::new(i64::try_from(active).unwrap_or(i64::MAX));
            gauge.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl DeliveryGauges {
    fn shaping(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (report, warmups) = (self.0.shaping(), self.0.warmups());
        let slowed = report.providers.iter().flat_map(|p| &p.pools).filter(|p| p.slowed.is_some()).count();
        let cold = warmups.iter().filter(|warmup| !warmup.is_warm);
        let used_up = cold.clone().filter(|w| w.cap.is_some_and(|cap| w.used >= cap)).count();
        let gauges = [
            (
                "shaping_suspensions",
                "Suspensions of addresses, pools and tenants at a provider",
                report.suspensions.len(),
            ),
            ("shaping_slowed", "Pools at a provider that refusals slowed down", slowed),
            ("warmup_addresses", "Addresses at a provider that are being warmed up", cold.count()),
            ("warmup_caps_used_up", "Of these, those whose cap of the day is used up", used_up),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

impl Collector for DeliveryGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let long = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = [
            ("delivery_connections", "Connections to next hops, open or being opened", count(stats.active)),
            ("delivery_connections_idle", "Of these, without mail at the moment", count(stats.idle)),
            (
                "delivery_in_flight",
                "Deliveries attempted and not yet settled on disk",
                count(stats.in_flight),
            ),
            ("delivery_sites", "Sites known", count(stats.sites)),
            ("delivery_sites_down", "Sites that cannot be reached", count(stats.sites_down)),
            ("delivery_panics", "Tasks that panicked", long(stats.panics)),
            ("delivery_leases_lost", "Leases that lapsed before they were settled", long(stats.leases_lost)),
            ("delivery_store_errors", "Calls of the store that failed", long(stats.store_errors)),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        self.shaping(&mut encoder)?;
        self.pools(&mut encoder)
    }
}
