//! Opening the store: one scan of the index brings back what memory held. What is damaged is found here and put aside.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use redb::{ReadableTable, ReadableTableMetadata};

use crate::disk::Disk;
use crate::draft::change;
use crate::group::Writer;
use crate::index::{self, DELIVERIES, ITEMS, Index, IndexError, QUARANTINE, Tables};
use crate::inner::{Inner, Row};
use crate::layout::{DirectoryLock, Layout};
use crate::record::{self, Blob, DeliveryRecord, ItemRecord, Place};
use crate::request::{Damaged, Op};
use crate::schedule::Schedule;
use crate::segment::Segments;
use crate::space::Space;
use crate::{DeliveryId, ItemId, OpenError, StoreConfig};

/// Opens what is in `root`, and makes it ready for the writer.
pub(crate) fn open(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
) -> Result<Writer, OpenError> {
    let layout = Layout::new(root);
    layout.prepare(disk.as_ref())?;
    let segments = Segments::open(disk.clone(), layout.clone(), config.segment_size);
    let (segments, appender) = segments.map_err(|error| OpenError::Io { path: layout.segments(), error })?;
    let damaged_index =
        |error: IndexError| OpenError::Index { path: layout.index(), why: format!("{error:?}") };
    let index = Index::open(disk.clone(), layout.clone()).map_err(damaged_index)?;
    let epoch = next_epoch(&index).map_err(damaged_index)?;
    let inner = Arc::new(Inner {
        space: Space::new(root.to_path_buf(), config.min_free),
        schedule: Mutex::new(Schedule::new(epoch)),
        disk,
        layout: layout.clone(),
        index,
        segments,
        sums: Arc::default(),
        recent: crate::recent::Recent::default(),
        room: crate::spool::Room::new(config.spool_memory),
        young: config.compact_after,
        poison: crate::inner::Poison::default(),
        changed: tokio::sync::Notify::new(),
        counters: crate::inner::Counters::default(),
    });
    let mut scan = Scan { inner: &inner, damaged: Vec::new(), files: BTreeSet::new() };
    scan.run().map_err(damaged_index)?;
    // From here on records are written.
    layout.upgrade(inner.disk.as_ref())?;
    let (damaged, files) = (std::mem::take(&mut scan.damaged), std::mem::take(&mut scan.files));
    let mut writer = Writer { inner: inner.clone(), appender, lock, detached: None };
    let asides = damaged.into_iter().map(|(what, why)| Op::Quarantine { what, why });
    writer.on_own_account(asides.collect());
    inner.segments.sweep(&writer.appender);
    remove_orphans(&inner, &files);
    Ok(writer)
}

/// Counts this start.
fn next_epoch(index: &Index) -> Result<u32, IndexError> {
    let txn = index.write()?;
    let mut tables = Tables::open(&txn)?;
    let epoch = tables.meta.get(index::EPOCH)?.map_or(0, |v| v.value()) + 1;
    tables.meta.insert(index::EPOCH, epoch)?;
    drop(tables);
    txn.commit()?;
    Ok(u32::try_from(epoch % u64::from(u32::MAX)).unwrap_or(1))
}

struct Scan<'a> {
    inner: &'a Inner,
    damaged: Vec<(Damaged, String)>,
    /// Items whose body is a file.
    files: BTreeSet<String>,
}

impl Scan<'_> {
    /// Items and deliveries are in the same order: one pass over both.
    fn run(&mut self) -> Result<(), IndexError> {
        let txn = self.inner.index.read()?;
        let (items, deliveries) = (txn.open_table(ITEMS)?, txn.open_table(DELIVERIES)?);
        let quarantined = txn.open_table(QUARANTINE)?.len()?;
        self.inner.counters.quarantined.store(quarantined, Ordering::Relaxed);
        let mut rows = deliveries
            .iter()?
            .map(|row| row.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())))
            .peekable();
        for row in items.iter()? {
            let (key, value) = row?;
            let Some(id) = record::item_id(key.value()) else {
                let row = Damaged::Row { table: "items", key: key.value().to_vec() };
                self.damaged.push((row, "the key is not an id".into()));
                continue;
            };
            let mut own = Vec::new();
            while let Some(row) =
                rows.next_if(|r| r.as_ref().map_or(true, |(k, _)| k.as_slice() <= after(id).as_slice()))
            {
                let row = row?;
                if row.0.starts_with(&id.0) { own.push(row) } else { self.orphan(&row.0) }
            }
            self.item(id, value.value(), &own);
        }
        for row in rows {
            self.orphan(&row?.0);
        }
        Ok(())
    }

    fn item(&mut self, id: ItemId, value: &[u8], rows: &[Row]) {
        self.inner.counters.items.fetch_add(1, Ordering::Relaxed);
        let record: ItemRecord = match record::unseal(&id.0, value) {
            Ok(record) => record,
            Err(why) => return self.damaged.push((Damaged::Item(id), why)),
        };
        for blob in record.blobs() {
            self.inner.segments.count(blob, true);
            if let Err(why) = self.look(id, blob) {
                self.damaged.push((Damaged::Item(id), why));
                return;
            }
        }
        let mut schedule = self.inner.schedule();
        let (mut pending, mut unreported) = (false, 0);
        let mut damaged = Vec::new();
        for (key, value) in rows {
            let Some(delivery) = record::delivery_id(key) else {
                let row = Damaged::Row { table: "deliveries", key: key.clone() };
                damaged.push((row, "the key is not that of a delivery".into()));
                continue;
            };
            match record::unseal::<DeliveryRecord>(key, value) {
                Ok(found) => {
                    unreported += found.unreported();
                    if found.pending() {
                        pending = true;
                        let change = change(delivery, &found, record.meta.expires_at, false);
                        schedule.insert(&change, &found.belongs(&record.meta.tenant));
                    }
                }
                Err(why) => damaged.push((Damaged::Delivery(delivery), why)),
            }
        }
        schedule.set_unreported(id, unreported);
        if !pending && unreported == 0 && damaged.is_empty() {
            damaged.push((Damaged::Item(id), "it has no delivery".into()));
        }
        self.damaged.append(&mut damaged);
    }

    /// Whether the octets exist; their checksum is for the reader.
    fn look(&mut self, id: ItemId, blob: Blob) -> Result<(), String> {
        match blob.place {
            Place::Segment { segment, offset }
                if self.inner.segments.contains(segment, offset, blob.size) =>
            {
                Ok(())
            }
            Place::Segment { segment, .. } => Err(format!("segment {segment:08x} does not hold it")),
            Place::File => {
                self.files.insert(id.to_string());
                let size = self.inner.disk.open(&self.inner.layout.body(id), false).and_then(|f| f.size());
                match size {
                    Ok(size) if size == blob.size => Ok(()),
                    Ok(size) => Err(format!("the body has {size} octets instead of {}", blob.size)),
                    Err(error) => Err(format!("body: {error}")),
                }
            }
        }
    }

    fn orphan(&mut self, key: &[u8]) {
        let what = match record::delivery_id(key) {
            Some(id) => Damaged::Delivery(id),
            None => Damaged::Row { table: "deliveries", key: key.to_vec() },
        };
        self.damaged.push((what, "it belongs to no item".into()));
    }
}

