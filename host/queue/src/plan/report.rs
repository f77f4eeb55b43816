//! Telling senders about failed recipients, once.

use super::{PlanError, Planner, is_unreported};
use crate::draft::Draft;
use crate::{DeliveryId, ItemId, RecipientState, StoreError};

impl Planner<'_, '_> {
    /// Marks recipients as reported. One that is not waiting for that any more refuses the whole
    /// request: two bounces for one failure would be the alternative.
    pub(super) fn report(
        &mut self,
        draft: &mut Draft,
        item: ItemId,
        recipients: &[(DeliveryId, u32)],
    ) -> Result<(), PlanError> {
        let Some(record) = self.item(item)? else {
            return Err(StoreError::Io(format!("{item} is gone, its failures were reported")).into());
        };
        self.know(draft, item);
        let mut deliveries: Vec<DeliveryId> = recipients.iter().map(|(id, _)| *id).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        for id in deliveries {
            if id.item != item {
                return Err(StoreError::Io(format!("{id:?} does not belong to {item}")).into());
            }
            self.lock(draft, id);
            let before = self.delivery(id)?;
            let mut after = before.clone();
            for (_, index) in recipients.iter().filter(|(of, _)| *of == id) {
                if !is_unreported(&after, *index) {
                    return Err(StoreError::LeaseLost(id).into());
                }
                after.advance(*index, &RecipientState::Failed { reported: true });
            }
            draft.rewrite(id, &before, &after, &record.meta, false)?;
        }
        Ok(())
    }
}
