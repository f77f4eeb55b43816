use super::*;
use proptest::prelude::*;

fn reject(code: u16) -> Verdict {
    Verdict::Reject(Reply { code, enhanced: format!("{}.7.1", code / 100).parse().ok(), text: "No".into() })
}

/// From lenient to strict.
fn all() -> [Verdict; 5] {
    [Verdict::Accept, Verdict::Hold("h".into()), Verdict::Discard("d".into()), reject(450), reject(550)]
}

#[test]
fn the_strictest_stays() {
    let all = all();
    for (i, first) in all.iter().enumerate() {
        for (j, later) in all.iter().enumerate() {
            assert_eq!(stricter(first, later), &all[i.max(j)]);
        }
    }
    let (mine, yours) = (Verdict::Hold("mine".into()), Verdict::Hold("yours".into()));
    assert_eq!(stricter(&mine, &yours), &mine, "of two alike the first");
}

#[test]
fn fields_and_attributes_are_those_of_both() {
    let with = |name: &str| Decision {
        headers: vec![HeaderField { name: name.into(), value: Vec::new() }],
        attributes: vec![Attribute::new(name, "v")],
        ..Verdict::Accept.into()
    };
    let merged = merge(with("a"), with("b"));
    let names: Vec<_> = merged.headers.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(merged.attributes, [Attribute::new("a", "v"), Attribute::new("b", "v")]);
}

#[test]
fn verdicts_that_nobody_has_are_not_counted() {
    let own = |recipient, verdict| Override { recipient, verdict };
    let overrides = vec![own(0, Verdict::Accept), own(1, reject(550))];
    let decision = Decision { overrides, ..Verdict::Discard("d".into()).into() };
    assert_eq!(decision.verdict_names(2), BTreeSet::from(["accept", "reject"]));
    assert_eq!(decision.verdict_names(3), BTreeSet::from(["accept", "discard", "reject"]));
}

fn decision() -> impl Strategy<Value = Decision> {
    let verdict = || (0..5_usize).prop_map(|n| all()[n].clone());
    let overrides = prop::collection::btree_map(0..6_u32, verdict(), 0..6);
    (verdict(), overrides).prop_map(|(verdict, overrides)| Decision {
        overrides: overrides
            .into_iter()
            .map(|(recipient, verdict)| Override { recipient, verdict })
            .collect(),
        ..verdict.into()
    })
}

proptest! {
    #[test]
    fn each_recipient_keeps_the_stricter_one(first in decision(), later in decision()) {
        let merged = merge(first.clone(), later.clone());
        for recipient in 0..8 {
            let wanted = stricter(first.verdict_for(recipient), later.verdict_for(recipient));
            prop_assert_eq!(merged.verdict_for(recipient), wanted);
        }
        let mut named: Vec<u32> = merged.overrides.iter().map(|own| own.recipient).collect();
        named.dedup();
        prop_assert_eq!(named.len(), merged.overrides.len());
    }
}
