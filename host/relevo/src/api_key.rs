//! `relevo api-key create`, `list`, `rotate`, `revoke`: keys of the store.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use relevo_relay::api_keys::{ApiKeyRecord, ApiKeys, IssuedKey, KeyRefusal, NewApiKey};
use relevo_relay::clock::timestamp;
use relevo_relay::directory::{Scope, Scopes};
use serde_json::{Value, json};

use crate::cli::{ApiKeyCommand, StoreArgs};
use crate::client::print_json;
use crate::escape::Escaped;
use crate::store::{self, OpenStore};

/// Keys that are read at once.
const PAGE: u32 = 1_000;

/// Does what is asked, and prints.
pub(crate) fn run(command: &ApiKeyCommand) -> anyhow::Result<ExitCode> {
    store::run(async {
        match command {
            ApiKeyCommand::New { .. } => bail!("`new` is about no store"),
            ApiKeyCommand::Create { store, name, scopes, domain, days } => {
                create(store, name, scopes, domain.as_deref(), *days).await
            }
            ApiKeyCommand::List { store } => list(store).await,
            ApiKeyCommand::Rotate { store, key, overlap_hours } => rotate(store, key, *overlap_hours).await,
            ApiKeyCommand::Revoke { store, key } => revoke(store, key).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The store with its keys.
async fn open(args: &StoreArgs) -> anyhow::Result<(OpenStore, ApiKeys)> {
    let open = OpenStore::open(args).await?;
    let keys = ApiKeys::new(open.store.clone(), None, open.clock.clone(), open.ids.clone());
    Ok((open, keys))
}

async fn create(
    args: &StoreArgs,
    name: &str,
    scopes: &[Scope],
    domain: Option<&str>,
    days: Option<u32>,
) -> anyhow::Result<()> {
    let (open, keys) = open(args).await?;
    let domain = domain.map(|domain| own_domain(&open, &args.tenant, domain)).transpose()?;
    let scopes = if scopes.is_empty() { Scopes::all() } else { scopes.iter().copied().collect() };
    let expires_at = days.map(|days| open.clock.now() + i64::from(days) * 86_400_000);
    let new = NewApiKey { name: name.to_owned(), scopes, domain, expires_at };
    let issued = keys.create(&args.tenant, new).await;
    open.audit(&args.tenant, "api-key create", name, issued.as_ref().err()).await;
    let issued = issued?;
    show(args, &issued)
}

/// The A-labels of a domain that the tenant has.
fn own_domain(open: &OpenStore, tenant: &str, domain: &str) -> anyhow::Result<String> {
    let name = relevo_mailkit::address::to_ascii(domain)
        .map_err(|error| anyhow::anyhow!("`{}`: {error}", Escaped(domain)))?;
    match open.settings.get().directory.domain(&name).filter(|domain| domain.tenant == tenant) {
        Some(_) => Ok(name),
        None => bail!("`{name}` is not a verified domain of tenant `{tenant}`"),
    }
}

async fn list(args: &StoreArgs) -> anyhow::Result<()> {
    let (_, keys) = open(args).await?;
    let found = keys.list(&args.tenant, "", PAGE).await?;
    if args.json {
        return print_json(&Value::Array(found.iter().map(view).collect()));
    }
    for key in &found {
        let last =
            key.used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {}", timestamp(at)));
        let end = key.settings.expires_at.map_or_else(String::new, |at| format!(", until {}", timestamp(at)));
        println!(
            "{}  {}...  {}  [{}]  {last}{end}",
            key.id,
            key.settings.prefix,
            Escaped(&key.name),
            key.settings.scopes.join(" ")
        );
    }
    Ok(())
}

fn view(key: &ApiKeyRecord) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "prefix": key.settings.prefix,
        "scopes": key.settings.scopes,
        "domain": key.settings.domain,
        "created_at": timestamp(key.created_at),
        "last_used_at": key.used_at.map(timestamp),
        "expires_at": key.settings.expires_at.map(timestamp),
    })
}

async fn rotate(args: &StoreArgs, key: &str, overlap_hours: u32) -> anyhow::Result<()> {
    let (open, keys) = open(args).await?;
    let id = find(&keys, &args.tenant, key).await?;
    let overlap = Duration::from_secs(u64::from(overlap_hours) * 3_600);
    let issued = keys.rotate(&args.tenant, &id, overlap).await;
    open.audit(&args.tenant, "api-key rotate", &id, issued.as_ref().err()).await;
    let issued = issued?;
    show(args, &issued)
}

async fn revoke(args: &StoreArgs, key: &str) -> anyhow::Result<()> {
    let (open, keys) = open(args).await?;
    let id = find(&keys, &args.tenant, key).await?;
    let revoked = keys.revoke(&args.tenant, &id).await;
    open.audit(&args.tenant, "api-key revoke", &id, revoked.as_ref().err()).await;
    revoked?;
    match args.json {
        true => print_json(&json!({ "id": id, "deleted": true })),
        false => {
            println!("{id} is revoked. A running relay knows it in some seconds.");
            Ok(())
        }
    }
}

/// The id of a key that is named by id or name.
async fn find(keys: &ApiKeys, tenant: &str, wanted: &str) -> Result<String, KeyRefusal> {
    let found = keys.list(tenant, "", PAGE).await?;
    let found = found.into_iter().find(|key| key.id == wanted || key.name == wanted);
    found.map(|key| key.id).ok_or(KeyRefusal::NotFound)
}

fn show(args: &StoreArgs, issued: &IssuedKey) -> anyhow::Result<()> {
    if args.json {
        return print_json(&json!({ "id": issued.id, "token": issued.token.text }));
    }
    println!("id: {}\nAPI key (shown this once): {}", issued.id, issued.token.text);
    Ok(())
}
