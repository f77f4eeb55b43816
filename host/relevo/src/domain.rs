//! `relevo domain add`, `list`, `records`, `check`, `remove`: sending domains of a tenant.

use std::process::ExitCode;

use relevo_http::DomainView;
use relevo_relay::domains::{DomainChange, Domains, OwnDomain, RecordCheck, RecordStatus};
use relevo_relay::records::{DnsRecord, records};
use serde_json::json;

use crate::cli::{DomainArgs, DomainCommand, StoreArgs};
use crate::client::print_json;
use crate::escape::Escaped;
use crate::keygen::zone_line;
use crate::serve;
use crate::store::{self, OpenStore};

/// Domains that are read at once.
const PAGE: u32 = 500;

/// Does what is asked, and prints.
pub(crate) fn run(command: &DomainCommand) -> anyhow::Result<ExitCode> {
    store::run(async {
        match command {
            DomainCommand::Add(args) => add(args).await?,
            DomainCommand::List { store } => list(store).await?,
            DomainCommand::Records(args) => show(args).await?,
            DomainCommand::Check(args) => return check(args).await,
            DomainCommand::Remove(args) => remove(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The store with its domains.
async fn open(args: &StoreArgs) -> anyhow::Result<(OpenStore, Domains)> {
    let open = OpenStore::open(args).await?;
    store::ensure_own(&open.parts.data_dir)?;
    let domains = Domains::new(
        (open.store.clone(), None),
        open.settings.clone(),
        serve::published(&open.parts, &open.settings.get())?,
        open.parts.data_dir.clone(),
        (open.clock.clone(), open.ids.clone()),
    );
    Ok((open, domains))
}

async fn add(args: &DomainArgs) -> anyhow::Result<()> {
    let (open, domains) = open(&args.store).await?;
    let tenant = &args.store.tenant;
    let added = domains.add(tenant, &args.name, &DomainChange::default()).await;
    open.audit(tenant, "domain add", &args.name, added.as_ref().err()).await;
    let added = added?;
    if !args.store.json {
        println!("{} is claimed. Publish these records, then check them:\n", added.domain.name);
    }
    print_records(args, &open, &added)
}

async fn show(args: &DomainArgs) -> anyhow::Result<()> {
    let (open, domains) = open(&args.store).await?;
    let own = domains.get(&args.store.tenant, &args.name).await?;
    print_records(args, &open, &own)
}

/// Prints what to publish, as lines of a zone file.
fn print_records(args: &DomainArgs, open: &OpenStore, own: &OwnDomain) -> anyhow::Result<()> {
    let settings = open.settings.get();
    if args.store.json {
        return print_json(&serde_json::to_value(DomainView::with_records(own, &settings))?);
    }
    for DnsRecord { kind, name, value, purpose } in records(&own.domain, &settings) {
        println!("; {purpose}\n{}", zone_line(&name, kind, &value));
    }
    Ok(())
}

async fn list(args: &StoreArgs) -> anyhow::Result<()> {
    let (_, domains) = open(args).await?;
    let found = all(&domains, &args.tenant).await?;
    if args.json {
        let views: Vec<_> = found.into_iter().map(DomainView::alone).collect();
        return print_json(&serde_json::to_value(views)?);
    }
    for own in &found {
        let status = if own.is_verified { "verified" } else { "not verified" };
        let source = if own.created_at.is_some() { "store" } else { "configuration file" };
        println!("{}  {status}  ({source})", own.domain.name);
    }
    Ok(())
}

async fn all(domains: &Domains, tenant: &str) -> anyhow::Result<Vec<OwnDomain>> {
    let mut found: Vec<OwnDomain> = Vec::new();
    loop {
        let after = found.last().map_or_else(String::new, |own| own.domain.name.clone());
        let page = domains.list(tenant, &after, PAGE).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

async fn check(args: &DomainArgs) -> anyhow::Result<ExitCode> {
    let (open, domains) = open(&args.store).await?;
    let tenant = &args.store.tenant;
    let checked = domains.verify(tenant, &args.name).await;
    open.audit(tenant, "domain check", &args.name, checked.as_ref().err()).await;
    let (own, checks) = checked?;
    let is_complete = checks.iter().all(|check| check.status == RecordStatus::Verified);
    if args.store.json {
        print_json(&serde_json::to_value(DomainView::with_checks(&own, checks))?)?;
    } else {
        checks.iter().for_each(print_check);
        println!("{}", verdict(&own));
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_check(check: &RecordCheck) {
    let RecordCheck { record, status, found, detail } = check;
    println!("{} {} {}: {}", record.purpose, record.name, status.as_str(), Escaped(detail));
    if *status == RecordStatus::Verified {
        return;
    }
    for text in found {
        println!("  found: {}", Escaped(text));
    }
    println!("  publish: {}", zone_line(&record.name, record.kind, &record.value));
}

fn verdict(own: &OwnDomain) -> String {
    let name = &own.domain.name;
    match own.is_verified {
        true => format!("{name} may send. A running relay knows it in some seconds."),
        false => format!("{name} may not send before its DKIM record is there."),
    }
}

async fn remove(args: &DomainArgs) -> anyhow::Result<()> {
    let (open, domains) = open(&args.store).await?;
    let tenant = &args.store.tenant;
    let removed = domains.remove(tenant, &args.name).await;
    open.audit(tenant, "domain remove", &args.name, removed.as_ref().err()).await;
    let name = removed?;
    match args.store.json {
        true => print_json(&json!({ "object": "domain", "id": name, "deleted": true })),
        false => {
            println!("{name} is removed with its keys. A running relay knows it in some seconds.");
            Ok(())
        }
    }
}
