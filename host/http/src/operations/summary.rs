//! `GET /operations/summary`: how the relay stands, for holders of an admin key.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use relevo_relay::clock::timestamp;
use relevo_relay::delivery::DeliveryHandle;
use serde::Serialize;

use super::OperationsServices;
use super::auth::Admin;
use crate::bearer::Proven;

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new().route("/operations/summary", get(show))
}

/// How the relay stands.
#[derive(Debug, Serialize)]
struct SummaryView {
    object: &'static str,
    version: &'static str,
    started_at: String,
    uptime_seconds: i64,
    /// New mail is accepted.
    ready: bool,
    /// Why it is not.
    not_ready: Option<String>,
    tenants: usize,
    domains: usize,
    queue: QueueTotals,
    /// Null: nothing is delivered here.
    delivery: Option<DeliveryTotals>,
    /// What was counted since the start. Rates are differences between two answers.
    since_start: Counters,
    disk: DiskView,
    /// The end of the certificate of the listeners. Null: there is none.
    certificate_expires_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct QueueTotals {
    messages: u64,
    /// With pending recipients.
    deliveries: u64,
    due: u64,
    being_attempted: u64,
    held: u64,
    /// Since when the oldest delivery that is due has been.
    oldest_due_at: Option<String>,
    quarantined: u64,
}

#[derive(Debug, Serialize)]
struct DeliveryTotals {
    connections: usize,
    idle_connections: usize,
    sites: usize,
    sites_down: usize,
    suspensions: usize,
    /// Pools at a provider that refusals slowed down.
    slowed: usize,
    /// Addresses at a provider that are being warmed up.
    warming_up: usize,
}

/// From the metrics.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Counters {
    /// Messages.
    accepted: u64,
    /// Messages.
    refused: u64,
    /// Recipients by what an attempt found, as the next ones.
    delivered: u64,
    delayed: u64,
    bounced: u64,
    failed: u64,
    expired: u64,
    suppressed: u64,
}

#[derive(Debug, Serialize)]
struct DiskView {
    free_octets: u64,
    /// Null: no number is known.
    free_inodes: Option<u64>,
}

async fn show(State(services): State<OperationsServices>, Proven(_): Proven<Admin>) -> Json<SummaryView> {
    let stats = services.queue.stats();
    let (settings, now) = (services.settings.get(), services.clock.now());
    let not_ready = (services.ready)().err();
    let metrics = (services.encode_metrics)().unwrap_or_default();
    let expiry = sum(&metrics, "relevo_tls_certificate_expiry_seconds", "");
    let expiry = i64::try_from(expiry).ok().filter(|at| *at > 0);
    Json(SummaryView {
        object: "operations_summary",
        version: env!("CARGO_PKG_VERSION"),
        started_at: timestamp(services.started_at),
        uptime_seconds: now.saturating_sub(services.started_at).max(0) / 1_000,
        ready: not_ready.is_none(),
        not_ready,
        tenants: settings.directory.tenants().count(),
        domains: settings.directory.domains().count(),
        queue: QueueTotals {
            messages: stats.items,
            deliveries: stats.deliveries,
            due: stats.due,
            being_attempted: stats.leased,
            held: stats.held,
            oldest_due_at: stats.oldest_due.map(timestamp),
            quarantined: stats.quarantined,
        },
        delivery: services.delivery.as_ref().map(delivery),
        since_start: Counters::of(&metrics),
        disk: DiskView { free_octets: stats.free_octets, free_inodes: stats.free_inodes },
        certificate_expires_at: expiry.map(|seconds| timestamp(seconds.saturating_mul(1_000))),
    })
}

fn delivery(delivery: &DeliveryHandle) -> DeliveryTotals {
    let (stats, shaping) = (delivery.stats(), delivery.shaping());
    let pools = shaping.providers.iter().flat_map(|provider| &provider.pools);
    DeliveryTotals {
        connections: stats.active,
        idle_connections: stats.idle,
        sites: stats.sites,
        sites_down: stats.sites_down,
        suspensions: shaping.suspensions.len(),
        slowed: pools.filter(|pool| pool.slowed.is_some()).count(),
        warming_up: delivery.warmups().iter().filter(|warmup| !warmup.is_warm).count(),
    }
}

impl Counters {
    fn of(metrics: &str) -> Self {
        let outcome =
            |name: &str| sum(metrics, "relevo_delivery_outcomes_total", &format!("outcome=\"{name}\""));
        Self {
            accepted: sum(metrics, "relevo_messages_accepted_total", ""),
            refused: sum(metrics, "relevo_messages_refused_total", ""),
            delivered: outcome("delivered"),
            delayed: outcome("delayed"),
            bounced: outcome("bounced"),
            failed: outcome("failed"),
            expired: outcome("expired"),
            suppressed: outcome("suppressed"),
        }
    }
}

/// The sum of a metric over its labels, those that contain `label`.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.filter(|rest| rest.starts_with([' ', '{']) && rest.contains(label));
    samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_metrics() {
        let metrics = "# TYPE relevo_messages_accepted counter\n\
            relevo_messages_accepted_total{source=\"smtp\"} 4\n\
            relevo_messages_accepted_total{source=\"http\"} 3\n\
            relevo_messages_accepted_total_of_others 9\n\
            relevo_delivery_outcomes_total{outcome=\"delivered\"} 5\n\
            relevo_delivery_outcomes_total{outcome=\"delayed\"} 2\n\
            relevo_tls_certificate_expiry_seconds 1795325621\n# EOF\n";
        let counters = Counters { accepted: 7, delivered: 5, delayed: 2, ..Counters::default() };
        assert_eq!(Counters::of(metrics), counters);
        assert_eq!(sum(metrics, "relevo_tls_certificate_expiry_seconds", ""), 1_795_325_621);
    }
}
