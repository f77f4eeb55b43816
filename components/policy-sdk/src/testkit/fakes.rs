//! The capabilities, natively: answered from the [`Kit`](super::Kit) that is running on this
//! thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NOW;
use crate::kv::Error;
use crate::log::Level;

/// Lines of one call.
const LOG_LINES: u32 = 20;
/// Keys of one call.
const KV_KEYS: usize = 10_000;
/// Octets of values of one call.
const KV_OCTETS: usize = 1 << 20;

pub(crate) struct Fakes {
    pub(super) kv: Option<BTreeMap<String, Vec<u8>>>,
    pub(super) kv_error: Option<Error>,
    pub(super) now: u64,
    pub(super) log: Vec<(Level, String)>,
}

impl Default for Fakes {
    fn default() -> Self {
        Self { kv: None, kv_error: None, now: NOW, log: Vec::new() }
    }
}

/// An exported call that is running.
struct Call {
    fakes: Arc<Mutex<Fakes>>,
    now: u64,
    lines_left: u32,
    keys_left: usize,
    octets_left: usize,
}

thread_local! {
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// A test that failed in the middle of a call leaves the data as it is.
pub(super) fn lock(fakes: &Mutex<Fakes>) -> MutexGuard<'_, Fakes> {
    fakes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers host calls during `call`.
pub(super) fn during<R>(fakes: &Arc<Mutex<Fakes>>, now: u64, call: impl FnOnce() -> R) -> R {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            CALL.set(None);
        }
    }
    let fakes = Arc::clone(fakes);
    CALL.set(Some(Call { fakes, now, lines_left: LOG_LINES, keys_left: KV_KEYS, octets_left: KV_OCTETS }));
    let _end = End;
    call()
}

#[expect(clippy::expect_used, reason = "a host call outside of a test kit is a mistake in the test")]
fn with<R>(f: impl FnOnce(&mut Call) -> R) -> R {
    CALL.with_borrow_mut(|call| {
        f(call.as_mut().expect("natively, host calls work in the calls of a testkit::Kit only"))
    })
}

pub(crate) mod log {
    use super::{Level, lock, with};

    const LINE: usize = 1_024;

    pub(crate) fn log(level: Level, line: &str) {
        with(|call| {
            if call.lines_left > 0 {
                call.lines_left -= 1;
                let cut = line.floor_char_boundary(LINE.min(line.len()));
                lock(&call.fakes).log.push((level, line[..cut].escape_debug().to_string()));
            }
        });
    }
}

pub(crate) mod clock {
    pub(crate) fn now() -> u64 {
        super::with(|call| call.now)
    }
}

pub(crate) mod kv {
    use std::ops::Bound;

    use super::{Call, Error, lock, with};
    use crate::kv::Entry;

    const KEY: usize = 512;
    const KEYS: usize = 100;
    const PAGE: usize = 262_144;

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        with(|call| lookup(call, &[key]).map(|mut values| values.pop().flatten()))
    }

    pub(crate) fn get_many(keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if keys.len() > KEYS {
            return Err(Error::Invalid);
        }
        with(|call| lookup(call, keys))
    }

    fn lookup<K: AsRef<str>>(call: &mut Call, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        usable(call)?;
        if keys.iter().any(|key| !is_key(key.as_ref())) {
            return Err(Error::Invalid);
        }
        let values: Vec<_> = {
            let fakes = lock(&call.fakes);
            keys.iter().map(|key| fakes.kv.as_ref().and_then(|kv| kv.get(key.as_ref())).cloned()).collect()
        };
        spend(call, keys.len(), values.iter().flatten().map(Vec::len).sum())?;
        Ok(values)
    }

    pub(crate) fn scan(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Error> {
        with(|call| {
            usable(call)?;
            let limit = usize::try_from(limit).unwrap_or(KEYS).min(KEYS);
            let mut page: Vec<Entry> = Vec::new();
            let mut octets = 0;
            {
                let fakes = lock(&call.fakes);
                let from = match after {
                    Some(after) if after >= prefix => Bound::Excluded(after),
                    _ => Bound::Included(prefix),
                };
                let rest = fakes.kv.iter().flat_map(|kv| kv.range::<str, _>((from, Bound::Unbounded)));
                for (key, value) in rest.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
                    if !page.is_empty() && octets + value.len() > PAGE {
                        break;
                    }
                    octets += value.len();
                    page.push(Entry { key: key.clone(), value: value.clone() });
                }
            }
            // An empty answer took a lookup too.
            spend(call, page.len().max(1), octets)?;
            Ok(page)
        })
    }

    fn is_key(key: &str) -> bool {
        (1..=KEY).contains(&key.len()) && !key.contains('\0')
    }

    #[expect(clippy::expect_used, reason = "in the relay such a plugin is refused when it is added")]
    fn usable(call: &Call) -> Result<(), Error> {
        let fakes = lock(&call.fakes);
        fakes.kv.as_ref().expect("kv is not granted: give the kit data with Kit::kv, or Kit::empty_kv");
        fakes.kv_error.map_or(Ok(()), Err)
    }

    fn spend(call: &mut Call, keys: usize, octets: usize) -> Result<(), Error> {
        call.keys_left = call.keys_left.checked_sub(keys).ok_or(Error::Exhausted)?;
        call.octets_left = call.octets_left.checked_sub(octets).ok_or(Error::Exhausted)?;
        Ok(())
    }
}
