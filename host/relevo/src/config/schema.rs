//! The keys of `relevo.toml`, as serde reads them. Absent keys are empty here; their defaults are where they are checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use relevo_mailkit::model::Algorithm;
use relevo_relay::settings::{FailurePolicy, Network};
use relevo_resolve::IpFamily;
use relevo_runtime::policy::{Capability, Class};
use relevo_smtp::client::TlsPolicy;
use relevo_smtp::server::BareNewlines;
use relevo_store::StoreUrl;
use serde::Deserialize;

use super::values::{
    ApiKeyHash, At, CountOrNone, DomainName, HeaderPattern, Identifier, Key, List, MailAddress, MaxPriority,
    Nameserver, PasswordHash, Port, Section, Selector, ShortTime, Size, Texts, Time, TrackingUrl,
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) hostname: Key<DomainName>,
    pub(crate) postmaster: Key<MailAddress>,
    pub(crate) data_dir: Key<String>,
    pub(crate) min_free: Key<Size>,
    pub(crate) smtp: Option<Section<Smtp>>,
    pub(crate) http: Section<Http>,
    pub(crate) dns: Section<Dns>,
    pub(crate) delivery: Section<Delivery>,
    pub(crate) pool: Vec<Section<Pool>>,
    pub(crate) route: Vec<Section<Route>>,
    pub(crate) tracking: Section<TrackingKeys>,
    pub(crate) queue: Section<Queue>,
    pub(crate) store: Section<Store>,
    pub(crate) events: Section<Events>,
    pub(crate) plugins: Section<Plugins>,
    pub(crate) tenant: Vec<Section<Tenant>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Smtp {
    pub(crate) submission: List<SocketAddr>,
    pub(crate) submissions: List<SocketAddr>,
    pub(crate) relay: List<SocketAddr>,
    pub(crate) trusted_networks: List<Network>,
    pub(crate) tls_certificate: Key<String>,
    pub(crate) tls_key: Key<String>,
    pub(crate) max_message_size: Key<Size>,
    pub(crate) max_recipients: Key<usize>,
    pub(crate) recipients_per_hour: Key<u64>,
    pub(crate) strict_headers: Key<bool>,
    pub(crate) bare_newlines: Section<ByListener>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) max_connections_per_peer: Key<usize>,
}

/// A table with a key for each kind of listener.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ByListener {
    pub(crate) submission: Key<BareNewlines>,
    pub(crate) submissions: Key<BareNewlines>,
    pub(crate) relay: Key<BareNewlines>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    pub(crate) url: Key<StoreUrl>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) listen: List<SocketAddr>,
    pub(crate) tracking_listen: List<SocketAddr>,
    pub(crate) operations_listen: List<SocketAddr>,
    pub(crate) metrics_keys: Vec<Section<ApiKey>>,
    pub(crate) trusted_proxies: List<Network>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) max_connections_per_peer: Key<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dns {
    pub(crate) nameservers: List<Nameserver>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Delivery {
    pub(crate) port: Key<Port>,
    pub(crate) ip: Key<IpFamily>,
    pub(crate) source_ipv4: Key<IpAddr>,
    pub(crate) source_ipv6: Key<IpAddr>,
    pub(crate) ehlo: Key<DomainName>,
    pub(crate) allow_networks: List<Network>,
    pub(crate) retry: Option<List<Time>>,
    pub(crate) expire: Key<Time>,
    pub(crate) connections_per_site: Key<usize>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) messages_per_connection: Key<usize>,
    pub(crate) recipients_per_transaction: Key<usize>,
    pub(crate) ca_file: Key<String>,
    pub(crate) smarthost: Option<Section<Smarthost>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Smarthost {
    pub(crate) host: Key<String>,
    pub(crate) port: Key<Port>,
    pub(crate) tls: Key<TlsPolicy>,
    pub(crate) username: Key<String>,
    pub(crate) password_file: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pool {
    pub(crate) name: Key<Identifier>,
    pub(crate) source_ipv4: List<IpAddr>,
    pub(crate) source_ipv6: List<IpAddr>,
    pub(crate) ehlo: Key<DomainName>,
    pub(crate) connections_per_site: Key<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Route {
    pub(crate) name: Key<Identifier>,
    pub(crate) smarthost: Option<Section<Smarthost>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrackingKeys {
    pub(crate) keys: Vec<Section<TrackingKey>>,
    pub(crate) events_per_second: Key<u32>,
    pub(crate) events_per_second_per_client: Key<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrackingKey {
    pub(crate) id: Key<Identifier>,
    pub(crate) file: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    pub(crate) segment_size: Key<Size>,
    pub(crate) compact_min_age: Key<Time>,
    pub(crate) spool_memory: Key<Size>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Events {
    pub(crate) retention: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Plugins {
    pub(crate) admin_keys: Vec<Section<ApiKey>>,
    pub(crate) max_size: Key<Size>,
    pub(crate) max_functions: Key<u64>,
    pub(crate) compile_memory: Key<Size>,
    pub(crate) compile_time: Key<Time>,
    pub(crate) hold_expire: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiKey {
    pub(crate) name: Key<String>,
    pub(crate) hash: Key<ApiKeyHash>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tenant {
    pub(crate) id: Key<Identifier>,
    pub(crate) networks: List<Network>,
    pub(crate) max_held: Key<u64>,
    pub(crate) credentials: Vec<Section<Credential>>,
    pub(crate) api_keys: Vec<Section<ApiKey>>,
    pub(crate) pools: List<String>,
    pub(crate) routes: List<String>,
    pub(crate) max_priority: Key<MaxPriority>,
    pub(crate) plugin_cpu: Key<ShortTime>,
    pub(crate) plugin: Vec<Section<Plugin>>,
    pub(crate) domain: Vec<Section<Domain>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Credential {
    pub(crate) username: Key<String>,
    pub(crate) password_hash: Key<PasswordHash>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Plugin {
    pub(crate) name: Key<Identifier>,
    pub(crate) class: Key<Class>,
    pub(crate) grants: Option<List<Capability>>,
    pub(crate) memory: Key<Size>,
    pub(crate) cpu_timeout: Key<ShortTime>,
    pub(crate) wall_timeout: Key<ShortTime>,
    pub(crate) log_lines: Key<u32>,
    pub(crate) kv_size: Key<Size>,
    pub(crate) record: Key<CountOrNone>,
    pub(crate) record_size: Key<Size>,
    pub(crate) record_unredacted: Key<bool>,
    pub(crate) on_failure: Key<FailurePolicy>,
    pub(crate) breaker_faults: Key<u32>,
    pub(crate) breaker_open: Key<ShortTime>,
    pub(crate) breaker_longest: Key<ShortTime>,
    pub(crate) headers: Option<List<HeaderPattern>>,
    pub(crate) settings: Section<BTreeMap<String, At<Texts>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Domain {
    pub(crate) name: Key<DomainName>,
    pub(crate) dkim: Vec<Section<Dkim>>,
    pub(crate) pools: Option<List<String>>,
    pub(crate) tracking: Option<Section<Tracking>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dkim {
    pub(crate) selector: Key<Selector>,
    pub(crate) algorithm: Key<Algorithm>,
    pub(crate) key: Key<String>,
    pub(crate) signature_lifetime: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tracking {
    pub(crate) url: Key<TrackingUrl>,
    pub(crate) opens: Key<bool>,
    pub(crate) clicks: Key<bool>,
    pub(crate) text_links: Key<bool>,
    pub(crate) rewrite_signed: Key<bool>,
}
