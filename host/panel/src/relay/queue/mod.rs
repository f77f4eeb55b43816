//! The queue by site, messages in it, and what may be done about them.

mod messages;
mod show;
mod sites;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::api::Problem;
use crate::forms::Fields;
use crate::ids;
use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/queue", get(sites::page))
        .route("/queue/sites/{domain}", post(sites::act))
        .route("/queue/messages", get(messages::page))
        .route("/queue/messages/{id}", get(show::page).post(show::act))
        .route("/queue/messages/{id}/drop", post(show::drop_message))
        .layer(from_fn(ids::check))
}

/// What an attempt found.
#[derive(Debug, Deserialize)]
struct LastAttempt {
    at: String,
    host: Option<String>,
    ip: Option<String>,
    code: Option<u16>,
    status: String,
    text: String,
    #[serde(default)]
    classification: Option<ReplyClass>,
}

/// What a reply means.
#[derive(Debug, Deserialize)]
struct ReplyClass {
    category: String,
    rule: String,
    #[serde(default)]
    explanation: std::collections::BTreeMap<String, String>,
}

impl ReplyClass {
    /// The words of the language, or the English ones.
    fn words(&self, tag: &str) -> &str {
        self.explanation.get(tag).or_else(|| self.explanation.get("en")).map_or("", String::as_str)
    }
}

impl LastAttempt {
    /// The reply as it was said, without a status that is not there.
    fn reply(&self) -> String {
        let code = self.code.map(|code| code.to_string()).unwrap_or_default();
        let parts = [code.as_str(), self.status.as_str(), self.text.as_str()];
        let given: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        given.join(" ")
    }

    /// The host and its address.
    fn peer(&self) -> String {
        match (&self.host, &self.ip) {
            (Some(host), Some(ip)) => format!("{host} ({ip})"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        }
    }
}

/// What a button does, as the API names it.
fn action(fields: &Fields) -> Result<&'static str, Problem> {
    let known = ["retry", "hold", "release"];
    known.into_iter().find(|name| *name == fields.get("action")).ok_or_else(Problem::not_found)
}
