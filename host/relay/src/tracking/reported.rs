//! Clicks and opens that the edge gateway answered and reports.
//!
//! Nothing that was judged elsewhere is trusted: each token is verified here, for the tenant of the
//! API key. A report counts once for its idempotency key, which is stored with its events.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use relevo_api::tracking::{CheckedEvent, ReportAnswer, ReportedKind};
use relevo_mailkit::token::Kind;
use relevo_pages::tracking::destination;
use relevo_queue::{IDEMPOTENCY_LIFETIME, IdempotentRequest, ItemId, Millis, NewEvent};

use super::repeats::TrackingEvent;
use super::{BURSTS_EPOCH, Client, TrackingEndpoint, burst, guess};
use crate::sending::{ClaimedKey, JsonAnswer, SendRefusal};
use crate::settings::Network;

/// The age beyond which an event is not believed. The key of a report that has it is remembered
/// longer, so no report counts again once its key is forgotten.
pub const MAX_AGE: Millis = IDEMPOTENCY_LIFETIME - 60 * 60 * 1000;
/// The difference between two clocks that is believed.
const MAX_SKEW: Millis = 60 * 1000;

/// An event that a report has at least once.
struct ReportedVisit {
    event: TrackingEvent,
    address: Option<IpAddr>,
    /// When it was first there.
    at: Millis,
    count: u64,
}

/// What becomes of the visits of a report.
#[derive(Default)]
struct Judged {
    new: Vec<ReportedVisit>,
    /// Repeats of events that were written within the last minute.
    repeats: Vec<ReportedVisit>,
}

impl TrackingEndpoint {
    /// Counts the events of a report once. When it returns, those that do not repeat another within
    /// a minute are on disk, with the key of the report.
    ///
    /// # Errors
    /// Nothing of it counts, and the same report may be sent again.
    pub async fn report(
        &self,
        tenant: &str,
        events: Vec<CheckedEvent>,
        key: ClaimedKey,
    ) -> Result<JsonAnswer, SendRefusal> {
        let mut answer = ReportAnswer::default();
        let visits = self.genuine(tenant, events, &mut answer);
        let judged = self.admitted(tenant, visits, &mut answer);
        // Like a click that is answered here, a report leaves the room on the disk to mail.
        self.events.append_expendable(Vec::new()).await.map_err(|error| SendRefusal::stored(&error))?;
        let json = serde_json::to_vec(&answer).map_err(|_| SendRefusal::Unavailable)?;
        if answer.recorded == 0 {
            // Nothing counts that could count twice: whoever sends such reports takes no room on the disk.
            return Ok(JsonAnswer { json, kept: true, repeated: false });
        }
        let new = self.new_events(&judged.new).await;
        let (request, in_use) = key.accepted(tenant, self.clock.now(), json.clone());
        let endpoint = self.clone();
        let stored = tokio::spawn(async move {
            let _in_use = in_use;
            endpoint.store_report(request, new, judged).await
        });
        match stored.await {
            Ok(stored) => stored.map(|()| JsonAnswer { json, kept: true, repeated: false }),
            Err(_) => Err(SendRefusal::Unavailable),
        }
    }

    /// Goes on when the caller is gone: windows are opened for what is on disk.
    async fn store_report(
        &self,
        request: IdempotentRequest,
        new: Vec<NewEvent>,
        judged: Judged,
    ) -> Result<(), SendRefusal> {
        let stored = self.queue.accept_request(request, Vec::new(), new).await;
        stored.map_err(|error| SendRefusal::stored(&error))?;
        let now = self.clock.monotonic();
        for visit in judged.new {
            self.repeats.add(visit.event, 0, now);
        }
        for visit in judged.repeats {
            self.metrics.repeated(visit.count);
            self.repeats.add(visit.event, visit.count, now);
        }
        Ok(())
    }

