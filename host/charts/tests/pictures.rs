//! Pictures as a browser and an XML parser see them, of any data and any text.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use relevo_charts::{
    Axis, AxisKind, Chart, ChartKind, ChartSeries, ChartSize, MAX_POINTS, MAX_SERIES, NumberLanguage,
    Palette, Unit, sparkline,
};
use roxmltree::{Document, Node};

const ELEMENTS: [&str; 11] =
    ["svg", "title", "desc", "defs", "pattern", "path", "rect", "polyline", "polygon", "circle", "text"];

fn chart(kind: ChartKind, labels: &[&str], series: &[(&str, &[Option<f64>])]) -> Chart {
    let series = series.iter();
    Chart {
        id: "figure".to_owned(),
        title: "Emails".to_owned(),
        description: "Emails by day.".to_owned(),
        x: Axis {
            name: "Day".to_owned(),
            kind: AxisKind::Categories,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
        },
        y_label: "Emails".to_owned(),
        unit: Unit::Count,
        series: series
            .map(|(name, values)| ChartSeries { name: (*name).to_owned(), values: values.to_vec() })
            .collect(),
        kind,
        language: NumberLanguage::En,
        no_data: "Nothing yet".to_owned(),
    }
}

fn texts<'a>(document: &'a Document<'_>) -> Vec<&'a str> {
    document.descendants().filter(|node| node.has_tag_name((SVG, "text"))).filter_map(|n| n.text()).collect()
}

const SVG: &str = "http://www.w3.org/2000/svg";

/// Returns the numbers of an attribute.
fn numbers(node: Node<'_, '_>, name: &str) -> Vec<f64> {
    let text = node.attribute(name).unwrap_or_default();
    text.split([' ', ',']).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// Returns the corners of a line, an area, a bar or a marker, and where a text stands.
fn corners(node: Node<'_, '_>) -> Vec<(f64, f64)> {
    let of = |name| numbers(node, name).first().copied().unwrap_or_default();
    match node.tag_name().name() {
        "polyline" | "polygon" => numbers(node, "points").chunks(2).map(|pair| (pair[0], pair[1])).collect(),
        "rect" => {
            assert!(of("width") >= 0.0 && of("height") >= 0.0);
            vec![(of("x"), of("y")), (of("x") + of("width"), of("y") + of("height"))]
        }
        "circle" => vec![(of("cx"), of("cy"))],
        "text" => vec![(of("x"), of("y"))],
        _ => Vec::new(),
    }
}

/// Checks what holds for every picture: it is XML with harmless elements and attributes alone, its
/// ids are its own, it refers to nothing else, and its shapes are inside it.
fn check(svg: &str, prefix: &str) {
    let document = Document::parse(svg).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    assert!(root.attribute("width").is_none() && root.attribute("height").is_none());
    let view = numbers(root, "viewBox");
    let mut ids = BTreeSet::new();
    for node in document.descendants().filter(Node::is_element) {
        assert!(ELEMENTS.contains(&node.tag_name().name()), "{:?}", node.tag_name());
        assert_eq!(node.tag_name().namespace(), Some(SVG));
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(name != "style" && name != "href" && !name.starts_with("on"), "{name}");
            let is_number = matches!(name, "x" | "y" | "width" | "height" | "cx" | "cy" | "r");
            assert!(!is_number || value.parse::<f64>().is_ok_and(f64::is_finite), "{name}={value}");
            assert!(!value.contains("url(") || value.starts_with(&format!("url(#{prefix}")), "{value}");
        }
        if let Some(id) = node.attribute("id") {
            assert!(id.starts_with(prefix) && ids.insert(id), "{id}");
        }
        for corner in corners(node) {
            assert!((-1.0..=view[2] + 1.0).contains(&corner.0), "{corner:?}");
            assert!((-1.0..=view[3] + 1.0).contains(&corner.1), "{corner:?}");
        }
    }
    let named = root.attribute("aria-labelledby").into_iter().chain(root.attribute("aria-describedby"));
    assert_eq!(named.filter(|id| ids.contains(id)).count(), 2);
}

/// Returns the shape of a marker without its colour and its place.
fn shape(marker: Node<'_, '_>) -> String {
    let corners = corners(marker);
    let around = |(x, y): &(f64, f64)| format!(" {:.1},{:.1}", x - corners[0].0, y - corners[0].1);
    format!("{}{}", marker.tag_name().name(), corners.iter().map(around).collect::<String>())
}

