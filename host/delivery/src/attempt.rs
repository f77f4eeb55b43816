//! One attempt of one delivery: addresses in order, transactions, until every recipient has an
//! outcome.

mod connect;
mod live;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::event::{Blame, ConversationLine};
use relevo_mailkit::source::Source;
use relevo_queue::{Lease, Millis};
use relevo_smtp::client::{
    DialogueStep, Failure, RecipientOutcome, Recorder, Target, TlsReason, TransactionResult,
};

use super::dial::Dial;
use super::failure;
use super::fit::OutgoingMessage;
use super::hosts::{Candidates, Egress, NextHop, NextHopPath};
use super::outcome::{RecipientResult, Via, pending};
use super::schedule::millis;
use super::tls::{HostTls, TlsMemory, TlsPlan, TlsPolicies, plan};
use crate::copy::{Copy, CopyError, HopAbilities, MakeCopy};
use crate::guard::RecipientGuard;
use crate::settings::DeliverySettings;

pub(crate) use live::{Live, hang_up};

/// After this no further address is tried: the rest waits for the next attempt.
const CONNECTING: Duration = Duration::from_secs(300);
/// What all attempts use.
pub(crate) struct Tools<'a> {
    pub(crate) dial: &'a dyn Dial,
    pub(crate) copies: &'a dyn MakeCopy,
    pub(crate) guard: &'a dyn RecipientGuard,
    pub(crate) tls: &'a dyn TlsPolicies,
    pub(crate) memory: &'a TlsMemory,
    /// Time that never goes back.
    pub(crate) now: &'a (dyn Fn() -> Millis + Send + Sync),
}

/// What an attempt found.
pub(crate) struct AttemptReport {
    /// One for each pending recipient; empty when `refused`.
    pub(crate) results: Vec<RecipientResult>,
    /// No address answered, and nothing was said to anybody.
    pub(crate) refused: Option<(Failure, Option<Arc<Via>>)>,
    /// Connections were opened.
    pub(crate) connected: bool,
    /// A stage broke: whose fault it was.
    pub(crate) blame: Option<Blame>,
    /// What was said, if that is recorded.
    pub(crate) conversation: Vec<ConversationLine>,
}

/// An attempt under way.
pub(crate) struct Attempt<'a> {
    tools: &'a Tools<'a>,
    /// Recipients in one transaction.
    per_transaction: usize,
    lease: &'a Lease,
    next_hop: &'a NextHop,
    source: &'a Egress,
    /// The TLS that mail to the recipient domain of this delivery needs.
    plan: Arc<dyn TlsPlan>,
    /// The time of day when the attempt began.
    began: Millis,
    targets: Vec<Target>,
    position: usize,
    /// Hosts that cannot take what is left.
    unfit: Vec<String>,
    /// Why the last address was no good.
    trouble: Option<(Failure, Option<Arc<Via>>)>,
    copy: Option<(HopAbilities, Copy)>,
    results: Vec<RecipientResult>,
    left: Vec<Todo>,
    connected: bool,
    /// The stage that broke while the copy was made.
    blame: Option<Blame>,
    recorder: Recorder,
}

/// A recipient without an outcome.
struct Todo {
    index: u32,
    address: String,
    /// The reports that the sender asked for.
    dsn: RecipientDsn,
    /// What the last host said about it that another may not.
    failure: Option<(Failure, Arc<Via>)>,
}

impl Todo {
    /// This host cannot take it. What leaves hope at another weighs more.
    fn is_unfit_for(&mut self, failure: Failure, live: &Live) {
        self.failure.get_or_insert_with(|| (failure, live.via.clone()));
    }
}

/// How a conversation over a connection ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// The connection stands.
    Open,
    /// It stands, and the host takes no more transactions over it.
    UsedUp,
    /// It stands, and what is left cannot go to this host.
    Unfit,
    /// It is of no more use.
    Gone,
}

