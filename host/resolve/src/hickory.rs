//! [`Resolve`] on hickory.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{self, ConnectionConfig, NameServerConfig, ResolveHosts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::task::JoinSet;

use crate::api::{
    Addresses, Found, IpFamily, LookUp, MailHost, MailRoute, RecordKind, Resolve, ResolveError,
};
use crate::route::{self, Ourselves};

/// A whole route, with all its lookups. What is slower is temporary.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers are asked for again after this, whatever their TTL.
const MAX_POSITIVE: Duration = Duration::from_secs(3600);
const MAX_NEGATIVE: Duration = Duration::from_secs(300);

/// Whom to ask, what for, and who we are.
#[derive(Debug, Clone, Default)]
pub struct ResolverConfig {
    /// Empty: the system's (`/etc/resolv.conf`).
    pub nameservers: Vec<SocketAddr>,
    /// Which addresses are wanted.
    pub ip: IpFamily,
    /// Our names, in any case: an MX host of this name is ourselves.
    pub own_names: Vec<String>,
    /// Our addresses, only those that take mail on the port that we deliver to: an MX host with one
    /// is ourselves.
    pub own_addresses: Vec<IpAddr>,
}

/// What the configuration of the relay does not say.
#[derive(Clone)]
pub struct Tuning {
    /// Addresses that it says true to are left out before they are counted, such as
    /// [`crate::reach::is_inner`] without the networks that are allowed. None: all are kept, and
    /// the caller judges.
    pub refuse: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
    /// Puts equals in order.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// For one question to one server.
    pub timeout: Duration,
    /// Questions after the first that remains unanswered.
    pub retries: usize,
    /// Answers are remembered for their TTL.
    pub remember: bool,
}

impl Default for Tuning {
    /// Every address, random numbers, five seconds, two retries, answers remembered.
    fn default() -> Self {
        let timeout = Duration::from_secs(5);
        Self { refuse: None, random: Arc::new(rand::random), timeout, retries: 2, remember: true }
    }
}

/// Resolves through hickory, which caches answers for their TTL (at most an hour; negative ones at
/// most five minutes). Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct HickoryResolver(Arc<ResolverCore>);

struct ResolverCore {
    resolver: TokioResolver,
    family: IpFamily,
    ourselves: Ourselves,
    refuse: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for HickoryResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HickoryResolver").field("family", &self.0.family).finish_non_exhaustive()
    }
}

/// What was found for a host, of the families that are wanted.
struct OfHost {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// The smallest.
    ttl: Duration,
    exists: bool,
    /// A lookup failed.
    failed: Option<String>,
}

/// What was found for a question.
enum LookupResult {
    Found(Lookup),
    /// The name exists, without records of this type.
    NoData,
    NoSuchName,
    Failed(String),
}

impl HickoryResolver {
    /// With the usual [`Tuning`].
    ///
    /// # Errors
    /// The system's configuration cannot be read.
    pub fn new(config: ResolverConfig) -> std::io::Result<Self> {
        Self::tuned(config, Tuning::default())
    }

    /// # Errors
    /// The system's configuration cannot be read.
    pub fn tuned(config: ResolverConfig, tuning: Tuning) -> std::io::Result<Self> {
        let failed = |e: NetError| std::io::Error::other(e.to_string());
        let mut builder = if config.nameservers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = config.nameservers.iter().copied().map(name_server).collect();
            let servers = config::ResolverConfig::from_name_servers(servers);
            let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        };
        let opts = builder.options_mut();
        opts.timeout = tuning.timeout;
        opts.attempts = tuning.retries;
        opts.positive_max_ttl = Some(MAX_POSITIVE);
        opts.negative_max_ttl = Some(MAX_NEGATIVE);
        if !tuning.remember {
            opts.cache_size = 0;
        }
        // Deliveries to many domains ask at the same time over one connection.
        opts.max_active_requests = 512;
        let normal = |n: &String| n.trim_end_matches('.').to_ascii_lowercase();
        Ok(Self(Arc::new(ResolverCore {
            resolver: builder.build().map_err(failed)?,
            family: config.ip,
            ourselves: Ourselves {
                names: config.own_names.iter().map(normal).collect(),
                addresses: config.own_addresses.iter().map(IpAddr::to_canonical).collect(),
            },
            refuse: tuning.refuse,
            random: tuning.random,
        })))
    }
}

