//! One attempt of a delivery: body, request, outcome.

use std::time::Duration;

use relevo_queue::{EventError, StoredEvent};
use relevo_store::{WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookFailing, WebhookStatus};
use tokio::sync::mpsc;

use super::settle::{self, Settling};
use crate::body;
use crate::post::{Posted, post};
use crate::retry::{Answer, Conclusion, conclude, millis};
use crate::shared::{Shared, delivery_id};

/// What the schedule learns of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A request was made, and what came of it is written.
    Answered {
        succeeded: bool,
        /// The endpoint asks for a pause.
        pause: Option<Duration>,
    },
    /// No request was made, and the delivery is as before.
    Unsent,
}

pub(super) async fn attempt(
    shared: &Shared,
    outcomes: &mpsc::Sender<settle::Outcome>,
    delivery: WebhookDelivery,
) -> Outcome {
    let endpoint = shared.endpoints.get(&delivery.endpoint).filter(|endpoint| endpoint.enabled);
    let Some(endpoint) = endpoint else { return Outcome::Unsent };
    let event = match event(shared, &delivery).await {
        Ok(Some(event)) if event.event.tenant == endpoint.tenant => event,
        Ok(_) => return lost(shared, outcomes, delivery).await,
        Err(error) => {
            tracing::error!(%error, "the event of a webhook cannot be read");
            return Outcome::Unsent;
        }
    };
    let body = match body::of_event(&delivery.event_type, event) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "the body of a webhook cannot be written");
            return lost(shared, outcomes, delivery).await;
        }
    };
    let posted = post(shared, &endpoint, &delivery_id(&delivery), body).await;
    let answer = posted.answer;
    let settling = settling(shared, &endpoint, delivery, posted);
    settle::write(outcomes, settling).await;
    Outcome::Answered { succeeded: answer.is_success(), pause: answer.retry_after() }
}

/// The event of a delivery; none: it is no longer kept.
pub(crate) async fn event(
    shared: &Shared,
    delivery: &WebhookDelivery,
) -> Result<Option<StoredEvent>, EventError> {
    let Ok(cursor) = u64::try_from(delivery.event) else { return Ok(None) };
    match shared.events.events(None, cursor.saturating_sub(1), 1).await {
        Ok(events) => Ok(events.into_iter().find(|event| event.cursor == cursor)),
        Err(EventError::Pruned { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives up a delivery whose event is gone. That is not the endpoint's failure.
async fn lost(
    shared: &Shared,
    outcomes: &mpsc::Sender<settle::Outcome>,
    delivery: WebhookDelivery,
) -> Outcome {
    let now = shared.now();
    let posted = Posted {
        started_at: now,
        took: Duration::ZERO,
        answer: Answer::None,
        detail: "the event is no longer kept".to_owned(),
    };
    let (delivery, attempt) = ended(delivery, &posted, WebhookStatus::Failed, now);
    shared.metrics.ended(WebhookStatus::Failed.name());
    settle::write(outcomes, Settling { delivery, attempt, failing: WebhookFailing::Same, disable: None })
        .await;
    Outcome::Answered { succeeded: true, pause: None }
}

fn settling(
    shared: &Shared,
    endpoint: &WebhookEndpoint,
    delivery: WebhookDelivery,
    posted: Posted,
) -> Settling {
    let now = shared.now();
    let tries = delivery.tries + 1;
    let conclusion = conclude(&shared.config.retry, tries, posted.answer, now, rand::random());
    let (status, next_at) = match conclusion {
        Conclusion::Success => (WebhookStatus::Success, now),
        Conclusion::Retry(at) => (WebhookStatus::Pending, at),
        Conclusion::Failed | Conclusion::Gone => (WebhookStatus::Failed, now),
    };
    if status != WebhookStatus::Pending {
        shared.metrics.ended(status.name());
    }
    // From memory: what another attempt settled meanwhile may be missing there for a moment.
    let failing_since = shared.endpoints.get(&endpoint.id).and_then(|endpoint| endpoint.failing_since);
    let failing = match (conclusion, failing_since) {
        (Conclusion::Success, Some(_)) => WebhookFailing::Ended,
        (Conclusion::Success, None) | (_, Some(_)) => WebhookFailing::Same,
        (_, None) => WebhookFailing::Since(posted.started_at),
    };
    let is_over = |since: i64| now.saturating_sub(since) >= millis(shared.config.disable_after);
    let disable = match (conclusion, failing_since) {
        (Conclusion::Gone, _) => Some(("gone", "it answered 410 Gone".to_owned())),
        (Conclusion::Retry(_) | Conclusion::Failed, Some(since)) if is_over(since) => {
            Some(("failing", never_succeeded(since, &posted)))
        }
        _ => None,
    };
    let (delivery, attempt) = ended(delivery, &posted, status, next_at);
    Settling { delivery, attempt, failing, disable }
}

fn never_succeeded(since: i64, posted: &Posted) -> String {
    let last = match posted.status() {
        Some(status) => format!("status {status}"),
        None => posted.detail.clone(),
    };
    format!("every attempt since {} failed, the last one with: {last}", body::timestamp(since))
}

/// The delivery and its attempt as they are written.
fn ended(
    delivery: WebhookDelivery,
    posted: &Posted,
    status: WebhookStatus,
    next_at: i64,
) -> (WebhookDelivery, WebhookAttempt) {
    let attempt = WebhookAttempt {
        node: delivery.node.clone(),
        event: delivery.event,
        number: delivery.attempts + 1,
        started_at: posted.started_at,
        took: millis(posted.took),
        status: posted.status(),
        detail: posted.detail.clone(),
    };
    let (attempts, tries) = (delivery.attempts + 1, delivery.tries + 1);
    (WebhookDelivery { status, attempts, tries, next_at, ..delivery }, attempt)
}
