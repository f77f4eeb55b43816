//! The test kit behaves as the relay is described to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use relevo_policy_sdk::testkit::{CHUNK, Fault, Kit, NOW, event, message};
use relevo_policy_sdk::{
    Answer, Configure, Decision, Event, Flow, Inspect, Inspector, Message, Observe, Policy, Settings, clock,
    kv, log,
};

/// Does what the message's subject says.
#[derive(Default)]
struct Obedient {
    configured_at: Option<u64>,
}

relevo_policy_sdk::export!(Obedient: Configure, Inspect, Observe);

impl Configure for Obedient {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        settings.only(&["any"])?;
        self.configured_at = Some(clock::now());
        Ok(())
    }
}

impl Policy for Obedient {
    fn decide(&self, message: &Message) -> Answer {
        match message.header("Subject").unwrap_or_default().as_str() {
            "error" => Err("as you wish".to_owned()),
            "forge" => Ok(Decision::accept().header("From", "ceo@bank.test")),
            "log" => {
                (0..25).for_each(|n| log::warn(format!("{n}\r\n")));
                log::info("x".repeat(2_000));
                Ok(Decision::accept())
            }
            "time" => Ok(Decision::accept()
                .attribute("now", clock::now().to_string())
                .attribute("configured-at", self.configured_at.unwrap_or_default().to_string())),
            "data" => data(),
            _ => Ok(Decision::accept()),
        }
    }
}

fn data() -> Answer {
    assert_eq!(kv::get(""), Err(kv::Error::Invalid));
    assert_eq!(kv::get(&"k".repeat(513)), Err(kv::Error::Invalid));
    assert_eq!(kv::get("nul\0"), Err(kv::Error::Invalid));
    assert_eq!(kv::get_many(&vec!["k".to_owned(); 101]), Err(kv::Error::Invalid));
    assert_eq!(kv::get("a:1"), Ok(Some(b"one".to_vec())));
    assert_eq!(kv::get_many(&["b:1".to_owned(), "none".to_owned()]), Ok(vec![Some(b"other".to_vec()), None]));
    let keys = |after: Option<&str>, limit| -> Vec<String> {
        kv::scan("a:", after, limit).unwrap().into_iter().map(|e| e.key).collect()
    };
    assert_eq!(keys(None, 100), ["a:1", "a:2", "a:3"]);
    assert_eq!(keys(Some("a:1"), 1), ["a:2"]);
    assert_eq!(keys(Some("a:3"), 100), [] as [&str; 0]);
    // Before the prefix is from its beginning.
    assert_eq!(keys(Some("a"), 1), ["a:1"]);
    let calls = (0..20_000).take_while(|_| kv::get("a:1").is_ok()).count();
    assert!((9_900..10_000).contains(&calls), "{calls}");
    assert_eq!(kv::scan("", None, 1), Err(kv::Error::Exhausted));
    Ok(Decision::accept())
}

struct Counter(Vec<usize>);

impl Inspect for Obedient {
    type Inspector = Counter;
    fn inspect(&self, _: &Message) -> Counter {
        Counter(Vec::new())
    }
}

impl Inspector for Counter {
    fn push(&mut self, chunk: &[u8]) -> Flow {
        self.0.push(chunk.len());
        if chunk.contains(&b'!') { Flow::Enough } else { Flow::More }
    }
    fn finish(self) -> Answer {
        let sizes: Vec<_> = self.0.iter().map(usize::to_string).collect();
        Ok(Decision::accept().attribute("chunks", sizes.join(" ")))
    }
}

impl Observe for Obedient {
    fn observe(&self, events: &[Event]) {
        for event in events {
            log::info(format!("{} {} {}", event.stage, event.kind, event.recipient));
        }
    }
}

fn subject(text: &str) -> Message {
    message(&format!("Subject: {text}\n\n")).now(NOW + 5).build()
}

#[test]
fn errors_and_broken_rules_are_faults() {
    let kit = Kit::<Obedient>::new();
    assert_eq!(kit.decide(&subject("error")), Err(Fault::Error("as you wish".into())));
    assert!(matches!(kit.decide(&subject("forge")), Err(Fault::Answer(rule)) if rule.contains("From")));
}

#[test]
fn the_log_has_a_quota_and_no_control_characters() {
    let kit = Kit::<Obedient>::new();
    kit.decide(&subject("log")).unwrap();
    let lines = kit.logged();
    assert_eq!(lines.len(), 20);
    assert_eq!(lines[3], (log::Level::Warn, "3\\r\\n".to_owned()));
    assert!(kit.logged().is_empty());
}

#[test]
fn the_clock_is_that_of_the_call() {
    let kit = Kit::<Obedient>::new().now(7).settings([("any", "1")]).unwrap();
    let decision = kit.decide(&subject("time")).unwrap();
    let values: Vec<_> = decision.attributes.iter().map(|a| a.value.clone()).collect();
    assert_eq!(values, [(NOW + 5).to_string(), "7".to_owned()]);
}

#[test]
fn data_has_limits() {
    let kit = Kit::<Obedient>::new().kv("a:1", "one").kv("a:2", "").kv("a:3", "").kv("b:1", "other");
    kit.decide(&subject("data")).unwrap();
    // The quota is of a call.
    kit.decide(&subject("data")).unwrap();
}

#[test]
#[should_panic(expected = "kv is not granted")]
fn data_is_granted_or_not() {
    let _ = Kit::<Obedient>::new().decide(&subject("data"));
}

#[test]
#[should_panic(expected = "in the calls of a testkit::Kit only")]
fn host_calls_work_in_calls_only() {
    Kit::<Obedient>::new().decide(&subject("nothing")).unwrap();
    let _ = clock::now();
}

#[test]
fn bodies_come_in_chunks_until_it_is_enough() {
    let kit = Kit::<Obedient>::new();
    let chunks = |body: &[u8]| kit.inspect(&subject("x"), body).unwrap().attributes[0].value.clone();
    assert_eq!(chunks(b""), "");
    assert_eq!(chunks(&vec![b'.'; CHUNK * 2 + 1]), "65536 65536 1");
    let mut body = vec![b'.'; CHUNK * 3];
    body[CHUNK] = b'!';
    assert_eq!(chunks(&body), "65536 65536");
}

#[test]
fn outcomes_are_told() {
    let kit = Kit::<Obedient>::new();
    kit.observe(&[event("email.delivered", "a@x.test"), event("email.delivery_delayed", "b@x.test")]);
    let lines: Vec<_> = kit.logged().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["delivery email.delivered a@x.test", "defer email.delivery_delayed b@x.test"]);
}
