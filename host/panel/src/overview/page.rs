//! The page.

use askama::Template;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::Value;

use super::attention::{Attention, Found, Quota, Use, look};
use super::start::FirstSteps;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;
use crate::statistics::report::StatsReport;
use crate::statistics::{Change, ShownChart, change, lines};
use crate::texts::Language;

/// What today is compared in: a count, and its rate.
const TODAY: [(&str, &str); 6] = [
    ("accepted", ""),
    ("delivered", "delivered_rate"),
    ("bounced.total", "bounce_rate"),
    ("opened.unique_human", "open_rate"),
    ("clicked.unique_human", "click_rate"),
    ("complained", "complaint_rate"),
];
const LINES: [&str; 5] =
    ["accepted", "delivered", "bounced.total", "opened.unique_human", "clicked.unique_human"];
/// Providers in the table.
const PROVIDERS: &str = "10";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OverviewQuery {
    days: String,
}

/// A count of today, its rate, and what changed.
struct TodayCard {
    count: Change,
    rate: Option<Change>,
}

struct ProviderRow {
    name: String,
    url: String,
    sent: u64,
    delivered: u64,
    delivered_rate: Option<f64>,
    bounce_rate: Option<f64>,
    open_rate: Option<f64>,
    complaint_rate: Option<f64>,
    spark: String,
}

impl ProviderRow {
    /// For a meter: a share of 1.
    fn share(&self) -> String {
        format!("{:.3}", self.delivered_rate.unwrap_or_default().clamp(0.0, 1.0))
    }
}

#[derive(Template)]
#[template(path = "overview/page.html")]
struct OverviewPage {
    f: Frame,
    days: i32,
    attention: Vec<Attention>,
    quota: Option<Quota>,
    start: Option<FirstSteps>,
    today: Vec<TodayCard>,
    chart: ShownChart,
    providers: Vec<ProviderRow>,
}

impl OverviewPage {
    fn spans(&self) -> [(String, String, bool); 2] {
        [7, 30].map(|days: i32| {
            let url = self.f.url(&[]) + &path(&[], &[("days", &days.to_string())]);
            (url, self.f.fill("statistics.last_days", days), days == self.days)
        })
    }

    fn uses<'q>(&self, quota: &'q Quota) -> [(&'static str, &'q Use); 3] {
        let name = |period| self.f.l.find("period", period).unwrap_or_default();
        [(name("hour"), &quota.hour), (name("day"), &quota.day), (name("month"), &quota.month)]
    }

    /// For a meter.
    fn share_of(&self, used: &Use) -> String {
        format!("{:.3}", used.share().unwrap_or_default().clamp(0.0, 1.0))
    }
}

/// The answers that the page is made of.
struct Figures {
    today: StatsReport,
    week_ago: StatsReport,
    span: StatsReport,
    providers: StatsReport,
}

pub(crate) async fn page(
    tenant: TenantPage,
    Query(query): Query<OverviewQuery>,
    fields: HeaderMap,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let days = if query.days == "7" { 7 } else { 30 };
    let (figures, found) = tokio::join!(figures(&tenant, now, days), look(&tenant, now));
    let (figures, Found { attention, domains, quota }) = (figures?, found);
    let l = tenant.l;
    let start = if has_sent(&tenant, &figures.span).await? {
        None
    } else {
        let domain = domains.into_iter().find(|domain| domain.status == "verified");
        Some(FirstSteps::new(&fields, domain.map(|domain| domain.name), tenant.visitor.is_open))
    };
    let title = l.say("overview.chart");
    let chart = lines(l, "overview", title, "day", (figures.span.intervals(), &LINES));
    frame::page(&OverviewPage {
        f: tenant.frame(Section::OVERVIEW, l.say("overview.title")).live(),
        days,
        attention,
        quota,
        start,
        today: today(l, &figures),
        chart: ShownChart::new(&chart, true, String::new()),
        providers: providers(&tenant, &figures.providers),
    })
}

async fn figures(tenant: &TenantPage, now: Timestamp, days: i32) -> Result<Figures, Problem> {
    let zone = jiff::tz::TimeZone::UTC;
    let day = |ago: i32| {
        let today = now.to_zoned(zone.clone()).date();
        today.checked_sub(ago.days()).unwrap_or(today).to_string()
    };
    let a_week = SignedDuration::from_hours(7 * 24);
    let then = now.checked_sub(a_week).unwrap_or(now);
    // Both days up to this time of day: a day that has just begun is compared with as much of another.
    let until = |from: String, to: Timestamp| {
        let to = format!("{to:.0}");
        path(&["stats"], &[("from", &from), ("to", &to), ("interval", "total")])
    };
    let first = day(days - 1);
    let span = [("from", first.as_str()), ("interval", "day")];
    let grouped = [span[0], span[1], ("group_by", "provider"), ("limit", PROVIDERS)];
    let (today, week_ago) = (until(day(0), now), until(day(7), then));
    let (span, providers) = (path(&["stats"], &span), path(&["stats"], &grouped));
    let (today, week_ago, span, providers) = tokio::join!(
        tenant.api.get(&today),
        tenant.api.get(&week_ago),
        tenant.api.get(&span),
        tenant.api.get(&providers),
    );
    Ok(Figures { today: today?, week_ago: week_ago?, span: span?, providers: providers? })
}

/// Returns true if there was mail in the span, or ever.
async fn has_sent(tenant: &TenantPage, span: &StatsReport) -> Result<bool, Problem> {
    if span.totals.count("accepted") > 0 || span.totals.count("rejected") > 0 {
        return Ok(true);
    }
    let newest: List<Value> = tenant.api.get("/emails?limit=1").await?;
    Ok(!newest.data.is_empty())
}

fn today(l: Language, figures: &Figures) -> Vec<TodayCard> {
    let (now, before) = (&figures.today.totals, &figures.week_ago.totals);
    let card = |(count, rate): (&str, &str)| TodayCard {
        count: change(l, count, now, before),
        rate: (!rate.is_empty()).then(|| change(l, rate, now, before)),
    };
    TODAY.map(card).into()
}

fn providers(tenant: &TenantPage, report: &StatsReport) -> Vec<ProviderRow> {
    let row = |series: &crate::statistics::report::StatsSeries| {
        let value = series.value.as_deref().unwrap_or_default();
        let figures = &series.figures;
        let delivered: Vec<_> = series.intervals.iter().map(|at| at.figures.measure("delivered")).collect();
        let name = if value == "(other)" { tenant.l.say("statistics.other") } else { value };
        ProviderRow {
            name: name.to_owned(),
            url: tenant.url(&["statistics"], &[("only", "provider"), ("value", value)]),
            sent: figures.count("sent"),
            delivered: figures.count("delivered"),
            delivered_rate: figures.rate("delivered_rate"),
            bounce_rate: figures.rate("bounce_rate"),
            open_rate: figures.rate("open_rate"),
            complaint_rate: figures.rate("complaint_rate"),
            spark: relevo_charts::sparkline(&delivered),
        }
    };
    report.data.iter().map(row).collect()
}
