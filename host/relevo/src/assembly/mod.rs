//! Puts the parts together: the same for `serve` and `dev`, which differ in where mail goes.

mod auth;
mod base;
mod cluster;
mod listeners;
mod reputation;
mod running;
mod services;
mod shaping;
mod shard_readers;
mod suppression;
mod tls;
mod users;
mod validation;
mod webhooks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus_client::registry::Registry;
use relevo_fetch::Fetcher;
use relevo_http::inbox::Inbox;
use relevo_http::{ApiParts, ApiServices, PanelAccess};
use relevo_policy::{PluginCollector, Plugins, PluginsConfig};
use relevo_queue::{EventLog, MailStore};
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::{Clock, RandomIds};
use relevo_relay::contents::{Contents, ContentsParts};
use relevo_relay::copies::{Copies, MakeCopy};
use relevo_relay::delivery::shaping::Shaping;
use relevo_relay::delivery::{
    DeliveryCounters, DeliveryGauges, DeliveryHandle, DeliveryParts, Dial, NoTlsPolicies, PreparedDelivery,
    TlsPolicies,
};
use relevo_relay::directory::{DirectoryRefresher, StoreSource};
use relevo_relay::emails::Emails;
use relevo_relay::health::DomainHealth;
use relevo_relay::intake::{Intake, IntakeMetrics};
use relevo_relay::pipeline::{Pipeline, PipelineMetrics};
use relevo_relay::policy::Check;
use relevo_relay::quota::Quotas;
use relevo_relay::returns::{ReturnMetrics, ReturnParts, Returns};
use relevo_relay::sending::Sending;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::templates::Templates;
use relevo_relay::topics::Topics;
use relevo_relay::trace::TraceObserver;
use relevo_relay::tracking::{TrackingEndpoint, TrackingMetrics};
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_resolve::{LookUp, Resolve};
use relevo_smtp::client::root_certificates;
use relevo_statistics::{Statistics, StatisticsMetrics, StatisticsReader, reader_name};
use relevo_store::{ControlStore, StoreUrl};
use tokio::sync::{Notify, watch};

use crate::config::EventsConfig;
use crate::metrics::CertificateExpiry;
use crate::plugin_admin::AuditedPlugins;
use crate::tasks::MainTasks;

pub(crate) use base::Base;
use cluster::SharedLimits;
pub(crate) use cluster::engine as cluster_engine;
use listeners::{HttpListeners, listen_smtp};
pub(crate) use running::{Reloaded, RunningRelay};
use services::{administration, control, http_services, tenants};
use shaping::{restore_shaping, shaping_keeper};
use shard_readers::ShardReaders;
use tls::TlsServices;
pub(crate) use tls::domain_policies;
pub(crate) use validation::inspection_with;

/// Where mail goes, and who watches it.
pub(crate) struct Outside {
    pub(crate) resolve: Arc<dyn Resolve>,
    /// Says what is published of a tenant's domain, at this moment.
    pub(crate) published: Arc<dyn Resolve>,
    /// Says how a domain stands.
    pub(crate) health: DomainHealth,
    /// Asks block lists.
    pub(crate) lookups: Arc<dyn LookUp>,
    pub(crate) dial: Arc<dyn Dial>,
    /// Wraps the maker of copies.
    pub(crate) copies: Box<dyn FnOnce(Copies) -> Arc<dyn MakeCopy> + Send>,
    pub(crate) observer: Option<Arc<dyn TraceObserver>>,
    pub(crate) inbox: Option<Arc<Inbox>>,
    pub(crate) panel: Option<PanelAccess>,
}

