//! The rules of large receivers for bulk senders: each passes or fails by what was checked before.

use crate::check::{Check, Status};
use crate::rates::{GMAIL, YAHOO};
use crate::subject::Subject;

const MICROSOFT: &str = "https://techcommunity.microsoft.com/blog/microsoftdefenderforoffice365blog/strengthening-email-ecosystem-outlook%E2%80%99s-new-requirements-for-high%E2%80%90volume-senders/4399730";

struct Rule {
    check: &'static str,
    source: &'static str,
    /// The checks it stands on. It fails with one of them, and is unknown with one of them.
    on: &'static [&'static str],
    message: &'static str,
}

const fn rule(
    check: &'static str,
    source: &'static str,
    on: &'static [&'static str],
    message: &'static str,
) -> Rule {
    Rule { check, source, on, message }
}

const SPF: &[&str] = &["spf.record", "spf.sources", "spf.lookups"];
const DKIM: &[&str] = &["dkim.record"];
const DMARC: &[&str] = &["dmarc.record"];
const ALIGNMENT: &[&str] = &["dmarc.alignment"];
const NAMES: &[&str] = &["ptr", "ehlo.address"];
const ONE_CLICK: &[&str] = &["unsubscribe.one_click"];
const COMPLAINTS: &[&str] = &["reputation.complaints"];

const RULES: &[Rule] = &[
    rule("gmail.spf", GMAIL, SPF, "SPF for the domain"),
    rule("gmail.dkim", GMAIL, DKIM, "DKIM for the domain"),
    rule("gmail.dmarc", GMAIL, DMARC, "a DMARC policy, p=none at least"),
    rule("gmail.alignment", GMAIL, ALIGNMENT, "From aligned with SPF or DKIM"),
    rule("gmail.names", GMAIL, NAMES, "valid forward and reverse DNS of the sending addresses"),
    rule("gmail.one_click", GMAIL, ONE_CLICK, "one-click unsubscribing from marketing mail"),
    rule("gmail.complaints", GMAIL, COMPLAINTS, "a spam rate below 0.3 %"),
    rule("yahoo.spf", YAHOO, SPF, "SPF for the domain"),
    rule("yahoo.dkim", YAHOO, DKIM, "DKIM for the domain"),
    rule("yahoo.dmarc", YAHOO, DMARC, "a DMARC policy, p=none at least"),
    rule("yahoo.alignment", YAHOO, ALIGNMENT, "From aligned with SPF or DKIM"),
    rule("yahoo.names", YAHOO, NAMES, "valid forward and reverse DNS of the sending addresses"),
    rule("yahoo.one_click", YAHOO, ONE_CLICK, "one-click unsubscribing from marketing mail"),
    rule("yahoo.complaints", YAHOO, COMPLAINTS, "a spam rate below 0.3 %"),
    rule("microsoft.spf", MICROSOFT, SPF, "SPF passes"),
    rule("microsoft.dkim", MICROSOFT, DKIM, "DKIM passes"),
    rule("microsoft.dmarc", MICROSOFT, DMARC, "a DMARC policy, p=none at least"),
    rule("microsoft.alignment", MICROSOFT, ALIGNMENT, "From aligned with SPF or DKIM"),
];

pub(crate) fn checks(subject: &Subject, known: &[Check]) -> Vec<Check> {
    RULES.iter().map(|rule| judged(rule, known).about(&subject.domain)).collect()
}

fn judged(rule: &Rule, known: &[Check]) -> Check {
    // Gmail and Yahoo count complaints of their own users.
    let provider = rule.check.split('.').next().unwrap_or_default();
    let is_theirs = |check: &&Check| {
        let about = check.about.as_deref().unwrap_or_default();
        let name = if provider == "gmail" { "google" } else { provider };
        check.check != "reputation.complaints" || about.starts_with(name)
    };
    let of =
        |name: &str| known.iter().filter(is_theirs).filter(|check| check.check == name).collect::<Vec<_>>();
    let mut failed: Vec<&str> = Vec::new();
    let mut is_unknown = false;
    let (mut found, mut confirmed) = (0, 0);
    for name in rule.on {
        for check in of(name) {
            found += 1;
            match check.status {
                Status::Fail => failed.push(check.check),
                Status::Skip => is_unknown = true,
                Status::Pass | Status::Warn => confirmed += 1,
            }
        }
    }
    failed.dedup();
    let (status, rest) = if !failed.is_empty() {
        (Status::Fail, format!(": see {}", failed.join(", ")))
    } else if is_unknown || found == 0 || confirmed == 0 {
        (Status::Skip, ": unknown".to_owned())
    } else {
        (Status::Pass, String::new())
    };
    Check::new(rule.check, rule.source, status, format!("{}{rest}", rule.message))
}
