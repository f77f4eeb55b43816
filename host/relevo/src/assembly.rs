//! Puts the parts together: the same for `serve` and `dev`, which differ in where mail goes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use relevo_http::inbox::Inbox;
use relevo_http::{
    ApiServices, ConnectionLimits, HttpMetrics, HttpServices, Listener, OperationsServices, Readiness,
};
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_policy::{PluginCollector, Plugins, PluginsConfig};
use relevo_queue::{EmbeddedStore, EventLog, Queue};
use relevo_relay::clock::{Clock, RandomIds, SystemClock};
use relevo_relay::copies::{Copies, MakeCopy};
use relevo_relay::delivery::{DeliveryCounters, DeliveryGauges, DeliveryHandle, DeliveryParts, Dial};
use relevo_relay::directory::{DirectoryRefresher, StoreSource};
use relevo_relay::intake::{Intake, IntakeMetrics};
use relevo_relay::metrics::{self as relay_metrics, QueueGauges, StageCounters};
use relevo_relay::pipeline::{Pipeline, PipelineMetrics};
use relevo_relay::sandbox::{Sandbox, permits};
use relevo_relay::settings::{Settings, SettingsHandle};
use relevo_relay::trace::TraceObserver;
use relevo_relay::tracking::{TrackingEndpoint, TrackingMetrics};
use relevo_resolve::Resolve;
use relevo_runtime::{Runtime, RuntimeConfig, Stages};
use relevo_smtp::server::{AuthThrottle, ListenerConfig, ListenerKind, ListenerLimits, Server, ServerTls};
use relevo_store::{ControlStore, StoreUrl};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_blocking};

use crate::config::{EventsConfig, ServerParts, SmtpConfig};
use crate::control::{self, Control};
use crate::metrics::{CertificateExpiry, LogCollector};
use crate::plugin_admin::PluginsOverHttp;
use crate::tasks::{self, MainTasks};
use crate::tls;

/// How long sessions and attempts under way may take when stopping.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// What everything else needs, made first.
pub(crate) struct Base {
    pub(crate) parts: ServerParts,
    pub(crate) settings: SettingsHandle,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) stages: Arc<dyn Stages>,
    /// The stages behind the scheduler that intake and delivery share.
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Where mail goes, and who watches it.
pub(crate) struct Outside {
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) dial: Arc<dyn Dial>,
    /// Wraps the maker of copies.
    pub(crate) copies: Box<dyn FnOnce(Copies) -> Arc<dyn MakeCopy> + Send>,
    pub(crate) observer: Option<Arc<dyn TraceObserver>>,
    pub(crate) inbox: Option<Arc<Inbox>>,
}

