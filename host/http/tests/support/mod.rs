//! Routers over a real store, with two tenants, keys for each of them and for operators, and
//! plugins that only answer.

mod stages;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use relevo_fetch::Fetcher;
use relevo_http::PanelAccess;
use relevo_http::{
    AdminServices, ApiLimits, ApiParts, ApiServices, BodyLimit, HttpMetrics, HttpServices, Listener,
    OperationsServices, PluginAdmin, PluginRequest, PluginResponse, RequestError, UserAccess, router,
};
use relevo_mailkit::classification::{
    Action, BounceType, Classification, Explanation, ReceiverReply, Subject,
};
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::{EmbeddedStore, EventHistory, EventLog, Millis, StoreConfig};
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::{Clock, RandomIds, SystemClock};
use relevo_relay::contents::{Contents, ContentsParts, KeptMessages};
use relevo_relay::copies::Copies;
use relevo_relay::directory::{DirectoryEntries, DirectoryRefresher, QuotaSettings, StoreSource, Tenant};
use relevo_relay::domains::Domains;
use relevo_relay::emails::Emails;
use relevo_relay::health::DomainHealth;
use relevo_relay::inspection::ContentInspection;
use relevo_relay::pipeline::{Pipeline, PipelineMetrics};
use relevo_relay::queue_admin::QueueAdmin;
use relevo_relay::quota::Quotas;
use relevo_relay::reputation::{Reputation, ReputationConfig, ReputationMetrics};
use relevo_relay::sandbox::Sandbox;
use relevo_relay::sending::Sending;
use relevo_relay::settings::{
    ApiKey, DeliverySettings, Domain, IntakeSettings, PluginServer, Settings, SettingsHandle, TrackingLimits,
};
use relevo_relay::suppressions::{SuppressionOverrides, Suppressions};
use relevo_relay::templates::Templates;
use relevo_relay::tenants::Tenants;
use relevo_relay::topics::Topics;
use relevo_relay::tracking::{TrackingEndpoint, TrackingMetrics};
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_relay::users::{UserRole, Users, UsersConfig};
use relevo_relay::validation::{AddressValidation, RelayHistory};
use relevo_resolve::IpFamily;
use relevo_resolve::testing::NoNames;
use relevo_statistics::Statistics;
use relevo_store::{ControlStore, DirectoryStore, StoreUrl};
use relevo_webhooks::{WebhookConfig, WebhookMetrics, WebhookParts, Webhooks};
use rustls::RootCertStore;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

pub const TRACKING_HOST: &str = "t.example.com";
pub const ACME: &str = "rv_acme";
pub const OTHER: &str = "rv_other";
/// A key of the tenant `acme` that may do what a developer may.
pub const DEVELOPER: &str = "rv_developer";
pub const ADMIN: &str = "rv_admin";
pub const METRICS: &str = "rv_metrics";
/// Octets that a plugin's content may have.
pub const PLUGIN_LIMIT: usize = 8;

pub struct World {
    /// The time by which requests to send are checked.
    pub clock: Arc<SetClock>,
    pub store: Arc<EmbeddedStore>,
    pub services: HttpServices,
    pub plugins: Arc<FakePlugins>,
    _directory: tempfile::TempDir,
}

