//! What the answers of checks do to a message: refuse it, hold it, and be recorded.

use relevo_mailkit::labels::Labels;
use relevo_mailkit::policy::Verdict;
use relevo_queue::NewEvent;

use super::checks::UncheckedMessage;
use super::preparing::Run;
use super::submission::{PolicyRefusal, Rejection};
use crate::events;
use crate::policy::PolicyResult;
use crate::settings::Tenant;

impl Run<'_> {
    /// An error when all recipients are refused, or when more would be held than may be.
    pub(super) fn enforce(
        &self,
        tenant: &Tenant,
        result: &PolicyResult,
        count: usize,
    ) -> Result<(), Rejection> {
        if let Some(rejection) = refused_for_all(tenant, result, count) {
            return Err(rejection);
        }
        self.room_to_hold(tenant, result, count)
    }

    /// Several messages at the same time may together go a little beyond the quota.
    fn room_to_hold(&self, tenant: &Tenant, result: &PolicyResult, count: usize) -> Result<(), Rejection> {
        let holds = (0..count).any(|index| matches!(result.verdict(index), Verdict::Hold(_)));
        if !holds || self.pipeline.queue.held(&tenant.id) < tenant.max_held {
            return Ok(());
        }
        let text = "too much of your mail is being held, try again later";
        Err(Rejection::new(452, (4, 3, 1), "held-quota", text))
    }
}

/// What each plugin answered, for people.
pub(super) fn said(result: &PolicyResult) -> Vec<String> {
    result.answers.iter().map(|a| format!("{}: {} {}", a.plugin, a.verdict, a.reason)).collect()
}

/// When every recipient is refused. Of different replies a temporary one goes first: a recipient
/// that may still be served is not lost because another one never will.
fn refused_for_all(tenant: &Tenant, result: &PolicyResult, count: usize) -> Option<Rejection> {
    let mut chosen = None;
    for index in 0..count {
        let Verdict::Reject(reply) = result.verdict(index) else { return None };
        let sooner = chosen.is_none_or(|of: usize| match result.verdict(of) {
            Verdict::Reject(other) => other.code >= 500 && reply.code < 500,
            _ => true,
        });
        if sooner {
            chosen = Some(index);
        }
    }
    let chosen = chosen?;
    let Verdict::Reject(reply) = result.verdict(chosen) else { return None };
    let refusal = PolicyRefusal {
        tenant: tenant.id.clone(),
        answers: result.answers.clone(),
        by: result.decided_by(chosen).cloned(),
        faulted: result.faulted,
    };
    let rule = if result.faulted { "policy-fault" } else { "policy" };
    Some(Rejection {
        reply: reply.clone(),
        rule: rule.to_owned(),
        fault: None,
        quota: None,
        policy: Some(Box::new(refusal)),
    })
}

/// Events about those recipients that are not simply queued, one for each kind and plugin.
pub(super) fn events(
    run: &Run<'_>,
    tenant: &str,
    incoming: &UncheckedMessage,
    labels: &Labels,
    result: &PolicyResult,
) -> Vec<NewEvent> {
    let envelope = &incoming.envelope;
    let mut groups: Vec<(&Verdict, Option<usize>, Vec<&str>)> = Vec::new();
    for (index, to) in envelope.recipients.iter().enumerate() {
        let verdict = result.verdict(index);
        if *verdict == Verdict::Accept {
            continue;
        }
        let by = result.decisions.get(index).and_then(|d| d.decided_by);
        match groups.iter_mut().find(|(v, b, _)| *v == verdict && *b == by) {
            Some((_, _, addresses)) => addresses.push(&to.address),
            None => groups.push((verdict, by, vec![&to.address])),
        }
    }
    groups
        .into_iter()
        .filter_map(|(verdict, by, to)| {
            let by = by.and_then(|by| result.answers.get(by));
            let decided = events::decided(run.id, tenant, run.now, &envelope.sender, &to, verdict, by)?;
            Some(NewEvent { labels: labels.clone(), ..decided })
        })
        .collect()
}

#[cfg(test)]
mod tests;
