//! Whether a domain's SPF record lets its mail leave from here (RFC 7208).

use std::collections::VecDeque;
use std::net::IpAddr;

use relevo_resolve::{Resolve, ResolveError};

use super::check::{Finding, RecordStatus};
use crate::settings::Network;

/// Records that are asked for: as many as a receiver asks for (section 4.6.4).
const MAX_LOOKUPS: usize = 10;

/// What a record lets send.
#[derive(Debug, Default)]
struct Allowed {
    hosts: Vec<String>,
    networks: Vec<Network>,
}

impl Allowed {
    fn covers(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// Compares the record at `domain` with the terms that it should have: `a:HOST`, `ip4:`, `ip6:`.
pub(super) async fn check(resolve: &dyn Resolve, domain: &str, terms: &[String]) -> Finding {
    let found = match own_record(resolve, domain).await {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let allowed = follow(resolve, domain, &found).await;
    let mut missing = Vec::new();
    for term in terms {
        if !allows(resolve, &allowed, term).await {
            missing.push(term.as_str());
        }
    }
    match missing.is_empty() {
        true => Finding::new(RecordStatus::Verified, vec![found], "lets mail leave from here"),
        false => {
            let detail = format!("does not name {}: add it to the record that is there", missing.join(" "));
            Finding::new(RecordStatus::Different, vec![found], detail)
        }
    }
}

/// The one record that a domain may have (section 3.2).
async fn own_record(resolve: &dyn Resolve, domain: &str) -> Result<String, Finding> {
    let all = records(resolve, domain).await.map_err(|error| Finding::unanswered(&error))?;
    match all.len() {
        0 => Err(Finding::new(RecordStatus::Missing, all, "no TXT record here begins with v=spf1")),
        1 => Ok(all.concat()),
        _ => Err(Finding::new(
            RecordStatus::Different,
            all,
            "there are several SPF records, so receivers take none: join them into one",
        )),
    }
}

async fn records(resolve: &dyn Resolve, domain: &str) -> Result<Vec<String>, ResolveError> {
    let mut all = resolve.txt(domain).await?;
    all.retain(|text| text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1")));
    Ok(all)
}

/// What a record lets send, together with those that it includes.
async fn follow(resolve: &dyn Resolve, domain: &str, record: &str) -> Allowed {
    let mut allowed = Allowed::default();
    let mut included = VecDeque::new();
    read(record, domain, &mut allowed, &mut included);
    for _ in 0..MAX_LOOKUPS {
        let Some(next) = included.pop_front() else { break };
        let found = records(resolve, &next).await.unwrap_or_default();
        if let [record] = found.as_slice() {
            read(record, &next, &mut allowed, &mut included);
        }
    }
    allowed
}

fn read(record: &str, domain: &str, allowed: &mut Allowed, included: &mut VecDeque<String>) {
    for term in record.split_ascii_whitespace().skip(1) {
        let term = term.to_ascii_lowercase();
        // Only what passes counts (section 4.6.2).
        let term = term.strip_prefix('+').unwrap_or(&term);
        if let Some(name) = term.strip_prefix("include:").or_else(|| term.strip_prefix("redirect=")) {
            included.push_back(name.to_owned());
        } else if let Some(network) = term.strip_prefix("ip4:").or_else(|| term.strip_prefix("ip6:")) {
            allowed.networks.extend(network.parse::<Network>());
        } else if let Some(host) = term.strip_prefix("a:") {
            allowed.hosts.push(host.trim_end_matches('.').to_owned());
        } else if term == "a" {
            allowed.hosts.push(domain.to_owned());
        }
    }
}

async fn allows(resolve: &dyn Resolve, allowed: &Allowed, term: &str) -> bool {
    let Some((kind, value)) = term.split_once(':') else { return false };
    match kind {
        "a" => {
            let host = value.to_ascii_lowercase();
            if allowed.hosts.contains(&host) {
                return true;
            }
            let addresses = resolve.addresses(&host).await.map(|found| found.addresses).unwrap_or_default();
            !addresses.is_empty() && addresses.into_iter().all(|address| allowed.covers(address))
        }
        _ => value.parse().is_ok_and(|address| allowed.covers(address)),
    }
}
