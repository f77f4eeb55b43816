//! What both ends of the relay know of a message: when it was acknowledged, and how often it
//! arrived.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::message::serial;
use crate::series::{Second, Series};
use crate::sink::{Arrival, Observer};

/// Octets in which a signature is looked for.
const HEAD: usize = 4096;
/// Messages that can be under way at once; a serial number is forgotten when it comes round again.
const SLOTS: u64 = 1 << 20;

/// Written by the load generator and by the sink, which are threads of one process and read one
/// clock.
pub struct Ledger {
    tag: char,
    origin: Instant,
    next: AtomicU64,
    acknowledged: Vec<AtomicU64>,
    attempts: Vec<AtomicU8>,
    arrivals: Vec<AtomicU8>,
    arrived: AtomicU64,
    repeated: AtomicU64,
    unsigned: AtomicU64,
    octets: AtomicU64,
    deferred: AtomicU64,
    refused: AtomicU64,
    last: AtomicU64,
    waits: Mutex<Waits>,
}

/// From the 250 to the first attempt, and what arrived, over time.
struct Waits {
    histogram: Histogram<u64>,
    arrivals: Series,
}

/// Counts since [`Ledger::clear`].
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// Different recipients' messages.
    pub messages: u64,
    /// Copies beyond the first one.
    pub repeated: u64,
    /// Messages without a DKIM signature.
    pub unsigned: u64,
    /// Octets of content.
    pub octets: u64,
    /// Answers of 4xx.
    pub deferred: u64,
    /// Recipients that were refused for good.
    pub refused: u64,
    /// When the last one arrived.
    pub last: Instant,
}

impl Ledger {
    /// Nothing sent, nothing arrived. Its recipients begin with `tag`.
    ///
    /// # Errors
    /// None on machines of 32 bits or more.
    pub fn new(tag: char) -> Result<Self> {
        let slots = usize::try_from(SLOTS)?;
        Ok(Self {
            tag,
            origin: Instant::now(),
            next: AtomicU64::new(0),
            acknowledged: std::iter::repeat_with(AtomicU64::default).take(slots).collect(),
            attempts: std::iter::repeat_with(AtomicU8::default).take(slots).collect(),
            arrivals: std::iter::repeat_with(AtomicU8::default).take(slots).collect(),
            arrived: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            unsigned: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last: AtomicU64::new(0),
            waits: Mutex::new(Waits { histogram: histogram()?, arrivals: Series::new(Instant::now()) }),
        })
    }

    /// Starts new counts; nothing may be under way.
    pub fn clear(&self) {
        let counters = [&self.arrived, &self.repeated, &self.unsigned, &self.octets, &self.last];
        for counter in counters.into_iter().chain([&self.deferred, &self.refused]) {
            counter.store(0, Ordering::Relaxed);
        }
        let mut waits = self.waits.lock();
        waits.histogram.reset();
        waits.arrivals = Series::new(Instant::now());
    }

    /// The numbers of the recipients of a message about to be sent.
    pub fn begin(&self, recipients: u64) -> Range<u64> {
        let first = self.next.fetch_add(recipients, Ordering::Relaxed);
        let serials = first..first + recipients;
        for serial in serials.clone() {
            self.acknowledged[slot(serial)].store(0, Ordering::Relaxed);
            self.attempts[slot(serial)].store(0, Ordering::Relaxed);
            self.arrivals[slot(serial)].store(0, Ordering::Relaxed);
        }
        serials
    }

    /// Its 250 was read.
    pub fn acknowledge(&self, serial: u64) {
        self.acknowledged[slot(serial)].store(self.now().max(1), Ordering::Relaxed);
    }

    /// The relay named its recipient to the next hop, for the first time. One that came before the
    /// 250 was read counts as no wait at all.
    pub fn attempted(&self, serial: u64) {
        if self.attempts[slot(serial)].swap(1, Ordering::Relaxed) > 0 {
            return;
        }
        let wait = match self.acknowledged[slot(serial)].load(Ordering::Relaxed) {
            0 => 0,
            at => self.now().saturating_sub(at),
        };
        let mut waits = self.waits.lock();
        waits.histogram.saturating_record(wait / 1000);
    }