impl Base {
    /// Opens the store and loads the components, which are compiled at the first start: that takes its time. None when
    /// `stop` came first; the store is closed again, and a compiler at work is left to the end of the process.
    pub(crate) async fn open(
        parts: ServerParts,
        mut settings: Settings,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Option<Self>> {
        let (data_dir, config) = (parts.data_dir.clone(), parts.queue.clone());
        let store = spawn_blocking(move || EmbeddedStore::open(&data_dir, config)).await??;
        complete_tracking_keys(&parts.data_dir, &mut settings)?;
        tracing::info!("loading the components");
        let config = RuntimeConfig {
            cache_dir: Some(parts.data_dir.join("components")),
            calls: permits(),
            ..RuntimeConfig::default()
        };
        let stages: Arc<dyn Stages> = tokio::select! {
            loaded = spawn_blocking(move || Runtime::new(config)) => loaded??,
            () = stop => {
                store.close().await;
                return Ok(None);
            }
        };
        let (sandbox, clock) = (Sandbox::new(stages.clone()), Arc::new(SystemClock::new()));
        Ok(Some(Self { parts, settings: SettingsHandle::new(settings), store, stages, sandbox, clock }))
    }
}

/// Without configured keys one lives in the data directory.
pub(crate) fn complete_tracking_keys(data_dir: &Path, settings: &mut Settings) -> anyhow::Result<()> {
    if settings.tracking_keys.0.is_empty() {
        let (secret, warning) = relevo_keys::load_or_create_secret(&data_dir.join("tracking.key"))?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        settings.tracking_keys = TokenKeys(vec![TokenKey { id: "own".to_owned(), secret }]);
    }
    Ok(())
}

/// A relay that runs.
pub(crate) struct RunningRelay {
    pub(crate) settings: SettingsHandle,
    pub(crate) smtp: Vec<Server>,
    expiry: CertificateExpiry,
    store: Arc<EmbeddedStore>,
    control_store: Arc<ControlStore>,
    /// The source of the directory is to be read again: files of keys may have changed.
    reread_directory: Arc<Notify>,
    delivery: DeliveryHandle,
    plugins: Arc<Plugins>,
    tracking: Arc<TrackingEndpoint>,
    stop: watch::Sender<bool>,
    tasks: MainTasks,
}

/// What a reload puts in force.
pub(crate) struct Reloaded {
    settings: Settings,
    tls: ServerTls,
}

impl Reloaded {
    /// Reads the files that the settings need beside those that are read with the configuration. It may block.
    pub(crate) fn read(data_dir: &Path, smtp: &SmtpConfig, mut settings: Settings) -> anyhow::Result<Self> {
        complete_tracking_keys(data_dir, &mut settings)?;
        let tls = certificate(smtp, &settings.hostname)?;
        Ok(Self { settings, tls })
    }
}

/// Opens listeners and starts delivery.
pub(crate) async fn start(base: Base, outside: Outside, dev: bool) -> anyhow::Result<RunningRelay> {
    let Base { parts, settings, store, stages, sandbox, clock } = base;
    let queue: Arc<dyn Queue> = store.clone();
    let events: Arc<dyn EventLog> = store.clone();
    let mut tasks = MainTasks::new();
    let mut registry = relay_metrics::registry();
    registry.register_collector(Box::new(LogCollector));
    QueueGauges::register(&mut registry, queue.clone(), clock.clone());
    StageCounters::register(&mut registry, stages);
    let expiry = CertificateExpiry::register(&mut registry);

    let control_store = open_control_store(&parts.store).await?;
    let source = Arc::new(StoreSource::new(control_store.clone(), parts.data_dir.clone()));
    let mut directory = DirectoryRefresher::new(source, settings.clone());
    if let Err(error) = directory.refresh().await {
        tracing::error!(%error, "the directory cannot be read from the store; only the configuration file counts for now");
    }

    let mut copies = Copies::new(queue.clone(), sandbox.clone(), settings.clone(), clock.clone());
    if let Some(observer) = &outside.observer {
        copies = copies.observed(observer.clone());
    }
    let plugins = open_plugins(&parts.data_dir, &settings, &clock, Some(events.clone())).await?;
    PluginCollector::register(&mut registry, plugins.clone());
    let delivery = DeliveryParts {
        queue: queue.clone(),
        resolve: outside.resolve,
        dial: outside.dial,
        copies: (outside.copies)(copies),
        settings: Arc::new(settings.clone()),
        observe: Arc::new(DeliveryCounters::register(&mut registry)),
        listener: Some(plugins.clone()),
        clock: clock.clone(),
        ids: Arc::new(RandomIds),
        seed: seed()?,
    }
    .start();
    DeliveryGauges::register(&mut registry, delivery.clone());

    let telling = delivery.clone();
    let pipeline = Pipeline {
        queue: queue.clone(),
        events: events.clone(),
        sandbox,
        clock: clock.clone(),
        ids: Arc::new(RandomIds),
        metrics: PipelineMetrics::new(&mut registry),
        observer: outside.observer,
        checks: vec![plugins.clone()],
        recipient_refused: Arc::new(move || telling.refused()),
    };
    let intake = Intake::new(pipeline, settings.clone(), IntakeMetrics::new(&mut registry))?;
    let smtp = listen_smtp(&parts.smtp, &settings.get().hostname, &Arc::new(intake), &expiry)?;

    let http_metrics = HttpMetrics::register(&mut registry);
    let tracking = Arc::new(TrackingEndpoint::new(
        settings.clone(),
        queue.clone(),
        events.clone(),
        clock.clone(),
        TrackingMetrics::register(&mut registry),
    ));
    let http = HttpServices {
        api: ApiServices::new(settings.clone(), events.clone()),
        tracking: tracking.clone(),
        operations: OperationsServices {
            settings: settings.clone(),
            ready: readiness(&queue, tasks.watch()),
            encode_metrics: Arc::new(move || relay_metrics::encode(&registry)),
            metrics_keys: parts.http.metrics_keys.clone(),
            plugins: Arc::new(PluginsOverHttp(plugins.clone())),
            inbox: outside.inbox,
        },
        trusted_proxies: parts.http.trusted_proxies.clone().into(),
        metrics: http_metrics,
    };
    tasks.spawn("delivery", delivery.ended());
    let (stop, stopped) = watch::channel(false);
    for server in &smtp {
        tasks.spawn(format!("the smtp listener {}", server.local_addr()), server.ended());
    }
    for (kind, addresses) in parts.http.listeners(dev) {
        listen_http(kind, addresses, &http, &parts.http.connection_limits(), &stopped, &mut tasks).await?;
    }

    let explaining = delivery.clone();
    let control = Control {
        queue,
        clock: clock.clone(),
        explain: Arc::new(move |view| serde_json::to_value(explaining.why_of(view)).unwrap_or_default()),
        delivery: delivery.clone(),
        plugins: plugins.clone(),
    };
    let socket = control::bind(&parts.data_dir)
        .with_context(|| format!("the control socket in {} cannot be made", parts.data_dir.display()))?;
    tasks.spawn("the control socket", control::serve(socket, control));
    let repeats = tracking.clone();
    tasks.spawn("the writer of repeated clicks and opens", async move { repeats.write_repeats().await });
    tasks.spawn("the removal of old events", prune(events, clock, parts.events));
    let reread_directory = Arc::new(Notify::new());
    tasks.spawn("the directory of the store", directory.run(reread_directory.clone()));
    Ok(RunningRelay {
        settings,
        smtp,
        expiry,
        store,
        control_store,
        reread_directory,
        delivery,
        plugins,
        tracking,
        stop,
        tasks,
    })
}

/// The store of control-plane data.
async fn open_control_store(url: &StoreUrl) -> anyhow::Result<Arc<ControlStore>> {
    Ok(Arc::new(ControlStore::open(url).await.with_context(|| format!("{url} cannot be opened"))?))
}

/// Opens the plugins. `events` is the event log of a running relay; none for a command that changes what a relay
/// will use.
pub(crate) async fn open_plugins(
    data_dir: &Path,
    settings: &SettingsHandle,
    clock: &Arc<dyn Clock>,
    events: Option<Arc<dyn EventLog>>,
) -> anyhow::Result<Arc<Plugins>> {
    let config = PluginsConfig {
        directory: data_dir.join("plugins"),
        program: std::env::current_exe().context("where this program is")?,
        serving: events.is_some(),
        events,
    };
    Plugins::open(config, settings.clone(), clock.clone()).await.context("plugins")
}

fn seed() -> anyhow::Result<u64> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    Ok(u64::from_ne_bytes(octets))
}