/// Opens listeners, then starts delivery. A start that fails has attempted nothing, so that nothing
/// is sent again by the next one.
pub(crate) async fn start(base: Base, outside: Outside, dev: bool) -> anyhow::Result<RunningRelay> {
    let Outside { resolve, published, health, lookups, dial, copies, observer, inbox, panel: access } =
        outside;
    let (outside_names, fetch_names) = (resolve.clone(), resolve.clone());
    let mut tasks = MainTasks::new();
    let mut registry = base.registry();
    let expiry = CertificateExpiry::register(&mut registry);
    if let Some(cluster) = &base.cluster {
        cluster.register_metrics(&mut registry);
    }
    let (control_store, directory) = open_directory(&base).await?;
    let (events, clock): (Arc<dyn EventLog>, _) = (base.store.clone(), base.clock.clone());
    let data_dir = &base.parts.data_dir;
    let plugins =
        open_plugins(data_dir, control_store.clone(), &base.settings, &clock, Some(events.clone())).await?;
    PluginCollector::register(&mut registry, plugins.clone());
    let copies = copies(base.copies(observer.as_ref()));
    let suppressions = suppressions(&base, &control_store).await?;
    let (validation, bounces) = validation::validation(&base, resolve.clone(), suppressions.clone());
    let (node, of_node) = ((&base.parts, base.clock.clone()), (&control_store, base.store.clone()));
    let webhooks = webhooks::webhooks(node, of_node, resolve.clone(), &mut registry)?;
    let (tls, tls_keeper) = tls_policies(&base, &control_store, resolve.clone(), dev).await?;
    let outside = ((resolve.clone(), tls), dial, copies);
    let shaping = restore_shaping(&base, &control_store).await?;
    let prepared = prepare_delivery(&base, (&plugins, &suppressions), (outside, shaping), &mut registry)?;
    let shared_limits = match &base.cluster {
        Some(cluster) => cluster.limits(&mut registry).await?,
        None => None,
    };
    let prepared = match &shared_limits {
        Some(limits) => prepared.sharing(limits.shares.clone()),
        None => prepared,
    };
    let delivery = prepared.handle();
    if let Some(limits) = &shared_limits {
        limits.retrying(delivery.clone());
    }
    let returns = returns(&base, (resolve, lookups.clone()), delivery.clone(), &mut registry);
    let quotas = open_quotas(&base, &control_store).await;
    let templates = templates(&base, &control_store);
    let reputation = reputation::open(&base, lookups, &mut registry);
    let checks: Vec<Arc<dyn Check>> = vec![suppressions.clone(), reputation.clone(), plugins.clone()];
    let pipeline = pipeline(&base, (checks, &templates, &quotas), &delivery, observer, &mut registry);
    let fetcher = attachment_fetcher(&base, outside_names)?;
    let sending = Sending::new(pipeline.clone(), templates.clone(), suppressions.clone(), fetcher);
    let metrics = IntakeMetrics::new(&mut registry);
    let intake = Intake::new(pipeline, suppressions.clone(), base.settings.clone(), metrics)?;
    let intake = intake.with_returns(returns);
    let intake = Arc::new(match auth::access_tokens(&base, fetch_names.clone())? {
        Some(tokens) => intake.with_tokens(tokens),
        None => intake,
    });
    // Before what accepts mail, as it may fail.
    let socket = crate::control::bind(data_dir)
        .with_context(|| format!("the control socket in {} cannot be made", data_dir.display()))?;
    let decoys = auth::scram_decoys(&base.parts.smtp.auth, data_dir)?;
    let smtp = listen_smtp(&base.parts.smtp, decoys, &base.settings.get().hostname, &intake, &expiry)?;
    for server in &smtp {
        tasks.spawn(format!("the smtp listener {}", server.local_addr()), server.ended());
    }

    let tracking = Arc::new(tracking(&base, &mut registry));
    let unsubscribe = Arc::new(UnsubscribeEndpoint::new(tracking.clone(), suppressions.clone()));
    let statistics = Statistics::new(control_store.clone(), &reader_name(base.store.id()));
    let of_node = (&control_store, base.store.clone());
    let reader = statistics_reader(base.clock.clone(), of_node, &mut registry);
    let (node, all) = ((&base.parts, base.settings.clone()), (&suppressions, base.store.clone()));
    let rules = suppression::rules(node, &control_store, all, &mut registry);
    let others = base.cluster.as_ref().map(|cluster| ShardReaders {
        shards: cluster.shards.clone(),
        parts: base.parts.clone(),
        settings: base.settings.clone(),
        clock: base.clock.clone(),
        store: control_store.clone(),
        suppressions: suppressions.clone(),
        bounces: bounces.clone(),
        resolve: fetch_names.clone(),
    });
    let listed = suppressions.clone();
    let panel = users::open(&base, &control_store, fetch_names.clone())?;
    let admin = administration(
        &base,
        &control_store,
        (&directory, published, health),
        (&quotas, &reputation, &panel),
    );
    reputation::spawn(&mut tasks, &base, &reputation, &statistics);
    let (keys, audit) = (admin.keys.clone(), admin.audit.clone());
    let tenants = tenants(&base, &control_store, &directory, &admin);
    let audited = AuditedPlugins { plugins: plugins.clone(), audit: audit.clone() };
    let (settings, events_of) = (base.settings.clone(), base.all.events.clone());
    let api = ApiServices::new(ApiParts {
        settings,
        events: events_of,
        templates,
        suppressions,
        sending,
        tracking: tracking.clone(),
        unsubscribe: unsubscribe.clone(),
        statistics,
        webhooks: webhooks.clone(),
        validation,
        classify: base.classifier.clone(),
        inspection: Arc::new(validation::inspection(&base, fetch_names)?),
        contents: Arc::new(contents(&base)),
        admin,
    });
    let people = panel.users.clone();
    tasks.spawn("the removal of sessions that have ended", async move { people.run().await });
    let access = access.unwrap_or_else(|| PanelAccess::Users(panel.clone()));
    let public = (tracking.clone(), unsubscribe, api, access);
    let http =
        http_services(&base, audited.clone(), public, (inbox, &delivery, tenants), tasks.watch(), registry);
    let (stop, stopped) = watch::channel(false);
    let limits = base.parts.http.connection_limits();
    let listeners = HttpListeners::bind(&base.parts.http.listeners(dev)).await?;
    listeners.serve(&http, &limits, &stopped, &mut tasks);

    tasks.spawn(
        "the control socket",
        crate::control::serve(socket, control(&base, audited, &delivery, listed)),
    );
    let repeats = tracking.clone();
    tasks.spawn("the writer of repeated clicks and opens", async move { repeats.write_repeats().await });
    tasks.spawn("the reader of statistics", reader.run());
    let bounced = events.clone();
    tasks.spawn("the reader of bounces", async move { bounces.run(bounced).await });
    tasks.spawn("the rules of suppression", rules.run());
    let allotters = shared_limits.as_ref().map(SharedLimits::allotters);
    if let Some(limits) = shared_limits {
        tasks.spawn("what other nodes are asked and answered", limits.run());
    }
    if let Some(others) = others {
        tasks.spawn("the readers of shards that were taken over", others.run());
    }
    let keeping = base.queue.clone();
    tasks.spawn("the removal of content that was kept", async move { keeping.prune().await });
    tasks.spawn("the removal of old events", prune(events, clock, base.parts.events));
    let reread_directory = Arc::new(Notify::new());
    tasks.spawn("webhooks", async move { webhooks.run().await });
    let reread = reread_directory.clone();
    let told = control_store.clone();
    tasks.spawn("the listener for changes of the store", async move { told.listen().await });
    tasks.spawn("the directory of the store", async move { directory.run(reread).await });
    spawn_writers(&mut tasks, &keys, &quotas, audit, base.parts.events.audit_retention);
    let shaping = shaping_keeper(&base, &control_store, &delivery);
    let keeper = shaping.clone();
    tasks.spawn("the writer of suspensions and counts of warm-up", async move { keeper.run().await });
    if let Some(keeper) = tls_keeper.clone() {
        tasks.spawn("the keeper of TLS policies and reports", keeper.run());
    }
    if !dev {
        users::announce(&panel).await;
    }
    // Last: nothing can fail any more.
    tasks.spawn("delivery", prepared.start().ended());
    let Base { settings, store, cluster, classifier, .. } = base;
    Ok(RunningRelay {
        settings,
        classifier,
        smtp,
        expiry,
        store,
        cluster,
        control_store,
        reread_directory,
        delivery,
        plugins,
        tracking,
        keys,
        quotas,
        shaping,
        tls: tls_keeper,
        allotters,
        stop,
        tasks,
    })
}