#[test]
fn series_are_told_apart_without_colour() {
    let values = [Some(1.0), Some(2.0)];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let series: Vec<_> = names.iter().map(|name| (*name, &values[..])).collect();
    let svg = chart(ChartKind::Lines, &["x", "y"], &series).svg(ChartSize::Wide, Palette::Print);
    let document = Document::parse(&svg).unwrap();
    let is_line = |node: &Node<'_, '_>| node.attribute("stroke-width") == Some("2");
    // The samples of the legend come first, the marker behind its line.
    let samples = document.descendants().filter(is_line).take(12);
    let looks: BTreeSet<_> = samples
        .map(|line| (line.attribute("stroke-dasharray"), shape(line.next_sibling_element().unwrap())))
        .collect();
    assert_eq!(looks.len(), 12, "{looks:?}");
    let svg = chart(ChartKind::Bars, &["x", "y"], &series).svg(ChartSize::Wide, Palette::Print);
    let document = Document::parse(&svg).unwrap();
    let patterns = document.descendants().filter(|node| node.has_tag_name((SVG, "pattern")));
    let hatches: BTreeSet<_> =
        patterns.map(|pattern| pattern.last_element_child().unwrap().attribute("d").unwrap()).collect();
    assert_eq!(hatches.len(), 11);
    for name in names {
        assert!(texts(&document).contains(&name), "{name}");
    }
}

#[test]
fn a_page_sets_the_colours_and_a_file_has_its_own() {
    let chart = chart(ChartKind::Bars, &["x"], &[("a", &[Some(1.0)]), ("b", &[Some(2.0)])]);
    let page = chart.svg(ChartSize::Wide, Palette::Page);
    assert!(page.contains("fill=\"currentColor\"") && page.contains("var(--chart-1,"));
    assert!(!page.contains("font-family"));
    // The name of the values alone: the title is the heading of the page.
    assert_eq!(page.matches(">Emails</text>").count(), 1);
    let print = chart.svg(ChartSize::Wide, Palette::Print);
    assert!(!print.contains("var(") && !print.contains("currentColor"));
    assert!(print.contains("<path fill=\"#ffffff\" d=\"M0 0h720"), "{print}");
    assert!(print.contains("font-weight=\"bold\">Emails</text>"));
}

#[test]
fn wide_and_narrow_have_ids_of_their_own() {
    let mut chart = chart(ChartKind::Bars, &["x"], &[("a", &[Some(1.0)])]);
    chart.id = "tenant 7 <sent>".to_owned();
    check(&chart.svg(ChartSize::Wide, Palette::Page), "tenant7sent-wide-");
    check(&chart.svg(ChartSize::Narrow, Palette::Page), "tenant7sent-narrow-");
}

#[test]
fn without_a_value_the_caller_speaks() {
    let nothing: [&[Option<f64>]; 3] = [&[], &[None, None], &[Some(f64::NAN)]];
    for values in nothing {
        let svg = chart(ChartKind::Lines, &["x", "y"], &[("a", values)]).svg(ChartSize::Wide, Palette::Page);
        assert_eq!(texts(&Document::parse(&svg).unwrap()), ["Nothing yet"]);
    }
    let svg = chart(ChartKind::StackedBars, &[], &[("a", &[Some(1.0)])]).svg(ChartSize::Wide, Palette::Page);
    assert_eq!(texts(&Document::parse(&svg).unwrap()), ["Nothing yet"]);
    let zero = chart(ChartKind::Lines, &["x"], &[("a", &[Some(0.0)])]).svg(ChartSize::Wide, Palette::Page);
    assert_eq!(texts(&Document::parse(&zero).unwrap()), ["a", "Emails", "Day", "0", "1", "x"]);
}

#[test]
fn bars_are_as_high_as_their_values() {
    let svg = chart(ChartKind::StackedBars, &["x"], &[("a", &[Some(30.0)]), ("b", &[Some(10.0)])])
        .svg(ChartSize::Wide, Palette::Print);
    let document = Document::parse(&svg).unwrap();
    let bars = document.descendants().filter(|node| node.has_tag_name((SVG, "rect"))).skip(2);
    let bars: Vec<_> = bars.map(|bar| (numbers(bar, "y")[0], numbers(bar, "height")[0])).collect();
    assert_eq!(bars.len(), 2);
    assert!((bars[0].1 - 3.0 * bars[1].1).abs() < 0.5, "{bars:?}");
    assert!((bars[1].0 + bars[1].1 - bars[0].0).abs() < 0.11, "{bars:?}");
}