/// Milliseconds since 1970, set by hand.
pub struct SetClock(pub AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Knows the plugin `list` of `acme`.
#[derive(Default)]
pub struct FakePlugins {
    pub commands: Mutex<Vec<(PluginRequest, Vec<u8>)>>,
}

impl PluginAdmin for FakePlugins {
    fn body_limit(&self, command: &PluginRequest) -> Result<BodyLimit, RequestError> {
        match command {
            PluginRequest::Act { tenant, plugin, .. } if tenant == "acme" && plugin == "list" => {
                Ok(BodyLimit { octets: PLUGIN_LIMIT, exceeded: "larger than 8".to_owned() })
            }
            _ => Err(RequestError::NotFound("no such plugin".to_owned())),
        }
    }

    fn run(&self, _: &str, command: PluginRequest, content: Vec<u8>) -> PluginResponse {
        self.commands.lock().unwrap().push((command, content));
        Box::pin(async { Ok(serde_json::json!({ "done": true })) })
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn tenants() -> DirectoryEntries {
    let domain = |tenant: &str, name: &str| {
        let domain = Domain {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            dkim: Vec::new(),
            tracking: None,
            grants: Arc::default(),
            enforce_tls: false,
        };
        (name.to_owned(), Arc::new(domain))
    };
    let key = |tenant: &str, key: &str| (digest(key), ApiKey::unlimited(tenant, "test"));
    let tenant = |id: &str| {
        let tenant = Tenant {
            id: id.to_owned(),
            networks: Vec::new(),
            max_held: 1,
            plugins: Vec::new(),
            grants: Arc::default(),
            quota: QuotaSettings { hour: Some(100), ..QuotaSettings::default() },
            requests_per_second: None,
            suppression: SuppressionOverrides::default(),
            keep_content: None,
            dsn: true,
        };
        (id.to_owned(), Arc::new(tenant))
    };
    let scopes = UserRole::Developer.scopes();
    let developer = ApiKey { scopes, ..ApiKey::unlimited("acme", "developer") };
    DirectoryEntries {
        by_id: [tenant("acme"), tenant("other")].into(),
        by_domain: [domain("acme", "acme.test"), domain("other", "other.test")].into(),
        by_api_key: [key("acme", ACME), key("other", OTHER), (digest(DEVELOPER), developer)].into(),
        by_tracking_host: [(TRACKING_HOST.to_owned(), "acme".to_owned())].into(),
        ..DirectoryEntries::default()
    }
}

fn settings() -> Settings {
    Settings {
        hostname: "mta.test".to_owned(),
        postmaster: "postmaster@mta.test".to_owned(),
        intake: IntakeSettings {
            max_message_size: 1,
            max_recipients: 1,
            recipients_per_hour: 1,
            strict_headers: false,
            trusted_networks: Vec::new(),
        },
        delivery: DeliverySettings {
            port: 25,
            ip: IpFamily::Any,
            source_ipv4: None,
            source_ipv6: None,
            ehlo: "mta.test".to_owned(),
            allow_networks: Vec::new(),
            own_addresses: Vec::new(),
            retry: Vec::new(),
            expire: Duration::from_secs(1),
            delay_report: Duration::from_secs(1),
            smarthost: None,
            pools: HashMap::new(),
            routes: HashMap::new(),
            connections_per_site: 1,
            max_connections: 1,
            messages_per_connection: 1,
            recipients_per_transaction: 1,
            record_conversations: false,
            shaping: Arc::default(),
        },
        returns: relevo_relay::settings::ReturnSettings::default(),
        tracking_keys: TokenKeys(vec![TokenKey { id: "k1".to_owned(), secret: vec![7; 32] }]),
        tracking: TrackingLimits { events_per_second: 2, events_per_second_per_client: 1 },
        unsubscribe_mailbox: None,
        directory: tenants().into(),
        plugins: PluginServer {
            admin_keys: vec![("ops".to_owned(), digest(ADMIN))],
            ..PluginServer::default()
        },
    }
}

/// Templates, suppressions, statistics, webhooks and administration in a store of their own, for stages that
/// answer nothing.
async fn control(
    directory: &std::path::Path,
    events: &Arc<dyn EventHistory>,
    settings: &SettingsHandle,
) -> (Templates, Arc<Suppressions>, Statistics, Webhooks, AdminServices, Arc<Tenants>) {
    let store = ControlStore::open(&StoreUrl::File(directory.join("control.sqlite"))).await.unwrap();
    let (store, clock, ids) = (Arc::new(store), Arc::new(SystemClock::new()), Arc::new(RandomIds));
    let topics = Topics::new(store.clone(), clock.clone(), ids.clone());
    let suppressions =
        Suppressions::open(store.clone(), events.clone(), clock.clone(), ids.clone(), topics).await;
    let sandbox = Sandbox::new(Arc::new(stages::NoStages));
    let statistics = Statistics::new(store.clone(), "statistics");
    let time: Arc<dyn Clock> = clock.clone();
    let admin = AdminServices {
        keys: Arc::new(ApiKeys::new(store.clone(), None, time.clone(), ids.clone())),
        domains: Arc::new(Domains::new(
            (store.clone(), None),
            settings.clone(),
            Arc::new(NoNames),
            directory.to_owned(),
            (time.clone(), ids.clone()),
        )),
        health: DomainHealth::new(Arc::new(NoNames), None, Arc::new(Vec::new), time.clone()),
        reputation: Arc::new(Reputation::open(
            ReputationConfig::default(),
            Arc::new(NoNames),
            settings.clone(),
            time.clone(),
            directory.join(relevo_relay::reputation::FILE),
            ReputationMetrics::default(),
        )),
        quotas: Arc::new(Quotas::new(store.clone(), time.clone())),
        audit: Arc::new(AuditLog::new(store.clone(), time.clone(), ids.clone())),
        panel: UserAccess {
            users: Arc::new(Users::new(store.clone(), time.clone(), ids.clone(), UsersConfig::default())),
            oidc: None,
            audit: Arc::new(AuditLog::new(store.clone(), time.clone(), ids.clone())),
            url: "https://mail.test".into(),
        },
        clock: time,
        limits: ApiLimits::default(),
    };
    let source = Arc::new(StoreSource::new(store.clone(), directory.to_owned()));
    let refresher = Arc::new(DirectoryRefresher::new(source, settings.clone()));
    let parts = (store.clone() as Arc<dyn DirectoryStore>, refresher);
    let tenants = Tenants::new(parts, settings.clone(), admin.domains.clone(), admin.quotas.clone());
    let webhooks = webhooks(store.clone(), events.clone());
    let templates = Templates::new(store, sandbox, clock, ids);
    (templates, Arc::new(suppressions.unwrap()), statistics, webhooks, admin, Arc::new(tenants))
}

/// Webhooks that nobody runs: endpoints are kept, and nothing is sent.
fn webhooks(store: Arc<ControlStore>, events: Arc<dyn EventLog>) -> Webhooks {
    let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), Vec::new()).unwrap();
    Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store,
        events,
        node: "n1".to_owned(),
        fetcher,
        now: Arc::new(|| 1_795_000_000_000),
        metrics: WebhookMetrics::default(),
        config: WebhookConfig { max_endpoints: 3, ..WebhookConfig::default() },
    })
}

