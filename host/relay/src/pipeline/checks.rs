//! What comes before a message is queued: the first-party checks, whose it is, and what its tenant's plugins say of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relevo_mailkit::model::{Report, ValidateOptions};
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, Millis};
use relevo_runtime::Stages;

use super::authority::{self, Owner};
use super::judge::MAX_RECEIVED;
use super::submission::{Envelope, Origin, Rejection, Via};
use super::{MAX_DEPTH, MAX_PARTS, PolicyHook, Run, judge, note, sender_domain};
use crate::clock::Clock;
use crate::policy::{First, Judgement, NotAsked, Question};
use crate::settings::{Settings, Tenant};
use crate::turns::{Turn, Work};

/// Octets up to which a message is validated on the thread where its tenant's first plugin runs. What that saves is nothing beside what
/// a larger one takes, and those threads are for plugins.
const TOGETHER: u64 = 256 << 10;

/// A message that is being checked.
pub(super) struct Incoming {
    pub(super) settings: Arc<Settings>,
    pub(super) origin: Origin,
    pub(super) via: Arc<Via>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) message: Arc<dyn Source>,
    pub(super) id: ItemId,
    pub(super) now: Millis,
    /// Whose turn it is.
    pub(super) lane: String,
}

/// A message that nobody refuses.
pub(super) struct Checked {
    pub(super) report: Arc<Report>,
    /// None: a trusted peer's mail that belongs to no tenant.
    pub(super) owner: Option<Owner>,
    /// Of the owner's plugins.
    pub(super) judgement: Judgement,
    /// In the sandbox, where it was not used up.
    pub(super) turn: Option<Turn>,
}

/// What the first-party checks found, and when they had.
struct Found {
    report: Arc<Report>,
    validated: Duration,
    owner: Result<Option<Owner>, Rejection>,
    authorised: Duration,
}

impl Incoming {
    fn options(&self, list_fields: bool) -> ValidateOptions {
        ValidateOptions {
            max_size: self.settings.intake.max_message_size,
            max_received: MAX_RECEIVED,
            max_depth: MAX_DEPTH,
            max_parts: MAX_PARTS,
            smtputf8: self.envelope.smtputf8,
            hostname: self.settings.hostname.clone(),
            now: self.now.div_euclid(1000),
            message_id_left: self.id.to_string(),
            downgrade: false,
            list_fields,
        }
    }

    fn found(&self, report: Report, clock: &dyn Clock) -> Found {
        let validated = clock.monotonic();
        let owner = sender_domain(&self.envelope.sender).and_then(|sender| {
            authority::authors(&self.settings, &self.origin, sender.as_deref(), &report.authors)
        });
        Found { report: Arc::new(report), validated, owner, authorised: clock.monotonic() }
    }

    /// On this thread, with the fields that plugins see.
    fn check_here(&self, stages: &dyn Stages, clock: &dyn Clock) -> Result<Found, Rejection> {
        Ok(self.found(judge::validate_here(stages, self.options(true), &*self.message)?, clock))
    }

    /// For the plugins of its owner.
    fn question(&self, tenant: &Arc<Tenant>, owner: &Owner, report: &Arc<Report>) -> Question {
        Question {
            settings: Arc::clone(&self.settings),
            tenant: Arc::clone(tenant),
            grants: Arc::clone(&owner.domain.grants),
            id: self.id,
            now: self.now,
            origin: self.origin.clone(),
            via: Arc::clone(&self.via),
            envelope: Arc::clone(&self.envelope),
            report: Arc::clone(report),
            message: Arc::clone(&self.message),
            too_late: false,
        }
    }
}

