//! What stays in memory: at rest, with a large message, with a long queue.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::{self, Load, Schedule, Until};
use crate::message::{Addresses, Attachment, Message};
use crate::process::{self, Memory};
use crate::relay::{PLAIN, Relay, TRACKED};
use crate::scene::Scene;

/// Octets of the attachment before base64.
const ATTACHMENT: usize = 50_000_000;
/// Messages before a baseline is read.
const WARM_UP: u64 = 2000;
/// What allocators and the store do after a load, they have done by then.
const SETTLE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(600);

/// A large message with a tracked HTML part.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LargeMessage {
    pub(crate) octets: u64,
    /// `VmHWM` after the warm-up, resident just before the message, and `VmHWM` after it, counted
    /// from there.
    pub(crate) warm_peak_kib: u64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
    pub(crate) sending_seconds: f64,
    /// From the final dot to its 250.
    pub(crate) answer_seconds: f64,
    /// From the 250 until it had arrived whole.
    pub(crate) delivery_seconds: f64,
}

impl LargeMessage {
    /// By how much `VmHWM` rose.
    pub(crate) fn rise_kib(&self) -> u64 {
        self.peak_kib.saturating_sub(self.warm_peak_kib)
    }

    /// What was resident at the peak above what was resident before.
    pub(crate) fn above_resident_kib(&self) -> u64 {
        self.peak_kib.saturating_sub(self.resident_kib)
    }
}

/// Sends small messages of both domains, reads the peak, sends the large one.
pub(crate) fn large_message(relay: &Relay, scene: &Scene) -> Result<LargeMessage> {
    for domain in [PLAIN, TRACKED] {
        small(relay, scene, &scene.addresses(), domain, WARM_UP).run()?;
    }
    relay.drained(LIMIT)?;
    sleep(Duration::from_secs(2));
    let warm = process::memory(relay.pid())?;
    // From here the peak counts from what is resident: a rise below the warm-up's own peak is seen
    // as well.
    process::reset_peak(relay.pid())?;
    let ledger = &scene.ledger;
    ledger.clear();
    let sent =
        load::send_large(relay.smtp, ledger, &scene.addresses(), &Attachment::new(TRACKED, ATTACHMENT))?;
    let answered = Instant::now();
    relay.drained(LIMIT)?;
    let arrived = ledger.counts();
    ensure!(arrived.messages == 1 && arrived.unsigned == 0, "the large message did not arrive signed");
    ensure!(arrived.octets >= sent.octets, "the large message arrived cut short");
    Ok(LargeMessage {
        octets: sent.octets,
        warm_peak_kib: warm.peak,
        resident_kib: warm.resident,
        peak_kib: process::memory(relay.pid())?.peak,
        sending_seconds: sent.sending.as_secs_f64(),
        answer_seconds: sent.answer.as_secs_f64(),
        delivery_seconds: arrived.last.saturating_duration_since(answered).as_secs_f64(),
    })
}

/// A queue for a next hop that refuses connections.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LongQueue {
    pub(crate) messages: u64,
    pub(crate) filled_per_second: f64,
    /// Anonymous memory with the warm-up's messages, with half and with all of them.
    pub(crate) before_kib: u64,
    pub(crate) half_kib: u64,
    pub(crate) full_kib: u64,
    pub(crate) resident_kib: u64,
    /// After a restart with all of them queued; 0 until then.
    pub(crate) restarted_kib: u64,
    pub(crate) restart_seconds: f64,
}

impl LongQueue {
    pub(crate) fn octets_per_message(&self) -> f64 {
        per(self.before_kib, self.full_kib, self.messages)
    }

    /// Without what grows once, such as a cache.
    pub(crate) fn octets_per_message_second_half(&self) -> f64 {
        per(self.half_kib, self.full_kib, self.messages / 2)
    }
}

#[expect(clippy::cast_precision_loss, reason = "KiB of a process")]
fn per(before: u64, after: u64, messages: u64) -> f64 {
    (after as f64 - before as f64) * 1024.0 / messages.max(1) as f64
}

/// Fills the queue of a relay whose next hop is dead.
#[expect(clippy::cast_precision_loss, reason = "a count of messages")]
pub(crate) fn long_queue(relay: &Relay, scene: &Scene, messages: u64) -> Result<LongQueue> {
    let fill = |count: u64| -> Result<(Memory, Duration)> {
        let sent = small(relay, scene, &scene.addresses(), PLAIN, count).run()?;
        quiet(relay)?;
        sleep(SETTLE);
        Ok((process::memory(relay.pid())?, sent.elapsed))
    };
    let (before, _) = fill(WARM_UP)?;
    let (half, first) = fill(messages / 2)?;
    let (full, second) = fill(messages - messages / 2)?;
    let queued = relay.metrics()?.get("relevo_queue_items");
    ensure!(queued >= messages as f64, "{queued} messages are queued, {messages} were accepted");
    Ok(LongQueue {
        messages,
        filled_per_second: messages as f64 / (first + second).as_secs_f64(),
        before_kib: before.anonymous,
        half_kib: half.anonymous,
        full_kib: full.anonymous,
        resident_kib: full.resident,
        restarted_kib: 0,
        restart_seconds: 0.0,
    })
}

/// Waits until every delivery waits for its next attempt, then reads anonymous memory.
pub(crate) fn after_restart(relay: &Relay) -> Result<u64> {
    quiet(relay)?;
    sleep(SETTLE);
    Ok(process::memory(relay.pid())?.anonymous)
}

pub(crate) fn quiet(relay: &Relay) -> Result<()> {
    relay
        .wait("every delivery put off", LIMIT, |m| {
            m.get("relevo_queue_due") == 0.0 && m.get("relevo_queue_leased") == 0.0
        })
        .map(drop)
}

/// Small messages of one sender domain, as fast as they are taken.
pub(crate) fn small(relay: &Relay, scene: &Scene, to: &Addresses, domain: &str, count: u64) -> Load {
    Load {
        to: vec![relay.smtp],
        ledger: std::sync::Arc::clone(&scene.ledger),
        messages: std::sync::Arc::new([Message::new(domain, 4096)]),
        only: None,
        addresses: to.clone(),
        recipients: 1,
        sessions: 20,
        until: Until::Messages(count),
        schedule: Schedule::Closed,
    }
}
