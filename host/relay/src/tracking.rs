//! What the tracking endpoints answer. Stateless: everything is in the token, nothing needs the
//! message to be still here.

mod metrics;
mod repeats;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::labels::Labels;
use relevo_mailkit::token::{Claims, Kind, Scope};
use relevo_queue::{EventLog, ItemId, NewEvent, Queue, StoreError};
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::events;
use crate::settings::{Network, Settings, SettingsHandle};
use crate::token_buckets::TokenBuckets;
use repeats::{Repeats, TrackingEvent};

pub use metrics::TrackingMetrics;

/// The longest time between two looks for windows of repeats that have ended.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Events written at once.
const FLUSH_BATCH: usize = 500;
/// Events of a message that are read for an address: the attempts of the largest message, and some
/// delays.
const MAX_ATTEMPTS_READ: usize = 1_200;

/// A client or tenant may send this many seconds' worth of events at once.
const BURST: Duration = Duration::from_secs(10);
/// Tenants or clients that have a rate of their own. All beyond them share one.
const MAX_RATES: usize = 10_000;

/// What a token is worth to the client that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer<T> {
    /// The token is genuine.
    Genuine(T),
    /// The token is unknown or altered: 404.
    Unknown,
    /// As before, and the client has sent too many: 429.
    TooMany,
}

/// Verifies tokens and writes what they report.
#[derive(Clone)]
pub struct TrackingEndpoint {
    settings: SettingsHandle,
    queue: Arc<dyn Queue>,
    events: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    metrics: TrackingMetrics,
    repeats: Arc<Repeats>,
    by_tenant: Arc<TokenBuckets<String>>,
    by_client: Arc<TokenBuckets<Network>>,
}

impl TrackingEndpoint {
    /// Looks up in `queue` whom an event is about, as long as the message is there.
    #[must_use]
    pub fn new(
        settings: SettingsHandle,
        queue: Arc<dyn Queue>,
        events: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        metrics: TrackingMetrics,
    ) -> Self {
        Self {
            settings,
            queue,
            events,
            clock,
            metrics,
            repeats: Arc::default(),
            by_tenant: Arc::new(TokenBuckets::new(BURST, MAX_RATES)),
            by_client: Arc::new(TokenBuckets::new(BURST, MAX_RATES)),
        }
    }

