//! `GET /events`.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use relevo_mailkit::event::EventEntry;
use relevo_queue::{EventError, ItemId, NewEvent, StoredEvent};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::{ApiServices, follow};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Events in one answer, unless `limit` says less.
const MAX_EVENTS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<String>,
    limit: Option<String>,
    message: Option<String>,
    wait: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EventsAnswer {
    events: Vec<EventEntry>,
    /// For `after` of the next call; the same as the one given when there is nothing new.
    cursor: String,
}

/// Lists the caller's events after a cursor, oldest first: all of them, or those about one message. When there are none, it
/// waits for one as long as `wait` says. Poll with the cursor of the last answer.
pub(super) async fn events(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventsAnswer>, RequestError> {
    let query = error::query(query)?;
    let after = number("after", query.after.as_deref(), 0)?;
    let limit = number("limit", query.limit.as_deref(), 100)?;
    let limit = usize::try_from(limit).ok().filter(|n| (1..=MAX_EVENTS).contains(n));
    let limit = limit.ok_or_else(|| RequestError::invalid("limit", format!("must be 1 to {MAX_EVENTS}")))?;
    let message = query.message.as_deref().map(str::parse).transpose();
    let message = message.map_err(|_| RequestError::invalid("message", "must be the id of a message"))?;
    let wait = wait(query.wait.as_deref())?;
    let read = || read(&services, &caller.tenant, message, after, limit);
    let mut found = read().await?;
    if found.is_empty()
        && !wait.is_zero()
        && let Some(_counted) = services.polls.begin(&caller.tenant)
    {
        found = follow::follow(&*services.events, after, wait, read).await?;
    }
    let cursor = found.last().map_or(after, |e| e.cursor).to_string();
    Ok(Json(EventsAnswer { events: found.into_iter().map(entry).collect(), cursor }))
}

async fn read(
    services: &ApiServices,
    tenant: &str,
    message: Option<ItemId>,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, RequestError> {
    let Some(message) = message else {
        return services.events.events(Some(tenant), after, limit).await.map_err(refusal);
    };
    let found = services.events.events_of(message, after, limit).await;
    let mut found = found.map_err(|error| refusal(error.into()))?;
    found.retain(|stored| stored.event.tenant == tenant);
    Ok(found)
}

/// Seconds, such as `30s`.
fn wait(given: Option<&str>) -> Result<Duration, RequestError> {
    let seconds = given.map(|given| given.strip_suffix('s').unwrap_or(given));
    let wait = Duration::from_secs(number("wait", seconds, 0)?);
    match wait <= follow::MAX_WAIT {
        true => Ok(wait),
        false => Err(RequestError::invalid("wait", "must be 60s at most")),
    }
}

fn refusal(error: EventError) -> RequestError {
    match error {
        EventError::Pruned { oldest } => RequestError::Gone(format!(
            "events up to this cursor are no longer kept; the oldest that can be read after is {oldest}"
        )),
        EventError::Store(error) => {
            tracing::error!(%error, "the event log cannot be read");
            RequestError::unavailable()
        }
    }
}

fn number(name: &'static str, given: Option<&str>, default: u64) -> Result<u64, RequestError> {
    match given {
        None | Some("") => Ok(default),
        Some(s) => s.parse().map_err(|_| RequestError::invalid(name, "must be a whole number")),
    }
}

fn entry(stored: StoredEvent) -> EventEntry {
    let NewEvent { at, item, event, .. } = stored.event;
    EventEntry {
        cursor: stored.cursor.to_string(),
        created_at: relevo_relay::clock::timestamp(at),
        message_id: item.map(|id| id.to_string()),
        event,
    }
}
