//! Bodies of other nodes: in memory, as a source must not wait for another node.

use std::sync::Arc;

use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::calls::{StoreAnswer, StoreCall, id};
use super::client::{CALL, not_expected};
use super::store::ClusterStore;

/// Mebibytes that are in memory at once.
const BODIES: u32 = 128;

/// Room for bodies.
pub(super) struct BodyRoom(Arc<Semaphore>);

impl Default for BodyRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(BODIES).unwrap_or(usize::MAX))))
    }
}

impl BodyRoom {
    /// A body that is larger than all the room waits until it has all of it.
    async fn take(&self, octets: u64) -> Result<OwnedSemaphorePermit, StoreError> {
        let mebibytes = u32::try_from(octets.div_ceil(1 << 20)).unwrap_or(u32::MAX).clamp(1, BODIES);
        let waits = Arc::clone(&self.0).acquire_many_owned(mebibytes);
        let busy = || StoreError::Unavailable("too many messages of other nodes are read at once".into());
        match timeout(CALL, waits).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }
}

/// A body that another node sent.
struct RemoteBody {
    octets: Vec<u8>,
    /// Room for it.
    _permit: OwnedSemaphorePermit,
}

impl Source for RemoteBody {
    fn size(&self) -> u64 {
        self.octets.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.octets.read_at(offset, buf)
    }

    fn slice_at(&self, offset: u64) -> Option<&[u8]> {
        self.octets.slice_at(offset)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

impl ClusterStore {
    /// Asks for a body piece by piece.
    pub(super) async fn remote_body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        let (mut octets, mut permit) = (Vec::new(), None);
        loop {
            let offset = octets.len() as u64;
            let call = StoreCall::Body { item: id(item), offset };
            let StoreAnswer::Body(piece) = self.ask(item.shard(), call).await? else {
                return Err(not_expected().into());
            };
            let Some(piece) = piece else { return Ok(None) };
            if permit.is_none() {
                permit = Some(self.bodies.take(piece.size).await?);
            }
            octets.extend_from_slice(&piece.octets);
            let length = octets.len() as u64;
            if let Some(permit) = permit.take_if(|_| length == piece.size) {
                return Ok(Some(Arc::new(RemoteBody { octets, _permit: permit })));
            }
            if length > piece.size || piece.octets.is_empty() {
                return Err(StoreError::Io(format!("{item}: the body changed while it was read")));
            }
        }
    }
}