    /// The events with genuine tokens and a time that can be true. Equal ones are one, with the time
    /// of the first.
    fn genuine(
        &self,
        tenant: &str,
        mut events: Vec<CheckedEvent>,
        answer: &mut ReportAnswer,
    ) -> Vec<ReportedVisit> {
        let now = self.clock.now();
        events.sort_by_key(|event| event.at);
        let (mut visits, mut places) = (Vec::<ReportedVisit>::new(), HashMap::<_, usize>::new());
        for event in events {
            let at = Millis::try_from(event.at).unwrap_or(Millis::MAX);
            if at > now.saturating_add(MAX_SKEW) || at < now.saturating_sub(MAX_AGE) {
                answer.implausible += 1;
                continue;
            }
            let Some(visit) = self.visit(tenant, &event, at.min(now)) else {
                answer.unknown += 1;
                continue;
            };
            match places.get(&visit.event) {
                Some(&place) => visits[place].count += 1,
                None => {
                    places.insert(visit.event.clone(), visits.len());
                    visits.push(visit);
                }
            }
        }
        visits
    }

    fn visit(&self, tenant: &str, checked: &CheckedEvent, at: Millis) -> Option<ReportedVisit> {
        let event = &checked.event;
        let kind = match event.kind {
            ReportedKind::Click => Kind::Click,
            ReportedKind::Open => Kind::Open,
        };
        let (owner, claims) = self.verified(kind, &event.host, &event.token)?;
        if owner != tenant {
            return None;
        }
        let (item, recipient) = (ItemId(claims.message), claims.recipient);
        let url = match kind {
            Kind::Click => Some(String::from(destination(&claims.destination)?)),
            _ => None,
        };
        let links = url.as_deref().map_or(0, |url| {
            let age = Duration::from_millis((self.clock.now() - at).try_into().unwrap_or(0));
            let then = (self.clock.monotonic() + BURSTS_EPOCH).saturating_sub(age);
            self.bursts.click(item, recipient, url, then)
        });
        let address = event.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let guess = guess(Client { address, user_agent: event.user_agent.as_deref() }, links);
        let visited = TrackingEvent { tenant: owner, item, recipient, url, guess };
        Some(ReportedVisit { event: visited, address: event.address, at, count: 1 })
    }

    /// Takes visits within the rates of their clients and of the tenant. That of the client bounds
    /// repeats, too: the key of their report is written.
    fn admitted(&self, tenant: &str, visits: Vec<ReportedVisit>, answer: &mut ReportAnswer) -> Judged {
        let (now, limits) = (self.clock.monotonic(), self.settings.get().tracking);
        let by_client = burst(limits.events_per_second_per_client);
        let mut judged = Judged::default();
        for visit in visits {
            let is_repeat = self.repeats.is_open(&visit.event);
            let within_client = match visit.address {
                Some(address) => self.by_client.take(&Network::of_client(address), by_client, now),
                None => true,
            };
            let within_tenant =
                || self.by_tenant.take(&tenant.to_owned(), burst(limits.events_per_second), now);
            let refused = match (within_client, is_repeat && visit.address.is_some()) {
                (false, _) => Some("client_rate"),
                (true, false) if !within_tenant() => Some("tenant_rate"),
                (true, _) => None,
            };
            if let Some(reason) = refused {
                self.metrics.dropped(reason, visit.count);
                answer.dropped += visit.count;
                continue;
            }
            answer.recorded += visit.count;
            let of_kind = if is_repeat { &mut judged.repeats } else { &mut judged.new };
            of_kind.push(visit);
        }
        judged
    }

    async fn new_events(&self, visits: &[ReportedVisit]) -> Vec<NewEvent> {
        let (mut events, mut seen) = (Vec::with_capacity(visits.len()), HashSet::new());
        for ReportedVisit { event, at, count, .. } in visits {
            let mut subject = self.subject(event).await;
            subject.first &= seen.insert((event.item, event.recipient, event.url.as_deref()));
            events.push(self.new_event(event, subject, *count, *at));
        }
        events
    }
}
