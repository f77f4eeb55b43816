//! Long polls: requests that wait for an event of their tenant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_queue::{EventHistory, EventPage, EventPosition};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::RequestError;

/// The longest wait that may be asked for.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// Simultaneous waits of one tenant and of all. Beyond them a request is answered at once: a
/// connection that waits here does not give way to others.
const MAX_OF_TENANT: usize = 10;
const MAX_OF_ALL: usize = 200;
/// The shortest time between two looks while other tenants' events come in.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Counts requests that wait, by tenant.
#[derive(Debug, Default)]
pub(super) struct LongPolls {
    by_tenant: Mutex<HashMap<String, usize>>,
}

/// A request that waits. It is counted until this is dropped.
#[derive(Debug)]
pub(super) struct LongPoll {
    polls: Arc<LongPolls>,
    tenant: String,
}

impl LongPolls {
    pub(super) fn begin(self: &Arc<Self>, tenant: &str) -> Option<LongPoll> {
        let mut by_tenant = self.by_tenant();
        let of_tenant = by_tenant.get(tenant).copied().unwrap_or(0);
        if of_tenant >= MAX_OF_TENANT || by_tenant.values().sum::<usize>() >= MAX_OF_ALL {
            return None;
        }
        by_tenant.insert(tenant.to_owned(), of_tenant + 1);
        Some(LongPoll { polls: self.clone(), tenant: tenant.to_owned() })
    }

    fn by_tenant(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.by_tenant.lock()
    }
}

impl Drop for LongPoll {
    fn drop(&mut self) {
        let mut by_tenant = self.polls.by_tenant();
        if let Some(count) = by_tenant.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                by_tenant.remove(&self.tenant);
            }
        }
    }
}

/// Reads whenever the log has grown, until something is found or `wait` is over.
pub(super) async fn follow<F>(
    events: &dyn EventHistory,
    after: &EventPosition,
    wait: Duration,
    read: impl Fn() -> F,
) -> Result<EventPage, RequestError>
where
    F: Future<Output = Result<EventPage, RequestError>>,
{
    let deadline = Instant::now() + wait;
    let (mut seen, mut found) = (after.clone(), EventPage::default());
    loop {
        if timeout_at(deadline, events.wait_history(&mut seen)).await.is_err() {
            return Ok(found);
        }
        let next_look = Instant::now() + LOOK_INTERVAL;
        found = read().await?;
        if !found.events.is_empty() {
            return Ok(found);
        }
        sleep_until(next_look.min(deadline)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        let polls = Arc::new(LongPolls::default());
        let mut of_acme: Vec<_> = (0..MAX_OF_TENANT).map(|_| polls.begin("acme").unwrap()).collect();
        assert!(polls.begin("acme").is_none());
        let others: Vec<_> = (0..).map_while(|n| polls.begin(&format!("t{}", n / MAX_OF_TENANT))).collect();
        assert_eq!(others.len(), MAX_OF_ALL - MAX_OF_TENANT);
        of_acme.pop();
        assert!(polls.begin("acme").is_some());
        drop((of_acme, others));
        assert!(polls.by_tenant().is_empty());
    }
}
