//! Messages that are sent once more.

use std::sync::Arc;

use relevo_api::answer::{EmailAnswer, ResentAnswer};
use relevo_mailkit::address::Address;
use relevo_mailkit::envelope::Parameter;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::source::{CHUNK, Source};
use relevo_queue::{ItemId, SpooledBody, StoreError};

use super::submission::via;
use super::{
    Addressed, ClaimedKey, JsonAnswer, MAX_OCTETS, PreparedRequest, SendRefusal, Sender, Sending, answers,
    content, refusal, take,
};
use crate::clock::timestamp;
use crate::pipeline::{Origin, Submission, SubmissionOptions, TrackingOverride};
use crate::sandbox::in_place_or_blocking;

/// A message that was accepted before.
pub struct ResentMessage {
    /// Its id.
    pub from: ItemId,
    /// The reverse-path.
    pub sender: Address,
    /// Who gets it, each with the path of the value in the request.
    pub to: Vec<(Address, String)>,
    /// What its sender attached to it.
    pub labels: Labels,
    /// Tracking that it did not have is off.
    pub tracking: TrackingOverride,
    /// Only over a verified TLS connection.
    pub enforce_tls: bool,
    /// The header has raw UTF-8.
    pub utf8_header: bool,
    /// Its octets.
    pub body: Arc<dyn Source>,
}

impl Sending {
    /// Sends a message once more, as a new one. When this returns, it is on disk.
    ///
    /// # Errors
    /// Why it was not accepted.
    pub async fn resend(
        &self,
        sender: &Sender,
        message: ResentMessage,
        key: Option<ClaimedKey>,
    ) -> Result<JsonAnswer, SendRefusal> {
        let id = self.new_id()?;
        let resent_from = message.from.to_string();
        let prepared = self.prepare_resent(sender, message, id).await?;
        let json = refusal::to_json(&ResentAnswer { email: prepared.answer.clone(), resent_from })?;
        self.commit(sender, vec![prepared], key, json).await
    }

    async fn prepare_resent(
        &self,
        sender: &Sender,
        message: ResentMessage,
        id: ItemId,
    ) -> Result<PreparedRequest, SendRefusal> {
        let to = Addressed { sender: &message.sender, recipients: &message.to };
        let labels = Labels {
            domain: sender.sending_domain(&message.sender),
            email_id: String::new(),
            batch_id: String::new(),
            ..message.labels
        };
        let mut octets = MAX_OCTETS;
        take(&mut octets, labels.octets() * message.to.len())?;
        take(&mut octets, message.body.size())?;
        let answer = EmailAnswer {
            object: "email".to_owned(),
            id: id.to_string(),
            recipients: Vec::new(),
            scheduled_at: None,
            dry_run: false,
        };
        let mut prepared = PreparedRequest { answer, messages: Vec::new(), events: Vec::new() };
        let (mut envelope, suppressed) = self.divide(sender, &to, &labels).await?;
        prepared.events.extend(suppressed.events(&sender.tenant, id, self.now(), &labels));
        if envelope.recipients.is_empty() {
            prepared.answer.recipients.extend(suppressed.answers(None, Vec::new()));
            return Ok(prepared);
        }
        if message.utf8_header && envelope.parameters.is_empty() {
            envelope.parameters.push(Parameter::smtputf8());
        }
        let submission = Submission {
            settings: Arc::clone(&sender.settings),
            origin: Origin::Tenant(sender.tenant.clone()),
            envelope,
            via: via(sender),
            body: self.spool(&message.body).await?,
            options: SubmissionOptions {
                labels,
                tracking: message.tracking,
                enforce_tls: message.enforce_tls,
                ..SubmissionOptions::default()
            },
            id: Some(id),
            authors_within: sender.only_domain.clone(),
        };
        let judged = self.pipeline.prepare(submission).await;
        let judged = judged.map_err(|rejection| SendRefusal::rejected(&rejection, &to, "to"))?;
        prepared.answer.scheduled_at = judged.scheduled_at().map(timestamp);
        prepared.answer.recipients.extend(suppressed.answers(None, answers(&judged, None, false)));
        prepared.messages.push(judged);
        Ok(prepared)
    }

    /// Copies octets that are stored elsewhere.
    async fn spool(&self, source: &Arc<dyn Source>) -> Result<SpooledBody, SendRefusal> {
        let not_stored = |error: &StoreError| content::not_stored(error);
        let mut spool = self.pipeline.queue.spool().await.map_err(|e| not_stored(&e))?;
        let mut at = 0;
        while at < source.size() {
            let from = Arc::clone(source);
            let chunk = in_place_or_blocking(source.is_in_memory(), move || {
                let mut chunk = vec![0; CHUNK];
                let n = from.read_at(at, &mut chunk)?;
                chunk.truncate(n);
                std::io::Result::Ok(chunk)
            });
            let chunk = chunk.await.map_err(|e| not_stored(&StoreError::Io(e.to_string())))?;
            if chunk.is_empty() {
                return Err(not_stored(&StoreError::Io("a body is shorter than it was".to_owned())));
            }
            spool.write(&chunk).await.map_err(|e| not_stored(&e))?;
            at += chunk.len() as u64;
        }
        spool.finish().await.map_err(|e| not_stored(&e))
    }
}
