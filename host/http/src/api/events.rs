//! `GET /events`.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use relevo_queue::{EventPage, EventPosition, HistoryError, ItemId, PlacedEvent, StoreError};
use relevo_relay::emails::entry;
use serde::Deserialize;

use super::auth::Caller;
use super::{ApiServices, follow};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// The answer of `GET /events`. It is written by hand, so that it has as many events as fit.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the document describes it")]
pub(super) struct EventsAnswer {
    /// Events, the oldest first.
    events: Vec<relevo_mailkit::event::EventEntry>,
    /// For `after` of the next call.
    cursor: String,
    /// Shards of a cluster that could not be asked. Their events follow when they answer again.
    unavailable_shards: Option<Vec<u16>>,
}

/// Events in one answer, unless `limit` says less.
const MAX_EVENTS: usize = 1_000;
/// Octets of JSON in one answer, unless its only event has more.
const MAX_OCTETS: usize = 1 << 20;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// The cursor of the last answer; 0 or absent: from the beginning; `latest`: behind the newest.
    after: Option<String>,
    /// The most events: 1 to 1,000; 100 without it.
    limit: Option<String>,
    /// Only events about the message with this id.
    message: Option<String>,
    /// The time to wait for an event, such as `30s`; 60 seconds at most.
    wait: Option<String>,
}

