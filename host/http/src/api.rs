//! `GET /events` and `GET /domains/{name}/records`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use relevo_mailkit::event::EventEntry;
use relevo_queue::{EventError, NewEvent, StoredEvent};
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::HttpState;

/// Events in one answer, unless `limit` says less.
const MAX_EVENTS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventsAnswer {
    events: Vec<EventEntry>,
    /// For `after` of the next call; the same as the one given when there is nothing new.
    cursor: String,
}

/// The caller's events after a cursor, oldest first. Poll with the cursor of the last answer.
pub(crate) async fn events(
    State(state): State<HttpState>,
    caller: Caller,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventsAnswer>, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::invalid("query", e.body_text()))?;
    let after = number("after", query.after.as_deref(), 0)?;
    let limit = number("limit", query.limit.as_deref(), 100)?;
    let limit = usize::try_from(limit).ok().filter(|n| (1..=MAX_EVENTS).contains(n));
    let limit = limit.ok_or_else(|| ApiError::invalid("limit", format!("must be 1 to {MAX_EVENTS}")))?;
    match state.events.events(Some(&caller.tenant), after, limit).await {
        Ok(found) => {
            let cursor = found.last().map_or(after, |e| e.cursor).to_string();
            Ok(Json(EventsAnswer { events: found.into_iter().map(entry).collect(), cursor }))
        }
        Err(EventError::Pruned { oldest }) => Err(ApiError::new(
            StatusCode::GONE,
            "cursor_pruned",
            format!(
                "events up to this cursor are no longer kept; the oldest that can be read after is {oldest}"
            ),
        )),
        Err(error) => {
            tracing::error!(%error, "the event log cannot be read");
            Err(ApiError::unavailable())
        }
    }
}

fn number(name: &str, given: Option<&str>, default: u64) -> Result<u64, ApiError> {
    match given {
        None | Some("") => Ok(default),
        Some(s) => s.parse().map_err(|_| ApiError::invalid(name, "must be a whole number")),
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

/// What to publish in DNS for one of the caller's domains.
pub(crate) async fn domain_records(
    State(state): State<HttpState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Vec<relevo_relay::records::DnsRecord>>, ApiError> {
    let settings = state.settings.get();
    let wanted = relevo_mailkit::address::to_ascii(&name).ok();
    let domain = wanted.as_deref().and_then(|name| settings.tenants.by_domain.get(name));
    match domain.filter(|d| d.tenant == caller.tenant) {
        Some(domain) => Ok(Json(relevo_relay::records::records(domain, &settings))),
        None => Err(ApiError::not_found("this domain is not one of yours")),
    }
}
