//! Feedback reports: complaints.

use std::sync::Arc;

use relevo_mailkit::event::{Complained, Event};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::Source;
use relevo_mailkit::token::return_path::ReturnClaims;
use relevo_queue::{ItemId, NewEvent};
use tracing::info;

use super::history::{RecipientHistory, Whom};
use super::report::mail_report;
use super::{NotTaken, Returned, Returns};
use crate::settings::any_contains;

/// Types of feedback that say that a recipient does not want the mail (RFC 5965 section 7.3).
/// Others are counted only: `not-spam`, `auth-failure` (RFC 6591), `other` and unknown ones.
const COMPLAINTS: [&str; 4] = ["abuse", "fraud", "virus", "opt-out"];

impl Returns {
    /// Writes a complaint, if its source is one that is trusted and its message is known.
    pub(super) async fn feedback(
        &self,
        returned: &Returned,
        mail: &ReturnedMail,
        message: &Arc<dyn Source>,
    ) -> Result<&'static str, NotTaken> {
        let Some(feedback) = &mail.feedback else { return Ok("no_feedback") };
        let signed_by = self.signers(returned, mail, message).await?;
        let settings = &returned.settings.returns;
        let is_trusted = any_contains(&settings.feedback_networks, returned.peer)
            || signed_by.iter().any(|domain| may_complain(returned, mail, domain));
        if !is_trusted {
            info!(peer = %returned.peer, signed_by = signed_by.join(" "), "feedback of an unknown source");
            return Ok("feedback_unauthenticated");
        }
        if !COMPLAINTS.contains(&feedback.feedback_type.as_str()) {
            info!(
                kind = feedback.feedback_type,
                auth_failure = feedback.auth_failure,
                source_ip = feedback.source_ip,
                "feedback that is no complaint"
            );
            return Ok("feedback_other");
        }
        let spf = self.spf(returned).await;
        let address = feedback.recipients.first().map(String::as_str);
        let candidates = self.candidates(returned, mail, address);
        for (item, whom) in candidates {
            let _alone = self.lock(item.0).lock().await;
            let Some(history) = self.history(item, whom).await? else { continue };
            if history.has_complained {
                return Ok("repeated");
            }
            let report = mail_report(returned, mail, &feedback.feedback_type, (signed_by, spf));
            let mx = history.attempt.mx.clone();
            let event = complained(item, history, report, self.parts.clock.now());
            self.parts.events.append(vec![event]).await?;
            // Nobody can say which provider it is where the report was faster than the delivery.
            if let Some(mx) = mx {
                (self.parts.complained)(&mx, feedback.source_ip.parse().ok());
            }
            return Ok("complained");
        }
        Ok("unknown_message")
    }

    /// The messages that a complaint may be about, the surest first: by a genuine return path, or
    /// by an id of ours in the returned header.
    pub(super) fn candidates<'m>(
        &self,
        returned: &Returned,
        mail: &'m ReturnedMail,
        address: Option<&'m str>,
    ) -> Vec<(ItemId, Whom<'m>)> {
        if let Some(claims) = self.claims(returned, mail).or_else(|| cfbl_claims(returned, mail)) {
            return vec![(ItemId(claims.message), Whom::Index(claims.recipient))];
        }
        let original = &mail.original;
        let left = original.message_id.trim_start_matches('<').split('@').next();
        let ids = original.received_ids.iter().map(String::as_str).chain(left);
        ids.filter_map(|id| id.parse().ok()).map(|id| (id, Whom::Address(address))).collect()
    }
}

/// Returns true if a complaint counts that this domain signed: as one of a configured source, or by
/// RFC 9477 section 3.5, where the signature is of the report's own From domain and the report has a
/// CFBL-Feedback-ID of ours. Only who got the message has that.
pub(super) fn may_complain(returned: &Returned, mail: &ReturnedMail, domain: &str) -> bool {
    let settings = &returned.settings.returns;
    settings.trusts_domain(domain)
        || is_aligned(domain, &mail.from_domain) && cfbl_claims(returned, mail).is_some()
}

/// RFC 9477 section 3.1: d= is the domain of From, or a parent of it.
fn is_aligned(domain: &str, from_domain: &str) -> bool {
    let rest = from_domain.strip_suffix(domain.to_ascii_lowercase().as_str());
    domain.contains('.') && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What a genuine CFBL-Feedback-ID says, where mail has them.
fn cfbl_claims(returned: &Returned, mail: &ReturnedMail) -> Option<ReturnClaims> {
    let settings = &returned.settings;
    let returns = Some(&settings.returns).filter(|returns| returns.cfbl)?;
    settings.tracking_keys.verify_feedback_id(&returns.domains, &mail.original.cfbl_feedback_id)
}

fn complained(
    item: ItemId,
    history: RecipientHistory,
    report: relevo_mailkit::event::MailReport,
    at: relevo_queue::Millis,
) -> NewEvent {
    let attempt = history.attempt;
    let event = Event::Complained(Complained {
        recipient: attempt.recipient,
        recipient_index: attempt.recipient_index,
        sender: attempt.sender,
        message_id_header: attempt.message_id_header,
        report,
    });
    NewEvent { tenant: history.tenant, at, item: Some(item), labels: history.labels, event }
}
