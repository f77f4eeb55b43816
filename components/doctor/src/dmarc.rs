//! DMARC (RFC 9989): the policy that counts, and alignment.

use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::{Gap, Lookups, RecordKind};
use crate::spf::sender_domain;
use crate::subject::Subject;
use crate::tags;

const RECORD: &str = "RFC 9989 section 4.10.1";
const ALIGNMENT: &str = "RFC 9989 section 4.4";
/// A walk starts no higher than this (section 4.10).
const MAX_LABELS: usize = 8;

/// A record that is one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DmarcRecord {
    /// Where it was found, without `_dmarc`.
    domain: String,
    text: String,
    tags: Vec<(String, String)>,
}

impl DmarcRecord {
    fn value(&self, name: &str) -> Option<&str> {
        tags::value(&self.tags, name)
    }

    /// The policy of a tag. `p` that is missing or wrong is `none` when reports are wanted
    /// (section 4.7).
    fn policy(&self, is_subdomain: bool) -> Option<&'static str> {
        let known = |value: &str| {
            ["none", "quarantine", "reject"].into_iter().find(|policy| value.eq_ignore_ascii_case(policy))
        };
        let of = |name| self.value(name).map(known);
        let wrong = |policy: Option<Option<&'static str>>| policy == Some(None);
        let is_valid = of("p").flatten().is_some() && !wrong(of("sp")) && !wrong(of("np"));
        if !is_valid {
            let wants_reports =
                self.value("rua").is_some_and(|rua| rua.to_ascii_lowercase().contains("mailto:"));
            return wants_reports.then_some("none");
        }
        match is_subdomain {
            true => of("sp").flatten().or(of("p").flatten()),
            false => of("p").flatten(),
        }
    }
}

/// What is at the names of a walk, from the domain up.
struct Walk {
    records: Vec<DmarcRecord>,
    /// A name on the way with several records.
    ambiguous: Option<(String, Vec<String>)>,
}

/// The names of a walk (section 4.10).
fn names(domain: &str) -> Vec<&str> {
    let mut names = vec![domain];
    let mut name = domain;
    let mut labels = domain.split('.').count();
    while let Some((_, above)) = name.split_once('.') {
        labels -= 1;
        name = above;
        if labels < MAX_LABELS {
            names.push(name);
        }
    }
    names
}

fn walk(domain: &str, lookups: &Lookups<'_>) -> Result<Walk, Gap> {
    let mut walk = Walk { records: Vec::new(), ambiguous: None };
    let mut gap = None;
    for name in names(domain) {
        let texts = match lookups.records(RecordKind::Txt, &format!("_dmarc.{name}")) {
            Ok(texts) => texts,
            // All names are asked for at once.
            Err(Gap::Missing) => {
                gap = Some(Gap::Missing);
                continue;
            }
            Err(failed) => return Err(gap.unwrap_or(failed)),
        };
        let found: Vec<&String> = texts.iter().filter(|text| is_dmarc(text)).collect();
        match found.as_slice() {
            [] => {}
            [text] => {
                let tags = tags::parse(text).unwrap_or_default();
                let record = DmarcRecord { domain: name.to_owned(), text: (*text).clone(), tags };
                let ends = record.value("psd").is_some_and(|psd| matches!(psd, "y" | "n" | "Y" | "N"));
                walk.records.push(record);
                if ends {
                    break;
                }
            }
            several => {
                let texts = several.iter().map(|text| (*text).clone()).collect();
                walk.ambiguous.get_or_insert((name.to_owned(), texts));
            }
        }
    }
    gap.map_or(Ok(walk), Err)
}

/// Returns true for a text whose first tag is `v=DMARC1` (section 4.8).
fn is_dmarc(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first
        .split_once('=')
        .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("v") && value.trim() == "DMARC1")
}

/// The organizational domain (section 4.10.2).
fn organizational(domain: &str, walk: &Walk) -> String {
    for record in &walk.records {
        match record.value("psd") {
            Some("n" | "N") => return record.domain.clone(),
            Some("y" | "Y") if record.domain != domain => {
                let below = domain.strip_suffix(&format!(".{}", record.domain)).unwrap_or(domain);
                let label = below.rsplit('.').next().unwrap_or(below);
                return format!("{label}.{}", record.domain);
            }
            _ => {}
        }
    }
    walk.records.last().map_or_else(|| domain.to_owned(), |record| record.domain.clone())
}

/// The record that counts for a domain: its own, that of the organizational domain, or that of the
/// public suffix.
fn applicable<'w>(domain: &str, walk: &'w Walk) -> Option<&'w DmarcRecord> {
    let own = walk.records.first().filter(|record| record.domain == domain);
    let organizational = organizational(domain, walk);
    own.or_else(|| walk.records.iter().find(|record| record.domain == organizational))
        .or_else(|| walk.records.last())
}

pub(crate) fn checks(subject: &Subject, lookups: &Lookups<'_>) -> Vec<Check> {
    let domain = &subject.domain;
    let walk = match walk(domain, lookups) {
        Ok(walk) => walk,
        Err(gap) => return vec![Check::unknown("dmarc.record", RECORD, &gap).about(domain)],
    };
    vec![record(domain, &walk), alignment(subject, &walk, lookups).about(domain)]
}

