//! Sending domains that tenants add by themselves: claimed, proven by DNS, changed and removed.
//!
//! A claim gives no right to send. Several tenants may claim a domain. The one that publishes the
//! DKIM key of its claim has shown that the zone is its own, and the domain is that tenant's.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relevo_keys::SigningKey;
use relevo_mailkit::address::to_ascii;
use relevo_mailkit::model::Algorithm;
use relevo_resolve::Resolve;
use relevo_store::{
    ControlStoreError, DirectoryStore, DkimRecord, DomainRecord, DomainSettings, TrackingRecord,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::clock::{Clock, IdSource};
use crate::directory::{Directory, DirectoryRefresher, Domain, build_domain};
use crate::records::records;
use crate::settings::{Settings, SettingsHandle};

mod check;
mod spf;

pub use check::{RecordCheck, RecordStatus};

/// Domains of a tenant that are in the store.
const MAX_DOMAINS: u32 = 1_000;
/// Folder of DKIM keys in the data directory.
const KEY_FOLDER: &str = "dkim";
/// Domains that are looked for in DNS at the same time.
const LOOKS: usize = 8;
/// How long a look may take, with its waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name below the domain that tracking links have, unless said otherwise.
const TRACKING: &str = "links";

/// A domain of a tenant.
#[derive(Debug, Clone)]
pub struct OwnDomain {
    /// With its keys.
    pub domain: Arc<Domain>,
    /// Time of the claim, in milliseconds since 1970. None: it is the configuration file's.
    pub created_at: Option<i64>,
    /// It may send.
    pub is_verified: bool,
}

/// What can be set of a domain. None: it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainChange {
    /// An open pixel is inserted.
    pub opens: Option<bool>,
    /// Links are rewritten.
    pub clicks: Option<bool>,
    /// The name below the domain that tracking links have.
    pub tracking_subdomain: Option<String>,
    /// Mail goes over verified TLS only.
    pub enforce_tls: Option<bool>,
}

/// Why a domain cannot be added or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainRefusal {
    /// There is no such domain, or it is another tenant's.
    #[error("this domain is not one of yours")]
    NotFound,
    /// The domain is somebody else's, there already, or the file's.
    #[error("{0}")]
    Conflict(String),
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// The name of the value.
        param: &'static str,
        /// The mistake.
        message: String,
    },
    /// The store failed, or the key cannot be made. The log has the details.
    #[error("domains are not available now, try again later")]
    Unavailable,
}

impl From<ControlStoreError> for DomainRefusal {
    fn from(error: ControlStoreError) -> Self {
        if let ControlStoreError::Conflict(reason) = error {
            return Self::Conflict(reason);
        }
        error!(%error, "the store of domains failed");
        Self::Unavailable
    }
}

/// The domains of all tenants.
pub struct Domains {
    store: Arc<dyn DirectoryStore>,
    /// Reads the directory after each change. None: the relay that runs beside this process does.
    directory: Option<Arc<DirectoryRefresher>>,
    settings: SettingsHandle,
    /// Remembers no answers: somebody has just published the records.
    resolve: Arc<dyn Resolve>,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// Making an RSA key takes a processor some tenths of a second: one at a time.
    making: Semaphore,
    /// Looks into DNS take up to thirty questions: a caller that repeats them is slowed down.
    looking: Semaphore,
}

impl Domains {
    /// Domains in this store, with keys in this data directory.
    #[must_use]
    pub fn new(
        (store, directory): (Arc<dyn DirectoryStore>, Option<Arc<DirectoryRefresher>>),
        settings: SettingsHandle,
        resolve: Arc<dyn Resolve>,
        data_dir: PathBuf,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
    ) -> Self {
        let (making, looking) = (Semaphore::new(1), Semaphore::new(LOOKS));
        Self { store, directory, settings, resolve, data_dir, clock, ids, making, looking }
    }

