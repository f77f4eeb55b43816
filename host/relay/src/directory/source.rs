//! Sources of directory entries beside the configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_keys::SigningKey;
use relevo_mailkit::address::to_ascii;
use relevo_mailkit::model::Algorithm;
use relevo_store::{
    ApiKeyRecord, ControlStoreError, DirectoryRecords, DirectoryStore, DkimRecord, DomainRecord,
    StoreChanges, SuppressionSettings, TenantRecord, TrackingRecord,
};

use super::entries::bounded;
use super::{ApiKey, Credential, DirectoryEntries, DkimKey, Domain, MAX_HELD, Scope, Tenant, Tracking};
use crate::settings::EgressGrants;
use crate::suppressions::{ComplaintScope, SuppressionOverrides};

/// A source of directory entries that can change at any time.
#[async_trait]
pub trait DirectorySource: Send + Sync {
    /// A number that grows with every change. Asked every few seconds, so it must be cheap.
    async fn revision(&self) -> Result<i64, SourceError>;

    /// Tells of changes, where the source does.
    fn changes(&self) -> StoreChanges {
        StoreChanges::never()
    }

    /// All entries, of one moment.
    async fn load(&self) -> Result<LoadedEntries, SourceError>;
}

/// Why a source did not answer. The entries that were read before stay in force.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ControlStoreError),
    /// The task that reads the keys ended early.
    #[error("the keys could not be read: {0}")]
    Keys(String),
}

/// The entries of a source at one revision.
#[derive(Debug, Default)]
pub struct LoadedEntries {
    /// The revision.
    pub revision: i64,
    /// The entries that are right.
    pub entries: DirectoryEntries,
    /// One line for each entry that is wrong and therefore left out.
    pub mistakes: Vec<String>,
}

/// The control-plane store as a source. It has no plugins; files of private keys are relative to a
/// folder.
pub struct StoreSource {
    store: Arc<dyn DirectoryStore>,
    key_folder: PathBuf,
}

impl StoreSource {
    /// Reads `store`. `key_folder` is the data directory.
    #[must_use]
    pub fn new(store: Arc<dyn DirectoryStore>, key_folder: PathBuf) -> Self {
        Self { store, key_folder }
    }
}

#[async_trait]
impl DirectorySource for StoreSource {
    async fn revision(&self) -> Result<i64, SourceError> {
        Ok(self.store.directory_revision().await?)
    }

    fn changes(&self) -> StoreChanges {
        self.store.directory_changes()
    }

    async fn load(&self) -> Result<LoadedEntries, SourceError> {
        let records = self.store.directory().await?;
        let loader = EntryBuilder { key_folder: self.key_folder.clone(), loaded: LoadedEntries::default() };
        let loading = tokio::task::spawn_blocking(move || loader.load(records));
        loading.await.map_err(|e| SourceError::Keys(e.to_string()))
    }
}

/// Makes entries of records.
struct EntryBuilder {
    key_folder: PathBuf,
    loaded: LoadedEntries,
}

impl EntryBuilder {
    fn load(mut self, records: DirectoryRecords) -> LoadedEntries {
        self.loaded.revision = records.revision;
        for record in records.tenants {
            match build_tenant(&record) {
                Ok(tenant) => drop(self.loaded.entries.by_id.insert(record.id, Arc::new(tenant))),
                Err(why) => self.mistake(format!("tenant {}: {why}", record.id)),
            }
        }
        // A claim that DNS has not proven gives no right to send.
        for record in records.domains.into_iter().filter(|record| record.verified_at.is_some()) {
            match self.domain(&record) {
                Ok(domain) => drop(self.loaded.entries.by_domain.insert(record.name, Arc::new(domain))),
                Err(why) => self.mistake(format!("domain {}: {why}", record.name)),
            }
        }
        for record in records.credentials {
            let credential = Credential::with_password(record.tenant, record.password_hash);
            self.loaded.entries.by_username.insert(record.username, credential);
        }
        for record in records.api_keys {
            match api_key(&record) {
                Ok(key) => self.add_key(record, key),
                Err(why) => self.mistake(format!("API key {}: {why}", record.name)),
            }
        }
        self.loaded
    }

    /// Adds both tokens of a key. The one before the rotation ends by itself.
    fn add_key(&mut self, record: ApiKeyRecord, key: ApiKey) {
        let by_api_key = &mut self.loaded.entries.by_api_key;
        if let Some(previous) = record.previous {
            let until = key.expires_at.map_or(previous.until, |at| at.min(previous.until));
            by_api_key.insert(previous.hash, ApiKey { expires_at: Some(until), ..key.clone() });
        }
        by_api_key.insert(record.hash, key);
    }

    fn mistake(&mut self, mistake: String) {
        self.loaded.mistakes.push(mistake);
    }

