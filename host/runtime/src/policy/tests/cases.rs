//! Every case of the hostile plugin: what comes of it is what the case says, within bounds, and
//! harms nobody else.

use relevo_mailkit::policy::{Event, Verdict};
use relevo_test_plugins::{CASES, Expect};

use super::*;
use crate::{Blame, FaultKind};

/// On top of what a call may use: instantiation, checks, the other calls, and a late tick of the
/// clock.
const SLACK: Duration = Duration::from_millis(500);

fn data() -> Data {
    Some(Arc::new(Memory::of([("k", "v"), ("l", "w")])))
}

fn events() -> Batch {
    let event = Event {
        message: "01K".into(),
        stage: "delivery".into(),
        kind: "email.delivered".into(),
        at: NOW,
        recipient: "ada@reader.test".into(),
        attempt: 1,
        reply: None,
        attributes: Vec::new(),
    };
    Batch { events: vec![event], now: NOW, data: data() }
}

fn bounded(name: &str, limit: Duration, cost: &Cost, log: &[LogLine]) {
    assert!(cost.cpu < limit + SLACK, "{name} used {:?} of CPU time", cost.cpu);
    assert!(cost.memory <= 16 << 20, "{name} used {} octets", cost.memory);
    let octets: usize = log.iter().map(|line| line.text.len()).sum();
    assert!(octets <= 20 * 1024, "{name} logged {octets} octets");
    assert!(
        log.iter().all(|line| !line.text.chars().any(char::is_control)),
        "{name} logged control characters"
    );
}

#[tokio::test]
async fn each_comes_to_what_it_says() {
    let bench = bench();
    let good = bench.load("accept-all", |config| config.tenant = "neighbour".into());
    for (name, expect) in CASES {
        let ends = matches!(expect, Expect::Used);
        let plugin = if ends { bench.patient(name) } else { bench.hostile(name) };
        let outcome = plugin.judge(case_of(message(), b"body\r\n", data())).await;
        bounded(name, plugin.config().limits.call_cpu, &outcome.cost, &outcome.log);
        let fault = outcome.result.as_ref().err();
        match expect {
            Expect::Used => {
                let judgement = outcome.result.unwrap_or_else(|fault| panic!("{name}: {fault}"));
                assert_eq!(judgement.fault, None, "{name}");
            }
            Expect::Fault => {
                let fault = fault.unwrap_or_else(|| panic!("{name} is used"));
                assert_eq!(fault.blame, Blame::Guest, "{name}: {fault}");
                assert!(matches!(fault.export, Export::Decide | Export::Inspect), "{name}: {fault}");
                assert!(fault.detail.len() <= 500 && !fault.detail.contains(['\r', '\n']), "{name}: {fault}");
            }
            Expect::Reply => {
                let judgement = outcome.result.unwrap_or_else(|fault| panic!("{name}: {fault}"));
                let Verdict::Reject(reply) = &judgement.decision.verdict else { panic!("{name}") };
                assert_eq!((reply.code, reply.enhanced), (451, Some((4, 3, 5).into())), "{name}");
                let fault = judgement.fault.unwrap_or_else(|| panic!("{name} is no fault"));
                assert_eq!((fault.blame, fault.kind), (Blame::Guest, FaultKind::Answer), "{name}");
            }
            Expect::Configure => {
                let fault = fault.unwrap_or_else(|| panic!("{name} is configured"));
                assert_eq!(fault.export, Export::Configure, "{name}");
                let outcome = plugin.configure(NOW, data()).await;
                assert_eq!(outcome.result.unwrap_err().export, Export::Configure, "{name}");
            }
            Expect::Observe => {
                assert_eq!(fault, None, "{name}");
                let outcome = plugin.observe(events()).await;
                bounded(name, plugin.config().limits.call_cpu, &outcome.cost, &outcome.log);
                let fault = outcome.result.unwrap_err();
                assert_eq!((fault.export, fault.blame), (Export::Observe, Blame::Guest), "{name}");
            }
        }
        let beside = good.judge(case()).await.result.unwrap_or_else(|fault| panic!("beside {name}: {fault}"));
        assert_eq!(beside.decision.verdict, Verdict::Accept);
    }
}

