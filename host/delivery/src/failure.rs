//! Failures that are found here rather than told by a remote.

use relevo_mailkit::reply::EnhancedCode;
use relevo_resolve::ResolveError;
use relevo_smtp::client::{DialogueStep, Failure, RemoteReply};

/// 4.3.0: something here broke.
pub(crate) const INTERNAL: EnhancedCode = EnhancedCode::new(4, 3, 0);
/// The detail of [`INTERNAL`] when a copy could not be made.
pub(crate) const NO_COPY: &str = "the copy could not be made; see the log";
/// 4.3.5: system incorrectly configured.
pub(crate) const MISCONFIGURED: EnhancedCode = EnhancedCode::new(4, 3, 5);
/// 4.4.1: no answer from host.
pub(crate) const NO_ANSWER: EnhancedCode = EnhancedCode::new(4, 4, 1);
/// 4.4.3: directory server failure.
pub(crate) const DIRECTORY: EnhancedCode = EnhancedCode::new(4, 4, 3);
/// 4.4.7: delivery time expired.
pub(crate) const EXPIRED: EnhancedCode = EnhancedCode::new(4, 4, 7);
/// 5.1.2: bad destination system address.
pub(crate) const BAD_SYSTEM: EnhancedCode = EnhancedCode::new(5, 1, 2);
/// 5.1.10: recipient address has null MX (RFC 7505 section 4.2).
pub(crate) const NULL_MX: EnhancedCode = EnhancedCode::new(5, 1, 10);
/// 5.3.4: message too big for system.
pub(crate) const TOO_BIG: EnhancedCode = EnhancedCode::new(5, 3, 4);
/// 5.4.4: unable to route.
pub(crate) const UNROUTABLE: EnhancedCode = EnhancedCode::new(5, 4, 4);
/// 5.3.3: system not capable of selected features.
pub(crate) const NOT_CAPABLE: EnhancedCode = EnhancedCode::new(5, 3, 3);
/// 5.4.7: the time that the sender gave is over (RFC 2852 section 4).
pub(crate) const TOO_LATE: EnhancedCode = EnhancedCode::new(5, 4, 7);
/// 5.7.30: REQUIRETLS support required (RFC 8689 section 7).
pub(crate) const TLS_NOT_KEPT: EnhancedCode = EnhancedCode::new(5, 7, 30);
/// 5.4.6: routing loop detected.
pub(crate) const LOOP: EnhancedCode = EnhancedCode::new(5, 4, 6);
/// 5.6.3: conversion required but not supported.
pub(crate) const NOT_CONVERTED: EnhancedCode = EnhancedCode::new(5, 6, 3);
/// 5.6.7: non-ASCII addresses not permitted for that sender or recipient (RFC 6531 section 4.3).
pub(crate) const UTF8_ADDRESS: EnhancedCode = EnhancedCode::new(5, 6, 7);
/// 5.6.9: UTF-8 header message cannot be transferred (RFC 6531 section 4.3).
pub(crate) const UTF8_HEADER: EnhancedCode = EnhancedCode::new(5, 6, 9);

/// 5.7.1: delivery not authorized: the address is suppressed.
pub(crate) const SUPPRESSED: EnhancedCode = EnhancedCode::new(5, 7, 1);

/// Ours, before or beside any connection. Permanent by the class of `status`.
pub(crate) fn ours(status: impl Into<EnhancedCode>, detail: impl Into<String>) -> Failure {
    let failure = Failure::of_host(DialogueStep::Connect, status, detail);
    Failure { permanent: failure.status.is_permanent(), try_next_host: false, ..failure }
}

/// Whether it is our own configuration that is at fault, rather than what a remote says of its own.
pub(crate) fn is_misconfigured(failure: &Failure) -> bool {
    failure.status == MISCONFIGURED && failure.reply.is_none()
}

/// What a failed lookup means for the recipients of the domain.
pub(crate) fn unresolved(error: &ResolveError) -> Failure {
    let status = match error {
        ResolveError::NoSuchDomain(_) | ResolveError::NoMailHost(_) => BAD_SYSTEM,
        ResolveError::NullMx(_) => NULL_MX,
        ResolveError::LoopsBack(_) => LOOP,
        ResolveError::Temporary { .. } => DIRECTORY,
    };
    let mut failure = ours(status, error.to_string());
    if status == NULL_MX {
        // RFC 7505 section 4.2 gives the reply that a sender is to see: 556 5.1.10.
        failure.reply = Some(RemoteReply { code: 556, enhanced: Some(NULL_MX), text: error.to_string() });
    }
    failure
}

/// The failure with the class of its status by what is done (RFC 3463 section 2), whatever the
/// remote wrote.
pub(crate) fn with_class(mut failure: Failure) -> Failure {
    failure.status = failure.status.with_class(if failure.permanent { 5 } else { 4 });
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_map_to_their_status() {
        let null = unresolved(&ResolveError::NullMx("x".into()));
        assert_eq!(
            (null.permanent, null.status, null.reply.map(|r| r.code)),
            (true, (5, 1, 10).into(), Some(556))
        );
        let temp = unresolved(&ResolveError::Temporary { name: "x".into(), detail: "SERVFAIL".into() });
        assert_eq!((temp.permanent, temp.status), (false, (4, 4, 3).into()));
        assert_eq!(unresolved(&ResolveError::NoSuchDomain("x".into())).status, (5, 1, 2));
        assert_eq!(unresolved(&ResolveError::LoopsBack("x".into())).status, (5, 4, 6));
    }
}