#[test]
fn a_gap_interrupts_a_line_and_a_point_alone_is_marked() {
    let values = [Some(1.0), Some(2.0), None, Some(3.0)];
    let svg =
        chart(ChartKind::Lines, &["a", "b", "c", "d"], &[("s", &values)]).svg(ChartSize::Wide, Palette::Page);
    let document = Document::parse(&svg).unwrap();
    // The legend has a sample of both.
    let lines = document.descendants().filter(|node| node.attribute("stroke-width") == Some("2"));
    assert_eq!(lines.count(), 2);
    assert_eq!(document.descendants().filter(|node| node.has_tag_name((SVG, "circle"))).count(), 4);
}

#[test]
fn a_picture_is_bounded() {
    let labels: Vec<String> = (0..100_000).map(|n| format!("{n}{}", "x".repeat(100))).collect();
    let mut chart = chart(ChartKind::Lines, &[], &[]);
    chart.x.labels = labels;
    chart.series = vec![ChartSeries { name: "n".repeat(10_000), values: vec![Some(1.0); 100_000] }; 50];
    for kind in [ChartKind::Lines, ChartKind::Bars, ChartKind::StackedBars] {
        chart.kind = kind;
        let svg = chart.svg(ChartSize::Wide, Palette::Page);
        assert!(svg.len() < 600_000, "{kind:?} {}", svg.len());
        check(&svg, "figure-wide-");
    }
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(0.0)),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(-f64::MAX)),
        any::<f64>().prop_map(Some),
        (-1e6..1e6).prop_map(Some),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        any::<String>(),
        Just("</text></svg><script>alert(1)</script>".to_owned()),
        Just("\" onload=\"alert(1)".to_owned()),
        Just("]]><!--&amp;&#0;".to_owned()),
        Just("\u{202e}\u{2066}\u{0}\u{1b}[31m\u{fffe}\u{feff}".to_owned()),
        Just("x".repeat(10_000)),
        Just("\u{301}".repeat(10_000)),
        vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect()),
    ]
}

prop_compose! {
    fn any_chart()(
        labels in vec(text(), 0..450),
        series in vec((text(), vec(value(), 0..450)), 0..15),
        words in vec(text(), 6),
        kind in prop_oneof![Just(ChartKind::Lines), Just(ChartKind::Bars), Just(ChartKind::StackedBars)],
        unit in prop_oneof![Just(Unit::Count), Just(Unit::Percent), Just(Unit::Milliseconds)],
        axis in prop_oneof![Just(AxisKind::Times), Just(AxisKind::Categories)],
        language in prop_oneof![Just(NumberLanguage::En), Just(NumberLanguage::Es)],
    ) -> Chart {
        let [id, title, description, name, y_label, no_data] = words.try_into().unwrap();
        let series = series.into_iter().map(|(name, values)| ChartSeries { name, values }).collect();
        let x = Axis { name, kind: axis, labels };
        Chart { id, title, description, x, y_label, unit, series, kind, language, no_data }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_chart_is_a_harmless_picture(chart in any_chart()) {
        for (size, suffix) in [(ChartSize::Wide, "wide"), (ChartSize::Narrow, "narrow")] {
            for palette in [Palette::Page, Palette::Print] {
                let svg = chart.svg(size, palette);
                let root_id = svg.split("aria-labelledby=\"").nth(1).unwrap().split("-title").next().unwrap();
                prop_assert!(root_id.ends_with(suffix));
                check(&svg, root_id);
                let controls = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
                prop_assert!(!svg.contains(controls));
            }
        }
    }

    #[test]
    fn any_chart_has_a_bounded_table(chart in any_chart()) {
        let table = chart.rows();
        prop_assert!(table.rows.len() <= MAX_POINTS && table.header.len() <= MAX_SERIES + 1);
        for row in table.rows.iter().chain([&table.header]) {
            prop_assert_eq!(row.len(), table.header.len());
            for cell in row {
                prop_assert!(cell.len() <= 310 && !cell.contains(char::is_control), "{}", cell);
            }
        }
    }

    #[test]
    fn any_sparkline_is_xml(values in vec(value(), 0..500)) {
        let svg = sparkline(&values);
        let document = Document::parse(&svg).unwrap();
        prop_assert_eq!(document.root_element().attribute("aria-hidden"), Some("true"));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.len() < 3_000);
    }
}
