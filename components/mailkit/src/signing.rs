//! The fields that a DKIM signature covers, and the limits within which a message can be signed.
//!
//! `validate` refuses a message that could not be signed later, `dkim` signs by the same lists, and
//! the checker ([`crate::recheck`]) holds both to the same limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::recheck::policy::MAX_HEADERS;
use crate::transfer::fold;

/// Fields that are signed whether they are there or not, and once more than they are there, so that
/// none can be added afterwards (RFC 6376 section 8.15). A valid message has at most one of each.
pub const OVERSIGNED: [&str; 10] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "reply-to",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];

/// Fields that are signed when they are there (RFC 8058 section 4, RFC 9477 section 3.1.4, Gmail's
/// feedback loop). They are not oversigned: a list may add its own.
pub const SIGNED_WHEN_PRESENT: [&str; 5] =
    ["list-unsubscribe", "list-unsubscribe-post", "feedback-id", "cfbl-address", "cfbl-feedback-id"];

/// Names in `h=`.
pub const MAX_NAMES: usize = 256;

/// Fields of [`SIGNED_WHEN_PRESENT`] that a submitted message may have. Plugins may add some to a
/// copy.
pub const MAX_SIGNED_WHEN_PRESENT: usize = MAX_NAMES - 2 * OVERSIGNED.len() - MAX_HEADERS;

/// Octets of the header block of a copy.
pub const MAX_COPY_HEADER: usize = 1024 * 1024;

/// Octets of the header block of a submitted message. The rest is room for Received, signatures and
/// the fields of plugins.
pub const MAX_SUBMITTED_HEADER: usize = MAX_COPY_HEADER - 64 * 1024;

/// Octets that are signed: the fields of a header block, and the field of the signature.
pub const MAX_TO_SIGN: usize = MAX_COPY_HEADER + 64 * 1024;

/// The whole DKIM-Signature field with its final CRLF. `field` ends in `b=`; the signature is appended
/// in base64, folded.
#[must_use]
pub fn signature_field(field: &[u8], signature: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(signature);
    let mut whole = Vec::with_capacity(field.len() + base64.len() + base64.len() / 24 + 8);
    whole.extend_from_slice(field);
    fold::push_base64(&base64, fold::column(field), &mut whole);
    whole.extend_from_slice(b"\r\n");
    whole
}
