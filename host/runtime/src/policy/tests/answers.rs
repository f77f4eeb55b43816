//! What is told and what is answered cross the border whole.

use relevo_mailkit::policy::{Override, Verdict};
use relevo_mailkit::reply::Reply;

use super::*;

fn everything(bench: &Bench) -> Arc<SandboxedPlugin> {
    bench.load("everything", |config| config.settings = vec![Attribute::new("tag", "t")])
}

fn asking(verdict: &str) -> Message {
    Message { attributes: vec![Attribute::new("verdict", verdict)], ..message() }
}

#[tokio::test]
async fn each_verdict_arrives() {
    let bench = bench();
    let plugin = everything(&bench);
    let reply = |code, enhanced: &str, text: &str| {
        Verdict::Reject(Reply { code, enhanced: enhanced.parse().ok(), text: text.into() })
    };
    for (name, verdict) in [
        ("accept", Verdict::Accept),
        ("reject", reply(550, "5.7.1", "Refused by everything")),
        ("tempfail", reply(450, "4.7.1", "Put off by everything")),
        ("hold", Verdict::Hold("held by everything".into())),
        ("discard", Verdict::Discard("discarded by everything".into())),
    ] {
        let judgement = plugin.judge(case_of(asking(name), b"x\r\n", None)).await.result.unwrap();
        let found = match (&judgement.decision.verdict, &verdict) {
            // Which 45x a constructor of the SDK takes is its business.
            (Verdict::Reject(found), Verdict::Reject(wanted)) => {
                assert_eq!(found.code / 100, wanted.code / 100);
                (&found.enhanced, &found.text) == (&wanted.enhanced, &wanted.text)
            }
            (found, wanted) => *found == wanted.clone(),
        };
        assert!(found, "{name}: {judgement:?}");
        assert_eq!(judgement.decision.headers[0].value, b"t");
        assert_eq!(
            plugin.metrics().verdicts[verdict.name()],
            plugin.metrics().verdicts[verdict.name()].max(1)
        );
    }
    let metrics = plugin.metrics();
    assert_eq!(metrics.verdicts.values().sum::<u64>(), 5);
    assert_eq!(metrics.cpu.counts.iter().sum::<u64>(), 5);
    assert_eq!(metrics.memory.counts.iter().sum::<u64>(), 5);
    // Rejected and discarded ones are not inspected.
    assert_eq!((metrics.calls["decide"], metrics.calls["inspect"]), (3, 2));
    assert!(metrics.faults.is_empty());
}

#[tokio::test]
async fn overrides_and_attributes_arrive() {
    let bench = bench();
    let data = Memory::of([("recipient:bob@reader.test", "hold"), ("pool", "bulk")]);
    let plugin = everything(&bench);
    let outcome = plugin.judge(case_of(message(), b"x\r\n", Some(Arc::new(data)))).await;
    let decision = outcome.result.unwrap().decision;
    let hold = Verdict::Hold("held by everything".into());
    assert_eq!(decision.overrides, [Override { recipient: 1, verdict: hold }]);
    assert_eq!(decision.attributes, [Attribute::new("pool", "bulk")]);
    let lines: Vec<_> = outcome.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["t: data for 2", "3 octets inspected"]);
    let metrics = plugin.metrics();
    assert_eq!((metrics.verdicts["accept"], metrics.verdicts["hold"]), (1, 1));
}

#[tokio::test]
async fn bodies_are_inspected_in_chunks() {
    let bench = bench();
    let plugin = everything(&bench);
    // Across the end of the first chunk.
    let body = [vec![b'x'; (64 << 10) - 4], b"FORBIDDEN".to_vec(), vec![b'y'; 100_000]].concat();
    let judgement = plugin.judge(case_of(message(), &body, None)).await.result.unwrap();
    let Verdict::Reject(reply) = judgement.decision.verdict else { panic!("not found") };
    assert_eq!(reply.text, "Forbidden word");
    // What `decide` wanted besides is kept.
    assert_eq!(judgement.decision.headers[0].name, "X-Everything");
    let empty = plugin.judge(case_of(message(), b"", None)).await;
    assert_eq!(empty.log.last().unwrap().text, "0 octets inspected");
}

#[tokio::test]
async fn settings_that_are_refused_are_told() {
    let bench = bench();
    let plugin = bench.load("everything", |config| config.settings = vec![Attribute::new("tga", "t")]);
    let fault = plugin.configure(NOW, None).await.result.unwrap_err();
    assert_eq!((fault.export, fault.kind), (Export::Configure, crate::FaultKind::Error));
    assert!(fault.detail.contains("tga"), "{fault}");
    everything(&bench).configure(NOW, None).await.result.unwrap();
}

/// A source that fails is the host's fault and does not count against the plugin.
#[tokio::test]
async fn a_body_that_cannot_be_read_is_the_hosts_fault() {
    struct Broken;
    impl relevo_mailkit::source::Source for Broken {
        fn size(&self) -> u64 {
            10
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let bench = bench();
    let body = Body { source: Arc::new(Broken), offset: 2 };
    let fault = everything(&bench).judge(Case { body, ..case() }).await.result.unwrap_err();
    assert_eq!((fault.blame, fault.kind), (crate::Blame::Host, crate::FaultKind::Host));
}
