//! Writes what came of attempts: those that have collected share a transaction, and so its sync.

use relevo_store::{ControlStoreError, WebhookAttempt, WebhookDelivery, WebhookFailing, WebhookSettlement};
use tokio::sync::{mpsc, oneshot};

use crate::shared::{Backoff, Shared};

/// Attempts that share a transaction at most.
pub(super) const GROUP: usize = 256;

/// What is written of an attempt.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) delivery: WebhookDelivery,
    pub(super) attempt: WebhookAttempt,
    pub(super) failing: WebhookFailing,
    /// The endpoint is disabled: the reason for metrics, and the one for its owner.
    pub(super) disable: Option<(&'static str, String)>,
}

/// An attempt to be written, and whom to tell that it is.
pub(super) type Outcome = (Settling, oneshot::Sender<()>);

/// Hands an attempt over, and waits until it is written.
pub(super) async fn write(outcomes: &mpsc::Sender<Outcome>, settling: Settling) {
    let (written, wait) = oneshot::channel();
    if outcomes.send((settling, written)).await.is_ok() {
        let _ = wait.await;
    }
}

/// Writes attempts for ever.
pub(super) async fn run(shared: &Shared, mut outcomes: mpsc::Receiver<Outcome>) {
    let mut group = Vec::with_capacity(GROUP);
    while outcomes.recv_many(&mut group, GROUP).await > 0 {
        let mut backoff = Backoff::new();
        while let Err(error) = store(shared, &group).await {
            tracing::error!(%error, "what came of webhooks cannot be written");
            backoff.pause().await;
        }
        for (settling, written) in group.drain(..) {
            remember(shared, &settling);
            let _ = written.send(());
        }
    }
}

async fn store(shared: &Shared, group: &[Outcome]) -> Result<(), ControlStoreError> {
    let settlements: Vec<WebhookSettlement> = group
        .iter()
        .map(|(settling, _)| WebhookSettlement {
            delivery: settling.delivery.clone(),
            attempt: settling.attempt.clone(),
            failing: settling.failing,
        })
        .collect();
    shared.deliveries.settle_webhooks(&settlements).await?;
    for (settling, _) in group {
        if let Some((label, reason)) = &settling.disable {
            disable(shared, &settling.delivery.endpoint, label, reason).await?;
        }
    }
    Ok(())
}

/// Notes in memory what was written about the endpoint.
fn remember(shared: &Shared, settling: &Settling) {
    let id = &settling.delivery.endpoint;
    match settling.failing {
        WebhookFailing::Same => {}
        WebhookFailing::Since(since) => shared.endpoints.edit(id, |endpoint| {
            endpoint.failing_since.get_or_insert(since);
        }),
        WebhookFailing::Ended => shared.endpoints.edit(id, |endpoint| endpoint.failing_since = None),
    }
}

/// Disables an endpoint without its owner.
pub(crate) async fn disable(
    shared: &Shared,
    id: &str,
    label: &'static str,
    reason: &str,
) -> Result<(), ControlStoreError> {
    if !shared.endpoint_store.disable_webhook_endpoint(id, reason).await? {
        return Ok(());
    }
    let tenant = shared.endpoints.get(id).map(|endpoint| endpoint.tenant.clone()).unwrap_or_default();
    tracing::warn!(tenant, webhook = id, reason, "a webhook was disabled");
    shared.metrics.disabled(label);
    shared.endpoints.edit(id, |endpoint| {
        endpoint.enabled = false;
        endpoint.disabled_reason = Some(reason.to_owned());
        endpoint.version += 1;
    });
    Ok(())
}
