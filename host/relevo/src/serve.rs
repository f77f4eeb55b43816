//! `relevo serve`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use relevo_relay::delivery::NetworkDial;
use relevo_resolve::{HickoryResolver, ResolverConfig};
use relevo_smtp::client::{ClientConfig, Tls};
use tokio::signal::unix::{SignalKind, signal};

use crate::assembly::{self, Base, Outside, Running};
use crate::config::{self, Config, Loaded, ServerParts};
use crate::{limits, log};

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    log::start("info");
    let Some(config) = report(config::load(file)) else { return Ok(ExitCode::FAILURE) };
    let open_files = limits::raise_open_files();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file.display(), ?open_files, "relevo");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(file, config));
    // Everything has stopped but what nobody waits for any more.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// Logs mistakes and warnings; None when there are mistakes.
fn report(loaded: Loaded) -> Option<Config> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for mistake in &loaded.mistakes {
        tracing::error!("{mistake}");
    }
    loaded.config
}

async fn serve(file: &Path, config: Config) -> anyhow::Result<()> {
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
    tracing::info!("ready");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(file, &parts, &running),
        }
    }
    tracing::info!("stopping: sessions and attempts under way may finish");
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::warn!("stopped at once: attempts under way will be repeated"),
    }
    Ok(())
}

fn outside(parts: &ServerParts, settings: &relevo_relay::settings::Settings) -> anyhow::Result<Outside> {
    // An MX host with one of these addresses is ourselves: a listener that mail for others would reach.
    let own = settings.delivery.own_addresses.iter().filter(|a| a.port() == settings.delivery.port);
    let own = own.map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    let resolver = HickoryResolver::new(ResolverConfig {
        nameservers: parts.dns.nameservers.clone(),
        ip: settings.delivery.ip,
        own_names: vec![settings.hostname.clone(), settings.delivery.ehlo.clone()],
        own_addresses: own,
    })
    .context("no DNS: name servers in [dns] nameservers")?;
    let tls = Tls::load(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let dial = NetworkDial::new(ClientConfig::default(), tls);
    Ok(Outside {
        resolve: Arc::new(resolver),
        dial: Arc::new(dial),
        copies: Box::new(|copies| Arc::new(copies)),
        observer: None,
        inbox: None,
    })
}

/// A configuration with mistakes changes nothing.
fn reload(file: &Path, running_parts: &ServerParts, running: &Running) {
    let Some(config) = report(config::load(file)) else {
        tracing::error!("reload: nothing was changed");
        return;
    };
    let (settings, parts) = config.split();
    let later = running_parts.differences(&parts);
    if !later.is_empty() {
        tracing::warn!("reload: {} will be as configured everywhere only after a restart", later.join(", "));
    }
    match running.reload(&parts, settings) {
        Ok(()) => tracing::info!("reloaded"),
        Err(error) => tracing::error!("reload: nothing was changed: {error:#}"),
    }
}
