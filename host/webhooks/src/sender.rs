//! The sender: posts what is due.
//!
//! One task decides what is sent next ([`schedule`]). Each request is a task. Outcomes are written
//! in groups ([`settle`]).

mod attempt;
mod schedule;
mod settle;

pub(crate) use attempt::event;
pub(crate) use settle::disable;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relevo_store::WebhookDelivery;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};

use crate::shared::{Backoff, Shared};
use attempt::Outcome;
use schedule::{Schedule, Step};

/// Deliveries of an endpoint that are read at once.
const PAGE: usize = 32;
/// The longest sleep: the clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// Time after which an endpoint is looked at again when the store or a task failed.
const AGAIN: i64 = 5_000;

/// Sends deliveries for ever.
pub(crate) async fn run(shared: &Arc<Shared>) {
    let (outcomes, written) = mpsc::channel(settle::GROUP);
    let mut sender = Sender {
        shared,
        schedule: Schedule::new(shared.config.connections),
        requests: JoinSet::new(),
        sent: HashMap::new(),
        outcomes,
    };
    tokio::join!(sender.run(), settle::run(shared, written));
}

struct Sender<'s> {
    shared: &'s Arc<Shared>,
    schedule: Schedule,
    requests: JoinSet<Outcome>,
    /// Endpoint and event of each task: a panic says neither.
    sent: HashMap<Id, (String, i64)>,
    outcomes: mpsc::Sender<settle::Outcome>,
}

impl Sender<'_> {
    async fn run(&mut self) {
        self.wake_all().await;
        loop {
            for endpoint in self.shared.due.take() {
                self.wake(&endpoint);
            }
            let now = self.shared.now();
            self.schedule.wake_due(now);
            while let Some(step) = self.schedule.next(self.shared.now()) {
                match step {
                    Step::Read { endpoint, in_flight } => self.read(&endpoint, in_flight).await,
                    Step::Send(delivery) => self.send(delivery),
                }
            }
            let sleep = tokio::time::sleep(self.until_next());
            tokio::select! {
                Some(ended) = self.requests.join_next_with_id() => self.finish(ended),
                () = self.shared.due.wait() => {}
                () = sleep => {}
            }
        }
    }

    /// Has every endpoint with something pending looked at, at its time.
    async fn wake_all(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.shared.deliveries.pending_webhook_endpoints(&self.shared.node).await {
                Ok(pending) => {
                    for each in pending {
                        if let Some(endpoint) = self.shared.endpoints.get(&each.endpoint) {
                            self.schedule.wake_at(&endpoint.tenant, &endpoint.id, each.next_at);
                        }
                    }
                    return;
                }
                Err(error) => tracing::error!(%error, "pending webhooks cannot be read"),
            }
            backoff.pause().await;
        }
    }

    fn wake(&mut self, endpoint: &str) {
        if let Some(endpoint) = self.shared.endpoints.get(endpoint) {
            self.schedule.wake(&endpoint.tenant, &endpoint.id);
        }
    }

    fn until_next(&self) -> Duration {
        let next = self.schedule.next_timer().map(|at| at.saturating_sub(self.shared.now()).max(0));
        let next = next.map(|wait| Duration::from_millis(wait.unsigned_abs()));
        next.unwrap_or(MAX_SLEEP).min(MAX_SLEEP)
    }

    /// Reads what an endpoint is to be sent.
    async fn read(&mut self, endpoint: &str, in_flight: usize) {
        if self.shared.endpoints.get(endpoint).is_none_or(|endpoint| !endpoint.enabled) {
            self.schedule.forget(endpoint);
            return;
        }
        let max = u32::try_from(PAGE + in_flight).unwrap_or(u32::MAX);
        let now = self.shared.now();
        match self.shared.deliveries.pending_webhooks(&self.shared.node, endpoint, max).await {
            Ok(pending) => self.schedule.put(endpoint, pending, now),
            Err(error) => {
                tracing::error!(%error, webhook = endpoint, "pending webhooks cannot be read");
                self.schedule.pause(endpoint, now.saturating_add(AGAIN));
            }
        }
    }

    fn send(&mut self, delivery: WebhookDelivery) {
        let sent = (delivery.endpoint.clone(), delivery.event);
        self.shared.began(&delivery);
        let (shared, outcomes) = (self.shared.clone(), self.outcomes.clone());
        let task = self.requests.spawn(async move { attempt::attempt(&shared, &outcomes, delivery).await });
        self.sent.insert(task.id(), sent);
    }

    fn finish(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => {
                tracing::error!(%error, "a task that sends a webhook broke; it is sent again");
                (error.id(), Outcome::Unsent)
            }
        };
        let Some((endpoint, event)) = self.sent.remove(&id) else { return };
        self.shared.ended(&endpoint, event);
        let now = self.shared.now();
        match outcome {
            Outcome::Answered { succeeded, pause } => {
                self.schedule.finish(&endpoint, event, now, succeeded, pause);
            }
            Outcome::Unsent => self.schedule.release(&endpoint, event, now.saturating_add(AGAIN)),
        }
    }
}
