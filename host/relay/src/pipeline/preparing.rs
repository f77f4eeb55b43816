//! From a submission to a message that can be stored: checked, tracked, planned.

use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::address::Address;
use relevo_mailkit::envelope::{Envelope, Recipient};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::{Note, Report, Rewrite};
use relevo_mailkit::options::MailOptions;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::source::Source;
use relevo_mailkit::urgency::ByMode;
use relevo_queue::{DeliveryId, IdempotentRequest, ItemId, ItemMeta, Millis, NewEvent, NewItem};
use relevo_runtime::Stages;
use relevo_submission::egress::PRIORITY;
use relevo_submission::{
    CheckedMessage, Disposition, EgressChoice, EgressGrants, Origin, Plan, PlanSettings, Signing, Tracked,
};

use super::authority::Owner;
use super::checks::{Checked, UncheckedMessage};
use super::deliveries::{self, Common, DelayTimes};
use super::submission::{PreparedMessage, PreparedRecipient, Rejection, Submission};
use super::{Pipeline, feedback, judge, options, policy, store_failed, unsubscribe};
use crate::events;
use crate::policy::PolicyResult;
use crate::sandbox::WorkClass;
use crate::settings::Tracking;

/// One message in the pipeline.
pub(super) struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) id: ItemId,
    pub(super) now: Millis,
    /// The name of the configured domain that the message is sent from, once that is proven; empty:
    /// none.
    pub(super) domain: String,
}

