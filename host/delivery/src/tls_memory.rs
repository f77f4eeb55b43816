//! Which addresses are spoken to in clear for a while, because TLS with them broke.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use relevo_queue::Millis;

use super::schedule::millis;

/// How long a host that broke TLS is spoken to in clear.
const WITHOUT_TLS: Duration = Duration::from_secs(3600);
/// Hosts that are remembered for that.
const MEMORY: usize = 10_000;

/// Addresses whose TLS handshake failed or stalled: for a while opportunistic TLS goes without.
#[derive(Debug, Default)]
pub(crate) struct TlsMemory(Mutex<HashMap<IpAddr, Millis>>);

impl TlsMemory {
    pub(crate) fn goes_without(&self, ip: IpAddr, now: Millis) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ip).is_some_and(|until| *until > now)
    }

    pub(crate) fn remember(&self, ip: IpAddr, now: Millis) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= MEMORY {
            memory.retain(|_, until| *until > now);
        }
        if memory.len() < MEMORY {
            memory.insert(ip, now.saturating_add(millis(WITHOUT_TLS)));
        }
    }
}
