//! A resolver that validates.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use hickory_proto::dnssec::TrustAnchors;
use hickory_proto::op::{DnsRequestOptions, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::config::{self, ResolveHosts};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle as _;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{NameServerPool, PoolContext, Resolver, TlsConfig, TokioResolver};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{MAX_ALIASES, sorted};
use super::probe::probe;
use super::response::judged;
use super::{DnssecSupport, SecureAnswer, SecureFailure, SecureKind, SecureLookUp};
use crate::hickory::name_server;

/// Answers are asked for again after this, whatever their TTL.
const MAX_POSITIVE: Duration = Duration::from_secs(3600);
/// A name server without signatures is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// One that did not answer, or refused to, is asked again after this.
const ASK_SOON: Duration = Duration::from_secs(15);

/// Whom to ask, and whom to believe.
#[derive(Debug, Clone, Default)]
pub struct SecureConfig {
    /// Empty: the system's (`/etc/resolv.conf`).
    pub nameservers: Vec<SocketAddr>,
    /// A file of DNSKEY records; none: the keys of the root that IANA publishes.
    pub trust_anchor: Option<PathBuf>,
    /// For one question to one server; none: five seconds.
    pub timeout: Option<Duration>,
}

/// Validates answers against trust anchors. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct SecureResolver(Arc<Validator>);

struct Validator {
    resolver: TokioResolver,
    /// The same without a cache. It gives the records of an answer that it refuses.
    validating: DnssecDnsHandle<NameServerPool<TokioRuntimeProvider>>,
    servers: Vec<SocketAddr>,
    timeout: Duration,
    support: Mutex<Option<(DnssecSupport, Instant)>>,
}

impl std::fmt::Debug for SecureResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecureResolver").field("servers", &self.0.servers).finish_non_exhaustive()
    }
}

impl SecureResolver {
    /// # Errors
    /// The system's configuration or the file of trust anchors cannot be read, or the file holds
    /// no key.
    pub fn new(config: &SecureConfig) -> io::Result<Self> {
        let timeout = config.timeout.unwrap_or(Duration::from_secs(5));
        let (servers, mut options) = if config.nameservers.is_empty() {
            read_system_conf().map_err(io::Error::other)?
        } else {
            let servers = config.nameservers.iter().copied().map(name_server).collect();
            (config::ResolverConfig::from_name_servers(servers), config::ResolverOpts::default())
        };
        options.use_hosts_file = ResolveHosts::Never;
        options.validate = true;
        options.preserve_intermediates = true;
        options.timeout = timeout;
        options.attempts = 2;
        options.positive_max_ttl = Some(MAX_POSITIVE);
        options.max_active_requests = 512;
        let addresses = servers.name_servers().iter().map(|server| {
            let port = server.connections.first().map_or(53, |connection| connection.port);
            SocketAddr::new(server.ip, port)
        });
        let addresses = addresses.collect();
        let anchors = Arc::new(match &config.trust_anchor {
            Some(path) => trust_anchors(path)?,
            None => TrustAnchors::default(),
        });
        let tls = TlsConfig::new().map_err(io::Error::other)?;
        let context = Arc::new(PoolContext::new(options.clone(), tls));
        let provider = TokioRuntimeProvider::default();
        let pool = NameServerPool::from_config(servers.name_servers().to_vec(), context, provider);
        let validating = DnssecDnsHandle::with_trust_anchor(pool, Arc::clone(&anchors));
        let mut builder = Resolver::builder_with_config(servers, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let builder = builder.with_trust_anchor(anchors);
        let resolver = builder.build().map_err(|error| io::Error::other(error.to_string()))?;
        let support = Mutex::new(None);
        Ok(Self(Arc::new(Validator { resolver, validating, servers: addresses, timeout, support })))
    }
}

/// Checks a file of trust anchors.
///
/// # Errors
/// It cannot be read, or holds no key.
pub fn check_trust_anchor(path: &std::path::Path) -> io::Result<()> {
    trust_anchors(path).map(drop)
}

fn trust_anchors(path: &std::path::Path) -> io::Result<TrustAnchors> {
    let invalid = |detail: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {detail}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| invalid(&error))?;
    let anchors: TrustAnchors = text.parse().map_err(|error| invalid(&error))?;
    if !text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with(';')) {
        return Err(invalid(&"no DNSKEY record found"));
    }
    Ok(anchors)
}

