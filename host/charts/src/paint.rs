//! Colours, dashes and hatching: what tells series apart.

use std::fmt::Write as _;

use plotters::style::{Color, RGBColor, ShapeStyle};
use plotters_backend::BackendColor;

use crate::chart::MAX_SERIES;

/// Where the colours of a picture come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// A page: colours are the custom properties `--chart-1` to `--chart-12`, `--chart-axis`,
    /// `--chart-grid` and `--chart-ground`, text has the colour and the font of the text around the
    /// picture. [`stylesheet`] sets the properties.
    Page,
    /// A file of its own: fixed colours on white, and the title above the picture.
    Print,
}

/// Colours of series on a light ground, at least 4:1 against white.
const LIGHT: [&str; MAX_SERIES] = [
    "#0969da", "#bc4c00", "#0e7a6d", "#8250df", "#bf3989", "#6b6b00", "#8a4b2a", "#cf222e", "#57606a",
    "#1a7f37", "#3b3f9e", "#a626a4",
];

/// Colours of series on a dark ground, at least 4:1 against `GROUND.1`.
const DARK: [&str; MAX_SERIES] = [
    "#58a6ff", "#f0883e", "#39c5b0", "#bc8cff", "#f778ba", "#c9c93f", "#d9a37c", "#ff7b72", "#a3adb8",
    "#56d364", "#9aa5ff", "#e58fe3",
];

/// Light and dark colours of what is no series.
const AXIS: (&str, &str) = ("#6e7781", "#8b949e");
const GRID: (&str, &str) = ("#d8dee4", "#30363d");
const GROUND: (&str, &str) = ("#ffffff", "#0d1117");
/// The text of a chart for print.
const PRINT_TEXT: &str = "#1f2328";

/// Dashes of lines. With six markers, twelve series have twelve looks.
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// Hatching of bars after the first series, on a tile of eight units.
const HATCHES: [&str; MAX_SERIES - 1] = [
    "M-2 2l4-4M-2 10L10-2M6 10l4-4",
    "M1 2h2M5 6h2",
    "M0 4h8",
    "M-2 6l4 4M-2-2L10 10M6-2l4 4",
    "M4 0v8",
    "M-2 10L10-2M-2-2L10 10",
    "M0 4h8M4 0v8",
    "M-2 2l4-4M-2 6L6-2M-2 10L10-2M2 10l8-8M6 10l4-4",
    "M0 2h8M0 6h8",
    "M-2 6l4 4M-2 2l8 8M-2-2L10 10M2-2l8 8M6-2l4 4",
    "M2 0v8M6 0v8",
];

/// What a shape is painted as. The library knows colours alone: a paint travels through it as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Text,
    Axis,
    Grid,
    /// A line of a series, with its dashes.
    Dashed(u8),
    /// A surface of a series, with its hatching.
    Hatched(u8),
    /// A marker of a series.
    Plain(u8),
}

impl Paint {
    pub(crate) fn color(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(0, 0, 0),
            Self::Axis => RGBColor(1, 0, 0),
            Self::Grid => RGBColor(2, 0, 0),
            Self::Dashed(series) => RGBColor(3, series, 0),
            Self::Hatched(series) => RGBColor(4, series, 0),
            Self::Plain(series) => RGBColor(5, series, 0),
        }
    }

    pub(crate) fn of(color: BackendColor) -> Self {
        match color.rgb {
            (1, ..) => Self::Axis,
            (2, ..) => Self::Grid,
            (3, series, _) => Self::Dashed(series),
            (4, series, _) => Self::Hatched(series),
            (5, series, _) => Self::Plain(series),
            _ => Self::Text,
        }
    }

    /// A stroke so many tenths of a unit wide.
    pub(crate) fn stroke(self, width: u32) -> ShapeStyle {
        self.color().stroke_width(width)
    }

    pub(crate) fn fill(self) -> ShapeStyle {
        self.color().filled()
    }
}

/// The values of attributes that paint a picture.
pub(crate) struct Ink {
    pub(crate) palette: Palette,
    /// The start of all ids of the picture.
    pub(crate) id: String,
}

