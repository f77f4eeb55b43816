//! Checks the sections about the server itself: listeners, DNS, queue, tracking keys, events.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use relevo_http::{ApiLimits, ConnectionLimits, Listener};
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::StoreConfig;
use relevo_relay::inspection::SpamFilters;
use relevo_relay::reputation::{OnFail, ReputationConfig};
use relevo_relay::settings::{IntakeSettings, Network, TrackingLimits};
use relevo_smtp::server::{BareNewlines, FutureRelease, Offers, TrustedProxies};
use relevo_store::StoreUrl;

use super::auth::AuthConfig;
use super::document::Document;
use super::networks::check_trusted;
use super::plugins;
use super::schema::{self, File};
use super::values::{Key, Located, Section, plain};

/// Recipients of one message, unless set otherwise.
const MAX_RECIPIENTS: usize = 1_000;

/// `[smtp]`
#[derive(Debug, Clone)]
pub(crate) struct SmtpConfig {
    pub(crate) submission: Vec<SocketAddr>,
    pub(crate) submissions: Vec<SocketAddr>,
    pub(crate) relay: Vec<SocketAddr>,
    /// Certificate chain and key, PEM.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// More of them, for other names (SNI).
    pub(crate) other_certificates: Vec<(PathBuf, PathBuf)>,
    /// The extensions that EHLO shows.
    pub(crate) offers: Offers,
    pub(crate) proxies: TrustedProxies,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_peer: usize,
    /// Of `submission`, `submissions` and `relay`.
    pub(crate) bare_newlines: [BareNewlines; 3],
    pub(crate) intake: IntakeSettings,
    /// Set once the credentials are known.
    pub(crate) auth: AuthConfig,
}

/// `[events]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventsConfig {
    /// Older events are removed.
    pub(crate) retention: Duration,
    /// The oldest events beyond this number are removed.
    pub(crate) max_events: u64,
    /// Older entries of the audit log are removed.
    pub(crate) audit_retention: Duration,
}

/// `[validation]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValidationConfig {
    /// Addresses that one tenant may ask about.
    pub(crate) addresses_per_minute: u32,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) tracking_listen: Vec<SocketAddr>,
    pub(crate) operations_listen: Vec<SocketAddr>,
    /// By name and SHA-256.
    pub(crate) metrics_keys: Vec<(String, [u8; 32])>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) api_limits: ApiLimits,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_peer: usize,
}

impl HttpConfig {
    /// The kinds of listeners and their addresses.
    pub(crate) fn listeners(&self, dev: bool) -> [(Listener, &[SocketAddr]); 3] {
        let api = match (dev, self.operations_listen.is_empty()) {
            (true, _) => Listener::Dev,
            (false, true) => Listener::Api,
            (false, false) => Listener::ApiOnly,
        };
        [
            (api, &self.listen),
            (Listener::Tracking, &self.tracking_listen),
            (Listener::Operations, &self.operations_listen),
        ]
    }

    /// Bounds of each listener.
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            total: self.max_connections,
            per_client: self.max_connections_per_peer,
            trusted_proxies: self.trusted_proxies.clone(),
            ..ConnectionLimits::default()
        }
    }
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsConfig {
    /// Empty: the system's.
    pub(crate) nameservers: Vec<SocketAddr>,
}

pub(crate) fn smtp(d: &mut Document<'_>, file: &File) -> SmtpConfig {
    let absent = Section::default();
    let s = file.smtp.as_ref().unwrap_or_else(|| {
        d.mistake_in(d.span(), "smtp", "is required: a relay without listeners takes no mail");
        &absent
    });
    let why = "that is an open relay. Name the networks of your own hosts";
    check_trusted(d, &s.trusted_networks, why);
    if !s.relay.is_empty() && s.trusted_networks.is_empty() && file.returns.domains.is_empty() {
        d.mistake_in(s.span, "relay", "needs `trusted_networks`: nobody may use this port without");
    }
    SmtpConfig {
        submission: plain(&s.submission),
        submissions: plain(&s.submissions),
        relay: plain(&s.relay),
        tls: certificate(d, s),
        other_certificates: other_certificates(d, s),
        offers: offers(s),
        proxies: proxies(d, s),
        max_connections: s.max_connections.or(2_000),
        max_connections_per_peer: s.max_connections_per_peer.or(100),
        bare_newlines: [&s.bare_newlines.submission, &s.bare_newlines.submissions, &s.bare_newlines.relay]
            .map(|key| key.or(BareNewlines::Refuse)),
        intake: IntakeSettings {
            max_message_size: s.max_message_size.or(52_428_800),
            max_recipients: s.max_recipients.or(MAX_RECIPIENTS),
            recipients_per_hour: s.recipients_per_hour.or(100_000),
            strict_headers: s.strict_headers.or(false),
            trusted_networks: plain(&s.trusted_networks),
        },
        auth: AuthConfig::default(),
    }
}

