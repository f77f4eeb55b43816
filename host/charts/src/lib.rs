//! Charts as SVG, made on the server for pages whose policy allows neither script nor inline style.
//!
//! A [`Chart`] is plain data. [`Chart::svg`] draws it: with presentation attributes alone, no
//! `style`, no script, no font and no image. [`Chart::rows`] gives the same numbers as a table, for
//! readers who do not see the picture. [`sparkline`] is a small line beside a number.
//!
//! Colours on a page are CSS custom properties ([`stylesheet`] sets them for light and dark
//! themes); text has the colour of the text around it. A chart of [`Palette::Print`] needs no page.
//!
//! Every text is hostile until it is escaped here, and every value may be missing, huge or not a
//! number: what is wrong with the data never fails, it is left out.

mod canvas;
mod chart;
mod draw;
mod layout;
mod legend;
mod marker;
mod number;
mod paint;
mod points;
mod scale;
mod sparkline;
mod text;
mod ticked;

pub use chart::{
    Axis, AxisKind, Chart, ChartKind, ChartRows, ChartSeries, ChartSize, MAX_POINTS, MAX_SERIES,
};
pub use number::{NumberLanguage, Unit};
pub use paint::{Palette, stylesheet};
pub use sparkline::sparkline;
