//! Answers about addresses before anything is sent to them.

use std::sync::Arc;

use relevo_relay::suppressions::Suppressions;
use relevo_relay::validation::{AddressValidation, RecentBounces, RelayHistory};
use relevo_resolve::Resolve;

use super::Base;

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
