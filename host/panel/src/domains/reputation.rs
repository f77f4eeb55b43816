//! What block lists and the rates of the last days say.

use std::cmp::Reverse;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;

use super::Check;
use crate::api::Problem;
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Rows of a table. There may be many domains, and many addresses on many lists.
const ROWS: usize = 50;

#[derive(Debug, Deserialize)]
struct Reputation {
    blocklists: Vec<Listing>,
    domains: Vec<Rate>,
    providers: Vec<Rate>,
    on_fail: String,
    failing: Vec<Failing>,
}

#[derive(Debug, Deserialize)]
struct Listing {
    list: String,
    address: String,
    status: String,
    detail: String,
    asked_at: String,
}

#[derive(Debug, Deserialize)]
struct Rate {
    name: String,
    delivered: u64,
    complained: u64,
    bounced: u64,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Failing {
    domain: String,
    reason: String,
    stopped: bool,
}

impl Rate {
    fn share_complained(&self) -> Option<f64> {
        share(self.complained, self.delivered)
    }

    /// A message that bounced was not delivered: both are attempted.
    fn share_bounced(&self) -> Option<f64> {
        share(self.bounced, self.delivered.saturating_add(self.bounced))
    }

    /// The worst of the checks.
    fn status(&self) -> &str {
        let has = |status: &&str| self.checks.iter().any(|check| check.status == *status);
        ["fail", "warn", "pass"].into_iter().find(has).unwrap_or("skip")
    }

    fn delivered_most_first(rates: &mut Vec<Self>) {
        rates.sort_by_key(|rate| Reverse(rate.delivered));
        rates.truncate(ROWS);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[derive(Template)]
#[template(path = "domains/reputation.html")]
struct ReputationPage {
    f: Frame,
    r: Reputation,
    /// Listings that were left out.
    more: usize,
}

pub(super) async fn page(tenant: TenantPage) -> Result<Response, Problem> {
    let mut r: Reputation = tenant.api.get("/reputation").await?;
    r.blocklists.sort_by_key(|listing| match listing.status.as_str() {
        "listed" => 0,
        "unknown" => 1,
        _ => 2,
    });
    let more = r.blocklists.len().saturating_sub(ROWS);
    r.blocklists.truncate(ROWS);
    r.failing.truncate(ROWS);
    Rate::delivered_most_first(&mut r.domains);
    Rate::delivered_most_first(&mut r.providers);
    let f = tenant.frame(Section::DOMAINS, tenant.l.say("reputation.title"));
    frame::page(&ReputationPage { f, r, more })
}
