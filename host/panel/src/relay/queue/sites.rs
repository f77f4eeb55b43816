//! What waits, by domain of the recipients, and acts on all mail to one.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;

use super::super::LIVE;
use super::{LastAttempt, action};
use crate::api::{Problem, path};
use crate::forms::Posted;
use crate::frame::{self, Frame, Section, see};
use crate::state::OperatorPage;

/// Domains on a page.
const ROWS: &str = "25";
/// Requests that one press of a button makes, of 500 messages each. More is a further press: the
/// page answers within the time that browsers wait.
const MAX_CALLS: usize = 20;
/// Suspensions of a domain that are named.
const NAMED: usize = 2;

/// What was done just now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SitesQuery {
    domain: String,
    acted: String,
    count: u64,
    /// Where the act goes on. Empty: it was done to all.
    next: String,
}

/// Domains with what waits for them.
#[derive(Debug, Deserialize)]
struct Waiting {
    data: Vec<WaitingDomain>,
    has_more: bool,
    domains: u64,
    truncated: bool,
    #[serde(default)]
    unavailable_shards: Vec<u16>,
}

/// What waits for a domain.
#[derive(Debug, Deserialize)]
struct WaitingDomain {
    domain: String,
    deliveries: u64,
    recipients: u64,
    due: u64,
    being_attempted: u64,
    held: u64,
    next_attempt: Option<String>,
    oldest_accepted_at: Option<String>,
    pools: Vec<String>,
    site: Option<String>,
    provider: Option<String>,
    hold: Option<String>,
    last: Option<LastAttempt>,
    suspensions: Vec<SiteSuspension>,
}

#[derive(Debug, Deserialize)]
struct SiteSuspension {
    subject: String,
    until: String,
    reason: String,
}

/// What an act came to.
struct Acted {
    text: String,
    /// What is sent to go on.
    go_on: Option<(&'static str, String)>,
    domain: String,
}

#[derive(Template)]
#[template(path = "relay/queue.html")]
struct SitesPage {
    f: Frame,
    waiting: Waiting,
    acted: Option<Acted>,
}

impl SitesPage {
    fn messages_url(&self, domain: &str) -> String {
        path(&["panel", "relay", "queue", "messages"], &[("domain", domain)])
    }
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<SitesQuery>) -> Result<Response, Problem> {
    let waiting: Waiting = page.api.get(&path(&["queue", "sites"], &[("limit", ROWS)])).await?;
    let mut f = page.frame(Section::QUEUE, page.l.say("queue.title"));
    let acted = acted(&f, query);
    // With something left to do the page stays as it is.
    if acted.as_ref().is_none_or(|acted| acted.go_on.is_none()) {
        f = f.live_at(LIVE);
    }
    frame::page(&SitesPage { f, waiting, acted })
}

fn acted(f: &Frame, query: SitesQuery) -> Option<Acted> {
    let (verb, key) = match query.acted.as_str() {
        "retry" => ("retry", "queue.acted_retry"),
        "hold" => ("hold", "queue.acted_hold"),
        "release" => ("release", "queue.acted_release"),
        _ => return None,
    };
    let text = f.fill(key, f.number(&query.count)).replacen("{}", &query.domain, 1);
    let go_on = (!query.next.is_empty()).then_some((verb, query.next));
    Some(Acted { text, go_on, domain: query.domain })
}

/// The answer to an act.
#[derive(Debug, Deserialize)]
struct SiteActed {
    count: u64,
    has_more: bool,
    #[serde(default)]
    next: Option<String>,
}

/// Acts on all mail to a domain, or on as much as one press may.
pub(super) async fn act(
    page: OperatorPage,
    Path(domain): Path<String>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let action = action(&fields)?;
    let mut next = fields.get("after").to_owned();
    let mut count = 0_u64;
    for _ in 0..MAX_CALLS {
        let asked = path(&["queue", "sites", &domain, action], &[("after", &next)]);
        let acted: SiteActed = page.api.act(Method::POST, &asked).await?;
        count = count.saturating_add(acted.count);
        next = acted.next.filter(|_| acted.has_more).unwrap_or_default();
        if next.is_empty() {
            break;
        }
    }
    let count = count.to_string();
    let done = [("domain", domain.as_str()), ("acted", action), ("count", &count), ("next", &next)];
    Ok(see(&page.url(&["queue"], &done)))
}