fn certificate(d: &mut Document<'_>, s: &Section<schema::SmtpTable>) -> Option<(PathBuf, PathBuf)> {
    let (Some(certificate), Some(key)) = (s.tls_certificate.at(), s.tls_key.at()) else {
        match (s.tls_certificate.at(), s.tls_key.at()) {
            (Some(_), None) => d.mistake_in(s.span, "tls_key", "is required with `tls_certificate`"),
            (None, Some(_)) => d.mistake_in(s.span, "tls_certificate", "is required with `tls_key`"),
            _ if s.submission.is_empty() && s.submissions.is_empty() => {}
            _ => d.warn(
                s.span,
                "no `tls_certificate`: a self-signed one is made, and clients that verify will refuse it",
            ),
        }
        return None;
    };
    Some(certificate_files(d, certificate, key))
}

/// The paths of a certificate and its key, which can be read.
fn certificate_files(
    d: &mut Document<'_>,
    certificate: &Located<String>,
    key: &Located<String>,
) -> (PathBuf, PathBuf) {
    let (chain, private) = (d.path(&certificate.value), d.path(&key.value));
    if let Err(error) = crate::tls::read_chain(&chain) {
        d.mistake(certificate.span, format!("{error:#}"));
    }
    let loaded = relevo_keys::read_secret_file(&private);
    d.loaded(key.span, loaded);
    (chain, private)
}

fn other_certificates(d: &mut Document<'_>, s: &Section<schema::SmtpTable>) -> Vec<(PathBuf, PathBuf)> {
    if let (Some(first), None) = (s.certificate.first(), s.tls_certificate.at()) {
        d.mistake(first.span, "needs `tls_certificate`, which clients get that name no other host");
    }
    let one = |table: &Section<schema::CertificateTable>| {
        let certificate = d.need(table.span, &table.certificate, "certificate");
        let key = d.need(table.span, &table.key, "key");
        certificate.zip(key).map(|(certificate, key)| certificate_files(d, certificate, key))
    };
    s.certificate.iter().filter_map(one).collect()
}

/// The shortest time of BY that is announced (RFC 2852): what takes no time at all cannot be kept.
const SHORTEST_BY: u32 = 60;
/// The longest time of FUTURERELEASE, unless set otherwise: as for mail that comes by HTTP.
const LONGEST_HOLD: Duration = Duration::from_secs(30 * 86_400);

fn offers(s: &Section<schema::SmtpTable>) -> Offers {
    let e = &s.extensions;
    let most = u32::try_from(s.max_recipients.or(MAX_RECIPIENTS)).unwrap_or(u32::MAX);
    let hold = e.future_release.or(LONGEST_HOLD);
    let max_interval = u32::try_from(hold.as_secs()).unwrap_or(u32::MAX);
    Offers {
        chunking: e.chunking.or(true),
        binarymime: e.chunking.or(true),
        dsn: e.dsn.or(true),
        requiretls: e.requiretls.or(true),
        rcpt_max: e.limits.or(true).then_some(most),
        // The time is that of each session.
        future_release: (max_interval > 0).then_some(FutureRelease { max_interval, now: 0 }),
        deliver_by: e.deliver_by.or(true).then_some(SHORTEST_BY),
        mt_priority: e.mt_priority.or(true).then(String::new),
        ..Offers::default()
    }
}

fn proxies(d: &mut Document<'_>, s: &Section<schema::SmtpTable>) -> TrustedProxies {
    let p = &s.proxies;
    let (proxy_protocol, xclient) = (p.proxy_protocol.or(false), p.xclient.or(false));
    check_trusted(d, &p.networks, "anybody could claim any address. Name the proxies");
    let networks: Vec<IpNet> =
        p.networks.iter().filter_map(|at| IpNet::new(at.value.addr, at.value.prefix).ok()).collect();
    if !p.networks.is_empty() && !proxy_protocol && !xclient {
        d.mistake_in(p.span, "networks", "has no effect without `proxy_protocol` or `xclient`");
    }
    if let Some(at) = p.xclient.at().filter(|_| proxy_protocol && xclient) {
        d.mistake(
            at.span,
            "cannot be used with `proxy_protocol`: what follows its header is said by the client",
        );
    }
    if networks.is_empty() && (proxy_protocol || xclient) {
        d.mistake_in(p.span, "networks", "is required: proxies are believed by their addresses");
    }
    TrustedProxies { networks, proxy_protocol, xclient }
}

pub(crate) fn http(d: &mut Document<'_>, file: &File) -> HttpConfig {
    /// Two of the largest bodies, and a little: one tenant may have one at a time.
    const SMALLEST: u64 = 128 << 20;
    let (s, default, api) = (&file.http, ConnectionLimits::default(), ApiLimits::default());
    d.check(&s.body_memory, |size| *size >= SMALLEST, "must be 128MiB at least");
    HttpConfig {
        listen: plain(&s.listen),
        tracking_listen: plain(&s.tracking_listen),
        operations_listen: plain(&s.operations_listen),
        metrics_keys: plugins::named_keys(d, &s.metrics_keys),
        trusted_proxies: plain(&s.trusted_proxies),
        api_limits: ApiLimits {
            requests_per_second: s.requests_per_second.or(api.requests_per_second),
            body_memory: s.body_memory.or(api.body_memory),
        },
        max_connections: s.max_connections.or(default.total),
        max_connections_per_peer: s.max_connections_per_peer.or(default.per_client),
    }
}

