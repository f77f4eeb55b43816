//! The figures: as JSON, as a table for people, held against their targets, and as pictures.

mod chart;
mod cluster;
mod pictures;
mod receivers;
mod table;
mod targets;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::api::Api;
use crate::backlog::Backlog;
use crate::ceiling::Ceiling;
use crate::cluster::ClusterFigures;
use crate::compare::{Comparison, SourceComparison};
use crate::edge::Edge;
use crate::memory::{LargeMessage, LongQueue};
use crate::peers::Description;
use crate::plugins::Plugins;
use crate::receivers::Receivers;
use crate::tenants::Fairness;
use crate::throughput::Figures;

use self::targets::Verdict;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) relevo: String,
    pub(crate) machine: String,
    pub(crate) file_system: String,
    /// Median of a 4 KiB append with fdatasync.
    pub(crate) sync_ms: f64,
    pub(crate) quick: bool,
    pub(crate) loads: Vec<Figures>,
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) peers: Vec<Description>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) source_comparisons: Vec<SourceComparison>,
    pub(crate) fairness: Option<Fairness>,
    pub(crate) plugins: Option<Plugins>,
    pub(crate) api: Option<Api>,
    pub(crate) edge: Option<Edge>,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) receivers: Option<Receivers>,
    pub(crate) cluster: Option<ClusterFigures>,
    pub(crate) idle: Option<Idle>,
    pub(crate) large_message: Option<LargeMessage>,
    pub(crate) long_queue: Option<LongQueue>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Resident memory at rest.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Idle {
    pub(crate) first_start_peak_kib: u64,
    pub(crate) after_start_kib: u64,
    pub(crate) after_start_seconds: u64,
    pub(crate) after_load_kib: u64,
    pub(crate) after_load_seconds: u64,
}

/// The peer that ratios are promised against.
pub(crate) const MEASURE: &str = "Postfix";

/// The load whose component time and half-load latency have budgets.
pub(crate) const REFERENCE: &str = "4 KiB x 20";
/// Loads that are compared with peers.
pub(crate) const MANY: &str = "4 KiB x 100";
pub(crate) const LARGE: &str = "100 KiB x 20";
pub(crate) const HALF_LOAD: &str = "half load";

impl Report {
    /// As JSON, and the pictures beside it.
    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        for (name, picture) in self.pictures() {
            std::fs::write(to.with_file_name(name), picture)?;
        }
        std::fs::write(to, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

/// Megabytes (10^6 octets), of KiB.
#[expect(clippy::cast_precision_loss, reason = "memory of a process")]
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "octets of a message")]
fn mega(octets: u64) -> f64 {
    octets as f64 / 1e6
}
