//! The sections about the server itself: listeners, DNS, delivery, tracking keys, events.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::StoreConfig;
use relevo_relay::settings::{DeliverySettings, IntakeSettings, Network, Smarthost};
use relevo_resolve::IpFamily;
use relevo_smtp::client::{Auth, TlsPolicy};

use super::reader::{At, Reader, Section};
use super::{Warnings, values};

/// `[smtp]`
#[derive(Debug, Clone)]
pub(crate) struct SmtpConfig {
    pub(crate) submission: Vec<SocketAddr>,
    pub(crate) submissions: Vec<SocketAddr>,
    pub(crate) relay: Vec<SocketAddr>,
    /// Certificate chain and key, PEM.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_peer: usize,
    pub(crate) intake: IntakeSettings,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) tracking_listen: Vec<SocketAddr>,
    pub(crate) trusted_proxies: Vec<Network>,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsConfig {
    /// Empty: the system's.
    pub(crate) nameservers: Vec<SocketAddr>,
}

fn plain<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|at| at.value).collect()
}

pub(crate) fn smtp(reader: &Reader<'_>, root: &Section<'_, '_>, warnings: &mut Warnings) -> SmtpConfig {
    let section = root.section("smtp");
    let Some(s) = section else {
        root.mistake("smtp", "is required: a relay without listeners takes no mail");
        return SmtpConfig {
            submission: Vec::new(),
            submissions: Vec::new(),
            relay: Vec::new(),
            tls: None,
            max_connections: 1,
            max_connections_per_peer: 1,
            intake: IntakeSettings {
                max_message_size: 1,
                max_recipients: 1,
                recipients_per_hour: 1,
                trusted_networks: Vec::new(),
            },
        };
    };
    let networks = s.list("trusted_networks", values::network);
    for at in networks.iter().filter(|at| at.value.prefix == 0) {
        reader.mistake(
            at.place.clone(),
            "trusts the whole Internet: that is an open relay. Name the networks of your own hosts",
        );
    }
    let submission = plain(s.list("submission", values::socket_addr));
    let submissions = plain(s.list("submissions", values::socket_addr));
    let relay = plain(s.list("relay", values::socket_addr));
    if !relay.is_empty() && networks.is_empty() {
        s.mistake("relay", "needs `trusted_networks`: nobody may use this port without");
    }
    let config = SmtpConfig {
        tls: tls(reader, &s, warnings, submission.is_empty() && submissions.is_empty()),
        submission,
        submissions,
        relay,
        max_connections: s.get_or("max_connections", 2_000, values::count),
        max_connections_per_peer: s.get_or("max_connections_per_peer", 100, values::count),
        intake: IntakeSettings {
            max_message_size: s.get_or("max_message_size", 52_428_800, values::size),
            max_recipients: s.get_or("max_recipients", 1_000, values::count),
            recipients_per_hour: s.get_or("recipients_per_hour", 100_000, values::number),
            trusted_networks: plain(networks),
        },
    };
    s.finish();
    config
}

fn tls(
    reader: &Reader<'_>,
    s: &Section<'_, '_>,
    warnings: &mut Warnings,
    unused: bool,
) -> Option<(PathBuf, PathBuf)> {
    let certificate = s.get("tls_certificate", values::string);
    let key = s.get("tls_key", values::string);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let (chain, private) = (reader.path(&certificate.value), reader.path(&key.value));
            if let Err(error) = crate::tls::read_chain(&chain) {
                reader.mistake(certificate.place, error.to_string());
            }
            match relevo_keys::check_permissions(&private) {
                Ok(Some(warning)) => warnings.say(key.place.clone(), warning),
                Ok(None) => {}
                Err(error) => reader.mistake(key.place.clone(), error.to_string()),
            }
            Some((chain, private))
        }
        (Some(_), None) => {
            s.mistake("tls_key", "is required with `tls_certificate`");
            None
        }
        (None, Some(_)) => {
            s.mistake("tls_certificate", "is required with `tls_key`");
            None
        }
        (None, None) => {
            if !unused {
                warnings.say(
                    s.place(),
                    "no `tls_certificate`: a self-signed one is made, and clients that verify will refuse it",
                );
            }
            None
        }
    }
}

