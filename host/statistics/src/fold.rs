//! A batch of events as rows.

use std::collections::{BTreeSet, HashMap};

use relevo_queue::StoredEvent;
use relevo_store::{Counter, Dimension, SeenCandidate, SeenCredit, StatisticsCounts, StatisticsRow};

use crate::OTHER;
use crate::count::{EventCounts, Once, count, hour};
use crate::known::KnownValues;
use crate::provider::Sites;

/// The rows of events that were folded. They are in order of the events, and events of one tenant
/// and hour share a row for each value.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    rows: Vec<StatisticsRow>,
    by_key: HashMap<RowKey, usize>,
    seen: Vec<SeenCandidate>,
    seen_by_key: HashMap<SeenKey, usize>,
}

type RowKey = (String, Dimension, i64, &'static str, String);
type SeenKey = ([u8; 16], i64, i64);

/// Tenants and hours of events whose values are not remembered yet.
pub(crate) fn unknown(events: &[StoredEvent], known: &KnownValues) -> Vec<(String, i64)> {
    let of_tenants = events.iter().map(|stored| &stored.event).filter(|event| !event.tenant.is_empty());
    let all: BTreeSet<(&str, i64)> =
        of_tenants.map(|event| (event.tenant.as_str(), hour(event.at))).collect();
    let unknown = all.into_iter().filter(|(tenant, hour)| !known.has(tenant, *hour));
    unknown.map(|(tenant, hour)| (tenant.to_owned(), hour)).collect()
}

impl Fold {
    /// Adds an event. The values of its tenant and hour must be known.
    pub(crate) fn add(&mut self, stored: &StoredEvent, known: &mut KnownValues, sites: &mut Sites) {
        let event = &stored.event;
        let Some(EventCounts { counts, values, once, link }) = count(event, sites) else { return };
        let (tenant, hour, stream) = (event.tenant.as_str(), hour(event.at), event.labels.stream.name());
        let mut row = |dimension, value: &str| {
            let has_row = dimension == Dimension::Total || known.admit(tenant, hour, dimension, value);
            let value = if has_row { value } else { OTHER };
            self.row(tenant, dimension, hour, stream, value)
        };
        let mut rows = vec![row(Dimension::Total, "")];
        for (dimension, value) in &values {
            let index = row(*dimension, value);
            if !rows.contains(&index) {
                rows.push(index);
            }
        }
        let of_link = link.as_ref().map(|link| row(Dimension::Link, &link.url));
        for index in rows.iter().chain(&of_link) {
            for (counter, count) in &counts {
                self.rows[*index].counts.add(*counter, *count);
            }
        }
        let Some(message) = event.item.map(|item| item.0) else { return };
        let digest = link.map_or(0, |link| link.digest);
        for Once { recipient, mark, counter, of_link: is_of_link } in once {
            let (link, rows) = match is_of_link {
                true => (digest, of_link.into_iter().collect()),
                false => (0, rows.clone()),
            };
            self.once((message, recipient.into(), link), mark, counter, rows);
        }
    }

    /// The row of a key.
    fn row(
        &mut self,
        tenant: &str,
        dimension: Dimension,
        hour: i64,
        stream: &'static str,
        value: &str,
    ) -> usize {
        let key = (tenant.to_owned(), dimension, hour, stream, value.to_owned());
        *self.by_key.entry(key).or_insert_with(|| {
            self.rows.push(StatisticsRow {
                tenant: tenant.to_owned(),
                dimension,
                hour,
                stream,
                value: value.to_owned(),
                counts: StatisticsCounts::default(),
            });
            self.rows.len() - 1
        })
    }

    /// Counts in `rows` if the mark is new. Of one batch the first event counts.
    fn once(&mut self, key: SeenKey, mark: i64, counter: Counter, rows: Vec<usize>) {
        let index = *self.seen_by_key.entry(key).or_insert_with(|| {
            let (message, recipient, link) = key;
            self.seen.push(SeenCandidate { message, recipient, link, credits: Vec::new() });
            self.seen.len() - 1
        });
        let credits = &mut self.seen[index].credits;
        if !credits.iter().any(|credit| credit.mark == mark) {
            credits.push(SeenCredit { mark, counter, rows });
        }
    }

    /// Number of rows and candidates.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.seen.len()
    }

    /// What is to be stored.
    pub(crate) fn finish(self) -> (Vec<StatisticsRow>, Vec<SeenCandidate>) {
        (self.rows, self.seen)
    }
}
