//! NATS JetStream as the engine: a stream for each shard, and a key-value bucket for leases.

mod log;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context, kv};
use async_nats::{Client, ConnectOptions};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use relevo_queue::shard_log::ShardLog;
use serde::{Deserialize, Serialize};

pub use self::log::JetStreamLog;
pub use self::server::OLDEST;
use crate::engine::{Engine, EngineError, ShardId};
use crate::lease::{LeaseEntry, Leases};

/// How long a call waits for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the servers are, and who we are to them.
#[derive(Clone, PartialEq, Eq)]
pub struct JetStreamConfig {
    /// URLs of servers: `nats://host:4222` or `tls://host:4222`. One that answers is enough.
    pub servers: Vec<String>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// User and password of the system account, by which the settings of the servers are looked at.
    pub system_user: Option<(String, String)>,
    /// A file of certificates (PEM) that servers' certificates are checked by; none: the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// Names streams and buckets: several clusters may share servers. Letters, digits, `-`.
    pub name: String,
    /// Servers that keep each record: 3, or 5; 1 promises nothing when a machine is lost.
    pub replicas: usize,
    /// Uses servers whose settings cannot keep the promise, or cannot be looked at.
    pub is_unsafe: bool,
}

/// Without the passwords.
impl fmt::Debug for JetStreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, name, replicas, is_unsafe, .. } = self;
        f.debug_struct("JetStreamConfig")
            .field("servers", servers)
            .field("name", name)
            .field("replicas", replicas)
            .field("is_unsafe", is_unsafe)
            .finish_non_exhaustive()
    }
}

/// See the module. Clones share the connection.
#[derive(Debug, Clone)]
pub struct JetStreamEngine {
    context: Context,
    config: Arc<JetStreamConfig>,
    leases: Arc<KeyValueLeases>,
}

async fn connect(config: &JetStreamConfig, user: Option<&(String, String)>) -> Result<Client, EngineError> {
    let mut options = ConnectOptions::new()
        .name(format!("relevo {}", config.name))
        .connection_timeout(ANSWER)
        .request_timeout(Some(ANSWER))
        .ping_interval(Duration::from_secs(2));
    if let Some((user, password)) = user {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(file) = &config.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    let servers = config.servers.join(", ");
    options
        .connect(config.servers.as_slice())
        .await
        .map_err(|error| EngineError::Away(format!("no NATS server of {servers} can be used: {error}")))
}

impl JetStreamEngine {
    /// Connects, and looks at the servers.
    ///
    /// # Errors
    /// No server answers. A server is too old, or would acknowledge what is not on its disk: its name
    /// and the setting are in the words.
    pub async fn connect(config: JetStreamConfig) -> Result<Self, EngineError> {
        let client = connect(&config, config.user.as_ref()).await?;
        server::check_version(&client, config.is_unsafe)?;
        if !config.is_unsafe {
            let system = connect(&config, config.system_user.as_ref()).await?;
            server::check_settings(&system).await?;
        }
        let context =
            jetstream::context::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client);
        let bucket = kv::Config {
            bucket: format!("{}-leases", config.name),
            history: 1,
            num_replicas: config.replicas,
            storage: StorageType::File,
            ..kv::Config::default()
        };
        let store = match context.get_key_value(&bucket.bucket).await {
            Ok(store) => store,
            Err(_) => context.create_key_value(bucket).await.map_err(|e| away("the bucket of leases", &e))?,
        };
        let leases = Arc::new(KeyValueLeases { store });
        Ok(Self { context, config: Arc::new(config), leases })
    }

    fn stream_name(&self, shard: ShardId) -> String {
        format!("{}-shard-{shard:04x}", self.config.name)
    }
}

fn away(what: &str, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Away(format!("{what}: {error}"))
}

#[async_trait]
impl Engine for JetStreamEngine {
    async fn log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>, EngineError> {
        let name = self.stream_name(shard);
        let wanted = Config {
            name: name.clone(),
            description: Some(
                "The log of a shard of a mail queue. Records are deleted by its owner alone.".into(),
            ),
            subjects: vec![name.clone()],
            num_replicas: self.config.replicas,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            // A full stream must refuse, and never drop what it has.
            discard: DiscardPolicy::New,
            deny_delete: true,
            allow_direct: false,
            // Records are told apart by their place.
            duplicate_window: Duration::from_millis(100),
            ..Config::default()
        };
        let stream = match self.context.get_stream(&name).await {
            Ok(stream) => stream,
            Err(_) => {
                self.context.create_stream(wanted).await.map_err(|e| away("the stream of a shard", &e))?
            }
        };
        server::check_stream(&stream.cached_info().config, self.config.replicas, self.config.is_unsafe)?;
        let max_payload = self.context.client().server_info().max_payload;
        Ok(Arc::new(JetStreamLog::new(self.context.clone(), stream, name, max_payload)))
    }

    async fn shards(&self) -> Result<Vec<ShardId>, EngineError> {
        let prefix = format!("{}-shard-", self.config.name);
        let names: Vec<String> =
            self.context.stream_names().try_collect().await.map_err(|e| away("the list of streams", &e))?;
        let number = |name: &String| ShardId::from_str_radix(name.strip_prefix(&prefix)?, 16).ok();
        let mut shards: Vec<_> = names.iter().filter_map(number).collect();
        shards.sort_unstable();
        Ok(shards)
    }

    fn leases(&self) -> Arc<dyn Leases> {
        self.leases.clone()
    }
}

/// [`Leases`] in a bucket: its revisions are those of the entries.
#[derive(Debug)]
struct KeyValueLeases {
    store: kv::Store,
}

#[derive(Serialize, Deserialize)]
struct Value {
    holder: String,
    note: String,
}

fn read(entry: &kv::Entry) -> Option<LeaseEntry> {
    let Value { holder, note } = serde_json::from_slice(&entry.value).ok()?;
    Some(LeaseEntry { revision: entry.revision, holder, note })
}

#[async_trait]
impl Leases for KeyValueLeases {
    async fn entry(&self, key: &str) -> Result<Option<LeaseEntry>, EngineError> {
        let entry = self.store.entry(key).await.map_err(|e| away("a lease", &e))?;
        Ok(entry.as_ref().and_then(read))
    }

    async fn entries(&self, prefix: &str) -> Result<Vec<(String, LeaseEntry)>, EngineError> {
        let failed = |e: &dyn std::fmt::Display| away("the leases", e);
        let keys = self.store.keys().await.map_err(|e| failed(&e))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|e| failed(&e))?;
        let mut entries = Vec::new();
        for key in keys.into_iter().filter(|key| key.starts_with(prefix)) {
            if let Some(entry) = self.entry(&key).await? {
                entries.push((key, entry));
            }
        }
        Ok(entries)
    }

    async fn replace(
        &self,
        key: &str,
        expected: u64,
        holder: &str,
        note: &str,
    ) -> Result<Option<u64>, EngineError> {
        let value = Value { holder: holder.to_owned(), note: note.to_owned() };
        let value = serde_json::to_vec(&value).map_err(|e| EngineError::Refused(e.to_string()))?;
        match self.store.update(key, Bytes::from(value), expected).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(away("a lease", &error)),
        }
    }
}
