//! Loads against the sink, which answers like a relay that keeps nothing.

use super::*;
use crate::sink::{self, Behaviour, Observer, Sites};

fn load(to: SocketAddr, ledger: &Arc<Ledger>) -> Load {
    Load {
        to: vec![to],
        ledger: Arc::clone(ledger),
        messages: Arc::new([Message::new("a.test", 2048), Message::new("b.test", 4096)]),
        only: None,
        addresses: Addresses::at('r', "x.test"),
        recipients: 1,
        sessions: 3,
        until: Until::Messages(20),
        schedule: Schedule::Closed,
    }
}

fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new('r').expect("a ledger"))
}

#[test]
fn every_recipient_of_every_message_arrives() {
    let ledger = ledger();
    let to = sink::start(Arc::clone(&ledger) as Arc<dyn Observer>).expect("a sink");
    let sent = Load { recipients: 7, ..load(to, &ledger) }.run().expect("accepted");
    let arrived = ledger.counts();
    assert_eq!((sent.accepted, arrived.messages, arrived.repeated), (20, 140, 0));
    assert_eq!(arrived.unsigned, 140, "nobody signed them");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let ledger = ledger();
    let to = sink::start(Arc::clone(&ledger) as Arc<dyn Observer>).expect("a sink");
    let until = Until::Elapsed(Duration::from_millis(500));
    let sent = Load { until, schedule: Schedule::Open(100.0), ..load(to, &ledger) }.run().expect("accepted");
    assert_eq!(sent.accepted, 50);
    assert!(sent.elapsed >= Duration::from_millis(490), "{:?}", sent.elapsed);
}

/// Two sessions, 100 ms for each message: 20 a second. Of 100 a second the last one of the second
/// is due long before a session is free, and only the time since it was due says so.
#[test]
fn waiting_for_a_session_counts() {
    let ledger = ledger();
    let text = "seed = 1\n[[domain]]\nname = \"x.test\"\nlatency = \"50ms\"\n";
    let behaviour = Arc::new(Behaviour::parse(text).expect("good"));
    let sites = Sites::start(behaviour, Arc::clone(&ledger) as Arc<dyn Observer>).expect("sites");
    let load = load(sites.smarthost, &ledger);
    let sent = Load { sessions: 2, until: Until::Messages(20), schedule: Schedule::Open(100.0), ..load };
    let sent = sent.run().expect("accepted");
    assert!(sent.latency.max() < 300_000, "from the final dot: {}", sent.latency.max());
    assert!(sent.response.max() > 700_000, "from when it was due: {}", sent.response.max());
}