    fn domain(&self, record: &DomainRecord) -> Result<Domain, String> {
        // A tenant with a mistake may still be in the file, whose grants then bound these.
        let tenant = self.loaded.entries.by_id.get(&record.tenant);
        build_domain(record, tenant.map(|tenant| &*tenant.grants), &self.key_folder)
    }
}

/// Reads a domain with its keys, whose files are relative to `folder`. `granted` is what its tenant
/// may use, if that is known.
pub(crate) fn build_domain(
    record: &DomainRecord,
    granted: Option<&EgressGrants>,
    folder: &Path,
) -> Result<Domain, String> {
    if to_ascii(&record.name).ok().as_deref() != Some(&record.name) {
        return Err("the name is not a domain name in lower case A-labels".to_owned());
    }
    let settings = &record.settings;
    let dkim = settings.dkim.iter().map(|key| load_dkim_key(folder, key)).collect::<Result<_, _>>()?;
    let wanted = EgressGrants { pools: settings.pools.clone(), ..EgressGrants::default() };
    let grants = granted.map_or_else(|| wanted.clone(), |granted| bounded(&wanted, granted));
    Ok(Domain {
        name: record.name.clone(),
        tenant: record.tenant.clone(),
        dkim,
        tracking: settings.tracking.as_ref().map(tracking).transpose()?,
        grants: Arc::new(grants),
        enforce_tls: settings.enforce_tls,
    })
}

/// The key of a record, whose file is relative to `folder`.
fn load_dkim_key(folder: &Path, record: &DkimRecord) -> Result<DkimKey, String> {
    let algorithm = [Algorithm::RsaSha256, Algorithm::Ed25519Sha256];
    let algorithm = algorithm.into_iter().find(|known| known.as_str() == record.algorithm);
    let algorithm = algorithm.ok_or_else(|| format!("`{}` is no algorithm of DKIM", record.algorithm))?;
    let loaded = SigningKey::load(&folder.join(&record.key), algorithm);
    let (key, warning) = loaded.map_err(|error| error.to_string())?;
    if let Some(warning) = warning {
        tracing::warn!(selector = record.selector, "{warning}");
    }
    Ok(DkimKey { selector: record.selector.clone(), key: Arc::new(key), signature_lifetime: None })
}

/// Reads a tenant.
pub(crate) fn build_tenant(record: &TenantRecord) -> Result<Tenant, String> {
    let settings = &record.settings;
    let network = |text: &String| text.parse().map_err(|error| format!("`{text}` {error}"));
    let networks = settings.networks.iter().map(network).collect::<Result<_, _>>()?;
    Ok(Tenant {
        id: record.id.clone(),
        networks,
        max_held: settings.max_held.unwrap_or(MAX_HELD),
        plugins: Vec::new(),
        grants: Arc::new(EgressGrants {
            pools: settings.pools.clone(),
            routes: settings.routes.clone(),
            max_priority: settings.max_priority.unwrap_or(0),
        }),
        quota: settings.quota,
        requests_per_second: settings.requests_per_second,
        suppression: suppression(&settings.suppression)?,
        keep_content: settings.keep_content_seconds.filter(|n| *n > 0).map(Duration::from_secs),
        dsn: settings.dsn.unwrap_or(true),
    })
}

fn suppression(record: &SuppressionSettings) -> Result<SuppressionOverrides, String> {
    let complaints = match record.complaints.as_deref() {
        None => None,
        Some("all") => Some(ComplaintScope::All),
        Some("stream") => Some(ComplaintScope::Stream),
        Some(other) => return Err(format!("complaints stop `all` or `stream`, not `{other}`")),
    };
    Ok(SuppressionOverrides {
        hard_bounces: record.hard_bounces,
        mailbox_full_times: record.mailbox_full_times,
        mailbox_full_days: record.mailbox_full_days,
        complaints,
    })
}

fn api_key(record: &ApiKeyRecord) -> Result<ApiKey, String> {
    let settings = &record.settings;
    Ok(ApiKey {
        tenant: record.tenant.clone(),
        id: Some(record.id.clone()),
        name: record.name.clone(),
        scopes: settings.scopes.iter().map(|name| name.parse::<Scope>()).collect::<Result<_, _>>()?,
        domain: settings.domain.clone(),
        expires_at: settings.expires_at,
    })
}

fn tracking(record: &TrackingRecord) -> Result<Tracking, String> {
    let tracking = Tracking {
        url: record.url.trim_end_matches('/').to_ascii_lowercase(),
        opens: record.opens,
        clicks: record.clicks,
        text_links: record.text_links,
        rewrite_signed: record.rewrite_signed,
    };
    let url = url::Url::parse(&tracking.url).ok();
    let is_origin = |url: &url::Url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == tracking.url
    };
    match url.is_some_and(|url| is_origin(&url)) {
        true => Ok(tracking),
        false => Err(format!("`{}` is not http or https, a host and nothing behind it", record.url)),
    }
}
