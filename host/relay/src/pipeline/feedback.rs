//! What a message gets for feedback loops.

use relevo_mailkit::labels::Stream;
use relevo_mailkit::model::{AuthorRole, Report};
use relevo_submission::{Cfbl, FeedbackFields};

use crate::settings::{FeedbackId, Settings};

/// The fields of a message from the configured domain `sending`, by the settings.
pub(super) fn wanted(settings: &Settings, sending: &str, stream: Stream, report: &Report) -> FeedbackFields {
    let returns = &settings.returns;
    let is_marketing = stream == Stream::Marketing;
    let feedback_id = match returns.feedback_id {
        FeedbackId::Off => false,
        FeedbackId::Marketing => is_marketing,
        FeedbackId::All => true,
    };
    // One that the sender set leads elsewhere, and a second one is ignored (RFC 9477 section 3.2).
    let takes_complaints = returns.cfbl && is_marketing && !report.cfbl;
    let from = report.authors.iter().find(|author| author.role == AuthorRole::From);
    let cfbl = from.filter(|_| takes_complaints).and_then(|from| {
        Cfbl::aligned(returns.domain_for(&settings.directory, sending)?, &from.domain.to_ascii_lowercase())
    });
    FeedbackFields { feedback_id, cfbl }
}
