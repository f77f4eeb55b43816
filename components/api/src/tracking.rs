//! The body of `POST /relay/events`: clicks and opens that the edge gateway answered, each with its
//! token. The core verifies every token itself.
//!
//! ```json
//! {"events": [{"type": "click", "host": "t.example.com", "token": "AfSe...",
//!   "at": "2026-11-29T10:00:00.125Z", "user_agent": "Mozilla/5.0", "address": "192.0.2.1"}]}
//! ```

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::check::{MAX_PROBLEMS, Problems};
use crate::problem::InvalidRequest;
use crate::schedule;

/// Events of a report.
pub const MAX_EVENTS: usize = 1_000;

/// The body of `POST /relay/events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackingReport {
    /// 1 to 1,000 events.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_EVENTS>")]
    pub events: Vec<ReportedEvent>,
}

/// A request that was answered at a tracking host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReportedEvent {
    /// What was asked for.
    #[serde(rename = "type")]
    pub kind: ReportedKind,
    /// The tracking host as the request named it, with a port or without.
    pub host: String,
    /// The token of the path.
    pub token: String,
    /// The time of the request: RFC 3339 with an offset.
    pub at: String,
    /// The `User-Agent` field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The address of the client, where the edge knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
}

/// What was asked for at a tracking host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReportedKind {
    /// `GET /c/{token}`: a link was followed.
    Click,
    /// `GET /o/{token}`: the pixel was fetched.
    Open,
}

/// The answer to a report: what became of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReportAnswer {
    /// Events that count.
    pub recorded: u64,
    /// Events whose token is not genuine for this tenant, host and type.
    pub unknown: u64,
    /// Events from the future, or older than is believed.
    pub implausible: u64,
    /// Events beyond the rate of their client or of the tenant.
    pub dropped: u64,
}

/// An event whose values can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedEvent {
    /// What came.
    pub event: ReportedEvent,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// Reads and checks a report.
///
/// # Errors
/// Every mistake, at most 50.
pub fn read(body: &[u8]) -> Result<Vec<CheckedEvent>, InvalidRequest> {
    let report: TrackingReport = crate::json::read(body)?;
    if report.events.is_empty() {
        return Err(InvalidRequest::field("events", "at least one is needed"));
    }
    let mut problems = Problems::default();
    let checked = report.events.into_iter().enumerate().filter_map(|(index, event)| {
        let at = schedule::parse_instant(&event.at);
        problems.keep(&format!("events[{index}].at"), at).map(|at| CheckedEvent { event, at })
    });
    let checked = checked.collect();
    let mut found = problems.into_all();
    found.truncate(MAX_PROBLEMS);
    if found.is_empty() { Ok(checked) } else { Err(InvalidRequest::Fields(found)) }
}

/// A time as reports have it: RFC 3339 with milliseconds, in UTC.
#[must_use]
pub fn timestamp(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read() {
        let body = json!({"events": [
            {"type": "click", "host": "t.example.com", "token": "AA", "at": "2026-11-29T10:00:00.125Z",
             "user_agent": "Mozilla/5.0", "address": "2001:db8::1"},
            {"type": "open", "host": "t.example.com:8443", "token": "AB", "at": timestamp(1_000)},
        ]});
        let events = read(body.to_string().as_bytes()).expect("it is valid");
        assert_eq!(timestamp(events[0].at), "2026-11-29T10:00:00.125Z");
        assert_eq!((events[1].at, events[1].event.kind), (1_000, ReportedKind::Open));
        assert_eq!(events[0].event.address, "2001:db8::1".parse().ok());
    }

    #[test]
    fn a_mistake_has_its_place() {
        let event = |more: &str| format!(r#"{{"type":"open","host":"t","token":"A",{more}}}"#);
        let of = |events: &[String]| {
            let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
            read(body.as_bytes()).expect_err("it is wrong").to_string()
        };
        assert!(of(&[]).contains("at least one"));
        let good = event(r#""at":"2026-11-29T10:00:00Z""#);
        for (wrong, place) in [
            (event(r#""at":"yesterday""#), "events[1].at"),
            (event(r#""at":"in 2 hours""#), "events[1].at"),
            (event(r#""at":"2026-11-29T10:00:00Z","agent":"x""#), "user_agent"),
            (event(r#""at":"2026-11-29T10:00:00Z","address":"nowhere""#), "events[1].address"),
            (good.replace("open", "unsubscribe"), "events[1].type"),
        ] {
            let said = read(format!(r#"{{"events":[{good},{wrong}]}}"#).as_bytes()).expect_err("it is wrong");
            assert!(format!("{said:?}").contains(place), "{said:?}");
        }
        assert!(of(&vec![good; MAX_EVENTS + 1]).contains("at most 1000"));
    }
}
