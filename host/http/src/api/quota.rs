//! `GET /quota`.

use axum::Json;
use axum::extract::State;
use relevo_relay::clock::timestamp;
use relevo_relay::quota::{Period, PeriodUse, QuotaExceeded};
use serde::Serialize;

use super::ApiServices;
use super::auth::Caller;
use crate::bearer::Proven;
use crate::error::RequestError;

/// Use of the tenant's quotas.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct QuotaView {
    object: &'static str,
    /// This hour, this day and this month, in UTC.
    hour: PeriodView,
    day: PeriodView,
    month: PeriodView,
}

/// Recipients in a period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PeriodView {
    /// Recipients of accepted messages.
    used: u64,
    /// The most of them; null without a quota.
    limit: Option<u64>,
    /// What is left; null without a quota.
    remaining: Option<u64>,
    /// The beginning of the next period.
    resets_at: String,
}

impl From<QuotaExceeded> for RequestError {
    fn from(exceeded: QuotaExceeded) -> Self {
        let name = match exceeded.period {
            Period::Hour => "hourly_quota_exceeded",
            Period::Day => "daily_quota_exceeded",
            Period::Month => "monthly_quota_exceeded",
        };
        Self::QuotaExceeded { name, message: exceeded.to_string(), retry_after: exceeded.retry_after }
    }
}

/// Shows how much the caller's tenant has sent, and may send.
#[utoipa::path(
    get,
    path = "/quota",
    tag = "keys",
    responses((status = 200, description = "Use of this hour, day and month.", body = QuotaView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
) -> Result<Json<QuotaView>, RequestError> {
    let settings = services.settings.get();
    let limits = settings.directory.tenant(&caller.tenant).map(|tenant| tenant.quota).unwrap_or_default();
    let [hour, day, month] = services.admin.quotas.uses(&caller.tenant, &limits).map(view);
    Ok(Json(QuotaView { object: "quota", hour, day, month }))
}

pub(crate) fn view(period: PeriodUse) -> PeriodView {
    PeriodView {
        used: period.used,
        limit: period.limit,
        remaining: period.limit.map(|limit| limit.saturating_sub(period.used)),
        resets_at: timestamp(period.ends_at),
    }
}
