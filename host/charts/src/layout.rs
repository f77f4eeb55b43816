//! Where everything is: the measures of a picture, and which labels have room.

use crate::canvas::FONT_SIZE;
use crate::chart::{AxisKind, Chart, ChartSize};
use crate::legend::Legend;
use crate::number::Unit;
use crate::paint::Palette;
use crate::points::Points;
use crate::scale::Scale;
use crate::text::{MAX_NAME, clean, cut, width};

/// The space around everything.
pub(crate) const MARGIN: f64 = 8.0;
/// The space on the right, for half of the last label.
pub(crate) const RIGHT: f64 = 16.0;
/// The height of a line of text.
const LINE: f64 = 18.0;
/// The least space between two labels.
const LABEL_GAP: f64 = 10.0;
/// The widest label of a time, and of an upright category.
const MAX_TIME: f64 = 130.0;
const MAX_UPRIGHT: f64 = 110.0;
/// The narrowest room for a category that is worth reading lying down, and the room of an upright
/// label.
const MIN_LYING: f64 = 58.0;
const UPRIGHT: f64 = 14.0;

impl ChartSize {
    /// The width of the picture and the height of its plot.
    pub(crate) fn measures(self) -> (f64, f64) {
        match self {
            Self::Wide => (720.0, 220.0),
            Self::Narrow => (360.0, 200.0),
        }
    }
}

/// Measures in units of the picture.
pub(crate) struct Layout {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// The middle of the title, if it is shown.
    pub(crate) title: Option<f64>,
    pub(crate) legend: Legend,
    /// The middle of the name of the values.
    pub(crate) y_label: f64,
    pub(crate) plot_top: f64,
    pub(crate) plot_bottom: f64,
    pub(crate) plot_left: f64,
    pub(crate) labels: Labels,
    /// The middle of the name of the horizontal axis.
    pub(crate) x_name: f64,
}

impl Layout {
    pub(crate) fn new(
        chart: &Chart,
        points: &Points,
        scale: &Scale,
        (size, palette): (ChartSize, Palette),
    ) -> Self {
        let (all, plot) = size.measures();
        let ticks = scale.ticks.iter().map(|tick| chart.unit.tick(*tick, scale, chart.language));
        let plot_left = ticks.map(|tick| width(&tick, FONT_SIZE)).fold(0.0, f64::max) + 14.0;
        let mut top = MARGIN;
        let title = (palette == Palette::Print).then_some(top + LINE / 2.0);
        top += if title.is_some() { LINE + 4.0 } else { 0.0 };
        let names = points.series.iter().map(|(name, _)| name.as_str());
        let legend = Legend::new(names, (MARGIN, all - MARGIN), top);
        top += legend.height + 4.0;
        let y_label = top + LINE / 2.0;
        let plot_top = top + LINE + 8.0;
        let plot_bottom = plot_top + plot;
        let labels = match chart.x.kind {
            AxisKind::Times => Labels::times(&points.starts, plot_left, all - plot_left - RIGHT),
            AxisKind::Categories => Labels::categories(&points.labels, all - plot_left - RIGHT),
        };
        let x_name = plot_bottom + labels.height + LINE / 2.0;
        let name_height = if clean(&chart.x.name, MAX_NAME).is_empty() { 0.0 } else { LINE };
        let height = (plot_bottom + labels.height + name_height + MARGIN).ceil();
        Self { width: all, height, title, legend, y_label, plot_top, plot_bottom, plot_left, labels, x_name }
    }

    /// The width of the plot.
    pub(crate) fn plot_width(&self) -> f64 {
        self.width - RIGHT - self.plot_left
    }
}

/// The labels of the horizontal axis that are shown.
pub(crate) struct Labels {
    /// Which points have a label, and the label.
    pub(crate) shown: Vec<(usize, String)>,
    /// The labels read upwards.
    pub(crate) upright: bool,
    pub(crate) height: f64,
}