    /// Claims a domain, and makes a DKIM key for it.
    ///
    /// # Errors
    /// A name that is wrong, another's, or there already; the store's.
    pub async fn add(
        &self,
        tenant: &str,
        name: &str,
        change: &DomainChange,
    ) -> Result<OwnDomain, DomainRefusal> {
        let name = checked_name(name)?;
        let settings = self.settings.get();
        unclaimed(&settings.directory, tenant, &name)?;
        if self.store.domain(tenant, &name).await?.is_some() {
            return Err(DomainRefusal::Conflict(format!("you have the domain {name} already")));
        }
        let known = self.store.domains(tenant, "", MAX_DOMAINS).await?.len();
        if known >= usize::try_from(MAX_DOMAINS).unwrap_or(usize::MAX) {
            return Err(DomainRefusal::Conflict(format!("you have {MAX_DOMAINS} domains already")));
        }
        let created_at = self.clock.now();
        let mut record = DomainRecord {
            name,
            tenant: tenant.to_owned(),
            verified_at: None,
            settings: DomainSettings { created_at, ..DomainSettings::default() },
        };
        apply(&mut record, change)?;
        record.settings.dkim.push(self.make_key(created_at).await?);
        self.store.put_domain(&record).await?;
        self.own(&record, &settings).await
    }