/// The tasks that write what is counted in memory, and remove what is too old.
fn spawn_writers(
    tasks: &mut MainTasks,
    keys: &Arc<ApiKeys>,
    quotas: &Arc<Quotas>,
    audit: Arc<AuditLog>,
    audit_retention: Duration,
) {
    let (keys, quotas) = (keys.clone(), quotas.clone());
    tasks.spawn("the writer of the use of API keys", async move { keys.run().await });
    tasks.spawn("the writer of the use of quotas", async move { quotas.run().await });
    tasks.spawn("the removal of old acts", async move { audit.run(audit_retention).await });
}

/// Reads what tenants have sent before the start. If it cannot be read, they begin anew.
async fn open_quotas(base: &Base, store: &Arc<ControlStore>) -> Arc<Quotas> {
    let quotas = Quotas::new(store.clone(), base.clock.clone());
    // Nodes take slices of what one row of the store counts.
    let quotas = if base.cluster.is_some() { quotas.shared() } else { quotas };
    if let Err(error) = quotas.load().await {
        tracing::error!(%error, "the use of quotas cannot be read from the store: it counts from now on");
    }
    Arc::new(quotas)
}

/// Opens the store of control-plane data.
pub(crate) async fn open_control_store(url: &StoreUrl) -> anyhow::Result<Arc<ControlStore>> {
    Ok(Arc::new(ControlStore::open(url).await.with_context(|| format!("{url} cannot be opened"))?))
}

