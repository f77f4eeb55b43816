//! `relevo cluster` and `relevo shard`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use relevo_cluster::member::observe;
use relevo_queue::{EmbeddedStore, LogBinding};
use tokio::runtime::Handle;

use crate::assembly::cluster_engine;
use crate::cli::{ClusterArgs, ClusterCommand, ShardArgs, ShardCommand};
use crate::client::print_json;
use crate::config::{self, ClusterConfig, ServerParts};
use crate::escape::Escaped;
use crate::store;

/// `relevo cluster`
pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let ClusterCommand::Status = args.command;
    let (_, cluster) = configured(&args.config)?;
    store::run(async {
        let engine = cluster_engine(&cluster.engine).await?;
        let view = observe(&*engine).await?;
        if args.json {
            print_json(&serde_json::to_value(&view)?)?;
        } else {
            for node in &view.nodes {
                let state = if node.is_alive { "alive" } else { "not seen lately" };
                let (name, address) = (Escaped(&node.name), Escaped(&node.address));
                println!("node {name}: {state}, at home in shard {}, {address}", node.home);
            }
            for shard in &view.shards {
                match shard.is_free {
                    true => println!("shard {}: nobody serves it", shard.shard),
                    false => println!("shard {}: served by {}", shard.shard, Escaped(&shard.holder)),
                }
            }
        }
        let is_whole = view.shards.iter().all(|shard| !shard.is_free);
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// `relevo shard`
pub(crate) fn run_shard(args: &ShardArgs) -> anyhow::Result<ExitCode> {
    let (parts, cluster) = configured(&args.config)?;
    if matches!(args.command, ShardCommand::Leave) {
        EmbeddedStore::leave_log(&parts.data_dir)?;
        println!("{} has no log any more: remove [cluster] before the next start", parts.data_dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    store::run(async {
        let engine = cluster_engine(&cluster.engine).await?;
        let log = engine.log(cluster.node.home).await?;
        let owner = format!("{} (operator)", cluster.node.name);
        let binding = LogBinding { log, runtime: Handle::current(), owner, trim_at: cluster.trim_at };
        let (data_dir, config) = (parts.data_dir.clone(), parts.queue.clone());
        if matches!(args.command, ShardCommand::Rebuild) {
            let rebuilt = move || EmbeddedStore::rebuild_log(data_dir, &config, &binding);
            let octets = tokio::task::spawn_blocking(rebuilt).await??;
            println!("the log of shard {} has everything: {octets} octets", cluster.node.home);
            return Ok(ExitCode::SUCCESS);
        }
        // Beside the directory: it may be large.
        let scratch = tempfile::Builder::new().prefix(".verify-").tempdir_in(&parts.data_dir);
        let scratch = scratch.context("no directory to read the log into")?;
        let path = scratch.path().to_path_buf();
        let verify = move || EmbeddedStore::verify_log(data_dir, path, &config, &binding);
        let found = tokio::task::spawn_blocking(verify).await??;
        println!("{} rows and {} octets are the same in both", found.rows, found.octets);
        for difference in &found.differences {
            println!("differs: {difference}");
        }
        Ok(if found.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn configured(file: &std::path::Path) -> anyhow::Result<(ServerParts, ClusterConfig)> {
    let loaded = config::load(file);
    for mistake in &loaded.mistakes {
        eprintln!("error: {mistake}");
    }
    let Some(config) = loaded.config else { bail!("{} has mistakes", file.display()) };
    let (_, parts) = config.split();
    let cluster = parts.cluster.clone();
    let cluster = cluster.with_context(|| format!("{} has no [cluster]", file.display()))?;
    Ok((parts, cluster))
}
