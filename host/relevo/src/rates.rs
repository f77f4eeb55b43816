//! Rates of complaints and hard bounces, from the sums of the statistics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use relevo_relay::clock::Clock;
use relevo_relay::health::ProviderRate;
use relevo_relay::reputation::{Reputation, TenantRates};
use relevo_relay::settings::SettingsHandle;
use relevo_statistics::{
    Counts, Dimension, Interval, MAX_GROUPS, ReportRequest, Series, Span, Statistics, StatisticsGroup,
};

/// How often rates are counted.
const EVERY: Duration = Duration::from_secs(300);
/// Days that count. Limits of receivers are about a day: a week does not swing with one campaign.
const DAYS: i64 = 7;
const DAY: i64 = 86_400_000;
/// The word for all providers together.
const ALL: &str = "all";

/// Counts the rates of all tenants, for as long as the relay runs.
pub(crate) async fn run(
    statistics: Statistics,
    settings: SettingsHandle,
    clock: Arc<dyn Clock>,
    reputation: Arc<Reputation>,
) {
    loop {
        let tenants: Vec<String> =
            settings.get().directory.tenants().map(|tenant| tenant.id.clone()).collect();
        let mut rates = HashMap::new();
        for tenant in tenants {
            match of_tenant(&statistics, &tenant, clock.now()).await {
                Ok(of_tenant) => drop(rates.insert(tenant, of_tenant)),
                Err(error) => tracing::warn!(tenant, "rates cannot be counted: {error:#}"),
            }
        }
        reputation.set_rates(rates);
        tokio::time::sleep(EVERY).await;
    }
}

/// The rates of a tenant.
pub(crate) async fn of_tenant(
    statistics: &Statistics,
    tenant: &str,
    now: i64,
) -> anyhow::Result<TenantRates> {
    let domains = grouped(statistics, tenant, Dimension::Domain, now).await?;
    let providers = grouped(statistics, tenant, Dimension::Provider, now).await?;
    let of_domain = |(domain, counts): (String, Counts)| {
        let rate = rate(ALL, &counts, format!("{domain}, {DAYS} days"));
        (domain, rate)
    };
    let of_provider =
        |(provider, counts): (String, Counts)| rate(&provider, &counts, format!("all domains, {DAYS} days"));
    Ok(TenantRates {
        domains: domains.into_iter().map(of_domain).collect::<BTreeMap<_, _>>(),
        providers: providers.into_iter().map(of_provider).collect(),
    })
}

async fn grouped(
    statistics: &Statistics,
    tenant: &str,
    dimension: Dimension,
    now: i64,
) -> anyhow::Result<Vec<(String, Counts)>> {
    let from = relevo_relay::clock::timestamp(now - DAYS * DAY);
    let request = ReportRequest {
        tenant: tenant.to_owned(),
        span: Span::read(Some(&from), None, Interval::Total, "UTC", now)?,
        dimension,
        group: StatisticsGroup::Value,
        value: None,
        stream: None,
        limit: MAX_GROUPS,
    };
    let report = statistics.report(&request).await?;
    let named = |series: Series| Some((series.value?, series.counts));
    Ok(report.data.into_iter().filter_map(named).collect())
}

fn rate(provider: &str, counts: &Counts, origin: String) -> ProviderRate {
    let plain = |count: i64| u64::try_from(count).unwrap_or(0);
    ProviderRate {
        provider: provider.to_owned(),
        delivered: plain(counts.delivered),
        complained: plain(counts.complained),
        bounced: plain(counts.bounced.hard),
        origin,
        reported: None,
    }
}
