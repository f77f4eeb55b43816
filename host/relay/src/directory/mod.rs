//! The directory: tenants, sending domains, credentials and API keys.
//!
//! [`Directory`] is an immutable snapshot in memory, so no lookup waits for a database. It is a
//! part of the [`Settings`](crate::settings::Settings): a session or an attempt that keeps its
//! settings keeps its directory too.
//!
//! The entries come from the configuration file and from at most one [`DirectorySource`], such as
//! the control-plane store. [`DirectoryRefresher`] reads the source again when its revision has
//! changed and puts a new snapshot in force. A name that both have is the file's;
//! [`Directory::conflicts`] lists these names.

use std::sync::Arc;
use std::time::Duration;

use relevo_keys::SigningKey;
use relevo_smtp::server::ScramVerifier;
pub use relevo_store::QuotaSettings;
pub use relevo_submission::Tracking;

use crate::settings::{EgressGrants, Network, PluginSettings};
use crate::suppressions::SuppressionOverrides;

mod entries;
mod refresh;
mod scopes;
mod source;

pub use entries::{Conflict, DirectoryEntries};
pub use refresh::DirectoryRefresher;
pub use scopes::{Scope, Scopes};
pub use source::{DirectorySource, LoadedEntries, SourceError, StoreSource};
pub(crate) use source::{build_domain, build_tenant};

/// Who may send, and as whom. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The entries of the configuration file.
    file: Arc<DirectoryEntries>,
    /// The entries of the file, and those of the source whose names the file has not.
    all: Arc<DirectoryEntries>,
    conflicts: Arc<[Conflict]>,
}

impl From<DirectoryEntries> for Directory {
    /// The directory of the configuration file alone.
    fn from(file: DirectoryEntries) -> Self {
        let file = Arc::new(file);
        Self { all: Arc::clone(&file), file, conflicts: Arc::default() }
    }
}

impl Directory {
    /// The file's entries together with those of the source. Entries of a source that were there
    /// before are gone.
    #[must_use]
    pub fn with_source(&self, source: &DirectoryEntries) -> Self {
        let mut all = DirectoryEntries::clone(&self.file);
        let conflicts = all.add(source);
        Self { file: Arc::clone(&self.file), all: Arc::new(all), conflicts: conflicts.into() }
    }

    /// Entries of the source that do not count because of the file's.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// The tenant with this id.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.all.by_id.get(id)
    }

    /// The tenant of the configuration file with this id.
    #[must_use]
    pub fn file_tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.file.by_id.get(id)
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.all.by_id.values()
    }

    /// The most specific configured domain that is or covers `name` (lower case A-labels).
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Arc<Domain>> {
        let mut name = name;
        loop {
            if let Some(found) = self.all.by_domain.get(name) {
                return Some(found);
            }
            name = name.split_once('.')?.1;
        }
    }

    /// The configured domain with exactly this name.
    #[must_use]
    pub fn configured_domain(&self, name: &str) -> Option<&Arc<Domain>> {
        self.all.by_domain.get(name)
    }

    /// The domains of the configuration file, in no order.
    pub fn file_domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.file.by_domain.values()
    }

    /// The domain of the configuration file with exactly this name.
    #[must_use]
    pub fn file_domain(&self, name: &str) -> Option<&Arc<Domain>> {
        self.file.by_domain.get(name)
    }

    /// All configured domains, in no order.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.all.by_domain.values()
    }

    /// The SMTP credential with this user name.
    #[must_use]
    pub fn credential(&self, username: &str) -> Option<&Credential> {
        self.all.by_username.get(username)
    }

    /// All credentials by user name, in no order.
    pub fn credentials(&self) -> impl Iterator<Item = (&str, &Credential)> {
        self.all.by_username.iter().map(|(name, credential)| (name.as_str(), credential))
    }

    /// The credential for which a certificate with this SHA-256 stands, and its user name. Of
    /// several it is the one whose user name sorts first.
    #[must_use]
    pub fn certificate(&self, digest: &[u8; 32]) -> Option<(&str, &Credential)> {
        let named = |(_, credential): &(&str, &Credential)| credential.certificates.contains(digest);
        self.credentials().filter(named).min_by_key(|(name, _)| *name)
    }

    /// The hash of the password whose user name sorts first. It is checked for unknown users, so
    /// that they take as long.
    #[must_use]
    pub fn first_password_hash(&self) -> Option<&str> {
        let hashed = self.credentials().filter_map(|(name, c)| Some((name, c.password_hash.as_deref()?)));
        hashed.min_by_key(|(name, _)| *name).map(|(_, hash)| hash)
    }

    /// The API key whose token has this SHA-256. It may have expired.
    #[must_use]
    pub fn api_key(&self, hash: &[u8; 32]) -> Option<&ApiKey> {
        self.all.by_api_key.get(hash)
    }

    /// The tracking host with this authority (lower case, with the port when it is not the
    /// default), and its tenant.
    #[must_use]
    pub fn tracking_host(&self, authority: &str) -> Option<(&str, &str)> {
        let found = self.all.by_tracking_host.get_key_value(authority);
        found.map(|(host, tenant)| (host.as_str(), tenant.as_str()))
    }

    /// The entries of the file, to be changed by a test.
    #[cfg(test)]
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut DirectoryEntries)) {
        let mut entries = DirectoryEntries::clone(&self.file);
        change(&mut entries);
        *self = entries.into();
    }
}

