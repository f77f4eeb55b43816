//! Whether a sender is to be told that its message went to the next host.

use relevo_mailkit::urgency::ByMode;
use relevo_queue::{Lease, Millis, Recipient};

use super::fit::takes_time;
use super::outcome::Via;

/// Returns true if the sender is to be told that the host took the message. A sender that asked for
/// a report of success is told so of a host that does not write any (RFC 3461 section 5.2.2). One
/// that gave a time is told so of a host that does not keep to it, and of each host where it asked
/// for a trace (RFC 2852 section 4.1.4).
pub(crate) fn is_relay_told(lease: &Lease, recipient: &Recipient, via: Option<&Via>, now: Millis) -> bool {
    if recipient.dsn.is_never() {
        return false;
    }
    if recipient.dsn.wants_success() && !via.is_some_and(|via| via.takes_dsn) {
        return true;
    }
    lease.meta.options.deliver_by.is_some_and(|by| {
        let left = by.left_at(now, lease.meta.accepted_at);
        by.trace || (by.mode == ByMode::Notify && !via.is_some_and(|via| takes_time(via.deliver_by, left)))
    })
}
