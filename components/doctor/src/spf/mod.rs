//! SPF (RFC 7208): records read, evaluated for an address, and mended.

use std::net::IpAddr;

mod evaluate;
mod inbound;
mod macros;
mod mend;
mod parse;
mod survey;

use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::{Gap, Lookups, RecordKind};
use crate::identity::Sources;
use crate::subject::{Source, Subject};

pub use evaluate::SpfResult;
pub(crate) use evaluate::evaluate;
pub use inbound::{SpfIdentity, check_host};
pub use parse::{Mechanism, Qualifier, SpfRecord, Term, TermKind};
use survey::Survey;

/// Section 4.6.4: terms that ask DNS.
pub(crate) const MAX_LOOKUPS: usize = 10;
/// Section 4.6.4: lookups that find nothing.
pub(crate) const MAX_VOIDS: usize = 2;
/// Section 3.4: an answer should fit into 512 octets with its header.
const MAX_LENGTH: usize = 450;

const RECORD: &str = "RFC 7208 section 3.2";
const SYNTAX: &str = "RFC 7208 section 4.6";
const LOOKUPS: &str = "RFC 7208 section 4.6.4";
const SOURCES: &str = "RFC 7208 section 4.6.2";
const ALL: &str = "RFC 7208 section 5.1";
const LENGTH: &str = "RFC 7208 section 3.4";
const EHLO: &str = "RFC 7208 section 2.3";

/// The SPF records among the texts of a name (section 4.5).
pub(crate) fn records_of(texts: &[String]) -> Vec<String> {
    let is_spf = |text: &&String| text.split(' ').next().is_some_and(|v| v.eq_ignore_ascii_case("v=spf1"));
    texts.iter().filter(is_spf).cloned().collect()
}

/// The domain of reverse-paths: SPF is about it (section 2.4).
pub(crate) fn sender_domain(subject: &Subject) -> &str {
    subject.return_domain.as_ref().map_or(subject.domain.as_str(), |domain| domain.name.as_str())
}

pub(crate) fn checks(subject: &Subject, sources: &Sources, lookups: &Lookups<'_>) -> Vec<Check> {
    let domain = sender_domain(subject);
    let found = match lookups.records(RecordKind::Txt, domain) {
        Ok(texts) => records_of(texts),
        Err(gap) => return vec![Check::unknown("spf.record", RECORD, &gap).about(domain)],
    };
    let mut checks = of_record(subject, sources, domain, &found, lookups);
    checks.extend(of_ehlo(subject, sources, lookups));
    checks
}

fn of_record(
    subject: &Subject,
    sources: &Sources,
    domain: &str,
    found: &[String],
    lookups: &Lookups<'_>,
) -> Vec<Check> {
    let mended = mend::mended(subject, sources, domain, found, lookups);
    let paste = DnsRecord::new("TXT", domain, mended.text.clone()).replacing(found);
    let fail = |check, source, message: String| {
        let left_out = match mended.left_out.is_empty() {
            true => String::new(),
            false => format!(". The record to paste leaves out {}", shown(&mended.left_out.join(" "))),
        };
        Check::new(check, source, Status::Fail, message + &left_out).about(domain).paste(paste.clone())
    };
    let text = match found {
        [] => {
            let message = "no TXT record here begins with v=spf1: nobody knows which hosts may send";
            return vec![fail("spf.record", RECORD, message.to_owned())];
        }
        [text] => text,
        several => {
            let message = format!("there are {} SPF records: receivers take none", several.len());
            return vec![fail("spf.record", RECORD, message)];
        }
    };
    let record = match SpfRecord::parse(text) {
        Ok(record) => record,
        Err(mistake) => {
            let message = format!("the record has a mistake, so receivers take none: {}", shown(&mistake));
            return vec![fail("spf.record", SYNTAX, message)];
        }
    };
    let mut checks = vec![
        Check::new("spf.record", RECORD, Status::Pass, format!("one record: {}", shown(text))).about(domain),
    ];
    checks.push(match text.len() > MAX_LENGTH {
        true => {
            let message = format!(
                "the record has {} octets, more than {MAX_LENGTH}: an answer by UDP is cut",
                text.len()
            );
            let mut check = fail("spf.length", LENGTH, message);
            check.status = Status::Warn;
            check
        }
        false => {
            Check::new("spf.length", LENGTH, Status::Pass, format!("{} octets", text.len())).about(domain)
        }
    });
    checks.push(of_lookups(domain, &record, lookups, &fail));
    checks.push(of_all(domain, &record, &paste));
    checks.extend(of_sources(subject, sources, domain, lookups, &fail));
    checks
}

fn of_lookups(
    domain: &str,
    record: &SpfRecord,
    lookups: &Lookups<'_>,
    fail: &dyn Fn(&'static str, &'static str, String) -> Check,
) -> Check {
    let survey = match Survey::of(record, domain, lookups) {
        Ok(survey) => survey,
        Err(gap) => return Check::unknown("spf.lookups", LOOKUPS, &gap).about(domain),
    };
    if let Some(problem) = survey.problems.first() {
        return fail("spf.lookups", LOOKUPS, shown(problem));
    }
    if survey.lookups > MAX_LOOKUPS {
        let message = format!(
            "{} lookups, {MAX_LOOKUPS} are allowed: receivers stop, and take it for an error",
            survey.lookups
        );
        return fail("spf.lookups", LOOKUPS, message);
    }
    if survey.voids.len() > MAX_VOIDS {
        let message = format!(
            "{} lookups find nothing, {MAX_VOIDS} may: {}",
            survey.voids.len(),
            shown(&survey.voids.join(" "))
        );
        return fail("spf.lookups", LOOKUPS, message);
    }
    let message = format!("{} of {MAX_LOOKUPS} lookups", survey.lookups);
    Check::new("spf.lookups", LOOKUPS, Status::Pass, message).about(domain)
}

