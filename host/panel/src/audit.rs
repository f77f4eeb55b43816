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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Browser, EVIL, FakeApi};

    fn act(actor: &str, action: &str, subject: &str) -> AuditedAct {
        let text = str::to_owned;
        let (id, created_at, result) = (text("1"), text("2026-11-29T10:00:00.000Z"), text("done"));
        AuditedAct {
            id,
            created_at,
            actor: text(actor),
            action: text(action),
            subject: text(subject),
            result,
        }
    }

    #[test]
    fn acts_are_told_in_words() {
        let english = Language::tagged("en");
        let known = act("key admin key", "DELETE /suppressions/{name}", "/suppressions/a%2Bb+c%40x.example");
        assert_eq!(known.who(&english), ("API key", "admin key"));
        assert_eq!((known.words(&english), &*known.about()), ("removed a suppression", "a+b+c@x.example"));
        let unknown = act("someone", "PUT /things", "/things");
        assert_eq!((unknown.who(&english), unknown.words(&english)), (("", "someone"), "PUT /things"));
        assert_eq!(unknown.about(), "");
        let command = act("admin key ops", "plugin add", "block-list");
        assert_eq!((command.who(&english).0, &*command.about()), ("admin key", "block-list"));
    }

    /// Routes that change nothing that is administered.
    const DAILY: [&str; 13] = [
        "POST /classify",
        "POST /emails",
        "POST /emails/batch",
        "POST /emails/check",
        "PATCH /emails/{id}",
        "POST /emails/{id}/cancel",
        "POST /emails/{id}/resend",
        "POST /relay",
        "POST /relay/events",
        "POST /relay/unsubscribe",
        "POST /render",
        "POST /templates/{name}/render",
        "POST /validate",
    ];

    #[test]
    fn every_act_of_the_api_has_words() {
        let document = include_str!("../../../tests/golden/openapi.json");
        let document: Value = serde_json::from_str(document).expect("JSON");
        let mut acts = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys().filter(|method| *method != "get") {
                acts.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let english = Language::tagged("en");
        let is_daily = |act: &String| DAILY.contains(&act.as_str()) || act.starts_with("POST /validate");
        let missing: Vec<_> =
            acts.iter().filter(|act| !is_daily(act) && english.find("act", act).is_none()).collect();
        assert!(missing.is_empty(), "there are no words for {missing:?}");
    }

    #[tokio::test]
    async fn the_log_goes_on_behind_the_last_act() {
        let act = json!({
            "id": "01K1", "created_at": EVIL, "actor": format!("key {EVIL}"), "action": EVIL,
            "subject": format!("/{EVIL}"), "result": EVIL
        });
        let list = json!({"has_more": true, "data": [act]});
        let browser = Browser::at(FakeApi::new().with("GET", "/audit", 200, list));
        let page = browser.get("/panel/t/dev/audit?after=01K2").await;
        page.is_harmless();
        assert_eq!(browser.api.last("GET").path, "/audit?limit=50&after=01K2");
        assert!(page.text.contains("/panel/t/dev/audit?after=01K1"), "{}", page.text);
    }
}
