//! For people.

use std::fmt::Write as _;

use super::{Report, mega, megabytes};
use crate::api::Api;
use crate::edge::Edge;
use crate::throughput::Figures;

impl Report {
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
        self.compared_by_smtp_source(&mut text);
        self.neighbours(&mut text);
        self.tenants_code(&mut text);
        if let Some(api) = &self.api {
            api_lines(api, &mut text);
        }
        if let Some(edge) = &self.edge {
            edge_lines(edge, &mut text);
        }
        text.push_str(&self.receivers_table());
        text.push_str(&self.cluster_table());
        self.memory(&mut text);
        for v in &self.verdicts {
            let met = if v.met { "met" } else { "MISSED" };
            let bound = if v.at_least { "at least" } else { "at most" };
            let _ = writeln!(
                text,
                "{:<56} {:>9.2} {:<10} {bound:<8} {:>7.2}  {met}",
                v.what, v.figure, v.unit, v.target
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
            if let Some(why) = &peer.failed {
                let _ = writeln!(text, "    FAILED: {why}");
            }
            if peer.version.is_some() && !peer.exact {
                text.push_str(
                    "    no control group: the time of processes that nobody waited for is missing\n",
                );
            }
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

    fn compared_by_smtp_source(&self, text: &mut String) {
        if self.source_comparisons.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "smtp-source and smtp-sink\n{:<11} {:<28} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7}",
            "beside", "load", "Relevo 1/s", "peer 1/s", "ratio", "Relevo us", "peer us", "ratio"
        );
        for c in &self.source_comparisons {
            let ([ours, theirs], [our_cpu, their_cpu]) = (c.rate, c.cpu_us);
            let _ = writeln!(
                text,
                "{:<11} {:<28} {ours:>10.0} {theirs:>10.0} {:>7.2} {our_cpu:>12.0} {their_cpu:>12.0} {:>7.2}",
                c.peer, c.load, c.rate_ratio, c.cpu_ratio
            );
        }
        text.push('\n');
    }

    /// A quiet tenant beside a noisy one, fresh mail beside a backlog.
    fn neighbours(&self, text: &mut String) {
        if let Some(f) = &self.fairness {
            let _ = writeln!(
                text,
                "quiet tenant, p99 alone -> beside a noisy one of {:.0}/s: to its 250 {:.1} -> {:.1} ms, from there to the next hop {:.1} -> {:.1} ms; \
                 beside a process that computes on all processors: {:.1} and {:.1} ms",
                f.noisy_per_second,
                f.response_p99_ms[0],
                f.response_p99_ms[1],
                f.to_next_hop_p99_ms[0],
                f.to_next_hop_p99_ms[1],
                f.outside_p99_ms[0],
                f.outside_p99_ms[1],
            );
        }
        if let Some(b) = &self.backlog {
            let _ = writeln!(
                text,
                "fresh mail with an empty queue {:.0}/s, beside {} messages for dead destinations {:.0}/s: {:.0} % (filled at {:.0}/s); \
                 resident {:.1} MB; restarted with them in {:.2} s: {:.1} MB",
                b.empty_rate,
                b.queued,
                b.beside_rate,
                b.ratio * 100.0,
                b.filled_per_second,
                megabytes(b.resident_kib),
                b.restart_seconds,
                megabytes(b.restarted_kib),
            );
        }
    }

    fn tenants_code(&self, text: &mut String) {
        let Some(p) = &self.plugins else { return };
        let pairs: Vec<String> =
            p.accept_all_us.iter().map(|[without, with]| format!("{without:.0} -> {with:.0}")).collect();
        let _ = writeln!(text, "a plugin that accepts everything, us/message: {}", pairs.join(", "));
        for h in p.hostile.iter().chain([&p.outside]) {
            let ([a, b], [c, d]) = (h.response_p99_ms, h.to_next_hop_p99_ms);
            let _ = writeln!(
                text,
                "another tenant beside {:<18} p99 to its 250 {a:.1} -> {b:.1} ms, to the next hop {c:.1} -> {d:.1} ms; {:.0} faults",
                h.case, h.faults
            );
        }
        let (u, m) = (&p.upload, &p.many);
        let [without, with] = u.response_p99_ms;
        let _ = writeln!(
            text,
            "{} uploads of {} ({:.1} MB): p99 to the 250 {without:.1} -> {with:.1} ms",
            u.uploads,
            u.plugin,
            mega(u.octets as u64)
        );
        let _ = writeln!(
            text,
            "{} plugins, each called once: {:.1} MB resident before, {:.1} MB after (PSS {:.1} MB)",
            m.plugins,
            megabytes(m.before_kib),
            megabytes(m.resident_kib),
            megabytes(m.proportional_kib)
        );
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

fn api_lines(api: &Api, text: &mut String) {
    for (rates, cpu) in api.rates.iter().zip(&api.cpu_us) {
        let [[smtp, http], [smtp_us, http_us]] = [rates, cpu];
        let _ = writeln!(
            text,
            "by SMTP {smtp:.0}/s, {smtp_us:.0} us/message; by HTTP {http:.0}/s, {http_us:.0} us/message"
        );
    }
    let batches: Vec<String> = api.batch_ms.iter().map(|ms| format!("{ms:.0}")).collect();
    let _ = writeln!(text, "batches of 1,000 personalised messages: {} ms", batches.join(", "));
    let _ = writeln!(text, "a rendering: {:.0} us in `template`", api.render_us);
    let click = &api.click_ms;
    let _ = writeln!(text, "2,000 clicks a second: p50 {:.1}, p99 {:.1} ms", click.p50, click.p99);
}

fn edge_lines(edge: &Edge, text: &mut String) {
    let first: Vec<String> = edge.first_answer_ms.iter().map(|ms| format!("{ms:.0}")).collect();
    let _ = writeln!(text, "\nedge, {}: {:.2} MB", edge.host, mega(edge.octets));
    let _ = writeln!(text, "first answers of fresh processes: {} ms", first.join(", "));
    for load in &edge.loads {
        let _ = writeln!(
            text,
            "{:<26} {:>6.0}/s, {:>5.0} us of the host and {:>5.0} us of the core; natively {:>6.0}/s, {:>5.0} us; {} refused",
            load.name, load.rate, load.host_us, load.core_us, load.native_rate, load.native_us, load.refused
        );
    }
    let _ = writeln!(
        text,
        "memory of an instance: {:.2} MB; of the host after the loads: {:.0} MB",
        megabytes(edge.instance_kib),
        megabytes(edge.host_kib)
    );
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