/// Sends nothing: its stages answer nothing.
fn sending(
    store: &Arc<EmbeddedStore>,
    clock: &Arc<SetClock>,
    templates: &Templates,
    suppressions: &Arc<Suppressions>,
) -> Sending {
    let pipeline = Pipeline {
        templates: None,
        queue: store.clone(),
        events: store.clone(),
        sandbox: Sandbox::new(Arc::new(stages::NoStages)),
        clock: clock.clone(),
        ids: Arc::new(RandomIds),
        metrics: PipelineMetrics::default(),
        observer: None,
        checks: Vec::new(),
        quotas: None,
        recipient_refused: Arc::new(|| {}),
    };
    let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), Vec::new()).unwrap();
    Sending::new(pipeline, templates.clone(), suppressions.clone(), fetcher)
}

/// Reads from the store; nothing is kept.
fn contents(
    store: &Arc<EmbeddedStore>,
    settings: &SettingsHandle,
    clock: &Arc<SetClock>,
    directory: &std::path::Path,
) -> Contents {
    let sandbox = Sandbox::new(Arc::new(stages::NoStages));
    Contents::new(ContentsParts {
        queue: store.clone(),
        kept: Arc::new(KeptMessages::new(directory)),
        copies: Copies::new(store.clone(), sandbox.clone(), settings.clone(), clock.clone()),
        emails: Emails::new(store.clone()),
        sandbox,
    })
}

fn inspection() -> ContentInspection {
    ContentInspection::new(Sandbox::new(Arc::new(stages::NoStages)))
}

pub fn token_keys() -> TokenKeys {
    settings().tracking_keys
}

