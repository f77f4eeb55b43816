//! Checks `[delivery]`, `[[pool]]`, `[[route]]`, and what tenants are granted of them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relevo_relay::settings::{
    DeliverySettings, EgressGrants, EgressPool, EgressRoute, SmarthostSettings, WarmupSpill,
};
use relevo_resolve::IpFamily;
use relevo_smtp::client::{Auth, AuthSecret, TlsPolicy, TokenSource};

use super::document::Document;
use super::schema::{self, File};
use super::server::SmtpConfig;
use super::shaping::{self, WarmupMode};
use super::values::{Key, List, Section, plain};

const RETRY_MINUTES: [u64; 5] = [1, 5, 15, 60, 240];
/// A message is not delayed as long as its second attempt is not due.
const SOONEST_REPORT: Duration = Duration::from_secs(60);

pub(crate) fn delivery(
    d: &mut Document<'_>,
    file: &File,
    smtp: &SmtpConfig,
) -> (DeliverySettings, Option<PathBuf>) {
    let s = &file.delivery;
    let listeners = [&smtp.submission, &smtp.submissions, &smtp.relay];
    if s.retry.as_ref().is_some_and(Vec::is_empty) {
        d.mistake_in(s.span, "retry", "must have one delay at least");
    }
    d.check(&s.delay_report, |time| *time >= SOONEST_REPORT, "must be 1m at least");
    let default_retry = || RETRY_MINUTES.map(|minutes| Duration::from_secs(minutes * 60)).to_vec();
    let ip = s.ip.or(IpFamily::Any);
    let settings = DeliverySettings {
        port: s.port.or(25),
        ip,
        source_ipv4: source(d, &s.source_ipv4, IpAddr::is_ipv4),
        source_ipv6: source(d, &s.source_ipv6, IpAddr::is_ipv6),
        ehlo: s.ehlo.or(file.hostname.or(String::new())),
        allow_networks: plain(&s.allow_networks),
        own_addresses: listeners.into_iter().flatten().copied().collect(),
        retry: s.retry.as_ref().map_or_else(default_retry, plain),
        expire: s.expire.or(Duration::from_secs(5 * 86_400)),
        delay_report: s.delay_report.or(Duration::from_secs(4 * 3600)),
        smarthost: s.smarthost.as_ref().and_then(|s| smarthost(d, s)),
        pools: pools(d, file, ip),
        routes: routes(d, file),
        connections_per_site: s.connections_per_site.or(20),
        max_connections: s.max_connections.or(500),
        messages_per_connection: s.messages_per_connection.or(100),
        recipients_per_transaction: s.recipients_per_transaction.or(100),
        record_conversations: s.record_conversations.or(false),
        shaping: shaping::rules(d, file),
    };
    let ca_file = s.ca_file.at().map(|at| {
        let path = d.path(&at.value);
        if let Err(error) = crate::tls::read_chain(&path) {
            d.mistake(at.span, format!("{error:#}"));
        }
        path
    });
    (settings, ca_file)
}

fn source(d: &mut Document<'_>, key: &Key<IpAddr>, fits: fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let at = key.at()?;
    if let Some(wrong) = wrong_source(at.value, fits) {
        d.mistake(at.span, wrong);
    }
    Some(at.value)
}

fn wrong_source(ip: IpAddr, fits: fn(&IpAddr) -> bool) -> Option<&'static str> {
    if !fits(&ip) {
        Some("is an address of the other family")
    } else if ip.to_canonical() != ip {
        Some("is an IPv4 address in IPv6 form: it belongs in `source_ipv4`, as a.b.c.d")
    } else if ip.is_unspecified() || ip.is_multicast() {
        Some("is not an address that mail can leave from")
    } else {
        None
    }
}

