//! Who we are to receivers: addresses, their names (PTR), and the name in EHLO.

use std::fmt::Write;
use std::net::IpAddr;

use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::{Gap, Lookups, RecordKind};
use crate::subject::{Source, Subject};

const PTR: &str = "RFC 1912 section 2.1";
const EHLO: &str = "RFC 5321 section 4.1.4";

/// The addresses that mail leaves from.
pub(crate) enum Sources {
    Known(Vec<Source>),
    Unknown(String),
}

/// The configured addresses. Without them, those of the host's name stand for what the system
/// chooses.
pub(crate) fn sources(subject: &Subject, lookups: &Lookups<'_>) -> Sources {
    if !subject.sources.is_empty() {
        return Sources::Known(subject.sources.clone());
    }
    if subject.has_smarthost {
        return Sources::Unknown("a smarthost sends: its addresses are not known here".to_owned());
    }
    match lookups.addresses(&subject.hostname) {
        Ok(found) if found.is_empty() => Sources::Unknown(format!(
            "no source address is configured, and {} has none: set source_ipv4, or publish the address",
            subject.hostname
        )),
        Ok(found) => {
            let source = |address| Source { address, ehlo: subject.ehlo.clone() };
            Sources::Known(found.into_iter().map(source).collect())
        }
        Err(Gap::Failed(detail)) => {
            Sources::Unknown(format!("unknown: DNS did not answer: {}", shown(&detail)))
        }
        Err(Gap::Missing) => Sources::Unknown("unknown".to_owned()),
    }
}

pub(crate) fn checks(subject: &Subject, sources: &Sources, lookups: &Lookups<'_>) -> Vec<Check> {
    match sources {
        Sources::Known(list) => {
            let mut checks = Vec::new();
            for source in list {
                checks.push(ehlo(source, lookups).about(format!("{} {}", source.ehlo, source.address)));
                checks.push(pointer(source, lookups).about(source.address.to_string()));
            }
            checks
        }
        // With a smarthost nobody asks for our name.
        Sources::Unknown(reason) if subject.has_smarthost => {
            vec![Check::new("ptr", PTR, Status::Skip, reason.clone())]
        }
        Sources::Unknown(reason) if reason.starts_with("unknown") => {
            vec![Check::new("ehlo.address", EHLO, Status::Skip, reason.clone()).about(&subject.hostname)]
        }
        Sources::Unknown(reason) => {
            vec![Check::new("ehlo.address", EHLO, Status::Fail, reason.clone()).about(&subject.hostname)]
        }
    }
}

/// The name in EHLO must lead to the address.
fn ehlo(source: &Source, lookups: &Lookups<'_>) -> Check {
    let Source { address, ehlo } = source;
    let found = match lookups.addresses(ehlo) {
        Ok(found) => found,
        Err(gap) => return Check::unknown("ehlo.address", EHLO, &gap),
    };
    if found.contains(address) {
        return Check::new("ehlo.address", EHLO, Status::Pass, format!("{ehlo} leads to {address}"));
    }
    let message = match found.is_empty() {
        true => format!("{ehlo}, the name in EHLO, has no address"),
        false => format!("{ehlo}, the name in EHLO, does not lead to {address}"),
    };
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    let check = Check::new("ehlo.address", EHLO, Status::Fail, message);
    check.paste(DnsRecord::new(kind, ehlo.clone(), address.to_string()))
}

/// The address must lead to a name that leads back to it, best to that in EHLO.
fn pointer(source: &Source, lookups: &Lookups<'_>) -> Check {
    let Source { address, ehlo } = source;
    if is_inner(*address) {
        let message = format!("{address} is not public: behind NAT, check the address that receivers see");
        return Check::new("ptr", PTR, Status::Skip, message);
    }
    let name = reverse_name(*address);
    let names = match lookups.records(RecordKind::Ptr, &name) {
        Ok(names) => names,
        Err(gap) => return Check::unknown("ptr", PTR, &gap),
    };
    let fail = |message: String| {
        let message = format!("{message}. The provider of the address sets it");
        let record = DnsRecord::new("PTR", name.clone(), ehlo.clone()).replacing(names);
        Check::new("ptr", PTR, Status::Fail, message).paste(record)
    };
    if names.is_empty() {
        return fail(format!("{address} has no name: large receivers refuse its mail"));
    }
    let mut confirmed = Vec::new();
    let mut gap = None;
    for name in names.iter().take(10) {
        match lookups.addresses(name) {
            Ok(found) if found.contains(address) => {
                confirmed.push(name.trim_end_matches('.').to_ascii_lowercase())
            }
            Ok(_) => {}
            Err(found) => gap = Some(found),
        }
    }
    if confirmed.iter().any(|name| name == ehlo) {
        return Check::new("ptr", PTR, Status::Pass, format!("{address} is {ehlo}, and back"));
    }
    if let Some(gap) = gap {
        return Check::unknown("ptr", PTR, &gap);
    }
    match confirmed.first() {
        Some(other) => {
            let mut check =
                fail(format!("{address} is {}, and EHLO says {ehlo}: some receivers compare", shown(other)));
            check.status = Status::Warn;
            check
        }
        None => fail(format!("{address} is {}, which does not lead back to it", shown(&names.join(" ")))),
    }
}

/// The name of an address in reverse zones (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(crate) fn reverse_name(address: IpAddr) -> String {
    let mut name = String::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
            name + "in-addr.arpa"
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name([192, 0, 2, 1].into()), "1.2.0.192.in-addr.arpa");
        let v6 = reverse_name("2001:db8::1".parse().expect("an address"));
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
        assert_eq!(v6.len(), 72);
    }
}