impl Run<'_> {
    pub(super) async fn prepare(
        &mut self,
        submission: Submission,
        facts: events::Facts,
    ) -> Result<PreparedMessage, Rejection> {
        let Submission { settings, origin, envelope, via, body, options, authors_within, .. } = submission;
        let message = Arc::clone(&body.source);
        let mut incoming = UncheckedMessage {
            tenant: provisional_tenant(&settings, &origin, &envelope.sender),
            settings: Arc::clone(&settings),
            origin,
            via: Arc::new(via),
            envelope: Arc::new(envelope),
            message: Arc::clone(&message),
            id: self.id,
            now: self.now,
            options: Arc::new(options),
            authors_within,
            rendered: None,
        };
        let Checked { report, owner, policy: result } = self.check(&mut incoming).await?;
        let body = incoming.rendered.take().unwrap_or(body);
        let (envelope, via) = (&*incoming.envelope, &*incoming.via);

        let tracked = self.track(&incoming, owner.as_ref(), &report).await?;

        let notes = tracked.as_ref().map(|(rewrite, _)| rewrite.notes.clone()).unwrap_or_default();
        let sending = owner.as_ref().map(|owner| &*owner.domain);
        let tenant = sending.map(|domain| domain.tenant.clone());
        let name = tenant.clone().unwrap_or_default();
        let labels = Labels { domain: self.domain.clone(), ..incoming.options.labels.clone() };
        let plan = self.plan(&incoming, (owner.as_ref(), &labels), &report, tracked, &result)?;
        let facts = events::Facts { labels: labels.clone(), ..facts };
        let decided = policy::events(self, &name, &incoming, &labels, &result);
        let recipients = recipients(self.id, envelope, &plan, &result);
        let request = self.request(&incoming, &message, &name, &report).await?;
        let mut prepared = PreparedMessage {
            id: self.id,
            tenant,
            recipients,
            quota: settings.directory.tenant(&name).map(|tenant| tenant.quota).unwrap_or_default(),
            item: None,
            events: decided,
            request,
            has_refused: plan.deliveries.iter().any(|d| matches!(d.disposition, Disposition::Refuse(_))),
            facts,
        };
        if plan.deliveries.is_empty() {
            return Ok(prepared);
        }
        let options = &*incoming.options;
        let asked = MailOptions::of_parameters(&envelope.parameters);
        // RFC 2852: what is late is returned.
        let by = asked.deliver_by.filter(|by| by.mode == ByMode::Return).map(|by| by.ends_at(self.now));
        let by = by.filter(|by| *by <= plan.expires_at);
        let enforce_tls = options.enforce_tls || sending.is_some_and(|domain| domain.enforce_tls);
        let meta = ItemMeta {
            tenant: name,
            no_bounce: plan.no_bounce,
            sender: envelope.sender.clone(),
            accepted_at: self.now,
            expires_at: by.unwrap_or(plan.expires_at),
            size: incoming.message.size(),
            is_bounce: false,
            source: via.protocol.source().to_owned(),
            message_id: report.message_id.clone(),
            subject: truncated(report.subject.clone(), 200),
            recipe: plan.recipe.encode().map_err(|e| store_failed(&e.to_string()))?,
            attributes: result.attributes.clone(),
            labels,
            scheduled_at: options.send_at,
            enforce_tls,
            // The parameter counts more than the field (RFC 8689 section 5).
            tls_optional: report.tls_optional && !asked.require_tls && !enforce_tls,
            is_expiry_given: options.expires_at.is_some() || by.is_some(),
            options: asked,
        };
        let queued = queued(self.id, &meta, &envelope.recipients, &report, &notes, &result, &plan.egress);
        prepared.events.splice(0..0, queued);
        let recipients = &envelope.recipients;
        let due_at = meta.released_at();
        let delays = DelayTimes::of(&meta, millis(settings.delivery.delay_report));
        let common = Common { recipients, sending, egress: &plan.egress, now: self.now, due_at, delays };
        let deliveries =
            plan.deliveries.iter().map(|delivery| deliveries::queued(delivery, &common)).collect();
        prepared.item = Some(NewItem { id: self.id, meta, body, deliveries });
        Ok(prepared)
    }

    /// The request of a message with an idempotency key, whose answer is its id. `message` is as it
    /// was submitted.
    async fn request(
        &self,
        incoming: &UncheckedMessage,
        message: &Arc<dyn Source>,
        tenant: &str,
        report: &Report,
    ) -> Result<Option<IdempotentRequest>, Rejection> {
        let key = report.options.as_ref().ok().and_then(|options| options.idempotency_key.clone());
        let Some(key) = key.filter(|_| !tenant.is_empty()) else { return Ok(None) };
        let envelope = &incoming.envelope;
        let recipients = envelope.recipients.iter().map(|to| to.address.clone()).collect();
        let digest = options::digest(&envelope.sender, recipients, message)
            .await
            .map_err(|error| store_failed(&error.to_string()))?;
        let answer = self.id.to_string().into_bytes();
        Ok(Some(IdempotentRequest { tenant: tenant.to_owned(), key, digest, at: self.now, answer }))
    }

    /// The answer of `track`, and the settings by which it was asked; none if the message is not tracked.
    async fn track(
        &self,
        incoming: &UncheckedMessage,
        owner: Option<&Owner>,
        report: &Arc<Report>,
    ) -> Result<Option<(Rewrite, Tracking)>, Rejection> {
        let began = self.began();
        let asked = &*incoming.options;
        unsubscribe::check_topic(&asked.labels)?;
        let list_unsubscribe = owner.and_then(|_| unsubscribe::fields(incoming, report));
        let tracking = owner.and_then(|owner| owner.domain.tracking.as_ref());
        let Some(tracking) = tracking.map(|tracking| asked.tracking.apply(tracking)) else {
            return match list_unsubscribe {
                Some(_) => Err(unsubscribe::no_host()),
                None if asked.tracking.needs_tracking() => Err(no_tracking()),
                None => Ok(None),
            };
        };
        let Some(options) = tracking.options(report, asked) else {
            let rewrite = || Rewrite { edits: report.edits.clone(), links: Vec::new(), notes: Vec::new() };
            return Ok(list_unsubscribe.is_some().then(|| (rewrite(), tracking)));
        };
        let report = Arc::clone(report);
        let track =
            move |stages: &dyn Stages, message: &dyn Source| judge::track(stages, options, &report, message);
        let sandbox = &self.pipeline.sandbox;
        let rewrite = sandbox.run(WorkClass::Accept, &incoming.tenant, &incoming.message, track).await?;
        self.step("track", began, tracked(&rewrite));
        Ok(Some((rewrite, tracking)))
    }

    fn plan(
        &self,
        incoming: &UncheckedMessage,
        (owner, labels): (Option<&Owner>, &Labels),
        report: &Report,
        tracked: Option<(Rewrite, Tracking)>,
        result: &PolicyResult,
    ) -> Result<Plan, Rejection> {
        let settings = &*incoming.settings;
        let (rewrite, tracking) = tracked.unzip();
        let grants = owner.map(|owner| &*owner.domain.grants);
        let attributes = attributes(grants, &incoming.envelope, result);
        let message = CheckedMessage {
            id: self.id,
            accepted_at: self.now,
            via: &incoming.via,
            envelope: &incoming.envelope,
            report,
            prepend: &result.prepend,
            attributes: &attributes,
            send_at: incoming.options.send_at,
            expires_at: incoming.options.expires_at,
        };
        let key = settings.tracking_keys.0.first().map(|key| key.id.as_str());
        let settings = PlanSettings {
            hostname: &settings.hostname,
            signing: owner.and_then(|owner| signing(owner, report)),
            tracked: rewrite.zip(tracking.as_ref()).map(|(rewrite, tracking)| Tracked {
                tracking,
                key,
                rewrite,
                sender: owner.map_or("", |owner| owner.domain.name.as_str()),
                list_unsubscribe: unsubscribe::fields(incoming, report),
            }),
            feedback: (
                feedback::wanted(settings, &labels.domain, labels.stream, report),
                owner.map_or("", |owner| owner.domain.tenant.as_str()),
                labels,
            ),
            grants,
            lifetime: millis(settings.delivery.expire),
            hold_lifetime: millis(settings.plugins.hold_expire),
        };
        Plan::new(&message, settings, |index| deliveries::disposition(result, index))
            .map_err(|error| store_failed(&error.to_string()))
    }

    pub(super) fn began(&self) -> Duration {
        self.pipeline.clock.monotonic()
    }

    pub(super) fn step(&self, stage: &'static str, began: Duration, changes: Vec<String>) {
        self.pipeline.step(self.id, stage, began, changes);
    }
}

