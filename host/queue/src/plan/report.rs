//! Telling senders about recipients, once.

use super::{PlanError, Planner};
use crate::draft::Draft;
use crate::{DeliveryId, ItemId, ReportKey, StoreError};

impl Planner<'_, '_> {
    /// Marks reports as made. One that is not due any more refuses the whole request: two reports
    /// of the same, or one that is not true any more, would be the alternative.
    pub(super) fn report(
        &mut self,
        draft: &mut Draft,
        item: ItemId,
        reports: &[ReportKey],
    ) -> Result<(), PlanError> {
        let Some(record) = self.item(item)? else {
            return Err(StoreError::Io(format!("{item} is gone, reports about it were made")).into());
        };
        self.know(draft, item);
        let mut deliveries: Vec<DeliveryId> = reports.iter().map(|report| report.delivery).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        for id in deliveries {
            if id.item != item {
                return Err(StoreError::Io(format!("{id:?} does not belong to {item}")).into());
            }
            self.lock(draft, id);
            let before = self.delivery(id)?;
            let mut after = before.clone();
            for report in reports.iter().filter(|report| report.delivery == id) {
                if !after.mark_reported(report.index, report.kind) {
                    return Err(StoreError::LeaseLost(id).into());
                }
            }
            draft.rewrite(id, &before, &after, &record.meta, false)?;
        }
        Ok(())
    }
}
