//! Asking a tenant's plugins about a message, one after the other, in declared order.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::policy::{Attribute, Message};
use relevo_queue::ItemId;
use relevo_relay::policy::{Judgement, Outcome as Happened, Policies, Question};
use relevo_relay::settings::Tenant;
use relevo_runtime::Blame;
use relevo_runtime::policy::{Body, Case, KeyValues, LogLevel, LogLine, Outcome, PluginFault};

use crate::message;
use crate::place::Place;
use crate::plugins::Plugins;
use crate::record::Answer;
use crate::verdicts;

#[async_trait]
impl Policies for Plugins {
    fn concern(&self, tenant: &Tenant) -> bool {
        !tenant.plugins.is_empty() && self.has_places(&tenant.id)
    }

    async fn judge(&self, question: Question) -> Judgement {
        let mut judgement = verdicts::nobody_minds(question.envelope.recipients.len());
        let places: Vec<Arc<Place>> = question
            .tenant
            .plugins
            .iter()
            .filter_map(|p| self.place(&question.tenant.id, &p.config.name))
            .collect();
        let (message, body) = message::of(&question);
        let mut message = Arc::new(message);
        for place in places {
            if verdicts::is_decided(&judgement) {
                break;
            }
            self.ask(question.id, &place, &message, &body, &mut judgement).await;
            let told = message.attributes.len();
            verdicts::leave_out(&mut judgement, told, &question.grants);
            let known = judgement.attributes.len();
            if known > told {
                let new = judgement.attributes[told..].iter();
                let new = new.map(|(name, value)| Attribute::new(name.as_str(), value.as_str()));
                Arc::make_mut(&mut message).attributes.extend(new);
            }
        }
        judgement
    }

    fn listening(&self, tenant: &str) -> bool {
        self.places().get(tenant).is_some_and(|places| places.values().any(|place| place.listens()))
    }

    fn observe(&self, outcomes: Vec<Happened>) {
        self.listeners.send(outcomes);
    }
}

impl Plugins {
    async fn ask(
        &self,
        id: ItemId,
        place: &Place,
        message: &Arc<Message>,
        body: &Body,
        judgement: &mut Judgement,
    ) {
        let policy = match &place.policy {
            Ok(policy) => policy,
            Err(why) => {
                tracing::warn!(%id, plugin = place.settings.config.name, why, "a plugin cannot be used");
                return fault(judgement, place, "it cannot be loaded");
            }
        };
        let permit = match place.enter(self.monotonic()) {
            Ok(permit) => permit,
            Err(closed) => return fault(judgement, place, closed.name()),
        };
        let (noted, data) = place.data();
        let case = Case { message: Arc::clone(message), body: body.clone(), data: Some(data) };
        let Outcome { result, log, log_dropped, .. } = policy.judge(case).await;
        place.keep_log(id, &log, log_dropped);
        let broke = match &result {
            Ok(answer) => answer.fault.as_ref(),
            Err(broke) => Some(broke),
        };
        let guilty = broke.map_or(Some(false), |f| (f.blame == Blame::Guest).then_some(true));
        place.leave(permit, guilty, self.monotonic());
        if let Some(broke) = broke {
            tracing::warn!(%id, tenant = place.settings.config.tenant, plugin = place.settings.config.name,
                digest = place.digest, fault = %broke, "a plugin broke");
        }
        if let (Some(tap), Some(noted)) = (&place.tap, noted)
            && let Some(answer) = Answer::of(&result)
        {
            tap.record(Arc::clone(message), body.clone(), noted, answer);
        }
        let name = &place.settings.config.name;
        match result {
            Ok(answer) => {
                if let Some(shadow) = &place.shadow {
                    let data = Some(place.data.clone() as Arc<dyn KeyValues>);
                    let case = Case { message: Arc::clone(message), body: body.clone(), data };
                    shadow.compare(id, case, answer.decision.clone());
                }
                let note = answer.fault.as_ref().map(|f| format!("its reply was replaced: {}", f.detail));
                verdicts::add(judgement, name, &place.digest, answer.decision, note);
            }
            Err(broke) => fault(judgement, place, &in_words(&broke)),
        }
    }
}

fn fault(judgement: &mut Judgement, place: &Place, why: &str) {
    let settings = &place.settings;
    verdicts::add_fault(judgement, &settings.config.name, &place.digest, settings.failure, why);
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
