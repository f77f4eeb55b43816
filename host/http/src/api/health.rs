//! `/domains/{name}/health`: how a domain stands.

use axum::Json;
use axum::extract::{Path, State};
use relevo_relay::clock::timestamp;
use relevo_relay::health::HealthReport;
use relevo_relay::health::doctor::{Check, DnsRecord};
use serde::Serialize;

use super::ApiServices;
use super::auth::Caller;
use crate::bearer::Proven;
use crate::error::RequestError;

/// How a domain stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HealthView {
    object: &'static str,
    /// The domain.
    name: String,
    /// The worst of all checks: `pass`, `warn` or `fail`. `skip`: nothing is known.
    status: &'static str,
    /// When the questions were asked.
    checked_at: String,
    /// In the order in which a person would mend them.
    checks: Vec<CheckView>,
}

/// One check.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CheckView {
    /// Such as `spf.lookups`.
    check: &'static str,
    /// What was checked where there are several: an address, a selector, a name, a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// `pass`, `warn` (it works, and should be better), `fail`, or `skip`: it does not apply, or nobody
    /// knows.
    status: &'static str,
    /// What was found, and what to do.
    message: String,
    /// The record that makes the check pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordToPublish>,
    /// Where the rule stands: an RFC with its section, or a URL.
    source: &'static str,
}

/// A record to paste.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RecordToPublish {
    /// `A`, `AAAA`, `CAA`, `CNAME`, `MX`, `PTR` or `TXT`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Fully qualified, without a final dot.
    name: String,
    /// Whole: neither quoted nor split into strings.
    value: String,
    /// Records of the same name and type that must go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replaces: Vec<String>,
}

impl From<HealthReport> for HealthView {
    fn from(report: HealthReport) -> Self {
        Self {
            object: "domain_health",
            name: report.domain,
            status: report.status.as_str(),
            checked_at: timestamp(report.checked_at),
            checks: report.checks.into_iter().map(CheckView::from).collect(),
        }
    }
}

impl From<Check> for CheckView {
    fn from(check: Check) -> Self {
        let Check { check, about, status, message, record, source } = check;
        let record = record.map(|DnsRecord { kind, name, value, replaces }| RecordToPublish {
            kind,
            name,
            value,
            replaces,
        });
        Self { check, about, status: status.as_str(), message, record, source }
    }
}

/// Checks what is published of a domain, now: SPF, DKIM, DMARC, names of addresses, certificates, and the
/// rules of large receivers.
#[utoipa::path(
    get,
    path = "/domains/{name}/health",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    responses((status = 200, description = "The checks.", body = HealthView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<HealthView>, RequestError> {
    let own = services.admin.domains.get(&caller.tenant, &name).await?;
    let settings = services.settings.get();
    let known = services.admin.reputation.of(&caller.tenant, &own.domain.name);
    let report = services.admin.health.of(&own.domain, &settings, known).await;
    Ok(Json(report.into()))
}
