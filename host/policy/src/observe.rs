//! Telling plugins what became of messages: in batches, some seconds later, and only as much as
//! they can take.
//!
//! Nothing waits for this. What does not fit into the channel is dropped and counted: the event log
//! has it all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use relevo_mailkit::event;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::policy::{Attribute, Event, RemoteReply};
use relevo_mailkit::text::{escaped, printable};
use relevo_queue::{EventLog, NewEvent};
use relevo_relay::clock::Clock;
use relevo_relay::policy::OutcomeEvent;
use relevo_runtime::Blame;
use relevo_runtime::policy::{Batch, Permit, PluginFault};
use tokio::sync::mpsc;

use crate::active::ActivePlugin;
use crate::active_plugins::ActivePlugins;
use crate::ask::in_words;

/// Events of one call (`wit/relevo-policy-0.1.0/observe.wit`).
const BATCH: usize = 100;
/// Groups of outcomes that wait to be told.
const WAITING: usize = 1_000;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// Octets of the value of an attribute, and of a reply.
const MAX_VALUE: usize = 1_024;
const MAX_REPLY: usize = 400;

/// Outcomes that wait to be told.
pub(crate) struct Outcomes {
    sender: mpsc::Sender<Vec<OutcomeEvent>>,
    pub(crate) dropped: DroppedEvents,
}

/// Counts events that a plugin was not told: there were too many, it broke, or it may not be
/// called.
#[derive(Clone, Default)]
pub(crate) struct DroppedEvents(Arc<AtomicU64>);

impl DroppedEvents {
    fn add(&self, events: usize) {
        self.0.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Outcomes {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<OutcomeEvent>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, dropped: DroppedEvents::default() }, receiver)
    }

    /// Never waits.
    pub(crate) fn send(&self, outcomes: Vec<OutcomeEvent>) {
        let count = outcomes.len();
        if self.sender.try_send(outcomes).is_err() {
            self.dropped.add(count);
        }
    }

    /// Events that a plugin was not told.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.0.load(Ordering::Relaxed)
    }
}

/// Tells plugins.
pub(crate) struct OutcomeNotifier {
    pub(crate) active: Weak<ActivePlugins>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where faults go.
    pub(crate) events: Option<Arc<dyn EventLog>>,
    pub(crate) dropped: DroppedEvents,
}

impl OutcomeNotifier {
    /// Until the plugins are gone.
    pub(crate) async fn run(self, mut waiting: mpsc::Receiver<Vec<OutcomeEvent>>) {
        while let Some(first) = waiting.recv().await {
            tokio::time::sleep(GATHER).await;
            let mut all = first;
            while all.len() < WAITING
                && let Ok(more) = waiting.try_recv()
            {
                all.extend(more);
            }
            let Some(active) = self.active.upgrade() else { return };
            let mut by_tenant: HashMap<String, Vec<Event>> = HashMap::new();
            for outcome in all {
                let tenant = outcome.event.tenant.clone();
                if let Some(event) = event(outcome) {
                    by_tenant.entry(tenant).or_default().push(event);
                }
            }
            for (tenant, events) in by_tenant {
                let plugins = active.all();
                let of_tenant = plugins.get(&tenant).into_iter().flat_map(HashMap::values);
                for plugin in of_tenant.filter(|plugin| plugin.listens()) {
                    for batch in events.chunks(BATCH) {
                        self.tell(plugin, batch.to_vec()).await;
                    }
                }
            }
        }
    }

    async fn tell(&self, plugin: &ActivePlugin, events: Vec<Event>) {
        let count = events.len();
        if let Some(fault) = self.call(plugin, events).await
            && let Some(log) = &self.events
            && let Err(error) = log.append(vec![self.fault_event(plugin, &fault, count)]).await
        {
            tracing::warn!(%error, "the event of a plugin's fault is not stored");
        }
    }

    /// Returns what broke.
    async fn call(&self, plugin: &ActivePlugin, events: Vec<Event>) -> Option<PluginFault> {
        let (clock, count) = (&self.clock, events.len());
        let (Ok(policy), Ok(())) = (&plugin.policy, plugin.enter_observe(clock.monotonic())) else {
            self.dropped.add(count);
            return None;
        };
        let now = u64::try_from(clock.now()).unwrap_or(0);
        // This may be the call that makes a warm instance, which then answers about messages that
        // are recorded.
        let (_, data) = plugin.data();
        let outcome = policy.observe(Batch { events, now, data: Some(data) }).await;
        let now = clock.monotonic();
        plugin.cpu.spend(u64::try_from(outcome.cost.cpu.as_nanos()).unwrap_or(u64::MAX), now);
        plugin.keep_log("observe", &outcome.log, outcome.log_dropped, now);
        // An answer says nothing of messages, a fault does.
        let fault = outcome.result.err()?;
        if fault.blame == Blame::Guest {
            plugin.leave(Permit::Call, Some(true), now);
        }
        plugin.broke(clock.now(), &fault);
        self.dropped.add(count);
        let config = &plugin.settings.config;
        tracing::warn!(tenant = config.tenant, plugin = config.name, digest = plugin.digest, %fault,
            "a plugin broke while it was told of outcomes");
        Some(fault)
    }

