//! The month of a new sender.

use std::fmt::Write as _;

use super::Report;
use super::chart::{Axis, Chart, Scale};
use crate::receivers::{AtReceiver, DayCounts, Month};

impl Report {
    /// For people; empty without that part.
    pub(crate) fn receivers_table(&self) -> String {
        let mut text = String::new();
        let Some(found) = &self.receivers else { return text };
        let _ = writeln!(
            text,
            "a new sender, {} messages a day for {} days (classification rules {})\n\
             {:<20} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>12}",
            found.scenario.daily,
            found.scenario.days,
            found.classification_rules,
            "",
            "delivered",
            "blocked",
            "expired",
            "no user",
            "waiting",
            "deferrals",
            "blocks",
            "full volume"
        );
        for month in &found.months {
            let DayCounts { delivered, deferred, blocked, expired, no_such_user, .. } = month.total();
            let full = month.full_volume_on.map_or("never".to_owned(), |day| format!("from day {day}"));
            let _ = writeln!(
                text,
                "{:<20} {delivered:>9} {blocked:>8} {expired:>8} {no_such_user:>8} {:>8} {deferred:>9} {:>9} {full:>12}",
                month.way.name(),
                month.waiting,
                month.blocks()
            );
        }
        for month in &found.months {
            let at = |at: &AtReceiver| {
                let AtReceiver { name, total, blocks, suspensions, .. } = at;
                format!("{name} {} (blocks {blocks}, suspensions {suspensions})", total.delivered)
            };
            let at: Vec<_> = month.receivers.iter().map(at).collect();
            let _ = writeln!(text, "    delivered with {}: {}", month.way.name(), at.join(", "));
        }
        text.push('\n');
        text
    }

    /// By day: what was delivered, the attempts that were put off, and what was lost.
    pub(super) fn receivers_picture(&self) -> Vec<(String, String)> {
        let Some(found) = &self.receivers else { return Vec::new() };
        let chart = |title: &str, unit, scale, of: fn(&DayCounts) -> u32| {
            let line = |month: &Month| {
                (month.way.name().to_owned(), month.days.iter().map(|day| f64::from(of(day))).collect())
            };
            let title = format!("A new sender of {} messages a day: {title}", found.scenario.daily);
            let lines = found.months.iter().map(line).collect();
            Chart { title, unit, scale, axis: Axis::Days, lines }.render()
        };
        vec![
            (
                "receivers-delivered.svg".to_owned(),
                chart("delivered", "messages a day", Scale::Linear, |day| day.delivered),
            ),
            (
                "receivers-deferred.svg".to_owned(),
                chart("deferred", "attempts a day", Scale::Logarithmic, |day| day.deferred),
            ),
            (
                "receivers-lost.svg".to_owned(),
                chart("lost (blocked or expired)", "messages a day", Scale::Linear, |day| {
                    day.blocked + day.expired
                }),
            ),
        ]
    }
}
