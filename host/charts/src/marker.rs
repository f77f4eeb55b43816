//! Markers of points: six shapes.

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, PathElement, Polygon};
use plotters_backend::BackendCoord;

use crate::canvas::Canvas;
use crate::draw::Drawn;
use crate::paint::Paint;

/// Half the size of a marker, in tenths of a unit.
const RADIUS: i32 = 34;
/// The width of the strokes of a cross.
const CROSS: u32 = 18;

/// Draws the marker of a series.
pub(crate) fn mark(area: &DrawingArea<Canvas<'_>, Shift>, series: u8, (x, y): BackendCoord) -> Drawn {
    let paint = Paint::Plain(series);
    let corners = |corners: &[(i32, i32)]| {
        let around = corners.iter().map(|(right, down)| (x + right, y + down)).collect::<Vec<_>>();
        area.draw(&Polygon::new(around, paint.fill()))
    };
    let (r, side) = (RADIUS, RADIUS * 9 / 10);
    match series % 6 {
        0 => area.draw(&Circle::new((x, y), RADIUS, paint.fill())),
        1 => corners(&[(-side, -side), (side, -side), (side, side), (-side, side)]),
        2 => corners(&[(0, -r - 6), (r + 4, r - 4), (-r - 4, r - 4)]),
        3 => corners(&[(0, -r - 8), (r + 8, 0), (0, r + 8), (-r - 8, 0)]),
        4 => corners(&[(0, r + 6), (r + 4, 4 - r), (-r - 4, 4 - r)]),
        _ => {
            let stroke = paint.stroke(CROSS);
            area.draw(&PathElement::new(vec![(x - r, y - r), (x + r, y + r)], stroke))?;
            area.draw(&PathElement::new(vec![(x - r, y + r), (x + r, y - r)], stroke))
        }
    }
}