    /// Domains of a tenant by name, those behind `after`: of the configuration file and of the
    /// store.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, tenant: &str, after: &str, max: u32) -> Result<Vec<OwnDomain>, DomainRefusal> {
        let settings = self.settings.get();
        let of_file = settings.directory.file_domains().filter(|domain| domain.tenant == tenant);
        let of_file = of_file.filter(|domain| domain.name.as_str() > after);
        let mut all: BTreeMap<String, OwnDomain> =
            of_file.map(|domain| (domain.name.clone(), in_file(domain))).collect();
        for mut record in self.store.domains(tenant, after, max).await? {
            if all.contains_key(&record.name) {
                continue;
            }
            let own = match self.own(&record, &settings).await {
                Ok(own) => own,
                // A key that cannot be read hides no domain: the log has the reason.
                Err(_) => {
                    record.settings.dkim.clear();
                    self.own(&record, &settings).await?
                }
            };
            all.insert(record.name, own);
        }
        Ok(all.into_values().take(usize::try_from(max).unwrap_or(usize::MAX)).collect())
    }

    /// One domain.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn get(&self, tenant: &str, name: &str) -> Result<OwnDomain, DomainRefusal> {
        let name = to_ascii(name).map_err(|_| DomainRefusal::NotFound)?;
        let settings = self.settings.get();
        if let Some(domain) = settings.directory.file_domain(&name) {
            return match domain.tenant == tenant {
                true => Ok(in_file(domain)),
                false => Err(DomainRefusal::NotFound),
            };
        }
        let record = self.store.domain(tenant, &name).await?.ok_or(DomainRefusal::NotFound)?;
        self.own(&record, &settings).await
    }

    /// Changes a domain of the store.
    ///
    /// # Errors
    /// There is none, or it is the file's; a value is wrong; the store's.
    pub async fn change(
        &self,
        tenant: &str,
        name: &str,
        change: &DomainChange,
    ) -> Result<OwnDomain, DomainRefusal> {
        let mut record = self.stored(tenant, name).await?;
        apply(&mut record, change)?;
        self.store.put_domain(&record).await?;
        self.reread().await?;
        self.own(&record, &self.settings.get()).await
    }

    /// Removes a domain of the store with its keys. Its mail that waits goes unsigned, or back.
    ///
    /// # Errors
    /// There is none, or it is the file's; the store's.
    pub async fn remove(&self, tenant: &str, name: &str) -> Result<String, DomainRefusal> {
        let record = self.stored(tenant, name).await?;
        self.store.delete_domain(tenant, &record.name).await?;
        self.reread().await?;
        for key in &record.settings.dkim {
            if let Err(error) = tokio::fs::remove_file(self.data_dir.join(&key.key)).await {
                warn!(%error, key = key.key, "the key of a domain that is gone cannot be deleted");
            }
        }
        Ok(record.name)
    }

    /// Looks for each record in DNS. A domain whose DKIM records are all there is its tenant's from
    /// now on, and may send.
    ///
    /// # Errors
    /// There is none; another tenant has proven it before; DNS is too slow; the store's.
    pub async fn verify(
        &self,
        tenant: &str,
        name: &str,
    ) -> Result<(OwnDomain, Vec<RecordCheck>), DomainRefusal> {
        let mut own = self.get(tenant, name).await?;
        let settings = self.settings.get();
        let wanted = records(&own.domain, &settings);
        let looked = async {
            let _one = self.looking.acquire().await;
            check::all(&*self.resolve, &own.domain, &settings, wanted).await
        };
        let checks = timeout(PATIENCE, looked).await.map_err(|_| {
            warn!(domain = own.domain.name, "DNS is too slow to verify a domain");
            DomainRefusal::Unavailable
        })?;
        if !own.is_verified && is_proven(&checks) {
            let mut record = self.stored(tenant, &own.domain.name).await?;
            unclaimed(&settings.directory, tenant, &record.name)?;
            record.verified_at = Some(self.clock.now());
            self.store.put_domain(&record).await?;
            self.reread().await?;
            own = self.own(&record, &self.settings.get()).await?;
        }
        Ok((own, checks))
    }

    /// The record of a domain that can be changed here.
    async fn stored(&self, tenant: &str, name: &str) -> Result<DomainRecord, DomainRefusal> {
        let name = to_ascii(name).map_err(|_| DomainRefusal::NotFound)?;
        match self.settings.get().directory.file_domain(&name) {
            Some(domain) if domain.tenant == tenant => {
                let message = format!("{name} is in the relay's configuration file: it is changed there");
                Err(DomainRefusal::Conflict(message))
            }
            Some(_) => Err(DomainRefusal::NotFound),
            None => self.store.domain(tenant, &name).await?.ok_or(DomainRefusal::NotFound),
        }
    }

    async fn own(&self, record: &DomainRecord, settings: &Settings) -> Result<OwnDomain, DomainRefusal> {
        let grants = settings.directory.tenant(&record.tenant).map(|tenant| tenant.grants.clone());
        let (stored, folder) = (record.clone(), self.data_dir.clone());
        let built = tokio::task::spawn_blocking(move || build_domain(&stored, grants.as_deref(), &folder));
        let domain = built.await.map_err(|error| error.to_string()).flatten().map_err(|error| {
            error!(error, domain = record.name, "a domain of the store cannot be read");
            DomainRefusal::Unavailable
        })?;
        Ok(OwnDomain {
            domain: Arc::new(domain),
            created_at: Some(record.settings.created_at),
            is_verified: record.verified_at.is_some(),
        })
    }

    /// Makes an RSA key, in a file whose name nobody chooses.
    async fn make_key(&self, now: i64) -> Result<DkimRecord, DomainRefusal> {
        let failed = |error: String| {
            error!(error, "a DKIM key cannot be made");
            DomainRefusal::Unavailable
        };
        let id = self.ids.item_id(now).map_err(|error| failed(error.to_string()))?.to_string();
        let selector = format!("rv{}", id.to_ascii_lowercase());
        let file = format!("{KEY_FOLDER}/{id}.pem");
        let (folder, path) = (self.data_dir.join(KEY_FOLDER), self.data_dir.join(&file));
        let _one = self.making.acquire().await.map_err(|error| failed(error.to_string()))?;
        let made = tokio::task::spawn_blocking(move || {
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.to_string()),
                _ => {}
            }
            let key = SigningKey::generate(Algorithm::RsaSha256).map_err(|error| error.to_string())?;
            key.write(&path).map_err(|error| error.to_string())
        });
        made.await.map_err(|error| error.to_string()).flatten().map_err(failed)?;
        let algorithm = Algorithm::RsaSha256.as_str().to_owned();
        Ok(DkimRecord { selector, algorithm, key: file })
    }

    async fn reread(&self) -> Result<(), DomainRefusal> {
        let Some(directory) = &self.directory else { return Ok(()) };
        directory.refresh().await.map(drop).map_err(|error| {
            error!(%error, "the change of a domain is stored, and does not count yet");
            DomainRefusal::Unavailable
        })
    }
}

