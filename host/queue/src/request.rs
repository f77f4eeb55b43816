//! What the writer is asked, and bodies on their way to it.

use std::sync::Arc;

use relevo_mailkit::source::Source;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::inner::io_error;
use crate::layout::Layout;
use crate::recent::Fresh;
use crate::record::Blob;
use crate::record::{self, BlobLocation, DeliveryRecord, EnvelopeRecord, ItemRecord};
use crate::segment::{Appender, Kind, Segments};
use crate::shard_log::record::{BodyPiece, WholeBody};
use crate::spool::{Handle, SpoolFile};
use crate::{
    Acted, DeliveryId, IdempotentRequest, ItemId, Millis, NewDelivery, NewEvent, NewItem, OperatorAction,
    ReportKey, Settlement, StoreError,
};

/// One change to the store, all of it or nothing.
pub(crate) enum Op {
    Accept {
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
        request: Option<Box<IdempotentRequest>>,
    },
    Settle {
        settlements: Vec<Arc<Settlement>>,
        items: Vec<NewItem>,
    },
    Report {
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<Box<NewItem>>,
        events: Vec<NewEvent>,
    },
    Act {
        item: ItemId,
        /// Only deliveries to this domain.
        domain: Option<String>,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    },
    Append {
        events: Vec<NewEvent>,
    },
    Prune {
        before: Millis,
        max: u64,
    },
    /// A piece of a large body goes into the log ahead of its message.
    Piece(BodyPiece),
    /// Adds what `recover` found.
    Adopt {
        items: Vec<(ItemId, ItemRecord, Vec<NewDelivery>)>,
    },
    /// Moves what is known to be damaged to quarantine.
    Quarantine {
        what: Damaged,
        why: String,
    },
}

/// What is damaged.
#[derive(Debug, Clone)]
pub(crate) enum Damaged {
    Item(ItemId),
    Delivery(DeliveryId),
    /// A row whose key is not one of ours.
    Row {
        table: &'static str,
        key: Vec<u8>,
    },
}

/// What a request came to, where its caller wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum WriteOutcome {
    #[default]
    Done,
    Acted(Acted),
    Pruned(usize),
}

/// What goes to the writer.
pub(crate) enum WriterMessage {
    Do(Op, oneshot::Sender<Result<WriteOutcome, StoreError>>),
    Close(oneshot::Sender<()>),
}

impl Op {
    /// The items it brings.
    fn take_items(&mut self) -> Vec<NewItem> {
        match self {
            Self::Accept { items, .. } | Self::Settle { items, .. } => std::mem::take(items),
            Self::Report { bounce, .. } => bounce.take().into_iter().map(|b| *b).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns true if it must leave the reserve alone: new mail, and events that are not about an
    /// outcome.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self, Self::Accept { .. } | Self::Append { .. } | Self::Piece(_))
    }

    /// Octets that it puts into a segment.
    pub(crate) fn weight(&self) -> usize {
        let (items, bounce) = match self {
            Self::Accept { items, .. } | Self::Settle { items, .. } => (items.as_slice(), None),
            Self::Report { bounce, .. } => (&[][..], bounce.as_deref()),
            Self::Piece(piece) => return piece.octets.len(),
            _ => (&[][..], None),
        };
        items.iter().chain(bounce).map(weight).sum()
    }
}

/// Returns true if its body came in a file of its own.
pub(crate) fn has_file(item: &NewItem) -> bool {
    item.body.handle.as_ref().is_some_and(|handle| matches!(handle.downcast_ref(), Some(Handle::File(_))))
}

/// Octets of an item that go into a segment.
fn weight(item: &NewItem) -> usize {
    let body =
        if has_file(item) { 0 } else { usize::try_from(item.body.source.size()).unwrap_or(usize::MAX) };
    body.saturating_add(item.meta.recipe.len())
}

/// An item whose octets are where they will stay.
pub(crate) struct StagedItem {
    pub(crate) id: ItemId,
    pub(crate) record: ItemRecord,
    pub(crate) deliveries: Vec<NewDelivery>,
    /// A large recipe, which lies beside the body.
    recipe: Option<Vec<u8>>,
    source: Arc<dyn Source>,
    file: Option<SpoolFile>,
}

impl StagedItem {
    /// The commit is durable: the file belongs to the item now.
    pub(crate) fn keep(mut self) {
        if let Some(file) = &mut self.file {
            file.kept = true;
        }
    }

