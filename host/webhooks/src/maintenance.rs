//! What happens once in a while: old deliveries are deleted, pending ones counted, the reader's delay
//! measured, and changes of other nodes read.

use std::sync::Arc;
use std::time::Duration;

use relevo_store::{ControlStoreError, PendingWebhooks};

use crate::endpoints;
use crate::retry::millis;
use crate::sender::disable;
use crate::shared::Shared;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(60);
/// Time between two looks at what other nodes have changed, unless the store tells of it.
const OTHER_NODES: Duration = Duration::from_secs(10);
/// Time between two looks at how far the reader is behind.
const MEASURE: Duration = Duration::from_secs(10);
/// Deliveries that are deleted at once.
const PAGE: u32 = 5_000;

pub(crate) async fn run(shared: &Arc<Shared>) {
    tokio::join!(rounds(shared), measure_delay(shared), follow_other_nodes(shared));
}

async fn rounds(shared: &Shared) {
    loop {
        if let Err(error) = round(shared).await {
            tracing::error!(%error, "webhooks cannot be counted or removed");
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn round(shared: &Shared) -> Result<(), ControlStoreError> {
    let before = shared.now().saturating_sub(millis(shared.config.retention));
    while shared.deliveries.prune_webhooks(before, PAGE).await? >= u64::from(PAGE) {}
    let pending = shared.deliveries.pending_webhook_endpoints(&shared.node).await?;
    shared.metrics.pending(pending.iter().map(|each| each.count).sum());
    for PendingWebhooks { endpoint, count, .. } in pending {
        if u64::try_from(count).unwrap_or(0) > shared.config.max_pending {
            let reason = format!("{count} deliveries wait for it, and {} may", shared.config.max_pending);
            disable(shared, &endpoint, "full", &reason).await?;
        }
    }
    Ok(())
}

async fn measure_delay(shared: &Shared) {
    loop {
        match shared.metrics.position.delay(&*shared.events, shared.now()).await {
            Ok(delay) => shared.metrics.delay(delay.unwrap_or(0)),
            Err(error) => tracing::error!(%error, "the delay of webhooks cannot be measured"),
        }
        tokio::time::sleep(MEASURE).await;
    }
}

/// Other nodes change endpoints and replay deliveries in the same store.
async fn follow_other_nodes(shared: &Shared) {
    if !shared.endpoint_store.is_shared() {
        return;
    }
    let mut changes = shared.endpoint_store.webhook_endpoint_changes();
    loop {
        let _ = tokio::time::timeout(OTHER_NODES, changes.next()).await;
        let found = match endpoints::refresh(shared).await {
            Ok(_) => shared.deliveries.pending_webhook_endpoints(&shared.node).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(pending) => {
                let now = shared.now();
                let due = pending.into_iter().filter(|each| each.next_at <= now);
                shared.due.add(due.map(|each| each.endpoint));
            }
            Err(error) => tracing::error!(%error, "webhooks cannot be read again from the store"),
        }
    }
}
