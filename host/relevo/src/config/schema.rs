//! The keys of `relevo.toml`, as serde reads them. Absent keys are empty here; their defaults are
//! where they are checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use relevo_mailkit::model::Algorithm;
use relevo_relay::directory::Scope;
use relevo_relay::reputation::OnFail;
use relevo_relay::settings::{FailurePolicy, FeedbackId, Network, OrdinaryMail, SpfFail};
use relevo_relay::suppressions::ComplaintScope;
use relevo_relay::users::UserRole;
use relevo_resolve::IpFamily;
use relevo_runtime::policy::{Capability, Class};
use relevo_smtp::client::TlsPolicy;
use relevo_smtp::server::{BareNewlines, ScramVerifier};
use relevo_store::StoreUrl;
use relevo_tls::decision::Wanted;
use serde::Deserialize;

use super::cluster::EngineKind;
use super::formats::{
    ApiKeyHash, CertificateDigest, CountOrNone, DomainName, HeaderPattern, Identifier, KeepTime, MailAddress,
    MaxPriority, Nameserver, PasswordHash, Port, Selector, ShortTime, Size, Texts, Time, TrackingUrl,
};
use super::shaping::WarmupMode;
use super::values::{Key, List, Located, Section};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) hostname: Key<DomainName>,
    pub(crate) postmaster: Key<MailAddress>,
    pub(crate) data_dir: Key<String>,
    pub(crate) min_free: Key<Size>,
    pub(crate) smtp: Option<Section<SmtpTable>>,
    pub(crate) http: Section<HttpTable>,
    pub(crate) dns: Section<DnsTable>,
    pub(crate) delivery: Section<DeliveryTable>,
    pub(crate) tls_report: Option<Section<TlsReportTable>>,
    pub(crate) shaping: Section<ShapingTable>,
    pub(crate) pool: Vec<Section<PoolTable>>,
    pub(crate) route: Vec<Section<RouteTable>>,
    pub(crate) tracking: Section<TrackingTable>,
    pub(crate) unsubscribe: Section<UnsubscribeTable>,
    pub(crate) returns: Section<ReturnsTable>,
    pub(crate) queue: Section<QueueTable>,
    pub(crate) store: Section<StoreTable>,
    pub(crate) cluster: Option<Section<ClusterTable>>,
    pub(crate) events: Section<EventsTable>,
    pub(crate) webhooks: Section<WebhooksTable>,
    pub(crate) validation: Section<ValidationTable>,
    pub(crate) suppression: Section<SuppressionTable>,
    pub(crate) classify: Section<ClassifyTable>,
    pub(crate) content: Section<ContentTable>,
    pub(crate) plugins: Section<PluginsTable>,
    pub(crate) reputation: Section<ReputationTable>,
    pub(crate) panel: Section<PanelTable>,
    pub(crate) tenant: Vec<Section<TenantTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SmtpTable {
    pub(crate) submission: List<SocketAddr>,
    pub(crate) submissions: List<SocketAddr>,
    pub(crate) relay: List<SocketAddr>,
    pub(crate) trusted_networks: List<Network>,
    pub(crate) tls_certificate: Key<String>,
    pub(crate) tls_key: Key<String>,
    pub(crate) client_ca: Key<String>,
    pub(crate) oauth: Option<Section<SmtpOauthTable>>,
    pub(crate) max_message_size: Key<Size>,
    pub(crate) max_recipients: Key<usize>,
    pub(crate) recipients_per_hour: Key<u64>,
    pub(crate) strict_headers: Key<bool>,
    pub(crate) bare_newlines: Section<ListenerTable>,
    pub(crate) extensions: Section<ExtensionsTable>,
    pub(crate) proxies: Section<ProxiesTable>,
    pub(crate) certificate: Vec<Section<CertificateTable>>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) max_connections_per_peer: Key<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SmtpOauthTable {
    pub(crate) issuer: Key<String>,
    pub(crate) audience: Key<String>,
    pub(crate) username_claim: Key<String>,
    pub(crate) scope: Key<String>,
}