fn smarthost(d: &mut Document<'_>, s: &Section<schema::SmarthostTable>) -> Option<SmarthostSettings> {
    let host = d.need(s.span, &s.host, "host");
    let tls = s.tls.or(TlsPolicy::Opportunistic);
    let auth = auth(d, s);
    let host = host?.value.clone();
    let sends_secret = [&s.username, &s.password_file, &s.token_file].iter().any(|key| key.at().is_some());
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if sends_secret && !is_loopback && !matches!(tls, TlsPolicy::Verified | TlsPolicy::Implicit) {
        let what = if s.token_file.at().is_some() { "token" } else { "password" };
        let message = format!("must be \"verified\" or \"implicit\" when a {what} is sent to another host");
        d.mistake_in(s.span, "tls", message);
    }
    Some(SmarthostSettings { host, port: s.port.or(25), tls, auth })
}

/// A user name with one of two secrets. A token is read once here, so that a file that cannot be read
/// is a mistake at once.
fn auth(d: &mut Document<'_>, s: &Section<schema::SmarthostTable>) -> Option<Auth> {
    let (key, at, is_token) = match (s.password_file.at(), s.token_file.at()) {
        (Some(_), Some(_)) => {
            d.mistake_in(s.span, "token_file", "stands beside `password_file`: give one of them");
            return None;
        }
        (Some(at), None) => ("password_file", at, false),
        (None, Some(at)) => ("token_file", at, true),
        (None, None) => {
            if s.username.at().is_some() {
                d.mistake_in(s.span, "password_file", "or `token_file` is required with `username`");
            }
            return None;
        }
    };
    let Some(username) = s.username.value() else {
        d.mistake_in(s.span, "username", format!("is required with `{key}`"));
        return None;
    };
    let path = d.path(&at.value);
    let secret = d.loaded(at.span, relevo_keys::load_password(&path))?;
    let secret = match is_token {
        true => AuthSecret::Token(Arc::new(TokenFile(path))),
        false => AuthSecret::Password(secret),
    };
    Some(Auth { username, secret })
}

/// The first line of a file that another program renews. It is read at each login.
struct TokenFile(PathBuf);

impl TokenSource for TokenFile {
    fn token(&self) -> Result<String, String> {
        relevo_keys::load_password(&self.0).map(|(token, _)| token).map_err(|error| error.to_string())
    }
}

fn pools(d: &mut Document<'_>, file: &File, family: IpFamily) -> HashMap<String, Arc<EgressPool>> {
    let mut pools = HashMap::new();
    for s in &file.pool {
        let name = d.need(s.span, &s.name, "name");
        let source_ipv4 = sources(d, &s.source_ipv4, IpAddr::is_ipv4);
        let source_ipv6 = sources(d, &s.source_ipv6, IpAddr::is_ipv6);
        if source_ipv4.is_empty() && source_ipv6.is_empty() {
            let message = "a pool needs an address in `source_ipv4` or `source_ipv6`";
            d.mistake_in(s.span, "source_ipv4", message);
        } else if let Some((key, only)) = match family {
            IpFamily::Ipv4 if source_ipv4.is_empty() => Some(("source_ipv4", "ipv4")),
            IpFamily::Ipv6 if source_ipv6.is_empty() => Some(("source_ipv6", "ipv6")),
            _ => None,
        } {
            let message = format!("a pool needs an address here, as `[delivery]` has `ip = \"{only}\"`");
            d.mistake_in(s.span, key, message);
        }
        let Some(name) = name else { continue };
        let pool = EgressPool {
            name: name.value.clone(),
            source_ipv4,
            source_ipv6,
            ehlo: s.ehlo.value(),
            connections_per_site: s.connections_per_site.value(),
            warmup: s.warmup.or(WarmupMode::Off) == WarmupMode::Auto,
            warmup_spill: spill(d, file, s, &name.value),
        };
        if pools.insert(name.value.clone(), Arc::new(pool)).is_some() {
            d.mistake(name.span, format!("pool `{}` is there already", name.value));
        }
    }
    pools
}

