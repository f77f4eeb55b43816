//! Tasks whose panics stay where they happen.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::shared::DeliveryContext;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It returned.
    Returned,
    /// It panicked, or was given up because delivery is abandoned.
    Died,
}

/// Runs `task` apart from its caller: a panic is logged and counted, and ends nothing else.
pub(crate) async fn contained(
    shared: &DeliveryContext,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> End {
    let mut handle = tokio::spawn(task);
    let joined = tokio::select! {
        biased;
        joined = &mut handle => joined,
        () = shared.abandon.cancelled() => {
            handle.abort();
            handle.await
        }
    };
    match joined {
        Ok(()) => End::Returned,
        Err(error) => {
            if error.is_panic() {
                shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", task = name, "a task panicked; what it held becomes due again");
            }
            End::Died
        }
    }
}

/// A task that can be made again.
pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `task` again whenever it panics, until it returns.
pub(crate) async fn supervised(
    shared: Arc<DeliveryContext>,
    name: &'static str,
    task: fn(Arc<DeliveryContext>) -> Boxed,
) {
    while contained(&shared, name, task(shared.clone())).await == End::Died && !shared.abandon.is_cancelled()
    {
        sleep(Duration::from_secs(1)).await;
    }
}
