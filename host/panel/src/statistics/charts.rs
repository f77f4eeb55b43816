//! The charts of an answer.

use relevo_charts::{Axis, AxisKind, Chart, ChartKind, ChartSeries, NumberLanguage, Unit};

use super::query::StatsQuery;
use super::report::{IntervalFigures, StatsReport, StatsSeries, is_rate};
use crate::texts::Language;

/// Octets of a group's name that are shown.
const MAX_NAME: usize = 60;
/// Groups that have a line.
const LINES: usize = 6;
/// Groups that have bars.
const BARS: usize = 12;
/// What is drawn of all mail.
const COUNT_LINES: [&str; 5] =
    ["accepted", "delivered", "bounced.total", "opened.unique_human", "clicked.unique_human"];
const RATE_LINES: [&str; 3] = ["open_rate", "click_rate", "bounce_rate"];
const BOUNCE_BARS: [&str; 5] =
    ["bounced.hard", "bounced.soft", "bounced.block", "bounced.content", "bounced.other"];
const CLICK_LINES: [&str; 2] = ["clicked.total", "clicked.unique_human"];
/// What is drawn of groups.
const GROUP_BARS: [&str; 4] = ["accepted", "delivered", "opened.unique_human", "clicked.unique_human"];

/// The name of a count or rate.
#[must_use]
pub(crate) fn measure_name(l: Language, measure: &str) -> String {
    let group = if is_rate(measure) { "rate" } else { "count" };
    let key = measure.replace('.', "_");
    l.find(group, &key).map_or_else(|| measure.to_owned(), str::to_owned)
}

/// A count or rate for people.
#[must_use]
pub(crate) fn measure_text(l: Language, measure: &str, value: Option<f64>) -> String {
    match value {
        value if is_rate(measure) => l.percent(value),
        Some(value) => Unit::Count.text(value, NumberLanguage::from_tag(l.tag)),
        None => "\u{2013}".to_owned(),
    }
}

/// The name of a group.
#[must_use]
pub(crate) fn group_name(l: Language, group_by: &str, value: &str) -> String {
    match (group_by, value) {
        (_, "(other)") => l.say("statistics.other").to_owned(),
        (_, "") => l.say("statistics.unnamed").to_owned(),
        ("stream", value) => l.term("stream", value).to_owned(),
        (_, value) => value.to_owned(),
    }
}

/// At most [`MAX_NAME`] octets of a text.
#[must_use]
pub(crate) fn shortened(text: &str) -> String {
    if text.len() <= MAX_NAME {
        return text.to_owned();
    }
    format!("{}\u{2026}", &text[..text.floor_char_boundary(MAX_NAME)])
}

/// The beginning of an interval for people.
#[must_use]
pub(crate) fn interval_label(l: Language, from: &str, interval: &str) -> String {
    let month = from.get(5..7).and_then(|month| month.parse::<usize>().ok());
    let month = month.and_then(|month| l.say("format.months").split(' ').nth(month.wrapping_sub(1)));
    let (Some(year), Some(month), Some(day)) = (from.get(..4), month, from.get(8..10)) else {
        return from.to_owned();
    };
    let day = day.trim_start_matches('0');
    match interval {
        "month" => format!("{month} {year}"),
        "hour" => format!("{day} {month} {}", from.get(11..16).unwrap_or_default()),
        _ => format!("{day} {month}"),
    }
}

/// Lines of some measures over time. All are counts, or all are rates.
#[must_use]
pub(crate) fn lines(
    l: Language,
    id: &str,
    title: &str,
    interval: &str,
    (intervals, measures): (&[IntervalFigures], &[&str]),
) -> Chart {
    let series = |measure: &&str| ChartSeries {
        name: measure_name(l, measure),
        values: intervals.iter().map(|at| at.figures.measure(measure)).collect(),
    };
    let labels = intervals.iter().map(|at| interval_label(l, &at.from, interval)).collect();
    let unit = measures.first().map_or(Unit::Count, |measure| unit(measure));
    let series = measures.iter().map(series).collect();
    chart(l, id, title, (unit, ChartKind::Lines), (axis_of_times(l, interval, labels), series))
}

fn unit(measure: &str) -> Unit {
    if is_rate(measure) { Unit::Percent } else { Unit::Count }
}

fn axis_of_times(l: Language, interval: &str, labels: Vec<String>) -> Axis {
    let name = l.find("interval", interval).unwrap_or_default().to_owned();
    Axis { name, kind: AxisKind::Times, labels }
}

fn chart(
    l: Language,
    id: &str,
    title: &str,
    (unit, kind): (Unit, ChartKind),
    (x, series): (Axis, Vec<ChartSeries>),
) -> Chart {
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        description: l.fill("statistics.shows", &names.join(", ")),
        x,
        y_label: String::new(),
        unit,
        series,
        kind,
        language: NumberLanguage::from_tag(l.tag),
        no_data: l.say("statistics.no_data").to_owned(),
    }
}