/// A table with a key for each kind of listener.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenerTable {
    pub(crate) submission: Key<BareNewlines>,
    pub(crate) submissions: Key<BareNewlines>,
    pub(crate) relay: Key<BareNewlines>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExtensionsTable {
    pub(crate) chunking: Key<bool>,
    pub(crate) dsn: Key<bool>,
    pub(crate) requiretls: Key<bool>,
    pub(crate) limits: Key<bool>,
    pub(crate) future_release: Key<KeepTime>,
    pub(crate) deliver_by: Key<bool>,
    pub(crate) mt_priority: Key<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProxiesTable {
    pub(crate) networks: List<Network>,
    pub(crate) proxy_protocol: Key<bool>,
    pub(crate) xclient: Key<bool>,
}

/// A certificate beside the first, for other names.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CertificateTable {
    pub(crate) certificate: Key<String>,
    pub(crate) key: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClassifyTable {
    pub(crate) rules: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreTable {
    pub(crate) url: Key<StoreUrl>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterTable {
    pub(crate) engine: Key<EngineKind>,
    pub(crate) name: Key<Identifier>,
    pub(crate) node: Key<Identifier>,
    pub(crate) shard: Key<u32>,
    pub(crate) address: Key<String>,
    pub(crate) listen: Key<SocketAddr>,
    pub(crate) secret_file: Key<String>,
    pub(crate) trim_at: Key<Size>,
    pub(crate) r#unsafe: Key<bool>,
    pub(crate) nats: Section<NatsTable>,
    pub(crate) postgres: Section<ClusterPostgresTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NatsTable {
    pub(crate) servers: List<String>,
    pub(crate) user: Key<String>,
    pub(crate) password_file: Key<String>,
    pub(crate) system_user: Key<String>,
    pub(crate) system_password_file: Key<String>,
    pub(crate) ca_file: Key<String>,
    pub(crate) replicas: Key<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterPostgresTable {
    pub(crate) url: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpTable {
    pub(crate) listen: List<SocketAddr>,
    pub(crate) tracking_listen: List<SocketAddr>,
    pub(crate) operations_listen: List<SocketAddr>,
    pub(crate) metrics_keys: Vec<Section<ApiKeyTable>>,
    pub(crate) trusted_proxies: List<Network>,
    pub(crate) requests_per_second: Key<u32>,
    pub(crate) body_memory: Key<Size>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) max_connections_per_peer: Key<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DnsTable {
    pub(crate) nameservers: List<Nameserver>,
    pub(crate) dnssec_trust_anchor: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeliveryTlsTable {
    pub(crate) domain: Key<String>,
    pub(crate) need: Key<Wanted>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsReportTable {
    pub(crate) from: Key<MailAddress>,
    pub(crate) organization: Key<String>,
    pub(crate) contact: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeliveryTable {
    pub(crate) port: Key<Port>,
    pub(crate) ip: Key<IpFamily>,
    pub(crate) source_ipv4: Key<IpAddr>,
    pub(crate) source_ipv6: Key<IpAddr>,
    pub(crate) ehlo: Key<DomainName>,
    pub(crate) allow_networks: List<Network>,
    pub(crate) retry: Option<List<Time>>,
    pub(crate) expire: Key<Time>,
    pub(crate) delay_report: Key<Time>,
    pub(crate) connections_per_site: Key<usize>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) messages_per_connection: Key<usize>,
    pub(crate) recipients_per_transaction: Key<usize>,
    pub(crate) record_conversations: Key<bool>,
    pub(crate) ca_file: Key<String>,
    pub(crate) mta_sts: Key<bool>,
    pub(crate) dane: Key<bool>,
    pub(crate) tls: Vec<Section<DeliveryTlsTable>>,
    pub(crate) smarthost: Option<Section<SmarthostTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SmarthostTable {
    pub(crate) host: Key<String>,
    pub(crate) port: Key<Port>,
    pub(crate) tls: Key<TlsPolicy>,
    pub(crate) username: Key<String>,
    pub(crate) password_file: Key<String>,
    pub(crate) token_file: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShapingTable {
    pub(crate) rules: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PoolTable {
    pub(crate) name: Key<Identifier>,
    pub(crate) source_ipv4: List<IpAddr>,
    pub(crate) source_ipv6: List<IpAddr>,
    pub(crate) ehlo: Key<DomainName>,
    pub(crate) connections_per_site: Key<usize>,
    pub(crate) warmup: Key<WarmupMode>,
    pub(crate) warmup_spill: Option<Section<WarmupSpillTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WarmupSpillTable {
    pub(crate) pool: Key<Identifier>,
    pub(crate) route: Key<Identifier>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RouteTable {
    pub(crate) name: Key<Identifier>,
    pub(crate) smarthost: Option<Section<SmarthostTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrackingTable {
    pub(crate) keys: Vec<Section<TrackingKeyTable>>,
    pub(crate) events_per_second: Key<u32>,
    pub(crate) events_per_second_per_client: Key<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrackingKeyTable {
    pub(crate) id: Key<Identifier>,
    pub(crate) file: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UnsubscribeTable {
    pub(crate) mailto: Key<MailAddress>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReturnsTable {
    pub(crate) domains: List<DomainName>,
    pub(crate) default: Key<DomainName>,
    pub(crate) ordinary_mail: Key<OrdinaryMail>,
    pub(crate) spf_fail: Key<SpfFail>,
    pub(crate) max_size: Key<Size>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) messages_per_minute: Key<u32>,
    pub(crate) messages_per_minute_per_client: Key<u32>,
    pub(crate) feedback_domains: List<DomainName>,
    pub(crate) feedback_networks: List<Network>,
    pub(crate) feedback_id: Key<FeedbackId>,
    pub(crate) cfbl: Key<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueueTable {
    pub(crate) segment_size: Key<Size>,
    pub(crate) compact_min_age: Key<Time>,
    pub(crate) spool_memory: Key<Size>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventsTable {
    pub(crate) retention: Key<Time>,
    pub(crate) max_events: Key<u64>,
    pub(crate) audit_retention: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhooksTable {
    pub(crate) allow_http: Key<bool>,
    pub(crate) allow_networks: List<Network>,
    pub(crate) max_endpoints: Key<u32>,
    pub(crate) max_pending: Key<u64>,
    pub(crate) max_connections: Key<usize>,
    pub(crate) connections_per_tenant: Key<usize>,
    pub(crate) connections_per_endpoint: Key<usize>,
    pub(crate) timeout: Key<ShortTime>,
    pub(crate) retry: Option<List<Time>>,
    pub(crate) disable_after: Key<Time>,
    pub(crate) retention: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ContentTable {
    pub(crate) spamassassin: Key<String>,
    pub(crate) rspamd: Key<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ValidationTable {
    pub(crate) addresses_per_minute: Key<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SuppressionTable {
    pub(crate) hard_bounces: Key<CountOrNone>,
    pub(crate) mailbox_full: Section<MailboxFullTable>,
    pub(crate) complaints: Key<ComplaintScope>,
    pub(crate) expire: Key<Time>,
    pub(crate) incident: Section<IncidentTable>,
}

/// What a tenant has of its own.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OwnSuppressionTable {
    pub(crate) hard_bounces: Key<CountOrNone>,
    pub(crate) mailbox_full: Section<MailboxFullTable>,
    pub(crate) complaints: Key<ComplaintScope>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MailboxFullTable {
    pub(crate) times: Key<CountOrNone>,
    pub(crate) days: Key<CountOrNone>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IncidentTable {
    pub(crate) bounces: Key<CountOrNone>,
    pub(crate) percent: Key<u32>,
    pub(crate) minutes: Key<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginsTable {
    pub(crate) admin_keys: Vec<Section<ApiKeyTable>>,
    pub(crate) max_size: Key<Size>,
    pub(crate) max_functions: Key<u64>,
    pub(crate) compile_memory: Key<Size>,
    pub(crate) compile_time: Key<Time>,
    pub(crate) hold_expire: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReputationTable {
    pub(crate) blocklists: List<DomainName>,
    pub(crate) on_fail: Key<OnFail>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PanelTable {
    pub(crate) url: Key<TrackingUrl>,
    pub(crate) session_idle: Key<Time>,
    pub(crate) session_max: Key<Time>,
    pub(crate) oidc: Option<Section<OidcTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcTable {
    pub(crate) issuer: Key<String>,
    pub(crate) client_id: Key<String>,
    pub(crate) client_secret_file: Key<String>,
    pub(crate) name: Key<String>,
    pub(crate) roles: Vec<Section<OidcRoleTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcRoleTable {
    pub(crate) claim: Key<String>,
    pub(crate) value: Key<String>,
    pub(crate) tenant: Key<Identifier>,
    pub(crate) role: Key<UserRole>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiKeyTable {
    pub(crate) name: Key<String>,
    pub(crate) hash: Key<ApiKeyHash>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TenantKeyTable {
    pub(crate) name: Key<String>,
    pub(crate) hash: Key<ApiKeyHash>,
    pub(crate) scopes: Option<List<Scope>>,
    pub(crate) domain: Key<DomainName>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotaTable {
    pub(crate) hour: Key<u64>,
    pub(crate) day: Key<u64>,
    pub(crate) month: Key<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TenantTable {
    pub(crate) id: Key<Identifier>,
    pub(crate) networks: List<Network>,
    pub(crate) max_held: Key<u64>,
    pub(crate) credentials: Vec<Section<CredentialTable>>,
    pub(crate) api_keys: Vec<Section<TenantKeyTable>>,
    pub(crate) quota: Section<QuotaTable>,
    pub(crate) requests_per_second: Key<u32>,
    pub(crate) suppression: Section<OwnSuppressionTable>,
    pub(crate) keep_content: Key<KeepTime>,
    pub(crate) dsn: Key<bool>,
    pub(crate) pools: List<String>,
    pub(crate) routes: List<String>,
    pub(crate) max_priority: Key<MaxPriority>,
    pub(crate) plugin_cpu: Key<ShortTime>,
    pub(crate) plugin: Vec<Section<PluginTable>>,
    pub(crate) domain: Vec<Section<DomainTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CredentialTable {
    pub(crate) username: Key<String>,
    pub(crate) password_hash: Key<PasswordHash>,
    pub(crate) scram: Key<ScramVerifier>,
    pub(crate) oauth: Key<bool>,
    pub(crate) certificates: List<CertificateDigest>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginTable {
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
    pub(crate) settings: Section<BTreeMap<String, Located<Texts>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DomainTable {
    pub(crate) name: Key<DomainName>,
    pub(crate) dkim: Vec<Section<DkimTable>>,
    pub(crate) pools: Option<List<String>>,
    pub(crate) tracking: Option<Section<DomainTrackingTable>>,
    pub(crate) enforce_tls: Key<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DkimTable {
    pub(crate) selector: Key<Selector>,
    pub(crate) algorithm: Key<Algorithm>,
    pub(crate) key: Key<String>,
    pub(crate) signature_lifetime: Key<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DomainTrackingTable {
    pub(crate) url: Key<TrackingUrl>,
    pub(crate) opens: Key<bool>,
    pub(crate) clicks: Key<bool>,
    pub(crate) text_links: Key<bool>,
    pub(crate) rewrite_signed: Key<bool>,
}
