//! The answer: counts and rates in the words of the API.

use relevo_store::{Counter, StatisticsCounts};
use serde::Serialize;

use crate::span::Span;

/// How a rate is calculated: a part of something counted, divided by something counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RateDefinition {
    /// The name of the rate.
    pub name: &'static str,
    /// What is divided: the path of a count.
    pub numerator: &'static str,
    /// What it is divided by: the path of a count.
    pub denominator: &'static str,
}

const BOUNCES: &[Counter] = &[
    Counter::BouncedHard,
    Counter::BouncedSoft,
    Counter::BouncedBlock,
    Counter::BouncedContent,
    Counter::BouncedOther,
];

macro_rules! rates {
    ($($(#[$doc:meta])* $name:ident = $numerator:literal $of:expr, $denominator:literal $by:expr;)*) => {
        /// Rates from 0 to 1, rounded to six places; absent where the denominator is 0. They can
        /// exceed 1 in a short span: opens of today belong to mail of yesterday.
        #[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
        pub struct Rates {
            $($(#[$doc])* pub $name: Option<f64>,)*
        }

        /// All rates, with what is divided by what.
        pub const RATES: &[RateDefinition] = &[$(RateDefinition {
            name: stringify!($name),
            numerator: $numerator,
            denominator: $denominator,
        },)*];

        impl Rates {
            fn of(counts: &StatisticsCounts) -> Self {
                Self { $($name: rate(counts, $of, $by),)* }
            }

            /// The rate of a name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<f64> {
                match name {
                    $(stringify!($name) => self.$name,)*
                    _ => None,
                }
            }
        }
    };
}

rates! {
    /// `delivered / sent`.
    delivered_rate = "delivered" &[Counter::Delivered], "sent" &[Counter::Sent];
    /// `bounced.total / sent`.
    bounce_rate = "bounced.total" BOUNCES, "sent" &[Counter::Sent];
    /// `bounced.hard / sent`.
    hard_bounce_rate = "bounced.hard" &[Counter::BouncedHard], "sent" &[Counter::Sent];
    /// `bounced.soft / sent`.
    soft_bounce_rate = "bounced.soft" &[Counter::BouncedSoft], "sent" &[Counter::Sent];
    /// `bounced.block / sent`.
    block_rate = "bounced.block" &[Counter::BouncedBlock], "sent" &[Counter::Sent];
    /// `opened.unique_human / delivered`.
    open_rate = "opened.unique_human" &[Counter::OpenedUniqueHuman], "delivered" &[Counter::Delivered];
    /// `opened.unique / delivered`: machines included.
    open_rate_all = "opened.unique" &[Counter::OpenedUnique], "delivered" &[Counter::Delivered];
    /// `clicked.unique_human / delivered`.
    click_rate = "clicked.unique_human" &[Counter::ClickedUniqueHuman], "delivered" &[Counter::Delivered];
    /// `clicked.unique / delivered`: machines included.
    click_rate_all = "clicked.unique" &[Counter::ClickedUnique], "delivered" &[Counter::Delivered];
    /// `clicked.unique_human / opened.unique_human`.
    click_to_open_rate = "clicked.unique_human" &[Counter::ClickedUniqueHuman], "opened.unique_human" &[Counter::OpenedUniqueHuman];
    /// `clicked.unique / opened.unique`: machines included.
    click_to_open_rate_all = "clicked.unique" &[Counter::ClickedUnique], "opened.unique" &[Counter::OpenedUnique];
    /// `complained / delivered`.
    complaint_rate = "complained" &[Counter::Complained], "delivered" &[Counter::Delivered];
    /// `unsubscribed / delivered`.
    unsubscribe_rate = "unsubscribed" &[Counter::Unsubscribed], "delivered" &[Counter::Delivered];
}

fn rate(counts: &StatisticsCounts, of: &[Counter], by: &[Counter]) -> Option<f64> {
    let (of, by) = (sum(counts, of), sum(counts, by));
    (by > 0).then(|| (of as f64 / by as f64 * 1e6).round() / 1e6)
}

fn sum(counts: &StatisticsCounts, counters: &[Counter]) -> i64 {
    counters.iter().fold(0, |sum: i64, counter| sum.saturating_add(counts[*counter]))
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Recipients of messages that were accepted.
    pub accepted: i64,
    /// Recipients that a first attempt was made for.
    pub sent: i64,
    /// Recipients that the next hop took responsibility for.
    pub delivered: i64,
    /// Attempts that failed for now.
    pub deferred: i64,
    /// Recipients that were refused by the receiver.
    pub bounced: Bounces,
    /// Recipients that got nothing because the address is suppressed.
    pub suppressed: i64,
    /// Recipients refused for good when the message was submitted.
    pub rejected: i64,
    /// Recipients given up for a reason of the relay's own.
    pub failed: i64,
    /// Recipients given up because the message's time was over.
    pub expired: i64,
    /// Recipients of messages that were canceled.
    pub canceled: i64,
    /// Recipients that a plugin had accepted and not sent to.
    pub discarded: i64,
    /// Fetches of the open pixel.
    pub opened: Engagement,
    /// Clicks.
    pub clicked: Engagement,
    /// Suppressions that were added for a complaint.
    pub complained: i64,
    /// Recipients who unsubscribed, each once for a message.
    pub unsubscribed: i64,
}

/// Bounces by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Bounces {
    /// All of them.
    pub total: i64,
    /// The address or its domain does not exist.
    pub hard: i64,
    /// The mailbox or the receiver's system cannot take mail now.
    pub soft: i64,
    /// The receiver's policy refused the sender or the message.
    pub block: i64,
    /// The size or the content is not taken.
    pub content: i64,
    /// Another reason, or none.
    pub other: i64,
}

/// Opens or clicks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Engagement {
    /// All of them.
    pub total: i64,
    /// Those by people.
    pub human: i64,
    /// Recipients, each once for a message; of a link, once for a message and link.
    pub unique: i64,
    /// Recipients who did it themselves.
    pub unique_human: i64,
}

impl Counts {
    fn of(counts: &StatisticsCounts) -> Self {
        let one = |counter| counts[counter];
        Self {
            accepted: one(Counter::Accepted),
            sent: one(Counter::Sent),
            delivered: one(Counter::Delivered),
            deferred: one(Counter::Deferred),
            bounced: Bounces {
                total: sum(counts, BOUNCES),
                hard: one(Counter::BouncedHard),
                soft: one(Counter::BouncedSoft),
                block: one(Counter::BouncedBlock),
                content: one(Counter::BouncedContent),
                other: one(Counter::BouncedOther),
            },
            suppressed: one(Counter::Suppressed),
            rejected: one(Counter::Rejected),
            failed: one(Counter::Failed),
            expired: one(Counter::Expired),
            canceled: one(Counter::Canceled),
            discarded: one(Counter::Discarded),
            opened: Engagement {
                total: one(Counter::Opened),
                human: one(Counter::OpenedHuman),
                unique: one(Counter::OpenedUnique),
                unique_human: one(Counter::OpenedUniqueHuman),
            },
            clicked: Engagement {
                total: one(Counter::Clicked),
                human: one(Counter::ClickedHuman),
                unique: one(Counter::ClickedUnique),
                unique_human: one(Counter::ClickedUniqueHuman),
            },
            complained: one(Counter::Complained),
            unsubscribed: one(Counter::Unsubscribed),
        }
    }
}

/// Counts and rates of a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SpanCounts {
    /// The beginning, RFC 3339.
    pub from: String,
    /// The end, RFC 3339; not included.
    pub to: String,
    /// What was counted.
    pub counts: Counts,
    /// Rates.
    pub rates: Rates,
}

