//! Numbers as texts: by language and unit, in full for a table, short for an axis.

use crate::scale::Scale;

/// The language whose separators numbers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumberLanguage {
    /// English: 1,234.5 and 12.3%.
    #[default]
    En,
    /// Spanish: 1.234,5 and 12,3 %.
    Es,
}

impl NumberLanguage {
    /// The language of a tag such as `es` or `es-AR`. A language that is not known has the
    /// separators of English.
    #[must_use]
    pub fn from_tag(tag: &str) -> Self {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("es") { Self::Es } else { Self::En }
    }

    fn separators(self) -> (char, char) {
        match self {
            Self::En => (',', '.'),
            Self::Es => ('.', ','),
        }
    }

    /// A number with grouped digits and so many decimals.
    fn number(self, value: f64, decimals: usize) -> String {
        let (group, point) = self.separators();
        let plain = format!("{:.decimals$}", value.abs());
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        let mut out = String::new();
        if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
            out.push('-');
        }
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place) % 3 == 0 {
                out.push(group);
            }
            out.push(digit);
        }
        if !fraction.is_empty() {
            out.push(point);
            out.push_str(fraction);
        }
        out
    }

    fn percent(self, value: f64, decimals: usize) -> String {
        let space = if self == Self::Es { "\u{a0}" } else { "" };
        format!("{}{space}%", self.number(value * 100.0, decimals))
    }
}

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things. Values that are drawn as one point are summed.
    Count,
    /// A share between 0 and 1, written with one decimal: 0.123 is 12.3%. Values that are drawn as
    /// one point are averaged, each with the same weight.
    Percent,
    /// A time in milliseconds. Values that are drawn as one point are averaged, each with the same
    /// weight.
    Milliseconds,
}

impl Unit {
    /// A value in full, as in the table beside a chart. Counts and times have a decimal only if it
    /// is not 0.
    #[must_use]
    pub fn text(self, value: f64, language: NumberLanguage) -> String {
        let value = crate::points::bounded(value).unwrap_or(0.0);
        let decimals = usize::from((value * 10.0).round() % 10.0 != 0.0);
        match self {
            Self::Count => language.number(value, decimals),
            Self::Percent => language.percent(value, 1),
            Self::Milliseconds => format!("{}\u{a0}ms", language.number(value, decimals)),
        }
    }

    /// The label of a tick.
    pub(crate) fn tick(self, value: f64, scale: &Scale, language: NumberLanguage) -> String {
        let top = scale.low.abs().max(scale.high.abs());
        match self {
            Self::Count => short(value, top, scale.exponent, language),
            Self::Percent => language.percent(value, decimals(scale.exponent + 2)),
            Self::Milliseconds if top >= 10_000.0 => {
                format!("{}\u{a0}s", short(value / 1e3, top / 1e3, scale.exponent - 3, language))
            }
            Self::Milliseconds => {
                format!("{}\u{a0}ms", language.number(value, decimals(scale.exponent)))
            }
        }
    }
}

/// The decimals that show multiples of a power of ten.
fn decimals(exponent: i32) -> usize {
    usize::try_from(-exponent).unwrap_or(0).min(12)
}

/// A number in millions and above where the axis reaches a million. All ticks of an axis have the
/// same prefix.
fn short(value: f64, top: f64, exponent: i32, language: NumberLanguage) -> String {
    let (power, prefix) = match top {
        t if t >= 1e15 => (15, "P"),
        t if t >= 1e12 => (12, "T"),
        t if t >= 1e9 => (9, "G"),
        t if t >= 1e6 => (6, "M"),
        _ => (0, ""),
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    let number = language.number(value / 10f64.powi(power), decimals(exponent - power));
    format!("{number}{}{prefix}", if prefix.is_empty() { "" } else { "\u{a0}" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_follow_the_language() {
        assert_eq!(Unit::Count.text(1_234.5, NumberLanguage::En), "1,234.5");
        assert_eq!(Unit::Count.text(1_234.5, NumberLanguage::Es), "1.234,5");
        assert_eq!(Unit::Count.text(-1_234_567.0, NumberLanguage::Es), "-1.234.567");
        assert_eq!(Unit::Count.text(100.0, NumberLanguage::En), "100");
        assert_eq!(Unit::Count.text(-0.01, NumberLanguage::En), "0");
    }

    #[test]
    fn a_percentage_has_one_decimal() {
        assert_eq!(Unit::Percent.text(0.1234, NumberLanguage::En), "12.3%");
        assert_eq!(Unit::Percent.text(1.0, NumberLanguage::Es), "100,0\u{a0}%");
    }

    #[test]
    fn a_time_has_its_unit() {
        assert_eq!(Unit::Milliseconds.text(1_500.0, NumberLanguage::Es), "1.500\u{a0}ms");
        assert_eq!(Unit::Milliseconds.text(2.55, NumberLanguage::En), "2.5\u{a0}ms");
    }

    #[test]
    fn ticks_are_short() {
        let tick = |unit: Unit, top: f64, value: f64| {
            unit.tick(value, &Scale::new(0.0, top, 5, unit), NumberLanguage::En)
        };
        assert_eq!(tick(Unit::Count, 2_500_000.0, 500_000.0), "0.5\u{a0}M");
        assert_eq!(tick(Unit::Count, 2_500.0, 1_500.0), "1,500");
        assert_eq!(tick(Unit::Percent, 0.5, 0.1), "10%");
        assert_eq!(tick(Unit::Percent, 0.01, 0.002), "0.2%");
        assert_eq!(tick(Unit::Milliseconds, 60_000.0, 20_000.0), "20\u{a0}s");
        assert_eq!(tick(Unit::Milliseconds, 900.0, 200.0), "200\u{a0}ms");
    }

    #[test]
    fn a_tag_names_a_language() {
        assert_eq!(NumberLanguage::from_tag("es-AR"), NumberLanguage::Es);
        assert_eq!(NumberLanguage::from_tag("est"), NumberLanguage::En);
        assert_eq!(NumberLanguage::from_tag(""), NumberLanguage::En);
    }
}