#[async_trait]
impl SecureLookUp for SecureResolver {
    /// A server that once gave signatures is believed to go on: one that gives none later is
    /// stripped of them, and its answers are bogus.
    async fn support(&self) -> DnssecSupport {
        let mut known = self.0.support.lock().await;
        if let Some((support, until)) = &*known
            && (*support == DnssecSupport::Available || *until > Instant::now())
        {
            return support.clone();
        }
        let was = known.as_ref().map(|(support, _)| std::mem::discriminant(support));
        let support = probe(&self.0.servers, self.0.timeout).await;
        let is_news = was != Some(std::mem::discriminant(&support));
        let time = match &support {
            DnssecSupport::Available => ASK_AGAIN,
            DnssecSupport::Unavailable(detail) => {
                if is_news {
                    tracing::warn!(
                        target: "relevo::dns", %detail,
                        "the name server hands on no DNSSEC signatures: DANE is not used",
                    );
                }
                ASK_AGAIN
            }
            DnssecSupport::Unknown(detail) => {
                if is_news {
                    tracing::warn!(
                        target: "relevo::dns", %detail,
                        "the name server does not answer the question for the root: mail by MX waits; give \
                         another in [dns] nameservers, or set [delivery] dane = false",
                    );
                }
                ASK_SOON
            }
        };
        *known = Some((support.clone(), Instant::now() + time));
        support
    }

    async fn secure(&self, kind: SecureKind, name: &str) -> SecureAnswer {
        let kind = match kind {
            SecureKind::Mx => RecordType::MX,
            SecureKind::A => RecordType::A,
            SecureKind::Aaaa => RecordType::AAAA,
            SecureKind::Tlsa => RecordType::TLSA,
        };
        let Ok(mut fqdn) = Name::from_ascii(name) else {
            return SecureAnswer::Failed(SecureFailure::NoAnswer(format!("{name} is not a name")));
        };
        // No search list.
        fqdn.set_fqdn(true);
        match self.0.answer(&fqdn, kind).await {
            SecureAnswer::Failed(bogus @ SecureFailure::Bogus(_)) => self.0.judge(fqdn, kind, bogus).await,
            answer => answer,
        }
    }
}

impl Validator {
    /// Looks at the records of answers that are `bogus` as a whole, along the aliases. What they do not
    /// prove either stays so.
    async fn judge(&self, name: Name, kind: RecordType, bogus: SecureFailure) -> SecureAnswer {
        let (mut followed, mut shortest, mut owner) = (Vec::new(), Duration::MAX, name);
        while followed.len() <= MAX_ALIASES {
            let query = Query::query(owner.clone(), kind);
            let response = self.validating.lookup(query, DnsRequestOptions::default()).next().await;
            let judged = match response {
                Some(Ok(response)) => judged(&owner, kind, &response),
                Some(Err(NetError::Dns(DnsError::Nsec { response, .. }))) => judged(&owner, kind, &response),
                _ => break,
            };
            shortest = shortest.min(judged.ttl);
            let (is_alias, end) = (!judged.aliases.is_empty(), judged.owner.clone());
            followed.extend(judged.aliases.iter().cloned());
            let answer = match judged.into_answer() {
                Some(answer) => answer,
                None if is_alias => self.answer(&end, kind).await,
                None => break,
            };
            match answer {
                SecureAnswer::Found { records, aliases, is_secure, ttl } => {
                    let more = aliases.into_iter().filter(|alias| !followed.contains(alias));
                    let more: Vec<_> = more.collect();
                    followed.extend(more);
                    let ttl = ttl.min(shortest);
                    return SecureAnswer::Found { records, aliases: followed, is_secure, ttl };
                }
                SecureAnswer::Failed(SecureFailure::Bogus(_)) => owner = end,
                other => return other,
            }
        }
        SecureAnswer::Failed(bogus)
    }

    async fn answer(&self, name: &Name, kind: RecordType) -> SecureAnswer {
        let result = self.resolver.lookup(name.clone(), kind).await;
        if let Err(error) = &result {
            tracing::debug!(target: "relevo::dns", %name, %kind, %error, "secure lookup without records");
        }
        sorted(name, kind, result)
    }
}
