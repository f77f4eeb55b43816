//! Telling plugins what became of messages: in batches, some seconds later, and only as much as they can take.
//!
//! Nothing waits for this. What does not fit into the channel is dropped and counted: the event log has it all.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use relevo_mailkit::event::{self, PluginFault};
use relevo_mailkit::policy::{Attribute, Event, RemoteReply};
use relevo_mailkit::text::{escaped, printable};
use relevo_queue::NewEvent;
use relevo_relay::clock::Clock;
use relevo_relay::policy::OutcomeEvent;
use relevo_runtime::Blame;
use relevo_runtime::policy::Batch;
use tokio::sync::mpsc;

use crate::ask::in_words;
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
    sender: mpsc::Sender<Vec<OutcomeEvent>>,
    dropped: AtomicU64,
}

impl Listeners {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<OutcomeEvent>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, dropped: AtomicU64::default() }, receiver)
    }

    /// Never waits.
    pub(crate) fn send(&self, outcomes: Vec<OutcomeEvent>) {
        let count = outcomes.len() as u64;
        if self.sender.try_send(outcomes).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Events that a plugin was not told: there were too many, it broke, or its breaker or quota was closed.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Until the plugins are gone.
pub(crate) async fn run(plugins: Weak<Plugins>, mut happening: mpsc::Receiver<Vec<OutcomeEvent>>) {
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
            let tenant = outcome.event.tenant.clone();
            if let Some(event) = event(outcome) {
                by_tenant.entry(tenant).or_default().push(event);
            }
        }
        for (tenant, events) in by_tenant {
            let places = plugins.places();
            let listening = places.get(&tenant).into_iter().flat_map(HashMap::values).filter(|p| p.listens());
            for place in listening {
                for batch in events.chunks(BATCH) {
                    let told = tell(&plugins.listeners, plugins.clock.as_ref(), place, batch.to_vec()).await;
                    if let (Some(event), Some(log)) = (told, &plugins.events)
                        && let Err(error) = log.append(vec![event]).await
                    {
                        tracing::warn!(%error, "the event of a plugin's fault is not stored");
                    }
                }
            }
        }
    }
}

/// Returns the event of a fault.
async fn tell(
    listeners: &Listeners,
    clock: &dyn Clock,
    place: &Place,
    events: Vec<Event>,
) -> Option<NewEvent> {
    // A gate of its own: no answer about a message depends on what happens here.
    let (Ok(policy), Ok(permit)) = (&place.policy, place.telling.enter(clock.monotonic())) else {
        listeners.dropped.fetch_add(events.len() as u64, Ordering::Relaxed);
        return None;
    };
    let count = events.len() as u64;
    let now = u64::try_from(clock.now()).unwrap_or(0);
    // This may be the call that makes a warm instance, which then answers about messages that are recorded.
    let (_, data) = place.data();
    let outcome = policy.observe(Batch { events, now, data: Some(data) }).await;
    place.keep_log("observe", &outcome.log, outcome.log_dropped);
    let guilty = match &outcome.result {
        Ok(()) => Some(false),
        Err(fault) => (fault.blame == Blame::Guest).then_some(true),
    };
    if place.telling.leave(permit, guilty, clock.monotonic()) {
        let config = &place.settings.config;
        tracing::warn!(
            tenant = config.tenant,
            plugin = config.name,
            digest = place.digest,
            "a plugin is told of no outcomes after repeated faults, until it is tried again"
        );
    }
    let fault = outcome.result.err()?;
    place.broke(clock.now(), &fault);
    listeners.dropped.fetch_add(count, Ordering::Relaxed);
    let config = &place.settings.config;
    tracing::warn!(tenant = config.tenant, plugin = config.name, digest = place.digest, %fault,
        "a plugin broke while it was told of outcomes");
    Some(NewEvent {
        tenant: config.tenant.clone(),
        at: clock.now(),
        item: None,
        event: event::Event::PluginFault(PluginFault {
            plugin: config.name.clone(),
            digest: place.digest.clone(),
            fault: in_words(&fault),
            reason: escaped(&fault.detail, MAX_VALUE),
            count,
        }),
    })
}

