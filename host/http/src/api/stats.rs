//! `GET /stats` and `GET /stats/benchmark`: what became of a tenant's mail.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use relevo_statistics::{
    Counts, Dimension, Interval, MAX_GROUPS, PublishedRate, RATES, RateDefinition, Rates, ReportError,
    ReportRequest, Series, Span, SpanError, StatisticsGroup, published_rates,
};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Groups of an answer without `limit`.
const DEFAULT_GROUPS: usize = 20;
/// Octets of the value of a filter.
const MAX_VALUE: usize = 500;
/// What sums can be grouped by.
const GROUPS: [&str; 6] = ["domain", "stream", "tag", "template", "provider", "link"];

/// Parameters of `GET /stats`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StatsQuery {
    /// The beginning: RFC 3339, or a date in the time zone. Without it 30 days before `to`.
    from: Option<String>,
    /// The end: RFC 3339, not included, or a date, included. Without it now.
    to: Option<String>,
    /// The length of intervals: `hour`, `day` (without it), `week`, `month` or `total`.
    interval: Option<String>,
    /// A time zone of the IANA database; UTC without it.
    timezone: Option<String>,
    /// `domain`, `stream`, `tag`, `template`, `provider` or `link`.
    group_by: Option<String>,
    /// Only mail from this domain.
    domain: Option<String>,
    /// Only mail of this stream: `transactional` or `marketing`.
    stream: Option<String>,
    /// Only mail with this tag: `name:value`, or `name` of a tag without a value.
    tag: Option<String>,
    /// Only mail of the template with this id.
    template: Option<String>,
    /// Only mail to this provider.
    provider: Option<String>,
    /// Only clicks on this link.
    link: Option<String>,
    /// The most groups: 1 to 100, 20 without it.
    limit: Option<String>,
}

/// The answer of `GET /stats`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StatsAnswer {
    object: &'static str,
    /// The beginning of the span, widened to a full hour of UTC: RFC 3339.
    from: String,
    /// The end of the span; not included.
    to: String,
    timezone: String,
    interval: &'static str,
    /// What `data` is grouped by; absent without groups.
    group_by: Option<String>,
    /// Events up to this cursor of the event log are counted.
    cursor: String,
    /// All mail of the span that the filters choose. A message with two tags is in two groups, and
    /// here once.
    totals: Totals,
    /// The groups, the largest first, or one entry for all mail.
    data: Vec<Series>,
    /// There are more groups.
    has_more: bool,
    /// What each rate divides by what.
    rates: &'static [RateDefinition],
}

/// Counts and rates of a span.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Totals {
    counts: Counts,
    rates: Rates,
}

/// Parameters of `GET /stats/benchmark`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BenchmarkQuery {
    /// The beginning: RFC 3339, or a date in the time zone. Without it 30 days before `to`.
    from: Option<String>,
    /// The end: RFC 3339, not included, or a date, included. Without it now.
    to: Option<String>,
    /// A time zone of the IANA database; UTC without it.
    timezone: Option<String>,
    /// Only mail of this stream: `transactional` or `marketing`.
    stream: Option<String>,
}

/// The answer of `GET /stats/benchmark`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BenchmarkAnswer {
    object: &'static str,
    /// The beginning of the span of one's own rates: RFC 3339.
    from: String,
    /// The end of that span; not included.
    to: String,
    /// Published rates.
    data: Vec<BenchmarkEntry>,
    /// What each rate divides by what.
    rates: &'static [RateDefinition],
}

/// A published rate, and one's own beside it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BenchmarkEntry {
    /// One's own rate in the span; absent where there was no such mail.
    own: Option<f64>,
    #[serde(flatten)]
    published: &'static PublishedRate,
}

impl From<SpanError> for RequestError {
    fn from(error: SpanError) -> Self {
        Self::invalid(error.param, error.message)
    }
}

impl From<ReportError> for RequestError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::TooLarge => Self::invalid("interval", error.to_string()),
            ReportError::Store(error) => {
                tracing::error!(%error, "statistics cannot be read");
                Self::unavailable()
            }
        }
    }
}

/// Counts the caller's mail by interval and group.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "statistics",
    params(StatsQuery),
    responses((status = 200, description = "Counts and rates.", body = StatsAnswer)),
)]
pub(super) async fn stats(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<StatsQuery>, QueryRejection>,
) -> Result<Json<StatsAnswer>, RequestError> {
    let query = error::query(query)?;
    let interval = interval(query.interval.as_deref())?;
    let group_by = group_by(query.group_by.as_deref())?;
    let span = span(query.from.as_deref(), query.to.as_deref(), interval, query.timezone.as_deref())?;
    let limit = limit(query.limit.as_deref())?;
    let stream = stream(query.stream.clone())?;
    let (dimension, value) = choice(group_by, query)?;
    let group = match group_by {
        None => StatisticsGroup::None,
        Some("stream") => StatisticsGroup::Stream,
        Some(_) => StatisticsGroup::Value,
    };
    let request = ReportRequest { tenant: caller.tenant, span, dimension, group, value, stream, limit };
    let report = services.statistics.report(&request).await?;
    let total = report.total();
    Ok(Json(StatsAnswer {
        object: "stats",
        from: total.from,
        to: total.to,
        timezone: report.timezone().to_owned(),
        interval: interval.name(),
        group_by: group_by.map(str::to_owned),
        cursor: report.cursor.to_string(),
        totals: Totals { counts: total.counts, rates: total.rates },
        data: report.data,
        has_more: report.has_more,
        rates: RATES,
    }))
}

