//! Tasks that keep things going: leases, and what is held beyond its time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_queue::{Action, ItemView, Millis, RecipientState};
use tokio::time::{Instant, sleep};

use super::schedule::millis;
use super::shared::{LEASE, Shared};

/// Between two extensions: a quarter of a lease.
const EXTEND: Duration = Duration::from_secs(30);
/// Between two looks at held deliveries, at least.
const LOOK: Duration = Duration::from_secs(30);
/// Items of a page.
const PAGE: usize = 200;

/// Extends every lease that is held, until delivery is abandoned or over.
pub(crate) async fn extend(shared: Arc<Shared>) {
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

/// Releases held deliveries whose time is over, so that they expire: held mail is not due and nobody else looks at it.
pub(crate) async fn expire_held(shared: Arc<Shared>) {
    let mut pause = LOOK;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        if shared.queue.stats().held == 0 {
            continue;
        }
        let began = Instant::now();
        look(&shared).await;
        // A long queue is not read all the time.
        pause = LOOK.max(began.elapsed() * 20);
    }
}

async fn look(shared: &Shared) {
    let mut after = None;
    while !shared.stop.is_cancelled() {
        let now = shared.now();
        let page = match shared.queue.list(after, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(target: "relevo::delivery", %error, "the queue could not be listed");
                return;
            }
        };
        let Some(last) = page.last() else { return };
        after = Some(last.id);
        for item in page.iter().filter(|item| is_held_too_long(item, now)) {
            if let Err(error) = shared.queue.act(item.id, Action::Release, now, Vec::new()).await {
                tracing::error!(target: "relevo::delivery", id = %item.id, %error, "a held message could not be expired");
            }
        }
    }
}

fn is_held_too_long(item: &ItemView, now: Millis) -> bool {
    item.meta.expires_at <= now
        && item
            .deliveries
            .iter()
            .map(|d| &d.delivery)
            .any(|d| d.held && d.recipients.iter().any(|r| r.state == RecipientState::Pending))
}
