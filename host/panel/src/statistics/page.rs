//! The page: a form, charts with their tables, rates, a comparison, and what others publish.

use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use relevo_charts::Chart;

use super::charts::{charts, compared, group_name, measure_name, measure_text, shortened};
use super::compare::{COMPARED, Change, change};
use super::query::{FILTERS, GROUPS, INTERVALS, SPANS, StatsQuery};
use super::report::{Benchmark, BenchmarkRate, StatsReport, counts, is_rate};
use super::shown::ShownChart;
use crate::api::{ApiClient, Problem};
use crate::forms::Form;
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;
use crate::texts::Language;

/// Charts that have a narrow picture, too: the first one of each kind of page.
const FIRST_CHARTS: [&str; 4] = ["compare", "counts", "clicks", "groups"];
/// Parameters of the API, and the fields of the form.
const FIELDS: [(&str, &str); 6] = [
    ("domain", "value"),
    ("tag", "value"),
    ("template", "value"),
    ("provider", "value"),
    ("link", "value"),
    ("limit", "group_by"),
];
/// What a table of groups has.
const GROUP_COLUMNS: [&str; 9] = [
    "accepted",
    "delivered",
    "delivered_rate",
    "bounced.total",
    "bounce_rate",
    "open_rate",
    "click_rate",
    "complained",
    "unsubscribed",
];
const LINK_COLUMNS: [&str; 4] = ["clicked.total", "clicked.human", "clicked.unique", "clicked.unique_human"];

/// A choice of a form, or a link that is one.
type Choices = Vec<(String, String)>;

/// A group in the table.
struct GroupRow {
    name: String,
    /// The whole name where it was shortened.
    full: String,
    /// The page of this group alone. Empty: there is none.
    url: String,
    cells: Vec<String>,
}

/// A rate in the table.
struct RateRow {
    name: String,
    value: String,
    /// Such as `Delivered ÷ Sent`.
    formula: String,
    /// Such as `98 ÷ 100`.
    numbers: String,
}

struct Comparison {
    chart: Option<ShownChart>,
    changes: Vec<Change>,
    from: String,
    to: String,
    is_incomplete: bool,
}

/// Everything below the form.
struct Answer {
    report: StatsReport,
    charts: Vec<ShownChart>,
    columns: Vec<String>,
    groups: Vec<GroupRow>,
    rates: Vec<RateRow>,
    comparison: Option<Comparison>,
    benchmark: Vec<BenchmarkRate>,
}

#[derive(Template)]
#[template(path = "statistics/page.html")]
struct StatisticsPage {
    f: Frame,
    form: Form,
    query: StatsQuery,
    now: Timestamp,
    answer: Option<Answer>,
}

impl StatisticsPage {
    fn choices(&self, group: &str, names: &[&str], any: &str) -> Choices {
        let known = names.iter().map(|name| ((*name).to_owned(), self.f.l.term(group, name).to_owned()));
        std::iter::once((String::new(), any.to_owned())).chain(known).collect()
    }

    fn intervals(&self) -> Choices {
        let mut choices = self.choices("interval", &INTERVALS, self.f.say("statistics.fitting"));
        choices.push(("total".to_owned(), self.f.l.term("interval", "total").to_owned()));
        choices
    }

    fn groups(&self) -> Choices {
        self.choices("dimension", &GROUPS, self.f.say("statistics.no_groups"))
    }

    fn filters(&self) -> Choices {
        self.choices("dimension", &FILTERS, self.f.say("statistics.everything"))
    }

    fn streams(&self) -> Choices {
        self.choices("stream", &["transactional", "marketing"], self.f.say("statistics.both_streams"))
    }

    fn comparisons(&self) -> Choices {
        self.choices("compared", &["before", "year"], self.f.say("statistics.no_comparison"))
    }

    fn measures(&self) -> Choices {
        let named = |name: &str| (name.to_owned(), measure_name(self.f.l, name));
        if self.query.is_about_links() {
            return LINK_COLUMNS.into_iter().map(named).collect();
        }
        let rates = self.answer.iter().flat_map(|answer| &answer.report.rates);
        counts().map(named).chain(rates.map(|rate| named(&rate.name))).collect()
    }

    fn spans(&self) -> Vec<(String, String, bool)> {
        let span = |days: i32| {
            let url = self.f.url(&["statistics"]) + &self.query.last(days, self.now);
            (url, self.f.fill("statistics.last_days", days), self.query.is_last(days, self.now))
        };
        SPANS.map(span).to_vec()
    }

    fn table_url(&self, of: &str) -> String {
        self.f.url(&["statistics", "table.csv"]) + &self.query.with(&[("of", of)])
    }

    fn day(&self, at: &str) -> String {
        let day = super::interval_label(self.f.l, at, "day");
        format!("{day} {}", at.get(..4).unwrap_or_default())
    }

    /// A count of the totals.
    fn total(&self, answer: &Answer, path: &str) -> String {
        self.f.l.number(answer.report.totals.count(path))
    }

    /// A rate of the totals.
    fn share(&self, answer: &Answer, name: &str) -> String {
        self.f.l.percent(answer.report.totals.rate(name))
    }

