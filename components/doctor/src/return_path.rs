//! Where bounces go.

use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::{Lookups, RecordKind};
use crate::spf::sender_domain;
use crate::subject::Subject;

const MX: &str = "RFC 5321 section 5.1";

pub(crate) fn checks(subject: &Subject, lookups: &Lookups<'_>) -> Vec<Check> {
    vec![exchanger(subject, lookups).about(sender_domain(subject))]
}

fn exchanger(subject: &Subject, lookups: &Lookups<'_>) -> Check {
    let domain = sender_domain(subject);
    let check = |status, message: String| Check::new("return_path.mx", MX, status, message);
    let found = match lookups.records(RecordKind::Mx, domain) {
        Ok(found) => found,
        Err(gap) => return Check::unknown("return_path.mx", MX, &gap),
    };
    let paste = DnsRecord::new("MX", domain, format!("10 {}", subject.hostname)).replacing(found);
    let hosts: Vec<String> = found
        .iter()
        .filter_map(|text| text.split_once(' '))
        .map(|(_, host)| host.trim_end_matches('.').to_ascii_lowercase())
        .collect();
    if subject.return_domain.is_some() {
        if hosts.contains(&subject.hostname) {
            return check(Status::Pass, format!("bounces to {domain} come here"));
        }
        let message = format!("bounces to {domain} do not come here: its MX must be {}", subject.hostname);
        return check(Status::Fail, message).paste(paste);
    }
    if hosts.iter().any(String::is_empty) {
        let message =
            format!("{domain} takes no mail (null MX): receivers refuse its senders, bounces are lost");
        return check(Status::Fail, message).paste(paste);
    }
    if hosts.is_empty() {
        return match lookups.addresses(domain) {
            Ok(addresses) if addresses.is_empty() => {
                let message =
                    format!("{domain} takes no mail: bounces are lost. Or name the host that takes its mail");
                check(Status::Fail, message).paste(paste)
            }
            Ok(_) => {
                check(Status::Warn, format!("{domain} has no MX: bounces go to its address")).paste(paste)
            }
            Err(gap) => Check::unknown("return_path.mx", MX, &gap),
        };
    }
    let mut gap = None;
    // Every host is asked about: questions that are missing go out together.
    let lives: Vec<bool> = hosts
        .iter()
        .take(10)
        .map(|host| match lookups.addresses(host) {
            Ok(addresses) => !addresses.is_empty(),
            Err(found) => {
                gap = Some(found);
                false
            }
        })
        .collect();
    match (lives.contains(&true), gap) {
        (true, _) => check(Status::Pass, format!("bounces go to {}", shown(&hosts.join(" ")))),
        (false, Some(gap)) => Check::unknown("return_path.mx", MX, &gap),
        (false, None) => {
            check(Status::Fail, format!("no MX host of {domain} has an address: {}", shown(&hosts.join(" "))))
                .paste(paste)
        }
    }
}