impl Labels {
    /// Labels in the room of the plot, which reaches so far to the left.
    fn times(labels: &[String], left: f64, room: f64) -> Self {
        let slot = room / labels.len().max(1) as f64;
        let most = widest(labels).min(MAX_TIME);
        let inside = |at: &usize| {
            let middle = (*at as f64 + 0.5) * slot;
            middle - most / 2.0 >= -left && middle + most / 2.0 <= room + RIGHT
        };
        let fitting = (0..labels.len()).filter(inside).step_by(stride((most + LABEL_GAP) / slot));
        let shown = fitting.map(|at| (at, cut(&labels[at], FONT_SIZE, most))).collect();
        Self { shown, upright: false, height: LINE + 4.0 }
    }

    fn categories(labels: &[String], room: f64) -> Self {
        let slot = room / labels.len().max(1) as f64;
        let (widest, lying) = (widest(labels), slot - LABEL_GAP);
        let upright = widest > lying && lying < MIN_LYING;
        let most = widest.min(if upright { MAX_UPRIGHT } else { lying });
        let stride = if upright { stride(UPRIGHT / slot) } else { 1 };
        let shown = labels.iter().map(|label| cut(label, FONT_SIZE, most)).enumerate().step_by(stride);
        let height = if upright { most + LABEL_GAP } else { LINE + 4.0 };
        Self { shown: shown.collect(), upright, height }
    }
}

fn widest(labels: &[String]) -> f64 {
    labels.iter().map(|label| width(label, FONT_SIZE)).fold(0.0, f64::max)
}

/// Every which label is shown if a label takes so many slots.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn stride(slots: f64) -> usize {
    slots.ceil().clamp(1.0, 1e6) as usize
}

/// Points for which there is room: bars are at least two units wide.
pub(crate) fn most_bars(size: ChartSize, side_by_side: usize) -> usize {
    let room = (size.measures().0 - 80.0) * crate::draw::BARS_OF_SLOT;
    stride(room / (2.0 * side_by_side.max(1) as f64))
}

/// Ticks that are wanted for values of a unit.
pub(crate) fn scale(points: &Points, stacked: bool, unit: Unit) -> Scale {
    let (min, max) = if stacked { points.stacked_range() } else { points.range() };
    Scale::new(min, max, 5, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize, label: &str) -> Vec<String> {
        vec![label.to_owned(); count]
    }

    #[test]
    fn times_are_left_out_where_there_is_no_room() {
        assert_eq!(Labels::times(&labels(7, "2026-11-29"), 40.0, 640.0).shown.len(), 7);
        let many = Labels::times(&labels(400, "2026-11-29"), 40.0, 640.0);
        assert!((6..=9).contains(&many.shown.len()), "{}", many.shown.len());
        assert!(many.shown.iter().all(|(_, label)| label == "2026-11-29"));
        assert!(Labels::times(&[], 40.0, 640.0).shown.is_empty());
    }

    #[test]
    fn times_stay_inside_the_picture() {
        let many = Labels::times(&labels(400, &"0".repeat(300)), 20.0, 320.0);
        let slot = 320.0 / 400.0;
        for (at, label) in &many.shown {
            let (middle, half) = ((*at as f64 + 0.5) * slot, width(label, FONT_SIZE) / 2.0);
            assert!(middle - half >= -20.0 && middle + half <= 320.0 + RIGHT, "{at}");
        }
        assert_eq!(many.shown.len(), 2);
    }

    #[test]
    fn categories_are_cut_then_stand_upright_then_are_left_out() {
        let long = "a-rather-long-provider.example";
        let few = Labels::categories(&labels(6, long), 640.0);
        assert!(!few.upright && few.shown.len() == 6 && few.shown[0].1.ends_with('…'));
        let more = Labels::categories(&labels(30, long), 640.0);
        assert!(more.upright && more.shown.len() == 30 && more.shown[0].1.ends_with('…'));
        let most = Labels::categories(&labels(300, long), 640.0);
        assert!(most.upright && (40..46).contains(&most.shown.len()), "{}", most.shown.len());
        assert!(!Labels::categories(&labels(30, "a"), 640.0).upright);
    }

    #[test]
    fn bars_have_a_least_width() {
        assert_eq!(most_bars(ChartSize::Wide, 1), 256);
        assert_eq!(most_bars(ChartSize::Narrow, 12), 10);
    }
}