fn of_all(domain: &str, record: &SpfRecord, paste: &DnsRecord) -> Check {
    let (status, message) = match record.all() {
        Some(Qualifier::Pass) => (Status::Fail, "+all lets every host of the Internet send"),
        Some(Qualifier::Neutral) => {
            (Status::Warn, "?all says nothing about other hosts: make it ~all or -all")
        }
        None if record.redirect().is_none() => {
            (Status::Warn, "no `all` at the end, so nothing is said about other hosts: add ~all or -all")
        }
        Some(Qualifier::SoftFail) => (Status::Pass, "~all: mail of other hosts is suspicious"),
        Some(Qualifier::Fail) => (Status::Pass, "-all: mail of other hosts is refused"),
        None => (Status::Pass, "the record that is redirected to says it"),
    };
    let check = Check::new("spf.all", ALL, status, message).about(domain);
    if status == Status::Pass { check } else { check.paste(paste.clone()) }
}

fn of_sources(
    subject: &Subject,
    sources: &Sources,
    domain: &str,
    lookups: &Lookups<'_>,
    fail: &dyn Fn(&'static str, &'static str, String) -> Check,
) -> Vec<Check> {
    let list = match sources {
        Sources::Known(list) => list,
        Sources::Unknown(reason) => {
            return vec![Check::new("spf.sources", SOURCES, Status::Skip, reason.clone()).about(domain)];
        }
    };
    let sender = format!("postmaster@{}", subject.domain);
    let of_source = |source: &Source| {
        let address = source.address;
        let about = |check: Check| check.about(address.to_string());
        let result = match evaluate(lookups, address, domain, &sender, &source.ehlo) {
            Ok(result) => result,
            Err(gap) => return about(Check::unknown("spf.sources", SOURCES, &gap)),
        };
        about(match result {
            SpfResult::Pass => {
                Check::new("spf.sources", SOURCES, Status::Pass, format!("{address} may send for {domain}"))
            }
            SpfResult::TempError(detail) => Check::unknown("spf.sources", SOURCES, &Gap::Failed(detail)),
            other => fail("spf.sources", SOURCES, format!("mail from {address} gets {}", other.describe())),
        })
    };
    list.iter().map(of_source).collect()
}

/// The record of an EHLO name: its addresses, and the sources that it does not lead to.
fn of_name(ehlo: &str, sources: &[Source], lookups: &Lookups<'_>) -> String {
    let known = lookups.addresses(ehlo).unwrap_or_default();
    let others = sources.iter().filter(|source| source.ehlo == ehlo && !known.contains(&source.address));
    let term = |source: &Source| match source.address {
        IpAddr::V4(address) => format!("ip4:{address} "),
        IpAddr::V6(address) => format!("ip6:{address} "),
    };
    format!("v=spf1 a {}-all", others.map(term).collect::<String>())
}

/// Mail from the null reverse-path is judged by the EHLO name.
fn of_ehlo(subject: &Subject, sources: &Sources, lookups: &Lookups<'_>) -> Vec<Check> {
    let Sources::Known(list) = sources else { return Vec::new() };
    let of_source = |source: &Source| {
        let ehlo = &source.ehlo;
        let sender = format!("postmaster@{ehlo}");
        let result = match evaluate(lookups, source.address, ehlo, &sender, ehlo) {
            Ok(SpfResult::TempError(detail)) => {
                return Check::unknown("spf.ehlo", EHLO, &Gap::Failed(detail));
            }
            Ok(result) => result,
            Err(gap) => return Check::unknown("spf.ehlo", EHLO, &gap),
        };
        if result == SpfResult::Pass {
            return Check::new(
                "spf.ehlo",
                EHLO,
                Status::Pass,
                format!("{ehlo} may send from {}", source.address),
            );
        }
        let here = lookups.records(RecordKind::Txt, ehlo).map(records_of).unwrap_or_default();
        // A name that is a sending domain, too, has one record for both: `spf.sources` is about it.
        let is_domain = *ehlo == subject.domain || ehlo == sender_domain(subject);
        let status = if result == SpfResult::None { Status::Warn } else { Status::Fail };
        let message = format!("bounces, which have no sender, get {} for {ehlo}", result.describe());
        let check = Check::new("spf.ehlo", EHLO, status, message);
        if is_domain {
            return check;
        }
        check.paste(DnsRecord::new("TXT", ehlo.clone(), of_name(ehlo, list, lookups)).replacing(&here))
    };
    let mut checks: Vec<Check> = list
        .iter()
        .map(|source| of_source(source).about(format!("{} {}", source.ehlo, source.address)))
        .collect();
    checks.dedup();
    checks
}
