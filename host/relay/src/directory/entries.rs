//! The entries of one source, and how those of two sources become one directory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{ApiKey, Credential, Domain, Tenant};
use crate::settings::EgressGrants;

/// The entries of one source.
#[derive(Debug, Clone, Default)]
pub struct DirectoryEntries {
    /// Tenants by id.
    pub by_id: HashMap<String, Arc<Tenant>>,
    /// Domains by name (lower case A-labels).
    pub by_domain: HashMap<String, Arc<Domain>>,
    /// Credentials by SMTP user name.
    pub by_username: HashMap<String, Credential>,
    /// API keys by SHA-256.
    pub by_api_key: HashMap<[u8; 32], ApiKey>,
    /// Tenants by tracking host (authority in lower case, with port when not the default).
    pub by_tracking_host: HashMap<String, String>,
}

/// An entry of a source that does not count, or not wholly, because of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Such as `domain shop.example`.
    pub entry: String,
    /// Why the entry does not count.
    pub reason: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the store: {}", self.entry, self.reason)
    }
}

const IN_FILE: &str = "the configuration file has it too, and counts";

impl DirectoryEntries {
    /// Adds the entries of a source whose names are not here yet. Returns those that were not
    /// added, sorted.
    pub(super) fn add(&mut self, source: &Self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        let mut conflict = |entry: String, reason: &str| {
            conflicts.push(Conflict { entry, reason: reason.to_owned() });
        };
        for (id, tenant) in &source.by_id {
            match self.by_id.contains_key(id) {
                true => conflict(format!("tenant {id}"), IN_FILE),
                false => drop(self.by_id.insert(id.clone(), Arc::clone(tenant))),
            }
        }
        let below = self.domains_below();
        // Shorter names first: which of two overlapping domains stays does not depend on a map's
        // order, and no domain covers one that was added before.
        let mut domains: Vec<_> = source.by_domain.values().collect();
        domains.sort_by_key(|domain| (domain.name.len(), &domain.name));
        for domain in domains {
            match self.obstacle(domain, &below) {
                Some(reason) => conflict(format!("domain {}", domain.name), &reason),
                None => self.add_domain(domain, source),
            }
        }
        for (username, credential) in &source.by_username {
            match self.by_username.contains_key(username) {
                true => conflict(format!("user {username}"), IN_FILE),
                false => drop(self.by_username.insert(username.clone(), credential.clone())),
            }
        }
        for (hash, key) in &source.by_api_key {
            let entry = || format!("API key {} of tenant {}", key.name, key.tenant);
            if self.by_api_key.contains_key(hash) {
                conflict(entry(), IN_FILE);
            } else if !self.by_id.contains_key(&key.tenant) {
                conflict(entry(), "there is no such tenant");
            } else {
                self.by_api_key.insert(*hash, key.clone());
            }
        }
        conflicts.sort();
        conflicts
    }

    /// The domains that lie below each name.
    fn domains_below(&self) -> HashMap<String, Vec<Arc<Domain>>> {
        let mut below: HashMap<String, Vec<Arc<Domain>>> = HashMap::new();
        for domain in self.by_domain.values() {
            for parent in parents(&domain.name) {
                below.entry(parent.to_owned()).or_default().push(Arc::clone(domain));
            }
        }
        below
    }

    /// Why a domain of a source cannot be added beside the domains that are here. Two tenants may
    /// not overlap.
    fn obstacle(&self, domain: &Domain, below: &HashMap<String, Vec<Arc<Domain>>>) -> Option<String> {
        if self.by_domain.contains_key(&domain.name) {
            return Some(IN_FILE.to_owned());
        }
        if !self.by_id.contains_key(&domain.tenant) {
            return Some(format!("there is no tenant `{}`", domain.tenant));
        }
        let above = parents(&domain.name).filter_map(|parent| self.by_domain.get(parent));
        let mut near = above.chain(below.get(&domain.name).into_iter().flatten());
        if let Some(other) = near.find(|other| other.tenant != domain.tenant) {
            return Some(format!("it overlaps `{}` of tenant `{}`", other.name, other.tenant));
        }
        let host = domain.tracking.as_ref()?.host();
        let owner = self.by_tracking_host.get(host).filter(|owner| **owner != domain.tenant)?;
        Some(format!("its tracking host `{host}` is that of tenant `{owner}`"))
    }

    fn add_domain(&mut self, domain: &Arc<Domain>, source: &Self) {
        if let Some(tracking) = &domain.tracking {
            self.by_tracking_host.insert(tracking.host().to_owned(), domain.tenant.clone());
        }
        let (own, theirs) = (self.by_id.get(&domain.tenant), source.by_id.get(&domain.tenant));
        let domain = match (own, theirs) {
            // The file's tenant counts, so its grants bound those of the domain.
            (Some(own), theirs) if !theirs.is_some_and(|theirs| Arc::ptr_eq(own, theirs)) => {
                let grants = Arc::new(bounded(&domain.grants, &own.grants));
                Arc::new(Domain { grants, ..Domain::clone(domain) })
            }
            _ => Arc::clone(domain),
        };
        self.by_domain.insert(domain.name.clone(), domain);
    }
}

/// The grants of a tenant, with those of its pools that `wanted` names. Without any of these the
/// pools are the tenant's.
pub(super) fn bounded(wanted: &EgressGrants, tenant: &EgressGrants) -> EgressGrants {
    let granted = |pool: &&String| tenant.pools.contains(pool);
    let pools: Vec<String> = wanted.pools.iter().filter(granted).cloned().collect();
    EgressGrants { pools: if pools.is_empty() { tenant.pools.clone() } else { pools }, ..tenant.clone() }
}

/// The names that cover a name, the nearest first.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.split_once('.').map(|(_, parent)| parent), |name| {
        name.split_once('.').map(|(_, parent)| parent)
    })
}
