//! The node's side: what it may use of each limit, from memory, and the questions that keep that so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use relevo_delivery::{LimitShares, LimitUse, SharedLimit};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::holder::{Allotters, Place};
use super::metrics::LimitMetrics;
use super::questions::{Answer, Question};
use super::{ASKS, Ask, LimitId, LimitKind, MAX_ASKS, SLICE, base_share};
use crate::lease::RENEWED;

/// A question may take this long.
const ANSWERS: Duration = Duration::from_secs(2);
/// Connections that were wanted this long ago are wanted no more. Those that are open are.
const WANTS_CONNECTIONS: Duration = Duration::from_secs(5);
/// The same for a rate, of which one message a minute is the least.
const WANTS_RATE: Duration = Duration::from_secs(65);
/// Limits of which a node wants more than its base share.
const MAX_LIMITS: usize = 100_000;

/// Carries a question to another node.
#[async_trait]
pub trait Carry: Send + Sync + fmt::Debug {
    /// The answer of the node at this address.
    ///
    /// # Errors
    /// There is none that can be trusted. The other node may have got the question.
    async fn ask(&self, address: &str, question: &Question) -> Result<Answer, CarryError>;
}

/// Why there is no answer, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CarryError(pub String);

/// A limit of which this node wants, or has, more than its base share.
#[derive(Debug, Clone, Copy)]
struct WantedLimit {
    kind: LimitKind,
    cap: u32,
    wanted: u32,
    wanted_at: Instant,
    /// Connections that are open.
    in_use: u32,
    granted: u32,
    until: Instant,
}

impl WantedLimit {
    fn granted(&self, now: Instant) -> u32 {
        if now < self.until { self.granted } else { 0 }
    }

    fn ask(&self, limit: LimitId, base: u32, now: Instant) -> Ask {
        let wants = match self.kind {
            LimitKind::Connections => WANTS_CONNECTIONS,
            LimitKind::Rate => WANTS_RATE,
        };
        let wanted = if now.duration_since(self.wanted_at) < wants { self.wanted } else { 0 };
        let beyond_base = |amount: u32| amount.saturating_sub(base);
        Ask {
            limit,
            kind: self.kind,
            cap: self.cap,
            wanted: beyond_base(wanted.max(self.in_use)),
            has: self.granted(now).max(beyond_base(self.in_use)),
        }
    }
}

/// What this node may use of shared limits. Answers from memory; [`Self::run`] keeps it so.
#[derive(Debug)]
pub struct NodeShares {
    allotters: Arc<Allotters>,
    carry: Arc<dyn Carry>,
    metrics: LimitMetrics,
    wanted: Mutex<HashMap<LimitId, WantedLimit>>,
    /// Of the last question.
    number: AtomicU64,
    /// Addresses that did not answer the last time.
    silent: Mutex<BTreeSet<String>>,
}

impl NodeShares {
    /// Of the node that has these allotters.
    #[must_use]
    pub fn new(allotters: Arc<Allotters>, carry: Arc<dyn Carry>, metrics: LimitMetrics) -> Self {
        Self {
            allotters,
            carry,
            metrics,
            wanted: Mutex::default(),
            number: AtomicU64::new(0),
            silent: Mutex::default(),
        }
    }

    /// The allotters of this node.
    #[must_use]
    pub fn allotters(&self) -> &Arc<Allotters> {
        &self.allotters
    }