#[async_trait]
impl Resolve for HickoryResolver {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let slow =
            |_| ResolveError::Temporary { name: domain.clone(), detail: "DNS was too slow".to_owned() };
        tokio::time::timeout(ROUTE_TIMEOUT, self.0.route(&domain)).await.map_err(slow)?
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let slow = |_| ResolveError::Temporary { name: host.clone(), detail: "DNS was too slow".to_owned() };
        tokio::time::timeout(ROUTE_TIMEOUT, self.0.addresses(&host)).await.map_err(slow)?
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        match self.0.ask(name, RecordType::TXT).await {
            LookupResult::Found(lookup) => {
                Ok(lookup.answers().iter().filter_map(|r| text(&r.data)).collect())
            }
            LookupResult::NoData | LookupResult::NoSuchName => Ok(Vec::new()),
            LookupResult::Failed(detail) => Err(ResolveError::Temporary { name: name.to_owned(), detail }),
        }
    }
}

#[async_trait]
impl LookUp for HickoryResolver {
    async fn look_up(&self, kind: RecordKind, name: &str) -> Found {
        let wanted = match kind {
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
            RecordKind::Caa => RecordType::CAA,
            RecordKind::Mx => RecordType::MX,
            RecordKind::Ptr => RecordType::PTR,
            RecordKind::Txt => RecordType::TXT,
        };
        match self.0.ask(name, wanted).await {
            LookupResult::Found(lookup) => {
                let records = lookup.answers().iter().filter(|record| record.record_type() == wanted);
                Found::Records(records.filter_map(|record| presented(&record.data)).collect())
            }
            LookupResult::NoData | LookupResult::NoSuchName => Found::Nothing,
            LookupResult::Failed(detail) => Found::Failed(detail),
        }
    }
}

/// A record in the form that [`RecordKind`] says.
fn presented(data: &RData) -> Option<String> {
    let plain = |name: &Name| name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    match data {
        RData::A(_) | RData::AAAA(_) => data.ip_addr().map(|ip| ip.to_string()),
        RData::CAA(caa) => {
            let flags = if caa.issuer_critical { 0x80 } else { 0 } | caa.reserved_flags;
            Some(format!("{flags} {} {}", caa.tag, String::from_utf8_lossy(&caa.value)))
        }
        RData::MX(mx) => Some(format!("{} {}", mx.preference, plain(&mx.exchange))),
        RData::PTR(name) => Some(plain(&name.0)),
        _ => text(data),
    }
}

impl ResolverCore {
    async fn route(self: &Arc<Self>, domain: &str) -> Result<MailRoute, ResolveError> {
        let (mx, ttl, implicit) = match self.ask(domain, RecordType::MX).await {
            LookupResult::Found(lookup) => {
                (route::exchangers(domain, exchanges(&lookup))?, remaining(&lookup), false)
            }
            LookupResult::NoSuchName => return Err(ResolveError::NoSuchDomain(domain.to_owned())),
            // Only when there is no MX at all (RFC 5321 section 5.1).
            LookupResult::NoData => (vec![(0, domain.to_owned())], Duration::MAX, true),
            LookupResult::Failed(detail) => {
                return Err(ResolveError::Temporary { name: domain.to_owned(), detail });
            }
        };
        let site = route::site(&mx);
        let (hosts, addresses_ttl) = self.hosts(mx).await;
        let hosts = route::order(domain, hosts, &self.ourselves, &*self.random)?;
        Ok(MailRoute::of(hosts, site, ttl.min(addresses_ttl), implicit))
    }

