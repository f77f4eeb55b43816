//! Delivery against scripted hosts, with the embedded store on a disk in memory and simulated time.

mod attempts;
mod net;
mod offers;
mod scheduling;
mod shaping;
mod shares;
mod tls;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relevo_mailkit::classification::{
    Action, BounceType, Classification, Explanation, ReceiverReply, Subject,
};
use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::event::{Event, Failure};
use relevo_mailkit::options::MailOptions;
use relevo_queue::testing::TestQueue;
use relevo_queue::{
    ItemId, ItemMeta, Millis, NewDelivery, NewItem, QueueKeyParts, Recipient, RecipientState, SpooledBody,
};
use relevo_smtp::client::TlsPolicy;
use tokio::time::{Instant, sleep};

use super::{DeliveryHandle, DeliveryParts, Unobserved};
use crate::clock::{Clock, RandomIds};
use crate::settings::{
    DeliverySettings, EgressGrants, EgressPool, EgressRoute, SmarthostSettings, WarmupSpill,
};
use crate::shaping::ShapingRules;
use crate::testing::{Fixed, TestConfig};
use net::{FixedCopies, Net};

const START: Millis = 1_795_325_621_500;

struct SimulatedClock {
    started: Instant,
    /// By how much the time of day was set, in milliseconds.
    set: Arc<AtomicI64>,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Millis {
        START + super::schedule::millis(self.started.elapsed()) + self.set.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Given up, and its sender told.
const FAILED: RecipientState = RecipientState::Failed { reported: true };

struct World {
    queue: Arc<TestQueue>,
    /// What the keys of new mail have beside their domain.
    key: Mutex<QueueKeyParts>,
    /// What the senders of new mail ask for.
    options: Mutex<MailOptions>,
    /// And for their recipients.
    dsn: Mutex<RecipientDsn>,
    /// After which their sender is told that they wait.
    delay_report: Mutex<Option<Millis>>,
    net: Arc<Net>,
    handle: DeliveryHandle,
    started: Instant,
    items: AtomicU64,
    /// By how much the time of day was set.
    clock: Arc<AtomicI64>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Mail leaves from a pool of these addresses.
    fn from_pool(sources: &[&str]) -> Self {
        Self::from_sources(sources, false, None, Arc::default())
    }

    /// They are warmed up by these rules, and what is beyond their caps goes to partner.test.
    fn spilling(sources: &[&str], rules: Arc<ShapingRules>) -> Self {
        Self::from_sources(sources, true, Some(WarmupSpill::Route("partner".into())), rules)
    }

    /// They are warmed up by these rules.
    fn warming(sources: &[&str], rules: Arc<ShapingRules>) -> Self {
        Self::from_sources(sources, true, None, rules)
    }

    fn from_sources(
        sources: &[&str],
        warmup: bool,
        warmup_spill: Option<WarmupSpill>,
        rules: Arc<ShapingRules>,
    ) -> Self {
        let ips = sources.iter().map(|ip| ip.parse::<std::net::IpAddr>().expect("an address"));
        let (source_ipv4, source_ipv6) = ips.partition(|ip| ip.is_ipv4());
        let pool = EgressPool {
            name: "p".into(),
            source_ipv4,
            source_ipv6,
            ehlo: None,
            connections_per_site: None,
            warmup,
            warmup_spill,
        };
        let mut settings = TestConfig::new();
        let grants = EgressGrants { pools: vec!["p".into()], ..EgressGrants::default() };
        settings.grants.insert("acme".into(), Arc::new(grants));
        let world = Self::of(settings, |d| {
            d.pools.insert("p".into(), Arc::new(pool));
            let smarthost =
                SmarthostSettings { host: "partner.test".into(), port: 25, tls: TlsPolicy::None, auth: None };
            let route = EgressRoute { name: "partner".into(), smarthost: Some(smarthost) };
            d.routes.insert("partner".into(), Arc::new(route));
            d.shaping = rules;
        });
        *world.key.lock().expect("lock") = QueueKeyParts {
            pool: "p".to_owned(),
            tenant: "acme".to_owned(),
            sending_domain: "origin.test".to_owned(),
            ..QueueKeyParts::default()
        };
        world
    }

    fn with(change: impl FnOnce(&mut DeliverySettings)) -> Self {
        Self::of(TestConfig::new(), change)
    }

    fn of(mut settings: TestConfig, change: impl FnOnce(&mut DeliverySettings)) -> Self {
        let delivery = &mut settings.delivery;
        delivery.retry = [60, 300, 900].map(Duration::from_secs).to_vec();
        (delivery.connections_per_site, delivery.max_connections) = (5, 50);
        (delivery.messages_per_connection, delivery.recipients_per_transaction) = (100, 100);
        change(delivery);
        let (queue, net) = (Arc::new(TestQueue::open().expect("a store")), Arc::new(Net::new()));
        let clock = Arc::new(AtomicI64::new(0));
        let handle = DeliveryParts {
            listener: None,
            queue: queue.clone(),
            resolve: net.clone(),
            dial: net.clone(),
            tls: net.clone(),
            guard: Arc::new(GuardByName),
            copies: Arc::new(FixedCopies),
            classify: Arc::new(ClassifyByCode),
            settings: Arc::new(Fixed(Arc::new(settings))),
            observe: Arc::new(Unobserved),
            clock: Arc::new(SimulatedClock { started: Instant::now(), set: clock.clone() }),
            ids: Arc::new(RandomIds),
            seed: 1,
            shaping: crate::shaping::Shaping::default(),
        }
        .start();
        Self {
            queue,
            key: Mutex::default(),
            options: Mutex::default(),
            dsn: Mutex::default(),
            delay_report: Mutex::default(),
            net,
            handle,
            started: Instant::now(),
            items: AtomicU64::new(0),
            clock,
        }
    }

    fn now(&self) -> Millis {
        START + super::schedule::millis(self.started.elapsed()) + self.clock.load(Ordering::Relaxed)
    }

    /// A message of `tenant` that expires after `expire`.
    fn send(&self, tenant: &str, expire: Duration, deliveries: &[(&str, &[&str])]) -> ItemId {
        self.send_at(self.now(), tenant, expire, deliveries)
    }

    /// As [`Self::send`], due at a time of day.
    fn send_at(
        &self,
        due_at: Millis,
        tenant: &str,
        expire: Duration,
        deliveries: &[(&str, &[&str])],
    ) -> ItemId {
        let n = self.items.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&n.to_be_bytes());
        let id = ItemId::new(START, random);
        let meta = ItemMeta {
            tenant: tenant.to_owned(),
            sender: "sender@origin.test".to_owned(),
            accepted_at: self.now(),
            expires_at: self.now() + super::schedule::millis(expire),
            size: 12,
            source: "smtp".to_owned(),
            message_id: "<1@origin.test>".to_owned(),
            subject: "Hello".to_owned(),
            options: self.options.lock().expect("lock").clone(),
            ..ItemMeta::default()
        };
        let (mut indexes, key) = (0.., self.key.lock().expect("lock").clone());
        let dsn = self.dsn.lock().expect("lock").clone();
        let delay_report = *self.delay_report.lock().expect("lock");
        let delay_report_at = delay_report.map(|after| self.now() + after);
        let recipient = |(index, address): (u32, &&str)| Recipient {
            dsn: dsn.clone(),
            delay_report_at,
            ..Recipient::pending(index, *address)
        };
        let deliveries = deliveries.iter().map(|(domain, recipients)| NewDelivery {
            key: QueueKeyParts { domain: (*domain).to_owned(), ..key.clone() }.into(),
            recipients: indexes.by_ref().zip(*recipients).map(recipient).collect(),
            due_at,
            ..NewDelivery::default()
        });
        let body = SpooledBody::in_memory(b"Subject: Hello\r\n\r\nx\r\n".to_vec());
        let item = NewItem { id, meta, body, deliveries: deliveries.collect() };
        self.queue.accept_now(item).expect("a store");
        id
    }

    fn to(&self, recipient: &str) -> ItemId {
        let domain = recipient.rsplit_once('@').expect("an address").1;
        self.send("t", DAY, &[(domain, &[recipient])])
    }

    fn states(&self, item: ItemId) -> Vec<RecipientState> {
        self.queue.states(item)
    }

    /// Names of the events about an item, in order.
    fn kinds(&self, item: ItemId) -> Vec<String> {
        let events = self.queue.events();
        events.iter().filter(|e| e.item == Some(item)).map(|e| e.event.name().to_owned()).collect()
    }

    /// What the events about an item say that its failures mean, in order.
    fn classifications(&self, item: ItemId) -> Vec<Option<Classification>> {
        let events = self.queue.events().into_iter().filter(|e| e.item == Some(item));
        let attempts = events.filter_map(|e| match e.event {
            Event::Delivered(attempt)
            | Event::DeliveryDelayed(attempt)
            | Event::Bounced(attempt)
            | Event::Expired(attempt)
            | Event::Failed(Failure::Delivery(attempt)) => Some(attempt.classification),
            _ => None,
        });
        attempts.collect()
    }

    /// The bounces that were queued, as text.
    fn bounces(&self) -> Vec<String> {
        let bounces = self.queue.items().into_iter().filter(|item| item.meta.is_bounce);
        bounces
            .map(|bounce| {
                let mut text = vec![0; usize::try_from(bounce.body.size()).expect("small")];
                bounce.body.read_at(0, &mut text).expect("reads");
                String::from_utf8(text).expect("UTF-8")
            })
            .collect()
    }
}

/// Suppresses `suppressed@...`, and cannot tell about `unclear@...`.
struct GuardByName;

#[async_trait::async_trait]
impl crate::RecipientGuard for GuardByName {
    async fn suppression(&self, _: &ItemMeta, address: &str) -> Result<Option<String>, String> {
        match address.split('@').next() {
            Some("suppressed") => Ok(Some("suppressed since yesterday".to_owned())),
            Some("unclear") => Err("the list cannot be read".to_owned()),
            _ => Ok(None),
        }
    }
}

/// Knows the code of a reply, and says it back as the category.
struct ClassifyByCode;

impl crate::Classify for ClassifyByCode {
    fn classify(&self, reply: &ReceiverReply) -> Option<Arc<Classification>> {
        let of_rcpt = reply.command.as_deref() == Some("RCPT");
        Some(Arc::new(Classification {
            bounce_type: BounceType::Undetermined,
            category: reply.code.map(|code| code.to_string()).unwrap_or_default(),
            about: Subject::RemoteSystem,
            action: Action::Retry,
            rule: if of_rcpt { "rcpt".to_owned() } else { "other".to_owned() },
            rules_version: "test".to_owned(),
            explanation: Explanation { en: reply.own.join(" "), es: reply.text.clone() },
            doc: reply.host.clone(),
        }))
    }
}

const DAY: Duration = Duration::from_secs(86_400);

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}