/// All charts of a page. The ids are the names of their files.
pub(super) fn charts(l: Language, query: &StatsQuery, report: &StatsReport) -> Vec<Chart> {
    if report.group_by.is_some() {
        return group_charts(l, query, report);
    }
    let (intervals, interval) = (report.intervals(), report.interval.as_str());
    if intervals.is_empty() {
        return Vec::new();
    }
    let of = |id: &str, title: &str, measures: &[&str]| lines(l, id, title, interval, (intervals, measures));
    if query.is_about_links() {
        return vec![of("clicks", l.say("statistics.clicks"), &CLICK_LINES)];
    }
    let mut charts = vec![
        of("counts", l.say("statistics.counts"), &COUNT_LINES),
        of("rates", l.say("statistics.rates"), &RATE_LINES),
    ];
    if report.totals.count("bounced.total") > 0 {
        let bounces = of("bounces", l.say("statistics.bounces"), &BOUNCE_BARS);
        charts.push(Chart { kind: ChartKind::StackedBars, ..bounces });
    }
    charts
}

fn group_charts(l: Language, query: &StatsQuery, report: &StatsReport) -> Vec<Chart> {
    let group_by = report.group_by.as_deref().unwrap_or_default();
    let name =
        |group: &StatsSeries| shortened(&group_name(l, group_by, group.value.as_deref().unwrap_or_default()));
    let measures: &[&str] = if query.is_about_links() { &CLICK_LINES } else { &GROUP_BARS };
    let groups = &report.data[..report.data.len().min(BARS)];
    let series = |measure: &&str| ChartSeries {
        name: measure_name(l, measure),
        values: groups.iter().map(|group| group.figures.measure(measure)).collect(),
    };
    let axis = Axis {
        name: l.term("dimension", group_by).to_owned(),
        kind: AxisKind::Categories,
        labels: groups.iter().map(name).collect(),
    };
    let series = measures.iter().map(series).collect();
    let title = l.say("statistics.groups");
    let mut charts = vec![chart(l, "groups", title, (Unit::Count, ChartKind::Bars), (axis, series))];
    charts.extend(group_lines(l, query, report, &name));
    charts
}

/// The measure of the largest groups over time.
fn group_lines(
    l: Language,
    query: &StatsQuery,
    report: &StatsReport,
    name: &dyn Fn(&StatsSeries) -> String,
) -> Option<Chart> {
    let measure = query.measure.as_str();
    let first = report.data.first().filter(|group| !group.intervals.is_empty())?;
    let labels = first.intervals.iter().map(|at| interval_label(l, &at.from, &report.interval)).collect();
    let series = report.data.iter().take(LINES).map(|group| ChartSeries {
        name: name(group),
        values: group.intervals.iter().map(|at| at.figures.measure(measure)).collect(),
    });
    let title = l.fill("statistics.largest", &measure_name(l, measure));
    let parts = (axis_of_times(l, &report.interval, labels), series.collect());
    Some(chart(l, "measure", &title, (unit(measure), ChartKind::Lines), parts))
}

/// The measure of two spans, the intervals of the later one below.
pub(super) fn compared(l: Language, query: &StatsQuery, now: &StatsReport, before: &StatsReport) -> Chart {
    let measure = query.measure.as_str();
    let values =
        |report: &StatsReport| report.intervals().iter().map(|at| at.figures.measure(measure)).collect();
    let label = |at: &IntervalFigures| interval_label(l, &at.from, &now.interval);
    let series = vec![
        ChartSeries { name: l.say("compare.now").to_owned(), values: values(now) },
        ChartSeries { name: l.say("compare.before").to_owned(), values: values(before) },
    ];
    let labels = now.intervals().iter().map(label).collect();
    let parts = (axis_of_times(l, &now.interval, labels), series);
    chart(l, "compare", &measure_name(l, measure), (unit(measure), ChartKind::Lines), parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_named_by_their_length() {
        let l = Language::tagged("en");
        let at = "2026-11-09T14:00:00+01:00";
        let label = |interval| interval_label(l, at, interval);
        assert_eq!((label("hour"), label("day")), ("9 Nov 14:00".into(), "9 Nov".into()));
        assert_eq!(label("month"), "Nov 2026");
        assert_eq!(interval_label(l, "2026-00-09", "day"), "2026-00-09");
        assert_eq!(interval_label(l, "é", "day"), "é");
    }

    #[test]
    fn names_are_shortened_between_characters() {
        let name = shortened(&"é".repeat(40));
        assert_eq!(name.chars().count(), 31);
        assert_eq!(shortened("short"), "short");
    }
}
