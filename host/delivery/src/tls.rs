//! What TLS mail needs, and where TLS failed a short time ago.
//!
//! [`TlsRequirement::allows_clear_after`] decides whether mail goes in clear. Nothing here or
//! elsewhere decides it again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_queue::{Lease, Millis};
use relevo_smtp::client::{Failure, TlsFailure, TlsPolicy, TlsReason, TlsRequirement, TlsState};

use super::hosts::NextHop;
use super::schedule::millis;

/// How long a failure of TLS is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Addresses that are remembered.
const MEMORY: usize = 10_000;

/// What is asked of [`TlsPolicies`].
#[derive(Debug, Clone)]
pub struct TlsQuestion<'a> {
    /// The recipient domain, in A-labels and lower case. The policy is that of the domain, also
    /// where many domains share hosts and connections.
    pub domain: &'a str,
    /// Its MX hosts in the order in which they are tried.
    pub hosts: Vec<&'a str>,
    /// The sender demands a verified certificate.
    pub is_demanded: bool,
    /// Policies of the domain must not stop the mail, and its connections are not counted: it is a
    /// report about TLS (RFC 8460 section 5.3), or its sender wants it so (RFC 8689 section 5). What
    /// the operator wants counts all the same.
    pub is_exempt: bool,
}

/// What one host must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTls {
    /// It may be connected to, with this TLS.
    Connect(TlsRequirement),
    /// It may not be connected to now. The failure names the policy.
    Refuse(Failure),
}

/// A connection, as far as TLS is concerned.
#[derive(Debug, Clone, Copy)]
pub struct TlsSession<'a> {
    /// The MX host.
    pub host: &'a str,
    /// Its address; none: it was not connected to.
    pub ip: Option<IpAddr>,
    /// Our address, where one was chosen.
    pub source: Option<IpAddr>,
    /// What came about, or why it did not.
    pub result: Result<&'a TlsState, &'a Failure>,
}

/// What the mail of one recipient domain needs.
pub trait TlsPlan: Send + Sync {
    /// Of this host, which is one of the question.
    fn of(&self, host: &str) -> HostTls;

    /// A connection was made, or TLS failed. Called for each; must not block.
    fn note(&self, session: &TlsSession<'_>) {
        let _ = session;
    }
}

/// Knows the policies of recipient domains. Asked at every attempt, so answers are remembered.
#[async_trait]
pub trait TlsPolicies: Send + Sync {
    /// What the mail of a recipient domain needs. Never asked for smarthosts: what a domain publishes
    /// is about its MX hosts.
    async fn plan(&self, question: TlsQuestion<'_>) -> Arc<dyn TlsPlan>;

    /// The least that the operator wants for mail to a domain, whatever host it is handed to. Asked
    /// for smarthosts.
    fn least(&self, domain: &str) -> TlsPolicy {
        let _ = domain;
        TlsPolicy::None
    }
}

/// Knows no policies: TLS if the host offers it, or what the sender demands.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTlsPolicies;

#[async_trait]
impl TlsPolicies for NoTlsPolicies {
    async fn plan(&self, question: TlsQuestion<'_>) -> Arc<dyn TlsPlan> {
        let (mode, reason) = match question.is_demanded {
            true => (TlsPolicy::Verified, TlsReason::Demanded),
            false => (TlsPolicy::Opportunistic, TlsReason::ByMx),
        };
        Arc::new(SamePlan(TlsRequirement::new(mode, reason)))
    }
}

/// The same for every host.
struct SamePlan(TlsRequirement);

impl TlsPlan for SamePlan {
    fn of(&self, _: &str) -> HostTls {
        HostTls::Connect(self.0.clone())
    }
}

/// The source of mail that is a report about TLS.
pub const REPORT_SOURCE: &str = "tls-report";

/// The TLS that the mail of one delivery needs: it has one recipient domain. Every attempt asks,
/// and a kept connection is used only if it meets the answer for its host.
pub(crate) async fn plan(
    policies: &dyn TlsPolicies,
    next_hop: &NextHop,
    lease: &Lease,
    network: bool,
) -> Arc<dyn TlsPlan> {
    let meta = &lease.meta;
    match next_hop {
        NextHop::Mx(route) => {
            let question = TlsQuestion {
                domain: &lease.delivery.key.domain,
                hosts: route.hosts.iter().map(|host| host.name.as_str()).collect(),
                is_demanded: meta.enforce_tls || meta.options.require_tls,
                is_exempt: meta.source == REPORT_SOURCE || meta.tls_optional,
            };
            if network { policies.plan(question).await } else { NoTlsPolicies.plan(question).await }
        }
        NextHop::Smarthost(smarthost, _) => {
            let is_demanded = meta.enforce_tls || meta.options.require_tls;
            let least = match network {
                true => policies.least(&lease.delivery.key.domain),
                false => TlsPolicy::None,
            };
            Arc::new(SamePlan(of_smarthost(smarthost.tls, is_demanded, least)))
        }
    }
}

/// A smarthost's own `tls`, or more where the sender or the operator needs more.
pub(crate) fn of_smarthost(own: TlsPolicy, is_demanded: bool, least: TlsPolicy) -> TlsRequirement {
    let demanded = if is_demanded { TlsPolicy::Verified } else { TlsPolicy::None };
    let (mode, reason) = [(least, TlsReason::Operator), (demanded, TlsReason::Demanded)]
        .into_iter()
        .fold((own, TlsReason::Configured), |most, other| if other.0 > most.0 { other } else { most });
    TlsRequirement::new(mode, reason)
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
