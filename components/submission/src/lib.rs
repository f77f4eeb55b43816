//! From a validated message, its envelope and the settings of its tenant to what is queued. The
//! host and the edge gateway use it, so that both give the same octets.
//!
//! * [`authority`]: who may send as whom.
//! * [`tracking`]: whether and how a message is tracked.
//! * [`unsubscribe`]: whether a message can be left, and its List-Unsubscribe.
//! * [`feedback`]: the fields for feedback loops.
//! * [`options`]: what a sender asks for beyond the envelope.
//! * [`received`]: the Received field.
//! * [`plan`]: the recipe of the copies, the deliveries and their expiry, together in a [`Plan`].
//! * [`recipe`]: what is stored with a message so that its copies can be made later.
//! * [`deliveries`]: the division of recipients into deliveries.
//! * [`egress`]: pool, route and priority.
//!
//! Pure: no clock, no randomness, no IO. The owner of the message's bytes calls the stages and the queue.

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::id::ItemId;
use relevo_mailkit::model::ValidateOptions;

pub mod authority;
pub mod deliveries;
pub mod egress;
pub mod feedback;
pub mod options;
mod origin;
pub mod plan;
pub mod received;
pub mod recipe;
pub mod tracking;
pub mod unsubscribe;

pub use authority::{NotAuthorised, Ownership};
pub use deliveries::{Disposition, PlannedDelivery};
pub use egress::{EgressChoice, EgressGrants};
pub use feedback::{Cfbl, FeedbackFields};
pub use options::{SubmissionOptions, TrackingOverride};
pub use origin::{Origin, Protocol, Via};
pub use plan::{CheckedMessage, NoTrackingKey, Plan, PlanSettings, Tracked};
pub use received::{date, field as received_field};
pub use recipe::{Links, ListUnsubscribe, Recipe, RecipeError, Signing};
pub use tracking::Tracking;

/// More Received fields are a loop (RFC 5321 section 6.3).
pub const MAX_RECEIVED: u32 = 100;

/// Nesting of multipart and message/rfc822.
pub const MAX_DEPTH: u32 = 50;

/// Parts of a message.
pub const MAX_PARTS: u32 = 2_000;

/// The options of `validate` for a submitted message. `now` is in milliseconds since 1970,
/// `max_size` in octets.
#[must_use]
pub fn validate_options(
    hostname: &str,
    id: ItemId,
    now: i64,
    envelope: &Envelope,
    max_size: u64,
) -> ValidateOptions {
    ValidateOptions {
        max_size,
        max_received: MAX_RECEIVED,
        max_depth: MAX_DEPTH,
        max_parts: MAX_PARTS,
        smtputf8: envelope.has_smtputf8(),
        hostname: hostname.to_owned(),
        now: now.div_euclid(1000),
        message_id_left: id.to_string(),
        downgrade: false,
        include_headers: false,
        strict_headers: false,
    }
}

#[cfg(test)]
mod testing;
