//! The picture: the parts of a layout drawn on a canvas.

use std::convert::Infallible;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, FontTransform, IntoFont, TextStyle};

use crate::canvas::{Canvas, FONT_SIZE, tenths};
use crate::chart::{Chart, ChartKind, ChartSize, MAX_POINTS};
use crate::layout::{self, Layout, MARGIN, RIGHT};
use crate::marker::mark;
use crate::paint::{Ink, Paint, Palette};
use crate::points::Points;
use crate::scale::Scale;
use crate::text::{MAX_DESCRIPTION, MAX_NAME, clean, cut, escape, id};
use crate::ticked::Ticked;

/// The result of drawing on a text, which does not fail.
pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<Infallible>>;
type Area<'a> = DrawingArea<Canvas<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'b, Canvas<'a>, Cartesian2d<Ticked, Ticked>>;

/// The width of the line of a series, in tenths of a unit.
pub(crate) const LINE_WIDTH: u32 = 20;
/// The share of a slot that bars take.
pub(crate) const BARS_OF_SLOT: f64 = 0.8;
/// The widest bar.
const MAX_BAR: f64 = 56.0;
/// Markers of a line with many points.
const MARKERS: usize = 16;
/// Points of which each has a marker.
const ALL_MARKED: usize = 31;

/// Draws a chart.
pub(crate) fn svg(chart: &Chart, size: ChartSize, palette: Palette) -> String {
    let suffix = if size == ChartSize::Wide { "wide" } else { "narrow" };
    let ink = Ink { palette, id: format!("{}-{suffix}", id(&chart.id)) };
    let limit = match chart.kind {
        ChartKind::Lines => MAX_POINTS,
        ChartKind::Bars => layout::most_bars(size, chart.series.len().min(crate::chart::MAX_SERIES)),
        ChartKind::StackedBars => layout::most_bars(size, 1),
    };
    let points = Points::new(chart, limit.min(MAX_POINTS));
    if !points.is_empty() {
        let scale = layout::scale(&points, chart.kind == ChartKind::StackedBars, chart.unit);
        let layout = Layout::new(chart, &points, &scale, (size, palette));
        let mut shapes = String::new();
        let picture = Picture { chart, points: &points, scale: &scale, layout: &layout };
        if picture.draw(&mut shapes, &ink).is_ok() {
            let hatched = if chart.kind == ChartKind::Lines { 0 } else { points.series.len() };
            return envelope(chart, &ink, (layout.width, layout.height), &(ink.hatching(hatched) + &shapes));
        }
    }
    let mut shapes = String::new();
    let (width, height) = size.measures();
    let height = height / 2.0;
    let _ = without_data(chart, &mut shapes, &ink, (width, height));
    envelope(chart, &ink, (width, height), &shapes)
}

/// The element around the shapes.
fn envelope(chart: &Chart, ink: &Ink, (width, height): (f64, f64), shapes: &str) -> String {
    let (id, text) = (&ink.id, ink.paint(Paint::Text));
    let title = escape(&clean(&chart.title, MAX_NAME));
    let description = escape(&clean(&chart.description, MAX_DESCRIPTION));
    let own = match ink.palette {
        Palette::Page => String::new(),
        Palette::Print => {
            format!("<path fill=\"{}\" d=\"M0 0h{width}v{height}H0z\"/>", ink.ground())
        }
    };
    let font = if ink.palette == Palette::Print { " font-family=\"sans-serif\"" } else { "" };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" \
         aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-description\" \
         viewBox=\"0 0 {width} {height}\"{font} font-size=\"{FONT_SIZE}\" fill=\"{text}\">\
         <title id=\"{id}-title\">{title}</title>\
         <desc id=\"{id}-description\">{description}</desc>{own}{shapes}</svg>"
    )
}

/// The text of a chart without a value.
fn without_data(chart: &Chart, out: &mut String, ink: &Ink, (width, height): (f64, f64)) -> Drawn {
    let area = area(out, ink, (width, height));
    if ink.palette == Palette::Print {
        draw_title(chart, &area, (width, MARGIN + 9.0))?;
    }
    let frame = [(tenths(0.5), tenths(0.5)), (tenths(width - 0.5), tenths(height - 0.5))];
    area.draw(&Rectangle::new(frame, Paint::Grid.stroke(10)))?;
    let text = cut(&clean(&chart.no_data, MAX_NAME), FONT_SIZE, width - 2.0 * MARGIN);
    let style = text_style(HPos::Center, VPos::Center);
    area.draw_text(&text, &style, (tenths(width / 2.0), tenths(height / 2.0)))
}

