//! Asking a tenant's plugins about a message, one after the other, in declared order.

mod message;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::policy::{Attribute, Message};
use relevo_mailkit::recheck::policy::size;
use relevo_queue::ItemId;
use relevo_relay::clock::Clock;
use relevo_relay::policy::{Check, OutcomeEvent, OutcomeListener, PolicyRequest, PolicyResult};
use relevo_relay::settings::{EgressGrants, Tenant};
use relevo_runtime::Blame;
use relevo_runtime::policy::{Body, CallOutcome, Case, Judgement, KeyValues, Permit, PluginFault};
use rustix::time::{ClockId, clock_gettime};

use crate::active::ActivePlugin;
use crate::plugins::Plugins;
use crate::record::{RecordedAnswer, RecordedReads};

/// Nanoseconds that an octet of an answer is taken to cost where it is stored with the message and
/// told in its events.
const OCTET: u64 = 50;

#[async_trait]
impl Check for Plugins {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn applies_to(&self, tenant: &Tenant) -> bool {
        !tenant.plugins.is_empty() && self.active.has_some(&tenant.id)
    }

    fn reads_fields(&self) -> bool {
        true
    }

    async fn check(&self, request: &PolicyRequest) -> PolicyResult {
        let tenant = &request.tenant;
        let plugins = tenant.plugins.iter().filter_map(|p| self.active.get(&tenant.id, &p.config.name));
        let plugins: Vec<_> = plugins.collect();
        Evaluation::of(request).ask(self.clock.as_ref(), &plugins).await
    }
}

impl OutcomeListener for Plugins {
    fn listening(&self, tenant: &str) -> bool {
        self.active.all().get(tenant).is_some_and(|plugins| plugins.values().any(|plugin| plugin.listens()))
    }

    fn observe(&self, outcomes: Vec<OutcomeEvent>) {
        self.outcomes.send(outcomes);
    }
}

/// A message about which one plugin after the other is asked, and what they said so far.
struct Evaluation {
    id: ItemId,
    message: Arc<Message>,
    body: Body,
    grants: Arc<EgressGrants>,
    result: PolicyResult,
}

/// A plugin that is being asked: its permit, and the record of what it reads.
struct Asked {
    permit: Permit,
    reads: Option<Arc<RecordedReads>>,
}

impl Evaluation {
    fn of(request: &PolicyRequest) -> Self {
        let (message, body) = message::of(request);
        Self {
            id: request.id,
            message: Arc::new(message),
            body,
            grants: Arc::clone(&request.grants),
            result: PolicyResult::accept_all(request.envelope.recipients.len()),
        }
    }

    fn case(&self, data: Arc<dyn KeyValues>) -> Case {
        Case { message: Arc::clone(&self.message), body: self.body.clone(), data: Some(data) }
    }

    /// Asks those that are left.
    async fn ask(mut self, clock: &dyn Clock, plugins: &[Arc<ActivePlugin>]) -> PolicyResult {
        for plugin in plugins {
            if self.result.all_rejected() {
                break;
            }
            self.ask_one(clock, plugin).await;
            self.tell_attributes();
        }
        self.result
    }

    /// Tells the next plugin the attributes of the last one that are granted.
    fn tell_attributes(&mut self) {
        let told = self.message.attributes.len();
        verdicts::drop_ungranted(&mut self.result, told, &self.grants);
        if self.result.attributes.len() > told {
            let new = self.result.attributes[told..].iter();
            let new = new.map(|(name, value)| Attribute::new(name.as_str(), value.as_str()));
            Arc::make_mut(&mut self.message).attributes.extend(new);
        }
    }

    async fn ask_one(&mut self, clock: &dyn Clock, plugin: &ActivePlugin) {
        let policy = match &plugin.policy {
            Ok(policy) => policy,
            Err(why) => {
                tracing::warn!(id = %self.id, plugin = plugin.settings.config.name, why, "a plugin cannot be used");
                return fault(&mut self.result, plugin, "it cannot be loaded");
            }
        };
        let permit = match plugin.enter(clock.monotonic()) {
            Ok(permit) => permit,
            Err(not_called) => return fault(&mut self.result, plugin, not_called.name()),
        };
        let (reads, data) = plugin.data();
        let outcome = policy.judge(self.case(data)).await;
        // What is done here for the answer is the plugin's, too.
        let (began, used) = (thread_cpu(), outcome.cost.cpu);
        let octets = octets(&outcome);
        self.answered(clock, plugin, Asked { permit, reads }, outcome);
        let used = used + thread_cpu().saturating_sub(began);
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX).saturating_add(octets * OCTET);
        plugin.cpu.spend(nanos, clock.monotonic());
    }

    fn answered(
        &mut self,
        clock: &dyn Clock,
        plugin: &ActivePlugin,
        asked: Asked,
        outcome: CallOutcome<Judgement>,
    ) {
        let CallOutcome { result, log, log_dropped, .. } = outcome;
        let (id, message, now) = (self.id, &self.message, clock.monotonic());
        plugin.keep_log(id, &log, log_dropped, now);
        let broke = match &result {
            Ok(answer) => answer.fault.as_ref(),
            Err(broke) => Some(broke),
        };
        plugin.note_configure(&result);
        let guilty = broke.map_or(Some(false), |f| (f.blame == Blame::Guest).then_some(true));
        plugin.leave(asked.permit, guilty, now);
        if let Some(broke) = broke {
            plugin.broke(clock.now(), broke);
            tracing::warn!(%id, tenant = plugin.settings.config.tenant, plugin = plugin.settings.config.name,
                digest = plugin.digest, fault = %broke, "a plugin broke");
        }
        if let (Some(recording), Some(answer)) = (&plugin.recording, RecordedAnswer::of(&result)) {
            recording.record(Arc::clone(message), self.body.clone(), asked.reads, answer);
        }
        let name = &plugin.settings.config.name;
        match result {
            Ok(answer) => {
                if let Some(shadow) = &plugin.shadow {
                    let case = self.case(plugin.data.clone());
                    shadow.compare(id, case, answer.decision.clone(), &plugin.cpu, now);
                }
                let note = answer.fault.as_ref().map(|f| format!("its reply was replaced: {}", f.detail));
                verdicts::add(&mut self.result, name, &plugin.digest, answer.decision, note);
            }
            Err(broke) => fault(&mut self.result, plugin, &in_words(&broke)),
        }
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Of what an answer adds to a message and its events, log lines included.
fn octets(outcome: &CallOutcome<Judgement>) -> u64 {
    let answer = outcome.result.as_ref().map_or(0, |answer| size(&answer.decision));
    let log: usize = outcome.log.iter().map(|line| line.text.len()).sum();
    (answer + log) as u64
}

fn fault(result: &mut PolicyResult, plugin: &ActivePlugin, why: &str) {
    let settings = &plugin.settings;
    verdicts::add_fault(result, &settings.config.name, &plugin.digest, settings.failure, why);
}

/// For events: where and what, not the guest's own words.
pub(crate) fn in_words(fault: &PluginFault) -> String {
    format!("{}: {} ({})", fault.export.name(), fault.kind.name(), fault.blame.name())
}

#[cfg(test)]
mod tests;
