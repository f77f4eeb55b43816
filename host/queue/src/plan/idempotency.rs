//! Idempotency keys: remembered with the messages that their request brought.

use redb::ReadableTable;

use super::{PlanError, Planner};
use crate::draft::{Draft, Put};
use crate::index::IndexError;
use crate::record;
use crate::{IDEMPOTENCY_LIFETIME, IdempotentRequest, Millis, StoreError};

/// Old keys that one new key removes: more than one, so that they do not pile up.
const REMOVED_AT_ONCE: usize = 4;

impl Planner<'_, '_> {
    /// Remembers a request, unless one was accepted under its key.
    pub(super) fn remember(
        &self,
        draft: &mut Draft,
        request: Box<IdempotentRequest>,
    ) -> Result<(), PlanError> {
        let key = request_key(&request.tenant, &request.key);
        let known = self.tables.requests.get(key.as_slice())?;
        let known = known.and_then(|row| record::unseal::<IdempotentRequest>(&key, row.value()).ok());
        if known.is_some_and(|known| !is_old(known.at, request.at)) {
            return Err(StoreError::KnownKey.into());
        }
        draft.puts.push(Put::Request(request));
        Ok(())
    }

    /// Writes the row, and removes some that are too old.
    pub(super) fn put_request(&mut self, request: &IdempotentRequest) -> Result<(), IndexError> {
        for key in self.old_requests(request.at)? {
            self.tables.request_times.remove(key.as_slice())?;
            if let Some((_, key)) = key.split_first_chunk::<8>() {
                self.tables.requests.remove(key)?;
            }
        }
        let key = request_key(&request.tenant, &request.key);
        let value = record::seal(&key, request).map_err(IndexError::Other)?;
        // The time of an older request under this key would take the new one with it later.
        let older = self.tables.requests.get(key.as_slice())?;
        let older = older.and_then(|row| record::unseal::<IdempotentRequest>(&key, row.value()).ok());
        if let Some(older) = older {
            self.tables.request_times.remove(time_key(older.at, &key).as_slice())?;
        }
        self.tables.requests.insert(key.as_slice(), value.as_slice())?;
        self.tables.request_times.insert(time_key(request.at, &key).as_slice(), ())?;
        Ok(())
    }

    fn old_requests(&self, now: Millis) -> Result<Vec<Vec<u8>>, IndexError> {
        let mut old = Vec::new();
        for row in self.tables.request_times.iter()?.take(REMOVED_AT_ONCE) {
            let key = row?.0.value().to_vec();
            let at = key.first_chunk().map_or(0, |at| u64::from_be_bytes(*at));
            if !is_old(Millis::try_from(at).unwrap_or(Millis::MAX), now) {
                break;
            }
            old.push(key);
        }
        Ok(old)
    }
}

/// Whether a key that was remembered `at` is forgotten at `now`.
pub(crate) fn is_old(at: Millis, now: Millis) -> bool {
    now.saturating_sub(at) >= IDEMPOTENCY_LIFETIME
}

/// The key of a request. A tenant's name has no zero octet.
pub(crate) fn request_key(tenant: &str, key: &str) -> Vec<u8> {
    [tenant.as_bytes(), &[0], key.as_bytes()].concat()
}

fn time_key(at: Millis, key: &[u8]) -> Vec<u8> {
    let at = u64::try_from(at).unwrap_or(0);
    [at.to_be_bytes().as_slice(), key].concat()
}
