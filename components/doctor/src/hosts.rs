//! Certificates, the host of links, and one-click unsubscribing.

use crate::caa::{Authorization, authorization};
use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::Lookups;
use crate::subject::{Certificate, Subject, TrackingHost, TrackingReply};

const TLS: &str = "RFC 8314 section 3";
const HOST: &str = "RFC 1034 section 3.6.2";
const CAA: &str = "RFC 8659 section 3";
const ONE_CLICK: &str = "RFC 8058 section 3.1";
/// An authority that is named in a record to paste.
const ISSUER: &str = "letsencrypt.org";
/// Days before the end of a certificate that are a warning.
const DAYS: i64 = 14;

pub(crate) fn checks(subject: &Subject, lookups: &Lookups<'_>) -> Vec<Check> {
    let mut checks: Vec<Check> = subject
        .certificates
        .iter()
        .map(|certificate| of_certificate(subject, certificate).about(&certificate.listener))
        .collect();
    if let Some(tracking) = &subject.tracking {
        checks
            .extend(of_host(subject, tracking, lookups).into_iter().map(|check| check.about(&tracking.host)));
    }
    checks.push(one_click(subject));
    checks
}

fn of_certificate(subject: &Subject, certificate: &Certificate) -> Check {
    let days = (certificate.ends_at - subject.now).div_euclid(86_400);
    let covers = certificate.names.iter().any(|name| matches(name, &subject.hostname));
    let (status, message) = if certificate.is_self_signed {
        (
            Status::Warn,
            "the certificate is made by the relay itself: clients that verify refuse it".to_owned(),
        )
    } else if days < 0 {
        (Status::Fail, format!("the certificate ended {} days ago", -days))
    } else if !covers {
        let names = shown(&certificate.names.join(" "));
        (Status::Fail, format!("the certificate is for {names}, not for {}", subject.hostname))
    } else if days < DAYS {
        (Status::Warn, format!("the certificate ends in {days} days"))
    } else {
        (Status::Pass, format!("the certificate is for {}, and ends in {days} days", subject.hostname))
    };
    Check::new("tls.certificate", TLS, status, message)
}

/// RFC 9525 section 6.3: a wildcard is the whole first label.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(_, above)| above == rest),
        None => pattern == name,
    }
}

fn of_host(subject: &Subject, tracking: &TrackingHost, lookups: &Lookups<'_>) -> Vec<Check> {
    let host = &tracking.host;
    let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let mut checks = Vec::new();
    if !is_address {
        checks.push(resolves(subject, host, lookups));
        checks.push(may_be_certified(host, lookups));
    }
    checks.push(reply(tracking));
    checks
}

fn resolves(subject: &Subject, host: &str, lookups: &Lookups<'_>) -> Check {
    match lookups.addresses(host) {
        Ok(found) if found.is_empty() => {
            let message = format!("{host} has no address: links in mail lead nowhere");
            let check = Check::new("tracking.host", HOST, Status::Fail, message);
            match host == subject.hostname {
                // A name cannot point to itself.
                true => check,
                false => check.paste(DnsRecord::new("CNAME", host, subject.hostname.clone())),
            }
        }
        Ok(found) => {
            let found: Vec<_> = found.iter().take(4).map(ToString::to_string).collect();
            Check::new("tracking.host", HOST, Status::Pass, format!("{host} leads to {}", found.join(" ")))
        }
        Err(gap) => Check::unknown("tracking.host", HOST, &gap),
    }
}

fn may_be_certified(host: &str, lookups: &Lookups<'_>) -> Check {
    let check = |status, message| Check::new("tracking.caa", CAA, status, message);
    match authorization(host, lookups) {
        Ok(Authorization::Anybody) => {
            check(Status::Pass, "any authority may issue its certificate".to_owned())
        }
        Ok(Authorization::Only(issuers)) => {
            check(Status::Pass, format!("{} may issue its certificate", shown(&issuers.join(" "))))
        }
        Ok(Authorization::Nobody { name }) => {
            let message = format!("the CAA records of {name} let nobody issue a certificate for {host}");
            let record = DnsRecord::new("CAA", host, format!("0 issue {ISSUER}"));
            // Records of the host itself count, and those above it do not.
            let record = match name == host {
                true => record.replacing(&caa_records(host, lookups)),
                false => record,
            };
            check(Status::Fail, message).paste(record)
        }
        Err(gap) => Check::unknown("tracking.caa", CAA, &gap),
    }
}

fn caa_records(host: &str, lookups: &Lookups<'_>) -> Vec<String> {
    lookups.records(crate::facts::RecordKind::Caa, host).map(<[String]>::to_vec).unwrap_or_default()
}

fn reply(tracking: &TrackingHost) -> Check {
    let (status, message) = match &tracking.reply {
        TrackingReply::Answered(status) if *status < 500 && tracking.is_https => {
            (Status::Pass, "its certificate verifies, and it answers".to_owned())
        }
        TrackingReply::Answered(status) if *status < 500 => (
            Status::Warn,
            "it answers without TLS: use https, which one-click unsubscribing needs".to_owned(),
        ),
        TrackingReply::Answered(status) => (Status::Fail, format!("it answers with {status}")),
        TrackingReply::Certificate(problem) => {
            (Status::Fail, format!("its certificate does not verify: {}", shown(problem)))
        }
        TrackingReply::Unreachable(problem) => {
            (Status::Skip, format!("unknown: it cannot be reached from here: {}", shown(problem)))
        }
        TrackingReply::NotAsked => (Status::Skip, "unknown: nobody asked it".to_owned()),
    };
    Check::new("tracking.certificate", TLS, status, message)
}

/// Marketing mail gets List-Unsubscribe and List-Unsubscribe-Post with a URL of the tracking host.
fn one_click(subject: &Subject) -> Check {
    let (status, message) = match &subject.tracking {
        Some(tracking) if tracking.is_https => {
            (Status::Pass, "marketing mail gets List-Unsubscribe-Post, with an https URL".to_owned())
        }
        Some(_) => (Status::Fail, "the URL of List-Unsubscribe is http: one click needs https".to_owned()),
        None => {
            let message = "no tracking host, so marketing mail without a List-Unsubscribe of its own is refused: \
                           configure `tracking`";
            (Status::Warn, message.to_owned())
        }
    };
    Check::new("unsubscribe.one_click", ONE_CLICK, status, message).about(&subject.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(ends_in: i64, name: &str) -> Check {
        let subject = Subject { hostname: "mta1.example.com".into(), now: 1_000_000, ..Subject::default() };
        let certificate = Certificate {
            listener: "smtp".into(),
            ends_at: subject.now + ends_in,
            names: vec![name.into()],
            is_self_signed: false,
        };
        of_certificate(&subject, &certificate)
    }

    #[test]
    fn certificates_end_and_have_names() {
        for (ends_in, name, status) in [
            (90 * 86_400, "mta1.example.com", Status::Pass),
            (90 * 86_400, "*.example.com", Status::Pass),
            (90 * 86_400, "*.com", Status::Fail),
            (90 * 86_400, "example.com", Status::Fail),
            (13 * 86_400, "mta1.example.com", Status::Warn),
            (-1, "mta1.example.com", Status::Fail),
        ] {
            let check = certificate(ends_in, name);
            assert_eq!(check.status, status, "{}", check.message);
        }
    }
}
