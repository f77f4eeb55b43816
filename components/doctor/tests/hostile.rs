//! Whatever DNS says, an examination ends, asks a bounded number of questions, and passes nothing that
//! nobody answered.

use proptest::prelude::*;
use relevo_doctor::{
    Answer, Answers, DkimKey, MAX_QUESTIONS, Question, Source, Status, Subject, TrackingHost, TrackingReply,
    examine,
};

fn subject() -> Subject {
    Subject {
        domain: "a.b".into(),
        hostname: "mta.a.b".into(),
        sources: vec![
            Source { address: [192, 0, 2, 1].into(), ehlo: "mta.a.b".into() },
            Source { address: "2001:db8::1".parse().expect("an address"), ehlo: "a.b".into() },
        ],
        ehlo: "mta.a.b".into(),
        spf_terms: vec!["a:mta.a.b".into(), "ip4:192.0.2.1".into()],
        dkim: vec![DkimKey { selector: "s".into(), record: "v=DKIM1; k=ed25519; p=AAAA".into() }],
        tracking: Some(TrackingHost { host: "t.a.b".into(), is_https: true, reply: TrackingReply::NotAsked }),
        ..Subject::default()
    }
}

/// Asks until there is a judgement; `answer` has the number of the question.
fn judged(mut answer: impl FnMut(usize, &Question) -> Answer) -> Vec<relevo_doctor::Check> {
    let (subject, mut answers, mut asked) = (subject(), Answers::default(), 0);
    loop {
        let questions = match examine(&subject, &answers) {
            Ok(checks) => return checks,
            Err(questions) => questions,
        };
        assert!(!questions.is_empty());
        for question in questions {
            let found = answer(asked, &question);
            asked += 1;
            answers.insert(question, found);
        }
        assert!(asked <= MAX_QUESTIONS, "{asked} questions");
    }
}

fn text() -> impl Strategy<Value = String> {
    let spf = "v=spf1( [?~+-]?(include:|redirect=|exists:|a:|mx:|a|mx|ptr|ip4:192.0.2.)(%\\{[a-z]\\}|[a-c]|[0-9])?(\\.[a-c]){0,2}){0,12}( [?~+-]all)?";
    let others = "(v=DMARC1;|v=DKIM1;)( (p|k|sp|psd|adkim|h|t)=[a-z]{0,6};){0,5}|10 [a-c]\\.[a-c]|192\\.0\\.2\\.[0-9]|[0-9]{1,3} issue [a-z;]{0,4}|[a-c]\\.[a-c]|\\PC{0,40}";
    prop_oneof![spf, others]
}

proptest! {
    #[test]
    fn any_answers_lead_to_a_judgement(texts in proptest::collection::vec(proptest::collection::vec(text(), 0..4), 1..40)) {
        let checks = judged(|n, _| Answer::Found(texts[n % texts.len()].clone()));
        prop_assert!(checks.len() > 20);
    }
}

#[test]
fn what_nobody_answers_never_passes() {
    let checks = judged(|_, _| Answer::Failed("SERVFAIL".into()));
    for check in checks {
        let needs_no_dns = check.check.ends_with("one_click");
        assert!(check.status == Status::Skip || needs_no_dns, "{check:?}");
    }
}

#[test]
fn a_name_that_includes_eleven_others_without_end_costs_a_bounded_number_of_questions() {
    let checks = judged(|n, _| {
        let terms: Vec<String> =
            (0..11).map(|k| format!("include:n{n}x{k}.evil.test mx:m{n}x{k}.evil.test")).collect();
        Answer::Found(vec![format!("v=spf1 {} -all", terms.join(" "))])
    });
    let lookups = checks.iter().find(|check| check.check == "spf.lookups").expect("a check");
    assert_ne!(lookups.status, Status::Pass, "{lookups:?}");
}