fn listen_smtp(
    config: &SmtpConfig,
    hostname: &str,
    intake: &Arc<Intake>,
    expiry: &CertificateExpiry,
) -> anyhow::Result<Vec<Server>> {
    let tls = certificate(config, hostname)?;
    expiry.set(tls::expires_at(tls.leaf()));
    let throttle = Arc::new(AuthThrottle::default());
    let mut limits = ListenerLimits {
        connections: config.max_connections,
        connections_per_peer: config.max_connections_per_peer,
        ..ListenerLimits::default()
    };
    limits.session.message_size = config.intake.max_message_size;
    let kinds = [
        (&config.submission, ListenerKind::Submission),
        (&config.submissions, ListenerKind::Submissions),
        (&config.relay, ListenerKind::Relay),
    ];
    let mut servers = Vec::new();
    for ((addresses, kind), bare_newlines) in kinds.into_iter().zip(config.bare_newlines) {
        for addr in addresses {
            let listener = ListenerConfig {
                addr: *addr,
                kind,
                hostname: hostname.to_owned(),
                tls: Some(tls.clone()),
                limits: limits.clone(),
                bare_newlines,
                throttle: throttle.clone(),
            };
            let server =
                Server::bind(listener, intake.clone()).with_context(|| format!("cannot listen on {addr}"))?;
            tracing::info!(address = %server.local_addr(), ?kind, "smtp");
            servers.push(server);
        }
    }
    Ok(servers)
}