    /// All of it arrived at the next hop.
    pub fn arrived(&self, serial: u64, octets: u64, signed: bool) {
        if self.arrivals[slot(serial)].fetch_add(1, Ordering::Relaxed) > 0 {
            self.repeated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.octets.fetch_add(octets, Ordering::Relaxed);
        if !signed {
            self.unsigned.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        let wait = now.saturating_sub(self.acknowledged[slot(serial)].load(Ordering::Relaxed).max(1)) / 1000;
        let mut waits = self.waits.lock();
        // The bounds of its histograms are constants; a figure for a picture ends no run.
        let _ = waits.arrivals.record(Instant::now(), wait);
        drop(waits);
        self.arrived.fetch_add(1, Ordering::Release);
    }

    /// What arrived since [`Ledger::clear`].
    pub fn counts(&self) -> Arrived {
        Arrived {
            messages: self.arrived.load(Ordering::Acquire),
            repeated: self.repeated.load(Ordering::Relaxed),
            unsigned: self.unsigned.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            deferred: self.deferred.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            last: self.origin + Duration::from_nanos(self.last.load(Ordering::Relaxed)),
        }
    }

    /// Microseconds from the 250 to the recipient's name at the next hop.
    pub fn waits(&self) -> Histogram<u64> {
        self.waits.lock().histogram.clone()
    }

    /// Arrivals over time, each with its time since the 250.
    pub fn arrivals(&self) -> Vec<Second> {
        self.waits.lock().arrivals.points()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Observer for Ledger {
    fn keep(&self) -> usize {
        HEAD
    }

    fn recipient(&self, address: &str) {
        if let Some(serial) = serial(self.tag, address) {
            self.attempted(serial);
        }
    }

    fn message(&self, arrival: &Arrival<'_>) {
        let signed = contains(arrival.head, b"DKIM-Signature:");
        for serial in arrival.recipients.iter().filter_map(|r| serial(self.tag, r)) {
            self.arrived(serial, arrival.octets, signed);
        }
    }

    fn refused(&self, address: &str, permanent: bool) {
        if serial(self.tag, address).is_some() {
            let counter = if permanent { &self.refused } else { &self.deferred };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Several ledgers behind one sink; their tags differ.
pub struct Ledgers(pub Vec<Arc<Ledger>>);

impl Observer for Ledgers {
    fn keep(&self) -> usize {
        HEAD
    }

    fn recipient(&self, address: &str) {
        self.0.iter().for_each(|l| l.recipient(address));
    }

    fn message(&self, arrival: &Arrival<'_>) {
        self.0.iter().for_each(|l| l.message(arrival));
    }

    fn refused(&self, address: &str, permanent: bool) {
        self.0.iter().for_each(|l| Observer::refused(l.as_ref(), address, permanent));
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|w| w == what)
}

/// An empty histogram of microseconds up to an hour, three digits.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000, 3)?)
}

fn slot(serial: u64) -> usize {
    usize::try_from(serial % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_from_the_250_to_the_next_hop() {
        let ledger = Ledger::new('r').expect("a ledger");
        let serial = ledger.begin(1).start;
        ledger.acknowledge(serial);
        std::thread::sleep(Duration::from_millis(30));
        ledger.attempted(serial);
        assert!(ledger.waits().max() >= 29_000, "{}", ledger.waits().max());
    }

    #[test]
    fn counts_a_message_once_and_its_copies_apart() {
        let ledger = Ledger::new('r').expect("a ledger");
        let mut serials = ledger.begin(2);
        let (a, b) = (serials.start, serials.end - 1);
        assert_eq!(serials.by_ref().count(), 2);
        ledger.acknowledge(a);
        ledger.attempted(a);
        ledger.arrived(a, 100, true);
        ledger.arrived(a, 100, true);
        ledger.attempted(b);
        ledger.arrived(b, 50, false);
        let counts = ledger.counts();
        assert_eq!((counts.messages, counts.repeated, counts.unsigned, counts.octets), (2, 1, 1, 150));
        assert_eq!(ledger.waits().len(), 2);
        assert_eq!(ledger.waits().min(), 0, "b was attempted before its 250");
        ledger.clear();
        assert_eq!((ledger.counts().messages, ledger.waits().len()), (0, 0));
    }
}
