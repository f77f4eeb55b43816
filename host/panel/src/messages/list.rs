//! The list of messages.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Messages on a page.
const ROWS: &str = "50";
/// States to choose from: the newest event of a message.
const STATES: [&str; 14] = [
    "queued",
    "scheduled",
    "sent",
    "delivered",
    "delivery_delayed",
    "bounced",
    "failed",
    "expired",
    "suppressed",
    "opened",
    "clicked",
    "complained",
    "held",
    "canceled",
];

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessagesQuery {
    q: String,
    to: String,
    subject: String,
    tag: String,
    status: String,
    after: String,
}

impl MessagesQuery {
    fn parameters(&self) -> [(&'static str, &str); 5] {
        [
            ("q", self.q.trim()),
            ("to", self.to.trim()),
            ("subject", self.subject.trim()),
            ("tag", self.tag.trim()),
            ("status", self.status.trim()),
        ]
    }

    fn is_search(&self) -> bool {
        self.parameters().iter().any(|(_, value)| !value.is_empty())
    }
}

/// A message in the list.
#[derive(Debug, Deserialize)]
struct MessageRow {
    id: String,
    from: String,
    to: Vec<String>,
    subject: String,
    created_at: String,
    last_event: String,
    #[serde(default)]
    scheduled_at: Option<String>,
}

#[derive(Template)]
#[template(path = "messages/list.html")]
struct ListPage {
    f: Frame,
    query: MessagesQuery,
    states: Vec<(&'static str, &'static str)>,
    rows: Vec<MessageRow>,
    older: Option<String>,
    newest: String,
    mistake: Option<String>,
    /// The messages of some shards are missing.
    is_incomplete: bool,
}

pub(super) async fn page(
    tenant: TenantPage,
    Query(query): Query<MessagesQuery>,
) -> Result<Response, Problem> {
    let l = tenant.l;
    let parameters = query.parameters();
    let mut asked = vec![("limit", ROWS), ("after", query.after.as_str())];
    asked.extend(parameters);
    let found: Result<List<MessageRow>, Problem> = tenant.api.get(&path(&["emails"], &asked)).await;
    let (found, mistake) = match found {
        Ok(found) => (found, None),
        Err(problem) if problem.is_about_input() => (List::none(), Some(problem.message)),
        Err(problem) => return Err(problem),
    };
    let is_incomplete = !found.unavailable_shards.is_empty();
    let older = found.next.filter(|_| found.has_more).map(|next| {
        let mut parameters = parameters.to_vec();
        parameters.push(("after", &next));
        tenant.url(&["messages"], &parameters)
    });
    let mut f = tenant.frame(Section::MESSAGES, l.say("messages.title"));
    if query.after.is_empty() {
        f = f.live();
    }
    let states = STATES.map(|state| (state, l.term("status", state))).to_vec();
    let newest = tenant.url(&["messages"], &parameters);
    frame::page(&ListPage { f, query, states, rows: found.data, older, newest, mistake, is_incomplete })
}