/// Shows published rates of the sector beside the caller's own.
#[utoipa::path(
    get,
    path = "/stats/benchmark",
    tag = "statistics",
    params(BenchmarkQuery),
    responses((status = 200, description = "Published rates.", body = BenchmarkAnswer)),
)]
pub(super) async fn benchmark(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<BenchmarkQuery>, QueryRejection>,
) -> Result<Json<BenchmarkAnswer>, RequestError> {
    let query = error::query(query)?;
    let interval = Interval::Total;
    let request = ReportRequest {
        tenant: caller.tenant,
        span: span(query.from.as_deref(), query.to.as_deref(), interval, query.timezone.as_deref())?,
        dimension: Dimension::Total,
        group: StatisticsGroup::None,
        value: None,
        stream: stream(query.stream)?,
        limit: 1,
    };
    let total = services.statistics.report(&request).await?.total();
    let entry = |published: &'static PublishedRate| BenchmarkEntry {
        own: total.rates.get(&published.rate),
        published,
    };
    let data = published_rates().iter().map(entry).collect();
    Ok(Json(BenchmarkAnswer { object: "benchmark", from: total.from, to: total.to, data, rates: RATES }))
}

fn interval(name: Option<&str>) -> Result<Interval, RequestError> {
    let Some(name) = name else { return Ok(Interval::default()) };
    let wrong =
        || RequestError::invalid("interval", format!("must be one of {}", Interval::NAMES.join(", ")));
    Interval::read(name).ok_or_else(wrong)
}

fn span(
    from: Option<&str>,
    to: Option<&str>,
    interval: Interval,
    timezone: Option<&str>,
) -> Result<Span, RequestError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    Ok(Span::read(from, to, interval, timezone.unwrap_or("UTC"), now)?)
}

fn group_by(name: Option<&str>) -> Result<Option<&'static str>, RequestError> {
    let Some(name) = name else { return Ok(None) };
    let found = GROUPS.into_iter().find(|known| *known == name);
    let wrong = || RequestError::invalid("group_by", format!("must be one of {}", GROUPS.join(", ")));
    found.map(Some).ok_or_else(wrong)
}

fn limit(text: Option<&str>) -> Result<usize, RequestError> {
    let Some(text) = text else { return Ok(DEFAULT_GROUPS) };
    let wrong = || RequestError::invalid("limit", format!("must be 1 to {MAX_GROUPS}"));
    text.parse().ok().filter(|limit| (1..=MAX_GROUPS).contains(limit)).ok_or_else(wrong)
}

fn stream(name: Option<String>) -> Result<Option<String>, RequestError> {
    let Some(name) = name else { return Ok(None) };
    match name.parse::<relevo_mailkit::labels::Stream>() {
        Ok(stream) => Ok(Some(stream.name().to_owned())),
        Err(message) => Err(RequestError::invalid("stream", message)),
    }
}

/// The dimension that is read, and the only value of it. Rows are kept for one dimension at a time:
/// a filter of another one cannot be combined.
fn choice(
    group_by: Option<&'static str>,
    query: StatsQuery,
) -> Result<(Dimension, Option<String>), RequestError> {
    let filters = [
        (Dimension::Domain, query.domain.map(|domain| domain.to_ascii_lowercase())),
        (Dimension::Tag, query.tag),
        (Dimension::Template, query.template),
        (Dimension::Provider, query.provider),
        (Dimension::Link, query.link),
    ];
    let mut chosen = match group_by {
        None => None,
        Some("stream") => None,
        Some(name) => {
            let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.name() == name);
            dimension.map(|dimension| (dimension, None))
        }
    };
    for (dimension, value) in filters {
        let Some(value) = value else { continue };
        let param = dimension.name();
        if value.len() > MAX_VALUE {
            return Err(RequestError::invalid(param, format!("must have at most {MAX_VALUE} octets")));
        }
        match &chosen {
            Some((other, _)) if *other != dimension => {
                let message = format!(
                    "cannot be combined with `{}`: statistics are kept for one of them at a time, each by stream",
                    other.name()
                );
                return Err(RequestError::invalid(param, message));
            }
            _ => chosen = Some((dimension, Some(value))),
        }
    }
    Ok(chosen.unwrap_or((Dimension::Total, None)))
}