/// The attributes that plugins gave, and before them the priority that the sender asked for by
/// MT-PRIORITY. One that is not granted is lowered to the next that is (RFC 6710 section 4).
fn attributes(
    grants: Option<&EgressGrants>,
    envelope: &Envelope,
    result: &PolicyResult,
) -> Vec<(String, String)> {
    let asked = MailOptions::of_parameters(&envelope.parameters).priority;
    let priority = asked.zip(grants).map(|(asked, grants)| {
        let most = grants.max_priority;
        (PRIORITY.to_owned(), asked.get().clamp(-most, most).to_string())
    });
    priority.into_iter().chain(result.attributes.iter().cloned()).collect()
}

/// What becomes of each recipient. The queue numbers deliveries in the order of the plan.
fn recipients(id: ItemId, envelope: &Envelope, plan: &Plan, result: &PolicyResult) -> Vec<PreparedRecipient> {
    let mut numbers = vec![None; envelope.recipients.len()];
    for (delivery, number) in plan.deliveries.iter().zip(0..) {
        for index in delivery.recipients.iter().filter_map(|index| usize::try_from(*index).ok()) {
            if let Some(slot) = numbers.get_mut(index) {
                *slot = Some(DeliveryId { item: id, number });
            }
        }
    }
    let recipients = envelope.recipients.iter().zip(numbers).enumerate();
    recipients
        .map(|(index, (recipient, delivery))| PreparedRecipient {
            address: recipient.address.clone(),
            delivery,
            verdict: result.verdict(index).clone(),
        })
        .collect()
}

/// The sender asks for tracking, and the domain has no tracking host.
fn no_tracking() -> Rejection {
    let text = "tracking is asked for, but the sending domain has no tracking host: configure `tracking`";
    Rejection::new(550, (5, 7, 1), "no-tracking-host", text)
}

/// `email.queued` for those that are sent or may be; none when nobody is left.
fn queued(
    id: ItemId,
    meta: &ItemMeta,
    recipients: &[Recipient],
    report: &Report,
    notes: &[Note],
    result: &PolicyResult,
    egress: &EgressChoice,
) -> Vec<NewEvent> {
    let kept = |index: usize| matches!(result.verdict(index), Verdict::Accept | Verdict::Hold(_));
    let to: Vec<&Recipient> =
        recipients.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, to)| to).collect();
    if to.is_empty() {
        return Vec::new();
    }
    vec![events::queued(id, meta, &to, &report.fixes, notes, result, egress)]
}

/// None: the domain has no key.
fn signing(owner: &Owner, report: &Report) -> Option<Signing> {
    (!owner.domain.dkim.is_empty()).then(|| Signing {
        domain: owner.domain.name.clone(),
        selectors: owner.domain.dkim.iter().map(|k| k.selector.clone()).collect(),
        from_field: report.from_field.clone(),
    })
}

/// The tenant whose share of the sandbox is used. The owner of a trusted peer's mail is known only
/// after validation; until then the tenant whose domain covers that of the reverse-path stands in.
pub(super) fn provisional_tenant(
    settings: &crate::settings::Settings,
    origin: &Origin,
    sender: &str,
) -> String {
    match origin {
        Origin::Tenant(tenant) => tenant.clone(),
        Origin::Relay(_) => {
            let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
            settings.directory.domain(&domain).map_or_else(|| domain.clone(), |d| d.tenant.clone())
        }
    }
}

/// The domain of the reverse-path; none when it is null.
pub(super) fn sender_domain(sender: &str) -> Result<Option<String>, Rejection> {
    if sender.is_empty() {
        return Ok(None);
    }
    let address = Address::parse(sender)
        .map_err(|e| Rejection::new(501, (5, 1, 7), "bad-reverse-path", &format!("reverse-path: {e}")))?;
    Ok(Some(address.domain))
}

pub(super) fn note(note: &Note) -> String {
    if note.detail.is_empty() { note.name.clone() } else { format!("{}: {}", note.name, note.detail) }
}

fn tracked(rewrite: &Rewrite) -> Vec<String> {
    let mut changes = vec![format!("{} links, {} edits", rewrite.links.len(), rewrite.edits.len())];
    changes.extend(rewrite.notes.iter().map(note));
    changes
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

fn truncated(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}
