//! Figures over time: a histogram for every second.

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Values in microseconds by the second in which they were seen.
#[derive(Debug, Clone)]
pub struct Series {
    origin: Instant,
    seconds: Vec<Histogram<u64>>,
}

/// One second of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// Values in it.
    pub count: u64,
    /// Median in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}

/// Seconds that are kept apart; later ones count to the last.
const LONGEST: usize = 7200;

impl Series {
    /// An empty one that begins at `origin`.
    pub fn new(origin: Instant) -> Self {
        Self { origin, seconds: Vec::new() }
    }

    /// Adds a value that was seen at `at`.
    ///
    /// # Errors
    /// The bounds of its histograms, which are constants, are wrong.
    pub fn record(&mut self, at: Instant, micros: u64) -> Result<()> {
        let second = at.saturating_duration_since(self.origin).as_secs();
        let second = usize::try_from(second).unwrap_or(LONGEST).min(LONGEST - 1);
        while self.seconds.len() <= second {
            self.seconds.push(Histogram::new_with_bounds(1, 3_600_000_000, 2)?);
        }
        self.seconds[second].saturating_record(micros);
        Ok(())
    }

    /// Second by second.
    pub fn points(&self) -> Vec<Second> {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of an hour")]
        let ms = |h: &Histogram<u64>, q| h.value_at_quantile(q) as f64 / 1000.0;
        let point = |h: &Histogram<u64>| Second { count: h.len(), p50_ms: ms(h, 0.5), p99_ms: ms(h, 0.99) };
        self.seconds.iter().map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_fall_into_their_seconds() {
        let origin = Instant::now();
        let mut series = Series::new(origin);
        for n in 1..=100 {
            series.record(origin + Duration::from_millis(500), n * 1000).expect("bounds");
        }
        series.record(origin + Duration::from_millis(2100), 7000).expect("bounds");
        let points = series.points();
        assert_eq!(points.iter().map(|p| p.count).collect::<Vec<_>>(), [100, 0, 1]);
        assert!((points[0].p50_ms - 50.0).abs() < 1.0 && (points[0].p99_ms - 99.0).abs() < 1.0, "{points:?}");
        assert_eq!(points[1], Second { count: 0, p50_ms: 0.0, p99_ms: 0.0 });
    }
}