/// Lists the caller's events after a cursor, oldest first: all of them, or those about one message.
/// When there are none, it waits for one as long as `wait` says. An answer has at most `limit`
/// events and 1 MiB. Poll with the cursor of the last answer.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(EventsQuery),
    responses((status = 200, description = "Events, the oldest first.", body = EventsAnswer)),
)]
pub(super) async fn events(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, RequestError> {
    let query = error::query(query)?;
    let after = match query.after.as_deref() {
        Some("latest") => latest(&services, &caller.tenant).await?,
        None | Some("") => EventPosition::oldest(),
        Some(after) => {
            let unknown = || RequestError::invalid("after", "must be the cursor of an answer, or `latest`");
            EventPosition::oldest().parse(after).ok_or_else(unknown)?
        }
    };
    let limit = number("limit", query.limit.as_deref(), 100)?;
    let limit = usize::try_from(limit).ok().filter(|n| (1..=MAX_EVENTS).contains(n));
    let limit = limit.ok_or_else(|| RequestError::invalid("limit", format!("must be 1 to {MAX_EVENTS}")))?;
    let message = query.message.as_deref().map(str::parse).transpose();
    let message = message.map_err(|_| RequestError::invalid("message", "must be the id of a message"))?;
    let wait = wait(query.wait.as_deref())?;
    let read = || read(&services, &caller.tenant, message, &after, limit);
    let mut found = read().await?;
    if found.events.is_empty()
        && !wait.is_zero()
        && let Some(_counted) = services.polls.begin(&caller.tenant)
    {
        found = follow::follow(&*services.events, &after, wait, read).await?;
    }
    let body = answer(found, after).map_err(|error| {
        tracing::error!(%error, "events cannot be encoded");
        RequestError::unavailable()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `{"events":[...],"cursor":"..."}` with as many events as fit, and at least one if there are any.
/// The cursor is for `after` of the next call; it is the one given when there is nothing new.
fn answer(page: EventPage, after: EventPosition) -> serde_json::Result<Vec<u8>> {
    let (mut json, mut position) = (br#"{"events":["#.to_vec(), after);
    for (number, event) in page.events.into_iter().enumerate() {
        let next = position.clone().at(&event);
        let entry = serde_json::to_vec(&entry(event.stored, &next))?;
        if number > 0 {
            if json.len() + entry.len() >= MAX_OCTETS {
                break;
            }
            json.push(b',');
        }
        json.extend(entry);
        position = next;
    }
    json.extend(format!(r#"],"cursor":"{position}""#).into_bytes());
    if !page.unavailable_shards.is_empty() {
        json.extend(br#","unavailable_shards":"#);
        json.extend(serde_json::to_vec(&page.unavailable_shards)?);
    }
    json.push(b'}');
    Ok(json)
}

/// The position of the tenant's newest event.
async fn latest(services: &ApiServices, tenant: &str) -> Result<EventPosition, RequestError> {
    services.events.newest(tenant).await.map_err(|error| unreadable(&error))
}

async fn read(
    services: &ApiServices,
    tenant: &str,
    message: Option<ItemId>,
    after: &EventPosition,
    limit: usize,
) -> Result<EventPage, RequestError> {
    let Some(message) = message else {
        return services.events.history(tenant, after, limit).await.map_err(refusal);
    };
    // Where there is one log, a position has no shards.
    let has_shards = services.events.has_shards();
    if !(if has_shards { after.is_of_shards() } else { after.is_alone() }) {
        return Err(refusal(HistoryError::Foreign));
    }
    let shard = Some(message.shard()).filter(|_| has_shards);
    let found = services.events.events_of(message, after.place(shard), limit).await;
    let found = found.map_err(|error| unreadable(&error))?.into_iter();
    let own = found.filter(|stored| stored.event.tenant == tenant);
    let events = own.map(|stored| PlacedEvent { shard, stored }).collect();
    Ok(EventPage { events, unavailable_shards: Vec::new() })
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

fn refusal(error: HistoryError) -> RequestError {
    match error {
        HistoryError::Store(error) => unreadable(&error),
        gone @ (HistoryError::Pruned { .. } | HistoryError::Foreign) => RequestError::Gone(gone.to_string()),
    }
}

fn unreadable(error: &StoreError) -> RequestError {
    tracing::error!(%error, "the event log cannot be read");
    RequestError::unavailable()
}

fn number(name: &'static str, given: Option<&str>, default: u64) -> Result<u64, RequestError> {
    match given {
        None | Some("") => Ok(default),
        Some(s) => s.parse().map_err(|_| RequestError::invalid(name, "must be a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::event::{Clicked, Event};
    use relevo_mailkit::labels::Labels;
    use relevo_queue::{NewEvent, StoredEvent};
    use serde_json::Value;

    use super::*;

    fn clicked(shard: Option<u16>, cursor: u64, octets: usize) -> PlacedEvent {
        let event = Event::Clicked(Clicked { url: "x".repeat(octets), count: 1, ..Clicked::default() });
        let event = NewEvent { tenant: "acme".into(), at: 0, item: None, labels: Labels::default(), event };
        PlacedEvent { shard, stored: StoredEvent { cursor, event } }
    }

    /// The number of events and the cursor.
    fn answered(octets: &[usize]) -> (usize, String) {
        let events = (8..).zip(octets).map(|(cursor, octets)| clicked(None, cursor, *octets)).collect();
        let page = EventPage { events, unavailable_shards: Vec::new() };
        let json: Value = serde_json::from_slice(&answer(page, EventPosition::alone(7)).unwrap()).unwrap();
        assert!(json.get("unavailable_shards").is_none());
        (json["events"].as_array().unwrap().len(), json["cursor"].as_str().unwrap().to_owned())
    }

    #[test]
    fn cursors_of_a_cluster_have_a_place_in_each_shard() {
        let events = vec![clicked(Some(2), 5, 1), clicked(Some(1), 7, 1), clicked(Some(2), 6, 1)];
        let page = EventPage { events, unavailable_shards: vec![3] };
        let after = EventPosition::oldest().parse("3.9").unwrap();
        let json: Value = serde_json::from_slice(&answer(page, after).unwrap()).unwrap();
        let cursors: Vec<&str> =
            json["events"].as_array().unwrap().iter().map(|e| e["cursor"].as_str().unwrap()).collect();
        assert_eq!(cursors, ["2.5-3.9", "1.7-2.5-3.9", "1.7-2.6-3.9"]);
        assert_eq!(json["cursor"], "1.7-2.6-3.9");
        assert_eq!(json["unavailable_shards"], serde_json::json!([3]));
    }

    #[test]
    fn an_answer_has_as_many_events_as_fit() {
        assert_eq!(answered(&[]), (0, "7".to_owned()));
        assert_eq!(answered(&[10, 10]), (2, "9".to_owned()));
        assert_eq!(answered(&[MAX_OCTETS / 3; 5]), (2, "9".to_owned()));
        assert_eq!(answered(&[MAX_OCTETS, 10]), (1, "8".to_owned()), "one at least");
        assert_eq!(answered(&[10, MAX_OCTETS, 10]), (1, "8".to_owned()));
    }
}