pub(crate) fn dns(file: &File) -> DnsConfig {
    DnsConfig { nameservers: plain(&file.dns.nameservers) }
}

pub(crate) fn tracking_keys(d: &mut Document<'_>, file: &File) -> TokenKeys {
    let mut keys: Vec<TokenKey> = Vec::new();
    for entry in &file.tracking.keys {
        let id = d.need(entry.span, &entry.id, "id");
        let key_file = d.need(entry.span, &entry.file, "file");
        let (Some(id), Some(key_file)) = (id, key_file) else { continue };
        if id.value.len() > 16 {
            d.mistake(id.span, "must have at most 16 characters: it is in every tracking link");
        }
        if keys.iter().any(|known| known.id == id.value) {
            d.mistake(id.span, "is used twice");
        }
        let loaded = relevo_keys::load_secret(&d.path(&key_file.value));
        if let Some(secret) = d.loaded(key_file.span, loaded) {
            keys.push(TokenKey { id: id.value.clone(), secret });
        }
    }
    TokenKeys(keys)
}

pub(crate) fn tracking_limits(file: &File) -> TrackingLimits {
    let (s, default) = (&file.tracking, TrackingLimits::default());
    TrackingLimits {
        events_per_second: s.events_per_second.or(default.events_per_second),
        events_per_second_per_client: s.events_per_second_per_client.or(default.events_per_second_per_client),
    }
}

/// `[unsubscribe] mailto`. It stands in a `mailto` URL (RFC 6068) that is not encoded.
pub(crate) fn unsubscribe_mailbox(d: &mut Document<'_>, file: &File) -> Option<String> {
    let mailbox = file.unsubscribe.mailto.at()?;
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"@.-_+=~".contains(&octet);
    if !mailbox.value.bytes().all(is_plain) {
        d.mistake(mailbox.span, "may have ASCII letters, digits and `.-_+=~` only: it becomes part of a URL");
    }
    Some(mailbox.value.clone())
}

/// `[store]`. None: a file in the data directory.
pub(crate) fn store(d: &Document<'_>, file: &File, data_dir: &Path) -> StoreUrl {
    match file.store.url.at().map(|at| at.value.clone()) {
        Some(StoreUrl::File(path)) => StoreUrl::File(d.path(&path.to_string_lossy())),
        Some(postgres) => postgres,
        None => StoreUrl::File(data_dir.join("control.sqlite")),
    }
}

/// `min_free` and `[queue]`.
pub(crate) fn queue(d: &mut Document<'_>, file: &File) -> StoreConfig {
    /// The largest frame fits in; a group's octets may go beyond it.
    const SMALLEST: u64 = 256 << 10;
    let (s, default) = (&file.queue, StoreConfig::default());
    d.check(&s.segment_size, |size| *size >= SMALLEST, "must be 256KiB at least");
    StoreConfig {
        min_free: file.min_free.or(default.min_free),
        segment_size: s.segment_size.or(default.segment_size),
        compact_after: s.compact_min_age.or(default.compact_after),
        spool_memory: s.spool_memory.or(default.spool_memory),
        ..default
    }
}

pub(crate) fn validation(file: &File) -> ValidationConfig {
    ValidationConfig { addresses_per_minute: file.validation.addresses_per_minute.or(10_000) }
}

/// `[content]`
pub(crate) fn content(d: &mut Document<'_>, file: &File) -> SpamFilters {
    let s = &file.content;
    let is_address = |text: &String| {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    d.check(&s.spamassassin, is_address, "must be a host and a port, such as 127.0.0.1:783");
    let is_url = |text: &String| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']))
    };
    d.check(&s.rspamd, is_url, "must be a URL, such as http://127.0.0.1:11333");
    let text = |key: &Key<String>| key.at().map(|at| at.value.clone());
    SpamFilters { spamassassin: text(&s.spamassassin), rspamd: text(&s.rspamd) }
}

pub(crate) fn events(file: &File) -> EventsConfig {
    let s = &file.events;
    EventsConfig {
        retention: s.retention.or(Duration::from_secs(30 * 86_400)),
        max_events: s.max_events.or(20_000_000),
        audit_retention: s.audit_retention.or(Duration::from_secs(365 * 86_400)),
    }
}

/// `[reputation]`
pub(crate) fn reputation(d: &mut Document<'_>, file: &File) -> ReputationConfig {
    /// Each list is asked about each address once an hour.
    const MAX_LISTS: usize = 20;
    let s = &file.reputation;
    if s.blocklists.len() > MAX_LISTS {
        d.mistake_in(s.span, "blocklists", format!("must have at most {MAX_LISTS} lists"));
    }
    ReputationConfig { blocklists: plain(&s.blocklists), on_fail: s.on_fail.or(OnFail::default()) }
}
