//! What the tracking endpoints answer. Stateless: everything is in the token, nothing needs the
//! message to be still here.

mod bursts;
mod metrics;
mod repeats;
mod reported;
mod subject;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::labels::Labels;
use relevo_mailkit::token::unsubscribe::UnsubscribeClaims;
use relevo_mailkit::token::{Claims, Kind, Scope, hosts_meant};
use relevo_mailkit::visitor::{self, Visit};
use relevo_pages::tracking::destination;
use relevo_queue::{EventLog, ItemId, Millis, NewEvent, Queue, StoreError};
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::events;
use crate::settings::{Network, Settings, SettingsHandle};
use crate::token_buckets::TokenBuckets;
use bursts::Bursts;
use repeats::{Repeats, TrackingEvent};
use subject::Subject;

pub use metrics::TrackingMetrics;
pub use reported::MAX_AGE;

/// The longest time between two looks for windows of repeats that have ended.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Events written at once.
const FLUSH_BATCH: usize = 500;
/// A client or tenant may send this many seconds' worth of events at once.
const BURST: Duration = Duration::from_secs(10);
/// Added to the times of clicks, so that reports can name times before the start of this process.
const BURSTS_EPOCH: Duration = Duration::from_secs(24 * 60 * 60);
/// Tenants or clients that have a rate of their own. All beyond them share one.
const MAX_RATES: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The address, behind proxies that are trusted.
    pub address: IpAddr,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a str>,
}

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
    bursts: Arc<Bursts>,
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
            bursts: Arc::default(),
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
    pub async fn click(&self, host: &str, token: &str, client: Client<'_>) -> TokenAnswer<Url> {
        let genuine = self.verified(Kind::Click, host, token);
        let Some((tenant, claims, url)) =
            genuine.and_then(|(t, c)| destination(&c.destination).map(|url| (t, c, url)))
        else {
            return self.unknown(client.address);
        };
        let (item, recipient) = (ItemId(claims.message), claims.recipient);
        let links = self.bursts.click(item, recipient, url.as_str(), self.clock.monotonic() + BURSTS_EPOCH);
        let guess = guess(client, links);
        let event = TrackingEvent { tenant, item, recipient, url: Some(url.clone().into()), guess };
        self.record(event, client.address).await;
        TokenAnswer::Genuine(url)
    }

    /// `GET /o/{token}` at this authority.
    pub async fn open(&self, host: &str, token: &str, client: Client<'_>) -> TokenAnswer<()> {
        let Some((tenant, claims)) = self.verified(Kind::Open, host, token) else {
            return self.unknown(client.address);
        };
        let (item, recipient) = (ItemId(claims.message), claims.recipient);
        let event = TrackingEvent { tenant, item, recipient, url: None, guess: guess(client, 0) };
        self.record(event, client.address).await;
        TokenAnswer::Genuine(())
    }

    /// `HEAD /c/{token}`: what a click would redirect to. Nobody has read anything, so nothing is
    /// written.
    #[must_use]
    pub fn click_target(&self, host: &str, token: &str) -> Option<Url> {
        destination(&self.verified(Kind::Click, host, token)?.1.destination)
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
        if self.admits(client) { TokenAnswer::Unknown } else { TokenAnswer::TooMany }
    }

    /// Counts a request of a client. False: it has sent too many.
    pub(crate) fn admits(&self, client: IpAddr) -> bool {
        let limit = self.settings.get().tracking.events_per_second_per_client;
        self.by_client.take(&Network::of_client(client), burst(limit), self.clock.monotonic())
    }

    /// The tenant that owns the host, and what an unsubscribe token says under its scope.
    pub(crate) fn verified_unsubscribe(
        &self,
        host: &str,
        token: &str,
    ) -> Option<(String, UnsubscribeClaims)> {
        let settings = self.settings.get();
        let (host, tenant) = tracking_host(&settings, host)?;
        let scope = Scope { tenant: &tenant, host: &host };
        let claims = settings.tracking_keys.verify_unsubscribe(&scope, token)?;
        Some((tenant, claims))
    }

    /// The labels of a message that queue or event log still know.
    pub(crate) async fn labels(&self, item: ItemId, recipient: u32) -> Option<Labels> {
        Some(self.known(item, recipient, None).await?.labels)
    }

    /// Writes an event that must not be lost.
    pub(crate) async fn append(&self, event: NewEvent) -> Result<(), StoreError> {
        self.events.append(vec![event]).await
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Writes the event, counts it as a repeat, or drops it where its client or tenant has too
    /// many. The reader gets the same answer every time.
    async fn record(&self, event: TrackingEvent, client: IpAddr) {
        if self.repeats.count(&event) {
            return self.metrics.repeated(1);
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
            return self.metrics.repeated(1);
        }
        let subject = self.subject(&event).await;
        self.write(vec![(self.new_event(&event, subject, 1, self.clock.now()), 1)]).await;
    }

    /// Writes repeats that were counted in memory.
    async fn write_counted(&self, counted: Vec<(Arc<TrackingEvent>, u64)>) {
        for batch in counted.chunks(FLUSH_BATCH) {
            let mut events = Vec::with_capacity(batch.len());
            for (event, count) in batch {
                let subject = self.subject(event).await.repeated();
                events.push((self.new_event(event, subject, *count, self.clock.now()), *count));
            }
            self.write(events).await;
        }
    }

    async fn write(&self, events: Vec<(NewEvent, u64)>) {
        let count = events.iter().map(|(_, count)| count).sum();
        let events = events.into_iter().map(|(event, _)| event).collect();
        if let Err(error) = self.events.append_expendable(events).await {
            let full = matches!(error, StoreError::Full | StoreError::NoInodes);
            let reason = if full { "disk" } else { "event_log" };
            self.metrics.dropped(reason, count);
            warn!(%error, "tracking events could not be written");
        }
    }

    fn new_event(&self, event: &TrackingEvent, subject: Subject, count: u64, at: Millis) -> NewEvent {
        let visit = events::Visited {
            recipient: subject.address.as_deref(),
            recipient_index: event.recipient,
            count,
            guess: visitor::timed(event.guess, subject.timing(at)),
            first: subject.first,
        };
        let report = match &event.url {
            Some(url) => visit.clicked(url),
            None => visit.opened(),
        };
        let new = events::event(&event.tenant, Some(event.item), at, report);
        NewEvent { labels: subject.labels, ..new }
    }
}

/// The guess from the request alone.
fn guess(client: Client<'_>, links_at_once: u32) -> visitor::Guess {
    visitor::guess(&Visit { user_agent: client.user_agent, client: client.address, links_at_once })
}

/// The configured tracking host that an authority names, and its tenant. A port that is not part of
/// the configured host, or the dot of the DNS root, names the same host: else a stranger could
/// reach the API under it.
fn tracking_host(settings: &Settings, authority: &str) -> Option<(String, String)> {
    let hosts = hosts_meant(authority);
    let found = hosts.iter().find_map(|host| settings.directory.tracking_host(host));
    found.map(|(host, tenant)| (host.to_owned(), tenant.to_owned()))
}

/// Events that may come at once.
fn burst(per_second: u32) -> f64 {
    f64::from(per_second) * BURST.as_secs_f64()
}

#[cfg(test)]
mod tests;