/// Opens the store of control-plane data, and reads the directory from it for the first time.
async fn open_directory(base: &Base) -> anyhow::Result<(Arc<ControlStore>, Arc<DirectoryRefresher>)> {
    let store = open_control_store(&base.parts.store).await?;
    let source = Arc::new(StoreSource::new(store.clone(), base.parts.data_dir.clone()));
    let directory = Arc::new(DirectoryRefresher::new(source, base.settings.clone()));
    if let Err(error) = directory.refresh().await {
        tracing::error!(%error, "the directory cannot be read from the store; only the configuration file counts for now");
    }
    Ok((store, directory))
}

/// Opens the plugins. `events` is the event log of a running relay; none for a command that changes
/// what a relay will use.
pub(crate) async fn open_plugins(
    data_dir: &Path,
    store: Arc<ControlStore>,
    settings: &SettingsHandle,
    clock: &Arc<dyn Clock>,
    events: Option<Arc<dyn EventLog>>,
) -> anyhow::Result<Arc<Plugins>> {
    let config = PluginsConfig {
        store,
        directory: data_dir.join("plugins"),
        program: std::env::current_exe().context("where this program is")?,
        serving: events.is_some(),
        events,
    };
    Plugins::open(config, settings.clone(), clock.clone()).await.context("plugins")
}

/// Where mail goes and with what TLS, over what, and what each recipient gets.
type Outgoing = ((Arc<dyn Resolve>, Arc<dyn TlsPolicies>), Arc<dyn Dial>, Arc<dyn MakeCopy>);

/// The policies of recipient domains, and what keeps them. For development there are none.
async fn tls_policies(
    base: &Base,
    store: &Arc<ControlStore>,
    resolve: Arc<dyn Resolve>,
    dev: bool,
) -> anyhow::Result<(Arc<dyn TlsPolicies>, Option<Arc<TlsServices>>)> {
    if dev {
        return Ok((Arc::new(NoTlsPolicies), None));
    }
    let services = TlsServices::open(base, store, resolve).await?;
    Ok((services.clone(), Some(services)))
}

fn prepare_delivery(
    base: &Base,
    (plugins, suppressions): (&Arc<Plugins>, &Arc<Suppressions>),
    (((resolve, tls), dial, copies), shaping): (Outgoing, Shaping),
    registry: &mut Registry,
) -> anyhow::Result<PreparedDelivery> {
    let parts = DeliveryParts {
        queue: base.queue.clone(),
        resolve,
        dial,
        tls,
        copies,
        guard: suppressions.clone(),
        classify: base.classifier.clone(),
        settings: Arc::new(base.settings.clone()),
        observe: Arc::new(DeliveryCounters::register(registry)),
        listener: Some(plugins.clone()),
        clock: base.clock.clone(),
        ids: base.ids.clone(),
        seed: seed()?,
        shaping,
    };
    let prepared = parts.prepare();
    DeliveryGauges::register(registry, prepared.handle());
    Ok(prepared)
}

