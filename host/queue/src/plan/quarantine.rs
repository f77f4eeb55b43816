//! Quarantine: what is damaged is moved there as it was found. Nothing is thrown away, and nothing
//! else stops.

use redb::ReadableTable;

use super::{PlanError, Planner};
use crate::draft::{Draft, Effect, Put};
use crate::inner::{RecordState, delivery_rows, get_item};
use crate::layout::parse_body_name;
use crate::record::{self, Blob, BlobLocation, ItemRecord};
use crate::request::Damaged;
use crate::segment::Kind;
use crate::{DeliveryId, ItemId};

impl Planner<'_, '_> {
    pub(super) fn quarantine(
        &mut self,
        draft: &mut Draft,
        what: &Damaged,
        why: &str,
    ) -> Result<(), PlanError> {
        tracing::error!(?what, why, "corrupt entry put into quarantine");
        match what {
            Damaged::Item(item) => self.quarantine_item(draft, *item),
            Damaged::Delivery(id) => self.quarantine_delivery(draft, *id),
            Damaged::Row { table, key } => self.quarantine_row(draft, table, key),
        }
    }

    /// Moves an item with all its deliveries. Its body, as far as it can be found, is kept as
    /// `quarantine/ID.eml`.
    fn quarantine_item(&mut self, draft: &mut Draft, item: ItemId) -> Result<(), PlanError> {
        for (key, value) in delivery_rows(&*self.tables.deliveries, item)? {
            let Some(id) = record::delivery_id(&key) else { continue };
            self.lock(draft, id);
            draft.puts.push(Put::Quarantine(format!("delivery {item}.{}", id.number), value));
            draft.puts.push(Put::Delivery(id, None));
            draft.effects.extend([Effect::Quarantined, Effect::Remove(id)]);
        }
        draft.tallies.remove(&item);
        draft.effects.push(Effect::Unreported(item, 0));
        let raw = self.tables.items.get(item.0.as_slice())?.map(|v| v.value().to_vec());
        let Some(raw) = raw else { return Ok(()) };
        draft.puts.push(Put::Quarantine(format!("item {item}"), raw));
        draft.puts.push(Put::Item(item, None));
        draft.effects.push(Effect::Quarantined);
        let record = match get_item(&*self.tables.items, item)? {
            RecordState::Good(record) => Some(record),
            RecordState::Damaged(_) | RecordState::Absent => None,
        };
        if let Err(error) = self.save_body(item, record.as_ref()) {
            tracing::error!(%item, %error, "the body of a corrupt entry could not be kept");
        }
        let blobs = record.iter().flat_map(ItemRecord::blobs).collect();
        draft.effects.push(Effect::ItemRemoved(blobs, item));
        Ok(())
    }

    /// Moves one delivery; its item too when nothing else of it is left.
    fn quarantine_delivery(&mut self, draft: &mut Draft, id: DeliveryId) -> Result<(), PlanError> {
        let key = record::delivery_key(id);
        let raw = self.tables.deliveries.get(key.as_slice())?.map(|v| v.value().to_vec());
        self.know(draft, id.item);
        let was_pending = self.inner.schedule().pending_of(id.item).any(|d| d == id);
        self.lock(draft, id);
        let left = draft.tallies.get_mut(&id.item).map(|tally| {
            tally.pending = tally.pending.saturating_sub(u32::from(was_pending));
            tally.nothing_left()
        });
        if left == Some(true) {
            return self.quarantine_item(draft, id.item);
        }
        if let Some(raw) = raw {
            draft.puts.push(Put::Quarantine(format!("delivery {}.{}", id.item, id.number), raw));
            draft.puts.push(Put::Delivery(id, None));
            draft.effects.push(Effect::Quarantined);
        }
        draft.effects.push(Effect::Remove(id));
        Ok(())
    }

    /// Moves a row whose key is not one of ours.
    fn quarantine_row(&mut self, draft: &mut Draft, table: &str, key: &[u8]) -> Result<(), PlanError> {
        let rows = if table == "items" { &mut self.tables.items } else { &mut self.tables.deliveries };
        let raw = rows.remove(key)?.map(|v| v.value().to_vec());
        if let Some(raw) = raw {
            let name = relevo_mailkit::hex::encode(key);
            draft.puts.push(Put::Quarantine(format!("{table} row {name}"), raw));
            draft.effects.push(Effect::Quarantined);
        }
        Ok(())
    }

    /// Keeps the octets of the body, in whatever state they are.
    fn save_body(&self, item: ItemId, record: Option<&ItemRecord>) -> std::io::Result<()> {
        let (disk, layout) = (&self.inner.disk, &self.inner.layout);
        let to = layout.quarantine().join(format!("{item}.eml"));
        let frame = match record.map(|r| r.body) {
            Some(Blob { location: BlobLocation::File { .. }, .. }) => None,
            Some(body) => Some(body),
            // The record cannot be read: the frames of the segments say whose they are.
            None => self.inner.segments.find(item, Kind::Body)?,
        };
        let Some(blob) = frame else {
            let own = |name: &String| parse_body_name(name).is_some_and(|(of, _)| of == item);
            for name in disk.list(&layout.bodies())?.iter().filter(|name| own(name)) {
                disk.rename(&layout.bodies().join(name), &to)?;
            }
            return disk.sync_dir(&layout.quarantine());
        };
        let bytes = self.inner.segments.read_damaged(blob)?;
        let file = disk.open(&to, true)?;
        file.set_len(0)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        disk.sync_dir(&layout.quarantine())
    }
}
