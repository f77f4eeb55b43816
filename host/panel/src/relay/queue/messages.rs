//! The list of messages that wait.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::super::LIVE;
use super::LastAttempt;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::OperatorPage;

/// Messages on a page.
const ROWS: &str = "50";
/// Domains of a message that are named.
const NAMED: usize = 3;

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WaitingQuery {
    tenant: String,
    domain: String,
    state: String,
    after: String,
    done: Option<String>,
}

impl WaitingQuery {
    fn filters(&self) -> [(&'static str, &str); 3] {
        [("tenant", self.tenant.trim()), ("domain", self.domain.trim()), ("state", self.state.trim())]
    }

    fn is_search(&self) -> bool {
        self.filters().iter().any(|(_, value)| !value.is_empty())
    }
}

/// A message that waits.
#[derive(Debug, Deserialize)]
struct WaitingMessage {
    id: String,
    tenant: String,
    from: String,
    subject: String,
    size: usize,
    accepted_at: String,
    pending: u64,
    next_attempt: Option<String>,
    state: String,
    domains: Vec<String>,
    last: Option<LastAttempt>,
}

#[derive(Template)]
#[template(path = "relay/messages.html")]
struct WaitingPage {
    f: Frame,
    query: WaitingQuery,
    states: Vec<(&'static str, &'static str)>,
    rows: Vec<WaitingMessage>,
    oldest: String,
    next: Option<String>,
    mistake: Option<String>,
    /// The messages of some shards are missing.
    is_incomplete: bool,
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<WaitingQuery>) -> Result<Response, Problem> {
    let mut asked = vec![("limit", ROWS), ("after", query.after.as_str())];
    asked.extend(query.filters());
    let found: Result<List<WaitingMessage>, Problem> = page.api.get(&path(&["queue"], &asked)).await;
    let (found, mistake) = match found {
        Ok(found) => (found, None),
        Err(problem) if problem.is_about_input() => (List::none(), Some(problem.message)),
        Err(problem) => return Err(problem),
    };
    let is_incomplete = !found.unavailable_shards.is_empty();
    let next = found.next.filter(|_| found.has_more).map(|next| {
        let mut parameters = query.filters().to_vec();
        parameters.push(("after", &next));
        page.url(&["queue", "messages"], &parameters)
    });
    let mut f = page.frame(Section::QUEUE, page.l.say("queue.messages"));
    f = f.with_notice(query.done.as_deref());
    if query.after.is_empty() && mistake.is_none() && query.done.is_none() {
        f = f.live_at(LIVE);
    }
    let states = ["due", "waiting", "held"].map(|state| (state, f.l.find("wait", state).unwrap_or(state)));
    let oldest = page.url(&["queue", "messages"], &query.filters());
    let (states, rows) = (states.to_vec(), found.data);
    frame::page(&WaitingPage { f, states, rows, oldest, next, mistake, is_incomplete, query })
}
