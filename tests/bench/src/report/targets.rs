//! What was measured, held against what was promised.

use serde::Serialize;

use super::{HALF_LOAD, LARGE, MANY, MEASURE, REFERENCE, Report, megabytes};
use crate::throughput::Figures;

/// A figure held against its target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) target: f64,
    /// Whether the target is a lower bound.
    pub(crate) at_least: bool,
    pub(crate) unit: &'static str,
    pub(crate) met: bool,
}

#[derive(Default)]
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn at_most(&mut self, what: &str, figure: f64, target: f64, unit: &'static str) {
        self.0.push(Verdict {
            what: what.to_owned(),
            figure,
            target,
            at_least: false,
            unit,
            met: figure <= target,
        });
    }

    fn at_least(&mut self, what: &str, figure: f64, target: f64, unit: &'static str) {
        self.0.push(Verdict {
            what: what.to_owned(),
            figure,
            target,
            at_least: true,
            unit,
            met: figure >= target,
        });
    }
}

impl Report {
    /// Holds what was measured against the targets; what was not measured has no verdict.
    pub(crate) fn judge(&mut self) {
        let mut verdicts = Verdicts::default();
        self.compared_with_peers(&mut verdicts);
        self.throughput(&mut verdicts);
        self.neighbours_are_not_felt(&mut verdicts);
        self.plugins(&mut verdicts);
        self.api(&mut verdicts);
        self.edge(&mut verdicts);
        self.memory_and_recovery(&mut verdicts);
        self.verdicts = verdicts.0;
    }

    fn load(&self, name: &str) -> Option<&Figures> {
        self.loads.iter().find(|l| l.name == name)
    }

    fn compared_with_peers(&self, verdicts: &mut Verdicts) {
        for (load, times, share) in [(REFERENCE, 5.0, 0.15), (MANY, 5.0, 0.15), (LARGE, 4.0, 0.2)] {
            for c in self.comparisons.iter().filter(|c| c.load == load && c.durable) {
                // Of the measure a multiple; of every other one at least not to be slower.
                let target = if c.peer == MEASURE { times } else { 1.0 };
                verdicts.at_least(
                    &format!("messages per second over {}, {load}", c.peer),
                    c.rate_ratio,
                    target,
                    "times",
                );
                if c.peer == MEASURE {
                    let what = format!("CPU per message over {}, {load}", c.peer);
                    verdicts.at_most(&what, c.cpu_ratio, share, "times");
                }
            }
        }
        for c in &self.source_comparisons {
            let what = format!("messages per second over {}, smtp-source, {}", c.peer, c.load);
            verdicts.at_least(&what, c.rate_ratio, c.rate_target, "times");
            let what = format!("CPU per message over {}, smtp-source, {}", c.peer, c.load);
            verdicts.at_most(&what, c.cpu_ratio, c.cpu_target, "times");
        }
    }

    fn throughput(&self, verdicts: &mut Verdicts) {
        if let Some(load) = self.load(REFERENCE) {
            verdicts.at_most(
                "components, 4 KiB, no tracking",
                load.stage_us.values().sum(),
                150.0,
                "us/message",
            );
            verdicts.at_most("WASM share, 4 KiB, no tracking", load.wasm_share() * 100.0, 25.0, "%");
        }
        if let Some(load) = self.load(HALF_LOAD) {
            verdicts.at_most("250 to first attempt, half load, p99", load.to_next_hop_ms.p99, 50.0, "ms");
        }
    }

    fn neighbours_are_not_felt(&self, verdicts: &mut Verdicts) {
        if let Some(fairness) = &self.fairness {
            verdicts.at_most(
                "quiet tenant's p99 beyond 20 % or 2 ms, beside a noisy one",
                fairness.excess_ms(),
                0.0,
                "ms",
            );
        }
        if let Some(backlog) = &self.backlog {
            let share = backlog.ratio * 100.0;
            let what = format!("fresh mail beside {} dead messages, of empty", backlog.queued);
            verdicts.at_least(&what, share, 90.0, "%");
            verdicts.at_most("resident beside them", megabytes(backlog.resident_kib), 400.0, "MB");
        }
    }

    fn api(&self, verdicts: &mut Verdicts) {
        let Some(api) = &self.api else { return };
        verdicts.at_least("messages per second by HTTP, of those by SMTP", api.ratio() * 100.0, 80.0, "%");
        verdicts.at_most("a batch of 1,000 personalised messages accepted", api.batch(), 1000.0, "ms");
        let renders = 1e6 / api.render_us.max(1.0);
        verdicts.at_least("renderings per second and processor", renders, 10_000.0, "/s");
        verdicts.at_most("redirects at 2,000 clicks a second, p99", api.click_ms.p99, 5.0, "ms");
    }

    fn edge(&self, verdicts: &mut Verdicts) {
        let Some(edge) = &self.edge else { return };
        verdicts.at_most("first answer of a fresh process at the edge", edge.first_answer(), 50.0, "ms");
        verdicts.at_most("composition of the gateway", super::mega(edge.octets), 5.0, "MB");
    }

    fn plugins(&self, verdicts: &mut Verdicts) {
        let Some(plugins) = &self.plugins else { return };
        let adds = plugins.accept_all_adds_us();
        verdicts.at_most("a plugin that accepts everything adds", adds, 150.0, "us/message");
        verdicts.at_most(
            "another tenant's p99 beyond 10 % or 2 ms, beside hostile plugins",
            plugins.hostile_excess_ms(),
            0.0,
            "ms",
        );
        let raised = plugins.upload_raises_percent();
        verdicts.at_most("uploads raise the p99 to the 250 by", raised, 100.0, "%");
        let many = &plugins.many;
        let what = format!("resident with {} plugins, each called once", many.plugins);
        verdicts.at_most(&what, megabytes(many.resident_kib), 400.0, "MB");
    }

    fn memory_and_recovery(&self, verdicts: &mut Verdicts) {
        if let Some(idle) = self.idle.as_ref().filter(|_| !self.quick) {
            verdicts.at_most("resident 30 s after start", megabytes(idle.after_start_kib), 80.0, "MB");
            verdicts.at_most("resident 60 s after load", megabytes(idle.after_load_kib), 80.0, "MB");
        }
        if let Some(large) = &self.large_message {
            verdicts.at_most(
                "VmHWM rise, 50 MB attachment, tracked",
                megabytes(large.rise_kib()),
                16.0,
                "MB",
            );
        }
        if let Some(queue) = &self.long_queue {
            // The first half also fills the index's cache, which does not grow any further.
            let octets = queue.octets_per_message_second_half();
            verdicts.at_most("memory per queued message", octets, 300.0, "octets");
            let what = format!("start with {} queued messages, after SIGKILL", queue.messages);
            verdicts.at_most(&what, queue.restart_seconds, 2.0, "s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::LargeMessage;

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
