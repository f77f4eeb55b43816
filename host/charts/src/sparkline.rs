//! A small line beside a number.

use std::fmt::Write as _;

use crate::paint::{Ink, Paint, Palette};
use crate::points::thinned;

const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 24.0;
/// The space around the line, for its width and its last point.
const MARGIN: f64 = 3.0;
/// The most points of a line.
const MAX_SPARKS: usize = 100;

/// Draws a line without axes, from the least to the greatest value, with a dot at the last one. It
/// has the colour `--chart-1` of a page and is hidden from assistive technology: the number beside
/// it says what it shows. More than 100 values are averaged. Without values it is an empty picture.
#[must_use]
pub fn sparkline(values: &[Option<f64>]) -> String {
    let values = thinned(values, MAX_SPARKS);
    let known = || values.iter().flatten().copied();
    let (min, max) = (known().fold(f64::MAX, f64::min), known().fold(f64::MIN, f64::max));
    let place = |(at, value): (usize, &Option<f64>)| {
        let across = if values.len() > 1 { at as f64 / (values.len() - 1) as f64 } else { 0.5 };
        // A level line is in the middle.
        let up = |value| if max > min { (value - min) / (max - min) } else { 0.5 };
        value.map(|value| {
            let x = MARGIN + across * (WIDTH - 2.0 * MARGIN);
            (x, HEIGHT - MARGIN - up(value) * (HEIGHT - 2.0 * MARGIN))
        })
    };
    let placed: Vec<_> = values.iter().enumerate().map(place).collect();
    let mut path = String::new();
    for run in placed.split(Option::is_none) {
        for (at, (x, y)) in run.iter().flatten().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        }
    }
    let color = Ink { palette: Palette::Page, id: String::new() }.paint(Paint::Plain(0));
    let line = match path.as_str() {
        "" => String::new(),
        path => format!("<path fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" d=\"{path}\"/>"),
    };
    let dot = placed
        .iter()
        .flatten()
        .next_back()
        .map(|(x, y)| format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{color}\"/>"));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sparkline\" aria-hidden=\"true\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\">{line}{}</svg>",
        dot.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_the_least_to_the_greatest() {
        let svg = sparkline(&[Some(0.0), Some(5.0), Some(10.0)]);
        assert!(svg.contains("d=\"M3.0 21.0L50.0 12.0L97.0 3.0\""), "{svg}");
        assert!(svg.contains("cx=\"97.0\" cy=\"3.0\""), "{svg}");
    }

    #[test]
    fn a_gap_interrupts_the_line() {
        let svg = sparkline(&[Some(1.0), Some(1.0), None, Some(1.0)]);
        assert!(svg.contains("d=\"M3.0 12.0L34.3 12.0M97.0 12.0\""), "{svg}");
    }

    #[test]
    fn nothing_is_an_empty_picture() {
        for values in [&[][..], &[None, Some(f64::NAN)]] {
            assert!(sparkline(values).ends_with("viewBox=\"0 0 100 24\"></svg>"));
        }
    }

    #[test]
    fn many_values_are_few_points() {
        assert_eq!(sparkline(&vec![Some(1.0); 100_000]).matches('L').count(), MAX_SPARKS - 1);
    }
}
