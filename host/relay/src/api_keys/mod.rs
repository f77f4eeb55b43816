//! API keys of the store: made, listed, rotated, renamed and revoked, over HTTP and from the command
//! line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
pub use relevo_store::ApiKeyRecord;
use relevo_store::{ApiKeySettings, ApiKeyStore, ControlStoreError};
use tracing::{error, warn};

use crate::clock::{Clock, IdSource};
use crate::directory::{DirectoryRefresher, Scopes};

mod token;

pub use token::{NewToken, hash, is_well_formed};

/// Keys of a tenant.
const MAX_KEYS: u32 = 1_000;
/// Octets of a name.
const MAX_NAME: usize = 128;
/// How long the token before a rotation may count.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 86_400);
/// How long the token before a rotation counts, unless said otherwise.
pub const OVERLAP: Duration = Duration::from_secs(86_400);
/// Time between two writings of the times of last use.
const WRITE_USES: Duration = Duration::from_secs(60);

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// For people and logs; unique among the keys of the tenant.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The only domain that it sends from.
    pub domain: Option<String>,
    /// It counts before this time, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// A key whose token is known for this once.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// The id of the key.
    pub id: String,
    /// The token.
    pub token: NewToken,
}

/// Why a key cannot be made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// There is no such key, or it is another tenant's.
    #[error("there is no such key")]
    NotFound,
    /// The name is in use, or there are too many keys.
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
    /// The store failed. The log has the details.
    #[error("keys are not available now, try again later")]
    Unavailable,
}

impl From<ControlStoreError> for KeyRefusal {
    fn from(error: ControlStoreError) -> Self {
        if let ControlStoreError::Conflict(reason) = error {
            return Self::Conflict(reason);
        }
        error!(%error, "the store of API keys failed");
        Self::Unavailable
    }
}

/// The keys of all tenants.
pub struct ApiKeys {
    store: Arc<dyn ApiKeyStore>,
    /// Reads the directory after each change. None: the relay that runs beside this process does.
    directory: Option<Arc<DirectoryRefresher>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// Times of last use that are not stored yet, by tenant and id.
    uses: Mutex<HashMap<(String, String), i64>>,
}

impl ApiKeys {
    /// Keys in this store.
    #[must_use]
    pub fn new(
        store: Arc<dyn ApiKeyStore>,
        directory: Option<Arc<DirectoryRefresher>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, directory, clock, ids, uses: Mutex::default() }
    }

    /// Makes a key. It counts at once.
    ///
    /// # Errors
    /// A name that is wrong or in use; no scope; an end that has passed; the store's.
    pub async fn create(&self, tenant: &str, new: NewApiKey) -> Result<IssuedKey, KeyRefusal> {
        let now = self.clock.now();
        let name = checked_name(&new.name)?;
        if new.scopes.is_empty() {
            return Err(invalid("scopes", "names no scope"));
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(invalid("expires_at", "has passed"));
        }
        let token = new_token()?;
        let id = self.ids.item_id(now).map_err(|error| no_randomness(&error))?.to_string();
        let record = ApiKeyRecord {
            tenant: tenant.to_owned(),
            id: id.clone(),
            name: name.to_owned(),
            hash: token.hash,
            previous: None,
            settings: ApiKeySettings {
                scopes: new.scopes.names().into_iter().map(str::to_owned).collect(),
                domain: new.domain,
                prefix: token.prefix().to_owned(),
                expires_at: new.expires_at,
            },
            created_at: now,
            used_at: None,
        };
        self.store.add_api_key(&record, MAX_KEYS).await?;
        self.reread().await?;
        Ok(IssuedKey { id, token })
    }

    /// Keys by id, those behind `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, tenant: &str, after: &str, max: u32) -> Result<Vec<ApiKeyRecord>, KeyRefusal> {
        Ok(self.store.api_keys(tenant, after, max).await?)
    }

    /// One key.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<ApiKeyRecord, KeyRefusal> {
        self.store.api_key(tenant, id).await?.ok_or(KeyRefusal::NotFound)
    }

    /// Gives a key another token. The one that it has counts for `overlap` longer, the one before
    /// that no longer.
    ///
    /// # Errors
    /// There is no such key; an overlap that is too long; the store's.
    pub async fn rotate(&self, tenant: &str, id: &str, overlap: Duration) -> Result<IssuedKey, KeyRefusal> {
        if overlap > MAX_OVERLAP {
            return Err(invalid("overlap", "must be 30 days at most"));
        }
        let token = new_token()?;
        let until = self.clock.now().saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
        let stored = (&token.hash, token.prefix());
        if !self.store.rotate_api_key(tenant, id, stored, until).await? {
            return Err(KeyRefusal::NotFound);
        }
        self.reread().await?;
        Ok(IssuedKey { id: id.to_owned(), token })
    }

    /// Renames a key.
    ///
    /// # Errors
    /// There is no such key; a name that is wrong or in use; the store's.
    pub async fn rename(&self, tenant: &str, id: &str, name: &str) -> Result<(), KeyRefusal> {
        if !self.store.rename_api_key(tenant, id, checked_name(name)?).await? {
            return Err(KeyRefusal::NotFound);
        }
        self.reread().await
    }

    /// Deletes a key. Its tokens count no longer when this returns; on other nodes, some seconds
    /// later.
    ///
    /// # Errors
    /// There is no such key; the store's.
    pub async fn revoke(&self, tenant: &str, id: &str) -> Result<(), KeyRefusal> {
        if !self.store.delete_api_key(tenant, id).await? {
            return Err(KeyRefusal::NotFound);
        }
        self.reread().await
    }

    /// Notes that a key was used just now. It is stored some time later.
    pub fn used(&self, tenant: &str, id: &str) {
        let now = self.clock.now();
        let mut uses = self.uses.lock();
        match uses.get_mut(&(tenant.to_owned(), id.to_owned())) {
            Some(at) => *at = now,
            None => drop(uses.insert((tenant.to_owned(), id.to_owned()), now)),
        }
    }

    /// Stores the times of last use. A relay that is killed loses those of a minute.
    pub async fn write_uses(&self) {
        let uses: Vec<_> = std::mem::take(&mut *self.uses.lock())
            .into_iter()
            .map(|((tenant, id), at)| (tenant, id, at))
            .collect();
        if !uses.is_empty()
            && let Err(error) = self.store.touch_api_keys(&uses).await
        {
            warn!(%error, "the times of last use of API keys are not stored");
        }
    }

    /// Stores the times of last use every minute, until it is dropped.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(WRITE_USES).await;
            self.write_uses().await;
        }
    }

    async fn reread(&self) -> Result<(), KeyRefusal> {
        let Some(directory) = &self.directory else { return Ok(()) };
        directory.refresh().await.map(drop).map_err(|error| {
            error!(%error, "the change of an API key is stored, and does not count yet");
            KeyRefusal::Unavailable
        })
    }
}

fn new_token() -> Result<NewToken, KeyRefusal> {
    NewToken::new().map_err(|error| no_randomness(&error))
}

fn no_randomness(error: &std::io::Error) -> KeyRefusal {
    error!(%error, "an API key cannot be made");
    KeyRefusal::Unavailable
}

fn checked_name(name: &str) -> Result<&str, KeyRefusal> {
    let name = name.trim();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(invalid("name", "must have 1 to 128 octets, without control characters"));
    }
    Ok(name)
}

fn invalid(param: &'static str, message: &str) -> KeyRefusal {
    KeyRefusal::Invalid { param, message: message.to_owned() }
}