impl Ink {
    /// A fill or a stroke.
    pub(crate) fn paint(&self, paint: Paint) -> String {
        match paint {
            Paint::Text if self.palette == Palette::Page => "currentColor".to_owned(),
            Paint::Text => PRINT_TEXT.to_owned(),
            Paint::Axis => self.color("axis", AXIS.0),
            Paint::Grid => self.color("grid", GRID.0),
            Paint::Hatched(series) if series > 0 => format!("url(#{}-hatch-{series})", self.id),
            Paint::Dashed(series) | Paint::Hatched(series) | Paint::Plain(series) => self.series(series),
        }
    }

    fn color(&self, name: &str, light: &str) -> String {
        match self.palette {
            Palette::Page => format!("var(--chart-{name},{light})"),
            Palette::Print => light.to_owned(),
        }
    }

    fn series(&self, series: u8) -> String {
        let place = usize::from(series) % MAX_SERIES;
        self.color(&(place + 1).to_string(), LIGHT[place])
    }

    pub(crate) fn ground(&self) -> String {
        self.color("ground", GROUND.0)
    }

    /// The dashes of a line, with the space before the attribute.
    pub(crate) fn dashes(paint: Paint) -> String {
        match paint {
            Paint::Dashed(series) if usize::from(series) % DASHES.len() > 0 => {
                format!(" stroke-dasharray=\"{}\"", DASHES[usize::from(series) % DASHES.len()])
            }
            _ => String::new(),
        }
    }

    /// The definitions of the hatching of so many series.
    pub(crate) fn hatching(&self, series: usize) -> String {
        let mut out = String::new();
        for (place, path) in (1u8..).zip(HATCHES).take(series.saturating_sub(1)) {
            let (id, color, ground) = (&self.id, self.series(place), self.ground());
            let _ = write!(
                out,
                "<pattern id=\"{id}-hatch-{place}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">\
                 <path fill=\"{color}\" d=\"M0 0h8v8H0z\"/>\
                 <path stroke=\"{ground}\" stroke-width=\"1.5\" d=\"{path}\"/></pattern>"
            );
        }
        if out.is_empty() { out } else { format!("<defs>{out}</defs>") }
    }
}

/// The stylesheet that gives the custom properties of [`Palette::Page`] their colours, for light
/// and dark themes. A page whose theme is not that of the reader's system sets them itself.
#[must_use]
pub fn stylesheet() -> String {
    let properties = |series: [&str; MAX_SERIES], axis, grid, ground| {
        let mut out = format!("--chart-axis:{axis};--chart-grid:{grid};--chart-ground:{ground}");
        for (place, color) in (1..).zip(series) {
            let _ = write!(out, ";--chart-{place}:{color}");
        }
        out
    };
    format!(
        ":root{{{}}}\n@media(prefers-color-scheme:dark){{:root{{{}}}}}\n",
        properties(LIGHT, AXIS.0, GRID.0, GROUND.0),
        properties(DARK, AXIS.1, GRID.1, GROUND.1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, WCAG 2.2.
    fn luminance(color: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn colours_stand_out_from_their_ground() {
        for (light, dark) in LIGHT.into_iter().zip(DARK).chain([AXIS]) {
            assert!(contrast(light, GROUND.0) >= 4.0, "{light}");
            assert!(contrast(dark, GROUND.1) >= 4.0, "{dark}");
        }
    }

    #[test]
    fn a_paint_travels_as_a_colour() {
        let all =
            [Paint::Text, Paint::Axis, Paint::Grid, Paint::Dashed(11), Paint::Hatched(0), Paint::Plain(7)];
        for paint in all {
            assert_eq!(Paint::of(paint.color().to_backend_color()), paint);
        }
    }

    #[test]
    fn the_stylesheet_sets_what_a_page_uses() {
        let ink = Ink { palette: Palette::Page, id: "x".to_owned() };
        let stylesheet = stylesheet();
        for paint in (0..12).map(Paint::Plain).chain([Paint::Axis, Paint::Grid]) {
            let value = ink.paint(paint);
            let (name, light) =
                value.strip_prefix("var(").unwrap().strip_suffix(')').unwrap().split_once(',').unwrap();
            assert!(stylesheet.contains(&format!("{name}:{light}")), "{value}");
            assert_eq!(stylesheet.matches(&format!("{name}:")).count(), 2, "{name}");
        }
    }
}
