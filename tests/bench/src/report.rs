//! The figures as a table and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::ceiling::Ceiling;
use crate::compare::Comparison;
use crate::memory::{LargeMessage, LongQueue};
use crate::peers::Description;
use crate::throughput::Figures;

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

/// A figure held against its budget.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) figure: f64,
    pub(crate) budget: f64,
    pub(crate) unit: &'static str,
    pub(crate) met: bool,
}

/// The load whose component time and half-load latency have budgets.
pub(crate) const REFERENCE: &str = "4 KiB x 20";
/// Loads that are compared with peers.
pub(crate) const MANY: &str = "4 KiB x 100";
pub(crate) const LARGE: &str = "100 KiB x 20";
pub(crate) const HALF_LOAD: &str = "half load";

impl Report {
    /// Holds what was measured against the budgets.
    pub(crate) fn judge(&mut self) {
        let mut verdicts = Vec::new();
        let mut judge = |what, figure: f64, budget, unit| {
            verdicts.push(Verdict { what, figure, budget, unit, met: figure <= budget });
        };
        if let Some(load) = self.loads.iter().find(|l| l.name == REFERENCE) {
            judge("components, 4 KiB, no tracking", load.stage_us.values().sum(), 150.0, "us/message");
        }
        if let Some(load) = self.loads.iter().find(|l| l.name == HALF_LOAD) {
            judge("250 to first attempt, half load, p99", load.to_next_hop_ms.p99, 50.0, "ms");
        }
        if let Some(idle) = self.idle.as_ref().filter(|_| !self.quick) {
            judge("resident 30 s after start", megabytes(idle.after_start_kib), 60.0, "MB");
            judge("resident 60 s after load", megabytes(idle.after_load_kib), 60.0, "MB");
        }
        if let Some(large) = &self.large_message {
            judge("VmHWM rise, 50 MB attachment, tracked", megabytes(large.rise_kib()), 16.0, "MB");
        }
        if let Some(queue) = &self.long_queue {
            // The first half also fills the index's cache, which does not grow any further.
            judge("memory per queued message", queue.octets_per_message_second_half(), 300.0, "octets");
        }
        self.verdicts = verdicts;
    }

    /// As JSON.
    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(to, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}\n{}", self.relevo, self.machine);
        let _ = writeln!(
            text,
            "{}, 4 KiB append and fdatasync {:.2} ms (median)\n",
            self.file_system, self.sync_ms
        );
        if !self.loads.is_empty() {
            loads(&self.loads, &mut text);
        }
        self.compared(&mut text);
        self.memory(&mut text);
        for v in &self.verdicts {
            let met = if v.met { "met" } else { "MISSED" };
            let _ = writeln!(
                text,
                "{:<40} {:>8.1} {:<10} budget {:>5.0}  {met}",
                v.what, v.figure, v.unit, v.budget
            );
        }
        if self.quick {
            text.push_str(
                "\nA quick run shows that the benchmark works; its figures are not to be compared.\n",
            );
        }
        if self.loads.iter().any(|l| l.others > 0.05) {
            text.push_str("\nOther processes took more than 5 % of the machine: rates and latencies are too low a bound.\n");
        }
        text
    }

    fn compared(&self, text: &mut String) {
        if let Some(c) = &self.ceiling {
            let _ = writeln!(
                text,
                "at most {:.0}/s: generator and sink {:.0} us ({:.0}/s alone), RSA-2048 signature {:.0} us\n",
                c.messages_per_second, c.harness_us, c.direct_per_second, c.rsa_us
            );
        }
        for peer in &self.peers {
            let durable = if peer.durable { "" } else { " (not durable)" };
            let _ = match (&peer.version, &peer.missing) {
                (Some(version), _) => {
                    writeln!(text, "{}{durable}: {version}\n    {}", peer.name, peer.tuning)
                }
                (None, why) => {
                    writeln!(text, "{}: missing, {}", peer.name, why.as_deref().unwrap_or_default())
                }
            };
        }
        if self.comparisons.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\n{:<11} {:<14} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7} {:>21} {:>24}",
            "beside",
            "load",
            "Relevo 1/s",
            "peer 1/s",
            "ratio",
            "Relevo us",
            "peer us",
            "ratio",
            "250 p99 ms",
            "to next hop p99 ms"
        );
        for c in &self.comparisons {
            let _ = writeln!(
                text,
                "{:<11} {:<14} {:>10.0} {:>10.0} {:>7.2} {:>12.0} {:>12.0} {:>7.2} {:>10.1} {:>10.1} {:>12.1} {:>11.1}{}",
                c.peer,
                c.load,
                c.relevo.rate,
                c.other.rate,
                c.rate_ratio,
                c.relevo.cpu_us,
                c.other.cpu_us,
                c.cpu_ratio,
                c.relevo.answer_p99_ms,
                c.other.answer_p99_ms,
                c.relevo.to_next_hop_p99_ms,
                c.other.to_next_hop_p99_ms,
                if c.durable { "" } else { "  not durable" },
            );
        }
        text.push('\n');
    }

    fn memory(&self, text: &mut String) {
        if let Some(idle) = &self.idle {
            let _ = writeln!(
                text,
                "at rest: {:.1} MB {} s after start, {:.1} MB {} s after the loads; first start, which compiles: peak {:.1} MB",
                megabytes(idle.after_start_kib),
                idle.after_start_seconds,
                megabytes(idle.after_load_kib),
                idle.after_load_seconds,
                megabytes(idle.first_start_peak_kib),
            );
        }
        if let Some(large) = &self.large_message {
            let _ = writeln!(
                text,
                "large message, {:.1} MB on the wire: VmHWM {:.1} -> {:.1} MB; {:.1} MB above what was resident; \
                 250 after {:.2} s, delivered {:.2} s later",
                mega(large.octets),
                megabytes(large.warm_peak_kib),
                megabytes(large.peak_kib.max(large.warm_peak_kib)),
                megabytes(large.above_resident_kib()),
                large.answer_seconds,
                large.delivery_seconds,
            );
        }
        if let Some(queue) = &self.long_queue {
            let _ = writeln!(
                text,
                "queue of {} messages not due ({:.0}/s): {:.1} -> {:.1} -> {:.1} MB, {:.0} octets each ({:.0} in the second half); \
                 restarted with it in {:.1} s: {:.1} MB",
                queue.messages,
                queue.filled_per_second,
                megabytes(queue.before_kib),
                megabytes(queue.half_kib),
                megabytes(queue.full_kib),
                queue.octets_per_message(),
                queue.octets_per_message_second_half(),
                queue.restart_seconds,
                megabytes(queue.restarted_kib),
            );
        }
        text.push('\n');
    }
}