pub(crate) fn http(root: &Section<'_, '_>) -> HttpConfig {
    let Some(s) = root.section("http") else {
        return HttpConfig { listen: Vec::new(), tracking_listen: Vec::new(), trusted_proxies: Vec::new() };
    };
    let config = HttpConfig {
        listen: plain(s.list("listen", values::socket_addr)),
        tracking_listen: plain(s.list("tracking_listen", values::socket_addr)),
        trusted_proxies: plain(s.list("trusted_proxies", values::network)),
    };
    s.finish();
    config
}

pub(crate) fn dns(root: &Section<'_, '_>) -> DnsConfig {
    let Some(s) = root.section("dns") else { return DnsConfig { nameservers: Vec::new() } };
    let config = DnsConfig { nameservers: plain(s.list("nameservers", values::nameserver)) };
    s.finish();
    config
}

pub(crate) fn delivery(
    reader: &Reader<'_>,
    root: &Section<'_, '_>,
    hostname: &str,
    smtp: &SmtpConfig,
    warnings: &mut Warnings,
) -> (DeliverySettings, Option<PathBuf>) {
    let own_addresses =
        [&smtp.submission, &smtp.submissions, &smtp.relay].into_iter().flatten().copied().collect();
    let mut settings = DeliverySettings {
        port: 25,
        ip: IpFamily::Any,
        source_ipv4: None,
        source_ipv6: None,
        ehlo: hostname.to_owned(),
        allow_networks: Vec::new(),
        own_addresses,
        retry: [1, 5, 15, 60, 240].map(|minutes| Duration::from_secs(minutes * 60)).to_vec(),
        expire: Duration::from_secs(5 * 86_400),
        smarthost: None,
        pools: HashMap::new(),
        routes: HashMap::new(),
        connections_per_site: 20,
        max_connections: 500,
        messages_per_connection: 100,
        recipients_per_transaction: 100,
    };
    let Some(s) = root.section("delivery") else { return (settings, None) };
    const FAMILIES: &[(&str, IpFamily)] =
        &[("any", IpFamily::Any), ("ipv4", IpFamily::Ipv4), ("ipv6", IpFamily::Ipv6)];
    settings.port = s.get_or("port", settings.port, values::port);
    settings.ip = s.get_or("ip", settings.ip, values::one_of(FAMILIES));
    settings.source_ipv4 = source(&s, "source_ipv4", IpAddr::is_ipv4);
    settings.source_ipv6 = source(&s, "source_ipv6", IpAddr::is_ipv6);
    settings.ehlo = s.get_or("ehlo", settings.ehlo, values::domain);
    settings.allow_networks = plain(s.list("allow_networks", values::network));
    if s.is_empty_list("retry") {
        s.mistake("retry", "must have one delay at least");
    }
    let retry = plain(s.list("retry", values::duration));
    if !retry.is_empty() {
        settings.retry = retry;
    }
    settings.expire = s.get_or("expire", settings.expire, values::duration);
    settings.connections_per_site =
        s.get_or("connections_per_site", settings.connections_per_site, values::count);
    settings.max_connections = s.get_or("max_connections", settings.max_connections, values::count);
    settings.messages_per_connection =
        s.get_or("messages_per_connection", settings.messages_per_connection, values::count);
    settings.recipients_per_transaction =
        s.get_or("recipients_per_transaction", settings.recipients_per_transaction, values::count);
    settings.smarthost = s.section("smarthost").and_then(|s| smarthost(reader, s, warnings));
    let ca_file = s.get("ca_file", values::string).map(|at| {
        let path = reader.path(&at.value);
        if let Err(error) = crate::tls::read_chain(&path) {
            reader.mistake(at.place, error.to_string());
        }
        path
    });
    s.finish();
    (settings, ca_file)
}

fn source(s: &Section<'_, '_>, key: &'static str, fits: fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let at = s.get(key, values::ip)?;
    if !fits(&at.value) {
        s.mistake(key, "is an address of the other family");
    } else if at.value.to_canonical() != at.value {
        s.mistake(key, "is an IPv4 address in IPv6 form: it belongs in `source_ipv4`, as a.b.c.d");
    }
    Some(at.value)
}

