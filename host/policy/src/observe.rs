//! Telling plugins what became of messages: in batches, some seconds later, and only as much as they can take.
//!
//! Nothing waits for this. What does not fit into the channel is dropped and counted: the event log has it all.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use relevo_mailkit::policy::{Attribute, Event, RemoteReply};
use relevo_relay::policy::Outcome;
use relevo_relay::text::{escaped, printable};
use relevo_runtime::Blame;
use relevo_runtime::policy::Batch;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::place::Place;
use crate::plugins::Plugins;

/// Events of one call (`wit/relevo-policy-0.1.0/observe.wit`).
const BATCH: usize = 100;
/// Groups of outcomes that wait to be told.
const WAITING: usize = 1_000;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// Octets of the value of an attribute, and of a reply.
const MAX_VALUE: usize = 1_024;
const MAX_REPLY: usize = 400;

/// The way in.
pub(crate) struct Listeners {
    sender: mpsc::Sender<Vec<Outcome>>,
    dropped: AtomicU64,
}

impl Listeners {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<Outcome>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, dropped: AtomicU64::default() }, receiver)
    }

    /// Never waits.
    pub(crate) fn send(&self, outcomes: Vec<Outcome>) {
        let count = outcomes.len() as u64;
        if self.sender.try_send(outcomes).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Events that no plugin was told because there were too many.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Until the plugins are gone.
pub(crate) async fn run(plugins: Weak<Plugins>, mut happening: mpsc::Receiver<Vec<Outcome>>) {
    while let Some(first) = happening.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut all = first;
        while all.len() < WAITING
            && let Ok(more) = happening.try_recv()
        {
            all.extend(more);
        }
        let Some(plugins) = plugins.upgrade() else { return };
        let mut by_tenant: HashMap<String, Vec<Event>> = HashMap::new();
        for outcome in all {
            by_tenant.entry(outcome.event.tenant.clone()).or_default().push(event(outcome));
        }
        for (tenant, events) in by_tenant {
            let places = plugins.places();
            let listening = places.get(&tenant).into_iter().flat_map(HashMap::values).filter(|p| p.listens());
            for place in listening {
                for batch in events.chunks(BATCH) {
                    tell(&plugins, place, batch.to_vec()).await;
                }
            }
        }
    }
}

async fn tell(plugins: &Plugins, place: &Place, events: Vec<Event>) {
    let (Ok(policy), Ok(permit)) = (&place.policy, place.enter(plugins.monotonic())) else {
        plugins.listeners.dropped.fetch_add(events.len() as u64, Ordering::Relaxed);
        return;
    };
    let count = events.len() as u64;
    let now = u64::try_from(plugins.now()).unwrap_or(0);
    let outcome = policy.observe(Batch { events, now, data: Some(place.data.clone()) }).await;
    place.keep_log("observe", &outcome.log, outcome.log_dropped);
    let guilty = match &outcome.result {
        Ok(()) => Some(false),
        Err(fault) => (fault.blame == Blame::Guest).then_some(true),
    };
    place.leave(permit, guilty, plugins.monotonic());
    if let Err(fault) = outcome.result {
        plugins.listeners.dropped.fetch_add(count, Ordering::Relaxed);
        let config = &place.settings.config;
        tracing::warn!(tenant = config.tenant, plugin = config.name, digest = place.digest, %fault,
            "a plugin broke while it was told of outcomes");
    }
}

fn event(Outcome { event, attributes }: Outcome) -> Event {
    let text = |name: &str| event.data[name].as_str();
    let number = |name: &str| event.data[name].as_u64();
    let reply = number("code").and_then(|code| u16::try_from(code).ok()).map(|code| RemoteReply {
        code,
        enhanced: text("enhanced").map(str::to_owned),
        text: printable(text("text").unwrap_or_default(), MAX_REPLY),
    });
    let mut attributes: Vec<Attribute> =
        attributes.into_iter().map(|(name, value)| Attribute::new(name, value)).collect();
    let facts = [("host", "mx"), ("ip", "ip"), ("tls", "tls"), ("next-attempt", "next_attempt")];
    for (name, key) in facts {
        match &event.data[key] {
            Value::String(value) => attributes.push(Attribute::new(name, escaped(value, MAX_VALUE))),
            Value::Number(value) => attributes.push(Attribute::new(name, value.to_string())),
            _ => {}
        }
    }
    Event {
        message: event.item.map(|id| id.to_string()).unwrap_or_default(),
        stage: if event.kind == "email.delivery_delayed" { "defer" } else { "delivery" }.to_owned(),
        at: u64::try_from(event.at).unwrap_or(0),
        recipient: text("recipient").unwrap_or_default().to_owned(),
        attempt: number("attempt").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        reply,
        attributes,
        kind: event.kind,
    }
}

#[cfg(test)]
mod tests {
    use relevo_queue::NewEvent;
    use serde_json::json;

    use super::*;

    fn delayed() -> Outcome {
        let data = json!({ "recipient": "a@x.test", "mx": "mx.x.test", "code": 451, "enhanced": "4.3.2",
            "text": "later\u{e9}", "attempt": 2, "next_attempt": 99, "tls": null });
        let event = NewEvent {
            tenant: "acme".into(),
            kind: "email.delivery_delayed".into(),
            at: 7,
            item: None,
            data,
        };
        Outcome { event, attributes: vec![("campaign".into(), "spring".into())] }
    }

    #[test]
    fn an_event_is_told_with_its_reply_and_facts() {
        let event = event(delayed());
        assert_eq!((event.stage.as_str(), event.attempt, event.at), ("defer", 2, 7));
        let reply = event.reply.expect("the remote's");
        assert_eq!((reply.code, reply.text.as_str()), (451, "later?"));
        let found: Vec<_> = event.attributes.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
        assert_eq!(found, [("campaign", "spring"), ("host", "mx.x.test"), ("next-attempt", "99")]);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let (listeners, _kept) = Listeners::new();
        for _ in 0..WAITING + 3 {
            listeners.send(vec![delayed(), delayed()]);
        }
        assert_eq!(listeners.dropped(), 6);
    }
}
