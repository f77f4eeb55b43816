//! Counts the recipients of messages against the quotas of their owners.

use std::collections::BTreeMap;

use relevo_mailkit::policy::Verdict;

use super::submission::PreparedMessage;
use crate::directory::QuotaSettings;
use crate::quota::{QuotaExceeded, QuotaReservation, Quotas};

/// Counts recipients that are sent to or held, those of all messages or none.
pub(super) async fn reserve<'a>(
    quotas: Option<&'a Quotas>,
    prepared: &[PreparedMessage],
) -> Result<Vec<QuotaReservation<'a>>, QuotaExceeded> {
    let Some(quotas) = quotas else { return Ok(Vec::new()) };
    let mut by_tenant: BTreeMap<&str, (QuotaSettings, usize)> = BTreeMap::new();
    for message in prepared {
        let Some(tenant) = &message.tenant else { continue };
        let sent = |verdict: &Verdict| matches!(verdict, Verdict::Accept | Verdict::Hold(_));
        let count = message.recipients.iter().filter(|recipient| sent(&recipient.verdict)).count();
        by_tenant.entry(tenant).or_insert((message.quota, 0)).1 += count;
    }
    let mut counted = Vec::with_capacity(by_tenant.len());
    for (tenant, (quota, count)) in by_tenant.into_iter().filter(|(_, (_, count))| *count > 0) {
        quotas.prepare(tenant, &quota, count).await;
        counted.push(quotas.take(tenant, &quota, count)?);
    }
    Ok(counted)
}
