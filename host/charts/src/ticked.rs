//! A range of numbers whose ticks are given: what an axis of `plotters` is made of here.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A linear axis from `low` to `high`, which is greater.
pub(crate) struct Ticked {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Vec<f64>,
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "between the limits, or close to them")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_where_its_share_is() {
        let axis = Ticked { low: -10.0, high: 10.0, ticks: vec![] };
        assert_eq!(axis.map(&-10.0, (100, 500)), 100);
        assert_eq!(axis.map(&0.0, (100, 500)), 300);
        assert_eq!(axis.map(&10.0, (500, 100)), 100);
    }
}
