//! The audit log: who administered what.

use std::borrow::Cow;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::{PanelState, TenantPage};
use crate::texts::Language;

/// Acts on a page.
const ROWS: &str = "50";
/// Kinds of actors, as their names begin. The longest of those that begin alike comes first.
const ACTORS: [&str; 5] = ["admin key", "key", "user", "socket uid", "cli uid"];

pub(crate) fn routes() -> Router<PanelState> {
    Router::new().route("/audit", get(page))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuditQuery {
    after: String,
}

#[derive(Debug, Deserialize)]
struct AuditedAct {
    id: String,
    created_at: String,
    actor: String,
    action: String,
    subject: String,
    result: String,
}

impl AuditedAct {
    /// The kind and the name of who did it. The kind is empty where it is not known.
    fn who<'a>(&'a self, l: &Language) -> (&'static str, &'a str) {
        let found = ACTORS.iter().find_map(|kind| {
            let name = self.actor.strip_prefix(kind)?.strip_prefix(' ')?;
            Some((l.find("actor", kind)?, name))
        });
        found.unwrap_or(("", &self.actor))
    }

    /// What was done, in words where there are some.
    fn words(&self, l: &Language) -> &str {
        l.find("act", &self.action).unwrap_or(&self.action)
    }

    /// What it was about: of a path its last part that names something, decoded.
    fn about(&self) -> Cow<'_, str> {
        if !self.subject.starts_with('/') {
            return Cow::Borrowed(&self.subject);
        }
        // Segments of the route that are in braces stand at the same place in the path.
        let route = self.action.split_once(' ').map_or("", |(_, route)| route);
        let pairs = route.split('/').zip(self.subject.split('/'));
        let named = pairs.filter(|(segment, _)| segment.starts_with('{')).map(|(_, value)| value);
        named.last().map_or(Cow::Borrowed(""), decoded)
    }
}

/// A segment of a path without its percent-encoding.
fn decoded(segment: &str) -> Cow<'_, str> {
    let kept = segment.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    let pairs = url::form_urlencoded::parse(kept.as_bytes()).next();
    pairs.map_or(Cow::Borrowed(segment), |(name, _)| Cow::Owned(name.into_owned()))
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct AuditPage {
    f: Frame,
    rows: Vec<AuditedAct>,
    next: Option<String>,
    is_first: bool,
}

async fn page(tenant: TenantPage, Query(query): Query<AuditQuery>) -> Result<Response, Problem> {
    let asked = path(&["audit"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<AuditedAct> = tenant.api.get(&asked).await?;
    let next = found.cursor(|act| &act.id).map(|after| tenant.url(&["audit"], &[("after", &after)]));
    let f = tenant.frame(Section::AUDIT, tenant.l.say("audit.title"));
    frame::page(&AuditPage { f, rows: found.data, next, is_first: query.after.is_empty() })
}
