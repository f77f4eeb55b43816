//! A chart on a page.

use relevo_charts::{Chart, ChartSize, Palette};

/// Rows of the table of a chart. All of them are in the download.
const ROWS: usize = 50;
/// Points of a chart that has a narrow picture, too.
const NARROW_POINTS: usize = 150;

/// A chart on a page, with its table.
pub(crate) struct ShownChart {
    pub(crate) title: String,
    pub(crate) wide: String,
    /// For a phone; empty where the wide one is scrolled.
    pub(crate) narrow: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) is_cut: bool,
    /// Where it is as a file; empty: nowhere.
    pub(crate) file: String,
}

impl ShownChart {
    pub(crate) fn new(chart: &Chart, has_narrow: bool, file: String) -> Self {
        let table = chart.rows();
        let older = table.rows.len().saturating_sub(ROWS);
        let is_narrow = has_narrow && chart.x.labels.len() <= NARROW_POINTS;
        let narrow = is_narrow.then(|| chart.svg(ChartSize::Narrow, Palette::Page));
        Self {
            title: chart.title.clone(),
            wide: chart.svg(ChartSize::Wide, Palette::Page),
            narrow: narrow.unwrap_or_default(),
            header: table.header,
            rows: table.rows.into_iter().skip(older).collect(),
            is_cut: older > 0,
            file,
        }
    }
}
