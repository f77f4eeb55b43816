//! Operators' pages.

mod audit;
mod glance;
mod plugins;
mod queue;
mod shaping;
mod tenants;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use axum::Router;
use serde::Deserialize;

use crate::state::PanelState;
use crate::texts::Language;

/// Where the pages are told that the state of the relay may have changed.
const LIVE: &str = "/panel/relay/live";
/// Octets of a text of others in a table.
const MAX_TEXT: usize = 160;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .merge(glance::routes())
        .merge(queue::routes())
        .merge(shaping::routes())
        .merge(tenants::routes())
        .merge(plugins::routes())
        .merge(audit::routes())
}

/// What was done just now: a key of the group `done`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ActedQuery {
    done: Option<String>,
}

/// The beginning of a long text, cut at a character.
fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}\u{2026}", &text[..text.floor_char_boundary(MAX_TEXT)]))
}

/// Octets for people.
fn octets(l: &Language, octets: &u64) -> String {
    l.octets(*octets)
}