/// A tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Lower case letters, digits, hyphens.
    pub id: String,
    /// Networks that may use its domains on the relay port; empty: every trusted network.
    pub networks: Vec<Network>,
    /// Deliveries that plugins may hold at the same time.
    pub max_held: u64,
    /// Its policy plugins, in the order in which they are asked.
    pub plugins: Vec<Arc<PluginSettings>>,
    /// Pools, routes and priorities that it may use.
    pub grants: Arc<EgressGrants>,
    /// Recipients that it may send to.
    pub quota: QuotaSettings,
    /// Requests to the API in a second. None: the server's default.
    pub requests_per_second: Option<u32>,
    /// Rules that suppress its recipients.
    pub suppression: SuppressionOverrides,
    /// How long the content of its messages is kept after their last delivery. None: not at all.
    pub keep_content: Option<Duration>,
    /// What its senders ask of delivery status notifications counts (RFC 3461). Otherwise they are told
    /// of failures alone.
    pub dsn: bool,
}

/// Deliveries of a tenant that may be held, unless set otherwise.
pub const MAX_HELD: u64 = 1_000;

/// An SMTP credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// The id of its tenant.
    pub tenant: String,
    /// Argon2id in PHC form, for PLAIN and LOGIN.
    pub password_hash: Option<String>,
    /// For SCRAM-SHA-256.
    pub scram: Option<ScramVerifier>,
    /// Tokens of the issuer of `[smtp.oauth]` that name the user are accepted.
    pub oauth: bool,
    /// SHA-256 of the client certificates (DER) that stand for the user.
    pub certificates: Vec<[u8; 32]>,
}

impl Credential {
    /// A credential with a password for PLAIN and LOGIN alone.
    #[must_use]
    pub fn with_password(tenant: impl Into<String>, password_hash: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), password_hash: Some(password_hash.into()), ..Self::default() }
    }
}

/// An HTTP API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The id of its tenant.
    pub tenant: String,
    /// Its id in the store. None: it is the configuration file's.
    pub id: Option<String>,
    /// Its name in logs.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The only domain that it sends from.
    pub domain: Option<String>,
    /// The token counts before this time, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl ApiKey {
    /// A key of the configuration file that may do everything and does not expire.
    #[must_use]
    pub fn unlimited(tenant: &str, name: &str) -> Self {
        let (tenant, name) = (tenant.to_owned(), name.to_owned());
        Self { tenant, id: None, name, scopes: Scopes::all(), domain: None, expires_at: None }
    }
}

/// A sending domain. It covers its subdomains unless a more specific domain is configured.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Lower case A-labels.
    pub name: String,
    /// The id of its tenant.
    pub tenant: String,
    /// Keys to sign with; every one signs.
    pub dkim: Vec<DkimKey>,
    /// Tracking; none: off.
    pub tracking: Option<Tracking>,
    /// The grants of its tenant; pools may be fewer, or in another order.
    pub grants: Arc<EgressGrants>,
    /// Its mail goes over verified TLS only.
    pub enforce_tls: bool,
}

/// A DKIM key of a domain.
#[derive(Debug, Clone)]
pub struct DkimKey {
    /// s=
    pub selector: String,
    /// The key; knows its algorithm.
    pub key: Arc<SigningKey>,
    /// x= as time after t=; none: no x=.
    pub signature_lifetime: Option<Duration>,
}

#[cfg(test)]
mod tests;