fn record(domain: &str, walk: &Walk) -> Check {
    let paste = |at: &str| DnsRecord::new("TXT", format!("_dmarc.{at}"), "v=DMARC1; p=none");
    let fail = |message: String| Check::new("dmarc.record", RECORD, Status::Fail, message).about(domain);
    let found = applicable(domain, walk);
    // Several records at the domain itself hide nothing that is above it, but nobody meant that.
    if let Some((name, texts)) = walk.ambiguous.as_ref().filter(|(name, _)| found.is_none() || name == domain)
    {
        let message =
            format!("there are {} DMARC records at _dmarc.{name}: receivers take none", texts.len());
        let keep = texts.first().cloned().unwrap_or_default();
        let record = DnsRecord::new("TXT", format!("_dmarc.{name}"), keep).replacing(texts);
        return fail(message).paste(record);
    }
    let Some(found) = found else {
        return fail("there is no DMARC record: large receivers refuse bulk mail without".to_owned())
            .paste(paste(domain));
    };
    let place = format!("_dmarc.{}", found.domain);
    let Some(policy) = found.policy(found.domain != domain) else {
        let message = format!("the record at {place} has no valid policy: {}", shown(&found.text));
        let replaced = std::slice::from_ref(&found.text);
        return fail(message).paste(paste(&found.domain).replacing(replaced));
    };
    let rest = match (policy, found.value("rua")) {
        ("none", None) => ". Add rua=mailto:... to get reports, then make it stricter",
        ("none", Some(_)) => ". Make it stricter once reports are clean",
        _ => "",
    };
    Check::new("dmarc.record", RECORD, Status::Pass, format!("the policy of {place} is {policy}{rest}"))
        .about(domain)
}

/// From, `d=` and the reverse-path must be of one domain (section 4.4).
fn alignment(subject: &Subject, of_from: &Walk, lookups: &Lookups<'_>) -> Check {
    let from = &subject.domain;
    let record = applicable(from, of_from);
    let is_strict =
        |tag| record.and_then(|record| record.value(tag)).is_some_and(|mode| mode.eq_ignore_ascii_case("s"));
    // Signatures are made for the domain itself.
    let by_dkim = !subject.dkim.is_empty();
    let envelope = sender_domain(subject);
    let by_spf = if envelope == from {
        true
    } else if is_strict("aspf") {
        false
    } else {
        match walk(envelope, lookups) {
            Ok(walk) => organizational(envelope, &walk) == organizational(from, of_from),
            Err(gap) => return Check::unknown("dmarc.alignment", ALIGNMENT, &gap),
        }
    };
    let (status, message) = match (by_dkim, by_spf) {
        (true, true) => (Status::Pass, format!("From, d= and the reverse-path {envelope} are aligned")),
        (true, false) => (
            Status::Warn,
            format!("the reverse-path {envelope} is not aligned with {from}: DKIM alone carries DMARC"),
        ),
        (false, true) => (
            Status::Warn,
            "no signature is aligned: SPF alone carries DMARC, and forwarding breaks it".to_owned(),
        ),
        (false, false) => {
            (Status::Fail, format!("neither d= nor the reverse-path {envelope} is aligned with {from}"))
        }
    };
    Check::new("dmarc.alignment", ALIGNMENT, status, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Answer, Answers, Question};

    fn walked(domain: &str, zone: &[(&str, &str)]) -> Walk {
        let mut answers = Answers::default();
        for name in names(domain) {
            let name = format!("_dmarc.{name}");
            let texts: Vec<_> =
                zone.iter().filter(|(n, _)| *n == name).map(|(_, t)| (*t).to_owned()).collect();
            answers.insert(Question { kind: RecordKind::Txt, name }, Answer::Found(texts));
        }
        walk(domain, &Lookups::new(&answers)).expect("all is known")
    }

    #[test]
    fn a_walk_leaves_out_labels_of_long_names() {
        assert_eq!(
            names("a.mail.example.com"),
            ["a.mail.example.com", "mail.example.com", "example.com", "com"]
        );
        let long = names("a.b.c.d.e.f.g.h.i.example.com");
        assert_eq!((long.len(), long[1]), (8, "e.f.g.h.i.example.com"));
    }

    #[test]
    fn the_organizational_domain_is_found() {
        let of = |domain, zone: &[(&str, &str)]| organizational(domain, &walked(domain, zone));
        assert_eq!(of("a.b.example.com", &[]), "a.b.example.com");
        let both =
            [("_dmarc.b.example.com", "v=DMARC1; p=none"), ("_dmarc.example.com", "v=DMARC1; p=reject")];
        assert_eq!(of("a.b.example.com", &both), "example.com");
        let own = [("_dmarc.b.example.com", "v=DMARC1; p=none; psd=n"), both[1]];
        assert_eq!(of("a.b.example.com", &own), "b.example.com");
        let suffix = [("_dmarc.co.test", "v=DMARC1; p=none; psd=y")];
        assert_eq!(of("a.shop.co.test", &suffix), "shop.co.test");
    }

    #[test]
    fn the_policy_that_counts() {
        let of = |domain, zone: &[(&str, &str)]| {
            let walk = walked(domain, zone);
            applicable(domain, &walk).and_then(|record| record.policy(record.domain != domain))
        };
        let zone = [("_dmarc.example.com", "v=DMARC1; p=reject; sp=quarantine")];
        assert_eq!(of("example.com", &zone), Some("reject"));
        assert_eq!(of("news.example.com", &zone), Some("quarantine"));
        assert_eq!(
            of("example.com", &[("_dmarc.example.com", "v=DMARC1; rua=mailto:a@b.test")]),
            Some("none")
        );
        for wrong in ["v=DMARC1", "v=DMARC1; p=maybe", "v=DMARC1; p=none; sp=x"] {
            assert_eq!(of("example.com", &[("_dmarc.example.com", wrong)]), None, "{wrong}");
        }
        for no in ["v=DMARC2; p=none", "p=none; v=DMARC1", "v=dmarc1; p=none"] {
            assert!(walked("example.com", &[("_dmarc.example.com", no)]).records.is_empty(), "{no}");
        }
    }
}
