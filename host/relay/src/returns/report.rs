//! Delivery reports: late bounces and delays.

use std::sync::Arc;

use relevo_mailkit::classification::ReceiverReply;
use relevo_mailkit::event::{Attempt, Event, MailReport, SpfVerdict};
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::returned::{ReportedAction, ReportedRecipient, ReturnedMail};
use relevo_mailkit::source::Source;
use relevo_mailkit::text::escaped;
use relevo_queue::{ItemId, NewEvent};

use super::history::{RecipientHistory, Whom};
use super::{NotTaken, Returned, Returns};

const MAX_TEXT: usize = 1_024;
const MAX_NAME: usize = 255;
/// The status of a report that gives none (RFC 3463 section 3.1).
const UNKNOWN: &str = "5.0.0";

impl Returns {
    /// Writes what a delivery report says about the recipient whose return path it came to.
    pub(super) async fn delivery_report(
        &self,
        returned: &Returned,
        mail: &ReturnedMail,
        message: &Arc<dyn Source>,
    ) -> Result<&'static str, NotTaken> {
        let Some(claims) = self.claims(returned, mail) else { return Ok("no_return_path") };
        let item = ItemId(claims.message);
        let signed_by = self.signers(returned, mail, message).await?;
        let spf = self.spf(returned).await;
        let _alone = self.lock(claims.message).lock().await;
        let Some(history) = self.history(item, Whom::Index(claims.recipient)).await? else {
            return Ok("unknown_message");
        };
        let Some(reported) = about(&mail.recipients, &history.attempt.recipient) else {
            return Ok("no_recipient");
        };
        let result = match reported.action {
            ReportedAction::Failed if history.has_failed => return Ok("repeated"),
            ReportedAction::Delayed if history.is_delayed || history.has_failed => return Ok("repeated"),
            ReportedAction::Failed => "bounced",
            ReportedAction::Delayed => "delayed",
            // Good news, and none that the sender could use: the next hop has the message anyway.
            ReportedAction::Delivered => return Ok("delivered"),
            ReportedAction::Relayed => return Ok("relayed"),
            ReportedAction::Expanded => return Ok("expanded"),
            ReportedAction::Unknown => return Ok("no_action"),
        };
        let report = mail_report(returned, mail, reported.action.name(), (signed_by, spf));
        let event = self.event(returned, item, history, reported, report);
        self.parts.events.append(vec![event]).await?;
        Ok(result)
    }

    fn event(
        &self,
        returned: &Returned,
        item: ItemId,
        history: RecipientHistory,
        reported: &ReportedRecipient,
        report: MailReport,
    ) -> NewEvent {
        let now = self.parts.clock.now();
        let words = escaped(&reported.diagnostic, MAX_TEXT);
        let code = reported.is_smtp.then(|| reply_code(&reported.diagnostic)).flatten();
        let status = status(reported);
        let remote = escaped(&reported.remote, MAX_NAME);
        let mx = (!remote.is_empty()).then_some(remote);
        let reply = ReceiverReply {
            host: mx.clone().or_else(|| history.attempt.mx.clone()),
            code,
            status: (!status.is_empty()).then(|| status.clone()),
            command: None,
            text: words.clone(),
            own: vec![returned.settings.hostname.clone()],
        };
        let classification = self.parts.classify.classify(&reply).map(|found| (*found).clone());
        let is_reply = code.is_some();
        let reason = if words.is_empty() { "the report gives no reason".to_owned() } else { words.clone() };
        let attempt = Attempt {
            mx,
            mx_ip: None,
            tls: None,
            tls_verified: false,
            tls_policy: None,
            tls_failure: None,
            code,
            status: if status.is_empty() { UNKNOWN.to_owned() } else { status },
            reply: is_reply.then_some(words),
            reason: (!is_reply).then_some(reason),
            delay_ms: now.saturating_sub(item.millis()),
            classification,
            report: Some(Box::new(report)),
            next_attempt: None,
            blame: None,
            ..history.attempt
        };
        let event = match reported.action {
            ReportedAction::Delayed => Event::DeliveryDelayed(attempt),
            _ => Event::Bounced(attempt),
        };
        NewEvent { tenant: history.tenant, at: now, item: Some(item), labels: history.labels, event }
    }
}

