//! Rates of complaints and hard bounces.

use crate::check::{Check, Status, shown};
use crate::subject::{ProviderRate, Subject};

/// Gmail and Yahoo ask for less than 0.1 %, and act from 0.3 % on.
const COMPLAINTS: [f64; 2] = [0.001, 0.003];
/// Chosen by us: no provider publishes one. Lists that were gathered with consent stay below 1 %.
const BOUNCES: [f64; 2] = [0.02, 0.05];
/// Fewer recipients say nothing: one complaint of a hundred is one per cent.
pub const MIN_RECIPIENTS: u64 = 1_000;

/// Google: Email sender guidelines.
pub(crate) const GMAIL: &str = "https://support.google.com/a/answer/81126";
/// Yahoo: Sender best practices.
pub(crate) const YAHOO: &str = "https://senders.yahooinc.com/best-practices/";
const OURS: &str = "M3AAWG Sender Best Common Practices";

/// The checks of one provider's rates.
#[must_use]
pub fn rate_checks(rate: &ProviderRate) -> Vec<Check> {
    let source = if rate.provider == "yahoo" { YAHOO } else { GMAIL };
    let origin = shown(&rate.origin);
    let about = |check: Check| check.about(format!("{} ({origin})", shown(&rate.provider)));
    if let Some(reported) = rate.reported {
        return vec![about(judged("reputation.complaints", source, "complaints", reported, COMPLAINTS))];
    }
    let recipients = rate.delivered.saturating_add(rate.bounced);
    if recipients < MIN_RECIPIENTS {
        let message = format!("{recipients} recipients: a rate means something from {MIN_RECIPIENTS} on");
        return vec![about(Check::new("reputation.complaints", source, Status::Skip, message))];
    }
    let complaints = share(rate.complained, rate.delivered);
    let bounces = share(rate.bounced, recipients);
    vec![
        about(judged("reputation.complaints", source, "complaints", complaints, COMPLAINTS)),
        about(judged("reputation.bounces", OURS, "hard bounces", bounces, BOUNCES)),
    ]
}

pub(crate) fn checks(subject: &Subject) -> Vec<Check> {
    subject.rates.iter().flat_map(rate_checks).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn judged(check: &'static str, source: &'static str, what: &str, rate: f64, [warn, fail]: [f64; 2]) -> Check {
    let status = match rate {
        rate if rate >= fail => Status::Fail,
        rate if rate >= warn => Status::Warn,
        _ => Status::Pass,
    };
    let percent = |rate: f64| format!("{:.2} %", rate * 100.0);
    let message = match status {
        Status::Fail => format!("{} {what}: {} is the limit", percent(rate), percent(fail)),
        Status::Warn => format!(
            "{} {what}: stay below {}, and never reach {}",
            percent(rate),
            percent(warn),
            percent(fail)
        ),
        _ => format!("{} {what}", percent(rate)),
    };
    Check::new(check, source, status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(delivered: u64, complained: u64, bounced: u64) -> Vec<Status> {
        let rate = ProviderRate {
            provider: "google".into(),
            delivered,
            complained,
            bounced,
            origin: "events".into(),
            reported: None,
        };
        rate_checks(&rate).iter().map(|check| check.status).collect()
    }

    #[test]
    fn a_warning_comes_before_the_limit() {
        assert_eq!(statuses(10_000, 9, 0), [Status::Pass, Status::Pass]);
        assert_eq!(statuses(10_000, 10, 0), [Status::Warn, Status::Pass]);
        assert_eq!(statuses(10_000, 30, 0), [Status::Fail, Status::Pass]);
        assert_eq!(statuses(9_500, 0, 500), [Status::Pass, Status::Fail]);
        assert_eq!(statuses(500, 400, 100), [Status::Skip], "too few say nothing");
    }
}