fn draw_title(chart: &Chart, area: &Area<'_>, (width, middle): (f64, f64)) -> Drawn {
    // Bold text is wider than measured.
    let title = cut(&clean(&chart.title, MAX_NAME), FONT_SIZE * 1.15, width - 2.0 * MARGIN);
    let font = ("sans-serif", FONT_SIZE).into_font().style(FontStyle::Bold);
    let style = font.color(&Paint::Text.color()).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw_text(&title, &style, (tenths(MARGIN), tenths(middle)))
}

fn area<'a>(out: &'a mut String, ink: &'a Ink, (width, height): (f64, f64)) -> Area<'a> {
    let size = (tenths(width).unsigned_abs(), tenths(height).unsigned_abs());
    Canvas::new(out, size, ink).into_drawing_area()
}

/// Text that is anchored at a point.
pub(crate) fn text_style(across: HPos, down: VPos) -> TextStyle<'static> {
    let font = ("sans-serif", FONT_SIZE).into_font();
    font.color(&Paint::Text.color()).pos(Pos::new(across, down))
}

struct Picture<'c> {
    chart: &'c Chart,
    points: &'c Points,
    scale: &'c Scale,
    layout: &'c Layout,
}

impl Picture<'_> {
    fn draw(&self, out: &mut String, ink: &Ink) -> Drawn {
        let layout = self.layout;
        let root = area(out, ink, (layout.width, layout.height));
        if let Some(middle) = layout.title {
            draw_title(self.chart, &root, (layout.width, middle))?;
        }
        layout.legend.draw(&root, self.chart.kind)?;
        self.names(&root)?;
        let mut plot = self.plot(&root)?;
        self.mesh(&mut plot)?;
        match self.chart.kind {
            ChartKind::Lines => self.lines(&root, &mut plot)?,
            ChartKind::Bars => self.bars(&mut plot)?,
            ChartKind::StackedBars => self.stacks(&mut plot)?,
        }
        self.zero(&mut plot)
    }

    /// The names of the axes.
    fn names(&self, root: &Area<'_>) -> Drawn {
        let layout = self.layout;
        let name = |text: &str| cut(&clean(text, MAX_NAME), FONT_SIZE, layout.width - 2.0 * MARGIN);
        let style = text_style(HPos::Left, VPos::Center);
        let (y_label, x_name) = (name(&self.chart.y_label), name(&self.chart.x.name));
        if !y_label.is_empty() {
            root.draw_text(&y_label, &style, (tenths(MARGIN), tenths(layout.y_label)))?;
        }
        if x_name.is_empty() {
            return Ok(());
        }
        // The name is centred below the plot, unless it is wider.
        let half = crate::text::width(&x_name, FONT_SIZE) / 2.0;
        let middle = (layout.plot_left + layout.plot_width() / 2.0).min(layout.width - MARGIN - half);
        let style = text_style(HPos::Center, VPos::Center);
        root.draw_text(&x_name, &style, (tenths(middle), tenths(layout.x_name)))
    }

    fn plot<'a, 'b>(&self, root: &'b Area<'a>) -> Result<Plot<'a, 'b>, DrawingAreaErrorKind<Infallible>> {
        let layout = self.layout;
        let x = Ticked {
            low: -0.5,
            high: self.points.labels.len() as f64 - 0.5,
            ticks: layout.labels.shown.iter().map(|(at, _)| *at as f64).collect(),
        };
        let Scale { low, high, ticks, .. } = self.scale.clone();
        ChartBuilder::on(root)
            .margin_top(tenths(layout.plot_top))
            .margin_right(tenths(RIGHT))
            .margin_bottom(tenths(layout.height - layout.plot_bottom - layout.labels.height))
            .x_label_area_size(tenths(layout.labels.height))
            .y_label_area_size(tenths(layout.plot_left))
            .build_cartesian_2d(x, Ticked { low, high, ticks })
    }

    fn mesh(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let (chart, scale, labels) = (self.chart, self.scale, &self.layout.labels);
        let label = |x: &f64| {
            let found = labels.shown.iter().find(|(at, _)| (*at as f64 - x).abs() < 0.5);
            found.map(|(_, label)| label.clone()).unwrap_or_default()
        };
        let tick = |y: &f64| chart.unit.tick(*y, scale, chart.language);
        let lying = text_style(HPos::Center, VPos::Top);
        let x_style = if labels.upright { lying.transform(FontTransform::Rotate270) } else { lying.clone() };
        plot.configure_mesh()
            .disable_x_mesh()
            .bold_line_style(Paint::Grid.stroke(10))
            .axis_style(Paint::Axis.stroke(10))
            .set_all_tick_mark_size(30)
            .x_label_style(x_style)
            .y_label_style(lying)
            .x_label_formatter(&label)
            .y_label_formatter(&tick)
            .draw()
    }

    /// The line of 0, where it is not the axis.
    fn zero(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        if self.scale.low >= 0.0 {
            return Ok(());
        }
        let ends = vec![(-0.5, 0.0), (self.points.labels.len() as f64 - 0.5, 0.0)];
        plot.draw_series([PathElement::new(ends, Paint::Axis.stroke(10))]).map(drop)
    }

    fn lines(&self, root: &Area<'_>, plot: &mut Plot<'_, '_>) -> Drawn {
        let count = self.points.labels.len();
        let stride = if count <= ALL_MARKED { 1 } else { count.div_ceil(MARKERS) };
        for (series, (_, values)) in (0u8..).zip(&self.points.series) {
            let placed: Vec<_> = values.iter().enumerate().map(|(at, y)| y.map(|y| (at as f64, y))).collect();
            for run in placed.split(Option::is_none).filter(|run| run.len() > 1) {
                let run = run.iter().flatten().copied();
                plot.draw_series(LineSeries::new(run, Paint::Dashed(series).stroke(LINE_WIDTH)))?;
            }
            // Markers of lines that are on top of each other are at different points.
            let offset = usize::from(series) * 5 % stride;
            for (at, point) in placed.iter().enumerate() {
                let Some(point) = point else { continue };
                let gap = |at: Option<usize>| at.and_then(|at| placed.get(at)).is_none_or(Option::is_none);
                let alone = gap(at.checked_sub(1)) && gap(Some(at + 1));
                if alone || at % stride == offset {
                    mark(root, series, plot.backend_coord(point))?;
                }
            }
        }
        Ok(())
    }

    /// The width of so many bars side by side, as a share of a slot.
    fn bars_width(&self, side_by_side: usize) -> f64 {
        let slot = self.layout.plot_width() / self.points.labels.len().max(1) as f64;
        BARS_OF_SLOT.min(MAX_BAR * side_by_side as f64 / slot)
    }

    fn bars(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let count = self.points.series.len().max(1);
        let all = self.bars_width(count);
        let one = all / count as f64;
        for (series, (_, values)) in (0u8..).zip(&self.points.series) {
            let offset = f64::from(series) * one - all / 2.0;
            let fill = Paint::Hatched(series).fill();
            let bars = values.iter().enumerate().filter_map(|(at, y)| {
                let (y, left) = (y.filter(|y| *y != 0.0)?, at as f64 + offset);
                Some(Rectangle::new([(left, 0.0), (left + one * 0.94, y)], fill))
            });
            plot.draw_series(bars)?;
        }
        Ok(())
    }

    fn stacks(&self, plot: &mut Plot<'_, '_>) -> Drawn {
        let half = self.bars_width(1) / 2.0;
        let mut ends = vec![(0.0, 0.0); self.points.labels.len()];
        for (series, (_, values)) in (0u8..).zip(&self.points.series) {
            let fill = Paint::Hatched(series).fill();
            let bars = values.iter().zip(&mut ends).enumerate().filter_map(|(at, (y, (below, above)))| {
                let (y, middle) = (y.filter(|y| *y != 0.0)?, at as f64);
                let end = if y < 0.0 { below } else { above };
                let from = *end;
                *end += y;
                Some(Rectangle::new([(middle - half, from), (middle + half, *end)], fill))
            });
            plot.draw_series(bars)?;
        }
        Ok(())
    }
}
