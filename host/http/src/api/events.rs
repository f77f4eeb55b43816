//! `GET /events`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use relevo_mailkit::event::EventEntry;
use relevo_queue::{EventError, NewEvent, StoredEvent};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use crate::error::{self, RequestError};

/// Events in one answer, unless `limit` says less.
const MAX_EVENTS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EventsAnswer {
    events: Vec<EventEntry>,
    /// For `after` of the next call; the same as the one given when there is nothing new.
    cursor: String,
}

/// The caller's events after a cursor, oldest first. Poll with the cursor of the last answer.
pub(super) async fn events(
    State(services): State<ApiServices>,
    caller: Caller,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventsAnswer>, RequestError> {
    let query = error::query(query)?;
    let after = number("after", query.after.as_deref(), 0)?;
    let limit = number("limit", query.limit.as_deref(), 100)?;
    let limit = usize::try_from(limit).ok().filter(|n| (1..=MAX_EVENTS).contains(n));
    let limit = limit.ok_or_else(|| RequestError::invalid("limit", format!("must be 1 to {MAX_EVENTS}")))?;
    let found = services.events.events(Some(&caller.tenant), after, limit).await.map_err(refusal)?;
    let cursor = found.last().map_or(after, |e| e.cursor).to_string();
    Ok(Json(EventsAnswer { events: found.into_iter().map(entry).collect(), cursor }))
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
