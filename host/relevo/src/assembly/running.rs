//! A relay that runs, until it is stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relevo_cluster::limits::holder::Allotters;
use relevo_policy::Plugins;
use relevo_queue::MailStore;
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::quota::Quotas;
use relevo_relay::settings::{Settings, SettingsHandle};
use relevo_relay::shaping::ShapingKeeper;
use relevo_relay::tracking::TrackingEndpoint;
use relevo_runtime::Classifier;
use relevo_smtp::server::{Server, ServerTls};
use relevo_store::ControlStore;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::base::complete_tracking_keys;
use super::cluster::ClusterNode;
use super::listeners::certificate;
use super::tls::TlsServices;
use crate::config::SmtpConfig;
use crate::metrics::CertificateExpiry;
use crate::tasks::{self, MainTasks};
use crate::tls;

/// How long sessions and attempts under way may take when stopping.
const DRAIN: Duration = Duration::from_secs(30);
/// How long HTTP requests under way may take when stopping. Long polls are cut: their client asks
/// again.
const REQUESTS: Duration = Duration::from_secs(5);
/// How long the connections to the store of control-plane data may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// A relay that runs.
pub(crate) struct RunningRelay {
    pub(super) settings: SettingsHandle,
    pub(super) classifier: Arc<Classifier>,
    pub(super) smtp: Vec<Server>,
    pub(super) expiry: CertificateExpiry,
    pub(super) store: Arc<dyn MailStore>,
    pub(super) cluster: Option<ClusterNode>,
    pub(super) control_store: Arc<ControlStore>,
    /// The source of the directory is to be read again: files of keys may have changed.
    pub(super) reread_directory: Arc<Notify>,
    pub(super) delivery: DeliveryHandle,
    pub(super) plugins: Arc<Plugins>,
    pub(super) tracking: Arc<TrackingEndpoint>,
    pub(super) keys: Arc<ApiKeys>,
    pub(super) quotas: Arc<Quotas>,
    pub(super) shaping: Arc<ShapingKeeper>,
    /// What hands out slices of shared limits.
    pub(super) allotters: Option<Arc<Allotters>>,
    /// Counts TLS sessions for reports.
    pub(super) tls: Option<Arc<TlsServices>>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) tasks: MainTasks,
}

/// What a reload puts in force.
pub(crate) struct Reloaded {
    settings: Settings,
    tls: ServerTls,
    /// Names the files of certificates from now on.
    pub(crate) smtp: SmtpConfig,
    /// For the classifier; None: its own.
    rules: Option<String>,
}

impl Reloaded {
    /// Reads the files that the settings need beside those that are read with the configuration. It
    /// may block.
    pub(crate) fn read(
        data_dir: &Path,
        (smtp, rules): (&SmtpConfig, Option<String>),
        mut settings: Settings,
    ) -> anyhow::Result<Self> {
        complete_tracking_keys(data_dir, &mut settings)?;
        let tls = certificate(smtp, &settings.hostname)?;
        Ok(Self { settings, tls, smtp: smtp.clone(), rules })
    }
}

impl RunningRelay {
    /// Says which main task has ended.
    pub(crate) fn main_tasks(&self) -> tasks::Watch {
        self.tasks.watch()
    }

    /// Puts other settings and the certificate in force; sessions and attempts under way keep
    /// theirs.
    pub(crate) fn reload(&self, Reloaded { settings, tls, rules, .. }: Reloaded) -> anyhow::Result<()> {
        for server in &self.smtp {
            server.set_tls(&tls)?;
        }
        self.expiry.set(tls::first_expiry(&tls));
        self.settings.replace(settings);
        self.reread_directory.notify_one();
        let classifier = self.classifier.clone();
        spawn_blocking(move || match classifier.load(rules) {
            Ok(version) => tracing::info!(version, "rules of the classifier"),
            // They were without a mistake when they were read.
            Err(error) => tracing::error!(%error, "the classifier keeps its former rules"),
        });
        let plugins = self.plugins.clone();
        tokio::spawn(async move { plugins.refresh().await });
        Ok(())
    }

    /// Takes up certificates that were renewed in place. Connections under way keep theirs.
    ///
    /// # Errors
    /// They cannot be read, or do not fit; those before stay in use.
    pub(crate) async fn renew_certificates(&self, smtp: SmtpConfig) -> anyhow::Result<()> {
        let hostname = self.settings.get().hostname.clone();
        let tls = spawn_blocking(move || certificate(&smtp, &hostname)).await??;
        for server in &self.smtp {
            server.set_tls(&tls)?;
        }
        self.expiry.set(tls::first_expiry(&tls));
        Ok(())
    }

    /// Drains: no new connections; sessions, requests and attempts under way finish, then the store
    /// is closed.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let mut sessions = JoinSet::new();
        for server in self.smtp.drain(..) {
            sessions.spawn(server.stop(DRAIN));
        }
        let drained = async { while sessions.join_next().await.is_some() {} };
        // Each HTTP listener has a receiver until its last request is answered.
        let answered = timeout(REQUESTS, self.stop.closed());
        let _ = tokio::join!(drained, self.delivery.stop(DRAIN), answered);
        self.plugins.write_recordings().await;
        self.tasks.shutdown().await;
        self.tracking.flush().await;
        self.quotas.end_all_slices();
        self.quotas.write().await;
        if let Some(allotters) = &self.allotters {
            allotters.leave().await;
        }
        self.shaping.finish().await;
        if let Some(tls) = &self.tls {
            tls.write().await;
        }
        self.keys.write_uses().await;
        // Before the other one: its server may not answer.
        match self.cluster.take() {
            Some(cluster) => cluster.leave().await,
            None => self.store.close().await,
        }
        if timeout(CLOSE, self.control_store.close()).await.is_err() {
            tracing::warn!("the store of control-plane data does not close: its connections are cut");
        }
    }
}
