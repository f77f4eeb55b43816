//! An open connection, and how much more it may carry.

use std::sync::Arc;
use std::time::Duration;

use relevo_smtp::client::{ServerLimits, TlsRequirement};
use tokio::time::timeout;

use crate::dial::Hop;
use crate::outcome::Via;
use crate::tls::{HostTls, TlsPlan};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// An open connection.
pub(crate) struct Live {
    pub(crate) hop: Box<dyn Hop>,
    pub(crate) via: Arc<Via>,
    /// The TLS that was needed when it was opened.
    wanted: TlsRequirement,
    /// Transactions over it.
    used: u32,
    /// Recipient domains of these.
    domains: Vec<String>,
}

impl Live {
    /// Over which nothing was sent yet.
    pub(super) fn new(hop: Box<dyn Hop>, via: Via, wanted: TlsRequirement) -> Self {
        Self { hop, via: Arc::new(via), wanted, used: 0, domains: Vec::new() }
    }

    /// Returns true if it stands, and may carry mail to `domain` that needs this TLS of its host.
    pub(super) async fn may_carry(&mut self, plan: &dyn TlsPlan, domain: &str) -> bool {
        let is_met = match plan.of(&self.via.host) {
            HostTls::Connect(needed) => needed.is_met_by(&self.wanted, &self.via.tls),
            HostTls::Refuse(_) => false,
        };
        is_met && !self.is_used_up() && self.has_room_for(domain) && self.hop.is_alive().await
    }

    /// Notes a transaction with recipients in `domain`.
    pub(super) fn note_transaction(&mut self, domain: &str) {
        self.used = self.used.saturating_add(1);
        if !self.domains.iter().any(|known| known == domain) {
            self.domains.push(domain.to_owned());
        }
    }

    /// Transactions over it so far.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Returns true if the host takes no more transactions over it (RFC 9422 section 4.1).
    pub(super) fn is_used_up(&self) -> bool {
        self.limits().mail_max.is_some_and(|most| self.used >= most)
    }

    /// Returns true if the host takes recipients of this domain, too, over it (RFC 9422 section 4.3).
    fn has_room_for(&self, domain: &str) -> bool {
        let most = self.limits().rcpt_domain_max.and_then(|most| usize::try_from(most).ok());
        most.is_none_or(|most| self.domains.len() < most) || self.domains.iter().any(|known| known == domain)
    }

    /// What the host allows.
    pub(super) fn limits(&self) -> ServerLimits {
        self.hop.offer().limits
    }

    /// How the record of an attempt over a kept connection begins.
    pub(super) fn reused(&self) -> String {
        let Via { host, ip, .. } = &*self.via;
        let tls = self.via.tls.cipher.as_deref().unwrap_or("none");
        format!(
            "a connection to {host} ({ip}) that stood is used again, after {} transactions; TLS: {tls}",
            self.used
        )
    }
}

/// Says goodbye, which changes nothing any more.
pub(crate) async fn hang_up(live: Live) {
    let _ = timeout(GOODBYE, live.hop.quit()).await;
}
