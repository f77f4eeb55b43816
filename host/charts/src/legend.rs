//! The legend: a sample and a name a series, in as many lines as it takes.

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};

use crate::canvas::{Canvas, FONT_SIZE, tenths};
use crate::chart::ChartKind;
use crate::draw::{Drawn, LINE_WIDTH, text_style};
use crate::marker::mark;
use crate::paint::Paint;
use crate::text::{cut, width};

/// The height of a line of the legend.
const LINE: f64 = 18.0;
/// The width of a sample and of the gap behind it.
const SAMPLE: f64 = 28.0;
/// The gap between two entries.
const GAP: f64 = 18.0;
/// The widest name.
const MAX_NAME_WIDTH: f64 = 220.0;

/// The places of the entries.
pub(crate) struct Legend {
    entries: Vec<LegendEntry>,
    pub(crate) height: f64,
}

struct LegendEntry {
    name: String,
    /// The left end and the middle of the sample.
    left: f64,
    middle: f64,
}

impl Legend {
    /// Places names between two edges, below a top.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>, edges: (f64, f64), top: f64) -> Self {
        let room = (edges.1 - edges.0 - SAMPLE - 6.0).min(MAX_NAME_WIDTH);
        let (mut left, mut middle) = (edges.0, top + LINE / 2.0);
        let mut entries = Vec::new();
        for name in names {
            let name = cut(name, FONT_SIZE, room);
            let taken = SAMPLE + 6.0 + width(&name, FONT_SIZE);
            if left > edges.0 && left + taken > edges.1 {
                (left, middle) = (edges.0, middle + LINE);
            }
            entries.push(LegendEntry { name, left, middle });
            left += taken + GAP;
        }
        let height = if entries.is_empty() { 0.0 } else { middle + LINE / 2.0 - top };
        Self { entries, height }
    }

    /// Draws the entries, with samples of lines or of bars.
    pub(crate) fn draw(&self, area: &DrawingArea<Canvas<'_>, Shift>, kind: ChartKind) -> Drawn {
        for (series, entry) in (0u8..).zip(&self.entries) {
            let (left, middle) = (tenths(entry.left), tenths(entry.middle));
            let right = left + tenths(SAMPLE);
            if kind == ChartKind::Lines {
                let line = Paint::Dashed(series).stroke(LINE_WIDTH);
                area.draw(&PathElement::new(vec![(left, middle), (right, middle)], line))?;
                mark(area, series, (i32::midpoint(left, right), middle))?;
            } else {
                let corners = [(left, middle - 55), (right - 60, middle + 55)];
                area.draw(&Rectangle::new(corners, Paint::Hatched(series).fill()))?;
            }
            let style = text_style(HPos::Left, VPos::Center);
            area.draw_text(&entry.name, &style, (right + 60, middle))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_wrap_and_stay_inside() {
        let names = ["delivered", "bounced", "a name of a stranger that is far too long for one line"];
        let legend = Legend::new(names.into_iter(), (8.0, 200.0), 10.0);
        assert_eq!(legend.height, 3.0 * LINE);
        for entry in &legend.entries {
            assert_eq!(entry.left, 8.0);
            assert!(entry.left + SAMPLE + 6.0 + width(&entry.name, FONT_SIZE) <= 200.0, "{}", entry.name);
        }
        assert!(legend.entries[2].name.ends_with('…'));
        assert_eq!(Legend::new(std::iter::empty(), (8.0, 200.0), 10.0).height, 0.0);
    }
}