/// What keeps just below its limits is no use to a measurement if it does nothing. The upper bound
/// is the machine's affair.
#[tokio::test]
async fn what_is_busy_burns_time() {
    let bench = bench();
    let plugin = bench.patient("busy");
    plugin.judge(case()).await.result.unwrap();
    let cost = plugin.judge(case()).await.cost;
    assert!(cost.cpu > Duration::from_millis(5), "{:?}", cost.cpu);
    println!("busy: {:?}", cost.cpu);
}

#[tokio::test]
async fn faults_are_of_the_kind_that_they_are() {
    let bench = bench();
    for (name, kind) in [
        ("endless-loop", FaultKind::Deadline),
        ("memory-bomb", FaultKind::Memory),
        ("memory-copy", FaultKind::Deadline),
        ("slow-kv", FaultKind::Deadline),
        ("trap", FaultKind::Trap),
        ("exit", FaultKind::Trap),
        ("error", FaultKind::Error),
        ("sleep", FaultKind::Denied),
        ("inspect-push-trap", FaultKind::Trap),
        ("inspect-finish-error", FaultKind::Error),
        ("header-crlf", FaultKind::Answer),
        ("override-max", FaultKind::Answer),
        ("huge-result", FaultKind::Answer),
    ] {
        let fault = bench.hostile(name).judge(case()).await.result.unwrap_err();
        assert_eq!(fault.kind, kind, "{name}: {fault}");
    }
    // It goes on asking, so that what ends it is its time.
    let table = bench.load("table-bomb", |_| {}).judge(case()).await.result.unwrap_err();
    assert_eq!((table.blame, table.kind), (Blame::Guest, FaultKind::Deadline), "{table}");
    assert!(table.detail.contains("elements, 10000 are allowed"), "{table}");
}

/// At the same time, on the same threads, rather than one after the other.
#[tokio::test]
async fn a_neighbour_is_answered_while_another_loops() {
    let bench = bench();
    let hostile = bench.hostile("endless-loop");
    let good = bench.load("accept-all", |config| config.tenant = "neighbour".into());
    let attack = tokio::spawn(async move {
        let calls = (0..8).map(|_| {
            let hostile = Arc::clone(&hostile);
            tokio::spawn(async move { hostile.judge(case()).await.result.unwrap_err() })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap().kind, FaultKind::Deadline);
        }
    });
    let mut answers = 0;
    while !attack.is_finished() {
        good.judge(case()).await.result.unwrap();
        answers += 1;
        tokio::task::yield_now().await;
    }
    attack.await.unwrap();
    // One thread after the other: a call that had to wait for all of them would be the only one.
    assert!(answers > 8, "{answers} answers beside 8 loops");
}

#[tokio::test]
async fn the_same_message_gets_the_same_answer() {
    let bench = bench();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let plugin = bench.hostile("non-determinism");
        answers.push(plugin.judge(case()).await.result.unwrap().decision);
        answers.push(plugin.judge(case()).await.result.unwrap().decision);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    let seen = String::from_utf8(answers[0].headers[0].value.clone()).unwrap();
    assert!(seen.contains(&format!("wall={NOW} clock={NOW}")), "{seen}");
    // Another message has other randomness.
    let other = Message { id: "01L".into(), ..message() };
    let other = bench.hostile("non-determinism").judge(case_of(other, b"", None)).await.result.unwrap();
    assert_ne!(other.decision, answers[0]);
}

#[tokio::test]
async fn a_small_one_remembers_nothing() {
    let bench = bench();
    let plugin = bench.hostile("remembers");
    for _ in 0..3 {
        let decision = plugin.judge(case()).await.result.unwrap().decision;
        assert_eq!(decision.headers[0].value, b"0");
    }
}