    /// The hosts with their addresses, and the smallest TTL.
    async fn hosts(self: &Arc<Self>, mx: Vec<(u16, String)>) -> (Vec<MailHost>, Duration) {
        let mut lookups = JoinSet::new();
        for (preference, name) in mx {
            let inner = Arc::clone(self);
            lookups.spawn(async move { inner.host(preference, name).await });
        }
        let (mut hosts, mut ttl) = (Vec::new(), Duration::MAX);
        while let Some(done) = lookups.join_next().await {
            match done {
                Ok((host, host_ttl)) => {
                    ttl = ttl.min(host_ttl);
                    hosts.push(host);
                }
                Err(error) => tracing::error!(%error, "an address lookup broke"),
            }
        }
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        (hosts, ttl)
    }

    async fn host(&self, preference: u16, name: String) -> (MailHost, Duration) {
        let OfHost { mut v4, mut v6, ttl, failed, .. } = self.look_up(&name).await;
        let usable = |ip: &IpAddr| !self.refuse.as_ref().is_some_and(|refuse| refuse(*ip));
        v4.retain(usable);
        v6.retain(usable);
        let addresses = route::interleave(self.family, v4, v6, &*self.random);
        // What could not be looked up is asked for again as soon as possible.
        let ttl = if failed.is_some() { Duration::ZERO } else { ttl };
        (MailHost { name, preference, addresses, temporary: failed.is_some() }, ttl)
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError> {
        let OfHost { v4, v6, ttl, exists, failed } = self.look_up(host).await;
        let addresses = route::interleave(self.family, v4, v6, &*self.random);
        match failed {
            _ if !addresses.is_empty() => Ok(Addresses { addresses, ttl: route::bounded(ttl) }),
            Some(detail) => Err(ResolveError::Temporary { name: host.to_owned(), detail }),
            None if exists => Err(ResolveError::NoMailHost(host.to_owned())),
            None => Err(ResolveError::NoSuchDomain(host.to_owned())),
        }
    }

    async fn look_up(&self, name: &str) -> OfHost {
        let ask = async |kind, unwanted| match self.family == unwanted {
            true => None,
            false => Some(self.ask(name, kind).await),
        };
        let answers = tokio::join!(ask(RecordType::A, IpFamily::Ipv6), ask(RecordType::AAAA, IpFamily::Ipv4));
        let mut found =
            OfHost { v4: Vec::new(), v6: Vec::new(), ttl: Duration::MAX, exists: false, failed: None };
        for answer in [answers.0, answers.1].into_iter().flatten() {
            match answer {
                LookupResult::Found(lookup) => {
                    found.exists = true;
                    found.ttl = found.ttl.min(remaining(&lookup));
                    for ip in lookup.answers().iter().filter_map(|r| r.data.ip_addr()) {
                        if ip.is_ipv4() { found.v4.push(ip) } else { found.v6.push(ip) }
                    }
                }
                LookupResult::NoData => found.exists = true,
                LookupResult::NoSuchName => {}
                LookupResult::Failed(detail) => found.failed = Some(detail),
            }
        }
        found
    }

    async fn ask(&self, name: &str, kind: RecordType) -> LookupResult {
        let Ok(mut fqdn) = Name::from_ascii(name) else { return LookupResult::NoSuchName };
        // No search list.
        fqdn.set_fqdn(true);
        match self.resolver.lookup(fqdn, kind).await {
            Ok(lookup) if lookup.answers().iter().any(|r| r.record_type() == kind) => {
                LookupResult::Found(lookup)
            }
            Ok(_) => LookupResult::NoData,
            Err(error) if error.is_nx_domain() => LookupResult::NoSuchName,
            Err(error) if error.is_no_records_found() => LookupResult::NoData,
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "lookup failed");
                LookupResult::Failed(format!("{kind}: {error}"))
            }
        }
    }
}

pub(crate) fn name_server(at: SocketAddr) -> NameServerConfig {
    let connection = |mut c: ConnectionConfig| {
        c.port = at.port();
        c
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(at.ip(), true, connections)
}

fn exchanges(lookup: &Lookup) -> Vec<(u16, String)> {
    let exchange = |data: &RData| match data {
        RData::MX(mx) => {
            let name = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
            Some((mx.preference, name))
        }
        _ => None,
    };
    lookup.answers().iter().filter_map(|r| exchange(&r.data)).collect()
}

fn text(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    }
}

fn remaining(lookup: &Lookup) -> Duration {
    lookup.valid_until().saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;
