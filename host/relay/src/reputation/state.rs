//! What is kept over restarts.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use relevo_doctor::ProviderRate;
use relevo_doctor::blocklist::{self, Listing};
use relevo_doctor::imports::{PostmasterRow, SndsRow};
use serde::{Deserialize, Serialize};

use super::KnownReputation;

/// Octets of the file.
const MAX_FILE: u64 = 64 << 20;
/// Imported rows of one tenant of each kind: domains, addresses.
const MAX_KEPT: usize = 1_000;

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReputationState {
    listings: Vec<StoredListing>,
    /// By tenant.
    postmaster: BTreeMap<String, Vec<PostmasterRow>>,
    /// By tenant.
    snds: BTreeMap<String, Vec<SndsRow>>,
}

/// What a block list said of an address, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredListing {
    list: String,
    address: IpAddr,
    at: i64,
    /// None: it was asked, and there was no answer before the process ended.
    result: Option<StoredAnswer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAnswer {
    Listed(Vec<String>),
    NotListed,
    Unknown(String),
}

/// What a block list said of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownListing {
    /// The zone of the list.
    pub list: String,
    /// The address.
    pub address: IpAddr,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The answer.
    pub answer: Listing,
}

impl From<&StoredListing> for KnownListing {
    fn from(stored: &StoredListing) -> Self {
        let answer = match &stored.result {
            Some(StoredAnswer::Listed(codes)) => Listing::Listed(codes.clone()),
            Some(StoredAnswer::NotListed) => Listing::NotListed,
            Some(StoredAnswer::Unknown(why)) => Listing::Unknown(why.clone()),
            None => Listing::Unknown("the relay ended before there was an answer".to_owned()),
        };
        Self { list: stored.list.clone(), address: stored.address, at: stored.at, answer }
    }
}

impl ReputationState {
    fn find(&mut self, list: &str, address: IpAddr) -> Option<&mut StoredListing> {
        self.listings.iter_mut().find(|known| known.list == list && known.address == address)
    }

    pub(super) fn listing(&self, list: &str, address: IpAddr) -> Option<KnownListing> {
        self.listings.iter().find(|known| known.list == list && known.address == address).map(Into::into)
    }

    /// All but the test entries.
    pub(super) fn listings(&self) -> Vec<KnownListing> {
        let is_test = |address: IpAddr| blocklist::test_entries(address.is_ipv6()).contains(&address);
        self.listings.iter().filter(|known| !is_test(known.address)).map(Into::into).collect()
    }

    /// Forgets lists and addresses that are gone.
    pub(super) fn keep(&mut self, lists: &[String], addresses: &[IpAddr]) {
        let is_test = |address: IpAddr| blocklist::test_entries(address.is_ipv6()).contains(&address);
        self.listings.retain(|known| {
            lists.contains(&known.list) && (addresses.contains(&known.address) || is_test(known.address))
        });
    }

    /// Notes that addresses are asked for. Earlier answers stay until there are others.
    pub(super) fn begin(&mut self, list: &str, addresses: &[IpAddr], now: i64) {
        for address in addresses {
            match self.find(list, *address) {
                Some(known) => known.at = now,
                None => self.listings.push(StoredListing {
                    list: list.to_owned(),
                    address: *address,
                    at: now,
                    result: None,
                }),
            }
        }
    }

    /// Keeps an answer. Returns true if the address was listed before.
    pub(super) fn put(&mut self, list: &str, address: IpAddr, answer: Listing) -> bool {
        let Some(known) = self.find(list, address) else { return false };
        let was_listed = matches!(known.result, Some(StoredAnswer::Listed(_)));
        known.result = Some(match answer {
            Listing::Listed(codes) => StoredAnswer::Listed(codes),
            Listing::NotListed => StoredAnswer::NotListed,
            Listing::Unknown(why) => StoredAnswer::Unknown(why),
        });
        was_listed
    }

    pub(super) fn add_postmaster(&mut self, tenant: &str, rows: Vec<PostmasterRow>) {
        let kept = self.postmaster.entry(tenant.to_owned()).or_default();
        // What came last stands for its day: the order of equals stays.
        kept.splice(0..0, rows);
        kept.sort_by(|a, b| (&a.domain, b.day).cmp(&(&b.domain, a.day)));
        kept.dedup_by(|later, first| later.domain == first.domain);
        kept.truncate(MAX_KEPT);
    }

    pub(super) fn add_snds(&mut self, tenant: &str, rows: Vec<SndsRow>) {
        let kept = self.snds.entry(tenant.to_owned()).or_default();
        kept.splice(0..0, rows);
        kept.sort_by(|a, b| (a.address, b.day).cmp(&(b.address, a.day)));
        kept.dedup_by(|later, first| later.address == first.address);
        kept.truncate(MAX_KEPT);
    }

    /// What is known of a domain.
    #[must_use]
    pub fn of(&self, tenant: &str, domain: &str) -> KnownReputation {
        let rows = self.postmaster.get(tenant).into_iter().flatten().filter(|row| row.domain == domain);
        let rate = |row: &PostmasterRow| ProviderRate {
            provider: "google".to_owned(),
            delivered: 0,
            complained: 0,
            bounced: 0,
            origin: format!("Google Postmaster Tools, {}", row.day),
            reported: Some(row.spam_rate),
        };
        let listings = self.listings().into_iter().map(|known| (known.list, known.address, known.answer));
        KnownReputation {
            rates: rows.map(rate).collect(),
            listings: listings.collect(),
            snds: self.snds.get(tenant).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// Reads the file; nothing if there is none.
///
/// # Errors
/// Why it cannot be read.
pub fn read(file: &Path) -> Result<ReputationState, String> {
    let size = match std::fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ReputationState::default()),
        Err(error) => return Err(error.to_string()),
    };
    if size > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} octets"));
    }
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Replaces the file: a crash leaves the one before or this one.
pub(super) fn write(file: &Path, text: &[u8]) -> Result<(), String> {
    let new = file.with_extension("new");
    let written = || {
        let mut made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        made.write_all(text)?;
        made.sync_all()?;
        std::fs::rename(&new, file)?;
        match file.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|error: std::io::Error| format!("{}: {error}", file.display()))
}