    fn is_empty(&self, answer: &Answer) -> bool {
        counts().all(|path| answer.report.totals.count(path) == 0)
    }
}

/// Reads a report.
pub(super) async fn report(api: &ApiClient, query: &StatsQuery) -> Result<StatsReport, Problem> {
    api.get(&query.api()).await
}

/// Both spans of a comparison, without groups: of all mail that the filters choose.
pub(super) async fn both(
    api: &ApiClient,
    query: &StatsQuery,
) -> Result<Option<(StatsReport, StatsReport, StatsQuery)>, Problem> {
    let whole = StatsQuery { group_by: String::new(), ..query.clone() };
    let Some(earlier) = whole.earlier() else { return Ok(None) };
    let (now, before) = tokio::join!(report(api, &whole), report(api, &earlier));
    Ok(Some((now?, before?, earlier)))
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<StatsQuery>) -> Result<Response, Problem> {
    let now = Timestamp::now();
    // The form keeps that an interval was left to us.
    let asked_interval = query.interval.clone();
    let query = query.completed(now);
    let f = tenant.frame(Section::STATISTICS, tenant.l.say("statistics.title"));
    let form = Form::of([
        ("from", query.from.as_str()),
        ("to", &query.to),
        ("interval", &asked_interval),
        ("timezone", &query.timezone),
        ("group_by", &query.group_by),
        ("stream", &query.stream),
        ("only", &query.only),
        ("value", &query.value),
        ("measure", &query.measure),
        ("compare", &query.compare),
    ]);
    match answer(&tenant, &query, now).await {
        Ok(answer) => frame::page(&StatisticsPage { f, form, query, now, answer: Some(answer) }),
        Err(problem) if problem.is_about_input() => {
            let form = form.with_problem(&problem, &FIELDS);
            let page = StatisticsPage { f, form, query, now, answer: None };
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

async fn answer(tenant: &TenantPage, query: &StatsQuery, now: Timestamp) -> Result<Answer, Problem> {
    let l = tenant.l;
    let report = report(&tenant.api, query).await?;
    let shown = |chart: &Chart| {
        let file = tenant.url(&["statistics", "chart.svg"], &[]) + &query.with(&[("of", &chart.id)]);
        // Two pictures of every chart would make a page that is too large: a phone scrolls the others.
        let has_narrow =
            FIRST_CHARTS.contains(&chart.id.as_str()) && (chart.id == "compare" || query.compare.is_empty());
        ShownChart::new(chart, has_narrow, file)
    };
    let comparison = both(&tenant.api, query).await?.map(|(this, earlier, span)| {
        let chart = compared(l, query, &this, &earlier);
        Comparison {
            chart: (!this.intervals().is_empty()).then(|| shown(&chart)),
            changes: COMPARED.map(|name| change(l, name, &this.totals, &earlier.totals)).to_vec(),
            is_incomplete: span.is_too_old(now),
            from: span.from,
            to: span.to,
        }
    });
    let is_whole = report.group_by.is_none() && query.filter().is_none();
    let benchmark = match is_whole {
        true => tenant.api.get::<Benchmark>(&query.benchmark_api()).await?.data,
        false => Vec::new(),
    };
    let columns: &[&str] = if query.is_about_links() { &LINK_COLUMNS } else { &GROUP_COLUMNS };
    Ok(Answer {
        charts: charts(l, query, &report).iter().map(shown).collect(),
        columns: columns.iter().map(|name| measure_name(l, name)).collect(),
        groups: groups(tenant, query, &report, columns),
        rates: rates(l, &report),
        report,
        comparison,
        benchmark,
    })
}

fn groups(tenant: &TenantPage, query: &StatsQuery, report: &StatsReport, columns: &[&str]) -> Vec<GroupRow> {
    let Some(group_by) = report.group_by.as_deref() else { return Vec::new() };
    let row = |series: &super::report::StatsSeries| {
        let value = series.value.as_deref().unwrap_or_default();
        let full = group_name(tenant.l, group_by, value);
        let alone = match group_by {
            "stream" => Some(query.with(&[("stream", value), ("group_by", "")])),
            _ if value.is_empty() => None,
            _ => Some(query.with(&[("only", group_by), ("value", value), ("group_by", "")])),
        };
        let url = alone.map(|alone| tenant.url(&["statistics"], &[]) + &alone).unwrap_or_default();
        let cell = |name: &&str| measure_text(tenant.l, name, series.figures.measure(name));
        GroupRow { name: shortened(&full), full, url, cells: columns.iter().map(cell).collect() }
    };
    report.data.iter().map(row).collect()
}

fn rates(l: Language, report: &StatsReport) -> Vec<RateRow> {
    let row = |rate: &super::report::RateOf| RateRow {
        name: measure_name(l, &rate.name),
        value: l.percent(report.totals.rate(&rate.name)),
        formula: format!("{} ÷ {}", measure_name(l, &rate.numerator), measure_name(l, &rate.denominator)),
        numbers: {
            let count = |path: &str| l.number(report.totals.count(path));
            format!("{} ÷ {}", count(&rate.numerator), count(&rate.denominator))
        },
    };
    report.rates.iter().filter(|rate| is_rate(&rate.name)).map(row).collect()
}