fn pipeline(
    base: &Base,
    (checks, templates, quotas): (Vec<Arc<dyn Check>>, &Templates, &Arc<Quotas>),
    delivery: &DeliveryHandle,
    observer: Option<Arc<dyn TraceObserver>>,
    registry: &mut Registry,
) -> Pipeline {
    let delivery = delivery.clone();
    Pipeline {
        queue: base.all.queue.clone(),
        events: base.all.events.clone(),
        sandbox: base.sandbox.clone(),
        clock: base.clock.clone(),
        ids: base.ids.clone(),
        metrics: PipelineMetrics::new(registry),
        observer,
        checks,
        quotas: Some(quotas.clone()),
        templates: Some(templates.clone()),
        recipient_refused: Arc::new(move || delivery.refused()),
    }
}

/// Reads the content of messages.
fn contents(base: &Base) -> Contents {
    Contents::new(ContentsParts {
        queue: base.all.queue.clone(),
        kept: base.kept.clone(),
        copies: base.copies(None),
        emails: Emails::new(base.all.events.clone()),
        sandbox: base.sandbox.clone(),
    })
}

/// Takes mail that comes back.
fn returns(
    base: &Base,
    (resolve, look_up): (Arc<dyn Resolve>, Arc<dyn LookUp>),
    delivery: DeliveryHandle,
    registry: &mut Registry,
) -> Arc<Returns> {
    Arc::new(Returns::new(ReturnParts {
        queue: base.all.queue.clone(),
        events: base.all.events.clone(),
        sandbox: base.sandbox.clone(),
        resolve,
        look_up,
        classify: base.classifier.clone(),
        complained: Arc::new(move |mx, source| delivery.complained(mx, source)),
        clock: base.clock.clone(),
        ids: base.ids.clone(),
        metrics: ReturnMetrics::register(registry),
    }))
}

/// Opens the lists of suppressed addresses, and reads them in the background.
async fn suppressions(base: &Base, store: &Arc<ControlStore>) -> anyhow::Result<Arc<Suppressions>> {
    let (clock, ids) = (base.clock.clone(), Arc::new(RandomIds));
    let topics = Topics::new(store.clone(), clock.clone(), ids.clone());
    let opened = Suppressions::open(store.clone(), base.all.events.clone(), clock, ids, topics).await?;
    let suppressions = Arc::new(opened);
    let filled = suppressions.clone();
    tokio::spawn(async move { filled.fill().await });
    Ok(suppressions)
}

/// Gets attachments that requests name by URL, from public addresses only.
fn attachment_fetcher(base: &Base, resolve: Arc<dyn Resolve>) -> anyhow::Result<Fetcher> {
    let roots = root_certificates(base.parts.ca_file.as_deref()).context("root certificates")?;
    Fetcher::new(resolve, roots, Vec::new()).context("TLS for attachments by URL")
}

fn templates(base: &Base, store: &Arc<ControlStore>) -> Templates {
    Templates::new(store.clone(), base.sandbox.clone(), base.clock.clone(), Arc::new(RandomIds))
}

/// Counts the events of one store.
fn statistics_reader(
    clock: Arc<dyn Clock>,
    (store, events): (&Arc<ControlStore>, Arc<dyn MailStore>),
    registry: &mut Registry,
) -> StatisticsReader {
    let name = reader_name(events.id());
    let metrics = StatisticsMetrics::register(registry);
    let now = Arc::new(move || clock.now());
    StatisticsReader::new(events, store.clone(), name, now, metrics)
}

fn tracking(base: &Base, registry: &mut Registry) -> TrackingEndpoint {
    TrackingEndpoint::new(
        base.settings.clone(),
        base.all.queue.clone(),
        base.all.events.clone(),
        base.clock.clone(),
        TrackingMetrics::register(registry),
    )
}

fn seed() -> anyhow::Result<u64> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    Ok(u64::from_ne_bytes(octets))
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
