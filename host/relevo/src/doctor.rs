//! `relevo doctor`: how sending domains stand, with the records that mend them.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use relevo_fetch::Fetcher;
use relevo_http::HealthView;
use relevo_relay::clock::{Clock as _, SystemClock};
use relevo_relay::directory::{DirectorySource as _, StoreSource};
use relevo_relay::health::doctor::{Check, DnsRecord, Status};
use relevo_relay::health::{Certificate, Certificates, DomainHealth, HealthReport, ProviderRate};
use relevo_relay::reputation;
use relevo_relay::settings::{Domain, Settings};
use relevo_smtp::client::root_certificates;
use relevo_statistics::Statistics;
use relevo_store::{ControlStore, StoreUrl};

use crate::cli::DoctorArgs;
use crate::client::print_json;
use crate::config::{self, ServerParts, SmtpConfig};
use crate::escape::Escaped;
use crate::keygen::zone_line;
use crate::{rates, serve, store, tls};

/// Examines and prints.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    store::run(examined(args))
}

async fn examined(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let (settings, parts) = load(&args.config).await?;
    let domains = domains(&settings, args.domain.as_deref())?;
    let health = of_relay(&parts, &settings)?;
    // What the relay knows from block lists and imports. It alone asks lists.
    let kept = reputation::read(&parts.data_dir.join(reputation::FILE)).map_err(anyhow::Error::msg)?;
    let mut reports = Vec::with_capacity(domains.len());
    for domain in &domains {
        let mut known = kept.of(&domain.tenant, &domain.name);
        known.rates.extend(rates(&parts, domain).await?);
        let report = health.of(domain, &settings, known).await;
        if !args.json {
            print(&report);
        }
        reports.push(report);
    }
    let has_failed = reports.iter().any(|report| report.status == Status::Fail);
    if args.json {
        let views: Vec<HealthView> = reports.into_iter().map(HealthView::from).collect();
        print_json(&serde_json::to_value(views)?)?;
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The settings with the directory of the store. A store that was never made is not made here.
async fn load(file: &Path) -> anyhow::Result<(Settings, ServerParts)> {
    let loaded = config::load(file);
    for mistake in &loaded.mistakes {
        eprintln!("error: {mistake}");
    }
    let Some(config) = loaded.config else { bail!("{} has mistakes", file.display()) };
    let (mut settings, parts) = config.split();
    if !matches!(&parts.store, StoreUrl::File(path) if !path.exists()) {
        let store = Arc::new(ControlStore::open(&parts.store).await.context("the store cannot be opened")?);
        let entries = StoreSource::new(store.clone(), parts.data_dir.clone()).load().await?.entries;
        settings.directory = settings.directory.with_source(&entries);
        store.close().await;
    }
    Ok((settings, parts))
}

/// The rates of a domain and its tenant. A store that was never made has none.
async fn rates(parts: &ServerParts, domain: &Domain) -> anyhow::Result<Vec<ProviderRate>> {
    if matches!(&parts.store, StoreUrl::File(path) if !path.exists()) {
        return Ok(Vec::new());
    }
    let store = Arc::new(ControlStore::open(&parts.store).await.context("the store cannot be opened")?);
    let statistics = Statistics::new(store.clone(), "doctor");
    let counted = rates::of_tenant(&statistics, &domain.tenant, SystemClock::new().now()).await;
    store.close().await;
    let mut counted = counted?;
    let own = counted.domains.remove(&domain.name);
    Ok(own.into_iter().chain(counted.providers).collect())
}

fn domains(settings: &Settings, only: Option<&str>) -> anyhow::Result<Vec<Arc<Domain>>> {
    let directory = &settings.directory;
    let mut domains: Vec<Arc<Domain>> = match only {
        None => directory.domains().cloned().collect(),
        Some(name) => {
            let ascii = relevo_mailkit::address::to_ascii(name)
                .map_err(|error| anyhow::anyhow!("`{}`: {error}", Escaped(name)))?;
            let found = directory.configured_domain(&ascii).cloned();
            vec![found.with_context(|| format!("`{ascii}` is not a domain of this relay"))?]
        }
    };
    ensure!(!domains.is_empty(), "no domain is configured");
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(domains)
}

/// What examines the domains of a relay with this configuration.
pub(crate) fn of_relay(parts: &ServerParts, settings: &Settings) -> anyhow::Result<DomainHealth> {
    let look_up = serve::lookups(parts, settings)?;
    let roots = root_certificates(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let fetcher = Fetcher::new(serve::published(parts, settings)?, roots, Vec::new())?;
    let certificates = certificates(parts.smtp.clone());
    Ok(DomainHealth::new(look_up, Some(fetcher), certificates, Arc::new(SystemClock::new())))
}

/// Reads the certificate of the listeners of SMTP, as it is on disk.
fn certificates(smtp: SmtpConfig) -> Certificates {
    Arc::new(move || {
        if smtp.submission.is_empty() && smtp.submissions.is_empty() && smtp.relay.is_empty() {
            return Vec::new();
        }
        let listener = "smtp".to_owned();
        let Some((chain, _)) = &smtp.tls else {
            let (ends_at, names) = (0, Vec::new());
            return vec![Certificate { listener, ends_at, names, is_self_signed: true }];
        };
        let chain = tls::read_chain(chain).unwrap_or_default();
        let Some(leaf) = chain.first() else { return Vec::new() };
        let ends_at = tls::expires_at(leaf).unwrap_or_default();
        vec![Certificate { listener, ends_at, names: tls::names(leaf), is_self_signed: false }]
    })
}

fn print(report: &HealthReport) {
    println!("{}: {}\n", report.domain, report.status.as_str());
    report.checks.iter().for_each(print_check);
    println!();
}

fn print_check(check: &Check) {
    let about = check.about.as_ref().map(|about| format!(" {about}")).unwrap_or_default();
    println!("{:4}  {}{}: {}", check.status.as_str(), check.check, Escaped(&about), Escaped(&check.message));
    if matches!(check.status, Status::Pass | Status::Skip) {
        return;
    }
    if let Some(DnsRecord { kind, name, value, replaces }) = &check.record {
        println!("      publish: {}", Escaped(&zone_line(name, kind, value)));
        for replaced in replaces {
            println!("      in place of: {}", Escaped(&zone_line(name, kind, replaced)));
        }
    }
    println!("      see {}", check.source);
}
