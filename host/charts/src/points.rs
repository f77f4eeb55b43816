//! The values of a chart made fit to be drawn: finite, bounded, and few enough.

use crate::chart::{Chart, MAX_SERIES};
use crate::number::Unit;
use crate::text::{MAX_NAME, clean};

/// Values are between the negative and the positive of this. Sums of them are exact enough.
const MAX_VALUE: f64 = 1e15;
/// Values that are nearer to 0 are 0.
const MIN_VALUE: f64 = 1e-9;

/// A value that is a number, within the bounds.
pub(crate) fn bounded(value: f64) -> Option<f64> {
    if value.is_nan() {
        return None;
    }
    let value = value.clamp(-MAX_VALUE, MAX_VALUE);
    Some(if value.abs() < MIN_VALUE { 0.0 } else { value })
}

/// Makes one value of some: a sum of counts, the mean of anything else, nothing of nothing.
fn merge(values: &[Option<f64>], unit: Unit) -> Option<f64> {
    let mut sum = 0.0;
    let mut present = 0.0;
    for value in values.iter().filter_map(|value| value.and_then(bounded)) {
        sum += value;
        present += 1.0;
    }
    if present == 0.0 {
        return None;
    }
    bounded(if unit == Unit::Count { sum } else { sum / present })
}

/// Points with as many values in each series as there are labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points {
    pub(crate) labels: Vec<String>,
    /// The label of the first of the points that each was made of.
    pub(crate) starts: Vec<String>,
    pub(crate) series: Vec<(String, Vec<Option<f64>>)>,
}

impl Points {
    /// At most `limit` points of a chart. Neighbours are merged where there are more. A series has
    /// no value where it is shorter than the axis, and what is longer is left out.
    pub(crate) fn new(chart: &Chart, limit: usize) -> Self {
        let count = chart.x.labels.len();
        let group = count.div_ceil(limit.max(1)).max(1);
        let series = chart.series.iter().take(MAX_SERIES).map(|series| {
            let known = series.values.len().min(count);
            let mut values: Vec<_> =
                series.values[..known].chunks(group).map(|chunk| merge(chunk, chart.unit)).collect();
            values.resize(count.div_ceil(group), None);
            (clean(&series.name, MAX_NAME), values)
        });
        let groups = || chart.x.labels.chunks(group);
        Self {
            labels: groups().map(label).collect(),
            starts: groups().map(|labels| label(&labels[..1])).collect(),
            series: series.collect(),
        }
    }

    /// Returns true if there is no value to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|(_, values)| values.iter().all(Option::is_none))
    }

    /// The least and the greatest value.
    pub(crate) fn range(&self) -> (f64, f64) {
        let values = self.series.iter().flat_map(|(_, values)| values.iter().flatten());
        values.fold((0.0, 0.0), |(min, max), value| (value.min(min), value.max(max)))
    }

    /// The least and the greatest sum of a point, of its negative and its positive values.
    pub(crate) fn stacked_range(&self) -> (f64, f64) {
        let sums = (0..self.labels.len()).map(|at| {
            let values = self.series.iter().filter_map(|(_, values)| values[at]);
            values.fold((0.0, 0.0), |(below, above), v| (below + v.min(0.0), above + v.max(0.0)))
        });
        sums.fold((0.0, 0.0), |(min, max), (below, above)| (below.min(min), above.max(max)))
    }
}

/// The label of a point that was made of some.
fn label(labels: &[String]) -> String {
    match labels {
        [] => String::new(),
        [only] => clean(only, MAX_NAME),
        [first, .., last] => format!("{} – {}", clean(first, MAX_NAME / 2), clean(last, MAX_NAME / 2)),
    }
}

/// At most `limit` values, the mean of neighbours where there are more.
pub(crate) fn thinned(values: &[Option<f64>], limit: usize) -> Vec<Option<f64>> {
    let group = values.len().div_ceil(limit.max(1)).max(1);
    values.chunks(group).map(|chunk| merge(chunk, Unit::Percent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::chart;

    #[test]
    fn counts_are_summed_and_shares_averaged() {
        let values = [Some(1.0), None, Some(3.0), Some(f64::NAN)];
        assert_eq!(merge(&values, Unit::Count), Some(4.0));
        assert_eq!(merge(&values, Unit::Percent), Some(2.0));
        assert_eq!(merge(&[None, Some(f64::NAN)], Unit::Count), None);
    }

    #[test]
    fn neighbours_are_merged_above_the_limit() {
        let mut chart = chart(Unit::Count);
        chart.x.labels = (0..5).map(|n| format!("d{n}")).collect();
        chart.series[0].values = vec![Some(1.0); 5];
        let points = Points::new(&chart, 2);
        assert_eq!(points.labels, ["d0 – d2", "d3 – d4"]);
        assert_eq!(points.starts, ["d0", "d3"]);
        assert_eq!(points.series[0].1, [Some(3.0), Some(2.0)]);
    }

    #[test]
    fn a_series_is_as_long_as_the_axis() {
        let mut chart = chart(Unit::Count);
        chart.x.labels = vec!["a".into(), "b".into(), "c".into()];
        chart.series[0].values = vec![Some(1.0)];
        chart.series[1].values = vec![Some(1.0); 9];
        let points = Points::new(&chart, 400);
        assert_eq!(points.series[0].1, [Some(1.0), None, None]);
        assert_eq!(points.series[1].1.len(), 3);
    }

    #[test]
    fn stacks_reach_down_and_up() {
        let mut chart = chart(Unit::Count);
        chart.x.labels = vec!["a".into(), "b".into()];
        chart.series[0].values = vec![Some(2.0), Some(-1.0)];
        chart.series[1].values = vec![Some(3.0), Some(-4.0)];
        assert_eq!(Points::new(&chart, 400).stacked_range(), (-5.0, 5.0));
        assert_eq!(Points::new(&chart, 400).range(), (-4.0, 3.0));
    }

    #[test]
    fn values_are_bounded() {
        assert_eq!(bounded(f64::INFINITY), Some(1e15));
        assert_eq!(bounded(-f64::MAX), Some(-1e15));
        assert_eq!(bounded(f64::MIN_POSITIVE), Some(0.0));
        assert_eq!(bounded(f64::NAN), None);
    }
}
