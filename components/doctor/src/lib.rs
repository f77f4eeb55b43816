//! Judges a sending domain: what is in DNS, in certificates and in the configuration, against the
//! RFCs and the rules of large receivers.
//!
//! [`examine`] is a pure function. It takes a [`Subject`] and the [`Answers`] of DNS that are known,
//! and returns the checks, or the [`Question`]s that it needs answered. Its caller asks them and
//! calls again. A question that nobody answers is asked once: give [`Answer::Failed`].
//!
//! Answers are hostile: texts are bounded, SPF has the limits of RFC 7208, and the number of
//! questions is bounded by [`MAX_QUESTIONS`].

pub mod blocklist;
mod bulk;
mod caa;
mod check;
mod dkim;
mod dmarc;
mod facts;
mod hosts;
mod identity;
pub mod imports;
mod rates;
mod return_path;
pub mod spf;
mod subject;
mod tags;

pub use check::{Check, DnsRecord, Status};
pub use facts::{Answer, Answers, MAX_QUESTIONS, Question, RecordKind};
pub use rates::{MIN_RECIPIENTS, rate_checks};
pub use subject::{
    Certificate, DkimKey, ProviderRate, ReturnDomain, Source, Subject, TrackingHost, TrackingReply,
};

use facts::Lookups;

/// Judges a domain. The checks are in the order in which a person would mend them.
///
/// # Errors
/// The questions that must be answered before there is a judgement.
pub fn examine(subject: &Subject, answers: &Answers) -> Result<Vec<Check>, Vec<Question>> {
    let lookups = Lookups::new(answers);
    let sources = identity::sources(subject, &lookups);
    let mut checks = spf::checks(subject, &sources, &lookups);
    checks.extend(dkim::checks(subject, &lookups));
    checks.extend(dmarc::checks(subject, &lookups));
    checks.extend(return_path::checks(subject, &lookups));
    checks.extend(identity::checks(subject, &sources, &lookups));
    checks.extend(hosts::checks(subject, &lookups));
    checks.extend(rates::checks(subject));
    checks.extend(blocklist::checks(subject));
    checks.extend(imports::checks(&subject.snds));
    let rules = bulk::checks(subject, &checks);
    checks.extend(rules);
    let missing = lookups.missing();
    if missing.is_empty() { Ok(checks) } else { Err(missing) }
}
