//! What a plugin may ask of its host, and how much of it: the functions of `relevo:host`.

use std::time::{Duration, Instant};

use relevo_mailkit::text::escaped;

use super::api::{Data, Export, LogLevel, LogLine, Unavailable};
use super::bindings::host::relevo::host::{clock, kv, log};
use super::config::{Capability, CapabilityGrants, PluginLimits};
use crate::state::GuestState;

/// Octets of a log line.
const LOG_LINE: usize = 1024;
/// Log lines of one operation, in exported calls' worth: an inspector is called once for each
/// chunk.
const LOG_CALLS: usize = 10;
/// Octets of a key.
const KEY: usize = 512;
/// Keys of `get-many`, entries of `scan`.
const KEYS_AT_ONCE: usize = 100;
/// Octets of the values of one `scan`.
const SCAN: usize = 256 << 10;

/// The capabilities of a store: nothing, unless it is a plugin's.
#[derive(Default)]
pub(crate) struct GrantedCapabilities {
    data: Data,
    keys: Quota<u32>,
    octets: Quota<usize>,
    lines: Quota<u32>,
    logging: bool,
    log: Vec<LogLine>,
    dropped: u64,
}

/// What an exported call may use of something, and what is left of it.
#[derive(Default)]
struct Quota<T> {
    each_call: T,
    left: T,
}

impl GrantedCapabilities {
    pub(crate) fn new(grants: &CapabilityGrants, limits: &PluginLimits) -> Self {
        Self {
            keys: Quota { each_call: limits.kv_keys, left: 0 },
            octets: Quota { each_call: limits.kv_octets, left: 0 },
            lines: Quota { each_call: limits.log_lines, left: 0 },
            logging: grants.0.contains(&Capability::Log),
            ..Self::default()
        }
    }

    /// An operation begins, which sees this data.
    pub(crate) fn begin(&mut self, data: Data) {
        self.data = data;
        self.log.clear();
        self.dropped = 0;
    }

    /// Tells the data which exported call begins.
    pub(crate) fn announce(&self, export: Export) {
        if let Some(data) = &self.data {
            data.enters(export);
        }
    }

    /// An exported call begins.
    pub(crate) fn enter(&mut self) {
        self.keys.left = self.keys.each_call;
        self.octets.left = self.octets.each_call;
        self.lines.left = self.lines.each_call;
    }

    /// An operation ends: what was logged, and how many lines were not. What was printed comes
    /// last.
    pub(crate) fn end(&mut self, printed: &[u8]) -> (Vec<LogLine>, u64) {
        self.data = None;
        for line in String::from_utf8_lossy(printed).lines().filter(|line| !line.is_empty()) {
            self.line(LogLevel::Info, line);
        }
        (std::mem::take(&mut self.log), std::mem::take(&mut self.dropped))
    }

    fn line(&mut self, level: LogLevel, text: &str) {
        if !self.logging {
            return;
        }
        let most = usize::try_from(self.lines.each_call).unwrap_or(usize::MAX).saturating_mul(LOG_CALLS);
        if self.lines.left == 0 || self.log.len() >= most {
            self.dropped += 1;
            return;
        }
        self.lines.left -= 1;
        self.log.push(LogLine { level, text: escaped(text, LOG_LINE) });
    }

    fn take_keys(&mut self, keys: usize) -> Result<(), kv::Error> {
        let left = u32::try_from(keys).ok().and_then(|keys| self.keys.left.checked_sub(keys));
        self.keys.left = left.ok_or(kv::Error::Exhausted)?;
        Ok(())
    }

    fn take_octets(&mut self, octets: usize) -> Result<(), kv::Error> {
        self.octets.left = self.octets.left.checked_sub(octets).ok_or(kv::Error::Exhausted)?;
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, kv::Error> {
        self.take_keys(1)?;
        check_key(key)?;
        let Some(data) = &self.data else { return Ok(None) };
        let value = data.get(key)?;
        self.take_octets(value.as_ref().map_or(0, Vec::len))?;
        Ok(value)
    }

    fn scan(&mut self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<kv::Entry>, kv::Error> {
        if prefix.len() > KEY || prefix.contains('\0') {
            return Err(kv::Error::Invalid);
        }
        after.map_or(Ok(()), check_key)?;
        // Asking costs one even when nothing is found.
        self.take_keys(1)?;
        let left = usize::try_from(self.keys.left).unwrap_or(usize::MAX).saturating_add(1);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(KEYS_AT_ONCE).min(left);
        let Some(data) = &self.data else { return Ok(Vec::new()) };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut found = data.scan(prefix, after, limit, SCAN.min(self.octets.left))?;
        found.truncate(limit);
        self.take_keys(found.len().saturating_sub(1))?;
        self.take_octets(found.iter().map(|(_, value)| value.len()).sum())?;
        Ok(found.into_iter().map(|(key, value)| kv::Entry { key, value }).collect())
    }
}

fn check_key(key: &str) -> Result<(), kv::Error> {
    let valid = (1..=KEY).contains(&key.len()) && !key.contains('\0');
    if valid { Ok(()) } else { Err(kv::Error::Invalid) }
}

impl From<Unavailable> for kv::Error {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// A host call used up the time of the exported call.
#[derive(Debug, thiserror::Error)]
#[error("out of time in a host call")]
struct OutOfTime;

impl GuestState {
    /// Neither the epoch nor anything else interrupts the host, so its time is looked at when it
    /// comes back.
    fn timed<T>(&mut self, call: impl FnOnce(&mut GrantedCapabilities) -> T) -> wasmtime::Result<T> {
        let began = Instant::now();
        let answer = call(&mut self.granted);
        let took: Duration = began.elapsed();
        if self.budget.host_call(took) { Ok(answer) } else { Err(wasmtime::Error::new(OutOfTime)) }
    }
}

impl log::Host for GuestState {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.granted.line(level, &message);
        Ok(())
    }
}

impl clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now)
    }
}

impl kv::Host for GuestState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, kv::Error>> {
        self.timed(|granted| granted.get(&key))
    }

    fn get_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Result<Vec<Option<Vec<u8>>>, kv::Error>> {
        if keys.len() > KEYS_AT_ONCE {
            return Ok(Err(kv::Error::Invalid));
        }
        self.timed(|granted| keys.iter().map(|key| granted.get(key)).collect())
    }

    fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<kv::Entry>, kv::Error>> {
        self.timed(|granted| granted.scan(&prefix, after.as_deref(), limit))
    }
}
