//! One receiver, one sender and their days: delivery as it runs in the relay, under simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use relevo_delivery::clock::{Clock, RandomIds};
use relevo_delivery::shaping::{Shaping, ShapingChange};
use relevo_delivery::{DeliveryHandle, DeliveryParts, NoTlsPolicies, Unclassified, Unguarded, Unobserved};
use relevo_queue::{ItemMeta, Millis, QueueKeyParts};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use super::habits::Habits;
use super::network::{FixedCopy, Network, recipient_of};
use super::queue::SimulatedQueue;
use super::receiver::{DAY, DayCounts, HOUR, MINUTE, Receiver};
use super::settings::{EXPIRE, Fixed, IPS, KnownReplies, POOL};
use super::{Scenario, Way};

const TENANT: &str = "new-sender";
/// The first day: 2026-12-01 in UTC.
const EPOCH: Millis = 20_788 * DAY;
/// A third of the mail of a day is a campaign that begins at this time; the rest comes all day long.
const CAMPAIGN: Millis = 9 * HOUR;
/// Time until the store knows of counts of warm-up, and until a complaint is heard of.
const STORING: Duration = Duration::from_secs(2);
/// Between two looks for such counts when there were none.
const LOOKING: Duration = Duration::from_secs(60);
const HEARING: Duration = Duration::from_secs(6 * 3600);

/// Days of one receiver.
pub(super) struct WorldDays {
    pub(super) days: Vec<DayCounts>,
    /// Messages that wait at the end.
    pub(super) waiting: usize,
    /// How often the receiver blocked an address, and how often the relay suspended one there.
    pub(super) blocks: u32,
    pub(super) suspensions: u32,
    /// At the end of each day, for each address: its cap, and what was accepted from it.
    pub(super) caps: Vec<[(Option<u32>, u32); IPS.len()]>,
}

