//! Addresses in order, until one of them answers with the TLS that the mail needs.

use std::sync::Arc;

use relevo_queue::Millis;
use relevo_smtp::client::{Failure, Target, TlsPolicy, TlsReason, TlsRequirement, TlsState};

use super::{Attempt, Live};
use crate::dial::HopOffer;
use crate::failure;
use crate::outcome::Via;
use crate::tls::TlsSession;

impl Attempt<'_> {
    /// Where the next address to be tried stands.
    pub(super) fn next_target(&self) -> Option<usize> {
        let fits = |t: &Target| !self.unfit.contains(&t.host);
        self.targets.iter().skip(self.position).position(fits).map(|skipped| self.position + skipped)
    }

    /// The next address that answers.
    pub(super) async fn connect(&mut self, deadline: Millis) -> Option<Live> {
        while let Some(position) = self.next_target() {
            let target = self.targets[position].clone();
            let now = (self.tools.now)();
            if now >= deadline {
                break;
            }
            self.position = position + 1;
            match self.open(target.clone(), now).await {
                Ok(live) => {
                    self.connected = true;
                    return Some(live);
                }
                Err(failure) => {
                    let tls = TlsState::default();
                    let ip = target.addr.ip();
                    let needed_by = target.tls.reason;
                    let via =
                        Via { host: target.host, ip, tls, needed_by, takes_dsn: false, deliver_by: None };
                    let stop = failure.permanent && !failure.try_next_host;
                    // A source of ours that cannot be used outweighs a host that does not answer:
                    // with another one, it may. And so does any host that may answer later outweigh
                    // one that never takes mail.
                    let outweighs = |(before, _): &(Failure, _)| {
                        let lasts = failure.is_of_dead_host();
                        failure::is_misconfigured(before) || (lasts && !before.permanent)
                    };
                    if !self.trouble.as_ref().is_some_and(outweighs) || stop {
                        self.trouble = Some((failure, Some(Arc::new(via))));
                    }
                    if stop {
                        break;
                    }
                }
            }
        }
        None
    }

    /// Opens one address. Mail that may do without TLS goes in clear when it does not come about,
    /// at once and as long as that failure is remembered.
    async fn open(&self, mut target: Target, now: Millis) -> Result<Live, Failure> {
        let (ip, auth) = (target.addr.ip(), self.next_hop.auth());
        let (wanted, ehlo) = (target.tls.clone(), &self.source.ehlo);
        let may_go_in_clear = |failure| wanted.allows_clear_after(failure, auth.is_some());
        let clear = || TlsRequirement::new(TlsPolicy::None, TlsReason::FailedBefore);
        if self.tools.memory.failure(ip, now).is_some_and(may_go_in_clear) {
            target.tls = clear();
        }
        let mut opened = self.tools.dial.open_recorded(&target, auth, ehlo, &self.recorder).await;
        if let Err(failure) = &opened
            && let Some(failed) = failure.tls
        {
            self.note(&target, Err(failure));
            if may_go_in_clear(failed) {
                // What fails only because more was needed says nothing about the TLS of other mail.
                self.tools.memory.remember(ip, failed, now);
                if target.tls.mode != TlsPolicy::None {
                    let detail = &failure.detail;
                    tracing::info!(target: "relevo::delivery", host = %target.host, %ip, %detail, "going on without TLS");
                    target.tls = clear();
                    self.recorder.note(|| "going on without TLS".into());
                    opened = self.tools.dial.open_recorded(&target, auth, ehlo, &self.recorder).await;
                }
            }
        } else if let Ok(hop) = &opened
            && target.tls.mode != TlsPolicy::None
        {
            self.note(&target, Ok(&hop.tls()));
        }
        let hop = opened.map_err(|failure| explained(failure, &wanted))?;
        let HopOffer { dsn: takes_dsn, deliver_by, .. } = hop.offer();
        let needed_by = wanted.reason;
        let via = Via { host: target.host, ip, tls: hop.tls(), needed_by, takes_dsn, deliver_by };
        Ok(Live::new(hop, via, wanted))
    }

    fn note(&self, target: &Target, result: Result<&TlsState, &Failure>) {
        let (host, ip) = (target.host.as_str(), Some(target.addr.ip()));
        self.plan.note(&TlsSession { host, ip, source: target.source, result });
    }
}

/// TLS that is needed and does not come about: the words say what needs it.
fn explained(failure: Failure, wanted: &TlsRequirement) -> Failure {
    if failure.tls.is_none() || matches!(wanted.reason, TlsReason::ByMx | TlsReason::FailedBefore) {
        return failure;
    }
    let detail = format!("{}; TLS is needed by {}", failure.detail, wanted.reason.in_words());
    Failure { detail, ..failure }
}
