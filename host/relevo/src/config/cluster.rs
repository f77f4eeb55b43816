//! `[cluster]`

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use relevo_cluster::engine::ShardId;
use relevo_cluster::jetstream::JetStreamConfig;
use relevo_cluster::member::NodeName;
use relevo_cluster::wire::ClusterSecret;
use relevo_store::StoreUrl;
use url::Url;

use super::document::{Document, FileSpan};
use super::formats::one_of;
use super::schema::{ClusterTable, File, NatsTable};
use super::values::{Format, Key, Raw, Section};

/// The log of a shard may have so many octets before it is written anew.
const TRIM_AT: u64 = 1 << 30;
/// Replicas of a stream that NATS takes.
const REPLICAS: [usize; 3] = [1, 3, 5];

/// What keeps logs and leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Nats,
    Postgres,
}

impl Format for EngineKind {
    type Value = Self;

    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("nats", Self::Nats), ("postgres", Self::Postgres)])
    }
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterConfig {
    pub(crate) node: NodeName,
    pub(crate) trim_at: u64,
    pub(crate) engine: EngineConfig,
    /// None: each node counts for itself, and shows its own messages.
    pub(crate) limits: Option<SharedLimitsConfig>,
}

/// How nodes ask each other for slices of limits and for messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SharedLimitsConfig {
    pub(crate) listen: SocketAddr,
    /// Where other nodes reach that: a host and a port.
    pub(crate) address: String,
    pub(crate) secret: String,
}

/// Without the secret.
impl fmt::Debug for SharedLimitsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimitsConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The engine, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineConfig {
    Nats(Box<JetStreamConfig>),
    Postgres { url: String, is_unsafe: bool },
}

pub(crate) fn cluster(d: &mut Document<'_>, file: &File, store: &StoreUrl) -> Option<ClusterConfig> {
    let s = file.cluster.as_ref()?;
    let engine = d.need(s.span, &s.engine, "engine").map(|at| at.value);
    let node = d.need(s.span, &s.node, "node").map(|at| at.value.clone());
    d.need(s.span, &s.shard, "shard");
    d.check(&s.shard, |shard| *shard <= u32::from(ShardId::MAX), "must be 65535 at most");
    let address = d.need(s.span, &s.address, "address");
    if let Some(at) = address
        && !Url::parse(&at.value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    {
        let message = "must be the URL of this node's HTTP listener, such as \"http://10.0.0.1:8025\"";
        d.mistake(at.span, message);
    }
    if matches!(store, StoreUrl::File(_)) {
        let message = "needs one store for all nodes: set `url` of [store] to a postgres:// URL";
        d.mistake_in(s.span, "engine", message);
    }
    let is_unsafe = s.r#unsafe.or(false);
    let name = s.name.or("relevo".to_owned());
    let engine = match engine? {
        EngineKind::Nats => EngineConfig::Nats(Box::new(nats(d, &s.nats, name, is_unsafe))),
        EngineKind::Postgres => {
            let url = s.postgres.url.value().or_else(|| match store {
                StoreUrl::Postgres(url) => Some(url.clone()),
                StoreUrl::File(_) => None,
            });
            EngineConfig::Postgres { url: url.unwrap_or_default(), is_unsafe }
        }
    };
    let limits = limits(d, s, address.and_then(|at| Url::parse(&at.value).ok()));
    let home = s.shard.value().and_then(|shard| ShardId::try_from(shard).ok())?;
    let address = address?.value.trim_end_matches('/').to_owned();
    let peer_address = limits.as_ref().map(|limits| limits.address.clone());
    let node = NodeName { name: node?, address, peer_address, home };
    Some(ClusterConfig { node, trim_at: s.trim_at.or(TRIM_AT), engine, limits })
}

/// `listen` and `secret_file`; both or neither.
fn limits(
    d: &mut Document<'_>,
    s: &Section<ClusterTable>,
    address: Option<Url>,
) -> Option<SharedLimitsConfig> {
    match (s.listen.at(), s.secret_file.at()) {
        (Some(listen), Some(file)) => {
            let path: PathBuf = d.path(&file.value);
            let secret = d.loaded(file.span, relevo_keys::load_password(&path))?;
            if ClusterSecret::new(&secret).is_none() {
                d.mistake(file.span, "must have 32 octets at least on its first line");
            }
            let host = address.as_ref().and_then(Url::host_str)?;
            let address = format!("{host}:{}", listen.value.port());
            Some(SharedLimitsConfig { listen: listen.value, address, secret })
        }
        (Some(at), None) => {
            d.mistake(at.span, "needs `secret_file`, which all nodes have");
            None
        }
        (None, Some(at)) => {
            d.mistake(
                at.span,
                "needs `listen`, where nodes ask each other for slices of limits and for messages",
            );
            None
        }
        (None, None) => {
            let message = "has no `listen` and `secret_file`: each node counts connections and rates for itself, and shows the messages of its own shards only";
            d.warn(s.span, message);
            None
        }
    }
}

fn nats(d: &mut Document<'_>, s: &Section<NatsTable>, name: String, is_unsafe: bool) -> JetStreamConfig {
    if s.servers.is_empty() {
        d.mistake_in(s.span, "servers", "must have the URL of a server, such as [\"nats://10.0.0.11:4222\"]");
    }
    for at in &s.servers {
        if !Url::parse(&at.value).is_ok_and(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host()) {
            d.mistake(
                at.span,
                "must be a URL, such as \"nats://10.0.0.11:4222\" or \"tls://nats.example.com\"",
            );
        }
    }
    d.check(&s.replicas, |replicas| REPLICAS.contains(replicas), "must be 1, 3 or 5");
    let replicas = s.replicas.or(3);
    if replicas == 1 && !is_unsafe {
        d.mistake_in(
            s.span,
            "replicas",
            "1 loses what was promised with one disk: set `unsafe = true` if that is meant",
        );
    }
    JetStreamConfig {
        servers: s.servers.iter().map(|at| at.value.clone()).collect(),
        user: login(d, s.span, (&s.user, "user"), (&s.password_file, "password_file")),
        system_user: login(
            d,
            s.span,
            (&s.system_user, "system_user"),
            (&s.system_password_file, "system_password_file"),
        ),
        ca_file: s.ca_file.at().map(|at| d.path(&at.value)),
        name,
        replicas,
        is_unsafe,
    }
}

/// User and password; both or neither.
fn login(
    d: &mut Document<'_>,
    table: FileSpan,
    (user, user_key): (&Key<String>, &str),
    (file, file_key): (&Key<String>, &str),
) -> Option<(String, String)> {
    match (user.at(), file.at()) {
        (Some(user), Some(file)) => {
            let path: PathBuf = d.path(&file.value);
            let password = d.loaded(file.span, relevo_keys::load_password(&path))?;
            Some((user.value.clone(), password))
        }
        (Some(_), None) => {
            d.mistake_in(table, file_key, format!("is required with `{user_key}`"));
            None
        }
        (None, Some(at)) => {
            d.mistake(at.span, format!("needs `{user_key}`"));
            None
        }
        (None, None) => None,
    }
}