impl<'a> Attempt<'a> {
    /// For the pending recipients of `lease`, `most` of them, at the time of day `began`. Asks for the
    /// TLS that they need.
    pub(crate) async fn new(
        tools: &'a Tools<'a>,
        settings: &'a DeliverySettings,
        lease: &'a Lease,
        path: &'a NextHopPath,
        source: &'a Egress,
        (most, began): (usize, Millis),
    ) -> Self {
        let next_hop = &path.next_hop;
        let network = tools.dial.is_network();
        let plan = plan(tools.tls, next_hop, lease, network).await;
        let Candidates { targets, refused } = next_hop.candidates(&*plan, settings, source, network);
        Self {
            tools,
            per_transaction: bounded(
                settings.recipients_per_transaction,
                path.limits().recipients_per_transaction,
            ),
            lease,
            next_hop,
            source,
            plan,
            began,
            targets,
            position: 0,
            unfit: Vec::new(),
            trouble: refused.map(|failure| (failure, None)),
            copy: None,
            results: Vec::new(),
            left: pending(lease)
                .take(most)
                .map(|r| Todo {
                    index: r.index,
                    address: r.address.clone(),
                    dsn: r.dsn.clone(),
                    failure: None,
                })
                .collect(),
            connected: false,
            blame: None,
            recorder: if settings.record_conversations { Recorder::on() } else { Recorder::default() },
        }
    }

    /// Over the connection in `live`, or a new one, which stays there if it can be used again.
    pub(crate) async fn run(mut self, live: &mut Option<Live>) -> AttemptReport {
        let deadline = (self.tools.now)().saturating_add(millis(CONNECTING));
        self.leave_out_suppressed().await;
        let domain = &*self.lease.delivery.key.domain;
        while !self.left.is_empty() {
            let kept = match live.take() {
                Some(mut kept) => match kept.may_carry(&*self.plan, domain).await {
                    true => Some(kept),
                    false => {
                        hang_up(kept).await;
                        None
                    }
                },
                None => None,
            };
            let mut connection = match kept {
                Some(mut connection) => {
                    connection.hop.record(self.recorder.clone());
                    self.recorder.note(|| connection.reused().into());
                    connection
                }
                None => match self.connect(deadline).await {
                    Some(connection) => connection,
                    None => return self.give_up(),
                },
            };
            let was_used = connection.used() > 0;
            let before = self.left.len();
            let ended = self.converse(&mut connection).await;
            // What is said later belongs to the next attempt.
            connection.hop.record(Recorder::default());
            match ended {
                // Whoever comes next begins with the best host again.
                Ended::Open if !self.unfit.is_empty() => hang_up(connection).await,
                Ended::Open => *live = Some(connection),
                Ended::UsedUp => {
                    self.position = 0;
                    hang_up(connection).await;
                }
                Ended::Unfit => {
                    self.unfit.push(connection.via.host.clone());
                    // A kept connection may be one to any of the hosts.
                    self.position = if was_used { 0 } else { self.position };
                    if self.next_target().is_none() {
                        *live = Some(connection);
                        return self.give_up();
                    }
                    hang_up(connection).await;
                }
                // An old connection that the remote closed says nothing about the host, and one
                // that took recipients may take more: from the first address again. Progress bounds
                // it.
                Ended::Gone if was_used || self.left.len() < before => self.position = 0,
                Ended::Gone => {}
            }
        }
        self.found(None)
    }

    /// Ends what is left for recipients that must get nothing any more.
    async fn leave_out_suppressed(&mut self) {
        let mut left = Vec::with_capacity(self.left.len());
        for todo in std::mem::take(&mut self.left) {
            let failure = match self.tools.guard.suppression(&self.lease.meta, &todo.address).await {
                Ok(None) => {
                    left.push(todo);
                    continue;
                }
                Ok(Some(reason)) => failure::ours(failure::SUPPRESSED, reason),
                Err(reason) => failure::ours(failure::INTERNAL, reason),
            };
            self.results.push(RecipientResult::new(todo.index, Err(failure), None));
        }
        self.left = left;
    }

    fn found(self, refused: Option<(Failure, Option<Arc<Via>>)>) -> AttemptReport {
        let conversation = self.recorder.take();
        let Self { results, connected, blame, .. } = self;
        AttemptReport { results, refused, connected, blame, conversation }
    }

