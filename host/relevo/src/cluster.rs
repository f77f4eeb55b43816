//! `relevo cluster` and `relevo shard`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use relevo_cluster::member::{forget, observe};
use relevo_queue::shard_log::LogBounds;
use relevo_queue::{EmbeddedStore, LogBinding};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::assembly::cluster_engine;
use crate::cli::{ClusterArgs, ClusterCommand, RelayArgs, ShardArgs, ShardCommand};
use crate::client::{Relay, print_json};
use crate::config::{self, ClusterConfig, ServerParts};
use crate::control::ControlRequest;
use crate::escape::Escaped;
use crate::store;

/// `relevo cluster`
pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClusterCommand::Status => status(args),
        ClusterCommand::Shards => shards(args),
        ClusterCommand::Drain => drain(args),
        ClusterCommand::Undrain => {
            let done = relay(args)?.ask(&ControlRequest::Undrain {})?;
            match args.json {
                true => print_json(&done)?,
                false => println!("the node takes its home again"),
            }
            Ok(ExitCode::SUCCESS)
        }
        ClusterCommand::Forget { node } => {
            let (_, cluster) = configured(&args.config)?;
            let forgotten = store::run(async {
                let engine = cluster_engine(&cluster.engine).await?;
                Ok(forget(&*engine, node).await?)
            })?;
            match args.json {
                true => print_json(&serde_json::to_value(&forgotten)?)?,
                false => {
                    println!("node {} is forgotten; others keep shard {}", Escaped(node), forgotten.home)
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The node that runs here.
fn relay(args: &ClusterArgs) -> anyhow::Result<Relay> {
    Relay::connect(&RelayArgs { config: Some(args.config.clone()), data: None, json: args.json })
}

fn drain(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let answer = relay(args)?.ask(&ControlRequest::Drain {})?;
    let count = |name: &str| answer[name].as_array().map_or(0, Vec::len);
    let is_over = count("held") + count("free") == 0;
    if args.json {
        print_json(&answer)?;
    } else {
        for shard in answer["served"].as_array().into_iter().flatten() {
            println!("shard {}: served by {}", shard[0], Escaped(shard[1].as_str().unwrap_or_default()));
        }
        for shard in answer["held"].as_array().into_iter().flatten() {
            println!("shard {shard}: still here");
        }
        for shard in answer["free"].as_array().into_iter().flatten() {
            println!("shard {shard}: nobody serves it yet");
        }
        match is_over {
            true => println!("drained: others serve everything; `relevo cluster undrain` ends it"),
            false => println!("not drained yet: `relevo cluster status` says how it goes on"),
        }
    }
    Ok(if is_over { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which nodes there are, and who has which shard.
fn status(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let (_, cluster) = configured(&args.config)?;
    store::run(async {
        let engine = cluster_engine(&cluster.engine).await?;
        let view = observe(&*engine).await?;
        if args.json {
            print_json(&serde_json::to_value(&view)?)?;
        } else {
            for node in &view.nodes {
                let state = match (node.is_alive, node.is_draining) {
                    (true, false) => "alive",
                    (true, true) => "alive, drained",
                    (false, _) => "not seen lately",
                };
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

/// What a shard has.
#[derive(Serialize)]
struct ShardLine {
    shard: u16,
    /// None: nobody serves it.
    holder: Option<String>,
    items: Option<u64>,
    /// Octets of its log.
    octets: u64,
    /// The first record that the log has, and the last one.
    first: u64,
    last: u64,
    /// Records that are not in the holder's directory.
    behind: Option<u64>,
}

fn shards(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let (_, cluster) = configured(&args.config)?;
    store::run(async {
        let engine = cluster_engine(&cluster.engine).await?;
        let (view, logs) = (observe(&*engine).await?, engine.shards().await?);
        let mut lines = Vec::new();
        for shard in view.shards {
            // One without a log was claimed a moment ago.
            let bounds = match logs.contains(&shard.shard) {
                true => engine.log(shard.shard).await?.bounds().await?,
                false => LogBounds::default(),
            };
            let load = shard.load.filter(|_| !shard.is_free);
            lines.push(ShardLine {
                shard: shard.shard,
                holder: Some(shard.holder).filter(|_| !shard.is_free),
                items: load.map(|load| load.items),
                octets: bounds.octets,
                first: bounds.first,
                last: bounds.last,
                behind: load.map(|load| bounds.last.saturating_sub(load.applied)),
            });
        }
        if args.json {
            print_json(&serde_json::to_value(&lines)?)?;
        } else {
            println!(
                "{:>5}  {:20}  {:>9}  {:>12}  {:>12}  {:>7}",
                "SHARD", "HOLDER", "MESSAGES", "LOG OCTETS", "LAST", "BEHIND"
            );
            for line in &lines {
                let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
                let holder = line.holder.as_deref().unwrap_or("nobody");
                let (items, behind) = (number(line.items), number(line.behind));
                let holder = Escaped(holder).to_string();
                println!(
                    "{:>5}  {holder:20}  {items:>9}  {:>12}  {:>12}  {behind:>7}",
                    line.shard, line.octets, line.last
                );
            }
        }
        let is_whole = lines.iter().all(|line| line.holder.is_some());
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
            let home = cluster.node.home;
            let outside = EmbeddedStore::items_outside(&data_dir, home)?;
            if outside > 0 {
                bail!(
                    "{outside} messages wait in {} that came before the relay was in a cluster: nodes would not find \
                     them. Start it without [cluster], keep new mail away until `relevo queue list` is empty, and \
                     stop it",
                    data_dir.display()
                );
            }
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