    /// Whether `host` (the authority of a request) is a tracking host: it then answers nothing but
    /// `/c/`, `/o/` and `/u/`.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let settings = self.settings.get();
        tracking_host(&settings, host).is_some()
    }

    /// `GET /c/{token}` at this authority: where to redirect to, once the click is durable, counted
    /// or dropped. The URL has been parsed and percent-encoded, has a host and the scheme http or
    /// https.
    pub async fn click(&self, host: &str, token: &str, client: IpAddr) -> TokenAnswer<Url> {
        let genuine = self.verified(Kind::Click, host, token);
        let Some((tenant, claims, url)) = genuine.and_then(|(t, c)| destination(&c).map(|url| (t, c, url)))
        else {
            return self.unknown(client);
        };
        let item = ItemId(claims.message);
        let event =
            TrackingEvent { tenant, item, recipient: claims.recipient, url: Some(url.clone().into()) };
        self.record(event, client).await;
        TokenAnswer::Genuine(url)
    }

    /// `GET /o/{token}` at this authority.
    pub async fn open(&self, host: &str, token: &str, client: IpAddr) -> TokenAnswer<()> {
        let Some((tenant, claims)) = self.verified(Kind::Open, host, token) else {
            return self.unknown(client);
        };
        let event =
            TrackingEvent { tenant, item: ItemId(claims.message), recipient: claims.recipient, url: None };
        self.record(event, client).await;
        TokenAnswer::Genuine(())
    }

    /// `HEAD /c/{token}`: what a click would redirect to. Nobody has read anything, so nothing is
    /// written.
    #[must_use]
    pub fn click_target(&self, host: &str, token: &str) -> Option<Url> {
        destination(&self.verified(Kind::Click, host, token)?.1)
    }

    /// `HEAD /o/{token}`: whether the token is genuine. Nothing is written.
    #[must_use]
    pub fn is_open(&self, host: &str, token: &str) -> bool {
        self.verified(Kind::Open, host, token).is_some()
    }

    /// Writes counted repeats when their windows end. Never returns.
    pub async fn write_repeats(&self) {
        loop {
            tokio::time::sleep(FLUSH_INTERVAL).await;
            self.flush_ended().await;
        }
    }

    /// Writes all counted repeats, before the event log is closed.
    pub async fn flush(&self) {
        self.write_counted(self.repeats.close()).await;
    }

    async fn flush_ended(&self) {
        let now = self.clock.monotonic();
        let limit = burst(self.settings.get().tracking.events_per_second);
        let mut ended = self.repeats.ended(now);
        ended.retain(|(event, count)| {
            let admitted = self.by_tenant.take(&event.tenant, limit, now);
            if !admitted {
                self.metrics.dropped("tenant_rate", *count);
            }
            admitted
        });
        self.write_counted(ended).await;
    }

    /// The tenant that owns the host, and what the token says under its scope.
    fn verified(&self, kind: Kind, host: &str, token: &str) -> Option<(String, Claims)> {
        let settings = self.settings.get();
        let (host, tenant) = tracking_host(&settings, host)?;
        let scope = Scope { tenant: &tenant, host: &host };
        let claims = settings.tracking_keys.verify(kind, &scope, token)?;
        Some((tenant, claims))
    }

    fn unknown<T>(&self, client: IpAddr) -> TokenAnswer<T> {
        let limit = self.settings.get().tracking.events_per_second_per_client;
        match self.by_client.take(&Network::of_client(client), burst(limit), self.clock.monotonic()) {
            true => TokenAnswer::Unknown,
            false => TokenAnswer::TooMany,
        }
    }

    /// Writes the event, counts it as a repeat, or drops it where its client or tenant has too
    /// many. The reader gets the same answer every time.
    async fn record(&self, event: TrackingEvent, client: IpAddr) {
        if self.repeats.count(&event) {
            return self.metrics.repeated();
        }
        let now = self.clock.monotonic();
        let limits = self.settings.get().tracking;
        let client = Network::of_client(client);
        if !self.by_client.take(&client, burst(limits.events_per_second_per_client), now) {
            return self.metrics.dropped("client_rate", 1);
        }
        if !self.by_tenant.take(&event.tenant, burst(limits.events_per_second), now) {
            return self.metrics.dropped("tenant_rate", 1);
        }
        if !self.repeats.open(event.clone(), now) {
            return self.metrics.repeated();
        }
        self.write_counted(vec![(Arc::new(event), 1)]).await;
    }

    async fn write_counted(&self, counted: Vec<(Arc<TrackingEvent>, u64)>) {
        for batch in counted.chunks(FLUSH_BATCH) {
            let mut events = Vec::with_capacity(batch.len());
            for (event, count) in batch {
                events.push(self.new_event(event, *count).await);
            }
            if let Err(error) = self.events.append_expendable(events).await {
                let full = matches!(error, StoreError::Full | StoreError::NoInodes);
                let reason = if full { "disk" } else { "event_log" };
                self.metrics.dropped(reason, batch.iter().map(|(_, count)| count).sum());
                warn!(%error, "tracking events could not be written");
            }
        }
    }

    async fn new_event(&self, event: &TrackingEvent, count: u64) -> NewEvent {
        let (address, labels) = self.recipient(event.item, event.recipient).await.unzip();
        let report = match &event.url {
            Some(url) => events::clicked(event.recipient, address.as_deref(), url, count),
            None => events::opened(event.recipient, address.as_deref(), count),
        };
        let new = events::event(&event.tenant, Some(event.item), self.clock.now(), report);
        NewEvent { labels: labels.unwrap_or_default(), ..new }
    }

    /// The address of a recipient, and the labels of the message: the queue has them until the
    /// message is delivered, then the event log.
    async fn recipient(&self, item: ItemId, index: u32) -> Option<(String, Labels)> {
        if let Ok(Some(view)) = self.queue.item(item).await {
            let mut recipients = view.deliveries.into_iter().flat_map(|d| d.delivery.recipients);
            let address = recipients.find(|r| r.index == index).map(|r| r.address)?;
            return Some((address, view.meta.labels.clone()));
        }
        let (mut after, mut read) = (0, 0);
        while read < MAX_ATTEMPTS_READ {
            let page = self.events.events_of(item, after, MAX_ATTEMPTS_READ - read).await.ok()?;
            after = page.last()?.cursor;
            read += page.len();
            let attempted = page.into_iter().find_map(|stored| {
                let attempt = stored.event.event.attempt().filter(|a| a.recipient_index == index)?;
                Some((attempt.recipient.clone(), stored.event.labels))
            });
            if attempted.is_some() {
                return attempted;
            }
        }
        None
    }
}

/// The configured tracking host that an authority names, and its tenant. A port that is not part of
/// the configured host, or the dot of the DNS root, names the same host: else a stranger could
/// reach the API under it.
fn tracking_host(settings: &Settings, authority: &str) -> Option<(String, String)> {
    let authority = authority.to_ascii_lowercase();
    let name = authority.rsplit_once(':').map_or(authority.as_str(), |(name, _)| name);
    let bare = name.strip_suffix('.').unwrap_or(name);
    let found =
        [authority.as_str(), name, bare].into_iter().find_map(|host| settings.directory.tracking_host(host));
    found.map(|(host, tenant)| (host.to_owned(), tenant.to_owned()))
}

/// Events that may come at once.
fn burst(per_second: u32) -> f64 {
    f64::from(per_second) * BURST.as_secs_f64()
}

/// Where a genuine click token leads.
fn destination(claims: &Claims) -> Option<Url> {
    let url = Url::parse(&claims.destination).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    web.then_some(url)
}

#[cfg(test)]
mod tests;
