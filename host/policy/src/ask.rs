//! Asking a tenant's plugins about a message, one after the other, in declared order.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::policy::{Attribute, Message};
use relevo_queue::ItemId;
use relevo_relay::policy::{Check, OutcomeEvent, OutcomeListener, PolicyRequest, PolicyResult};
use relevo_relay::settings::{Grants, Tenant};
use relevo_runtime::Blame;
use relevo_runtime::policy::{
    Body, Case, Judgement, KeyValues, LogLevel, LogLine, Outcome, Permit, PluginFault,
};

use crate::message;
use crate::place::Place;
use crate::plugins::Plugins;
use crate::record::{Answer, RecordedReads};
use crate::verdicts;

#[async_trait]
impl Check for Plugins {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn applies_to(&self, tenant: &Tenant) -> bool {
        !tenant.plugins.is_empty() && self.has_places(&tenant.id)
    }

    fn reads_fields(&self) -> bool {
        true
    }

    async fn check(&self, request: &PolicyRequest) -> PolicyResult {
        Evaluation::of(request).ask(self, &self.places_of(&request.tenant)).await
    }
}

impl OutcomeListener for Plugins {
    fn listening(&self, tenant: &str) -> bool {
        self.places().get(tenant).is_some_and(|places| places.values().any(|place| place.listens()))
    }

    fn observe(&self, outcomes: Vec<OutcomeEvent>) {
        self.listeners.send(outcomes);
    }
}

/// A message about which one plugin after the other is asked, and what they said so far.
struct Evaluation {
    id: ItemId,
    message: Arc<Message>,
    body: Body,
    grants: Arc<Grants>,
    result: PolicyResult,
}

/// A plugin that is being asked: its place in the limits, and the record of what it reads.
struct Asked {
    permit: Permit,
    reads: Option<Arc<RecordedReads>>,
}

impl Plugins {
    /// The tenant's places in declared order.
    fn places_of(&self, tenant: &Tenant) -> Vec<Arc<Place>> {
        tenant.plugins.iter().filter_map(|p| self.place(&tenant.id, &p.config.name)).collect()
    }
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
    async fn ask(mut self, plugins: &Plugins, places: &[Arc<Place>]) -> PolicyResult {
        for place in places {
            if self.result.all_rejected() {
                break;
            }
            self.ask_one(plugins, place).await;
            self.heard();
        }
        self.result
    }

    /// What the last one asked for and may have is told to the next one.
    fn heard(&mut self) {
        let told = self.message.attributes.len();
        verdicts::drop_ungranted(&mut self.result, told, &self.grants);
        if self.result.attributes.len() > told {
            let new = self.result.attributes[told..].iter();
            let new = new.map(|(name, value)| Attribute::new(name.as_str(), value.as_str()));
            Arc::make_mut(&mut self.message).attributes.extend(new);
        }
    }

    async fn ask_one(&mut self, plugins: &Plugins, place: &Place) {
        let policy = match &place.policy {
            Ok(policy) => policy,
            Err(why) => {
                tracing::warn!(id = %self.id, plugin = place.settings.config.name, why, "a plugin cannot be used");
                return fault(&mut self.result, place, "it cannot be loaded");
            }
        };
        let permit = match place.enter(plugins.monotonic()) {
            Ok(permit) => permit,
            Err(closed) => return fault(&mut self.result, place, closed.name()),
        };
        let (reads, data) = place.data();
        let outcome = policy.judge(self.case(data)).await;
        self.answered(plugins, place, Asked { permit, reads }, outcome);
    }

    fn answered(&mut self, plugins: &Plugins, place: &Place, asked: Asked, outcome: Outcome<Judgement>) {
        let Outcome { result, log, log_dropped, .. } = outcome;
        let (id, message) = (self.id, &self.message);
        place.keep_log(id, &log, log_dropped);
        let broke = match &result {
            Ok(answer) => answer.fault.as_ref(),
            Err(broke) => Some(broke),
        };
        place.note_configure(&result);
        let guilty = broke.map_or(Some(false), |f| (f.blame == Blame::Guest).then_some(true));
        place.leave(asked.permit, guilty, plugins.monotonic());
        if let Some(broke) = broke {
            place.broke(plugins.now(), broke);
            tracing::warn!(%id, tenant = place.settings.config.tenant, plugin = place.settings.config.name,
                digest = place.digest, fault = %broke, "a plugin broke");
        }
        if let (Some(recording), Some(answer)) = (&place.recording, Answer::of(&result)) {
            recording.record(Arc::clone(message), self.body.clone(), asked.reads, answer);
        }
        let name = &place.settings.config.name;
        match result {
            Ok(answer) => {
                if let Some(shadow) = &place.shadow {
                    shadow.compare(id, self.case(place.data.clone()), answer.decision.clone());
                }
                let note = answer.fault.as_ref().map(|f| format!("its reply was replaced: {}", f.detail));
                verdicts::add(&mut self.result, name, &place.digest, answer.decision, note);
            }
            Err(broke) => fault(&mut self.result, place, &in_words(&broke)),
        }
    }
}

fn fault(result: &mut PolicyResult, place: &Place, why: &str) {
    let settings = &place.settings;
    verdicts::add_fault(result, &settings.config.name, &place.digest, settings.failure, why);
}

/// For events: where and what, not the guest's own words.
pub(crate) fn in_words(fault: &PluginFault) -> String {
    format!("{}: {} ({})", fault.export.name(), fault.kind.name(), fault.blame.name())
}

/// Writes a plugin's lines to the log of the host.
pub(crate) fn log_lines(place: &Place, id: &str, lines: &[LogLine], dropped: u64) {
    let (tenant, plugin) = (&place.settings.config.tenant, &place.settings.config.name);
    for line in lines {
        match line.level {
            LogLevel::Debug => tracing::debug!(target: "relevo::plugin", id, tenant, plugin, "{}", line.text),
            LogLevel::Info => tracing::info!(target: "relevo::plugin", id, tenant, plugin, "{}", line.text),
            LogLevel::Warn => tracing::warn!(target: "relevo::plugin", id, tenant, plugin, "{}", line.text),
            LogLevel::Error => tracing::error!(target: "relevo::plugin", id, tenant, plugin, "{}", line.text),
        }
    }
    if dropped > 0 {
        tracing::info!(target: "relevo::plugin", id, tenant, plugin, dropped, "more log lines than it may write");
    }
}

#[cfg(test)]
mod tests;
