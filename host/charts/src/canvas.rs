//! The drawing backend of `plotters` that writes SVG without fixed colours.
//!
//! The library counts in whole pixels. One of them is a tenth of a unit of the picture here, so
//! that bars and lines are where their values are.

use std::convert::Infallible;
use std::fmt::{self, Write as _};

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};

use crate::paint::{Ink, Paint};
use crate::text::{escape, width};

/// Size of text in units of the picture.
pub(crate) const FONT_SIZE: f64 = 12.0;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A line with more points is drawn with whole units.
const MANY_POINTS: usize = 180;

/// A length in units of the picture as the library counts it.
#[allow(clippy::cast_possible_truncation, reason = "clamped")]
pub(crate) fn tenths(units: f64) -> i32 {
    (units * 10.0).round().clamp(-1e6, 1e6) as i32
}

/// A length as the picture has it.
struct Units(i32);

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 10.0)
    }
}

/// Writes shapes to a text.
pub(crate) struct Canvas<'a> {
    out: &'a mut String,
    size: (u32, u32),
    ink: &'a Ink,
}

impl<'a> Canvas<'a> {
    /// A canvas of so many tenths of a unit.
    pub(crate) fn new(out: &'a mut String, size: (u32, u32), ink: &'a Ink) -> Self {
        Self { out, size, ink }
    }

    fn put(&mut self, shape: fmt::Arguments<'_>) -> Drawn {
        // Writing to a text does not fail.
        let _ = self.out.write_fmt(shape);
        Ok(())
    }

    fn stroke<S: BackendStyle>(&self, style: &S) -> String {
        let paint = Paint::of(style.color());
        let width = f64::from(style.stroke_width()) / 10.0;
        format!("stroke=\"{}\" stroke-width=\"{width}\"{}", self.ink.paint(paint), Ink::dashes(paint))
    }

    /// The attributes of a surface or of its border.
    fn surface<S: BackendStyle>(&self, style: &S, fill: bool) -> String {
        if fill {
            format!("fill=\"{}\"", self.ink.paint(Paint::of(style.color())))
        } else {
            format!("fill=\"none\" {}", self.stroke(style))
        }
    }
}

/// Many points are most of a drawing, and nobody sees where in a unit they are.
fn coordinates(points: impl IntoIterator<Item = BackendCoord>) -> String {
    let points: Vec<BackendCoord> = points.into_iter().collect();
    let is_long = points.len() > MANY_POINTS;
    let rounded = |at: i32| if is_long { (at + 5).div_euclid(10) * 10 } else { at };
    let mut out = String::new();
    for (x, y) in points.into_iter().map(|(x, y)| (rounded(x), rounded(y))) {
        let space = if out.is_empty() { "" } else { " " };
        let _ = write!(out, "{space}{},{}", Units(x), Units(y));
    }
    out
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let surface = self.surface(style, fill);
        let (x, y) = (Units(left.min(right)), Units(top.min(bottom)));
        let (width, height) = (Units((right - left).abs()), Units((bottom - top).abs()));
        self.put(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {surface}/>"))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let stroke = self.stroke(style);
        let points = coordinates(path);
        self.put(format_args!("<polyline fill=\"none\" {stroke} points=\"{points}\"/>"))
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let surface = self.surface(style, fill);
        let (x, y, radius) = (Units(x), Units(y), f64::from(radius) / 10.0);
        self.put(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" {surface}/>"))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        let surface = self.surface(style, true);
        let points = coordinates(corners);
        self.put(format_args!("<polygon {surface} points=\"{points}\"/>"))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let upright = !matches!(style.transform(), FontTransform::None);
        let anchor = match style.anchor().h_pos {
            // The text reads upwards and ends at the axis.
            _ if upright => " text-anchor=\"end\"",
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        let down = match style.anchor().v_pos {
            _ if upright => 0.35,
            VPos::Top => 0.8,
            VPos::Center => 0.35,
            VPos::Bottom => -0.2,
        };
        let y_base = f64::from(y) / 10.0 + down * FONT_SIZE;
        let x = Units(x);
        let turn =
            if upright { format!(" transform=\"rotate(-90 {x} {})\"", Units(y)) } else { String::new() };
        let bold = if matches!(style.style(), FontStyle::Bold) { " font-weight=\"bold\"" } else { "" };
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y_base:.1}\"{anchor}{bold}{turn}>{}</text>",
            escape(text)
        ))
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = (tenths(width(text, FONT_SIZE)), tenths(FONT_SIZE));
        Ok((size.0.unsigned_abs(), size.1.unsigned_abs()))
    }
}
