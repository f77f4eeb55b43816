//! The native host in the process: its routers, its pipeline and its components, with a clock and a
//! randomness that stand still, and a queue that tells what was accepted.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use relevo_fetch::Fetcher;
use relevo_http::{
    AdminServices, ApiLimits, ApiParts, ApiServices, BodyLimit, HttpMetrics, HttpServices, Listener,
    OperationsServices, PanelAccess, PluginAdmin, PluginRequest, PluginResponse, RequestError, UserAccess,
    router,
};
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::testing::TestQueue;
use relevo_queue::{EventHistory, EventLog, ItemId, Millis};
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::{Clock, IdSource};
use relevo_relay::contents::{Contents, ContentsParts, KeptMessages};
use relevo_relay::copies::Copies;
use relevo_relay::directory::{DirectoryEntries, DirectoryRefresher, StoreSource};
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
    ApiKey, DeliverySettings, Domain, IntakeSettings, PluginServer, Settings, SettingsHandle, Tenant,
    Tracking, TrackingLimits,
};
use relevo_relay::suppressions::Suppressions;
use relevo_relay::templates::Templates;
use relevo_relay::tenants::Tenants;
use relevo_relay::topics::Topics;
use relevo_relay::tracking::{TrackingEndpoint, TrackingMetrics};
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_relay::users::{Users, UsersConfig};
use relevo_relay::validation::{AddressValidation, RelayHistory};
use relevo_resolve::IpFamily;
use relevo_resolve::testing::NoNames;
use relevo_runtime::{Runtime, RuntimeConfig};
use relevo_scenarios::edge::RANDOM;
use relevo_statistics::Statistics;
use relevo_store::{ControlStore, DirectoryStore, StoreUrl};
use relevo_webhooks::{WebhookConfig, WebhookMetrics, WebhookParts, Webhooks};
use rustls::RootCertStore;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

/// Keys of the tenant: that of a caller, and that of the gateway.
pub const KEYS: [&str; 2] = ["rv_caller", "rv_core"];

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

/// Ids of messages: the same in every host at the same time.
struct FixedIds;

impl IdSource for FixedIds {
    fn item_id(&self, now: Millis) -> io::Result<ItemId> {
        Ok(ItemId::new(now, [RANDOM; 10]))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        Ok([RANDOM; 16])
    }
}

/// Ids of everything else: the same in every host in the same order.
struct CountedIds(AtomicU8);

impl IdSource for CountedIds {
    fn item_id(&self, now: Millis) -> io::Result<ItemId> {
        Ok(ItemId::new(now, [self.0.fetch_add(1, Ordering::SeqCst); 10]))
    }
}

struct NoPlugins;

impl PluginAdmin for NoPlugins {
    fn body_limit(&self, _: &PluginRequest) -> Result<BodyLimit, RequestError> {
        Err(RequestError::NotFound("no such plugin".to_owned()))
    }

    fn run(&self, _: &str, _: PluginRequest, _: Vec<u8>) -> PluginResponse {
        Box::pin(async { Err(RequestError::NotFound("no such plugin".to_owned())) })
    }
}

/// A host.
pub struct Native {
    pub clock: Arc<SetClock>,
    pub queue: Arc<TestQueue>,
    services: HttpServices,
    _folder: tempfile::TempDir,
}

impl Native {
    pub async fn start(now: Millis) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(now)));
        let queue = Arc::new(TestQueue::open().unwrap());
        let settings = SettingsHandle::new(settings());
        let (api, tenants, tracking, unsubscribe) = api(folder.path(), &clock, &queue, &settings).await;
        let (tenants, audit) = tenants;
        let services = HttpServices {
            api,
            tracking,
            unsubscribe,
            operations: OperationsServices {
                settings,
                ready: Arc::new(|| Ok(())),
                encode_metrics: Arc::new(|| Ok(String::new())),
                metrics_keys: Vec::new(),
                plugins: Arc::new(NoPlugins),
                delivery: None,
                queue: QueueAdmin::new(queue.clone(), clock.clone(), None, audit.clone()),
                tenants,
                started_at: now,
                clock: clock.clone(),
                audit,
                inbox: None,
            },
            panel: PanelAccess::Open { tenant: "acme".to_owned(), csrf: "proof".to_owned() },
            trusted_proxies: Vec::new().into(),
            metrics: HttpMetrics::default(),
        };
        Self { clock, queue, services, _folder: folder }
    }

    pub fn router(&self) -> Router {
        router(Listener::Api, &self.services)
    }
}

