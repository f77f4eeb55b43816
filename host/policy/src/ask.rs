//! Asking a tenant's plugins about a message, one after the other, in declared order.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use relevo_mailkit::policy::{Attribute, Message};
use relevo_queue::ItemId;
use relevo_relay::policy::{First, Judgement, NotAsked, OutcomeEvent, OutcomeListener, Policies, Question};
use relevo_relay::settings::{Grants, Tenant};
use relevo_runtime::Blame;
use relevo_runtime::policy::{
    Body, Case, Judgement as Answered, KeyValues, LogLevel, LogLine, MakeCase, Outcome, Permit, PluginFault,
};

use crate::message;
use crate::place::{Closed, Place};
use crate::plugins::Plugins;
use crate::record::{Answer, RecordedReads};
use crate::verdicts;

#[async_trait]
impl Policies for Plugins {
    fn concern(&self, tenant: &Tenant) -> bool {
        !tenant.plugins.is_empty() && self.has_places(&tenant.id)
    }

    async fn judge(&self, question: Question) -> Judgement {
        let mut places = &self.places_of(&question.tenant)[..];
        let mut inquiry = Inquiry::about(&question);
        if question.too_late
            && let Some((place, others)) = places.split_first()
        {
            fault(&mut inquiry.judgement, place, "no thread was free in time");
            places = others;
        }
        inquiry.ask(self, places).await
    }

    async fn judge_after(&self, tenant: &Tenant, first: First) -> Result<Judgement, NotAsked> {
        let places = self.places_of(tenant);
        let (place, others) = places.split_first().ok_or(NotAsked::Nothing)?;
        let mut inquiry = self.ask_after(place, first).await?;
        inquiry.heard();
        Ok(inquiry.ask(self, others).await)
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
struct Inquiry {
    id: ItemId,
    message: Arc<Message>,
    body: Body,
    grants: Arc<Grants>,
    judgement: Judgement,
}

/// The message was made on the thread of a plugin; whether that could be asked.
struct Made {
    inquiry: Inquiry,
    asked: Result<Asked, Closed>,
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

    /// Asks the plugin about what `first` says, on its thread.
    async fn ask_after(&self, place: &Arc<Place>, first: First) -> Result<Inquiry, NotAsked> {
        let policy = place.policy.as_ref().map_err(|_| NotAsked::Nothing)?;
        if place.is_closed(self.monotonic()) {
            // Nobody is to wait for what may keep its threads busy.
            return Err(NotAsked::Nothing);
        }
        let made = Arc::new(Mutex::new(None));
        let make: MakeCase = {
            let (place, clock, there) = (Arc::clone(place), Arc::clone(&self.clock), Arc::clone(&made));
            Box::new(move || {
                let inquiry = Inquiry::about(&first()?);
                let (asked, case) = match place.enter(clock.monotonic()) {
                    Ok(permit) => {
                        let (reads, data) = place.data();
                        (Ok(Asked { permit, reads }), Some(inquiry.case(data)))
                    }
                    Err(closed) => (Err(closed), None),
                };
                *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(Made { inquiry, asked });
                case
            })
        };
        let outcome = policy.judge_made(make).await;
        let made = made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Made { mut inquiry, asked } = match (made, &outcome.result) {
            (Some(made), _) => made,
            (None, Ok(_)) => return Err(NotAsked::Nothing),
            (None, Err(_)) => return Err(NotAsked::TooLate),
        };
        match asked {
            Err(closed) => fault(&mut inquiry.judgement, place, closed.name()),
            Ok(asked) => {
                let Outcome { result, cost, log, log_dropped } = outcome;
                // None would be an answer to no question.
                if let Some(result) = result.transpose() {
                    inquiry.answered(self, place, asked, Outcome { result, cost, log, log_dropped });
                }
            }
        }
        Ok(inquiry)
    }
}

impl Inquiry {
    fn about(question: &Question) -> Self {
        let (message, body) = message::of(question);
        Self {
            id: question.id,
            message: Arc::new(message),
            body,
            grants: Arc::clone(&question.grants),
            judgement: verdicts::nobody_minds(question.envelope.recipients.len()),
        }
    }

    fn case(&self, data: Arc<dyn KeyValues>) -> Case {
        Case { message: Arc::clone(&self.message), body: self.body.clone(), data: Some(data) }
    }

    /// Asks those that are left.
    async fn ask(mut self, plugins: &Plugins, places: &[Arc<Place>]) -> Judgement {
        for place in places {
            if verdicts::is_decided(&self.judgement) {
                break;
            }
            self.ask_one(plugins, place).await;
            self.heard();
        }
        self.judgement
    }

    /// What the last one asked for and may have is told to the next one.
    fn heard(&mut self) {
        let told = self.message.attributes.len();
        verdicts::leave_out(&mut self.judgement, told, &self.grants);
        if self.judgement.attributes.len() > told {
            let new = self.judgement.attributes[told..].iter();
            let new = new.map(|(name, value)| Attribute::new(name.as_str(), value.as_str()));
            Arc::make_mut(&mut self.message).attributes.extend(new);
        }
    }

    async fn ask_one(&mut self, plugins: &Plugins, place: &Place) {
        let policy = match &place.policy {
            Ok(policy) => policy,
            Err(why) => {
                tracing::warn!(id = %self.id, plugin = place.settings.config.name, why, "a plugin cannot be used");
                return fault(&mut self.judgement, place, "it cannot be loaded");
            }
        };
        let permit = match place.enter(plugins.monotonic()) {
            Ok(permit) => permit,
            Err(closed) => return fault(&mut self.judgement, place, closed.name()),
        };
        let (reads, data) = place.data();
        let outcome = policy.judge(self.case(data)).await;
        self.answered(plugins, place, Asked { permit, reads }, outcome);
    }

    fn answered(&mut self, plugins: &Plugins, place: &Place, asked: Asked, outcome: Outcome<Answered>) {
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
                verdicts::add(&mut self.judgement, name, &place.digest, answer.decision, note);
            }
            Err(broke) => fault(&mut self.judgement, place, &in_words(&broke)),
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

#[cfg(test)]
mod tests;
