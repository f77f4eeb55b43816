//! Parts of a submission, as a request gives them.

use relevo_api::CheckedRequest;
use relevo_api::message::OutgoingMessage;
use relevo_api::request::{TlsChoice, TrackingChoice};
use relevo_mailkit::address::Address;
use relevo_mailkit::envelope::Parameter;
use relevo_mailkit::labels::Labels;
use relevo_queue::{ItemId, Millis};

use super::{Addressed, Sender};
use crate::pipeline::{Protocol, SubmissionOptions, TrackingOverride, Via};

pub(super) fn scheduled_at(request: &CheckedRequest) -> Option<Millis> {
    request.scheduled_at.and_then(|at| Millis::try_from(at).ok())
}

pub(super) fn labels(
    request: &CheckedRequest,
    message: &OutgoingMessage,
    (first, id): (ItemId, ItemId),
    batch: &str,
    template: Option<&str>,
) -> Labels {
    let asked = &request.request;
    Labels {
        stream: asked.stream,
        domain: String::new(),
        topic: asked.topic.clone().unwrap_or_default(),
        tags: asked.tags.clone(),
        metadata: message.metadata.clone(),
        template: template.unwrap_or_default().to_owned(),
        email_id: if first == id { String::new() } else { first.to_string() },
        batch_id: batch.to_owned(),
    }
}

pub(super) fn options(request: &CheckedRequest, labels: Labels) -> SubmissionOptions {
    let asked = &request.request;
    SubmissionOptions {
        labels,
        send_at: scheduled_at(request),
        expires_at: request.expires_at.and_then(|at| Millis::try_from(at).ok()),
        tracking: tracking_override(&asked.tracking, request.excluded_domains.clone()),
        enforce_tls: asked.tls == Some(TlsChoice::Enforced),
    }
}

pub(super) fn tracking_override(asked: &TrackingChoice, exclude_domains: Vec<String>) -> TrackingOverride {
    TrackingOverride {
        opens: asked.opens,
        clicks: asked.clicks,
        text_links: asked.clicks_text,
        exclude_domains,
    }
}

pub(super) fn via(sender: &Sender) -> Via {
    Via {
        protocol: Protocol::Http,
        peer: sender.peer,
        helo: None,
        tls: None,
        auth_user: Some(sender.name.clone()),
    }
}

/// The parameter of MAIL that internationalised addresses need (RFC 6531).
pub(super) fn smtputf8(to: &Addressed<'_>) -> Vec<Parameter> {
    let needs = |address: &Address| address.needs_smtputf8();
    let any = needs(to.sender) || to.recipients.iter().any(|(address, _)| needs(address));
    any.then(Parameter::smtputf8).into_iter().collect()
}
