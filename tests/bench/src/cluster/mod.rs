//! Many nodes on one machine: what an engine below the queue costs, and how long a takeover takes.

mod appends;
mod backlog;
mod engine;
mod nats;
mod nodes;
mod postgres;
mod servers;
mod takeover;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

pub(crate) use self::appends::AppendFigures;
pub(crate) use self::engine::EngineKind;
pub(crate) use self::takeover::Takeover;

use self::appends::appends;
use self::engine::LogEngine;
use self::nodes::{Ground, Nodes};
use crate::bench::{Bench, compile, note};
use crate::load::Schedule;
use crate::process::Cpu;
use crate::report::{MANY, REFERENCE};
use crate::scene::Scene;
use crate::server::Server as _;
use crate::throughput::{Figures, Plan, measure};

/// Messages per second of the load that no setup is busy with.
const PACE: f64 = 200.0;
/// Of the engine alone, for each size and number of logs.
const APPENDS: Duration = Duration::from_secs(3);
/// New holders of limits grant nothing for 12 s, and nodes take their part of them after that.
const SHARES: Duration = Duration::from_secs(20);

/// Of nodes that do nothing but renew their leases.
const REST: Duration = Duration::from_secs(15);

/// What the part measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ClusterFigures {
    pub(crate) appends: Vec<AppendFigures>,
    pub(crate) rests: Vec<Rest>,
    pub(crate) loads: Vec<Figures>,
    pub(crate) takeovers: Vec<Takeover>,
}

/// Nodes without mail: leases, limits, and a look at both every few seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rest {
    pub(crate) server: String,
    /// Percent of a processor, of all nodes and of all servers of the engine.
    pub(crate) nodes_percent: f64,
    pub(crate) engine_percent: f64,
    /// Octets that the servers of the engine wrote in a second.
    pub(crate) engine_written: f64,
}

impl Rest {
    #[expect(clippy::cast_precision_loss, reason = "octets of seconds")]
    fn of(nodes: &Nodes<'_>, duration: Duration) -> Result<Self> {
        let take = || Ok::<_, anyhow::Error>((nodes.cpu()?, nodes.engine()?.unwrap_or_default()));
        let before = take()?;
        sleep(duration);
        let after = take()?;
        let seconds = duration.as_secs_f64();
        let percent = |from: Cpu, to: Cpu| to.since(from).total().as_secs_f64() * 100.0 / seconds;
        Ok(Self {
            server: nodes.name().to_owned(),
            nodes_percent: percent(before.0, after.0),
            engine_percent: percent(before.1.cpu, after.1.cpu),
            engine_written: after.1.written.saturating_sub(before.1.written) as f64 / seconds,
        })
    }
}

impl Bench<'_> {
    /// The part `cluster`.
    pub(crate) fn cluster(&mut self) -> Result<()> {
        let scene = self.scene()?;
        let directory = self.directory.join("cluster");
        let first = directory.join("first");
        compile(&crate::relay::Setup { directory: &first, ..self.setup(scene.by_smarthost()) })?;
        let components = first.join("data").join("components");
        let ground = |name: &str| Ground {
            binary: self.binary,
            directory: directory.join(name),
            next_hop: scene.by_smarthost(),
            components: &components,
        };
        let mut figures = ClusterFigures::default();
        if self.options.cluster.loads {
            for count in [1, 3] {
                let nodes = ground(&format!("embedded{count}")).nodes(count, None)?;
                self.loads(&scene, &nodes, &mut figures.loads)?;
                nodes.stop()?;
            }
        }
        for kind in self.options.cluster.engines.clone() {
            let server = &self.options.cluster.nats;
            if self.options.cluster.loads {
                let place = ground(&format!("{}-appends", kind.key()));
                let engine = LogEngine::start(kind, server, &place.directory)?;
                note(&format!("appends, {}", kind.name()));
                figures.appends.extend(appends(&engine, APPENDS.min(self.options.duration))?);
                drop(engine);
                for count in [1, 3] {
                    let place = ground(&format!("{}{count}", kind.key()));
                    let engine = LogEngine::start(kind, server, &place.directory)?;
                    let nodes = place.nodes(count, Some(&engine))?;
                    sleep(SHARES);
                    figures.rests.push(Rest::of(&nodes, REST.min(self.options.duration))?);
                    self.loads(&scene, &nodes, &mut figures.loads)?;
                    nodes.stop()?;
                }
            }
            for messages in self.options.cluster.takeovers.clone() {
                let place = ground(&format!("{}-{messages}", kind.key()));
                let engine = LogEngine::start(kind, server, &place.directory)?;
                figures.takeovers.push(takeover::takeover(&place, &engine, &scene, messages)?);
                drop(engine);
                if !self.options.keep {
                    // A million messages are gigabytes.
                    fs::remove_dir_all(&place.directory)?;
                }
            }
        }
        self.report.cluster = Some(figures);
        Ok(())
    }

    /// The loads of one setup. Nothing may be lost, and nothing arrive twice.
    fn loads(&self, scene: &Scene, nodes: &Nodes<'_>, figures: &mut Vec<Figures>) -> Result<()> {
        let plan = |name: &str, sessions| Plan {
            is_of_words: true,
            ..Plan::new(name, 4, sessions, self.options.duration)
        };
        let plans = [
            plan(REFERENCE, 20),
            plan(MANY, 100),
            Plan { is_of_words: false, ..plan("4 KiB x 20, one text", 20) },
            Plan { schedule: Schedule::Open(PACE), ..plan("4 KiB, 200 a second", 100) },
        ];
        for plan in plans.into_iter().filter(|plan| plan.name.contains(&self.options.load)) {
            note(&format!("{}: {}", nodes.name(), plan.name));
            figures.push(measure(nodes, &scene.ledger, &scene.addresses(), &plan)?);
        }
        Ok(())
    }
}

/// Writes a file that nobody else may read; its name.
fn secret(path: &Path, text: &str) -> Result<String> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}
