//! Writes a page of all kinds of charts: `cargo run -p relevo-charts --example gallery > page.html`.
//! With the argument `print`, the pictures are those for print; with `es`, numbers are Spanish.

use relevo_charts::{
    Axis, AxisKind, Chart, ChartKind, ChartSeries, ChartSize, NumberLanguage, Palette, Unit, sparkline,
    stylesheet,
};

/// The pages' own colours. A real page has them in a stylesheet of its own.
const STYLE: &str = ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:1rem}\
    .pair{display:flex;gap:1rem;align-items:flex-start}.wide{flex:2}.narrow{flex:1}svg{width:100%;height:auto}\
    .spark{display:inline-block;width:7rem;vertical-align:middle}h2{font-size:1.05rem;margin:.6rem 0}\
    @media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}}";

/// A wave that looks like traffic.
fn wave(count: u32, top: f64, phase: f64) -> Vec<Option<f64>> {
    let value = |n: u32| {
        let n = f64::from(n);
        top * (0.55 + 0.3 * (n / 4.0 + phase).sin() + 0.15 * (n * 1.7 + phase * 3.0).cos())
    };
    (0..count).map(|n| Some(value(n))).collect()
}

fn whole(values: Vec<Option<f64>>) -> Vec<Option<f64>> {
    values.into_iter().map(|value| value.map(f64::round)).collect()
}

fn days(count: u32) -> Axis {
    let label = |n: u32| format!("2026-{:02}-{:02}", 1 + n / 28 % 12, 1 + n % 28);
    Axis { name: "Day".to_owned(), kind: AxisKind::Times, labels: (0..count).map(label).collect() }
}

fn categories(names: &[&str]) -> Axis {
    let labels = names.iter().map(|&name| name.to_owned()).collect();
    Axis { name: "Provider".to_owned(), kind: AxisKind::Categories, labels }
}

fn chart(title: &str, kind: ChartKind, unit: Unit, x: Axis, series: Vec<(&str, Vec<Option<f64>>)>) -> Chart {
    let id = title.replace(' ', "-");
    let y_label = match unit {
        Unit::Count => "Emails",
        Unit::Percent => "Share of emails",
        Unit::Milliseconds => "Time to delivery",
    };
    let series = series.into_iter().map(|(name, values)| ChartSeries { name: name.to_owned(), values });
    Chart {
        id,
        title: title.to_owned(),
        description: format!("{title}, an example."),
        x,
        y_label: y_label.to_owned(),
        unit,
        series: series.collect(),
        kind,
        language: if std::env::args().any(|a| a == "es") { NumberLanguage::Es } else { NumberLanguage::En },
        no_data: "No emails in this time".to_owned(),
    }
}

const PROVIDERS: [&str; 6] =
    ["Gmail", "Microsoft 365", "Yahoo", "iCloud", "a-rather-long-name-of-a-provider.example", "(other)"];

fn lines() -> Vec<Chart> {
    let sent = || {
        let mut opened = whole(wave(30, 3_100.0, 2.0));
        opened[9..13].fill(None);
        opened[20] = None;
        opened[22] = None;
        vec![
            ("sent", whole(wave(30, 9_800.0, 0.0))),
            ("delivered", whole(wave(30, 9_300.0, 0.1))),
            ("opened", opened),
        ]
    };
    let names: Vec<String> = (1..=12).map(|n| format!("tenant {n}")).collect();
    let many = (0u32..12).map(|n| {
        let values = wave(60, 0.2 + f64::from(n) * 0.06, f64::from(n));
        (names[n as usize].as_str(), values)
    });
    let huge = wave(400, 2.4e9, 0.0);
    vec![
        chart("Emails by day", ChartKind::Lines, Unit::Count, days(30), sent()),
        chart("Twelve rates", ChartKind::Lines, Unit::Percent, days(60), many.collect()),
        chart(
            "Times",
            ChartKind::Lines,
            Unit::Milliseconds,
            days(14),
            vec![("median", wave(14, 900.0, 0.0)), ("95 of 100", wave(14, 42_000.0, 1.0))],
        ),
        chart(
            "Many points",
            ChartKind::Lines,
            Unit::Count,
            days(1_000),
            vec![("sent", wave(1_000, 2.4e6, 0.0)), ("clicked", huge)],
        ),
        chart("One point", ChartKind::Lines, Unit::Count, days(1), vec![("sent", vec![Some(7.0)])]),
    ]
}