/// The event as plugins hear of it; none of events that are about neither a delivery nor a notification.
fn event(OutcomeEvent { event: logged, attributes }: OutcomeEvent) -> Option<Event> {
    let mut event = Event {
        message: logged.item.map(|id| id.to_string()).unwrap_or_default(),
        stage: "delivery".to_owned(),
        kind: logged.event.name().to_owned(),
        at: u64::try_from(logged.at).unwrap_or(0),
        recipient: String::new(),
        attempt: 0,
        reply: None,
        attributes: attributes.into_iter().map(|(name, value)| Attribute::new(name, value)).collect(),
    };
    match logged.event {
        event::Event::DsnQueued(dsn) => {
            event.stage = "dsn".to_owned();
            event.recipient = dsn.recipient;
            event.attributes.push(Attribute::new("dsn", dsn.dsn_id));
        }
        other => {
            let attempt = other.attempt()?;
            if matches!(other, event::Event::DeliveryDelayed(_)) {
                event.stage = "defer".to_owned();
            }
            event.recipient.clone_from(&attempt.recipient);
            event.attempt = attempt.attempt;
            event.reply = reply(attempt);
            event.attributes.extend(facts(attempt));
        }
    }
    Some(event)
}

fn reply(attempt: &event::Attempt) -> Option<RemoteReply> {
    let text = printable(attempt.reply.as_deref().unwrap_or_default(), MAX_REPLY);
    attempt.code.map(|code| RemoteReply { code, enhanced: Some(attempt.status.clone()), text })
}