/// The configured certificate, or one made now.
pub(crate) fn certificate(config: &SmtpConfig, hostname: &str) -> anyhow::Result<ServerTls> {
    match &config.tls {
        Some((chain, key)) => tls::load(chain, key),
        None => tls::self_signed(hostname),
    }
}

fn readiness(queue: &Arc<dyn Queue>, tasks: tasks::Watch) -> Readiness {
    let queue = queue.clone();
    Arc::new(move || match tasks.ended() {
        Some(task) => Err(format!("{task} has ended")),
        None => queue.ready().map_err(|error| error.to_string()),
    })
}

async fn listen_http(
    kind: Listener,
    addresses: &[SocketAddr],
    services: &HttpServices,
    limits: &ConnectionLimits,
    stopped: &watch::Receiver<bool>,
    tasks: &mut MainTasks,
) -> anyhow::Result<()> {
    for addr in addresses {
        let listener = TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?;
        let local = listener.local_addr()?;
        tracing::info!(address = %local, kind = kind.name(), "http");
        let router = relevo_http::router(kind, services);
        let metrics = services.metrics.of(kind);
        let served = relevo_http::serve(listener, router, limits.clone(), metrics, stopped.clone());
        tasks.spawn(format!("the http listener {local}"), served);
    }
    Ok(())
}

/// Removes events that are too old or too many, a bounded number at a time.
async fn prune(events: Arc<dyn EventLog>, clock: Arc<dyn Clock>, config: EventsConfig) {
    let retention = i64::try_from(config.retention.as_millis()).unwrap_or(i64::MAX);
    loop {
        match events.prune(clock.now().saturating_sub(retention), config.max_events).await {
            Ok(0) => tokio::time::sleep(Duration::from_secs(600)).await,
            Ok(removed) => tracing::debug!(removed, "events pruned"),
            Err(error) => {
                tracing::error!(%error, "events cannot be pruned");
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
        }
    }
}

impl RunningRelay {
    /// Says which main task has ended.
    pub(crate) fn main_tasks(&self) -> tasks::Watch {
        self.tasks.watch()
    }

    /// Puts other settings and the certificate in force; sessions and attempts under way keep theirs.
    pub(crate) fn reload(&self, Reloaded { settings, tls }: Reloaded) -> anyhow::Result<()> {
        for server in &self.smtp {
            server.set_tls(&tls)?;
        }
        self.expiry.set(tls::expires_at(tls.leaf()));
        self.settings.replace(settings);
        self.reread_directory.notify_one();
        let plugins = self.plugins.clone();
        tokio::spawn(async move { plugins.refresh().await });
        Ok(())
    }

    /// Drains: no new connections, sessions and attempts under way finish, then the store is closed.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let mut sessions = JoinSet::new();
        for server in self.smtp.drain(..) {
            sessions.spawn(server.stop(DRAIN));
        }
        let drained = async { while sessions.join_next().await.is_some() {} };
        tokio::join!(drained, self.delivery.stop(DRAIN));
        self.plugins.write_recordings().await;
        self.tasks.shutdown().await;
        self.tracking.flush().await;
        self.control_store.close().await;
        self.store.close().await;
    }
}
