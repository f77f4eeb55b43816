//! Nodes and engines, for people.

use std::fmt::Write as _;

use super::{Report, mega};
use crate::throughput::Figures;

impl Report {
    /// Of the part `cluster`; empty when it did not run.
    pub(super) fn cluster_table(&self) -> String {
        let Some(cluster) = &self.cluster else { return String::new() };
        let mut text = String::from("cluster: all on this machine, so ratios alone say something\n");
        for a in &cluster.appends {
            let _ = writeln!(
                text,
                "{:<11} {} logs, records of {:>3} KiB: {:>6.0} appends/s, p50 {:>5.1}, p99 {:>6.1} ms; {:>5.0} us of the servers; {:.1} octets written for each",
                a.engine.name(),
                a.logs,
                a.octets >> 10,
                a.per_second,
                a.answer_ms.p50,
                a.answer_ms.p99,
                a.cpu_us,
                a.written,
            );
        }
        for r in &cluster.rests {
            let _ = writeln!(
                text,
                "{:<24} at rest: {:.1} % of a processor for the nodes, {:.1} % for the engine, which writes {:.0} KB/s",
                r.server,
                r.nodes_percent,
                r.engine_percent,
                r.engine_written / 1e3,
            );
        }
        if !cluster.loads.is_empty() {
            loads(&cluster.loads, &mut text);
        }
        for t in &cluster.takeovers {
            let _ = writeln!(
                text,
                "{:<11} takeover of {:>7} messages ({} records, {:.1} MB; filled at {:.0}/s): lease after {:.1} s, replay {:.2} s \
                 ({:.2} s of the nodes, {:.2} s of the engine); home again after {:.1} s; {} sent by the node that took it over",
                t.engine.name(),
                t.backlog,
                t.log_records,
                mega(t.log_octets),
                t.filled_per_second,
                t.lapse_seconds,
                t.replay_seconds,
                t.replay_cpu_seconds,
                t.engine_cpu_seconds,
                t.home_seconds,
                t.sent,
            );
        }
        text.push('\n');
        text
    }
}

fn loads(loads: &[Figures], text: &mut String) {
    let _ = writeln!(
        text,
        "\n{:<24} {:<20} {:>7} {:>6} {:>7} {:>7} {:>15} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7}",
        "setup",
        "load",
        "1/s",
        "ratio",
        "relay",
        "engine",
        "250 p50/p99",
        "hop p99",
        "appends",
        "messages",
        "octets",
        "written",
        "relay's",
        "commits",
        "others"
    );
    let _ = writeln!(
        text,
        "{:<24} {:<20} {:>7} {:>6} {:>7} {:>7} {:>15} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7}",
        "", "", "", "", "us/msg", "us/msg", "ms", "ms", "1/s", "/append", "/msg", "/msg", "/msg", "/msg", "%"
    );
    for l in loads {
        // Of one node with its disk alone, in the same run.
        let alone = loads.iter().find(|other| other.name == l.name).filter(|other| other.engine.is_none());
        let ratio = alone.map_or("-".to_owned(), |alone| format!("{:.2}", l.rate() / alone.rate()));
        let (octets, engine) = (|o: f64| format!("{o:.0}"), l.engine);
        let of = |figure: fn(&crate::throughput::EngineFigures) -> f64, digits: usize| {
            engine.as_ref().map_or("-".to_owned(), |e| format!("{:.*}", digits, figure(e)))
        };
        let _ = writeln!(
            text,
            "{:<24} {:<20} {:>7.0} {ratio:>6} {:>7.0} {:>7} {:>15} {:>9.1} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8.2} {:>7.0}",
            l.server,
            l.name,
            l.rate(),
            l.cpu_us(),
            of(|e| e.cpu_us, 0),
            format!("{:.1} / {:.1}", l.answer_ms.p50, l.answer_ms.p99),
            l.to_next_hop_ms.p99,
            of(|e| e.appends_per_second, 0),
            of(|e| e.messages_per_append, 1),
            of(|e| e.octets, 0),
            of(|e| e.written_octets, 0),
            l.written_octets.map_or("-".to_owned(), octets),
            l.commits_per_message,
            l.others * 100.0,
        );
    }
    text.push('\n');
}
