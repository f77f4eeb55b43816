//! What the tracking endpoints answer. Stateless: everything is in the token, nothing needs the message to be still here.

use std::sync::Arc;

use relevo_mailkit::token::{Claims, Kind, Scope};
use relevo_queue::{EventLog, ItemId, NewEvent, Queue};
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::events;
use crate::settings::{Settings, SettingsHandle};

/// Verifies tokens and writes what they report.
#[derive(Clone)]
pub struct TrackingEndpoint {
    settings: SettingsHandle,
    queue: Arc<dyn Queue>,
    events: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
}

impl TrackingEndpoint {
    /// Looks up in `queue` whom an event is about, as long as the message is there.
    #[must_use]
    pub fn new(
        settings: SettingsHandle,
        queue: Arc<dyn Queue>,
        events: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { settings, queue, events, clock }
    }

    /// Whether `host` (the authority of a request) is a tracking host: it then answers nothing but `/c/`, `/o/` and `/u/`.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let settings = self.settings.get();
        tracking_host(&settings, host).is_some()
    }

    /// `GET /c/{token}` at this authority: where to redirect to, once the click is durable. None: 404. The URL has been parsed
    /// and percent-encoded, has a host and the scheme http or https.
    pub async fn click(&self, host: &str, token: &str) -> Option<Url> {
        let (tenant, claims) = self.verified(Kind::Click, host, token)?;
        let url = destination(&claims)?;
        let item = ItemId(claims.message);
        let to = self.recipient(item, claims.recipient).await;
        let now = self.clock.now();
        let clicked = events::clicked(claims.recipient, to.as_deref(), url.as_str());
        self.write(events::event(&tenant, Some(item), now, clicked)).await;
        Some(url)
    }

    /// `GET /o/{token}` at this authority: whether the token is genuine. False: 404.
    pub async fn open(&self, host: &str, token: &str) -> bool {
        let Some((tenant, claims)) = self.verified(Kind::Open, host, token) else { return false };
        let item = ItemId(claims.message);
        let to = self.recipient(item, claims.recipient).await;
        let opened = events::opened(claims.recipient, to.as_deref());
        self.write(events::event(&tenant, Some(item), self.clock.now(), opened)).await;
        true
    }

    /// `HEAD /c/{token}`: what a click would redirect to. Nobody has read anything, so nothing is written.
    #[must_use]
    pub fn click_target(&self, host: &str, token: &str) -> Option<Url> {
        destination(&self.verified(Kind::Click, host, token)?.1)
    }

    /// `HEAD /o/{token}`: whether the token is genuine. Nothing is written.
    #[must_use]
    pub fn is_open(&self, host: &str, token: &str) -> bool {
        self.verified(Kind::Open, host, token).is_some()
    }

    /// The tenant that owns the host, and what the token says under its scope.
    fn verified(&self, kind: Kind, host: &str, token: &str) -> Option<(String, Claims)> {
        let settings = self.settings.get();
        let (host, tenant) = tracking_host(&settings, host)?;
        let scope = Scope { tenant: &tenant, host: &host };
        let claims = settings.tracking_keys.verify(kind, &scope, token)?;
        Some((tenant, claims))
    }

    async fn recipient(&self, item: ItemId, index: u32) -> Option<String> {
        let view = self.queue.item(item).await.ok()??;
        let mut recipients = view.deliveries.into_iter().flat_map(|d| d.delivery.recipients);
        recipients.find(|r| r.index == index).map(|r| r.address)
    }

    /// The reader is not kept from where he wants to go because our log has no room.
    async fn write(&self, event: NewEvent) {
        if let Err(e) = self.events.append(vec![event]).await {
            warn!(error = %e, "a tracking event could not be written");
        }
    }
}

/// The configured tracking host that an authority names, and its tenant. A port that is not part of the configured host, or
/// the dot of the DNS root, names the same host: else a stranger could reach the API under it.
fn tracking_host(settings: &Settings, authority: &str) -> Option<(String, String)> {
    let authority = authority.to_ascii_lowercase();
    let name = authority.rsplit_once(':').map_or(authority.as_str(), |(name, _)| name);
    let bare = name.strip_suffix('.').unwrap_or(name);
    let known = &settings.tenants.by_tracking_host;
    let found = [authority.as_str(), name, bare].into_iter().find_map(|host| known.get_key_value(host));
    found.map(|(host, tenant)| (host.clone(), tenant.clone()))
}

/// Where a genuine click token leads.
fn destination(claims: &Claims) -> Option<Url> {
    let url = Url::parse(&claims.destination).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    web.then_some(url)
}

#[cfg(test)]
mod tests;
