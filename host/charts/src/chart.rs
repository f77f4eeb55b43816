//! What is drawn: a chart as data.

use crate::draw;
use crate::number::{NumberLanguage, Unit};
use crate::paint::Palette;
use crate::points::Points;
use crate::text::{MAX_NAME, clean};

/// Points of a series that are drawn. Neighbours are merged where there are more: counts are
/// summed, shares and times are averaged, and the label names the first and the last.
pub const MAX_POINTS: usize = 400;

/// Series that are drawn and told apart. Later ones are left out: the caller sums what is small.
pub const MAX_SERIES: usize = 12;

/// A chart as data. Texts are plain, not escaped; they may come from strangers.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The start of the element ids of the picture, unique on its page. Letters, digits, `-` and
    /// `_` of it are used. Wide and narrow pictures of one chart have different ids.
    pub id: String,
    /// The name of the picture for assistive technology. A chart for print shows it, too; on a page
    /// the heading beside the picture does.
    pub title: String,
    /// A sentence or two on what the picture shows, for assistive technology.
    pub description: String,
    /// The horizontal axis: one label a point.
    pub x: Axis,
    /// The name of the values, above the vertical axis.
    pub y_label: String,
    /// What the values are.
    pub unit: Unit,
    /// The values, at most [`MAX_SERIES`].
    pub series: Vec<ChartSeries>,
    /// Lines or bars.
    pub kind: ChartKind,
    /// The language of numbers.
    pub language: NumberLanguage,
    /// The text that stands in place of a picture without a value.
    pub no_data: String,
}

/// The horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The name of the axis: below it, and above the first column of the table. May be empty.
    pub name: String,
    /// Times or categories.
    pub kind: AxisKind,
    /// The labels in their order.
    pub labels: Vec<String>,
}

/// What the labels of an axis are, which decides how they make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisKind {
    /// Times at equal distances: some labels are left out where there is no room for all.
    Times,
    /// Categories: labels are cut or stand upright, and are left out last.
    Categories,
}

/// Values with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartSeries {
    /// The name in the legend.
    pub name: String,
    /// One value a label. `None` and NaN are gaps; a shorter series has gaps at its end. Values
    /// beyond 10^15 are drawn and written as 10^15.
    pub values: Vec<Option<f64>>,
}

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartKind {
    /// A line a series, told apart by dashes and markers. A gap interrupts the line.
    Lines,
    /// Bars side by side, told apart by hatching.
    Bars,
    /// Bars on top of each other, told apart by hatching. Negative values are stacked downwards.
    StackedBars,
}

/// The shape of a picture. Its size on the page is that of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartSize {
    /// 720 units wide: a column of a desktop page. Text is 12 units high.
    Wide,
    /// 360 units wide: a phone.
    Narrow,
}

/// The table of a chart. Every row is as long as the header. Texts are plain: bounded, on one line,
/// and to be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartRows {
    /// The name of the horizontal axis and of each series.
    pub header: Vec<String>,
    /// A label and the value of each series. A gap is `–`.
    pub rows: Vec<Vec<String>>,
}

impl Chart {
    /// Draws the chart: an `<svg>` element with `role="img"`, a title and a description. It never
    /// fails; a chart without a value shows the text of [`Chart::no_data`].
    ///
    /// Bars are at least two units wide: where there is no room, neighbours are merged as above
    /// [`MAX_POINTS`].
    #[must_use]
    pub fn svg(&self, size: ChartSize, palette: Palette) -> String {
        draw::svg(self, size, palette)
    }

    /// The table of the chart, at most [`MAX_POINTS`] rows and [`MAX_SERIES`] columns of values.
    #[must_use]
    pub fn rows(&self) -> ChartRows {
        let points = Points::new(self, MAX_POINTS);
        let names = points.series.iter().map(|(name, _)| name.clone());
        let row = |(at, label): (usize, &String)| {
            let values = points.series.iter().map(|(_, values)| self.value_text(values[at]));
            std::iter::once(label.clone()).chain(values).collect()
        };
        ChartRows {
            header: std::iter::once(clean(&self.x.name, MAX_NAME)).chain(names).collect(),
            rows: points.labels.iter().enumerate().map(row).collect(),
        }
    }

    fn value_text(&self, value: Option<f64>) -> String {
        value.map_or_else(|| "–".to_owned(), |value| self.unit.text(value, self.language))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn chart(unit: Unit) -> Chart {
        let series = |name: &str, values: &[f64]| ChartSeries {
            name: name.to_owned(),
            values: values.iter().copied().map(Some).collect(),
        };
        Chart {
            id: "sent".to_owned(),
            title: "Sent & delivered".to_owned(),
            description: "Two series.".to_owned(),
            x: Axis {
                name: "Day".to_owned(),
                kind: AxisKind::Times,
                labels: vec!["Mon".to_owned(), "Tue".to_owned()],
            },
            y_label: "Emails".to_owned(),
            unit,
            series: vec![series("sent", &[1_200.5, 0.5]), series("delivered", &[0.25, 1.0])],
            kind: ChartKind::Lines,
            language: NumberLanguage::En,
            no_data: "Nothing yet".to_owned(),
        }
    }

    #[test]
    fn the_table_has_every_value_as_text() {
        let mut chart = chart(Unit::Count);
        chart.series[1].values = vec![None];
        let table = chart.rows();
        assert_eq!(table.header, ["Day", "sent", "delivered"]);
        assert_eq!(table.rows, [["Mon", "1,200.5", "–"], ["Tue", "0.5", "–"]]);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut chart = chart(Unit::Count);
        chart.x.labels = (0..1_000).map(|n| n.to_string()).collect();
        chart.series = vec![ChartSeries { name: "x".repeat(10_000), values: vec![Some(1.0); 1_000] }; 20];
        let table = chart.rows();
        assert_eq!(table.header.len(), 1 + MAX_SERIES);
        assert_eq!(table.header[1].len(), MAX_NAME);
        assert_eq!(table.rows.len(), 334);
        assert_eq!(table.rows[0][..2], ["0 – 2", "3"]);
        assert_eq!(table.rows[333][..2], ["999", "1"]);
    }
}
