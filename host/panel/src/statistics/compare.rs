//! Two spans beside each other, and what changed in words.

use super::charts::{measure_name, measure_text};
use super::report::{Figures, is_rate};
use crate::texts::Language;

/// What a table of two spans has.
pub(crate) const COMPARED: [&str; 13] = [
    "accepted",
    "delivered",
    "bounced.total",
    "opened.unique_human",
    "clicked.unique_human",
    "complained",
    "unsubscribed",
    "delivered_rate",
    "bounce_rate",
    "open_rate",
    "click_rate",
    "complaint_rate",
    "unsubscribe_rate",
];

/// A measure of two spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) now: String,
    pub(crate) before: String,
    /// Such as `12 % more`.
    pub(crate) words: String,
    /// The class: good, bad or neither.
    pub(crate) tone: &'static str,
}

/// What became of a measure.
#[must_use]
pub(crate) fn change(l: Language, measure: &str, now: &Figures, before: &Figures) -> Change {
    let (new, old) = (now.measure(measure), before.measure(measure));
    Change {
        name: measure_name(l, measure),
        now: measure_text(l, measure, new),
        before: measure_text(l, measure, old),
        words: words(l, measure, new, old),
        tone: tone(measure, new, old),
    }
}

fn words(l: Language, measure: &str, new: Option<f64>, old: Option<f64>) -> String {
    let (Some(new), Some(old)) = (new, old) else { return l.say("compare.nothing").to_owned() };
    let is_more = new > old;
    if is_rate(measure) {
        let points = ((new - old).abs() * 1_000.0).round() / 10.0;
        if points == 0.0 {
            return l.say("compare.same").to_owned();
        }
        let points = format!("{points:.1}").replace('.', l.say("format.decimal"));
        return l.fill(if is_more { "compare.points_up" } else { "compare.points_down" }, &points);
    }
    if new == old {
        return l.say("compare.same").to_owned();
    }
    if old == 0.0 {
        return l.say("compare.none_before").to_owned();
    }
    // A multiple reads better than 1,200 %.
    if new >= old * 10.0 {
        return l.fill("compare.times", &measure_text(l, measure, Some((new / old).round())));
    }
    let percent = ((new - old).abs() / old * 100.0).round().max(1.0);
    let percent = format!("{percent:.0}\u{a0}%");
    l.fill(if is_more { "compare.more" } else { "compare.less" }, &percent)
}

/// A higher bounce rate is bad, a higher click rate is good. Counts follow the number of messages: they
/// are neither.
fn tone(measure: &str, new: Option<f64>, old: Option<f64>) -> &'static str {
    let (Some(new), Some(old)) = (new, old) else { return "quiet" };
    // A change that is not shown has no colour.
    if !is_rate(measure) || (new - old).abs() < 0.000_5 {
        return "quiet";
    }
    let unwanted = ["bounce_", "hard_bounce_", "soft_bounce_", "block_", "complaint_", "unsubscribe_"];
    let is_unwanted = unwanted.iter().any(|start| measure.starts_with(start));
    if is_unwanted == (new > old) { "bad" } else { "good" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(delivered: u64, hard: f64) -> Figures {
        let json = json!({"counts": {"delivered": delivered, "clicked": {"total": delivered}},
            "rates": {"bounce_rate": hard, "click_rate": hard, "open_rate": null}});
        serde_json::from_value(json).expect("figures")
    }

    #[test]
    fn changes_are_words() {
        let l = Language::tagged("en");
        let of = |measure: &str, now: &Figures, before: &Figures| {
            let change = change(l, measure, now, before);
            (change.words, change.tone)
        };
        let (now, before) = (figures(112, 0.031), figures(100, 0.01));
        assert_eq!(of("delivered", &now, &before), ("12\u{a0}% more".into(), "quiet"));
        assert_eq!(of("delivered", &before, &now).0, "11\u{a0}% less");
        assert_eq!(of("delivered", &now, &now).0, "no change");
        assert_eq!(of("delivered", &now, &figures(0, 0.0)).0, "none before");
        assert_eq!(of("delivered", &figures(1_200, 0.0), &before).0, "12 times as many");
        assert_eq!(of("clicked.total", &now, &before).1, "quiet");
        assert_eq!(of("bounce_rate", &now, &before), ("2.1 points more".into(), "bad"));
        assert_eq!(of("click_rate", &now, &before).1, "good");
        assert_eq!(of("bounce_rate", &before, &figures(1, 0.010_1)), ("no change".into(), "quiet"));
        assert_eq!(of("open_rate", &now, &before).0, "nothing to compare with");
    }
}
