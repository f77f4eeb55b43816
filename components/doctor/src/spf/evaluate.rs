//! `check_host()` (RFC 7208 section 4).

use std::net::{IpAddr, Ipv6Addr};

use super::macros::{MacroValues, expand};
use super::parse::{Mechanism, Qualifier, SpfRecord, TermKind};
use super::{MAX_LOOKUPS, MAX_VOIDS, records_of};
use crate::check::shown;
use crate::facts::{Gap, Lookups, RecordKind};
use crate::identity::reverse_name;

/// Hosts of an `mx` or names of a `ptr` that are looked at (section 4.6.4).
const MAX_HOSTS: usize = 10;

/// Results of section 2.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpfResult {
    /// The address may send for the domain.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// There is no record.
    None,
    /// DNS did not answer, and why.
    TempError(String),
    /// The record is wrong, and why.
    PermError(String),
}

impl SpfResult {
    /// The word of section 2.6.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError(_) => "temperror",
            Self::PermError(_) => "permerror",
        }
    }

    /// The name of the result with its reason, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Pass => "`pass`".to_owned(),
            Self::Fail => "`fail`".to_owned(),
            Self::SoftFail => "`softfail`".to_owned(),
            Self::Neutral => "`neutral`".to_owned(),
            Self::None => "`none`: there is no record".to_owned(),
            Self::TempError(detail) => format!("`temperror`: {}", shown(detail)),
            Self::PermError(detail) => format!("`permerror`: {}", shown(detail)),
        }
    }
}

enum Stop {
    Missing,
    Temporary(String),
    Permanent(String),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Missing => Self::Missing,
            Gap::Failed(detail) => Self::Temporary(detail),
        }
    }
}

struct Evaluation<'a, 'l> {
    lookups: &'l Lookups<'a>,
    address: IpAddr,
    sender: &'l str,
    helo: &'l str,
    terms: usize,
    voids: usize,
}

/// What `domain` says about mail of `sender` from an address.
///
/// # Errors
/// [`Gap::Missing`] alone: what DNS did not say is a result.
pub(crate) fn evaluate(
    lookups: &Lookups<'_>,
    address: IpAddr,
    domain: &str,
    sender: &str,
    helo: &str,
) -> Result<SpfResult, Gap> {
    let address = address.to_canonical();
    let mut evaluation = Evaluation { lookups, address, sender, helo, terms: 0, voids: 0 };
    match evaluation.check_host(domain) {
        Ok(result) => Ok(result),
        Err(Stop::Missing) => Err(Gap::Missing),
        Err(Stop::Temporary(detail)) => Ok(SpfResult::TempError(detail)),
        Err(Stop::Permanent(detail)) => Ok(SpfResult::PermError(detail)),
    }
}

