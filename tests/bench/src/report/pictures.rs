//! Throughput and latency over time.

use super::Report;
use super::chart::{Axis, Chart, Scale};
use crate::series::Second;
use crate::throughput::Figures;

impl Report {
    /// File names and their content: two pictures for each load, and two for each load that was
    /// compared with peers.
    pub(super) fn pictures(&self) -> Vec<(String, String)> {
        let mut pictures = Vec::new();
        for load in &self.loads {
            pictures.extend(of_one(load));
        }
        pictures.extend(self.receivers_picture());
        let mut loads: Vec<&str> = self.comparisons.iter().map(|c| c.load.as_str()).collect();
        loads.dedup();
        loads.sort_unstable();
        loads.dedup();
        for name in loads {
            let compared: Vec<_> = self.comparisons.iter().filter(|c| c.load == name).collect();
            let ours = compared.first().and_then(|c| c.pairs.first()).map(|pair| &pair[0]);
            let theirs = compared.iter().filter_map(|c| c.pairs.first()).map(|pair| &pair[1]);
            pictures.extend(of_servers(name, &ours.into_iter().chain(theirs).collect::<Vec<_>>()));
        }
        pictures
    }
}

fn of_one(load: &Figures) -> [(String, String); 2] {
    let of = |name: &str, series: &[Second], f: fn(&Second) -> f64| {
        (name.to_owned(), series.iter().map(f).collect())
    };
    let throughput =
        vec![of("accepted", &load.accepted_series, count), of("arrived", &load.arrived_series, count)];
    let latency = vec![
        of("to the 250, p50", &load.accepted_series, |s| s.p50_ms),
        of("to the 250, p99", &load.accepted_series, |s| s.p99_ms),
        of("250 to arrival, p50", &load.arrived_series, |s| s.p50_ms),
        of("250 to arrival, p99", &load.arrived_series, |s| s.p99_ms),
    ];
    charts(&load.name, &load.name, throughput, latency)
}

fn of_servers(load: &str, servers: &[&Figures]) -> [(String, String); 2] {
    let lines = |f: fn(&Second) -> f64| {
        servers.iter().map(|s| (s.server.clone(), s.arrived_series.iter().map(f).collect())).collect()
    };
    charts(
        &format!("peers, {load}"),
        &format!("{load}: arrivals, and 250 to arrival at the 99th percentile"),
        lines(count),
        lines(|s| s.p99_ms),
    )
}

fn charts(
    name: &str,
    load: &str,
    throughput: Vec<(String, Vec<f64>)>,
    latency: Vec<(String, Vec<f64>)>,
) -> [(String, String); 2] {
    let file = |kind: &str| format!("{kind}-{}.svg", slug(name));
    let throughput = Chart {
        title: format!("Throughput, {load}"),
        unit: "per second",
        scale: Scale::Linear,
        axis: Axis::Seconds,
        lines: throughput,
    };
    let latency = Chart {
        title: format!("Latency, {load}"),
        unit: "ms",
        scale: Scale::Logarithmic,
        axis: Axis::Seconds,
        lines: latency,
    };
    [(file("throughput"), throughput.render()), (file("latency"), latency.render())]
}

#[expect(clippy::cast_precision_loss, reason = "messages of a second")]
fn count(second: &Second) -> f64 {
    second.count as f64
}

/// For a file name.
fn slug(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let text: String = kept.collect();
    text.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        assert_eq!(slug("4 KiB x 20, 50 recipients"), "4-kib-x-20-50-recipients");
    }
}
