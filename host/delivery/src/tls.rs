//! What TLS mail needs, and where TLS failed a short time ago.
//!
//! [`TlsRequirement::allows_clear_after`] decides whether mail goes in clear. Nothing here or
//! elsewhere decides it again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_queue::{ItemMeta, Millis};
use relevo_smtp::client::{TlsFailure, TlsPolicy, TlsReason, TlsRequirement};

use super::hosts::NextHop;
use super::schedule::millis;

/// How long a failure of TLS is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Addresses that are remembered.
const MEMORY: usize = 10_000;

/// The TLS that the mail of one delivery needs: it has one recipient domain. Every attempt asks,
/// and a kept connection is used only if it meets the answer. By MX the answer is the same for
/// every domain today: whatever the host offers. A sender may demand a verified connection.
pub(crate) fn requirement(next_hop: &NextHop, meta: &ItemMeta) -> TlsRequirement {
    let (mode, reason) = match next_hop {
        NextHop::Mx(_) => (TlsPolicy::Opportunistic, TlsReason::ByMx),
        NextHop::Smarthost(smarthost, _) => (smarthost.tls, TlsReason::Configured),
    };
    match mode {
        TlsPolicy::None | TlsPolicy::Opportunistic | TlsPolicy::Required
            if meta.enforce_tls || meta.options.require_tls =>
        {
            TlsRequirement::new(TlsPolicy::Verified, TlsReason::Demanded)
        }
        _ => TlsRequirement::new(mode, reason),
    }
}

/// Addresses with which TLS failed. A handshake that stalls costs a minute: it is not tried again
/// for a while where mail may go in clear.
#[derive(Debug, Default)]
pub(crate) struct TlsMemory(Mutex<HashMap<IpAddr, (TlsFailure, Millis)>>);

impl TlsMemory {
    /// How TLS with this address failed, while it is remembered.
    pub(crate) fn failure(&self, ip: IpAddr, now: Millis) -> Option<TlsFailure> {
        let memory = self.0.lock();
        memory.get(&ip).filter(|(_, until)| *until > now).map(|(failure, _)| *failure)
    }

    /// TLS with this address failed.
    pub(crate) fn remember(&self, ip: IpAddr, failure: TlsFailure, now: Millis) {
        let mut memory = self.0.lock();
        if memory.len() >= MEMORY {
            memory.retain(|_, (_, until)| *until > now);
        }
        if memory.len() < MEMORY {
            memory.insert(ip, (failure, now.saturating_add(millis(REMEMBERED))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relevo_resolve::MailRoute;

    use super::*;

    #[test]
    fn a_sender_may_demand_a_verified_connection() {
        let route = MailRoute { hosts: Vec::new(), site: "s".into(), ttl: Duration::ZERO, implicit: false };
        let mx = NextHop::Mx(Arc::new(route));
        let asked = |enforce_tls| requirement(&mx, &ItemMeta { enforce_tls, ..ItemMeta::default() });
        assert_eq!((asked(false).mode, asked(false).reason), (TlsPolicy::Opportunistic, TlsReason::ByMx));
        assert_eq!((asked(true).mode, asked(true).reason), (TlsPolicy::Verified, TlsReason::Demanded));
    }
}