    /// Every address was tried: what is left fails with what was heard last.
    fn give_up(mut self) -> AttemptReport {
        let in_time = self.next_target().is_none();
        // That a host takes no mail says nothing about those that were not asked.
        let trouble = self.trouble.take().filter(|(failure, _)| in_time || !failure.is_of_dead_host());
        // A host that was not spoken to may be the one that takes what others cannot.
        let hope = !in_time || trouble.as_ref().is_some_and(|(failure, _)| !failure.permanent);
        let trouble = trouble.unwrap_or_else(|| {
            (failure::ours(failure::NO_ANSWER, "no address could be tried in time"), None)
        });
        let untouched = self.results.is_empty() && self.left.iter().all(|t| t.failure.is_none());
        // Facts about the recipients (a loop, no address at all) are not the site's health. Neither
        // is TLS that their domain or sender needs: other mail may go to the same hosts.
        let meta = &self.lease.meta;
        let is_demanded = meta.enforce_tls || meta.options.require_tls;
        let is_needed_by_domain = match &self.next_hop {
            NextHop::Mx(_) => true,
            NextHop::Smarthost(smarthost, _) => is_needed_by_operator(&*self.plan, &smarthost.host),
        };
        let is_tls_of_mail = trouble.0.tls.is_some() && (is_demanded || is_needed_by_domain);
        let is_of_site = !trouble.0.permanent && !is_tls_of_mail;
        if untouched && !self.connected && is_of_site {
            return self.found(Some(trouble));
        }
        for todo in std::mem::take(&mut self.left) {
            let (failure, via) = match todo.failure {
                Some((failure, via)) if !(failure.permanent && hope) => (failure, Some(via)),
                _ => trouble.clone(),
            };
            self.results.push(RecipientResult::new(todo.index, Err(failure), via));
        }
        self.found(None)
    }

    /// Transactions over one connection until nothing is left for it.
    async fn converse(&mut self, live: &mut Live) -> Ended {
        let offer = live.hop.offer();
        let (source, eight_bit, utf8_header) = match self.copy(offer.abilities).await {
            Ok(copy) => copy,
            Err(error) => return self.no_copy(error, live),
        };
        let message = OutgoingMessage {
            sender: &self.lease.meta.sender,
            size: source.size(),
            eight_bit,
            utf8_header,
            options: &self.lease.meta.options,
            priority: self.lease.delivery.priority,
            waited: self.began.saturating_sub(self.lease.meta.accepted_at),
        };
        let per_transaction = bounded(self.per_transaction, offer.limits.rcpt_max);
        let return_path = |index| self.tools.copies.return_path(self.lease, index);
        let misfit = |todo: &Todo| {
            let sender = return_path(todo.index);
            let message = message.from(sender.as_deref());
            message.misfit(&todo.address, &offer, &live.via.host)
        };
        let mut rest = Vec::new();
        for mut todo in std::mem::take(&mut self.left) {
            match misfit(&todo) {
                Some(failure) => {
                    todo.is_unfit_for(failure, live);
                    self.left.push(todo);
                }
                None => rest.push(todo),
            }
        }
        while let Some(first) = rest.first() {
            if live.is_used_up() {
                self.left.append(&mut rest);
                return Ended::UsedUp;
            }
            // A return path says whose it is, so its transaction has one recipient.
            let return_path = self.tools.copies.return_path(self.lease, first.index);
            let count = if return_path.is_some() { 1 } else { per_transaction };
            let tail = rest.split_off(rest.len().min(count));
            let group = std::mem::replace(&mut rest, tail);
            let recipients = group.iter().map(|todo| (todo.address.as_str(), &todo.dsn));
            let envelope = message.from(return_path.as_deref()).envelope(recipients, &offer);
            let result = live.hop.transact(&envelope, source.clone()).await;
            live.note_transaction(&self.lease.delivery.key.domain);
            let (again, ended) = self.sort(group, result, live);
            rest.splice(0..0, again);
            if ended == Ended::Gone {
                self.left.append(&mut rest);
                return Ended::Gone;
            }
        }
        if self.left.is_empty() { Ended::Open } else { Ended::Unfit }
    }

