//! The steps before a message is queued: validation, authorisation, and the list of checks.

use std::sync::Arc;

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::model::{Report, ValidateOptions};
use relevo_mailkit::recheck;
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, Millis, SpooledBody};
use relevo_runtime::Stages;
use relevo_submission::{SubmissionOptions, validate_options};

use super::authority::{self, Owner};
use super::preparing::{Run, note, sender_domain};
use super::submission::Rejection;
use super::{Origin, Via, judge, options, policy, store_failed};
use crate::policy::{Check, PolicyRequest, PolicyResult};
use crate::sandbox::WorkClass;
use crate::settings::{Settings, Tenant};

/// A message that has arrived and is not checked yet.
pub(super) struct UncheckedMessage {
    pub(super) settings: Arc<Settings>,
    pub(super) origin: Origin,
    pub(super) via: Arc<Via>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) message: Arc<dyn Source>,
    /// `message` where a template has replaced what was submitted.
    pub(super) rendered: Option<SpooledBody>,
    pub(super) id: ItemId,
    pub(super) now: Millis,
    /// The tenant whose share of the sandbox is used. On the relay port it is provisional.
    pub(super) tenant: String,
    pub(super) options: Arc<SubmissionOptions>,
    /// The domain that every author's must be, or be below.
    pub(super) authors_within: Option<String>,
}

/// A message that is not refused.
pub(super) struct Checked {
    pub(super) report: Arc<Report>,
    /// None: a trusted peer's mail that belongs to no tenant.
    pub(super) owner: Option<Owner>,
    /// The answers of the checks.
    pub(super) policy: PolicyResult,
}

impl UncheckedMessage {
    fn options(&self, include_headers: bool) -> ValidateOptions {
        let max_size = self.settings.intake.max_message_size;
        ValidateOptions {
            include_headers,
            strict_headers: self.settings.intake.strict_headers,
            ..validate_options(&self.settings.hostname, self.id, self.now, &self.envelope, max_size)
        }
    }

    fn owner(&self, report: &Report) -> Result<Option<Owner>, Rejection> {
        let sender = sender_domain(&self.envelope.sender)?;
        if let Some(domain) = &self.authors_within {
            authority::within(domain, sender.as_deref(), &report.authors)?;
        }
        authority::authors(&self.settings, &self.origin, sender.as_deref(), &report.authors)
    }

    fn request(&self, tenant: &Arc<Tenant>, owner: &Owner, report: &Arc<Report>) -> PolicyRequest {
        PolicyRequest {
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
            options: Arc::clone(&self.options),
        }
    }
}

impl<'p> Run<'p> {
    /// Validates, authorises, and asks every check. A refusal ends it: no later step sees the
    /// message.
    pub(super) async fn check(&mut self, incoming: &mut UncheckedMessage) -> Result<Checked, Rejection> {
        let began = self.began();
        let provisional = incoming.settings.directory.tenant(&incoming.tenant);
        let include_headers = provisional.is_some_and(|tenant| self.reads_fields(tenant));
        let report = Arc::new(self.validate(incoming, include_headers).await?);
        self.step("validate", began, report.fixes.iter().map(note).collect());

        let began = self.began();
        let owner = incoming.owner(&report)?;
        self.step("authorise", began, vec![belongs(owner.as_ref())]);
        self.domain = owner.as_ref().map(|owner| owner.domain.name.clone()).unwrap_or_default();
        let report = match &owner {
            Some(owner) => self.options(incoming, owner, report, include_headers).await?,
            None => report,
        };

        let (report, policy) = match &owner {
            Some(owner) => self.ask_checks(incoming, owner, report, include_headers).await?,
            None => (report, PolicyResult::default()),
        };
        Ok(Checked { report, owner, policy })
    }

    /// Takes the options of the header fields. With a template among them the message is replaced,
    /// and what `validate` says of the new one is returned.
    async fn options(
        &self,
        incoming: &mut UncheckedMessage,
        owner: &Owner,
        report: Arc<Report>,
        include_headers: bool,
    ) -> Result<Arc<Report>, Rejection> {
        let mut options = options::merged(&incoming.options, &report.options)?;
        let rendered = self.rendered(incoming, &owner.domain.tenant, &report).await?;
        let Some((template, body)) = rendered else {
            incoming.options = Arc::new(options);
            return Ok(report);
        };
        options.labels.template = template;
        incoming.options = Arc::new(options);
        incoming.message = Arc::clone(&body.source);
        incoming.rendered = Some(body);
        Ok(Arc::new(self.validate(incoming, include_headers).await?))
    }

    async fn validate(
        &self,
        incoming: &UncheckedMessage,
        include_headers: bool,
    ) -> Result<Report, Rejection> {
        let options = incoming.options(include_headers);
        let validate =
            move |stages: &dyn Stages, message: &dyn Source| judge::validate(stages, options, message);
        self.pipeline.sandbox.run(WorkClass::Accept, &incoming.tenant, &incoming.message, validate).await
    }

    async fn ask_checks(
        &mut self,
        incoming: &UncheckedMessage,
        owner: &Owner,
        mut report: Arc<Report>,
        fields_listed: bool,
    ) -> Result<(Arc<Report>, PolicyResult), Rejection> {
        let recipients = incoming.envelope.recipients.len();
        let mut result = PolicyResult::accept_all(recipients);
        let Some(tenant) = incoming.settings.directory.tenant(&owner.domain.tenant) else {
            return Ok((report, result));
        };
        if !fields_listed && self.reads_fields(tenant) {
            // A trusted peer's mail, whose reverse-path is another tenant's than its From.
            report = Arc::new(self.validate(incoming, true).await?);
        }
        let request = incoming.request(tenant, owner, &report);
        for check in self.checks_of(tenant) {
            if result.all_rejected() {
                break;
            }
            let began = self.began();
            let answered = check.check(&request).await;
            self.step(check.name(), began, policy::said(&answered));
            recheck::header_fields(&answered.prepend).map_err(store_failed)?;
            result.merge(answered);
        }
        self.enforce(tenant, &result, recipients)?;
        Ok((report, result))
    }

    fn checks_of<'t>(&self, tenant: &'t Tenant) -> impl Iterator<Item = &'p Arc<dyn Check>> + use<'p, 't> {
        self.pipeline.checks.iter().filter(|check| check.applies_to(tenant))
    }

    fn reads_fields(&self, tenant: &Tenant) -> bool {
        self.checks_of(tenant).any(|check| check.reads_fields())
    }
}

fn belongs(owner: Option<&Owner>) -> String {
    owner.map_or_else(
        || "belongs to no tenant, passes unsigned".to_owned(),
        |o| format!("{} of tenant {}", o.domain.name, o.domain.tenant),
    )
}