    /// Holds allotters and asks others until it is dropped.
    pub async fn run(&self) {
        let look = async {
            let mut ticks = interval(RENEWED);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = self.allotters.look().await {
                    tracing::warn!(target: "relevo::cluster", %error, "the engine cannot be asked for allotters");
                }
                self.metrics.held(self.allotters.held().len());
            }
        };
        let ask = async {
            let mut ticks = interval(ASKS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.ask_all().await;
            }
        };
        tokio::join!(look, ask);
    }

    /// Answers the question of another node.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        let from: Arc<str> = question.from.as_str().into();
        let granted = self.allotters.answer(&from, question.number, &question.asks);
        self.metrics.answered(&granted);
        Answer { granted }
    }

    /// How much of `cap` this node may use now. `in_use`: connections that are open. `wanted`: as much
    /// could be used.
    pub fn share(&self, kind: LimitKind, limit: LimitId, cap: u32, in_use: u32, wanted: u32) -> u32 {
        let now = Instant::now();
        let base = self.base(cap);
        let mut all = self.wanted.lock();
        let has_room = all.len() < MAX_LIMITS;
        let known = match all.get_mut(&limit) {
            None if wanted <= base && in_use <= base => return base,
            None if !has_room => return base,
            None => all.entry(limit).or_insert(WantedLimit {
                kind,
                cap,
                wanted,
                wanted_at: now,
                in_use,
                granted: 0,
                until: now,
            }),
            Some(known) => known,
        };
        (known.cap, known.in_use) = (cap, in_use);
        if wanted > 0 {
            (known.wanted, known.wanted_at) = (wanted, now);
        }
        base.saturating_add(known.granted(now)).min(cap)
    }

    fn base(&self, cap: u32) -> u32 {
        self.allotters.nodes().map_or(0, |nodes| base_share(cap, nodes))
    }

    /// Asks for everything that is wanted: what [`Self::run`] repeats.
    pub async fn ask_all(&self) {
        let questions = self.questions();
        join_all(questions.into_iter().map(|(place, asks)| self.ask(place, asks))).await;
    }

    /// What is asked of whom; forgets what is neither wanted nor used.
    fn questions(&self) -> Vec<(Place, Vec<Ask>)> {
        let (now, nodes, places) = (Instant::now(), self.allotters.nodes(), self.allotters.places());
        let mut by_place: BTreeMap<Place, Vec<Ask>> = BTreeMap::new();
        self.wanted.lock().retain(|limit, wanted| {
            if wanted.granted > 0 && now >= wanted.until {
                self.metrics.lapsed();
                wanted.granted = 0;
            }
            let base = nodes.map_or(0, |nodes| base_share(wanted.cap, nodes));
            let ask = wanted.ask(*limit, base, now);
            if let Some(place) = places.get(&limit.allotter()) {
                by_place.entry(place.clone()).or_default().push(ask);
            }
            // The last question gives back what is left.
            ask.wanted > 0 || ask.has > 0
        });
        let chunks = |asks: Vec<Ask>| asks.chunks(MAX_ASKS).map(<[Ask]>::to_vec).collect::<Vec<_>>();
        let each = by_place.into_iter();
        each.flat_map(|(place, asks)| chunks(asks).into_iter().map(move |asks| (place.clone(), asks)))
            .collect()
    }

    async fn ask(&self, place: Place, asks: Vec<Ask>) {
        // The slices begin before the question: the holder may have answered any time since.
        let asked = Instant::now();
        let number = self.next_number();
        let granted = match place {
            Place::Here => {
                let granted = self.allotters.answer(self.allotters.node(), number, &asks);
                self.metrics.answered(&granted);
                granted
            }
            Place::At(address) => {
                let from = self.allotters.node().to_string();
                let question = Question { from, number, asks: asks.clone() };
                match timeout(ANSWERS, self.carry.ask(&address, &question)).await {
                    Ok(Ok(answer)) => {
                        self.silent.lock().remove(&address);
                        answer.granted
                    }
                    Ok(Err(error)) => return self.unanswered(&address, &error.0),
                    Err(_) => return self.unanswered(&address, "there is no answer within 2 s"),
                }
            }
        };
        self.apply(&asks, &granted, asked);
    }

    fn apply(&self, asks: &[Ask], granted: &[Option<u32>], asked: Instant) {
        let mut all = self.wanted.lock();
        for (ask, granted) in asks.iter().zip(granted) {
            if let (Some(wanted), Some(granted)) = (all.get_mut(&ask.limit), granted) {
                (wanted.granted, wanted.until) = (*granted, asked + SLICE);
            }
        }
    }

    fn unanswered(&self, address: &str, why: &str) {
        self.metrics.unanswered();
        if !self.silent.lock().insert(address.to_owned()) {
            return;
        }
        tracing::warn!(target: "relevo::cluster", address, why, "a node does not answer about shared limits");
    }

    /// A number that rises, also after a restart.
    fn next_number(&self) -> u64 {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let raise = |last: u64| Some(number.max(last.saturating_add(1)));
        let before = self.number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise).unwrap_or(0);
        number.max(before.saturating_add(1))
    }
}

impl LimitShares for NodeShares {
    fn share(&self, limit: &SharedLimit<'_>, cap: u32, of: LimitUse) -> u32 {
        let kind = match limit {
            SharedLimit::Rate(..) => LimitKind::Rate,
            SharedLimit::Provider(..) | SharedLimit::Site(..) => LimitKind::Connections,
        };
        NodeShares::share(self, kind, limit_id(limit), cap, of.in_use, of.wanted)
    }
}

/// The name of a limit: what it is for, whose, and the addresses that it is counted from. Nodes that
/// send from other addresses have other limits.
fn limit_id(limit: &SharedLimit<'_>) -> LimitId {
    let (kind, name, pool, sources) = match limit {
        SharedLimit::Provider(path, sources) => {
            ("provider", path.provider.as_str(), path.pool.as_str(), sources)
        }
        SharedLimit::Rate(path, sources) => ("rate", path.provider.as_str(), path.pool.as_str(), sources),
        SharedLimit::Site(site, sources) => ("site", *site, sources.pool, sources),
    };
    // More of them are not told apart: they have one limit then.
    let mut addresses = [[0_u8; 16]; 64];
    let count = sources.ipv4.len().saturating_add(sources.ipv6.len()).min(addresses.len());
    for (address, place) in sources.ipv4.iter().chain(sources.ipv6).zip(&mut addresses) {
        *place = match address {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
    }
    addresses[..count].sort_unstable();
    let addresses = addresses[..count].as_flattened();
    LimitId::of([kind.as_bytes(), name.as_bytes(), pool.as_bytes(), addresses])
}
