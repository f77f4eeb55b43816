//! The relay at a glance: what needs attention, and how much there is of everything.

use std::time::{Duration, SystemTime};

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use relevo_relay::clock::timestamp;
use serde::Deserialize;

use super::LIVE;
use super::plugins::PluginEntry;
use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::{OperatorPage, PanelState};

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate that has less left is worth a look: renewal is usual 30 days before the end.
const CERTIFICATE: Duration = DAY.saturating_mul(21);
/// Deliveries that were due for longer wait for a free place.
const LATE: Duration = Duration::from_secs(600);
/// Octets of disk: the relay refuses mail only when much less is left.
const LOW_DISK: u64 = 2 << 30;
/// Files of disk, for the same reason.
const LOW_INODES: u64 = 50_000;
/// Broken plugins that are named.
const NAMED: usize = 10;

pub(super) fn routes() -> Router<PanelState> {
    Router::new().route("/", get(page))
}

/// How the relay stands.
#[derive(Debug, Deserialize)]
struct Summary {
    version: String,
    started_at: String,
    uptime_seconds: u64,
    ready: bool,
    not_ready: Option<String>,
    tenants: u64,
    domains: u64,
    queue: QueueTotals,
    delivery: Option<DeliveryTotals>,
    since_start: Counters,
    disk: Disk,
    certificate_expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct QueueTotals {
    messages: u64,
    deliveries: u64,
    due: u64,
    being_attempted: u64,
    held: u64,
    oldest_due_at: Option<String>,
    quarantined: u64,
}

#[derive(Debug, Deserialize)]
struct DeliveryTotals {
    connections: u64,
    idle_connections: u64,
    sites: u64,
    sites_down: u64,
    suspensions: u64,
    slowed: u64,
    warming_up: u64,
}

#[derive(Debug, Deserialize)]
struct Counters {
    accepted: u64,
    refused: u64,
    delivered: u64,
    delayed: u64,
    bounced: u64,
    failed: u64,
    expired: u64,
    suppressed: u64,
}

#[derive(Debug, Deserialize)]
struct Disk {
    free_octets: u64,
    free_inodes: Option<u64>,
}

/// Something that somebody should look at.
struct Concern {
    is_bad: bool,
    text: String,
    /// The words of the relay, in English.
    detail: String,
    url: String,
}

#[derive(Template)]
#[template(path = "relay/glance.html")]
struct GlancePage {
    f: Frame,
    s: Summary,
    concerns: Vec<Concern>,
}

async fn page(page: OperatorPage) -> Result<Response, Problem> {
    let s: Summary = page.api.get(&path(&["operations", "summary"], &[])).await?;
    // A relay without plugins may have no such route: the page is of use without it.
    let plugins: Vec<PluginEntry> = page.api.get(&path(&["plugins"], &[])).await.unwrap_or_default();
    let f = page.frame(Section::RELAY, page.l.say("glance.title")).live_at(LIVE);
    let mut concerns = concerns(&f, &s, SystemTime::now());
    concerns.extend(plugins.iter().filter(|plugin| plugin.is_broken()).take(NAMED).map(|plugin| Concern {
        is_bad: true,
        text: f.fill("glance.plugin_broken", format!("{}/{}", plugin.tenant, plugin.plugin)),
        detail: plugin.problem.clone().unwrap_or_default(),
        url: f.url(&["plugins", &plugin.tenant, &plugin.plugin]),
    }));
    frame::page(&GlancePage { f, s, concerns })
}

/// A time as the API writes it: these compare as text.
fn written(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn concerns(f: &Frame, s: &Summary, now: SystemTime) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |is_bad: bool, text: String, place: &str| {
        let url = if place.is_empty() { String::new() } else { f.url(&[place]) };
        found.push(Concern { is_bad, text, detail: String::new(), url });
    };
    if let Some(at) = s.certificate_expires_at.as_ref().filter(|at| **at < written(now + CERTIFICATE)) {
        add(*at < written(now + DAY), f.fill("glance.certificate_ends", f.time(at)), "");
    }
    if s.disk.free_octets < LOW_DISK {
        add(true, f.fill("glance.disk_low", f.l.octets(s.disk.free_octets)), "");
    }
    if let Some(files) = s.disk.free_inodes.filter(|files| *files < LOW_INODES) {
        add(true, f.fill("glance.inodes_low", f.number(&files)), "");
    }
    if s.queue.quarantined > 0 {
        add(true, f.fill("glance.quarantined", f.number(&s.queue.quarantined)), "");
    }
    if let Some(at) = s.queue.oldest_due_at.as_ref().filter(|at| **at < written(now - LATE)) {
        add(false, f.fill("glance.late", f.time(at)), "queue");
    }
    if s.queue.held > 0 {
        add(false, f.fill("glance.held", f.number(&s.queue.held)), "queue");
    }
    if let Some(delivery) = &s.delivery {
        if delivery.suspensions > 0 {
            add(false, f.fill("glance.suspensions", f.number(&delivery.suspensions)), "shaping");
        }
        if delivery.slowed > 0 {
            add(false, f.fill("glance.slowed", f.number(&delivery.slowed)), "shaping");
        }
        if delivery.sites_down > 0 {
            add(false, f.fill("glance.sites_down", f.number(&delivery.sites_down)), "queue");
        }
    }
    found
}

impl GlancePage {
    fn uptime(&self) -> String {
        self.f.l.duration(self.s.uptime_seconds.saturating_mul(1_000))
    }

    fn given_up_text(&self) -> String {
        self.f.l.number(self.given_up())
    }

    fn given_up(&self) -> u64 {
        self.s.since_start.failed.saturating_add(self.s.since_start.expired)
    }

    /// Of the recipients whose delivery came to an end by an attempt.
    fn share(&self, part: &u64) -> Option<f64> {
        let counters = &self.s.since_start;
        let all = counters.delivered.saturating_add(counters.bounced).saturating_add(self.given_up());
        (all > 0).then(|| *part as f64 / all as f64)
    }
}
