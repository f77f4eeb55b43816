//! A line chart as SVG: seconds or days to the right, one line for each series.

use std::fmt::Write as _;

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    /// Of the vertical axis.
    pub(super) unit: &'a str,
    pub(super) scale: Scale,
    pub(super) axis: Axis,
    /// Name, and a value for each step.
    pub(super) lines: Vec<(String, Vec<f64>)>,
}

/// The horizontal axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// From 0.
    Seconds,
    /// From 1.
    Days,
}

/// Of the vertical axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// Decades; nothing below a tenth is told apart.
    Logarithmic,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 680.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 312.0;
/// Told apart by most eyes; the first is the relay's.
const COLORS: [&str; 6] = ["#2a78d6", "#eb6834", "#1b9e77", "#7b5cd6", "#c9a000", "#7f7f7f"];
const LEAST: f64 = 0.1;

impl Scale {
    /// 0 at the bottom, 1 at the top.
    fn place(self, value: f64, most: f64) -> f64 {
        match self {
            Self::Linear => value / most,
            Self::Logarithmic => (value.max(LEAST) / LEAST).log10() / (most / LEAST).log10(),
        }
    }

    /// The next round number above, and the values that get a line across.
    fn ticks(self, largest: f64) -> (f64, Vec<f64>) {
        match self {
            Self::Linear => {
                let decade = 10f64.powf(largest.max(1.0).log10().floor());
                let steps = [0.2, 0.5, 1.0, 2.0];
                let step =
                    steps.iter().map(|s| s * decade).find(|s| largest / s <= 6.0).unwrap_or(decade * 2.0);
                let count = (largest.max(1.0) / step).ceil();
                (
                    count * step,
                    (0_u32..20).map(|n| f64::from(n) * step).take_while(|v| *v <= count * step).collect(),
                )
            }
            Self::Logarithmic => {
                let most = 10f64.powf(largest.max(LEAST * 10.0).log10().ceil());
                (most, (-1..12).map(|n| 10f64.powi(n)).take_while(|v| *v <= most).collect())
            }
        }
    }
}

impl Axis {
    fn unit(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Days => "day",
        }
    }

    /// The steps that get a label, which is a multiple of a round number, and the label.
    fn ticks(self, steps: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = usize::from(self == Self::Days);
        let every = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|every| steps <= every * 10);
        let every = every.unwrap_or(steps.max(1));
        (0..steps).map(move |step| (step, step + first)).filter(move |(_, label)| label % every == 0)
    }
}

impl Chart<'_> {
    /// The picture.
    pub(super) fn render(&self) -> String {
        let values = || self.lines.iter().flat_map(|l| &l.1).copied();
        let (most, ticks) = self.scale.ticks(values().fold(0.0, f64::max));
        let seconds = self.lines.iter().map(|l| l.1.len()).max().unwrap_or(0).max(2);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"#333\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            escape(&self.title)
        );
        let y = |value: f64| BOTTOM - self.scale.place(value, most) * (BOTTOM - TOP);
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let x = |second: usize| LEFT + (RIGHT - LEFT) * second as f64 / (seconds - 1) as f64;
        for tick in ticks {
            let at = y(tick);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e3e3e3\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>\n",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (step, label) in self.axis.ticks(seconds) {
            let (at, below) = (x(step), BOTTOM + 18.0);
            let _ = write!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{BOTTOM}\" y2=\"{}\" stroke=\"#999\"/>\n\
                 <text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>\n",
                BOTTOM + 4.0
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{}</text>\n<text x=\"{}\" y=\"{}\">{}</text>\n",
            TOP - 6.0,
            escape(self.unit),
            RIGHT + 14.0,
            BOTTOM + 18.0,
            self.axis.unit()
        );
        for (n, (name, line)) in self.lines.iter().enumerate() {
            let color = COLORS[n % COLORS.len()];
            let points: Vec<String> =
                line.iter().enumerate().map(|(s, v)| format!("{:.1},{:.1}", x(s), y(*v))).collect();
            #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
            let label = TOP + 12.0 + n as f64 * 20.0;
            let _ = write!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n\
                 <rect x=\"{}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{color}\"/>\n<text x=\"{}\" y=\"{label}\">{}</text>\n",
                points.join(" "),
                RIGHT + 14.0,
                label - 6.0,
                RIGHT + 34.0,
                escape(name)
            );
        }
        svg + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_every_line_inside_its_frame() {
        let lines =
            vec![("Relevo".to_owned(), vec![0.0, 950.0, 1010.0]), ("A & <B>".to_owned(), vec![300.0, 350.0])];
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let title = "4 KiB".to_owned();
            let svg = Chart { title, unit: "1/s", scale, axis: Axis::Days, lines: lines.clone() }.render();
            assert_eq!(svg.matches("<polyline").count(), 2);
            assert!(svg.contains("A &amp; &lt;B&gt;") && svg.ends_with("</svg>\n"));
            for points in svg.split("points=\"").skip(1) {
                for point in points.split('"').next().expect("a list").split(' ') {
                    let (x, y) = point.split_once(',').expect("a pair");
                    let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
                    assert!((LEFT..=RIGHT).contains(&x) && (TOP..=BOTTOM).contains(&y), "{point}");
                }
            }
        }
    }

    #[test]
    fn ticks_are_round_and_reach_the_largest() {
        assert_eq!(
            Scale::Linear.ticks(1010.0),
            (1200.0, vec![0.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 1200.0])
        );
        let (most, ticks) = Scale::Logarithmic.ticks(43.0);
        assert!((most - 100.0).abs() < 1e-9 && ticks.len() == 4, "{most} {ticks:?}");
        assert_eq!(Scale::Linear.ticks(0.0).0, 1.0);
    }
}