/// Where mail of a pool goes that is beyond its caps of warm-up.
fn spill(
    d: &mut Document<'_>,
    file: &File,
    pool: &Section<schema::PoolTable>,
    own_name: &str,
) -> Option<WarmupSpill> {
    let s = pool.warmup_spill.as_ref()?;
    if pool.warmup.or(WarmupMode::Off) != WarmupMode::Auto {
        d.mistake_in(pool.span, "warmup_spill", "has no effect without `warmup = \"auto\"`");
    }
    match (s.pool.at(), s.route.at()) {
        (Some(at), None) => {
            let other = file.pool.iter().find(|other| other.name.value().as_ref() == Some(&at.value));
            match other {
                _ if at.value == own_name => d.mistake(at.span, "must be another pool"),
                None => d.mistake(at.span, format!("there is no [[pool]] with the name `{}`", at.value)),
                Some(other) if other.warmup_spill.is_some() => {
                    let message = "must be a pool without `warmup_spill`: mail goes one step only";
                    d.mistake(at.span, message);
                }
                Some(_) => {}
            }
            Some(WarmupSpill::Pool(at.value.clone()))
        }
        (None, Some(at)) => {
            if !file.route.iter().any(|other| other.name.value().as_ref() == Some(&at.value)) {
                d.mistake(at.span, format!("there is no [[route]] with the name `{}`", at.value));
            }
            Some(WarmupSpill::Route(at.value.clone()))
        }
        _ => {
            d.mistake_in(s.span, "pool", "name one of `pool` and `route`");
            None
        }
    }
}

fn sources(d: &mut Document<'_>, list: &List<IpAddr>, fits: fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    let mut known = HashSet::new();
    let mut addresses = Vec::new();
    for at in list {
        if let Some(wrong) = wrong_source(at.value, fits) {
            d.mistake(at.span, wrong);
        } else if known.insert(at.value) {
            addresses.push(at.value);
        } else {
            d.mistake(at.span, format!("`{}` is there already", at.value));
        }
    }
    addresses
}

fn routes(d: &mut Document<'_>, file: &File) -> HashMap<String, Arc<EgressRoute>> {
    let mut routes = HashMap::new();
    for s in &file.route {
        let name = d.need(s.span, &s.name, "name");
        let smarthost = s.smarthost.as_ref().and_then(|s| smarthost(d, s));
        let Some(name) = name else { continue };
        let route = EgressRoute { name: name.value.clone(), smarthost };
        if routes.insert(name.value.clone(), Arc::new(route)).is_some() {
            d.mistake(name.span, format!("route `{}` is there already", name.value));
        }
    }
    routes
}

/// What a tenant may use.
pub(crate) fn grants(
    d: &mut Document<'_>,
    s: &schema::TenantTable,
    delivery: &DeliverySettings,
) -> EgressGrants {
    let known = |there: bool, what: &str, name: &str| {
        (!there).then(|| format!("there is no [[{what}]] with the name `{name}`"))
    };
    EgressGrants {
        pools: names(d, &s.pools, |name| known(delivery.pools.contains_key(name), "pool", name)),
        routes: names(d, &s.routes, |name| known(delivery.routes.contains_key(name), "route", name)),
        max_priority: s.max_priority.or(0),
    }
}

/// What mail of a domain may use: what its tenant may, with pools of its own choice among them.
pub(crate) fn domain_grants(
    d: &mut Document<'_>,
    s: &Section<schema::DomainTable>,
    tenant: &Arc<EgressGrants>,
) -> Arc<EgressGrants> {
    let Some(list) = &s.pools else { return Arc::clone(tenant) };
    if list.is_empty() {
        d.mistake_in(s.span, "pools", "must name a pool; leave it out for all those of the tenant");
    }
    let pools = names(d, list, |name| {
        let is_granted = tenant.pools.iter().any(|pool| pool == name);
        (!is_granted).then(|| format!("pool `{name}` is not in the `pools` of the tenant"))
    });
    Arc::new(EgressGrants { pools, ..EgressGrants::clone(tenant) })
}

/// The names of a list, each once. `wrong` tells what is wrong with one.
fn names(d: &mut Document<'_>, list: &List<String>, wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for at in list {
        if let Some(mistake) = wrong(&at.value) {
            d.mistake(at.span, mistake);
        } else if names.contains(&at.value) {
            d.mistake(at.span, format!("`{}` is there already", at.value));
        } else {
            names.push(at.value.clone());
        }
    }
    names
}