/// Asks a host over no network.
pub async fn ask(router: Router, mut request: Request<Bytes>) -> Response<Bytes> {
    let target = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    *request.uri_mut() = target;
    request.headers_mut().insert("host", "api.example.com".parse().unwrap());
    let (parts, body) = router.oneshot(request.map(Body::from)).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn api(
    folder: &Path,
    clock: &Arc<SetClock>,
    queue: &Arc<TestQueue>,
    settings: &SettingsHandle,
) -> (ApiServices, (Arc<Tenants>, Arc<AuditLog>), Arc<TrackingEndpoint>, Arc<UnsubscribeEndpoint>) {
    let store = Arc::new(ControlStore::open(&StoreUrl::File(folder.join("control.sqlite"))).await.unwrap());
    let (ids, time): (Arc<dyn IdSource>, Arc<dyn Clock>) =
        (Arc::new(CountedIds(AtomicU8::new(0))), clock.clone());
    let events: Arc<dyn EventHistory> = queue.clone();
    let topics = Topics::new(store.clone(), time.clone(), ids.clone());
    let opened =
        Suppressions::open(store.clone(), events.clone(), time.clone(), ids.clone(), topics).await.unwrap();
    let suppressions = Arc::new(opened);
    let sandbox = Sandbox::new(Runtime::new(RuntimeConfig::beside_executable()).unwrap());
    let for_content = sandbox.clone();
    let templates = Templates::new(store.clone(), sandbox.clone(), time.clone(), ids.clone());
    let pipeline = Pipeline {
        templates: Some(templates.clone()),
        queue: queue.clone(),
        events: events.clone(),
        sandbox,
        clock: time.clone(),
        ids: Arc::new(FixedIds),
        metrics: PipelineMetrics::default(),
        observer: None,
        checks: vec![suppressions.clone()],
        quotas: None,
        recipient_refused: Arc::new(|| {}),
    };
    let sending = Sending::new(pipeline, templates.clone(), suppressions.clone(), fetcher());
    let metrics = TrackingMetrics::default();
    let endpoint =
        TrackingEndpoint::new(settings.clone(), queue.clone(), events.clone(), time.clone(), metrics);
    let tracking = Arc::new(endpoint);
    let unsubscribe = Arc::new(UnsubscribeEndpoint::new(tracking.clone(), suppressions.clone()));
    let history = RelayHistory { suppressions: suppressions.clone(), bounces: Arc::default() };
    let validation = AddressValidation::new(Arc::new(NoNames), Arc::new(history), time.clone(), 1_000);
    let admin = administration(folder, &store, settings, &time, &ids);
    let audit = admin.audit.clone();
    let source = Arc::new(StoreSource::new(store.clone(), folder.to_owned()));
    let refresher = Arc::new(DirectoryRefresher::new(source, settings.clone()));
    let from = (store.clone() as Arc<dyn DirectoryStore>, refresher);
    let tenants = Tenants::new(from, settings.clone(), admin.domains.clone(), admin.quotas.clone());
    let contents = Contents::new(ContentsParts {
        queue: queue.clone(),
        kept: Arc::new(KeptMessages::new(folder)),
        copies: Copies::new(queue.clone(), for_content.clone(), settings.clone(), time.clone()),
        emails: Emails::new(events.clone()),
        sandbox: for_content.clone(),
    });
    let parts = ApiParts {
        contents: Arc::new(contents),
        tracking: tracking.clone(),
        unsubscribe: unsubscribe.clone(),
        settings: settings.clone(),
        events: events.clone(),
        templates,
        suppressions,
        sending,
        statistics: Statistics::new(store.clone(), "statistics"),
        webhooks: webhooks(&store, events),
        validation: Arc::new(validation),
        classify: Arc::new(relevo_relay::delivery::Unclassified),
        inspection: Arc::new(ContentInspection::new(for_content)),
        admin,
    };
    (ApiServices::new(parts), (Arc::new(tenants), audit), tracking, unsubscribe)
}

fn fetcher() -> Fetcher {
    Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), Vec::new()).unwrap()
}

