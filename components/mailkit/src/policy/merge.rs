//! Several answers about one message become one: the strictest verdict for each recipient,
//! everything else of all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decision, Override, Verdict};

/// The stricter of two verdicts; of two that are alike the first one.
#[must_use]
pub fn stricter<'a>(first: &'a Verdict, later: &'a Verdict) -> &'a Verdict {
    if later.strictness() > first.strictness() { later } else { first }
}

/// Puts the answer of a plugin together with that of a `later` one, or that of `decide` with that
/// of `inspect`.
///
/// Each recipient keeps the stricter verdict; header fields and attributes are those of both, in
/// this order. So it never widens: a recipient that either answer withholds stays withheld.
#[must_use]
pub fn merge(first: Decision, later: Decision) -> Decision {
    let (own, theirs) = (by_recipient(&first), by_recipient(&later));
    let named: BTreeSet<u32> = own.keys().chain(theirs.keys()).copied().collect();
    let merged = |recipient: u32| {
        let first = own.get(&recipient).copied().unwrap_or(&first.verdict);
        let later = theirs.get(&recipient).copied().unwrap_or(&later.verdict);
        Override { recipient, verdict: stricter(first, later).clone() }
    };
    let overrides = named.into_iter().map(merged).collect();
    let verdict = stricter(&first.verdict, &later.verdict).clone();
    let headers = [first.headers, later.headers].concat();
    let attributes = [first.attributes, later.attributes].concat();
    Decision { verdict, overrides, headers, attributes }
}

fn by_recipient(decision: &Decision) -> BTreeMap<u32, &Verdict> {
    decision.overrides.iter().map(|own| (own.recipient, &own.verdict)).collect()
}