/// Time that runs on as soon as nothing is left to do.
#[derive(Debug, Clone)]
pub(super) struct SimulatedClock {
    started: Instant,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Millis {
        EPOCH + Millis::try_from(self.started.elapsed().as_millis()).unwrap_or(Millis::MAX / 2)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Runs the days of one receiver.
pub(super) fn run(
    habits: &'static Habits,
    way: Way,
    scenario: Scenario,
    classify: &Arc<KnownReplies>,
) -> Result<WorldDays> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().context("a runtime")?;
    runtime.block_on(days(habits, way, scenario, classify))
}

async fn days(
    habits: &'static Habits,
    way: Way,
    scenario: Scenario,
    classify: &Arc<KnownReplies>,
) -> Result<WorldDays> {
    let clock = SimulatedClock { started: Instant::now() };
    let span = (EPOCH, usize::try_from(scenario.days)?);
    let receiver = Receiver::new(habits, span, scenario.seed, scenario.complaints);
    let receiver = Arc::new(Mutex::new(receiver));
    let (complaints, complained) = unbounded_channel();
    let network = Network { receiver: receiver.clone(), clock: clock.clone(), complaints };
    let key = QueueKeyParts {
        domain: habits.domain.to_owned(),
        tenant: TENANT.to_owned(),
        sending_domain: "new.example".to_owned(),
        pool: POOL.to_owned(),
        route: String::new(),
    };
    let queue = Arc::new(SimulatedQueue::new(key.into()));
    let handle = DeliveryParts {
        queue: queue.clone(),
        resolve: Arc::new(network.clone()),
        dial: Arc::new(network),
        tls: Arc::new(NoTlsPolicies),
        copies: Arc::new(FixedCopy),
        guard: Arc::new(Unguarded),
        classify: match way {
            Way::Plain => Arc::new(Unclassified),
            Way::Shaped | Way::WarmedUp => classify.clone(),
        },
        settings: Arc::new(Fixed::new(way)?),
        observe: Arc::new(Unobserved),
        listener: None,
        clock: Arc::new(clock.clone()),
        ids: Arc::new(RandomIds),
        seed: scenario.seed,
        shaping: Shaping::default(),
    }
    .start();
    let suspensions = Arc::new(AtomicU32::new(0));
    tokio::spawn(keep(handle.clone(), suspensions.clone()));
    tokio::spawn(hear(handle.clone(), habits, complained));
    let mut sender = Sender { habits, daily: scenario.daily, sent: 0, clock, queue: queue.clone() };
    let mut caps = Vec::new();
    for day in 0..scenario.days {
        sender.day(day).await;
        caps.push(caps_of(&handle, &receiver.lock()));
    }
    let mut receiver = receiver.lock();
    receiver.expired(&queue.expired());
    Ok(WorldDays {
        days: std::mem::take(&mut receiver.days),
        waiting: queue.waiting(),
        blocks: receiver.blocks(),
        suspensions: suspensions.load(Ordering::Relaxed),
        caps,
    })
}

/// Does what the relay does with changes of shaping: it stores them, and tells delivery.
async fn keep(handle: DeliveryHandle, suspensions: Arc<AtomicU32>) {
    loop {
        let begun = |change: &ShapingChange| matches!(change, ShapingChange::Suspended(_));
        let begun = handle.take_shaping_changes().iter().filter(|change| begun(change)).count();
        suspensions.fetch_add(u32::try_from(begun).unwrap_or(u32::MAX), Ordering::Relaxed);
        let counts = handle.unstored_warmups();
        handle.stored_warmups(&counts);
        sleep(if counts.is_empty() { LOOKING } else { STORING }).await;
    }
}

/// Tells delivery of complaints some time after them.
async fn hear(handle: DeliveryHandle, habits: &'static Habits, mut complained: UnboundedReceiver<()>) {
    while complained.recv().await.is_some() {
        if habits.reports_complaints {
            let handle = handle.clone();
            tokio::spawn(async move {
                sleep(HEARING).await;
                handle.complained(habits.mx, None);
            });
        }
    }
}

fn caps_of(handle: &DeliveryHandle, receiver: &Receiver) -> [(Option<u32>, u32); IPS.len()] {
    let reports = handle.warmups();
    IPS.map(|address| {
        let report = reports.iter().find(|report| report.address == address.to_string());
        (report.and_then(|report| report.cap), receiver.accepted(address))
    })
}

/// Who writes to the receiver.
struct Sender {
    habits: &'static Habits,
    daily: u32,
    sent: u64,
    clock: SimulatedClock,
    queue: Arc<SimulatedQueue>,
}

impl Sender {
    /// Sends the mail of a day, and returns a second before its end.
    async fn day(&mut self, day: u32) {
        let all = i64::from(self.habits.of(self.daily));
        let (campaign, rest) = (all / 3, all - all / 3);
        let begin = i64::from(day) * DAY;
        for minute in 0..DAY / MINUTE {
            let by = |minute: i64| minute * rest * MINUTE / DAY;
            let at_once = if minute * MINUTE == CAMPAIGN { campaign } else { 0 };
            let count = by(minute + 1) - by(minute) + at_once;
            if count > 0 {
                self.until(begin + minute * MINUTE).await;
                self.send(count);
            }
        }
        self.until(begin + DAY - 1000).await;
    }

    async fn until(&self, at: Millis) {
        sleep_until(self.clock.started + Duration::from_millis(u64::try_from(at).unwrap_or(0))).await;
    }

    fn send(&mut self, count: i64) {
        let now = self.clock.now();
        let meta = ItemMeta {
            tenant: TENANT.to_owned(),
            sender: "news@new.example".to_owned(),
            accepted_at: now,
            expires_at: now + Millis::try_from(EXPIRE.as_millis()).unwrap_or(Millis::MAX / 2),
            size: 25,
            no_bounce: true,
            ..ItemMeta::default()
        };
        let first = self.sent;
        self.sent += count.unsigned_abs();
        let domain = self.habits.domain;
        self.queue.add((first..self.sent).map(|message| recipient_of(message, domain)), &Arc::new(meta));
    }
}