fn webhooks(store: &Arc<ControlStore>, events: Arc<dyn EventLog>) -> Webhooks {
    Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store.clone(),
        events,
        node: "n1".to_owned(),
        fetcher: fetcher(),
        now: Arc::new(|| 0),
        metrics: WebhookMetrics::default(),
        config: WebhookConfig::default(),
    })
}

fn administration(
    folder: &Path,
    store: &Arc<ControlStore>,
    settings: &SettingsHandle,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
) -> AdminServices {
    AdminServices {
        keys: Arc::new(ApiKeys::new(store.clone(), None, clock.clone(), ids.clone())),
        domains: Arc::new(Domains::new(
            (store.clone(), None),
            settings.clone(),
            Arc::new(NoNames),
            folder.to_owned(),
            (clock.clone(), ids.clone()),
        )),
        health: DomainHealth::new(Arc::new(NoNames), None, Arc::new(Vec::new), clock.clone()),
        reputation: Arc::new(Reputation::open(
            ReputationConfig::default(),
            Arc::new(NoNames),
            settings.clone(),
            clock.clone(),
            folder.join(relevo_relay::reputation::FILE),
            ReputationMetrics::default(),
        )),
        quotas: Arc::new(Quotas::new(store.clone(), clock.clone())),
        audit: Arc::new(AuditLog::new(store.clone(), clock.clone(), ids.clone())),
        panel: UserAccess {
            users: Arc::new(Users::new(store.clone(), clock.clone(), ids.clone(), UsersConfig::default())),
            oidc: None,
            audit: Arc::new(AuditLog::new(store.clone(), clock.clone(), ids.clone())),
            url: "https://mail.example.com".into(),
        },
        clock: clock.clone(),
        limits: ApiLimits::default(),
    }
}

/// One tenant with `example.com`, which is tracked.
fn tenants() -> DirectoryEntries {
    let tenant = Tenant {
        id: "acme".to_owned(),
        networks: Vec::new(),
        max_held: 2,
        plugins: Vec::new(),
        grants: Arc::default(),
        quota: Default::default(),
        requests_per_second: None,
        suppression: Default::default(),
        keep_content: None,
        dsn: true,
    };
    let tracking = Tracking {
        url: "https://t.example.com".to_owned(),
        opens: true,
        clicks: true,
        text_links: false,
        rewrite_signed: false,
    };
    let domain = Domain {
        name: "example.com".to_owned(),
        tenant: "acme".to_owned(),
        dkim: Vec::new(),
        tracking: Some(tracking),
        grants: Arc::default(),
        enforce_tls: false,
    };
    let key = |key: &str| (Sha256::digest(key).into(), ApiKey::unlimited("acme", "test"));
    DirectoryEntries {
        by_id: [("acme".to_owned(), Arc::new(tenant))].into(),
        by_domain: [("example.com".to_owned(), Arc::new(domain))].into(),
        by_api_key: KEYS.map(key).into(),
        by_tracking_host: [("t.example.com".to_owned(), "acme".to_owned())].into(),
        ..DirectoryEntries::default()
    }
}

fn settings() -> Settings {
    Settings {
        returns: relevo_relay::settings::ReturnSettings::default(),
        hostname: "mta.example.com".to_owned(),
        postmaster: "postmaster@example.com".to_owned(),
        intake: IntakeSettings {
            max_message_size: 1 << 20,
            max_recipients: 100,
            recipients_per_hour: 1_000,
            strict_headers: false,
            trusted_networks: Vec::new(),
        },
        delivery: DeliverySettings {
            port: 25,
            ip: IpFamily::Any,
            source_ipv4: None,
            source_ipv6: None,
            ehlo: "mta.example.com".to_owned(),
            allow_networks: Vec::new(),
            own_addresses: Vec::new(),
            retry: vec![Duration::from_secs(60)],
            expire: Duration::from_secs(5 * 24 * 3600),
            delay_report: Duration::from_secs(4 * 3600),
            smarthost: None,
            pools: HashMap::new(),
            routes: HashMap::new(),
            connections_per_site: 1,
            max_connections: 1,
            messages_per_connection: 1,
            recipients_per_transaction: 100,
            shaping: Arc::default(),
            record_conversations: false,
        },
        tracking_keys: TokenKeys(vec![TokenKey { id: "k1".to_owned(), secret: vec![7; 32] }]),
        tracking: TrackingLimits::default(),
        unsubscribe_mailbox: None,
        directory: tenants().into(),
        plugins: PluginServer::default(),
    }
}