/// The source of a report, for its event.
pub(super) fn mail_report(
    returned: &Returned,
    mail: &ReturnedMail,
    action: &str,
    (signed_by, spf): (Vec<String>, SpfVerdict),
) -> MailReport {
    let peer = returned.peer.to_canonical().to_string();
    let named = escaped(&mail.reporter, MAX_NAME);
    MailReport {
        reported_by: if named.is_empty() { peer.clone() } else { named },
        action: escaped(action, MAX_NAME),
        peer,
        signed_by,
        spf: Some(spf),
    }
}

/// The entry of a recipient. The return path is its alone, so an entry with another address is
/// about where its mail was forwarded to; the worst of these counts.
fn about<'r>(recipients: &'r [ReportedRecipient], address: &str) -> Option<&'r ReportedRecipient> {
    let is_it = |text: &str| text.eq_ignore_ascii_case(address);
    let rank = |recipient: &&ReportedRecipient| match recipient.action {
        ReportedAction::Failed => 0,
        ReportedAction::Delayed => 1,
        _ => 2,
    };
    let own = recipients.iter().filter(|r| is_it(&r.original) || is_it(&r.address)).min_by_key(rank);
    own.or_else(|| recipients.iter().min_by_key(rank))
}

/// The three digits that a reply begins with.
fn reply_code(diagnostic: &str) -> Option<u16> {
    let digits = diagnostic.get(..3)?;
    digits.parse().ok().filter(|code| (400..600).contains(code))
}

/// The status code of the report, or of its diagnostic where that says more.
fn status(reported: &ReportedRecipient) -> String {
    let usable = |code: &EnhancedCode| code.class != 2;
    let of_report = reported.status.parse::<EnhancedCode>().ok().filter(usable);
    let words = reported.diagnostic.get(4..).unwrap_or_default();
    let of_words = EnhancedCode::leading(words).filter(usable);
    let says_more = |code: &EnhancedCode| (code.subject, code.detail) != (0, 0);
    let best = of_words.filter(says_more).or(of_report).or(of_words);
    best.map(|code| code.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(status: &str, diagnostic: &str) -> ReportedRecipient {
        ReportedRecipient {
            status: status.into(),
            diagnostic: diagnostic.into(),
            is_smtp: true,
            ..ReportedRecipient::default()
        }
    }

    #[test]
    fn the_status_is_that_which_says_more() {
        for (of_report, diagnostic, wanted) in [
            ("5.0.0", "550 5.1.1 no such user", "5.1.1"),
            ("5.1.1", "550 no such user", "5.1.1"),
            ("5.1.1", "550 5.0.0 no such user", "5.1.1"),
            ("5.7.1", "554 5.7.26 unauthenticated", "5.7.26"),
            ("2.0.0", "550 no", ""),
            ("", "", ""),
            ("", "é", ""),
        ] {
            assert_eq!(status(&reported(of_report, diagnostic)), wanted, "{of_report} {diagnostic}");
        }
        assert_eq!(reply_code("550-5.1.1 x"), Some(550));
        assert_eq!((reply_code("250 x"), reply_code("5é"), reply_code("")), (None, None, None));
    }

    #[test]
    fn the_recipients_own_entry_counts_and_else_the_worst() {
        let entry = |address: &str, action| ReportedRecipient {
            address: address.into(),
            action,
            ..ReportedRecipient::default()
        };
        let entries = [
            entry("x@a.example", ReportedAction::Delivered),
            entry("Y@a.example", ReportedAction::Delayed),
            entry("z@a.example", ReportedAction::Failed),
        ];
        assert_eq!(about(&entries, "y@A.example").map(|r| r.action), Some(ReportedAction::Delayed));
        assert_eq!(about(&entries, "me@a.example").map(|r| r.action), Some(ReportedAction::Failed));
        assert_eq!(about(&[], "me@a.example"), None);
    }
}