impl Run<'_> {
    /// All of it, in this order. What is refused comes to no later check.
    pub(super) async fn check(&mut self, incoming: &Arc<Incoming>) -> Result<Checked, Rejection> {
        let began = self.began();
        let lane = &incoming.lane;
        let mut turn = Some(self.pipeline.turns.wait(Work::Accept, lane).await);
        let (mut found, mut asked, mut listed) = (None, Err(NotAsked::Nothing), false);
        if let Some((hook, tenant)) = self.plugins_of(&incoming.settings, lane) {
            listed = true;
            if incoming.message.size() <= TOGETHER {
                // Its turn has come, and is another's as soon as it is on its way to the plugins' threads: they have shares of their own.
                turn = None;
                (found, asked) = self.check_there(hook, incoming, tenant).await?;
            }
        }
        let Found { mut report, validated, owner, mut authorised } = match found {
            Some(found) => found,
            None => {
                if turn.is_none() {
                    turn = Some(self.pipeline.turns.wait(Work::Accept, lane).await);
                }
                self.check_apart(incoming, listed).await?
            }
        };
        self.took("validate", validated.saturating_sub(began), report.fixes.iter().map(note).collect());
        let owner = owner?;
        self.took("authorise", authorised.saturating_sub(validated), vec![belongs(owner.as_ref())]);

        let Some(owner) = owner else {
            return Ok(Checked { report, owner: None, judgement: Judgement::default(), turn });
        };
        let (tenant, judgement) = match (asked, self.plugins_of(&incoming.settings, &owner.domain.tenant)) {
            // Also when the last plugin was switched off meanwhile.
            (Ok(judgement), _) => (incoming.settings.tenants.by_id.get(&owner.domain.tenant), judgement),
            (Err(_), None) => (None, Judgement::default()),
            (Err(why), Some((hook, tenant))) => {
                if !listed {
                    // A trusted peer's, whose reverse-path is another tenant's than its From.
                    let options = incoming.options(true);
                    let stages = &*self.pipeline.stages;
                    report = Arc::new(judge::validate(stages, options, &incoming.message).await?);
                    authorised = self.began();
                }
                // Plugins have threads of their own, and take longer than our turns may.
                turn = None;
                let mut question = incoming.question(tenant, &owner, &report);
                question.too_late = why == NotAsked::TooLate;
                (Some(tenant), hook.policies.judge(question).await)
            }
        };
        if let Some(tenant) = tenant {
            self.step("policy", authorised, super::policy::said(&judgement));
            self.rule(tenant, &judgement, incoming.envelope.recipients.len())?;
        }
        Ok(Checked { report, owner: Some(owner), judgement, turn })
    }

    /// Where guests of ours run.
    async fn check_apart(&self, incoming: &Incoming, list_fields: bool) -> Result<Found, Rejection> {
        let options = incoming.options(list_fields);
        let report = judge::validate(&*self.pipeline.stages, options, &incoming.message).await?;
        Ok(incoming.found(report, &*self.pipeline.clock))
    }

    /// Where the tenant's first plugin runs, which is asked at once, if the message is its tenant's. Nothing is found when that is not to be.
    async fn check_there(
        &self,
        hook: &PolicyHook,
        incoming: &Arc<Incoming>,
        tenant: &Arc<Tenant>,
    ) -> Result<(Option<Found>, Result<Judgement, NotAsked>), Rejection> {
        let found = Arc::new(Mutex::new(None));
        let first: First = {
            let (stages, clock) = (Arc::clone(&self.pipeline.stages), Arc::clone(&self.pipeline.clock));
            let (incoming, tenant, there) = (Arc::clone(incoming), Arc::clone(tenant), Arc::clone(&found));
            Box::new(move || {
                let checked = incoming.check_here(&*stages, &*clock);
                let question = checked.as_ref().ok().and_then(|found| {
                    let owner = found.owner.as_ref().ok()?.as_ref();
                    let owner = owner.filter(|owner| owner.domain.tenant == tenant.id)?;
                    Some(incoming.question(&tenant, owner, &found.report))
                });
                *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(checked);
                question
            })
        };
        let judgement = hook.policies.judge_after(tenant, first).await;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((found.transpose()?, judgement))
    }
}

fn belongs(owner: Option<&Owner>) -> String {
    owner.map_or_else(
        || "belongs to no tenant, passes unsigned".to_owned(),
        |o| format!("{} of tenant {}", o.domain.name, o.domain.tenant),
    )
}
