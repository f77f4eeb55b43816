//! Feedback reports: `message/feedback-report` (RFC 5965, RFC 6591), and the older form of
//! Microsoft's programme, which names the recipient in a header field.

use relevo_mailkit::returned::FeedbackReport;

use crate::Parts;
use crate::fields::{Fields, clean, mailbox};
use crate::status::MAX_NAME;

/// Recipients of a report that are kept.
const MAX_RECIPIENTS: usize = 16;

/// The field in which Microsoft's reports name the recipient.
const ORIGINAL_RECIPIENT: &str = "x-hmxmroriginalrecipient";

pub(crate) struct Feedback {
    pub(crate) reporter: String,
    pub(crate) report: FeedbackReport,
}

/// The feedback report of a message that is one.
pub(crate) fn read(fields: &Fields, parts: &Parts<'_>) -> Option<Feedback> {
    let original = parts.message.map(Fields::of).unwrap_or_default();
    let named = fields.get(ORIGINAL_RECIPIENT).or_else(|| original.get(ORIGINAL_RECIPIENT)).map(mailbox);
    let Some(part) = parts.feedback else {
        // Its body is a letter, with the message attached.
        let recipients = vec![named.filter(|_| parts.message.is_some())?];
        let report = FeedbackReport {
            feedback_type: "abuse".to_owned(),
            recipients,
            incidents: 1,
            ..FeedbackReport::default()
        };
        return Some(Feedback { reporter: String::new(), report });
    };
    let groups = Fields::groups(part);
    let get = |name: &str| groups.iter().find_map(|group| group.get(name));
    let text = |name: &str| get(name).map(|value| clean(value, MAX_NAME)).unwrap_or_default();
    let reporter = get("reporting-mta").map(|value| value.rsplit_once(';').map_or(value, |(_, name)| name));
    let mut recipients: Vec<String> = groups
        .iter()
        .flat_map(|group| group.all("original-rcpt-to"))
        .take(MAX_RECIPIENTS)
        .map(mailbox)
        .collect();
    recipients.extend(named.filter(|_| recipients.is_empty()));
    let report = FeedbackReport {
        feedback_type: text("feedback-type").to_ascii_lowercase(),
        user_agent: text("user-agent"),
        mail_from: get("original-mail-from").map(mailbox).unwrap_or_default(),
        recipients,
        source_ip: text("source-ip"),
        auth_failure: text("auth-failure").to_ascii_lowercase(),
        incidents: get("incidents").and_then(|value| value.parse().ok()).unwrap_or(1),
    };
    Some(Feedback { reporter: clean(reporter.unwrap_or_default(), MAX_NAME), report })
}
