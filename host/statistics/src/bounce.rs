//! Classes of bounces, by the enhanced status code (RFC 3463, RFC 7505, RFC 7372).
//!
//! | class | codes |
//! | --- | --- |
//! | hard | X.1.*, X.2.1: the address, mailbox or domain does not exist, is disabled or takes no mail |
//! | soft | X.2.2, X.2.4, X.3.*, X.4.*: a full mailbox, the receiver's system or its network |
//! | block | X.7.*, X.1.7, X.1.8: the receiver's policy, or it does not accept the sender |
//! | content | X.2.3, X.3.4, X.6.*: the size or the content |
//! | other | the rest: X.0.0, X.5.* |
//!
//! A reply of 552 without a code of its own means a full mailbox (RFC 5321 section 4.2.3). The text
//! of a reply is never read.

use relevo_mailkit::event::Attempt;
use relevo_mailkit::reply::EnhancedCode;
use relevo_store::Counter;

/// The counter of a bounce.
pub(crate) fn class(attempt: &Attempt) -> Counter {
    let Ok(status) = attempt.status.parse::<EnhancedCode>() else { return Counter::BouncedOther };
    match (status.subject, status.detail) {
        (1, 7 | 8) | (7, _) => Counter::BouncedBlock,
        (1, _) | (2, 1) => Counter::BouncedHard,
        (2, 3) | (3, 4) | (6, _) => Counter::BouncedContent,
        (2, 2 | 4) | (3 | 4, _) => Counter::BouncedSoft,
        (0, 0) if attempt.code == Some(552) => Counter::BouncedSoft,
        _ => Counter::BouncedOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_from_the_enhanced_code() {
        for (status, code, wanted) in [
            ("5.1.1", Some(550), Counter::BouncedHard),
            ("5.1.2", None, Counter::BouncedHard),
            ("5.1.10", None, Counter::BouncedHard),
            ("5.2.1", Some(550), Counter::BouncedHard),
            ("5.1.8", Some(550), Counter::BouncedBlock),
            ("5.7.1", Some(550), Counter::BouncedBlock),
            ("5.7.26", Some(550), Counter::BouncedBlock),
            ("5.2.2", Some(552), Counter::BouncedSoft),
            ("5.3.2", Some(554), Counter::BouncedSoft),
            ("5.4.4", None, Counter::BouncedSoft),
            ("5.2.3", Some(552), Counter::BouncedContent),
            ("5.3.4", Some(552), Counter::BouncedContent),
            ("5.6.1", Some(554), Counter::BouncedContent),
            ("5.0.0", Some(552), Counter::BouncedSoft),
            ("5.0.0", Some(550), Counter::BouncedOther),
            ("5.5.1", Some(550), Counter::BouncedOther),
            ("", Some(550), Counter::BouncedOther),
            ("no code", None, Counter::BouncedOther),
        ] {
            let attempt = Attempt { status: status.into(), code, ..Attempt::default() };
            assert_eq!(class(&attempt), wanted, "{status} {code:?}");
        }
    }
}
