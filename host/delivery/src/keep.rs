//! Keeps leases from lapsing while their attempts run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::schedule::millis;
use super::shared::{DeliveryContext, LEASE};

/// Between two extensions: a quarter of a lease.
const EXTEND: Duration = Duration::from_secs(30);
/// Extends every lease that is held, until delivery is abandoned or over.
pub(crate) async fn extend(shared: Arc<DeliveryContext>) {
    loop {
        tokio::select! {
            () = shared.abandon.cancelled() => return,
            () = sleep(EXTEND) => {}
        }
        let leases = shared.leases.all();
        if leases.is_empty() {
            continue;
        }
        let until = shared.now().saturating_add(millis(LEASE));
        match shared.queue.extend(&leases, until).await {
            Ok(ids) => shared.leases.extended(&ids, until),
            Err(error) => {
                shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", %error, "leases could not be extended");
            }
        }
    }
}