fn bars() -> Vec<Chart> {
    let stack = |count| {
        vec![
            ("delivered", whole(wave(count, 900.0, 0.0))),
            ("deferred", whole(wave(count, 300.0, 1.0))),
            ("bounced", whole(wave(count, 120.0, 2.0))),
            ("complained", whole(wave(count, 60.0, 3.0))),
        ]
    };
    let names: Vec<String> = (1..=26).map(|n| format!("customer-{n}.mail.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let hatches = all.map(|name| (name, vec![Some(5.0), Some(3.0)]));
    vec![
        chart(
            "By provider",
            ChartKind::Bars,
            Unit::Count,
            categories(&PROVIDERS),
            vec![("delivered", whole(wave(6, 40_000.0, 0.0))), ("bounced", whole(wave(6, 9_000.0, 2.0)))],
        ),
        chart(
            "By customer",
            ChartKind::Bars,
            Unit::Percent,
            categories(&names),
            vec![("bounce rate", wave(26, 0.04, 0.0))],
        ),
        chart("Stacked by day", ChartKind::StackedBars, Unit::Count, days(30), stack(30)),
        chart(
            "Change",
            ChartKind::StackedBars,
            Unit::Count,
            categories(&["Monday", "Tuesday", "Wednesday"]),
            vec![
                ("added", vec![Some(40.0), Some(22.0), Some(5.0)]),
                ("removed", vec![Some(-12.0), Some(-30.0), None]),
            ],
        ),
        chart("All hatches", ChartKind::Bars, Unit::Count, categories(&["x", "y"]), hatches.to_vec()),
    ]
}

fn odd() -> Vec<Chart> {
    let hostile = "</text><script>alert(1)</script>\u{202e}evil\u{0}";
    vec![
        chart("No data", ChartKind::Lines, Unit::Count, days(7), vec![("sent", vec![None; 7])]),
        chart("All zero", ChartKind::StackedBars, Unit::Count, days(7), vec![("sent", vec![Some(0.0); 7])]),
        chart(
            "Hostile",
            ChartKind::Bars,
            Unit::Count,
            categories(&[hostile, "名前の長い会社株式会社", "שלום", "é👩‍👧"]),
            vec![(hostile, vec![Some(f64::MAX), Some(f64::NAN), Some(3e14), Some(1.0)])],
        ),
    ]
}

fn main() {
    let palette =
        if std::env::args().any(|argument| argument == "print") { Palette::Print } else { Palette::Page };
    println!(
        "<!doctype html><meta charset=utf-8><title>Charts</title><style>{}{STYLE}</style>",
        stylesheet()
    );
    for chart in lines().into_iter().chain(bars()).chain(odd()) {
        let (wide, narrow) = (chart.svg(ChartSize::Wide, palette), chart.svg(ChartSize::Narrow, palette));
        println!("<h2>{}</h2>", chart.title);
        println!("<div class=pair><div class=wide>{wide}</div><div class=narrow>{narrow}</div></div>");
    }
    let table =
        chart("Table", ChartKind::Bars, Unit::Percent, days(3), vec![("rate", wave(3, 0.5, 0.0))]).rows();
    println!("<pre>{:?}\n{:?}</pre>", table.header, table.rows);
    let line = sparkline(&wave(30, 10.0, 0.0));
    println!("<p>1,234 sent <span class=spark>{line}</span></p>");
}
