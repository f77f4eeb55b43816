//! The scale of an axis of values: round ticks, 0 among them.

use crate::number::Unit;

/// A range of values and its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// From `low` to `high`, at most a few more than were asked for.
    pub(crate) ticks: Vec<f64>,
    /// The distance between ticks is 1, 2 or 5 times ten to this power.
    pub(crate) exponent: i32,
}

impl Scale {
    /// A scale that holds 0 and everything between `min` and `max`, with about `wanted` ticks.
    /// Counts have no ticks between whole numbers.
    pub(crate) fn new(min: f64, max: f64, wanted: u32, unit: Unit) -> Self {
        let (min, mut max) = (min.min(0.0), max.max(0.0));
        if max <= min {
            max = height_of_nothing(unit);
        }
        let (factor, exponent) = step((max - min) / f64::from(wanted), unit);
        // Division by a power of ten is exact where multiplication by 0.1 is not.
        let at = |multiple: f64| {
            if exponent < 0 {
                multiple * factor / 10f64.powi(-exponent)
            } else {
                multiple * factor * 10f64.powi(exponent)
            }
        };
        let first = (min / at(1.0) + 1e-9).floor();
        let last = (max / at(1.0) - 1e-9).ceil();
        let mut ticks = vec![at(first)];
        let mut multiple = first + 1.0;
        while multiple <= last {
            ticks.push(at(multiple));
            multiple += 1.0;
        }
        Self { low: at(first), high: at(last), ticks, exponent }
    }
}

/// The height of a scale whose values are all 0.
fn height_of_nothing(unit: Unit) -> f64 {
    match unit {
        Unit::Count | Unit::Milliseconds => 1.0,
        Unit::Percent => 0.1,
    }
}

/// The smallest round number that is not below a distance, as a factor and a power of ten.
#[allow(clippy::cast_possible_truncation, reason = "the logarithm of a bounded number")]
fn step(distance: f64, unit: Unit) -> (f64, i32) {
    let exponent = distance.log10().floor();
    let mantissa = distance / 10f64.powf(exponent);
    let (factor, exponent) = match mantissa {
        m if m <= 1.0 + 1e-9 => (1.0, exponent as i32),
        m if m <= 2.0 + 1e-9 => (2.0, exponent as i32),
        m if m <= 5.0 + 1e-9 => (5.0, exponent as i32),
        _ => (1.0, exponent as i32 + 1),
    };
    if unit == Unit::Count && exponent < 0 { (1.0, 0) } else { (factor, exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        let scale = Scale::new(3.0, 97.0, 5, Unit::Count);
        assert_eq!(scale.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!((scale.low, scale.high), (0.0, 100.0));
        assert_eq!(Scale::new(0.0, 0.98, 5, Unit::Percent).ticks, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn a_count_has_whole_ticks() {
        assert_eq!(Scale::new(0.0, 2.0, 5, Unit::Count).ticks, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn zero_has_a_scale_too() {
        assert_eq!(Scale::new(0.0, 0.0, 5, Unit::Count).ticks, [0.0, 1.0]);
        assert_eq!(Scale::new(0.0, 0.0, 5, Unit::Percent).high, 0.1);
    }

    #[test]
    fn negative_values_are_held() {
        let scale = Scale::new(-30.0, 50.0, 5, Unit::Milliseconds);
        assert_eq!(scale.ticks, [-40.0, -20.0, 0.0, 20.0, 40.0, 60.0]);
    }

    #[test]
    fn few_ticks_whatever_the_values() {
        for power in -12..16 {
            for factor in [1.0, 1.1, 2.5, 4.9, 5.1, 9.9] {
                let scale = Scale::new(0.0, factor * 10f64.powi(power), 5, Unit::Milliseconds);
                assert!((2..=7).contains(&scale.ticks.len()), "{scale:?}");
                assert!(scale.high >= factor * 10f64.powi(power) * 0.999_999, "{scale:?}");
            }
        }
    }
}
