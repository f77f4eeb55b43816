//! [`Queue`] of the embedded store.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use relevo_mailkit::source::Source;

use super::EmbeddedStore;
use crate::index::{ITEMS, IndexError};
use crate::inner::{Inner, io_error};
use crate::recent::Fresh;
use crate::record::{self, Blob, DeliveryRecord, ItemRecord, LARGEST_IN_SEGMENT, Place};
use crate::request::{Damaged, Op};
use crate::schedule::Granted;
use crate::spool::{EmbeddedSpool, Handle};
use crate::sums::{self, ChunkSums};
use crate::{
    Action, DeliveryId, DeliveryView, DueStream, ItemId, ItemMeta, ItemView, Lease, Millis, NewEvent,
    NewItem, Queue, QueueStats, RecipientState, Settlement, Spool, StoreError, Unreported,
};

/// Items that one call of `unreported` looks at.
const LOOKS: usize = 10_000;

#[async_trait]
impl Queue for EmbeddedStore {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        self.ready()?;
        Ok(Box::new(EmbeddedSpool::new(self.inner.clone())))
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        if !items.is_empty() {
            let size = items.iter().map(|i| i.body.source.size()).sum();
            self.inner.space.check_new(self.inner.disk.as_ref(), size)?;
        }
        let learnt = learnt(&items);
        self.write(Op::Accept { items, events }).await?;
        for (item, sums) in learnt {
            self.inner.sums.learn(item, sums);
        }
        Ok(())
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d str) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueStream>, StoreError> {
        self.inner.poison.check()?;
        let due = self.inner.schedule().due(now, skip, max);
        self.nudge();
        Ok(due)
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        let next = self.inner.schedule().next_due(now);
        self.nudge();
        next
    }

    async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    async fn lease(
        &self,
        streams: &[String],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.poison.check()?;
        let granted = self.inner.schedule().lease(streams, now, until, max);
        self.nudge();
        if granted.is_empty() {
            return Ok(Vec::new());
        }
        let (mut leases, granted) = self.fresh_leases(granted, until);
        if granted.is_empty() {
            return Ok(leases);
        }
        let (read, damaged) = self.read_with(move |inner| Ok(load_leases(inner, &granted, until))).await?;
        leases.extend(read);
        for (id, error) in damaged {
            self.aside(Damaged::Delivery(id), &error).await;
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[Lease], until: Millis) -> Result<Vec<DeliveryId>, StoreError> {
        self.inner.poison.check()?;
        let mut schedule = self.inner.schedule();
        let mut held = Vec::new();
        for lease in leases {
            let id = lease.delivery.id;
            if schedule.extend(Granted { id, token: lease.token }, until) {
                held.push(id);
            }
        }
        Ok(held)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.write(Op::Settle { settlements, items, events }).await.map(drop)
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        self.inner.poison.check()?;
        let items = self.inner.schedule().rounds_over(now, max, LOOKS);
        self.nudge();
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (found, damaged) = self.read_with(move |inner| load_unreported(inner, &items)).await?;
        for (id, error) in damaged {
            self.aside(Damaged::Item(id), &error).await;
        }
        Ok(found)
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<(DeliveryId, u32)>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.write(Op::Report { item, recipients, bounce: bounce.map(Box::new), events }).await.map(drop)
    }

    async fn read(&self, item: ItemId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let Some(body) = self.body(item).await? else {
            return Err(StoreError::Io(format!("{item} is gone")));
        };
        match self.read_with(move |_| Ok(read_range(&*body, range))).await? {
            Ok(bytes) => Ok(bytes),
            // Damage that was found on the way: whoever opens the body now puts it aside.
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => match self.body(item).await {
                Err(error) => Err(error),
                Ok(_) => Err(io_error(&e)),
            },
            Err(e) => Err(io_error(&e)),
        }
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        self.inner.poison.check()?;
        if let Some(body) = self.inner.recent.body(item) {
            return Ok(Some(body));
        }
        let found = self
            .read_with(move |inner| inner.with_place(item, |record| open_body(inner, item, record.body)))
            .await;
        if let Err(error @ StoreError::Corrupt(_)) = &found {
            self.aside(Damaged::Item(item), error).await;
        }
        found
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        self.read_with(move |inner| {
            let Some(meta) = inner.meta(item)? else { return Ok(None) };
            Ok(Some(view(inner, item, meta)?))
        })
        .await
    }

    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<Vec<ItemView>, StoreError> {
        self.read_with(move |inner| {
            let items = page(inner, after, max)?;
            items.into_iter().map(|(id, record)| Ok(view(inner, id, record.meta)?)).collect()
        })
        .await
    }

    async fn act(
        &self,
        item: ItemId,
        action: Action,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError> {
        Ok(self.write(Op::Act { item, action, now, events }).await? == 1)
    }

    fn held(&self, tenant: &str) -> u64 {
        self.inner.schedule().held_by(tenant)
    }

    fn stats(&self) -> QueueStats {
        let (deliveries, due, leased, held, oldest_due) = self.inner.schedule().counts();
        let counters = &self.inner.counters;
        QueueStats {
            items: counters.items.load(Ordering::Relaxed),
            deliveries,
            due,
            leased,
            held,
            oldest_due,
            quarantined: counters.quarantined.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            committed: counters.committed.load(Ordering::Relaxed),
        }
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.inner.poison.check()?;
        self.inner.space.check_new(self.inner.disk.as_ref(), 0)
    }

    async fn close(&self) {
        self.shut().await;
    }
}

impl EmbeddedStore {
    /// The leases of what was accepted a moment ago, and the grants that must be read.
    fn fresh_leases(&self, granted: Vec<Granted>, until: Millis) -> (Vec<Lease>, Vec<Granted>) {
        let (mut leases, mut rest) = (Vec::with_capacity(granted.len()), Vec::new());
        for granted in granted {
            match self.inner.recent.take(granted.id) {
                Some((meta, delivery)) => leases.push(Lease { delivery, meta, until, token: granted.token }),
                None => rest.push(granted),
            }
        }
        (leases, rest)
    }

    /// Has the writer put something aside; its answer does not change the caller's.
    async fn aside(&self, what: Damaged, error: &StoreError) {
        if let StoreError::Corrupt(why) = error {
            let _ = self.write(Op::Quarantine { what, why: why.clone() }).await;
        }
    }
}

type Faults<T> = Vec<(T, StoreError)>;

fn load_leases(inner: &Inner, granted: &[Granted], until: Millis) -> (Vec<Lease>, Faults<DeliveryId>) {
    let mut metas: HashMap<ItemId, Arc<ItemMeta>> = HashMap::new();
    let (mut leases, mut faults) = (Vec::new(), Vec::new());
    for lease in granted {
        match load_lease(inner, *lease, until, &mut metas) {
            Ok(Some(lease)) => leases.push(lease),
            // Dropped in this moment.
            Ok(None) => {}
            Err(error) => {
                inner.schedule().hand_back(*lease);
                faults.push((lease.id, error));
            }
        }
    }
    (leases, faults)
}

fn load_lease(
    inner: &Inner,
    granted: Granted,
    until: Millis,
    metas: &mut HashMap<ItemId, Arc<ItemMeta>>,
) -> Result<Option<Lease>, StoreError> {
    let item = granted.id.item;
    let meta = match metas.get(&item) {
        Some(meta) => meta.clone(),
        None => {
            let Some(meta) = inner.meta(item)? else { return Ok(None) };
            let meta = metas.entry(item).or_insert(Arc::new(meta)).clone();
            foresee(inner, item, &meta);
            meta
        }
    };
    let Some(record) = inner.delivery_record(granted.id)? else { return Ok(None) };
    Ok(Some(Lease { delivery: record.into_delivery(granted.id), meta, until, token: granted.token }))
}

/// A leased message is about to be sent: a small body is read along with it, so that nobody is sent for it again. One that
/// cannot be read is found out when it is asked for.
fn foresee(inner: &Inner, item: ItemId, meta: &Arc<ItemMeta>) {
    if meta.size > LARGEST_IN_SEGMENT as u64 || inner.recent.body(item).is_some() {
        return;
    }
    let body = inner.with_place(item, |record| inner.blob(item, record.body));
    if let Ok(Some(bytes)) = body {
        let body = Some(Arc::new(bytes) as Arc<dyn Source>);
        inner.recent.add(item, Fresh { meta: meta.clone(), body, deliveries: Vec::new() });
    }
}

type Rounds = Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>;

fn load_unreported(inner: &Inner, items: &[ItemId]) -> Result<(Rounds, Faults<ItemId>), StoreError> {
    let (mut rounds, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match inner.meta(*item) {
            Ok(Some(meta)) => {
                let deliveries = inner.deliveries_of(*item)?;
                let failed =
                    deliveries.into_iter().flat_map(|(id, record)| unreported(id, &record)).collect();
                rounds.push((*item, Arc::new(meta), failed));
            }
            Ok(None) => {}
            Err(error) => faults.push((*item, error)),
        }
    }
    Ok((rounds, faults))
}

fn unreported(id: DeliveryId, record: &DeliveryRecord) -> Vec<Unreported> {
    let failed = record.recipients.iter().filter(|r| r.state == RecipientState::Failed { reported: false });
    failed
        .map(|recipient| Unreported {
            delivery: id,
            recipient: recipient.clone(),
            last: record.reason(recipient.index).cloned().unwrap_or_default(),
        })
        .collect()
}

fn read_range(body: &dyn Source, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let end = range.end.min(body.size());
    let size = usize::try_from(end.saturating_sub(range.start)).unwrap_or(0);
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match body.read_at(range.start + filled as u64, &mut bytes[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Opens a body: a small one is read and checked, a large one is checked as it is read.
fn open_body(inner: &Inner, item: ItemId, body: Blob) -> Result<Option<Arc<dyn Source>>, StoreError> {
    if body.place != Place::File {
        return Ok(inner.blob(item, body)?.map(|bytes| Arc::new(bytes) as Arc<dyn Source>));
    }
    match inner.disk.open(&inner.layout.body(item), false) {
        Ok(file) => Ok(Some(Arc::new(sums::open(&inner.sums, item, file, body)?))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(&e)),
    }
}

/// The checksums that were learnt while large bodies arrived.
fn learnt(items: &[NewItem]) -> Vec<(ItemId, ChunkSums)> {
    let of_file = |item: &NewItem| match item.body.handle.downcast_ref::<Handle>() {
        Some(Handle::File(file)) => Some((item.id, file.sums.clone())),
        _ => None,
    };
    items.iter().filter_map(of_file).collect()
}

fn view(inner: &Inner, id: ItemId, meta: ItemMeta) -> Result<ItemView, IndexError> {
    let records = inner.deliveries_of(id)?;
    let schedule = inner.schedule();
    let deliveries = records
        .into_iter()
        .map(|(id, record)| DeliveryView {
            delivery: record.into_delivery(id),
            leased_until: schedule.leased_until(id),
        })
        .collect();
    Ok(ItemView { id, meta: Arc::new(meta), deliveries })
}

fn page(inner: &Inner, after: Option<ItemId>, max: usize) -> Result<Vec<(ItemId, ItemRecord)>, IndexError> {
    let table = inner.index.read()?.open_table(ITEMS)?;
    let from = after.map_or(Vec::new(), |id| id.0.to_vec());
    let mut items = Vec::new();
    for row in table.range::<&[u8]>(from.as_slice()..)? {
        if items.len() == max {
            break;
        }
        let (key, value) = row?;
        let Some(id) = record::item_id(key.value()).filter(|id| Some(*id) != after) else { continue };
        if let Ok(record) = record::unseal(key.value(), value.value()) {
            items.push((id, record));
        }
    }
    Ok(items)
}
