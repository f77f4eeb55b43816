//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::EngineKind;

pub(crate) const USAGE: &str = "\
usage: RELEVO=PATH tests/bench/run [OPTIONS]

  --only PART,...     throughput, large, queue, sites, tenants, plugins, api, edge, backlog, receivers,
                      cluster, peers
                      (default: all but receivers, cluster and peers; edge: where `wasmtime` is on the PATH)
  --peers             also the peers, those that are missing are installed (root, Debian)
  --peer NAME         of the peers only those whose name has NAME in it
  --pairs N           measurements of Relevo and of a peer for each load (3)
  --load NAME         of the loads only those whose name has NAME in it
  --seconds N         of each load (15)
  --queued N          messages of the long queue (100000)
  --backlog N         messages for dead destinations beside which fresh mail flows (1000000)
  --sink FILE         how receivers behave in the throughput part (tests/bench/sinks/plain.toml)
  --engine NAME       of the engines of a cluster only this: nats or postgres
  --takeovers N,...   messages that wait when a node of a cluster dies (10000,100000); - for none
  --nats FILE         the server (relevo-cluster/nats-server below the directory for temporary files,
                      where tests/cluster/install puts it)
  --takeovers-only    of the part `cluster` the takeovers alone
  --installed DIR     where peers are unpacked (target/bench/peers)
  --gateway FILE      the composition (target/edge/gateway.wasm)
  --plugins DIR       what `cargo xtask build --release` left there (target/plugins)
  --directory DIR     for the relay's data, on a real disk (target/bench)
  --report FILE       the figures as JSON (target/bench/report.json)
  --quick             everything short: does it work?
  --strict            exit 1 when a budget is missed
  --keep              leave the relay's directory with its log";

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Throughput,
    Large,
    Queue,
    Sites,
    Tenants,
    Plugins,
    Api,
    Edge,
    Backlog,
    Receivers,
    Cluster,
    Peers,
}

/// What the part `cluster` does.
#[derive(Debug)]
pub(crate) struct ClusterOptions {
    pub(crate) engines: Vec<EngineKind>,
    /// Messages that wait when a node dies.
    pub(crate) takeovers: Vec<u64>,
    /// Loads are run, too.
    pub(crate) loads: bool,
    /// The server's binary.
    pub(crate) nats: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) load: String,
    pub(crate) peer: String,
    pub(crate) pairs: u32,
    /// Where `peers/install` puts what it fetches.
    pub(crate) installed: PathBuf,
    pub(crate) duration: Duration,
    pub(crate) queued: u64,
    pub(crate) sink: PathBuf,
    pub(crate) backlog: u64,
    pub(crate) plugins: PathBuf,
    pub(crate) cluster: ClusterOptions,
    pub(crate) gateway: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) report: PathBuf,
    pub(crate) quick: bool,
    pub(crate) strict: bool,
    pub(crate) keep: bool,
}

impl Options {
    /// `None` when help was asked for.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self {
            parts: vec![
                Part::Throughput,
                Part::Large,
                Part::Queue,
                Part::Sites,
                Part::Tenants,
                Part::Plugins,
                Part::Api,
                Part::Edge,
                Part::Backlog,
            ],
            load: String::new(),
            peer: String::new(),
            pairs: 3,
            installed: PathBuf::from("target/bench/peers"),
            duration: Duration::from_secs(15),
            queued: 100_000,
            backlog: 1_000_000,
            sink: builtin_sink("plain"),
            plugins: PathBuf::from("target/plugins"),
            cluster: ClusterOptions {
                engines: EngineKind::ALL.to_vec(),
                takeovers: vec![10_000, 100_000],
                loads: true,
                nats: std::env::temp_dir().join("relevo-cluster").join("nats-server"),
            },
            gateway: PathBuf::from("target/edge/gateway.wasm"),
            directory: PathBuf::from("target/bench"),
            report: PathBuf::from("target/bench/report.json"),
            quick: false,
            strict: false,
            keep: false,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--only" => options.parts = value()?.split(',').map(part).collect::<Result<_>>()?,
                "--peers" if options.parts.contains(&Part::Peers) => {}
                "--peers" => options.parts.push(Part::Peers),
                "--peer" => options.peer = value()?.to_lowercase(),
                "--pairs" => options.pairs = value()?.parse().context("--pairs")?,
                "--installed" => options.installed = value()?.into(),
                "--load" => options.load = value()?,
                "--seconds" => options.duration = Duration::from_secs(value()?.parse().context("--seconds")?),
                "--queued" => options.queued = value()?.parse().context("--queued")?,
                "--backlog" => options.backlog = value()?.parse().context("--backlog")?,
                "--engine" => options.cluster.engines = vec![engine(&value()?)?],
                "--takeovers" => options.cluster.takeovers = takeovers(&value()?)?,
                "--takeovers-only" => options.cluster.loads = false,
                "--nats" => options.cluster.nats = value()?.into(),
                "--sink" => options.sink = value()?.into(),
                "--plugins" => options.plugins = value()?.into(),
                "--gateway" => options.gateway = value()?.into(),
                "--directory" => options.directory = value()?.into(),
                "--report" => options.report = value()?.into(),
                "--quick" => {
                    options.quick = true;
                    options.duration = Duration::from_secs(2);
                    options.queued = 2000;
                    options.backlog = 2000;
                    options.cluster.takeovers = vec![2000];
                    options.pairs = 1;
                }
                "--strict" => options.strict = true,
                "--keep" => options.keep = true,
                "--help" | "-h" => return Ok(None),
                _ => bail!("{arg} is not an option\n\n{USAGE}"),
            }
        }
        ensure!(!options.duration.is_zero() && options.queued > 1 && options.pairs > 0, "nothing to measure");
        Ok(Some(options))
    }
}

fn engine(name: &str) -> Result<EngineKind> {
    let found = EngineKind::ALL.into_iter().find(|kind| kind.key() == name);
    found.with_context(|| format!("there is no engine {name}: nats, postgres"))
}

fn takeovers(list: &str) -> Result<Vec<u64>> {
    match list {
        "-" => Ok(Vec::new()),
        list => list.split(',').map(|n| n.parse().context("--takeovers")).collect(),
    }
}

/// A file of `sinks`.
pub(crate) fn builtin_sink(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks").join(format!("{name}.toml"))
}

fn part(name: &str) -> Result<Part> {
    Ok(match name {
        "throughput" => Part::Throughput,
        "large" => Part::Large,
        "queue" => Part::Queue,
        "sites" => Part::Sites,
        "tenants" => Part::Tenants,
        "plugins" => Part::Plugins,
        "api" => Part::Api,
        "edge" => Part::Edge,
        "backlog" => Part::Backlog,
        "receivers" => Part::Receivers,
        "cluster" => Part::Cluster,
        "peers" => Part::Peers,
        _ => bail!("{name} is not a part\n\n{USAGE}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>> {
        Options::parse(args.iter().map(|a| (*a).to_owned()))
    }

    #[test]
    fn takes_what_the_usage_names() {
        let options = parse(&["--only", "queue,large", "--seconds", "3"]).expect("good").expect("no help");
        assert_eq!(
            (options.parts, options.duration),
            (vec![Part::Queue, Part::Large], Duration::from_secs(3))
        );
        let peers = parse(&["--only", "peers", "--peers"]).expect("good").expect("no help");
        assert_eq!(peers.parts, [Part::Peers]);
        assert!(parse(&["--help"]).expect("good").is_none());
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [&["--fast"][..], &["--only", "memory"], &["--seconds"], &["--seconds", "0"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
