//! Answers about addresses and content before anything is sent.

use std::sync::Arc;

use anyhow::Context;
use relevo_fetch::Fetcher;
use relevo_relay::inspection::ContentInspection;
use relevo_relay::sandbox::Sandbox;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::validation::{AddressValidation, RecentBounces, RelayHistory};
use relevo_resolve::Resolve;
use relevo_smtp::client::root_certificates;

use super::Base;
use crate::config::ServerParts;

/// The answers, and the bounces of late, whose reader must run beside them.
pub(super) fn validation(
    base: &Base,
    resolve: Arc<dyn Resolve>,
    suppressions: Arc<Suppressions>,
) -> (Arc<AddressValidation>, Arc<RecentBounces>) {
    let bounces = Arc::new(RecentBounces::default());
    let history = Arc::new(RelayHistory { suppressions, bounces: bounces.clone() });
    let per_minute = base.parts.validation.addresses_per_minute;
    (Arc::new(AddressValidation::new(resolve, history, base.clock.clone(), per_minute)), bounces)
}

/// The look at content, with the spam filters of the configuration.
pub(super) fn inspection(base: &Base, resolve: Arc<dyn Resolve>) -> anyhow::Result<ContentInspection> {
    inspection_with(&base.parts, base.sandbox.clone(), resolve)
}

/// As [`inspection`], for a command.
pub(crate) fn inspection_with(
    parts: &ServerParts,
    sandbox: Sandbox,
    resolve: Arc<dyn Resolve>,
) -> anyhow::Result<ContentInspection> {
    let roots = root_certificates(parts.ca_file.as_deref()).context("root certificates")?;
    // The operator names the filters, which are mostly on this machine.
    let anywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
    let fetcher = Fetcher::new(resolve, roots, anywhere).context("TLS for spam filters")?;
    Ok(ContentInspection::new(sandbox).with_spam_filters(parts.spam_filters.clone(), fetcher))
}