/// Returns true if every DKIM key is published.
fn is_proven(checks: &[RecordCheck]) -> bool {
    let mut keys = checks.iter().filter(|check| check.record.purpose == "DKIM").peekable();
    keys.peek().is_some() && keys.all(|key| key.status == RecordStatus::Verified)
}

fn in_file(domain: &Arc<Domain>) -> OwnDomain {
    OwnDomain { domain: Arc::clone(domain), created_at: None, is_verified: true }
}

fn checked_name(name: &str) -> Result<String, DomainRefusal> {
    let name = to_ascii(name.trim()).map_err(|error| invalid("name", error.to_string()))?;
    match name.contains('.') && !name.starts_with('[') {
        true => Ok(name),
        false => Err(invalid("name", "must be a domain name such as mail.example.com")),
    }
}

/// A domain may not be, lie inside, or contain a domain of another tenant.
fn unclaimed(directory: &Directory, tenant: &str, name: &str) -> Result<(), DomainRefusal> {
    if directory.file_domain(name).is_some() {
        let message = format!("the domain {name} is in the relay's configuration file");
        return Err(DomainRefusal::Conflict(message));
    }
    let above = directory.domain(name).filter(|above| above.tenant != tenant);
    let inside = format!(".{name}");
    let below = || directory.domains().find(|other| other.tenant != tenant && other.name.ends_with(&inside));
    match above.or_else(below) {
        Some(other) if other.name == name => {
            Err(DomainRefusal::Conflict(format!("the domain {name} is another tenant's")))
        }
        Some(other) => {
            let message = format!("the domain {name} overlaps {} of another tenant", other.name);
            Err(DomainRefusal::Conflict(message))
        }
        None => Ok(()),
    }
}

/// Applies a change to a record.
fn apply(record: &mut DomainRecord, change: &DomainChange) -> Result<(), DomainRefusal> {
    let settings = &mut record.settings;
    if let Some(enforce_tls) = change.enforce_tls {
        settings.enforce_tls = enforce_tls;
    }
    if change.opens.is_none() && change.clicks.is_none() && change.tracking_subdomain.is_none() {
        return Ok(());
    }
    let before = settings.tracking.take();
    let url = match (&change.tracking_subdomain, &before) {
        (None, Some(before)) => before.url.clone(),
        (None, None) => format!("https://{TRACKING}.{}", record.name),
        (Some(label), _) => {
            let host = to_ascii(&format!("{label}.{}", record.name)).ok();
            let host = host.filter(|_| !label.is_empty()).ok_or_else(|| {
                invalid("tracking_subdomain", "must be a name such as links, without the domain")
            })?;
            format!("https://{host}")
        }
    };
    let (opens, clicks) = before.as_ref().map_or((false, false), |before| (before.opens, before.clicks));
    let tracking = TrackingRecord {
        url,
        opens: change.opens.unwrap_or(opens),
        clicks: change.clicks.unwrap_or(clicks),
        text_links: before.as_ref().is_some_and(|before| before.text_links),
        rewrite_signed: before.as_ref().is_some_and(|before| before.rewrite_signed),
    };
    settings.tracking = Some(tracking);
    Ok(())
}

fn invalid(param: &'static str, message: impl Into<String>) -> DomainRefusal {
    DomainRefusal::Invalid { param, message: message.into() }
}

#[cfg(test)]
mod tests;