/// The last key that a delivery of this item can have.
fn after(item: ItemId) -> [u8; 20] {
    record::delivery_key(DeliveryId { item, number: u32::MAX })
}

/// Removes what an earlier run left behind: spool files, and bodies whose item was never committed or is gone.
fn remove_orphans(inner: &Inner, files: &BTreeSet<String>) {
    let (spool, bodies) = (inner.layout.spool(), inner.layout.bodies());
    for (dir, keep) in [(&spool, None), (&bodies, Some(files))] {
        let names = inner.disk.list(dir).unwrap_or_default();
        for name in names.iter().filter(|n| keep.is_none_or(|keep| !keep.contains(*n))) {
            if let Err(error) = inner.disk.remove(&dir.join(name)) {
                tracing::warn!(%error, name, "an orphan could not be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redb::ReadableTable as _;

    use crate::index::DELIVERIES;
    use crate::record::{self, DeliveryRecord};
    use crate::*;

    const T0: Millis = 1_000_000;

    /// A directory as the first version of the store left it.
    #[tokio::test]
    async fn an_older_store_is_read_and_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let id = ItemId::new(T0, [1; 10]);
        let store = EmbeddedStore::open(dir.path(), StoreConfig::default()).unwrap();
        let recipient = Recipient { index: 0, address: "a@x.test".into(), state: RecipientState::Pending };
        let new = NewDelivery {
            domain: "x.test".into(),
            recipients: vec![recipient],
            due_at: T0,
            ..NewDelivery::default()
        };
        let meta = ItemMeta { tenant: "acme".into(), expires_at: T0 * 2, size: 4, ..ItemMeta::default() };
        let item =
            NewItem { id, meta, body: SpooledBody::in_memory(b"body".to_vec()), deliveries: vec![new] };
        store.accept(vec![item], vec![]).await.unwrap();
        store.close().await;
        drop(store);

        let key = record::delivery_key(DeliveryId { item: id, number: 0 });
        let index = redb::Database::open(dir.path().join("index.redb")).unwrap();
        let change = index.begin_write().unwrap();
        {
            let mut table = change.open_table(DELIVERIES).unwrap();
            let row = table.get(key.as_slice()).unwrap().unwrap().value().to_vec();
            let now: DeliveryRecord = record::unseal(&key, &row).unwrap();
            let first = record::seal_as_first(&key, now);
            assert_ne!(first, row);
            table.insert(key.as_slice(), first.as_slice()).unwrap();
        }
        change.commit().unwrap();
        drop(index);
        std::fs::write(dir.path().join("format"), "relevo-queue 1\n").unwrap();

        let store = EmbeddedStore::open(dir.path(), StoreConfig::default()).unwrap();
        assert_eq!(store.stats().quarantined, 0);
        let lease = store.lease(&["x.test".to_owned()], T0, T0 + 1, 1).await.unwrap().remove(0);
        assert_eq!(
            (lease.delivery.id.item, lease.delivery.stream(), lease.delivery.priority),
            (id, "x.test", 0)
        );
        let done = Settlement {
            recipients: vec![(0, RecipientState::Delivered)],
            next_attempt: None,
            last: Some(LastAttempt::default()),
            reasons: Vec::new(),
            lease,
        };
        store.settle(vec![done], vec![], vec![]).await.unwrap();
        assert!(store.item(id).await.unwrap().is_none());
    }
}
