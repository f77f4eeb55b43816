//! Several plugins' answers put together, and whose each verdict is.

use relevo_mailkit::policy::{Attribute, Decision, Verdict};
use relevo_mailkit::reply::Reply;
use relevo_mailkit::text::escaped;
use relevo_mailkit::transfer::fold;
use relevo_relay::policy::{Judgement, Opinion, Ruling};
use relevo_relay::settings::{FailurePolicy, Grants};

/// A judgement about `recipients` recipients before anybody was asked.
pub(crate) fn nobody_minds(recipients: usize) -> Judgement {
    let ruling = Ruling { verdict: Verdict::Accept, by: None };
    Judgement { rulings: vec![ruling; recipients], ..Judgement::default() }
}

/// A plugin answered.
pub(crate) fn add(
    judgement: &mut Judgement,
    plugin: &str,
    digest: &str,
    decision: Decision,
    note: Option<String>,
) {
    let by = judgement.opinions.len();
    let mut strictest = Verdict::Accept;
    for (index, ruling) in judgement.rulings.iter_mut().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let verdict = decision.verdict_for(index).clone();
        if verdict.strictness() > strictest.strictness() {
            strictest = verdict.clone();
        }
        if verdict.strictness() > ruling.verdict.strictness() {
            *ruling = Ruling { verdict, by: Some(by) };
        }
    }
    let reason = match (&strictest, note) {
        (_, Some(note)) => note,
        (Verdict::Accept, None) => String::new(),
        (Verdict::Hold(reason) | Verdict::Discard(reason), None) => reason.clone(),
        (Verdict::Reject(reply), None) => format!("{} {}", reply.code, reply.text),
    };
    judgement.opinions.push(Opinion {
        plugin: plugin.to_owned(),
        digest: digest.to_owned(),
        verdict: strictest.name(),
        reason,
    });
    for field in decision.headers {
        judgement.top.extend(fold::field(&field.name, &String::from_utf8_lossy(&field.value)));
    }
    let attributes = decision.attributes.into_iter().map(|Attribute { name, value }| (name, value));
    judgement.attributes.extend(attributes);
}

/// Of the attributes from the index `new` on, puts those aside that are not granted: nobody is told of them but the event.
pub(crate) fn leave_out(judgement: &mut Judgement, new: usize, grants: &Grants) {
    let denied = judgement.attributes.extract_if(new.., |(name, value)| !grants.allow(name, value));
    judgement.left_out.extend(denied);
}

/// A plugin gave no answer that can be used: its failure policy answers for all recipients.
pub(crate) fn add_fault(
    judgement: &mut Judgement,
    plugin: &str,
    digest: &str,
    policy: FailurePolicy,
    why: &str,
) {
    let by = judgement.opinions.len();
    judgement.opinions.push(Opinion {
        plugin: plugin.to_owned(),
        digest: digest.to_owned(),
        verdict: "fault",
        reason: escaped(why, 200),
    });
    let reply = match policy {
        FailurePolicy::Accept => return,
        FailurePolicy::Tempfail => {
            Reply::new(451, (4, 3, 0), "the message cannot be processed now, try again later")
        }
        FailurePolicy::Reject => Reply::new(554, (5, 3, 0), "the message cannot be processed"),
    };
    let verdict = Verdict::Reject(reply);
    for ruling in &mut judgement.rulings {
        if verdict.strictness() > ruling.verdict.strictness() {
            *ruling = Ruling { verdict: verdict.clone(), by: Some(by) };
            judgement.faulted = true;
        }
    }
}