    /// What its first attempt needs. It must have been planned: nothing else is left of it.
    pub(crate) fn take_fresh(&mut self) -> Fresh {
        let mut meta = std::mem::take(&mut self.record.meta);
        if let Some(recipe) = self.recipe.take() {
            meta.recipe = recipe;
        }
        Fresh {
            meta: Arc::new(meta),
            body: (!self.has_file()).then(|| self.source.clone()),
            deliveries: std::mem::take(&mut self.deliveries),
        }
    }

    /// Its body, where that is a file of its own.
    pub(crate) fn whole_body(&self) -> Option<WholeBody> {
        match self.record.body.location {
            BlobLocation::File { sequence } => Some(WholeBody::new(self.id, sequence, self.record.body.size)),
            BlobLocation::Segment { .. } => None,
        }
    }

    /// Whether `bodies/` got a new name.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }
}

/// Recipes beyond this lie beside the body.
const LARGE_RECIPE: usize = 2048;

/// The octets of a source, which are in memory anyway.
fn read_whole(source: &dyn Source) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(source.size()).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read_at(filled as u64, &mut bytes[filled..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    Ok(bytes)
}

/// Puts the octets of a request's items where they will stay. Nothing refers to them yet.
pub(crate) fn stage(
    op: &mut Op,
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    segments: &Segments,
    appender: &mut Appender,
) -> Result<Vec<StagedItem>, StoreError> {
    op.take_items().into_iter().map(|item| stage_item(item, disk, layout, segments, appender)).collect()
}

fn stage_item(
    item: NewItem,
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    segments: &Segments,
    appender: &mut Appender,
) -> Result<StagedItem, StoreError> {
    let NewItem { id, mut meta, body, deliveries } = item;
    let source = body.source;
    let handle = match body.handle {
        Some(handle) => {
            *handle.downcast::<Handle>().map_err(|_| StoreError::Io("a body of another store".into()))?
        }
        None => Handle::Memory(Arc::new(read_whole(&*source).map_err(|e| io_error(&e))?), None),
    };
    let (body, mut file) = match handle {
        Handle::Memory(bytes, permit) => {
            let body = segments.append(appender, id, Kind::Body, &bytes).map_err(|e| io_error(&e))?;
            // From here it is in the group's buffer.
            drop(permit);
            (body, None)
        }
        Handle::File(mut file) => {
            let sequence = appender.sequence;
            let to = layout.body(id, sequence);
            if disk.open(&to, false).is_ok() {
                return Err(StoreError::Io(format!("{id} is queued already")));
            }
            disk.rename(&file.path, &to).map_err(|e| io_error(&e))?;
            file.path = to;
            (Blob { location: BlobLocation::File { sequence }, size: file.size, crc: file.crc }, Some(file))
        }
    };
    let recipe = (meta.recipe.len() > LARGE_RECIPE).then(|| std::mem::take(&mut meta.recipe));
    let beside = match &recipe {
        Some(recipe) => Some(segments.append(appender, id, Kind::Recipe, recipe).map_err(|e| io_error(&e))?),
        None => None,
    };
    let sums = file.as_mut().map(|file| std::mem::take(&mut file.sums)).unwrap_or_default();
    let envelope = EnvelopeRecord {
        meta,
        deliveries: deliveries.iter().cloned().map(DeliveryRecord::new).collect(),
        sums,
    };
    let bytes = record::seal(&id.0, &envelope).map_err(StoreError::Io)?;
    let at = segments.append(appender, id, Kind::Envelope, &bytes).map_err(|e| io_error(&e))?;
    let EnvelopeRecord { meta, sums, .. } = envelope;
    let record = ItemRecord { meta, body, recipe: beside, sums, envelope: Some(at) };
    Ok(StagedItem { id, record, deliveries, recipe, source, file })
}