impl World {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
        let store = EmbeddedStore::open(directory.path(), config).unwrap();
        let settings = SettingsHandle::new(settings());
        let plugins = Arc::new(FakePlugins::default());
        let events: Arc<dyn EventHistory> = store.clone();
        let tracking = TrackingEndpoint::new(
            settings.clone(),
            store.clone(),
            events.clone(),
            Arc::new(SystemClock::new()),
            TrackingMetrics::default(),
        );
        let (templates, suppressions, statistics, webhooks, admin, tenants) =
            control(directory.path(), &events, &settings).await;
        let audit = admin.audit.clone();
        let clock = Arc::new(SetClock(AtomicI64::new(1_795_325_621_500)));
        let sending = sending(&store, &clock, &templates, &suppressions);
        let history = Arc::new(RelayHistory { suppressions: suppressions.clone(), bounces: Arc::default() });
        let validation = AddressValidation::new(Arc::new(NoNames), history, clock.clone(), 1_500);
        let tracking = Arc::new(tracking);
        let unsubscribe = Arc::new(UnsubscribeEndpoint::new(tracking.clone(), suppressions.clone()));
        let services = HttpServices {
            api: ApiServices::new(ApiParts {
                settings: settings.clone(),
                events,
                templates,
                suppressions,
                sending,
                tracking: tracking.clone(),
                unsubscribe: unsubscribe.clone(),
                statistics,
                webhooks,
                validation: Arc::new(validation),
                classify: Arc::new(KnowsUnknown),
                inspection: Arc::new(inspection()),
                contents: Arc::new(contents(&store, &settings, &clock, directory.path())),
                admin,
            }),
            tracking,
            unsubscribe,
            operations: OperationsServices {
                settings,
                ready: Arc::new(|| Ok(())),
                encode_metrics: Arc::new(|| Ok("# EOF\n".to_owned())),
                metrics_keys: Vec::new(),
                plugins: plugins.clone(),
                delivery: None,
                queue: QueueAdmin::new(store.clone(), clock.clone(), None, audit.clone()),
                tenants,
                started_at: 1_795_325_600_000,
                clock: clock.clone(),
                audit,
                inbox: None,
            },
            panel: PanelAccess::Open { tenant: "acme".to_owned(), csrf: "proof".to_owned() },
            trusted_proxies: Vec::new().into(),
            metrics: HttpMetrics::default(),
        };
        Self { clock, store, services, plugins, _directory: directory }
    }

    /// With a key for metrics.
    pub async fn with_metrics_key() -> Self {
        let mut world = Self::new().await;
        world.services.operations.metrics_keys = vec![("prometheus".to_owned(), digest(METRICS))];
        world
    }

    pub fn router(&self, listener: Listener) -> Router {
        router(listener, &self.services)
    }

    pub async fn ask(&self, listener: Listener, asked: Asked<'_>) -> Answer {
        let mut request = Request::builder().method(asked.method).uri(asked.path).header("host", asked.host);
        if let Some(key) = asked.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request.body(Body::from(asked.body.to_owned())).unwrap();
        self.send(listener, request).await
    }

    pub async fn send(&self, listener: Listener, request: Request<Body>) -> Answer {
        let response = self.router(listener).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// A request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub key: Option<&'a str>,
    pub host: &'a str,
    pub body: &'a str,
}

impl<'a> Asked<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, key: None, host: "api.test", body: "" }
    }

    pub fn key(self, key: &'a str) -> Self {
        Self { key: Some(key), ..self }
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// Knows one reply.
struct KnowsUnknown;

impl relevo_relay::delivery::Classify for KnowsUnknown {
    fn classify(&self, reply: &ReceiverReply) -> Option<Arc<Classification>> {
        reply.text.contains("unknown").then(|| {
            Arc::new(Classification {
                bounce_type: BounceType::Hard,
                category: "recipient_unknown".to_owned(),
                about: Subject::Recipient,
                action: Action::Suppress,
                rule: "unknown".to_owned(),
                rules_version: "1".to_owned(),
                explanation: Explanation { en: "Unknown.".to_owned(), es: "Desconocido.".to_owned() },
                doc: None,
            })
        })
    }
}