impl SpanCounts {
    fn new(from: String, to: String, counts: &StatisticsCounts) -> Self {
        Self { from, to, counts: Counts::of(counts), rates: Rates::of(counts) }
    }
}

/// One group, or all mail.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Series {
    /// The value that it is grouped by; absent without groups.
    pub value: Option<String>,
    /// What was counted in the whole span.
    pub counts: Counts,
    /// Rates of the whole span.
    pub rates: Rates,
    /// Every interval of the span, also those without counts. Empty for the interval `total`.
    pub intervals: Vec<SpanCounts>,
}

impl Series {
    pub(super) fn new(
        span: &Span,
        value: Option<String>,
        total: &StatisticsCounts,
        intervals: &[StatisticsCounts],
    ) -> Self {
        let intervals = match intervals {
            [_] => Vec::new(),
            all => (0..)
                .zip(all)
                .map(|(at, counts)| SpanCounts::new(span.time(at), span.time(at + 1), counts))
                .collect(),
        };
        Self { value, counts: Counts::of(total), rates: Rates::of(total), intervals }
    }
}

/// A report.
#[derive(Debug, Clone)]
pub struct Report {
    /// The span that it is about.
    pub span: Span,
    /// Events up to this position of the event log are counted.
    pub cursor: i64,
    /// The sum of all mail.
    pub totals: StatisticsCounts,
    /// The groups, the largest first; one series without groups.
    pub data: Vec<Series>,
    /// There are more groups than asked for.
    pub has_more: bool,
}

impl Report {
    /// Counts and rates of the whole span.
    #[must_use]
    pub fn total(&self) -> SpanCounts {
        SpanCounts::new(self.span.time(0), self.span.time(self.span.end()), &self.totals)
    }

    /// The name of the time zone.
    #[must_use]
    pub fn timezone(&self) -> &str {
        self.span.timezone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_name_what_they_divide() {
        let mut counts = StatisticsCounts::default();
        for (n, counter) in (1..).zip(Counter::ALL) {
            counts.add(*counter, n);
        }
        let (rates, json) = (Rates::of(&counts), serde_json::to_value(Counts::of(&counts)).unwrap());
        for RateDefinition { name, numerator, denominator, .. } in RATES {
            let count = |path: &str| {
                let value = path.split('.').fold(&json, |json, key| &json[key]);
                value.as_f64().unwrap_or_else(|| panic!("{path} is not a count"))
            };
            let wanted = count(numerator) / count(denominator);
            let found = rates.get(name).unwrap();
            assert!((found - wanted).abs() < 1e-6, "{name}: {found} for {wanted}");
        }
        assert_eq!(Rates::of(&StatisticsCounts::default()).get("open_rate"), None);
    }

    #[test]
    fn every_counter_has_a_place() {
        let mut counts = StatisticsCounts::default();
        for counter in Counter::ALL {
            counts.add(*counter, 1);
        }
        fn sum(json: &serde_json::Value) -> i64 {
            match json {
                serde_json::Value::Object(map) => map.values().map(sum).sum(),
                other => other.as_i64().unwrap(),
            }
        }
        let json = serde_json::to_value(Counts::of(&counts)).unwrap();
        let bounces = i64::try_from(BOUNCES.len()).unwrap();
        assert_eq!(sum(&json), i64::try_from(Counter::ALL.len()).unwrap() + bounces, "{json}");
    }
}