/// The facts that `wit/relevo-policy-0.1.0/observe.wit` lists.
fn facts(attempt: &event::Attempt) -> impl Iterator<Item = Attribute> {
    let next = attempt.next_attempt.map(|at| at.to_string());
    let facts = [
        ("host", attempt.mx.as_deref()),
        ("ip", attempt.mx_ip.as_deref()),
        ("tls", attempt.tls.as_deref()),
        ("next-attempt", next.as_deref()),
    ];
    let attribute =
        |(name, value): (&str, Option<&str>)| Some(Attribute::new(name, escaped(value?, MAX_VALUE)));
    facts.into_iter().filter_map(attribute).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use async_trait::async_trait;
    use relevo_mailkit::event::{Attempt, DsnQueued, Opened};
    use relevo_queue::NewEvent;
    use relevo_relay::clock::SystemClock;
    use relevo_runtime::FaultKind;
    use relevo_runtime::policy::{
        Case, Cost, Data, Digest, Export, HistogramSnapshot, Judgement, PluginConfig, PluginFault,
        PluginMetrics, Policy,
    };

    use super::*;
    use crate::kv::KvData;
    use crate::test_settings;

    fn outcome(event: event::Event) -> OutcomeEvent {
        let event = NewEvent { tenant: "acme".into(), at: 7, item: None, event };
        OutcomeEvent { event, attributes: vec![("campaign".into(), "spring".into())] }
    }

    fn delayed() -> OutcomeEvent {
        let attempt = Attempt {
            recipient: "a@x.test".into(),
            mx: Some("mx.x.test".into()),
            code: Some(451),
            status: "4.3.2".into(),
            reply: Some("later\u{e9}".into()),
            attempt: 2,
            next_attempt: Some(99),
            ..Attempt::default()
        };
        outcome(event::Event::DeliveryDelayed(attempt))
    }

    #[test]
    fn an_event_is_told_with_its_reply_and_facts() {
        let event = event(delayed()).expect("about a delivery");
        assert_eq!((event.stage.as_str(), event.attempt, event.at), ("defer", 2, 7));
        let reply = event.reply.expect("the remote's");
        assert_eq!((reply.code, reply.text.as_str()), (451, "later?"));
        let found: Vec<_> = event.attributes.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
        assert_eq!(found, [("campaign", "spring"), ("host", "mx.x.test"), ("next-attempt", "99")]);
    }

    #[test]
    fn events_are_told_as_the_stages_that_they_belong_to() {
        let attempt = Attempt::default();
        for (of, stage) in [
            (event::Event::DsnQueued(DsnQueued::default()), Some("dsn")),
            (event::Event::DeliveryDelayed(attempt.clone()), Some("defer")),
            (event::Event::Delivered(attempt.clone()), Some("delivery")),
            (event::Event::Bounced(attempt), Some("delivery")),
            (event::Event::Opened(Opened::default()), None),
        ] {
            let told = event(outcome(of.clone()));
            assert_eq!(told.as_ref().map(|event| event.stage.as_str()), stage, "{of:?}");
            assert!(told.is_none_or(|event| event.kind == of.name()));
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let (listeners, _kept) = Listeners::new();
        for _ in 0..WAITING + 3 {
            listeners.send(vec![delayed(), delayed()]);
        }
        assert_eq!(listeners.dropped(), 6);
    }

    /// Breaks whenever it is told anything.
    struct Broken(PluginConfig);

    impl Broken {
        fn breaks<T>() -> relevo_runtime::policy::Outcome<T> {
            let (export, detail) = (Export::Observe, "always".to_owned());
            let fault = PluginFault { export, blame: Blame::Guest, kind: FaultKind::Trap, detail };
            let (cost, log) = (Cost::default(), Vec::new());
            relevo_runtime::policy::Outcome { result: Err(fault), cost, log, log_dropped: 0 }
        }
    }

    #[async_trait]
    impl Policy for Broken {
        fn config(&self) -> &PluginConfig {
            &self.0
        }

        fn digest(&self) -> Digest {
            [0; 32]
        }

        fn exports(&self, _: Export) -> bool {
            true
        }

        async fn configure(&self, _: u64, _: Data) -> relevo_runtime::policy::Outcome<()> {
            Self::breaks()
        }

        async fn judge(&self, _: Case) -> relevo_runtime::policy::Outcome<Judgement> {
            Self::breaks()
        }

        async fn judge_if_idle(&self, _: Case) -> Option<relevo_runtime::policy::Outcome<Judgement>> {
            Some(Self::breaks())
        }

        async fn observe(&self, _: Batch) -> relevo_runtime::policy::Outcome<()> {
            Self::breaks()
        }

        fn metrics(&self) -> PluginMetrics {
            let none = HistogramSnapshot { counts: Vec::new(), sum: 0 };
            PluginMetrics {
                calls: BTreeMap::new(),
                faults: BTreeMap::new(),
                verdicts: BTreeMap::new(),
                cpu: none.clone(),
                memory: none,
                log_dropped: 0,
            }
        }
    }

    /// Neither faults nor calls while it is told of outcomes are in the way of a question about a message.
    #[tokio::test]
    async fn no_answer_depends_on_what_happens_here() {
        let settings = test_settings::place("acme", |settings| settings.calls_per_second = Some(10));
        let policy: Arc<dyn Policy> = Arc::new(Broken(settings.config.clone()));
        let place = Place::new(settings, String::new(), Ok(policy), Arc::new(KvData::default()));
        let ((listeners, _kept), clock) = (Listeners::new(), SystemClock::new());
        for n in 0..50 {
            let broke = tell(&listeners, &clock, &place, event(delayed()).into_iter().collect()).await;
            let broke = broke.map(|event| match event.event {
                event::Event::PluginFault(fault) => (fault.fault, fault.count),
                other => panic!("{other:?}"),
            });
            let expected = ("observe: trap (guest)".to_owned(), 1);
            // Until its breaker opens.
            assert_eq!(broke, (n < 5).then_some(expected));
        }
        assert_eq!(listeners.dropped(), 50);
        let now = clock.monotonic();
        assert!(place.telling.enter(now).is_err(), "it is told no more for a while");
        assert_eq!(place.breaker(), ("closed", 0));
        for _ in 0..10 {
            assert!(place.enter(now).is_ok());
        }
    }
}