pub(crate) fn smarthost(
    reader: &Reader<'_>,
    s: Section<'_, '_>,
    warnings: &mut Warnings,
) -> Option<Smarthost> {
    const POLICIES: &[(&str, TlsPolicy)] = &[
        ("none", TlsPolicy::None),
        ("opportunistic", TlsPolicy::Opportunistic),
        ("required", TlsPolicy::Required),
        ("verified", TlsPolicy::Verified),
        ("implicit", TlsPolicy::Implicit),
    ];
    let host = s.need("host", values::string);
    let port = s.get_or("port", 25, values::port);
    let tls = s.get_or("tls", TlsPolicy::Opportunistic, values::one_of(POLICIES));
    let username = s.get("username", values::string);
    let password_file = s.get("password_file", values::string);
    let has_secret = username.is_some() || password_file.is_some();
    let auth = match (username, password_file) {
        (Some(username), Some(file)) => {
            let path = reader.path(&file.value);
            match relevo_keys::load_password(&path) {
                Ok((password, warning)) => {
                    if let Some(warning) = warning {
                        warnings.say(file.place, warning);
                    }
                    Some(Auth { username: username.value, password })
                }
                Err(error) => {
                    reader.mistake(file.place, error.to_string());
                    None
                }
            }
        }
        (Some(_), None) => {
            s.mistake("password_file", "is required with `username`");
            None
        }
        (None, Some(_)) => {
            s.mistake("username", "is required with `password_file`");
            None
        }
        (None, None) => None,
    };
    if has_secret && let Some(host) = &host {
        check_auth_is_safe(&s, &host.value, tls);
    }
    s.finish();
    Some(Smarthost { host: host?.value, port, tls, auth })
}

/// Credentials go only over a verified certificate, or to loopback.
fn check_auth_is_safe(s: &Section<'_, '_>, host: &str, tls: TlsPolicy) {
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback && !matches!(tls, TlsPolicy::Verified | TlsPolicy::Implicit) {
        s.mistake("tls", "must be \"verified\" or \"implicit\" when a password is sent to another host");
    }
}

pub(crate) fn tracking_keys(
    reader: &Reader<'_>,
    root: &Section<'_, '_>,
    warnings: &mut Warnings,
) -> TokenKeys {
    let mut keys = Vec::new();
    let Some(s) = root.section("tracking") else { return TokenKeys(keys) };
    for entry in s.sections("keys") {
        let id = entry.need("id", values::identifier);
        let file = entry.need("file", values::string);
        if let (Some(id), Some(file)) = (id, file) {
            if id.value.len() > 16 {
                reader.mistake(
                    id.place.clone(),
                    "must have at most 16 characters: it is in every tracking link",
                );
            }
            if keys.iter().any(|k: &TokenKey| k.id == id.value) {
                reader.mistake(id.place, "is used twice");
            }
            match relevo_keys::load_secret(&reader.path(&file.value)) {
                Ok((secret, warning)) => {
                    if let Some(warning) = warning {
                        warnings.say(file.place, warning);
                    }
                    keys.push(TokenKey { id: id.value, secret });
                }
                Err(error) => reader.mistake(file.place, error.to_string()),
            }
        }
        entry.finish();
    }
    s.finish();
    TokenKeys(keys)
}

/// `min_free` and `[queue]`.
pub(crate) fn queue(root: &Section<'_, '_>) -> StoreConfig {
    /// The largest frame fits in; a group's octets may go beyond it.
    const SMALLEST: u64 = 256 << 10;
    let default = StoreConfig::default();
    let min_free = root.get_or("min_free", default.min_free, values::size);
    let Some(s) = root.section("queue") else { return StoreConfig { min_free, ..default } };
    let segment_size = s.get_or("segment_size", default.segment_size, values::size);
    if segment_size < SMALLEST {
        s.mistake("segment_size", "must be 256KiB at least");
    }
    let compact_after = s.get_or("compact_after", default.compact_after, values::duration);
    let spool_memory = s.get_or("spool_memory", default.spool_memory, values::size);
    s.finish();
    StoreConfig { min_free, segment_size, compact_after, spool_memory }
}

pub(crate) fn events(root: &Section<'_, '_>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(30 * 86_400);
    let Some(s) = root.section("events") else { return DEFAULT };
    let retention = s.get_or("retention", DEFAULT, values::duration);
    s.finish();
    retention
}
