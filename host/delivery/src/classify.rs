//! The seam to the classifier, and what failures of our own mean.

mod own;

use std::sync::Arc;

use relevo_mailkit::classification::{Classification, ReceiverReply};
use relevo_mailkit::reply::EnhancedCode;
use relevo_queue::LastAttempt;
use relevo_runtime::Classifier;
use relevo_smtp::client::{DialogueStep, Failure};

use super::failure::NULL_MX;
use super::outcome::RecipientResult;

/// Says what the words of a receiver mean. Called once for each recipient that failed, on the task
/// of its worker: it takes microseconds and never blocks.
pub trait Classify: Send + Sync {
    /// The answer. None when the classifier gave none: it broke, and the log says why.
    fn classify(&self, reply: &ReceiverReply) -> Option<Arc<Classification>>;
}

impl Classify for Classifier {
    fn classify(&self, reply: &ReceiverReply) -> Option<Arc<Classification>> {
        // A fault is in the log already.
        Self::classify(self, reply).ok().map(Arc::new)
    }
}

/// Classifies nothing that a receiver says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unclassified;

impl Classify for Unclassified {
    fn classify(&self, _: &ReceiverReply) -> Option<Arc<Classification>> {
        None
    }
}

/// Fills in what each failure means. `own` are our names and addresses, as the receiver saw them.
pub(crate) fn fill(classify: &dyn Classify, results: &mut [RecipientResult], own: &[String]) {
    let mut known: Option<usize> = None;
    for at in 0..results.len() {
        let Err(failure) = &results[at].result else { continue };
        // Recipients of one transaction mostly hear the same.
        let same = known.map(|known| &results[known]).filter(|known| {
            known.via == results[at].via && known.result.as_ref().is_err_and(|other| other == failure)
        });
        results[at].classification = match same {
            Some(same) => same.classification.clone(),
            None => of_failure(classify, failure, results[at].via.as_ref().map(|via| &*via.host), own),
        };
        known = Some(at);
    }
}

/// The meaning of a failure; `host` is the one that was spoken to.
pub(crate) fn of_failure(
    classify: &dyn Classify,
    failure: &Failure,
    host: Option<&str>,
    own: &[String],
) -> Option<Arc<Classification>> {
    match &failure.reply {
        // The reply to a null MX is our own.
        Some(reply) if host.is_some() || failure.status != NULL_MX => classify.classify(&ReceiverReply {
            host: host.map(str::to_owned),
            code: Some(reply.code),
            status: reply.enhanced.map(|status| status.to_string()),
            command: Some(command(failure.command).to_owned()),
            text: reply.text.clone(),
            own: own.to_vec(),
        }),
        _ => own::answer(failure.status),
    }
}

/// The meaning of what an earlier attempt found, by the rules in force now.
pub(crate) fn of_last(
    classify: &dyn Classify,
    last: &LastAttempt,
    own: &[String],
) -> Option<Arc<Classification>> {
    let status: Option<EnhancedCode> = last.status.parse().ok();
    match last.code {
        Some(code) if code < 400 => None,
        Some(code) if last.host.is_some() || status != Some(NULL_MX) => classify.classify(&ReceiverReply {
            host: last.host.clone(),
            code: Some(code),
            // What is stored is ours where the receiver gave none; its words begin with its own.
            status: EnhancedCode::leading(&last.text).map(|status| status.to_string()),
            command: None,
            text: last.text.clone(),
            own: own.to_vec(),
        }),
        _ => own::answer(status?),
    }
}

/// The word for the step of the dialogue.
fn command(step: DialogueStep) -> &'static str {
    match step {
        DialogueStep::Connect | DialogueStep::Greeting => "CONNECT",
        DialogueStep::Ehlo => "EHLO",
        DialogueStep::StartTls | DialogueStep::Handshake => "STARTTLS",
        DialogueStep::Auth => "AUTH",
        DialogueStep::Mail => "MAIL",
        DialogueStep::Rcpt => "RCPT",
        DialogueStep::Data => "DATA",
        DialogueStep::Content | DialogueStep::EndOfData => "DOT",
    }
}