/// Whether nobody who is asked later could change anything.
pub(crate) fn is_decided(judgement: &Judgement) -> bool {
    judgement.rulings.iter().all(|r| matches!(&r.verdict, Verdict::Reject(reply) if reply.code >= 500))
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::policy::{HeaderField, Override};

    use super::*;

    fn reject(code: u16) -> Verdict {
        Verdict::Reject(Reply {
            code,
            enhanced: format!("{}.7.509", code / 100).parse().ok(),
            text: "no".into(),
        })
    }

    fn names(judgement: &Judgement) -> Vec<(&'static str, Option<usize>)> {
        judgement.rulings.iter().map(|r| (r.verdict.name(), r.by)).collect()
    }

    #[test]
    fn the_strictest_verdict_stays_with_whose_it_is() {
        let mut judgement = nobody_minds(3);
        let mut first = Decision::from(Verdict::Hold("later".into()));
        first.overrides = vec![Override { recipient: 1, verdict: reject(450) }];
        add(&mut judgement, "a", "d1", first, None);
        let mut second = Decision::from(Verdict::Accept);
        second.overrides = vec![
            Override { recipient: 1, verdict: reject(550) },
            Override { recipient: 2, verdict: Verdict::Discard("spam".into()) },
        ];
        add(&mut judgement, "b", "d2", second, None);
        add(&mut judgement, "c", "d3", Decision::from(Verdict::Hold("too".into())), None);
        assert_eq!(names(&judgement), [("hold", Some(0)), ("reject", Some(1)), ("discard", Some(1))]);
        assert_eq!(
            judgement.opinions.iter().map(|o| o.verdict).collect::<Vec<_>>(),
            ["reject", "reject", "hold"]
        );
        let Verdict::Reject(reply) = judgement.verdict(1) else { panic!("no reply") };
        assert_eq!(reply.to_string(), "550 5.7.509 no");
        assert!(!is_decided(&judgement));
        add_fault(&mut judgement, "d", "d4", FailurePolicy::Reject, "trap");
        assert!(is_decided(&judgement) && judgement.faulted);
        assert_eq!(names(&judgement)[1], ("reject", Some(1)), "the first of two alike");
    }

    #[test]
    fn failure_policies() {
        let answered = |policy| {
            let mut judgement = nobody_minds(1);
            add_fault(&mut judgement, "a", "d", policy, "decide trap");
            (judgement.verdict(0).clone(), judgement.faulted)
        };
        assert_eq!(answered(FailurePolicy::Accept), (Verdict::Accept, false));
        let (Verdict::Reject(reply), true) = answered(FailurePolicy::Tempfail) else { panic!("no reply") };
        assert_eq!((reply.code, reply.enhanced), (451, Some((4, 3, 0).into())));
        let (Verdict::Reject(reply), true) = answered(FailurePolicy::Reject) else { panic!("no reply") };
        assert_eq!((reply.code, reply.enhanced), (554, Some((5, 3, 0).into())));
    }

    #[test]
    fn fields_are_folded_and_effects_need_a_grant() {
        let mut decision = Decision::from(Verdict::Accept);
        let words = "word ".repeat(40);
        decision.headers = vec![HeaderField { name: "X-Why".into(), value: words.into_bytes() }];
        let given =
            [("campaign", "spring"), ("pool", "best"), ("pool", "own"), ("route", "eu"), ("priority", "3")];
        decision.attributes = given.map(|(name, value)| Attribute::new(name, value)).to_vec();
        let mut judgement = nobody_minds(1);
        judgement.attributes.push(("pool".to_owned(), "told before".to_owned()));
        add(&mut judgement, "a", "d", decision, None);
        let grants = Grants { pools: vec!["own".into()], routes: vec![], max_priority: 3 };
        leave_out(&mut judgement, 1, &grants);
        relevo_mailkit::recheck::header_fields(&judgement.top).expect("whole fields");
        assert!(judgement.top.windows(3).any(|w| w == b"\r\n "));
        let pairs = |list: &[(String, String)]| -> Vec<String> {
            list.iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let kept = ["pool=told before", "campaign=spring", "pool=own", "priority=3"];
        assert_eq!(pairs(&judgement.attributes), kept);
        assert_eq!(pairs(&judgement.left_out), ["pool=best", "route=eu"]);
    }
}
