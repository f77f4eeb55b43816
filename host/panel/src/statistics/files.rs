//! Charts and tables as files.

use axum::body::Body;
use axum::extract::Query;
use axum::response::Response;
use jiff::Timestamp;
use relevo_charts::{ChartSize, Palette};

use super::charts::{charts, compared};
use super::csv::CsvTable;
use super::page::{both, report};
use super::query::StatsQuery;
use super::report::StatsReport;
use crate::api::Problem;
use crate::messages::content::as_file;
use crate::state::TenantPage;

/// A chart as a picture for print.
pub(super) async fn chart(tenant: TenantPage, Query(query): Query<StatsQuery>) -> Result<Response, Problem> {
    let query = query.completed(Timestamp::now());
    let found = if query.of == "compare" {
        let both = both(&tenant.api, &query).await?;
        both.map(|(now, before, _)| compared(tenant.l, &query, &now, &before))
    } else {
        let report = report(&tenant.api, &query).await?;
        charts(tenant.l, &query, &report).into_iter().find(|chart| chart.id == query.of)
    };
    let svg = found.ok_or_else(Problem::not_found)?.svg(ChartSize::Wide, Palette::Print);
    let name = format!("{}-{}-{}.svg", query.of, query.from, query.to);
    Ok(as_file(Body::from(svg), &name, "image/svg+xml"))
}

/// The numbers of the page, all of them, as CSV.
pub(super) async fn table(tenant: TenantPage, Query(query): Query<StatsQuery>) -> Result<Response, Problem> {
    let query = query.completed(Timestamp::now());
    let text = if query.of == "compare" {
        let Some((now, before, _)) = both(&tenant.api, &query).await? else {
            return Err(Problem::not_found());
        };
        two_spans(&now, &before)
    } else {
        let report = report(&tenant.api, &query).await?;
        match report.group_by.clone() {
            Some(group_by) => of_groups(&group_by, &report),
            None => over_time(&report),
        }
    };
    let name = format!("statistics-{}-{}.csv", query.from, query.to);
    Ok(as_file(Body::from(text), &name, "text/csv; charset=utf-8"))
}

fn over_time(report: &StatsReport) -> String {
    let mut table = CsvTable::new(&["from"], report);
    for at in report.intervals() {
        table.row(&[&at.from], &at.figures);
    }
    if report.intervals().is_empty() {
        table.row(&[&report.from], &report.totals);
    }
    table.text()
}

/// A row for each group and interval, after one for its whole span.
fn of_groups(group_by: &str, report: &StatsReport) -> String {
    let mut table = CsvTable::new(&[group_by, "from"], report);
    for series in &report.data {
        let value = series.value.as_deref().unwrap_or_default();
        table.row(&[value, "total"], &series.figures);
        for at in &series.intervals {
            table.row(&[value, &at.from], &at.figures);
        }
    }
    table.text()
}

fn two_spans(now: &StatsReport, before: &StatsReport) -> String {
    let mut table = CsvTable::new(&["from", "to"], now);
    for report in [now, before] {
        table.row(&[&report.from, &report.to], &report.totals);
    }
    table.text()
}
