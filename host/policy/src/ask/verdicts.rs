//! The answers of several plugins put together, and which of them decided for each recipient.

use relevo_mailkit::policy::{Attribute, Decision, Verdict};
use relevo_mailkit::reply::Reply;
use relevo_mailkit::text::escaped;
use relevo_mailkit::transfer::fold;
use relevo_relay::policy::{PluginAnswer, PolicyResult, RecipientDecision};
use relevo_relay::settings::{EgressGrants, FailurePolicy};

/// A plugin answered.
pub(crate) fn add(
    result: &mut PolicyResult,
    plugin: &str,
    digest: &str,
    decision: Decision,
    note: Option<String>,
) {
    let by = result.answers.len();
    let mut strictest = Verdict::Accept;
    for (index, recipient) in result.decisions.iter_mut().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let verdict = decision.verdict_for(index).clone();
        if verdict.strictness() > strictest.strictness() {
            strictest = verdict.clone();
        }
        if verdict.strictness() > recipient.verdict.strictness() {
            *recipient = RecipientDecision { verdict, decided_by: Some(by) };
        }
    }
    let reason = match (&strictest, note) {
        (_, Some(note)) => note,
        (Verdict::Accept, None) => String::new(),
        (Verdict::Hold(reason) | Verdict::Discard(reason), None) => reason.clone(),
        (Verdict::Reject(reply), None) => format!("{} {}", reply.code, reply.text),
    };
    result.answers.push(PluginAnswer {
        plugin: plugin.to_owned(),
        digest: digest.to_owned(),
        verdict: strictest.name().to_owned(),
        reason,
    });
    for field in decision.headers {
        result.prepend.extend(fold::field(&field.name, &String::from_utf8_lossy(&field.value)));
    }
    let attributes = decision.attributes.into_iter().map(|Attribute { name, value }| (name, value));
    result.attributes.extend(attributes);
}

/// Moves the attributes from the index `new` on that are not granted to the denied ones, which only
/// the event names.
pub(crate) fn drop_ungranted(result: &mut PolicyResult, new: usize, grants: &EgressGrants) {
    let denied = result.attributes.extract_if(new.., |(name, value)| !grants.allow(name, value));
    result.denied_attributes.extend(denied);
}

/// A plugin gave no answer that can be used: its failure policy answers for all recipients.
pub(crate) fn add_fault(
    result: &mut PolicyResult,
    plugin: &str,
    digest: &str,
    policy: FailurePolicy,
    why: &str,
) {
    let by = result.answers.len();
    result.answers.push(PluginAnswer {
        plugin: plugin.to_owned(),
        digest: digest.to_owned(),
        verdict: "fault".to_owned(),
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
    for recipient in &mut result.decisions {
        if verdict.strictness() > recipient.verdict.strictness() {
            *recipient = RecipientDecision { verdict: verdict.clone(), decided_by: Some(by) };
            result.faulted = true;
        }
    }
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

    fn names(result: &PolicyResult) -> Vec<(&'static str, Option<usize>)> {
        result.decisions.iter().map(|r| (r.verdict.name(), r.decided_by)).collect()
    }

    #[test]
    fn the_strictest_verdict_stays_with_whose_it_is() {
        let mut result = PolicyResult::accept_all(3);
        let mut first = Decision::from(Verdict::Hold("later".into()));
        first.overrides = vec![Override { recipient: 1, verdict: reject(450) }];
        add(&mut result, "a", "d1", first, None);
        let mut second = Decision::from(Verdict::Accept);
        second.overrides = vec![
            Override { recipient: 1, verdict: reject(550) },
            Override { recipient: 2, verdict: Verdict::Discard("spam".into()) },
        ];
        add(&mut result, "b", "d2", second, None);
        add(&mut result, "c", "d3", Decision::from(Verdict::Hold("too".into())), None);
        assert_eq!(names(&result), [("hold", Some(0)), ("reject", Some(1)), ("discard", Some(1))]);
        assert_eq!(
            result.answers.iter().map(|a| a.verdict.as_str()).collect::<Vec<_>>(),
            ["reject", "reject", "hold"]
        );
        let Verdict::Reject(reply) = result.verdict(1) else { panic!("no reply") };
        assert_eq!(reply.to_string(), "550 5.7.509 no");
        assert!(!result.all_rejected());
        add_fault(&mut result, "d", "d4", FailurePolicy::Reject, "trap");
        assert!(result.all_rejected() && result.faulted);
        assert_eq!(names(&result)[1], ("reject", Some(1)), "the first of two alike");
    }

    #[test]
    fn failure_policies() {
        let answered = |policy| {
            let mut result = PolicyResult::accept_all(1);
            add_fault(&mut result, "a", "d", policy, "decide trap");
            (result.verdict(0).clone(), result.faulted)
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
        let mut result = PolicyResult::accept_all(1);
        result.attributes.push(("pool".to_owned(), "told before".to_owned()));
        add(&mut result, "a", "d", decision, None);
        let grants = EgressGrants { pools: vec!["own".into()], routes: vec![], max_priority: 3 };
        drop_ungranted(&mut result, 1, &grants);
        relevo_mailkit::recheck::header_fields(&result.prepend).expect("whole fields");
        assert!(result.prepend.windows(3).any(|w| w == b"\r\n "));
        let pairs = |list: &[(String, String)]| -> Vec<String> {
            list.iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let kept = ["pool=told before", "campaign=spring", "pool=own", "priority=3"];
        assert_eq!(pairs(&result.attributes), kept);
        assert_eq!(pairs(&result.denied_attributes), ["pool=best", "route=eu"]);
    }
}
