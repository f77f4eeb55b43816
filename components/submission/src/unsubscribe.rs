//! Whether the recipients of a message can unsubscribe, and which header fields say so.

use relevo_mailkit::labels::{Labels, Stream};
use relevo_mailkit::model::Report;
pub use relevo_mailkit::unsubscribe::PLACEHOLDER;

use crate::{ListUnsubscribe, SubmissionOptions};

/// Returns true if a recipient can leave mail with these labels. [`PLACEHOLDER`] in its content is
/// replaced then; templates get it as `unsubscribe_url`.
#[must_use]
pub fn can_leave(labels: &Labels) -> bool {
    labels.stream == Stream::Marketing || !labels.topic.is_empty()
}

/// The fields that a message gets (RFC 2369, RFC 8058): marketing mail that has no List-Unsubscribe
/// of its own. `mailbox` is the configured one.
#[must_use]
pub fn fields(asked: &SubmissionOptions, report: &Report, mailbox: Option<&str>) -> Option<ListUnsubscribe> {
    let adds = asked.labels.stream == Stream::Marketing && !report.list_unsubscribe;
    adds.then(|| ListUnsubscribe { mailbox: mailbox.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::report;

    #[test]
    fn marketing_mail_without_a_field_of_its_own_gets_one() {
        let mut asked = SubmissionOptions::default();
        assert_eq!(fields(&asked, &report(), None), None);
        asked.labels.topic = "news".to_owned();
        assert!(can_leave(&asked.labels));
        assert_eq!(fields(&asked, &report(), None), None, "transactional mail has none");
        asked.labels = Labels { stream: Stream::Marketing, ..Labels::default() };
        let mailbox = Some("leave@example.com".to_owned());
        let got = fields(&asked, &report(), mailbox.as_deref());
        assert_eq!(got, Some(ListUnsubscribe { mailbox }));
        let own = Report { list_unsubscribe: true, ..report() };
        assert_eq!(fields(&asked, &own, None), None);
    }
}
