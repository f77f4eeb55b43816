//! What shaping keeps in the store of control-plane data.

use std::sync::Arc;

use anyhow::Context;
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::delivery::shaping::Shaping;
use relevo_relay::shaping::{ShapingKeeper, restore};
use relevo_store::ControlStore;

use super::Base;

/// Reads suspensions and counts of warm-up. Without them a start would send what must wait.
pub(super) async fn restore_shaping(base: &Base, store: &Arc<ControlStore>) -> anyhow::Result<Shaping> {
    restore(&**store, base.clock.now()).await.context("suspensions and counts of warm-up cannot be read")
}

/// Stores and reports what changes of them.
pub(super) fn shaping_keeper(
    base: &Base,
    store: &Arc<ControlStore>,
    delivery: &DeliveryHandle,
) -> Arc<ShapingKeeper> {
    let keeper = ShapingKeeper::new(delivery.clone(), store.clone(), base.store.clone(), base.clock.clone());
    Arc::new(keeper)
}
