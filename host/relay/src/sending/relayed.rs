//! Messages that were built elsewhere: by the edge gateway, or by a program that writes its own MIME.
//! They take the way of any submission. Nothing that was judged elsewhere is trusted.

use std::sync::Arc;

use relevo_api::Problem;
use relevo_api::answer::{BatchAnswer, BatchError, EmailAnswer};
use relevo_api::relay::{CheckedRelay, FinishedMessage};
use relevo_api::request::TlsChoice;
use relevo_mailkit::labels::Labels;
use relevo_queue::{ItemId, Millis};

use super::submission::{tracking_override, via};
use super::{
    Addressed, ClaimedKey, JsonAnswer, MAX_OCTETS, MAX_RECIPIENTS, PreparedRequest, SendRefusal, Sender,
    Sending, answers, content, refusal, take,
};
use crate::clock::timestamp;
use crate::pipeline::{Origin, Submission, SubmissionOptions};

impl Sending {
    /// Queues finished messages, all in one commit. When it returns, they are on disk. Emails that are
    /// refused are left out if that is `permissive`.
    ///
    /// # Errors
    /// Why nothing of it was accepted.
    pub async fn relay(
        &self,
        sender: &Sender,
        emails: Vec<CheckedRelay>,
        permissive: bool,
        key: Option<ClaimedKey>,
    ) -> Result<JsonAnswer, SendRefusal> {
        let messages = emails.iter().flat_map(|email| &email.messages);
        let count: usize = messages.map(|message| message.recipients.len()).sum();
        if count as u64 > MAX_RECIPIENTS {
            let message = format!("{count} recipients, at most {MAX_RECIPIENTS} are allowed");
            return Err(SendRefusal::invalid("emails", message));
        }
        let batch = self.new_id()?;
        let (mut next, mut octets) = (0, MAX_OCTETS);
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for (index, email) in emails.into_iter().enumerate() {
            let messages = u32::try_from(email.messages.len()).unwrap_or(u32::MAX);
            match self.prepare_relayed(sender, email, batch.nth(next), batch, &mut octets).await {
                Ok(prepared) => all.push(prepared),
                Err(refusal @ (SendRefusal::Invalid(_) | SendRefusal::Refused { .. })) => {
                    problems.extend(refusal.into_problems().into_iter().map(|problem| (index, problem)));
                }
                Err(other) => return Err(other),
            }
            next += messages;
        }
        if !problems.is_empty() && !permissive {
            return Err(SendRefusal::Invalid(problems.into_iter().map(|(_, problem)| problem).collect()));
        }
        let error = |(index, Problem { param, message })| BatchError { index, param, message };
        let errors = problems.into_iter().map(error).collect();
        let data = all.iter().map(|prepared| prepared.answer.clone()).collect();
        let answer = BatchAnswer { object: "list".to_owned(), id: batch.to_string(), data, errors };
        let json = refusal::to_json(&answer)?;
        all.retain(|prepared| !prepared.answer.dry_run);
        match all.is_empty() {
            true => Ok(JsonAnswer { json, kept: false, repeated: false }),
            false => self.commit(sender, all, key, json).await,
        }
    }

    async fn prepare_relayed(
        &self,
        sender: &Sender,
        email: CheckedRelay,
        first: ItemId,
        batch: ItemId,
        octets: &mut u64,
    ) -> Result<PreparedRequest, SendRefusal> {
        let CheckedRelay { email, messages, scheduled_at, expires_at, excluded_domains } = email;
        let time = |at: Option<u64>| at.and_then(|at| Millis::try_from(at).ok());
        let options = SubmissionOptions {
            labels: Labels {
                stream: email.stream,
                topic: email.topic.unwrap_or_default(),
                tags: email.tags,
                template: email.template.unwrap_or_default(),
                batch_id: if email.alone { String::new() } else { batch.to_string() },
                ..Labels::default()
            },
            send_at: time(scheduled_at),
            expires_at: time(expires_at),
            tracking: tracking_override(&email.tracking, excluded_domains),
            enforce_tls: email.tls == Some(TlsChoice::Enforced),
        };
        let mut prepared = PreparedRequest {
            answer: EmailAnswer {
                object: "email".to_owned(),
                id: first.to_string(),
                recipients: Vec::new(),
                scheduled_at: options.send_at.map(timestamp),
                dry_run: email.dry_run,
            },
            messages: Vec::new(),
            events: Vec::new(),
        };
        for (number, message) in (0..).zip(messages) {
            let id = first.nth(number);
            let mut options = options.clone();
            options.labels.metadata.clone_from(&message.metadata);
            if id != first {
                options.labels.email_id = first.to_string();
            }
            self.add_relayed(sender, message, id, options, &mut prepared, octets).await?;
        }
        Ok(prepared)
    }

    async fn add_relayed(
        &self,
        sender: &Sender,
        message: FinishedMessage,
        id: ItemId,
        mut options: SubmissionOptions,
        prepared: &mut PreparedRequest,
        octets: &mut u64,
    ) -> Result<(), SendRefusal> {
        let to = Addressed { sender: &message.sender, recipients: &message.recipients };
        options.labels.domain = sender.sending_domain(&message.sender);
        take(octets, options.labels.octets() * message.recipients.len())?;
        take(octets, message.octets.len())?;
        let (envelope, suppressed) = self.divide(sender, &to, &options.labels).await?;
        prepared.events.extend(suppressed.events(&sender.tenant, id, self.now(), &options.labels));
        if envelope.recipients.is_empty() {
            prepared.answer.recipients.extend(suppressed.answers(Some(id), Vec::new()));
            return Ok(());
        }
        let submission = Submission {
            settings: Arc::clone(&sender.settings),
            origin: Origin::Tenant(sender.tenant.clone()),
            envelope,
            via: via(sender),
            body: content::spool(self, &message.octets).await?,
            options,
            id: Some(id),
            authors_within: sender.only_domain.clone(),
        };
        let judged = match prepared.answer.dry_run {
            true => self.pipeline.try_out(submission).await,
            false => self.pipeline.prepare(submission).await,
        };
        let judged = judged.map_err(|rejection| SendRefusal::rejected(&rejection, &to, &message.param))?;
        if judged.has_own_key() {
            let text =
                "X-Relevo-Idempotency-Key is for mail by SMTP: give `Idempotency-Key` with the request";
            return Err(SendRefusal::invalid(message.param, text));
        }
        // A header field may say so, too.
        let scheduled_at = judged.scheduled_at();
        prepared.answer.scheduled_at = prepared.answer.scheduled_at.take().or(scheduled_at.map(timestamp));
        let accepted = answers(&judged, Some(id), scheduled_at.is_some());
        prepared.answer.recipients.extend(suppressed.answers(Some(id), accepted));
        prepared.messages.push(judged);
        Ok(())
    }
}