fn loads(loads: &[Figures], text: &mut String) {
    let _ = writeln!(
        text,
        "{:<20} {:>8} {:>9} {:>10} {:>8} {:>8} {:>22} {:>22} {:>6} {:>8} {:>7}",
        "load",
        "messages",
        "accepted",
        "delivered",
        "cpu user",
        "system",
        "dot to 250 ms",
        "250 to next hop ms",
        "group",
        "peak",
        "others"
    );
    let _ = writeln!(
        text,
        "{:<20} {:>8} {:>9} {:>10} {:>8} {:>8} {:>22} {:>22} {:>6} {:>8} {:>7}",
        "", "", "1/s", "1/s", "us/msg", "us/msg", "p50 / p95 / p99", "p50 / p95 / p99", "", "MB", "%"
    );
    for l in loads {
        let times = |p: crate::throughput::Percentiles| format!("{:.1} / {:.1} / {:.1}", p.p50, p.p95, p.p99);
        let _ = writeln!(
            text,
            "{:<20} {:>8} {:>9.0} {:>10.0} {:>8.0} {:>8.0} {:>22} {:>22} {:>6.1} {:>8.1} {:>7.0}",
            l.name,
            l.messages,
            l.accepted_per_second,
            l.delivered_per_second,
            l.cpu_user_us,
            l.cpu_system_us,
            times(l.answer_ms),
            times(l.to_next_hop_ms),
            l.group,
            megabytes(l.peak_kib),
            l.others * 100.0,
        );
    }
    let _ = writeln!(text, "\n{:<20} time in components, us/message (calls)", "load");
    for l in loads {
        let stages = l.stage_us.iter().map(|(stage, us)| {
            format!("{stage} {us:.0} ({:.1})", l.stage_calls.get(stage).copied().unwrap_or_default())
        });
        let stages: Vec<String> = stages.collect();
        let _ = writeln!(
            text,
            "{:<20} {}; together {:.0}",
            l.name,
            stages.join(", "),
            l.stage_us.values().sum::<f64>()
        );
    }
    text.push('\n');
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_held_against_the_strict_megabyte() {
        let large = |peak_kib| LargeMessage {
            octets: 68_000_000,
            warm_peak_kib: 50_000,
            resident_kib: 45_000,
            peak_kib,
            sending_seconds: 1.0,
            answer_seconds: 1.0,
            delivery_seconds: 1.0,
        };
        for (peak, met) in [(65_625, true), (65_626, false), (40_000, true)] {
            let mut report = Report { large_message: Some(large(peak)), ..Report::default() };
            report.judge();
            assert_eq!(report.verdicts.len(), 1);
            assert_eq!(report.verdicts[0].met, met, "{peak}");
            assert!(report.table().contains(if met { " met" } else { "MISSED" }));
        }
    }
}
