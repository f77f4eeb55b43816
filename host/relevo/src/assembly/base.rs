//! What is opened before anything is served: the queue's store and the components.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::{EmbeddedStore, EventHistory, MailStore, Queue};
use relevo_relay::clock::{Clock, IdSource, RandomIds, SystemClock};
use relevo_relay::contents::{KeepingQueue, KeptMessages};
use relevo_relay::copies::Copies;
use relevo_relay::metrics::{self as relay_metrics, QueueGauges, StageCounters};
use relevo_relay::sandbox::{Sandbox, permits};
use relevo_relay::settings::{Settings, SettingsHandle};
use relevo_relay::trace::TraceObserver;
use relevo_runtime::{Classifier, Runtime, RuntimeConfig, Stages};
use tokio::task::spawn_blocking;

use super::cluster::ClusterNode;
use crate::config::ServerParts;
use crate::metrics::LogCollector;

/// What everything else needs, made first.
pub(crate) struct Base {
    pub(crate) parts: ServerParts,
    pub(crate) settings: SettingsHandle,
    pub(crate) store: Arc<dyn MailStore>,
    /// Ids of messages: those of this node's shard.
    pub(crate) ids: Arc<dyn IdSource>,
    /// None: this node is alone.
    pub(crate) cluster: Option<ClusterNode>,
    /// The store's queue. It keeps the content of what is finished.
    pub(crate) queue: Arc<KeepingQueue>,
    /// What it keeps.
    pub(crate) kept: Arc<KeptMessages>,
    /// What is shown and changed: the mail of all nodes.
    pub(crate) all: AllMail,
    pub(crate) stages: Arc<dyn Stages>,
    /// What receivers' words mean.
    pub(crate) classifier: Arc<Classifier>,
    /// The stages behind the scheduler that intake and delivery share.
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The mail of all nodes where nodes ask each other, and else that of this node.
pub(crate) struct AllMail {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) events: Arc<dyn EventHistory>,
}

impl Base {
    /// Opens the store and loads the components, which are compiled at the first start: that takes
    /// its time. None when `stop` came first; the store is closed again, and a compiler at work is
    /// left to the end of the process.
    pub(crate) async fn open(
        parts: ServerParts,
        mut settings: Settings,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Option<Self>> {
        let (data_dir, config) = (parts.data_dir.clone(), parts.queue.clone());
        let mut stop = std::pin::pin!(stop);
        let (store, ids, mut cluster): (Arc<dyn MailStore>, Arc<dyn IdSource>, _) = match &parts.cluster {
            None => {
                let store = spawn_blocking(move || EmbeddedStore::open(&data_dir, config)).await??;
                (store, Arc::new(RandomIds), None)
            }
            Some(cluster) => {
                let joined = tokio::select! {
                    joined = ClusterNode::join(&parts, cluster) => joined?,
                    () = &mut stop => return Ok(None),
                };
                (joined.shards.clone(), Arc::new(joined.ids()), Some(joined))
            }
        };
        complete_tracking_keys(&parts.data_dir, &mut settings)?;
        tracing::info!("loading the components");
        let config = RuntimeConfig {
            cache_dir: Some(parts.data_dir.join("components")),
            calls: permits(),
            ..RuntimeConfig::default()
        };
        let rules = parts.classify_rules.clone();
        let load = move || -> anyhow::Result<(Arc<dyn Stages>, Arc<Classifier>)> {
            let classifier = Classifier::new(&config, rules).context("the classifier")?;
            Ok((Runtime::new(config)?, classifier))
        };
        let (stages, classifier) = tokio::select! {
            loaded = spawn_blocking(load) => loaded??,
            () = stop => {
                if let Some(cluster) = cluster {
                    cluster.leave().await;
                }
                store.close().await;
                return Ok(None);
            }
        };
        let (sandbox, clock) = (Sandbox::new(stages.clone()), Arc::new(SystemClock::new()));
        let (settings, kept) = (SettingsHandle::new(settings), Arc::new(KeptMessages::new(&parts.data_dir)));
        let min_free = parts.queue.min_free;
        let queue = KeepingQueue::new(store.clone(), kept.clone(), settings.clone(), clock.clone(), min_free);
        let queue = Arc::new(queue);
        let everywhere =
            cluster.as_mut().map(|cluster| cluster.ask_others(queue.clone())).transpose()?.flatten();
        let all = match everywhere {
            Some(all) => AllMail { queue: all.clone(), events: all },
            None => AllMail { queue: queue.clone(), events: store.clone() },
        };
        Ok(Some(Self {
            parts,
            settings,
            store,
            ids,
            cluster,
            queue,
            kept,
            all,
            stages,
            classifier,
            sandbox,
            clock,
        }))
    }

    /// Metrics of the queue, the stages and the log.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = relay_metrics::registry();
        registry.register_collector(Box::new(LogCollector));
        QueueGauges::register(&mut registry, self.store.clone(), self.clock.clone());
        StageCounters::register(&mut registry, self.stages.clone());
        registry
    }

    /// The maker of copies.
    pub(super) fn copies(&self, observer: Option<&Arc<dyn TraceObserver>>) -> Copies {
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let copies = Copies::new(self.store.clone(), self.sandbox.clone(), settings, clock);
        match observer {
            Some(observer) => copies.observed(observer.clone()),
            None => copies,
        }
    }
}

/// Without configured keys one lives in the data directory.
pub(super) fn complete_tracking_keys(data_dir: &Path, settings: &mut Settings) -> anyhow::Result<()> {
    if settings.tracking_keys.0.is_empty() {
        let (secret, warning) = relevo_keys::load_or_create_secret(&data_dir.join("tracking.key"))?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        settings.tracking_keys = TokenKeys(vec![TokenKey { id: "own".to_owned(), secret }]);
    }
    Ok(())
}
