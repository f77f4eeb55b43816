//! The place of tenants' plugins in the pipeline: after authorisation, before anything is queued or answered.

use std::sync::Arc;

use relevo_mailkit::policy::Verdict;
use relevo_mailkit::recheck;
use relevo_queue::NewEvent;

use super::submission::{Envelope, PolicyRefusal, Rejection};
use super::{PolicyHook, Run, store_failed};
use crate::events;
use crate::policy::Judgement;
use crate::settings::{Settings, Tenant};

impl<'p> Run<'p> {
    /// The hook and the tenant, when a plugin of the tenant's is to be asked about its mail.
    pub(super) fn plugins_of<'s>(
        &self,
        settings: &'s Settings,
        tenant: &str,
    ) -> Option<(&'p PolicyHook, &'s Arc<Tenant>)> {
        let hook = self.pipeline.policies.as_ref()?;
        let tenant = settings.tenants.by_id.get(tenant)?;
        hook.policies.concern(tenant).then_some((hook, tenant))
    }

    /// An error when all recipients are refused, or when more would be held than may be.
    pub(super) fn rule(&self, tenant: &Tenant, judgement: &Judgement, count: usize) -> Result<(), Rejection> {
        recheck::header_fields(&judgement.top).map_err(store_failed)?;
        if let Some(rejection) = refused_for_all(tenant, judgement, count) {
            return Err(rejection);
        }
        self.room_to_hold(tenant, judgement, count)
    }

    /// Several messages at the same time may together go a little beyond the quota.
    fn room_to_hold(&self, tenant: &Tenant, judgement: &Judgement, count: usize) -> Result<(), Rejection> {
        let holds = (0..count).any(|index| matches!(judgement.verdict(index), Verdict::Hold(_)));
        if !holds || self.pipeline.queue.held(&tenant.id) < tenant.max_held {
            return Ok(());
        }
        let text = "too much of your mail is being held, try again later";
        Err(Rejection::new(452, (4, 3, 1), "held-quota", text))
    }
}

/// For people: what each plugin said.
pub(super) fn said(judgement: &Judgement) -> Vec<String> {
    judgement.opinions.iter().map(|o| format!("{}: {} {}", o.plugin, o.verdict, o.reason)).collect()
}

/// When every recipient is refused. Of different replies a temporary one goes first: a recipient that may still be served is
/// not lost because another one never will.
fn refused_for_all(tenant: &Tenant, judgement: &Judgement, count: usize) -> Option<Rejection> {
    let mut chosen = None;
    for index in 0..count {
        let Verdict::Reject(reply) = judgement.verdict(index) else { return None };
        let sooner = chosen.is_none_or(|of: usize| match judgement.verdict(of) {
            Verdict::Reject(other) => other.code >= 500 && reply.code < 500,
            _ => true,
        });
        if sooner {
            chosen = Some(index);
        }
    }
    let chosen = chosen?;
    let Verdict::Reject(reply) = judgement.verdict(chosen) else { return None };
    let refusal = PolicyRefusal {
        tenant: tenant.id.clone(),
        opinions: judgement.opinions.clone(),
        by: judgement.opinion(chosen).cloned(),
        faulted: judgement.faulted,
    };
    let rule = if judgement.faulted { "policy-fault" } else { "policy" };
    Some(Rejection {
        reply: reply.clone(),
        rule: rule.to_owned(),
        fault: None,
        policy: Some(Box::new(refusal)),
    })
}

/// Events about those recipients that are not simply queued, one for each kind and plugin.
pub(super) fn events(
    run: &Run<'_>,
    tenant: &str,
    envelope: &Envelope,
    judgement: &Judgement,
) -> Vec<NewEvent> {
    let mut groups: Vec<(&Verdict, Option<usize>, Vec<&str>)> = Vec::new();
    for (index, to) in envelope.recipients.iter().enumerate() {
        let verdict = judgement.verdict(index);
        if *verdict == Verdict::Accept {
            continue;
        }
        let by = judgement.rulings.get(index).and_then(|r| r.by);
        match groups.iter_mut().find(|(v, b, _)| *v == verdict && *b == by) {
            Some((_, _, addresses)) => addresses.push(&to.address),
            None => groups.push((verdict, by, vec![&to.address])),
        }
    }
    groups
        .into_iter()
        .filter_map(|(verdict, by, to)| {
            let by = by.and_then(|by| judgement.opinions.get(by));
            events::ruled(run.id, tenant, run.now, &envelope.sender, &to, verdict, by)
        })
        .collect()
}

#[cfg(test)]
mod tests;
