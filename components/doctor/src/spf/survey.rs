//! What a whole record costs, whatever address is asked about.

use super::parse::{Mechanism, SpfRecord, TermKind};
use super::records_of;
use crate::facts::{Gap, Lookups, RecordKind};

/// Lookups after which counting ends.
const MAX_COUNTED: usize = 40;

/// The cost of a record or of a term.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Terms that ask DNS.
    pub(super) lookups: usize,
    /// Those that find nothing, as they are written.
    pub(super) voids: Vec<String>,
    /// Errors in records that are included.
    pub(super) problems: Vec<String>,
}

impl Survey {
    /// The cost of all terms up to `all`.
    pub(super) fn of(record: &SpfRecord, domain: &str, lookups: &Lookups<'_>) -> Result<Self, Gap> {
        let mut survey = Self::default();
        let gaps = survey.add_record(record, lookups, &mut vec![domain.to_ascii_lowercase()]);
        gaps.map(|()| survey)
    }

    /// The cost of one term of a domain's record.
    pub(super) fn of_term(
        kind: &TermKind,
        text: &str,
        domain: &str,
        lookups: &Lookups<'_>,
    ) -> Result<Self, Gap> {
        let mut survey = Self::default();
        let gaps = survey.add_term(kind, text, lookups, &mut vec![domain.to_ascii_lowercase()]);
        gaps.map(|()| survey)
    }

    fn add_record(
        &mut self,
        record: &SpfRecord,
        lookups: &Lookups<'_>,
        path: &mut Vec<String>,
    ) -> Result<(), Gap> {
        let mut gap = None;
        for term in &record.terms {
            if matches!(term.kind, TermKind::Directive(_, Mechanism::All)) {
                break;
            }
            if matches!(term.kind, TermKind::Redirect(_)) && record.all().is_some() {
                continue;
            }
            // All are asked for at once.
            if let Err(found) = self.add_term(&term.kind, &term.text, lookups, path) {
                gap = Some(gap.filter(|gap| *gap == Gap::Missing).unwrap_or(found));
            }
        }
        gap.map_or(Ok(()), Err)
    }

    fn add_term(
        &mut self,
        kind: &TermKind,
        text: &str,
        lookups: &Lookups<'_>,
        path: &mut Vec<String>,
    ) -> Result<(), Gap> {
        let domain = path.last().cloned().unwrap_or_default();
        let own = |target: &Option<String>| target.clone().unwrap_or_else(|| domain.clone());
        let costs = !matches!(
            kind,
            TermKind::Modifier
                | TermKind::Directive(_, Mechanism::Ip4(..) | Mechanism::Ip6(..) | Mechanism::All)
        );
        if !costs || self.lookups > MAX_COUNTED {
            return Ok(());
        }
        self.lookups += 1;
        match kind {
            TermKind::Redirect(target) | TermKind::Directive(_, Mechanism::Include(target)) => {
                self.follow(target, text, lookups, path)
            }
            TermKind::Directive(_, Mechanism::A(target, ..)) => {
                let name = own(target);
                let is_void = !name.contains('%') && lookups.addresses(&name)?.is_empty();
                self.note(is_void, text);
                Ok(())
            }
            TermKind::Directive(_, Mechanism::Mx(target, ..)) => {
                let name = own(target);
                let is_void = !name.contains('%') && lookups.records(RecordKind::Mx, &name)?.is_empty();
                self.note(is_void, text);
                Ok(())
            }
            // Their names depend on the address and the sender.
            TermKind::Directive(..) | TermKind::Modifier => Ok(()),
        }
    }

    fn note(&mut self, is_void: bool, text: &str) {
        if is_void {
            self.voids.push(text.to_owned());
        }
    }

    fn follow(
        &mut self,
        target: &str,
        text: &str,
        lookups: &Lookups<'_>,
        path: &mut Vec<String>,
    ) -> Result<(), Gap> {
        if target.contains('%') {
            return Ok(());
        }
        let name = target.trim_end_matches('.').to_ascii_lowercase();
        if path.contains(&name) {
            self.problems.push(format!("`{text}` leads back to {name}: receivers go round until they stop"));
            return Ok(());
        }
        let found = records_of(lookups.records(RecordKind::Txt, &name)?);
        let text = match found.as_slice() {
            [text] => text,
            [] => {
                self.problems
                    .push(format!("`{text}` leads to no SPF record: receivers take that for an error"));
                return Ok(());
            }
            _ => {
                self.problems
                    .push(format!("`{text}` leads to several SPF records: receivers take that for an error"));
                return Ok(());
            }
        };
        match SpfRecord::parse(text) {
            Ok(record) => {
                path.push(name);
                let followed = self.add_record(&record, lookups, path);
                path.pop();
                followed
            }
            Err(mistake) => {
                self.problems.push(format!("the record of {name} has a mistake: {mistake}"));
                Ok(())
            }
        }
    }
}
