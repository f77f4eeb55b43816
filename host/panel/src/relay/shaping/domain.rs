//! Shaping of one domain: its hosts, its provider, and what holds its mail.

use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::Shaping;
use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::OperatorPage;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DomainQuery {
    domain: String,
}

/// Shaping of a domain.
#[derive(Debug, Deserialize)]
struct DomainShaping {
    domain: String,
    site: String,
    provider: String,
    hold: Option<String>,
    shaping: Shaping,
}

#[derive(Template)]
#[template(path = "relay/shaping_domain.html")]
struct DomainPage {
    f: Frame,
    query: DomainQuery,
    found: Option<DomainShaping>,
    mistake: Option<String>,
}

impl DomainPage {
    fn messages_url(&self, domain: &str) -> String {
        path(&["panel", "relay", "queue", "messages"], &[("domain", domain)])
    }
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<DomainQuery>) -> Result<Response, Problem> {
    let domain = query.domain.trim();
    let mut shown = (None, None);
    if !domain.is_empty() {
        let asked = path(&["shaping"], &[("domain", domain)]);
        let found: Result<DomainShaping, Problem> = page.api.get(&asked).await;
        shown = match found {
            Ok(found) => (Some(found), None),
            Err(problem) if problem.is_about_input() || problem.status == StatusCode::NOT_FOUND => {
                (None, Some(problem.message))
            }
            Err(problem) => return Err(problem),
        };
    }
    let (found, mistake) = shown;
    let f = page.frame(Section::SHAPING, page.l.say("shaping.one_domain"));
    frame::page(&DomainPage { f, query, found, mistake })
}
