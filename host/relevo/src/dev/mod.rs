//! `relevo dev`: everything embedded on loopback, delivering into a capture inbox.

mod capture;
mod content;
mod copies;
mod release;
mod route;
mod sample;
mod setup;
mod story;
mod traces;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use relevo_http::PanelAccess;
use relevo_http::inbox::{Inbox, Release};
use relevo_relay::api_keys::NewToken;
use relevo_relay::health::DomainHealth;
use relevo_relay::sandbox::worker_threads;
use relevo_relay::settings::Settings;
use tokio::signal::unix::{SignalKind, signal};

use crate::assembly::{self, Base, Outside};
use crate::cli::DevArgs;
use crate::config::ServerParts;
use crate::{config, limits, log};
use capture::Capture;
use traces::Traces;

/// Runs until a signal, or for one sample.
pub(crate) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    log::start(if args.once { "warn" } else { "info" });
    limits::raise_open_files();
    let smtp = address(args.smtp, 2525, args.once, "--smtp")?;
    let http = address(args.http, 8025, args.once, "--http")?;
    let release = match &args.smarthost {
        Some(file) => Some(Arc::new(release::Smarthost::read(file)?) as Arc<dyn Release>),
        None => None,
    };
    let temporary = match &args.data {
        None => Some(tempfile::Builder::new().prefix("relevo-dev-").tempdir()?),
        Some(_) => None,
    };
    let data = args.data.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let Some(data) = data else { bail!("no data directory") };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build()?;
    let developed = runtime.block_on(develop(args.once, data, (smtp, http), release));
    // A compiler that was interrupted is not waited for.
    runtime.shutdown_background();
    developed.map(|()| ExitCode::SUCCESS)
}

/// The address that was asked for, or the usual one, or (with `--once`) any free port. Loopback
/// only.
fn address(given: Option<SocketAddr>, usual: u16, once: bool, flag: &str) -> anyhow::Result<SocketAddr> {
    let addr = given.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, if once { 0 } else { usual })));
    ensure!(
        addr.ip().is_loopback(),
        "{flag} {addr}: `relevo dev` listens on loopback only; use `relevo serve` for others"
    );
    if addr.port() != 0 {
        return Ok(addr);
    }
    // The port is part of tracking links, so it must be known before anything is configured.
    let free = TcpListener::bind(addr).and_then(|l| l.local_addr());
    free.with_context(|| format!("{flag} {addr}: no free port"))
}

async fn develop(
    once: bool,
    data: &Path,
    (smtp, http): (SocketAddr, SocketAddr),
    release: Option<Arc<dyn Release>>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (settings, parts) = configure(data, smtp, http)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let Some(base) = Base::open(parts, settings, stop).await? else { return Ok(()) };
    let (inbox, traces) = (Arc::new(Inbox::with_release(release)), Arc::new(Traces::default()));
    let outside = Outside {
        resolve: Arc::new(route::ToInbox),
        published: Arc::new(route::ToInbox),
        lookups: Arc::new(route::ToInbox),
        health: DomainHealth::new(Arc::new(route::ToInbox), None, Arc::new(Vec::new), base.clock.clone()),
        dial: Arc::new(Capture {
            inbox: inbox.clone(),
            sandbox: base.sandbox.clone(),
            settings: base.settings.clone(),
            clock: base.clock.clone(),
            traces: traces.clone(),
        }),
        copies: Box::new(|copies| Arc::new(copies::Labelled(copies))),
        observer: Some(traces),
        inbox: Some(inbox.clone()),
        panel: Some(PanelAccess::Open { tenant: setup::TENANT.to_owned(), csrf: NewToken::new()?.text }),
    };
    let (stages, clock) = (base.stages.clone(), base.clock.clone());
    let running = assembly::start(base, outside, true).await?;
    let outcome = if once {
        story::tell(&*stages, &*clock, &inbox, smtp).await
    } else {
        welcome(smtp, http);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    };
    running.stop().await;
    outcome
}

fn configure(data: &Path, smtp: SocketAddr, http: SocketAddr) -> anyhow::Result<(Settings, ServerParts)> {
    let file = setup::write(data, smtp, http)?;
    let loaded = config::load(&file);
    let Some(config) = loaded.config else {
        let mistakes: Vec<String> = loaded.mistakes.iter().map(ToString::to_string).collect();
        bail!("{}", mistakes.join("\n"));
    };
    Ok(config.split())
}

fn welcome(smtp: SocketAddr, http: SocketAddr) {
    println!(
        "Relevo is ready. Nothing leaves this machine: mail is delivered into the inbox.\n\n  \
         SMTP   {smtp}, user {user}, password {user}, senders at {domain}\n  \
         panel  http://{http}/panel\n  \
         inbox  http://{http}/inbox\n  \
         API    http://{http}, Authorization: Bearer {key}\n\nCtrl-C stops it.",
        user = setup::USER,
        domain = setup::DOMAIN,
        key = setup::API_KEY,
    );
}
