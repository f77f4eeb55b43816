//! Finds a time in the events of a tenant.

use relevo_queue::{EventError, EventLog, Millis};

/// The cursor of the first event of a tenant that is behind a time, by halves: whoever reads backward
/// from there reads what happened until then. Events are in the order of their commits, so that times
/// that are some milliseconds apart may stand in another order.
///
/// # Errors
/// The log's.
pub(super) async fn place_behind(log: &dyn EventLog, tenant: &str, at: Millis) -> Result<u64, EventError> {
    let newest = log.events_before(tenant, u64::MAX, 1).await?;
    let Some(newest) = newest.first() else { return Ok(0) };
    if newest.event.at <= at {
        return Ok(newest.cursor.saturating_add(1));
    }
    // Up to `low` nothing is behind the time. The first event after `high` is, or there is none.
    let (mut low, mut high) = (0, newest.cursor);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match log.events(Some(tenant), middle, 1).await {
            Ok(events) => match events.first().filter(|first| first.event.at <= at) {
                Some(first) => low = first.cursor.clamp(middle, high),
                None => high = middle,
            },
            Err(EventError::Pruned { oldest }) => low = oldest.clamp(middle, high),
            Err(error) => return Err(error),
        }
    }
    let next = match log.events(Some(tenant), low, 1).await {
        Err(EventError::Pruned { oldest }) => log.events(Some(tenant), oldest, 1).await?,
        next => next?,
    };
    Ok(match next.first() {
        Some(next) if next.event.at <= at => next.cursor.saturating_add(1),
        Some(next) => next.cursor,
        None => low.saturating_add(1),
    })
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::event::{Event, Rescheduled};
    use relevo_queue::{EmbeddedStore, NewEvent, StoredEvent};

    use super::*;

    fn event(tenant: &str, at: Millis) -> NewEvent {
        let event = Event::Rescheduled(Rescheduled::default());
        NewEvent { tenant: tenant.into(), at, item: None, labels: Default::default(), event }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn times_are_found_between_events_of_others() {
        let store = EmbeddedStore::open_temp().expect("opens");
        assert_eq!(place_behind(&*store, "acme", 5).await.expect("reads"), 0);
        for at in 1..=30 {
            store.append(vec![event("other", at * 10), event("acme", at * 10)]).await.expect("appends");
        }
        let times = |page: Vec<StoredEvent>| page.iter().map(|stored| stored.event.at).collect::<Vec<_>>();
        for at in 0..=310 {
            let place = place_behind(&*store, "acme", at).await.expect("reads");
            let before = times(store.events_before("acme", place, 100).await.expect("reads"));
            let wanted: Vec<Millis> = (1..=30).rev().map(|n| n * 10).filter(|time| *time <= at).collect();
            assert_eq!(before, wanted, "{at}");
        }
    }
}
