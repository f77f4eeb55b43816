//! `relevo serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use relevo_relay::delivery::NetworkDial;
use relevo_relay::sandbox::worker_threads;
use relevo_relay::settings::Settings;
use relevo_resolve::{HickoryResolver, LookUp, Resolve, ResolverConfig, Tuning};
use relevo_smtp::client::{ClientConfig, Tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::assembly::{self, Base, Outside, Reloaded, RunningRelay};
use crate::certificates::CertificateFiles;
use crate::config::{self, Loaded, RelayConfig, ServerParts, SmtpConfig};
use crate::{doctor, limits, log};

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    limits::make_private_files();
    log::start("info");
    let Some(config) = report(config::load(file)) else { return Ok(ExitCode::FAILURE) };
    let open_files = limits::raise_open_files();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file.display(), ?open_files, "relevo");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build()?;
    let served = runtime.block_on(serve(file, config));
    // Everything has stopped but what nobody waits for any more.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// Logs mistakes and warnings; None when there are mistakes.
fn report(loaded: Loaded) -> Option<RelayConfig> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for mistake in &loaded.mistakes {
        tracing::error!("{mistake}");
    }
    loaded.config
}

async fn serve(file: &Path, config: RelayConfig) -> anyhow::Result<()> {
    // Before anything is opened, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let (settings, parts) = config.split();
    let outside = outside(&parts, &settings)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let Some(base) = Base::open(parts.clone(), settings, stop).await? else {
        tracing::info!("stopped before it was ready");
        return Ok(());
    };
    let running = assembly::start(base, outside, false).await?;
    let main_tasks = running.main_tasks();
    let mut smtp = parts.smtp.clone();
    let mut certificates = CertificateFiles::of(&smtp);
    let mut reloads =
        Reloads { file: file.to_owned(), parts, reading: JoinSet::new(), is_asked_again: false };
    tracing::info!("ready");
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            task = main_tasks.wait() => break Some(task),
            _ = hangup.recv() => reloads.ask(),
            () = certificates.changed() => match running.renew_certificates(smtp.clone()).await {
                Ok(()) => tracing::info!("the certificates have changed, and are taken up"),
                Err(error) => tracing::error!("the certificates have changed, and cannot be used: {error:#}"),
            },
            Some(read) = reloads.reading.join_next() => if let Some(named) = reloads.finish(read, &running) {
                (smtp, certificates) = (named.clone(), CertificateFiles::of(&named));
            },
        }
    };
    if let Some(task) = &ended {
        tracing::error!("{task} has ended: the relay drains, then it exits");
    }
    tracing::info!("stopping: sessions and attempts under way may finish");
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::warn!("stopped at once: attempts under way will be repeated"),
    }
    match ended {
        Some(task) => bail!("{task} ended without being asked to"),
        None => Ok(()),
    }
}

fn outside(parts: &ServerParts, settings: &Settings) -> anyhow::Result<Outside> {
    let resolver = HickoryResolver::new(names(parts, settings)).context(NO_DNS)?;
    let published = published(parts, settings)?;
    let health = doctor::of_relay(parts, settings)?;
    let tls = Tls::load(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let dial = NetworkDial::new(ClientConfig::default(), tls);
    Ok(Outside {
        resolve: Arc::new(resolver),
        published,
        health,
        lookups: lookups(parts, settings)?,
        dial: Arc::new(dial),
        copies: Box::new(|copies| Arc::new(copies)),
        observer: None,
        inbox: None,
        panel: None,
    })
}

const NO_DNS: &str = "no DNS: name servers in [dns] nameservers";

/// The configured DNS.
fn names(parts: &ServerParts, settings: &Settings) -> ResolverConfig {
    // An MX host with one of these addresses is ourselves: a listener that mail for others would
    // reach.
    let own = settings.delivery.own_addresses.iter().filter(|a| a.port() == settings.delivery.port);
    let own = own.map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    ResolverConfig {
        nameservers: parts.dns.nameservers.clone(),
        ip: settings.delivery.ip,
        own_names: vec![settings.hostname.clone(), settings.delivery.ehlo.clone()],
        own_addresses: own,
    }
}

/// The configured DNS, as it is at this moment: no answer is remembered.
pub(crate) fn published(parts: &ServerParts, settings: &Settings) -> anyhow::Result<Arc<dyn Resolve>> {
    let tuning = Tuning { remember: false, ..Tuning::default() };
    Ok(Arc::new(HickoryResolver::tuned(names(parts, settings), tuning).context(NO_DNS)?))
}

/// The same, for records as they are, of both families.
pub(crate) fn lookups(parts: &ServerParts, settings: &Settings) -> anyhow::Result<Arc<dyn LookUp>> {
    let tuning = Tuning { remember: false, timeout: LOOKUP, retries: 1, ..Tuning::default() };
    Ok(Arc::new(HickoryResolver::tuned(names(parts, settings), tuning).context(NO_DNS)?))
}

/// How long one question of an examination may take before it is asked again.
const LOOKUP: Duration = Duration::from_secs(4);

/// The time in which the files of a configuration are expected to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reloads on SIGHUP. Files are read beside the loop that hears signals: their file system may not
/// answer.
struct Reloads {
    file: PathBuf,
    parts: ServerParts,
    /// At most one at a time.
    reading: JoinSet<anyhow::Result<Reloaded>>,
    is_asked_again: bool,
}

impl Reloads {
    fn ask(&mut self) {
        if !self.reading.is_empty() {
            tracing::warn!("reload: another one is still reading its files; this one follows");
            self.is_asked_again = true;
            return;
        }
        let (file, parts) = (self.file.clone(), self.parts.clone());
        let mut reading = spawn_blocking(move || read(&file, &parts));
        self.reading.spawn(async move {
            let read = match timeout(PATIENCE, &mut reading).await {
                Ok(read) => read,
                Err(_) => {
                    tracing::error!(
                        "reload: a file could not be read in {} seconds: nothing changes until its file system answers",
                        PATIENCE.as_secs()
                    );
                    reading.await
                }
            };
            read?
        });
    }

    /// Puts in force what was read; returns what names the files of certificates from then on.
    fn finish(
        &mut self,
        read: Result<anyhow::Result<Reloaded>, JoinError>,
        running: &RunningRelay,
    ) -> Option<SmtpConfig> {
        let read = read.map_err(Into::into).flatten();
        let named = read.as_ref().ok().map(|read| read.smtp.clone());
        let reloaded = read.and_then(|read| running.reload(read));
        match &reloaded {
            Ok(()) => tracing::info!("reloaded"),
            Err(error) => tracing::error!("reload: nothing was changed: {error:#}"),
        }
        if std::mem::take(&mut self.is_asked_again) {
            self.ask();
        }
        reloaded.ok().and(named)
    }
}

/// Reads the configuration and its files. A configuration with mistakes changes nothing.
fn read(file: &Path, running: &ServerParts) -> anyhow::Result<Reloaded> {
    let config = report(config::load(file)).context("the configuration has mistakes")?;
    let (settings, parts) = config.split();
    let later = running.differences(&parts);
    if !later.is_empty() {
        tracing::warn!("reload: {} will be as configured everywhere only after a restart", later.join(", "));
    }
    Reloaded::read(&running.data_dir, (&parts.smtp, parts.classify_rules), settings)
}
