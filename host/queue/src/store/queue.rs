//! [`Queue`] of the embedded store.

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use relevo_mailkit::source::Source;

use super::EmbeddedStore;
use crate::checked::CheckedSource;
use crate::index::{ITEMS, IndexError, REQUESTS};
use crate::inner::{StoreCore, blocking, io_error, log_away};
use crate::plan::{is_old, request_key};
use crate::recent::Fresh;
use crate::record::{self, BlobLocation, DeliveryRecord, ItemRecord, LARGEST_IN_SEGMENT};
use crate::request::{Damaged, Op, WriteOutcome, has_file};
use crate::schedule::{BacklogCounts, LeaseGrant, LeaseKey};
use crate::shard_log::record::BodyPiece;
use crate::spool::EmbeddedSpool;
use crate::{
    Acted, Backlog, DeliveryId, DeliveryView, DomainItems, DueQueue, IdempotentRequest, ItemId, ItemMeta,
    ItemPage, ItemView, Lease, Millis, NewEvent, NewItem, OperatorAction, Queue, QueueKey, QueueStats,
    QueuedDelivery, ReportKey, Settlement, Spool, StoreError, Unreported,
};

/// When no attempt may begin, room is looked for again after this.
const LOOK_AGAIN: Millis = 1000;
/// Items that one call of `unreported` looks at.
const LOOKS: usize = 10_000;
/// Octets of a large body that go into the log at once.
const PIECE: usize = 512 << 10;
/// Deliveries that are looked at for operators under one lock: some tenths of a millisecond.
const STEP: usize = 2_000;

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
        self.inner.check_log()?;
        self.upload(&items).await?;
        self.write(Op::Accept { items, events, request: None }).await.map(drop)
    }

    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let size = items.iter().map(|i| i.body.source.size()).sum();
        self.inner.space.check_new(self.inner.disk.as_ref(), size)?;
        self.inner.check_log()?;
        self.upload(&items).await?;
        self.write(Op::Accept { items, events, request: Some(Box::new(request)) }).await.map(drop)
    }

    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        let key = request_key(tenant, key);
        let found = self.read_with(move |inner| Ok(find_request(inner, &key)?)).await?;
        Ok(found.filter(|request| !is_old(request.at, now)))
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        self.inner.poison.check()?;
        if !self.attempts_may_begin().await {
            return Ok(Vec::new());
        }
        Ok(self.inner.schedule().due(now, skip, max))
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        let next = self.inner.schedule().next_due(now);
        let is_away = self.inner.log().is_some_and(|log| log.is_away());
        if self.inner.space.outcomes_fit() && !is_away { next } else { Some(now + LOOK_AGAIN) }
    }

    async fn hasten(&self, keys: &std::collections::HashSet<QueueKey>, until: Millis, now: Millis) {
        if self.inner.schedule().hasten(keys, until, now) > 0 {
            self.inner.changed.notify_waiters();
            self.inner.changed.notify_one();
        }
    }

    async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.poison.check()?;
        if !self.attempts_may_begin().await {
            return Ok(Vec::new());
        }
        let granted = self.inner.schedule().lease(keys, now, until, max);
        if granted.is_empty() {
            return Ok(Vec::new());
        }
        let (leases, granted) = self.fresh_leases(granted);
        if granted.is_empty() {
            return Ok(leases);
        }
        self.add_granted(leases, granted).await
    }

    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError> {
        self.upload(&items).await?;
        self.write(Op::Settle { settlements, items }).await.map(drop)
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        self.inner.poison.check()?;
        let mut items = self.inner.schedule().delayed(now, max, LOOKS);
        let over = self.inner.schedule().rounds_over(now, max, LOOKS);
        let other: Vec<ItemId> = over.into_iter().filter(|item| !items.contains(item)).collect();
        items.extend(other);
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (found, damaged) = self.read_with(move |inner| load_unreported(inner, &items, now)).await?;
        for (id, error) in damaged {
            self.quarantine(Damaged::Item(id), &error).await;
        }
        Ok(found)
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.upload(bounce.as_slice()).await?;
        self.write(Op::Report { item, recipients, bounce: bounce.map(Box::new), events }).await.map(drop)
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        self.inner.poison.check()?;
        if let Some(body) = self.inner.recent.body(item) {
            return Ok(Some(body));
        }
        let found = self
            .read_with(move |inner| inner.with_record(item, |record| open_body(inner, item, record)))
            .await;
        if let Err(error @ StoreError::Corrupt(_)) = &found {
            self.quarantine(Damaged::Item(item), error).await;
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

    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError> {
        self.read_with(move |inner| {
            let items = page(inner, after, max)?;
            let views = items.into_iter().map(|(id, record)| Ok(view(inner, id, record.meta)?));
            views.collect::<Result<Vec<_>, StoreError>>().map(ItemPage::from)
        })
        .await
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        self.act_on(Op::Act { item, domain: None, action, now, events }).await
    }

    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError> {
        if matches!(action, OperatorAction::Cancel | OperatorAction::Reschedule(_)) {
            return Ok(Acted::Begun);
        }
        let domain = Some(domain.to_owned());
        self.act_on(Op::Act { item, domain, action, now, events: Vec::new() }).await
    }

    async fn backlog(&self, now: Millis, looks: usize) -> Backlog {
        let (mut counts, mut left) = (BacklogCounts::default(), looks);
        let mut more = true;
        while more && left > 0 {
            let step = left.min(STEP);
            more = self.inner.schedule().count_backlog(&mut counts, step, now);
            left -= step;
            tokio::task::yield_now().await;
        }
        Backlog { keys: counts.into_keys(), is_truncated: more, ..Backlog::default() }
    }

    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems {
        let mut found = DomainItems { next: after, ..DomainItems::default() };
        let mut left = looks;
        while left > 0 && found.items.len() < max {
            let step = left.min(STEP);
            let from = found.next;
            if !self.inner.schedule().items_to(domain, (from, step), max, &mut found) {
                break;
            }
            left -= step;
            tokio::task::yield_now().await;
        }
        found
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        self.read_with(move |inner| {
            let Some(item) = inner.item_record(id.item)? else { return Ok(None) };
            let Some(record) = inner.delivery_record(id)? else { return Ok(None) };
            let leased_until = inner.schedule().leased_until(id);
            let view = DeliveryView { delivery: record.into_delivery(id), leased_until };
            Ok(Some(QueuedDelivery { meta: Arc::new(item.meta), view }))
        })
        .await
    }

    fn held(&self, tenant: &str) -> u64 {
        self.inner.schedule().held_by(tenant)
    }

    fn stats(&self) -> QueueStats {
        let (deliveries, due, leased, held, oldest_due) = self.inner.schedule().counts();
        let (counters, free) = (&self.inner.counters, self.inner.space.free());
        QueueStats {
            items: counters.items.load(Ordering::Relaxed),
            deliveries,
            due,
            leased,
            held,
            oldest_due,
            quarantined: counters.quarantined.load(Ordering::Relaxed),
            free_octets: free.octets,
            free_inodes: free.inodes,
            commits: counters.commits.load(Ordering::Relaxed),
            committed: counters.committed.load(Ordering::Relaxed),
        }
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.inner.poison.check()?;
        if self.inner.log().is_some_and(|log| log.is_away()) {
            return Err(log_away());
        }
        self.inner.space.check_new(self.inner.disk.as_ref(), 0)
    }

    async fn close(&self) {
        self.shut().await;
    }
}

impl EmbeddedStore {
    async fn act_on(&self, op: Op) -> Result<Acted, StoreError> {
        match self.write(op).await? {
            WriteOutcome::Acted(acted) => Ok(acted),
            WriteOutcome::Done | WriteOutcome::Pruned(_) => Ok(Acted::Done),
        }
    }

    /// The leases of what was accepted a moment ago, and the grants that must be read.
    fn fresh_leases(&self, granted: Vec<LeaseGrant>) -> (Vec<Lease>, Vec<LeaseGrant>) {
        let (mut leases, mut rest) = (Vec::with_capacity(granted.len()), Vec::new());
        for granted in granted {
            match self.inner.recent.take(granted.key.id) {
                Some((meta, delivery)) => {
                    leases.push(Lease { delivery, meta, token: granted.key.token, hold: granted.hold });
                }
                None => rest.push(granted),
            }
        }
        (leases, rest)
    }

    /// Reads what was granted. If nothing can be read, it is handed back, and so are `leases`: the
    /// caller has none of them.
    async fn add_granted(
        &self,
        mut leases: Vec<Lease>,
        granted: Vec<LeaseGrant>,
    ) -> Result<Vec<Lease>, StoreError> {
        let fresh = leases.iter().map(|lease| LeaseKey { id: lease.delivery.id, token: lease.token });
        let keys: Vec<_> = fresh.chain(granted.iter().map(|grant| grant.key)).collect();
        let read = self.read_with(move |inner| Ok(load_leases(inner, granted))).await;
        let (read, damaged) = read.inspect_err(|_| {
            let mut schedule = self.inner.schedule();
            keys.into_iter().for_each(|key| schedule.hand_back(key));
        })?;
        leases.extend(read);
        for (id, error) in damaged {
            self.quarantine(Damaged::Delivery(id), &error).await;
        }
        Ok(leases)
    }

    /// Whether outcomes have the room that is reserved for them; takes it when there is some again.
    async fn attempts_may_begin(&self) -> bool {
        if self.inner.log().is_some_and(|log| log.is_away()) {
            return false;
        }
        if self.inner.space.outcomes_fit() {
            return true;
        }
        let inner = self.inner.clone();
        blocking(move || Ok(inner.space.allocate(inner.disk.as_ref()))).await.unwrap_or(false)
    }

    /// Where there is a log, large bodies go into it in pieces ahead of their messages. Pieces of
    /// several messages and other groups take turns.
    async fn upload(&self, items: &[NewItem]) -> Result<(), StoreError> {
        if self.inner.log().is_none() {
            return Ok(());
        }
        for item in items.iter().filter(|item| has_file(item)) {
            let (source, size) = (item.body.source.clone(), item.body.source.size());
            let mut offset = 0;
            while offset < size {
                let source = source.clone();
                let octets = blocking(move || {
                    let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
                    let mut octets = vec![0; left.min(PIECE)];
                    let mut filled = 0;
                    while filled < octets.len() {
                        match source.read_at(offset + filled as u64, &mut octets[filled..]) {
                            Ok(0) => return Err(StoreError::Io("the body is cut short".into())),
                            Ok(n) => filled += n,
                            Err(error) => return Err(io_error(&error)),
                        }
                    }
                    Ok(octets)
                });
                let octets = octets.await?;
                let piece = BodyPiece::new(item.id, offset, octets);
                offset += piece.octets.len() as u64;
                self.write(Op::Piece(piece)).await?;
            }
        }
        Ok(())
    }

    /// Has the writer move something to quarantine; its answer does not change the caller's.
    async fn quarantine(&self, what: Damaged, error: &StoreError) {
        if let StoreError::Corrupt(why) = error {
            let _ = self.write(Op::Quarantine { what, why: why.clone() }).await;
        }
    }
}

type Faults<T> = Vec<(T, StoreError)>;

fn load_leases(inner: &StoreCore, granted: Vec<LeaseGrant>) -> (Vec<Lease>, Faults<DeliveryId>) {
    let mut metas: HashMap<ItemId, Arc<ItemMeta>> = HashMap::new();
    let (mut leases, mut faults) = (Vec::new(), Vec::new());
    for grant in granted {
        let key = grant.key;
        match load_lease(inner, grant, &mut metas) {
            Ok(Some(lease)) => leases.push(lease),
            // Dropped in this moment.
            Ok(None) => {}
            Err(error) => {
                inner.schedule().hand_back(key);
                faults.push((key.id, error));
            }
        }
    }
    (leases, faults)
}

fn load_lease(
    inner: &StoreCore,
    granted: LeaseGrant,
    metas: &mut HashMap<ItemId, Arc<ItemMeta>>,
) -> Result<Option<Lease>, StoreError> {
    let LeaseGrant { key, hold } = granted;
    let item = key.id.item;
    let meta = match metas.get(&item) {
        Some(meta) => meta.clone(),
        None => {
            let Some(meta) = inner.meta(item)? else { return Ok(None) };
            let meta = metas.entry(item).or_insert(Arc::new(meta)).clone();
            foresee(inner, item, &meta);
            meta
        }
    };
    let Some(record) = inner.delivery_record(key.id)? else { return Ok(None) };
    Ok(Some(Lease { delivery: record.into_delivery(key.id), meta, token: key.token, hold }))
}

/// A leased message is about to be sent: a small body is read along with it, so that nobody is sent
/// for it again. One that cannot be read is found out when it is asked for.
fn foresee(inner: &StoreCore, item: ItemId, meta: &Arc<ItemMeta>) {
    if meta.size > LARGEST_IN_SEGMENT as u64 || inner.recent.body(item).is_some() {
        return;
    }
    let body = inner.with_record(item, |record| inner.blob(item, record.body));
    if let Ok(Some(bytes)) = body {
        let body = Some(Arc::new(bytes) as Arc<dyn Source>);
        inner.recent.add(item, Fresh { meta: meta.clone(), body, deliveries: Vec::new() });
    }
}

type Rounds = Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>;

fn load_unreported(
    inner: &StoreCore,
    items: &[ItemId],
    now: Millis,
) -> Result<(Rounds, Faults<ItemId>), StoreError> {
    let (mut rounds, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match inner.meta(*item) {
            Ok(Some(meta)) => {
                let deliveries = inner.deliveries_of(*item)?;
                let due: Vec<Unreported> =
                    deliveries.into_iter().flat_map(|(id, record)| unreported(id, &record, now)).collect();
                if !due.is_empty() {
                    rounds.push((*item, Arc::new(meta), due));
                }
            }
            Ok(None) => {}
            Err(error) => faults.push((*item, error)),
        }
    }
    Ok((rounds, faults))
}

fn unreported(id: DeliveryId, record: &DeliveryRecord, now: Millis) -> Vec<Unreported> {
    let due = record.recipients.iter().filter_map(|r| Some((r, r.due_report(now)?)));
    due.map(|(recipient, kind)| Unreported {
        delivery: id,
        recipient: recipient.clone(),
        kind,
        last: record.reason(recipient.index).cloned().unwrap_or_default(),
    })
    .collect()
}

/// Opens a body: a small one is read and checked, a large one is checked as it is read.
fn open_body(
    inner: &StoreCore,
    item: ItemId,
    record: &ItemRecord,
) -> Result<Option<Arc<dyn Source>>, StoreError> {
    let BlobLocation::File { sequence } = record.body.location else {
        return Ok(inner.blob(item, record.body)?.map(|bytes| Arc::new(bytes) as Arc<dyn Source>));
    };
    let corrupt = || StoreError::Corrupt(format!("{item}: the body does not match its checksum"));
    if inner.damaged.take(item) {
        return Err(corrupt());
    }
    match inner.disk.open(&inner.layout.body(item, sequence), false) {
        Ok(file) => {
            let sums = record.sums.clone();
            let body = CheckedSource::new(item, file, record.body.size, sums, inner.damaged.clone());
            Ok(Some(Arc::new(body.map_err(|e| io_error(&e))?.ok_or_else(corrupt)?)))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(&e)),
    }
}

fn find_request(inner: &StoreCore, key: &[u8]) -> Result<Option<IdempotentRequest>, IndexError> {
    let table = match inner.index.read()?.open_table(REQUESTS) {
        // The first key makes the table.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    let Some(row) = table.get(key)? else { return Ok(None) };
    record::unseal(key, row.value()).map(Some).map_err(IndexError::Other)
}

fn view(inner: &StoreCore, id: ItemId, meta: ItemMeta) -> Result<ItemView, IndexError> {
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

fn page(
    inner: &StoreCore,
    after: Option<ItemId>,
    max: usize,
) -> Result<Vec<(ItemId, ItemRecord)>, IndexError> {
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