    fn fault_event(&self, plugin: &ActivePlugin, fault: &PluginFault, count: usize) -> NewEvent {
        let config = &plugin.settings.config;
        NewEvent {
            tenant: config.tenant.clone(),
            at: self.clock.now(),
            item: None,
            labels: Labels::default(),
            event: event::Event::PluginFault(event::PluginFault {
                plugin: config.name.clone(),
                digest: plugin.digest.clone(),
                fault: in_words(fault),
                reason: escaped(&fault.detail, MAX_VALUE),
                count: count as u64,
            }),
        }
    }
}

/// The event as plugins hear of it; none of events that are about neither a delivery nor a
/// notification.
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
            event.attributes.push(Attribute::new("action", dsn.action));
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
        ("tls-verified", attempt.tls_verified.then_some("true")),
        ("tls-policy", attempt.tls_policy.as_deref()),
        ("tls-failure", attempt.tls_failure.as_deref()),
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
    use crate::active::NotCalled;
    use crate::allowance::Allowance;
    use crate::test_settings;

    fn outcome(event: event::Event) -> OutcomeEvent {
        let event = NewEvent { tenant: "acme".into(), at: 7, item: None, labels: Labels::default(), event };
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
        let (outcomes, _kept) = Outcomes::new();
        for _ in 0..WAITING + 3 {
            outcomes.send(vec![delayed(), delayed()]);
        }
        assert_eq!(outcomes.dropped(), 6);
    }

    /// Breaks whenever it is told anything.
    struct Broken(PluginConfig);

    impl Broken {
        fn breaks<T>() -> relevo_runtime::policy::CallOutcome<T> {
            let (export, detail) = (Export::Observe, "always".to_owned());
            let fault = PluginFault { export, blame: Blame::Guest, kind: FaultKind::Trap, detail };
            let (cost, log) = (Cost::default(), Vec::new());
            relevo_runtime::policy::CallOutcome { result: Err(fault), cost, log, log_dropped: 0 }
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

        async fn configure(&self, _: u64, _: Data) -> relevo_runtime::policy::CallOutcome<()> {
            Self::breaks()
        }

        async fn judge(&self, _: Case) -> relevo_runtime::policy::CallOutcome<Judgement> {
            Self::breaks()
        }

        async fn judge_if_idle(&self, _: Case) -> Option<relevo_runtime::policy::CallOutcome<Judgement>> {
            Some(Self::breaks())
        }

        async fn observe(&self, _: Batch) -> relevo_runtime::policy::CallOutcome<()> {
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

    /// Faults are those of the plugin, whatever it was called for.
    #[tokio::test]
    async fn repeated_faults_end_calls_of_any_kind() {
        let settings = test_settings::plugin("acme", |_| {});
        let policy: Arc<dyn Policy> = Arc::new(Broken(settings.config.clone()));
        let cpu = Arc::new(Allowance::new(1_000_000_000));
        let plugin = ActivePlugin::new(settings, String::new(), Ok(policy), Arc::default(), cpu);
        let clock = Arc::new(SystemClock::new());
        let notifier = OutcomeNotifier {
            active: Weak::new(),
            clock: clock.clone(),
            events: None,
            dropped: DroppedEvents::default(),
        };
        for n in 0..50 {
            let broke = notifier.call(&plugin, event(delayed()).into_iter().collect()).await;
            let event = broke.map(|fault| match notifier.fault_event(&plugin, &fault, 1).event {
                event::Event::PluginFault(fault) => (fault.fault, fault.count),
                other => panic!("{other:?}"),
            });
            let expected = ("observe: trap (guest)".to_owned(), 1);
            // Until its breaker opens.
            assert_eq!(event, (n < 5).then_some(expected));
        }
        assert_eq!(notifier.dropped.0.load(Ordering::Relaxed), 50);
        assert_eq!(plugin.breaker(), ("open", 1));
        assert_eq!(plugin.enter(clock.monotonic()), Err(NotCalled::Breaker));
    }
}