    /// What cannot be converted for this hop may be taken by one that can do more; a fault is
    /// nobody's.
    fn no_copy(&mut self, error: CopyError, live: &Live) -> Ended {
        if let CopyError::NotConvertible { status, text } = error {
            for todo in &mut self.left {
                todo.is_unfit_for(failure::ours(status, text.clone()), live);
            }
            return Ended::Unfit;
        }
        tracing::warn!(target: "relevo::delivery", %error, "no copy could be made");
        if let CopyError::Fault(fault) = &error {
            self.blame = Some(crate::copy::blame(fault));
        }
        let failure = failure::ours(failure::INTERNAL, failure::NO_COPY);
        for todo in self.left.drain(..) {
            let via = Some(live.via.clone());
            self.results.push(RecipientResult::new(todo.index, Err(failure.clone()), via));
        }
        Ended::Open
    }

    /// The copy for a hop with these abilities.
    async fn copy(&mut self, abilities: HopAbilities) -> Result<(Arc<dyn Source>, bool, bool), CopyError> {
        let copy = match self.copy.take() {
            Some((made_for, copy)) if made_for == abilities => copy,
            _ => self.tools.copies.make(self.lease, abilities).await?,
        };
        let (_, copy) = self.copy.insert((abilities, copy));
        Ok((copy.source.clone(), copy.eight_bit, copy.utf8_header))
    }

    /// Files the outcomes of a transaction: final ones as results, those that another host may
    /// better in `left`. Returns what is to be sent at once in another transaction.
    fn sort(&mut self, group: Vec<Todo>, result: TransactionResult, live: &Live) -> (Vec<Todo>, Ended) {
        let mut outcomes: HashMap<usize, RecipientOutcome> = result.outcomes.into_iter().collect();
        let progress = outcomes.values().any(|o| !matches!(o, RecipientOutcome::NextTransaction));
        let mut again = Vec::new();
        let mut elsewhere = false;
        for (position, mut todo) in group.into_iter().enumerate() {
            let outcome = outcomes.remove(&position);
            let result = match outcome {
                Some(RecipientOutcome::Delivered(reply)) => Ok(reply),
                Some(RecipientOutcome::NextTransaction) if progress => {
                    again.push(todo);
                    continue;
                }
                Some(RecipientOutcome::NextTransaction) => {
                    Err(failure::ours((4, 5, 3), "the host takes no recipient for now (too many recipients)"))
                }
                Some(RecipientOutcome::Failed(failure)) if goes_elsewhere(&failure) => {
                    elsewhere = true;
                    todo.failure = Some((failure, live.via.clone()));
                    self.left.push(todo);
                    continue;
                }
                Some(RecipientOutcome::Failed(failure)) => Err(failure),
                None => {
                    Err(failure::ours(failure::INTERNAL, "the transaction had no outcome for this recipient"))
                }
            };
            self.results.push(RecipientResult::new(todo.index, result, Some(live.via.clone())));
        }
        let ended = if result.reusable && !elsewhere { Ended::Open } else { Ended::Gone };
        (again, ended)
    }
}

/// Returns true if mail of the domain needs more of a smarthost than other mail that goes there.
fn is_needed_by_operator(plan: &dyn TlsPlan, host: &str) -> bool {
    matches!(plan.of(host), HostTls::Connect(needed) if needed.reason == TlsReason::Operator)
}

/// What is configured, or what the provider allows if that is less; one at least.
pub(crate) fn bounded(configured: usize, allowed: Option<u32>) -> usize {
    let allowed = allowed.and_then(|allowed| usize::try_from(allowed).ok()).unwrap_or(usize::MAX);
    configured.min(allowed).max(1)
}

/// Another host may do better at once. Not after the final dot was sent without an answer: the
/// message may have been taken, and so it waits for the next attempt.
fn goes_elsewhere(failure: &Failure) -> bool {
    let in_doubt = failure.command == DialogueStep::EndOfData && failure.reply.is_none();
    failure.try_next_host && !in_doubt && !failure.permanent
}
