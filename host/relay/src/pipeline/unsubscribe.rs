//! What marketing mail needs before it is accepted.

use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::Report;
use relevo_mailkit::unsubscribe::MAX_TOPIC;
use relevo_submission::{ListUnsubscribe, unsubscribe};

use super::checks::UncheckedMessage;
use super::submission::Rejection;

/// The List-Unsubscribe fields of a message; none if it gets none.
pub(super) fn fields(incoming: &UncheckedMessage, report: &Report) -> Option<ListUnsubscribe> {
    unsubscribe::fields(&incoming.options, report, incoming.settings.unsubscribe_mailbox.as_deref())
}

/// An unsubscribe URL names the topic, so it must not be too long.
pub(super) fn check_topic(labels: &Labels) -> Result<(), Rejection> {
    if labels.topic.len() <= MAX_TOPIC {
        return Ok(());
    }
    let text = format!("a topic has at most {MAX_TOPIC} octets");
    Err(Rejection::new(550, (5, 6, 0), "topic-too-long", &text))
}

/// Marketing mail has an unsubscribe URL, and the sending domain has no host for it.
pub(super) fn no_host() -> Rejection {
    let text = "marketing mail needs an unsubscribe URL, and the sending domain has no tracking host for it: \
                configure `tracking`, or set a List-Unsubscribe field";
    Rejection::new(550, (5, 7, 1), "no-unsubscribe-host", text)
}