impl Evaluation<'_, '_> {
    fn check_host(&mut self, domain: &str) -> Result<SpfResult, Stop> {
        let found = records_of(self.lookups.records(RecordKind::Txt, domain)?);
        let text = match found.as_slice() {
            [] => return Ok(SpfResult::None),
            [text] => text,
            _ => return Err(Stop::Permanent(format!("{domain} has several records"))),
        };
        let record =
            SpfRecord::parse(text).map_err(|mistake| Stop::Permanent(format!("{domain}: {mistake}")))?;
        for term in &record.terms {
            let TermKind::Directive(qualifier, mechanism) = &term.kind else { continue };
            if self.matches(mechanism, domain)? {
                return Ok(match qualifier {
                    Qualifier::Pass => SpfResult::Pass,
                    Qualifier::Fail => SpfResult::Fail,
                    Qualifier::SoftFail => SpfResult::SoftFail,
                    Qualifier::Neutral => SpfResult::Neutral,
                });
            }
        }
        let Some(redirect) = record.redirect() else { return Ok(SpfResult::Neutral) };
        self.count()?;
        let target = self.name(redirect, domain)?;
        match self.check_host(&target)? {
            SpfResult::None => Err(Stop::Permanent(format!("redirect={target} leads to no record"))),
            result => Ok(result),
        }
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(covers((*network).into(), *length, self.address)),
            Mechanism::Ip6(network, length) => Ok(covers((*network).into(), *length, self.address)),
            Mechanism::Include(target) => self.includes(target, domain),
            Mechanism::A(target, v4, v6) => {
                self.count()?;
                let name = self.name_or(target.as_deref(), domain)?;
                let found = self.addresses(&name)?;
                self.note_void(found.is_empty())?;
                Ok(found.iter().any(|ip| covers(*ip, if ip.is_ipv4() { *v4 } else { *v6 }, self.address)))
            }
            Mechanism::Mx(target, v4, v6) => self.exchanges(target.as_deref(), domain, *v4, *v6),
            Mechanism::Ptr(target) => self.points(target.as_deref(), domain),
            Mechanism::Exists(target) => {
                self.count()?;
                let name = self.name(target, domain)?;
                let found = self.lookups.records(RecordKind::A, &name)?;
                self.note_void(found.is_empty())?;
                Ok(!found.is_empty())
            }
        }
    }

    fn includes(&mut self, target: &str, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let name = self.name(target, domain)?;
        match self.check_host(&name)? {
            SpfResult::Pass => Ok(true),
            SpfResult::None => Err(Stop::Permanent(format!("include:{name} leads to no record"))),
            _ => Ok(false),
        }
    }

    fn exchanges(&mut self, target: Option<&str>, domain: &str, v4: u8, v6: u8) -> Result<bool, Stop> {
        self.count()?;
        let name = self.name_or(target, domain)?;
        let found = self.lookups.records(RecordKind::Mx, &name)?;
        self.note_void(found.is_empty())?;
        if found.len() > MAX_HOSTS {
            return Err(Stop::Permanent(format!("{name} has more than {MAX_HOSTS} MX hosts")));
        }
        let mut is_match = false;
        for host in found.iter().filter_map(|text| text.split_once(' ')).map(|(_, host)| host) {
            let addresses = self.addresses(host)?;
            is_match |=
                addresses.iter().any(|ip| covers(*ip, if ip.is_ipv4() { v4 } else { v6 }, self.address));
        }
        Ok(is_match)
    }

    /// Names of the address that lead back to it, and lie in the domain (section 5.5).
    fn points(&mut self, target: Option<&str>, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let wanted = self.name_or(target, domain)?.to_ascii_lowercase();
        // An error is no match here.
        let names = match self.lookups.records(RecordKind::Ptr, &reverse_name(self.address)) {
            Ok(names) => names,
            Err(Gap::Failed(_)) => return Ok(false),
            Err(gap) => return Err(gap.into()),
        };
        self.note_void(names.is_empty())?;
        for name in names.iter().take(MAX_HOSTS) {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let is_inside = name == wanted || name.ends_with(&format!(".{wanted}"));
            match self.addresses(&name) {
                Ok(found) if is_inside && found.contains(&self.address) => return Ok(true),
                Err(Stop::Missing) => return Err(Stop::Missing),
                _ => {}
            }
        }
        Ok(false)
    }

    /// The addresses of the family that is evaluated.
    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let kind = if self.address.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
        let found = self.lookups.records(kind, name)?;
        Ok(found.iter().filter_map(|text| text.parse().ok()).collect())
    }

    fn name_or(&self, target: Option<&str>, domain: &str) -> Result<String, Stop> {
        target.map_or_else(|| Ok(domain.to_owned()), |target| self.name(target, domain))
    }

    fn name(&self, target: &str, domain: &str) -> Result<String, Stop> {
        let values = MacroValues { sender: self.sender, domain, helo: self.helo, address: self.address };
        expand(target, &values).map_err(Stop::Permanent)
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        match self.terms > MAX_LOOKUPS {
            true => Err(Stop::Permanent(format!("more than {MAX_LOOKUPS} lookups"))),
            false => Ok(()),
        }
    }

    fn note_void(&mut self, is_void: bool) -> Result<(), Stop> {
        self.voids += usize::from(is_void);
        match self.voids > MAX_VOIDS {
            true => Err(Stop::Permanent(format!("more than {MAX_VOIDS} lookups find nothing"))),
            false => Ok(()),
        }
    }
}

/// Returns true if an address lies in a network of the same family.
fn covers(network: IpAddr, length: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let bits = |ip: Ipv6Addr| u128::from(ip);
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            bits(network) & mask == bits(address) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_what_they_should() {
        let is = |network: &str, length, address: &str| {
            covers(network.parse().expect("an address"), length, address.parse().expect("an address"))
        };
        assert!(is("192.0.2.0", 24, "192.0.2.255") && !is("192.0.2.0", 24, "192.0.3.0"));
        assert!(is("192.0.2.1", 32, "192.0.2.1") && is("0.0.0.0", 0, "255.255.255.255"));
        assert!(is("2001:db8::", 32, "2001:db8:ffff::1") && !is("2001:db8::", 128, "2001:db8::1"));
        assert!(is("::", 0, "2001:db8::1") && !is("::", 0, "192.0.2.1"));
    }
}
