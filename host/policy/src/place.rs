//! A place for a plugin that is in use: the loaded version, and whether it may be asked now.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relevo_queue::Millis;
use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{
    Breaker, BreakerConfig, BreakerState, Export, KeyValues, LogLine, Permit, PluginFault, Policy,
};

use crate::ask;
use crate::kv::KvData;
use crate::record::{RecordedReads, RecordingHandle};
use crate::shadow::Shadow;

/// What is in a place.
pub(crate) struct Place {
    pub(crate) settings: Arc<PluginSettings>,
    /// Digest in hex.
    pub(crate) digest: String,
    /// The version, or why it cannot be used: then the failure policy answers.
    pub(crate) policy: Result<Arc<dyn Policy>, String>,
    pub(crate) data: Arc<KvData>,
    /// A version that is asked beside it.
    pub(crate) shadow: Option<Arc<Shadow>>,
    /// Where messages go that are recorded.
    pub(crate) recording: Option<RecordingHandle>,
    /// Before it is asked about a message.
    asking: Gate,
    /// Before it is told of outcomes: what happens there must not change an answer.
    pub(crate) telling: Gate,
    /// The last lines that it logged.
    lines: Mutex<VecDeque<String>>,
    /// When it broke last, and how: in whatever call.
    fault: Mutex<Option<(Millis, String)>>,
    /// What it said against its settings when it was asked last.
    refusal: Mutex<Option<String>>,
}

/// Lines that `relevo plugin list` shows.
const LINES: usize = 20;

/// Lets calls of one kind through.
pub(crate) struct Gate(Mutex<Limits>);

#[derive(Clone)]
struct Limits {
    breaker: Breaker,
    bucket: Bucket,
}

/// Why a plugin is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It broke too often.
    Breaker,
    /// Its calls of this second are used up.
    Rate,
}

impl Closed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Breaker => "not called after repeated faults",
            Self::Rate => "over its calls per second",
        }
    }
}

impl Place {
    pub(crate) fn new(
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
        data: Arc<KvData>,
    ) -> Self {
        let gate = || Gate::new(settings.breaker, settings.calls_per_second);
        let (asking, telling) = (gate(), gate());
        Self {
            settings,
            digest,
            policy,
            data,
            shadow: None,
            recording: None,
            asking,
            telling,
            lines: Mutex::default(),
            fault: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    /// A call of it broke, for which it may be at fault.
    pub(crate) fn broke(&self, at: Millis, fault: &PluginFault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, fault.to_string()));
    }

    /// The last fault, for listings.
    pub(crate) fn last_fault(&self) -> Option<(Millis, String)> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether it likes its settings, as far as a call tells: they all begin with `configure`.
    pub(crate) fn note_configure<T>(&self, result: &Result<T, PluginFault>) {
        let refusal = match result {
            Ok(_) => None,
            Err(fault) if fault.blame == Blame::Guest && fault.export == Export::Configure => {
                Some(format!("it refuses its settings: {fault}"))
            }
            Err(_) => return,
        };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// As another place with the same version and settings was told.
    pub(crate) fn note_configure_of(&self, other: &Self) {
        if self.digest == other.digest && self.settings.config.settings == other.settings.config.settings {
            let known = other.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = known;
        }
    }

    /// Why it is of no use.
    pub(crate) fn problem(&self) -> Option<String> {
        match &self.policy {
            Err(why) => Some(why.clone()),
            Ok(_) => self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether it wants to hear of outcomes.
    pub(crate) fn listens(&self) -> bool {
        self.policy.as_ref().is_ok_and(|policy| policy.exports(Export::Observe))
    }

    /// Asks before each question about a message.
    pub(crate) fn enter(&self, now: Duration) -> Result<Permit, Closed> {
        self.asking.enter(now)
    }

    /// What came of the call: a fault of the plugin or not, or nothing that says anything about it.
    pub(crate) fn leave(&self, permit: Permit, fault: Option<bool>, now: Duration) {
        if self.asking.leave(permit, fault, now) {
            let config = &self.settings.config;
            tracing::warn!(
                tenant = config.tenant,
                plugin = config.name,
                digest = self.digest,
                "a plugin is put aside after repeated faults: its failure policy answers, until it is tried again"
            );
        }
    }

    /// The plugin's data for one call, and the record of what is read there if that is recorded. What `configure` reads is recorded
    /// whatever the call is for: the instance may stay, and answer other calls.
    pub(crate) fn data(&self) -> (Option<Arc<RecordedReads>>, Arc<dyn KeyValues>) {
        let reads = self.recording.as_ref().and_then(|recording| recording.recorded_reads(&self.data));
        let data: Arc<dyn KeyValues> = match &reads {
            Some(reads) => reads.clone(),
            None => self.data.clone(),
        };
        (reads, data)
    }

    /// Of questions about messages.
    pub(crate) fn breaker(&self) -> (&'static str, u64) {
        self.asking.breaker()
    }

    /// Of telling it of outcomes. None: it does not want to hear of them.
    pub(crate) fn observe_breaker(&self) -> Option<(&'static str, u64)> {
        self.listens().then(|| self.telling.breaker())
    }

    /// Passes on what it logged about a message.
    pub(crate) fn keep_log(&self, id: impl Display, lines: &[LogLine], dropped: u64) {
        if lines.is_empty() && dropped == 0 {
            return;
        }
        let id = id.to_string();
        ask::log_lines(self, &id, lines, dropped);
        let mut kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            if kept.len() == LINES {
                kept.pop_front();
            }
            kept.push_back(format!("{id} {}", line.text));
        }
    }

    /// The last lines that it logged, each with the message.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Gate {
    fn new(breaker: BreakerConfig, rate: Option<u32>) -> Self {
        Self(Mutex::new(Limits { breaker: Breaker::new(breaker), bucket: Bucket::new(rate) }))
    }

    /// Asks before each call.
    pub(crate) fn enter(&self, now: Duration) -> Result<Permit, Closed> {
        let mut gate = self.limits();
        match gate.breaker.permit(now) {
            Permit::Refused => Err(Closed::Breaker),
            permit if gate.bucket.take(now) => Ok(permit),
            permit => {
                gate.breaker.undone(permit, now);
                Err(Closed::Rate)
            }
        }
    }

    /// What came of the call: a fault of the plugin or not, or nothing that says anything about it. Whether that was one fault too many.
    pub(crate) fn leave(&self, permit: Permit, fault: Option<bool>, now: Duration) -> bool {
        let mut gate = self.limits();
        let before = gate.breaker.opened();
        match fault {
            Some(fault) => gate.breaker.done(permit, fault, now),
            None => gate.breaker.undone(permit, now),
        }
        gate.breaker.opened() > before
    }

    /// For listings and metrics: `closed` calls, `open` does not, `half-open` tries; and how often it opened.
    fn breaker(&self) -> (&'static str, u64) {
        let gate = self.limits();
        let state = match gate.breaker.state() {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half-open",
        };
        (state, gate.breaker.opened())
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // Nothing in it can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token bucket that holds one second's worth.
#[derive(Clone)]
struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn new(rate: Option<u32>) -> Self {
        let rate = rate.map(f64::from);
        Self { rate, tokens: rate.unwrap_or(0.0), at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> bool {
        let Some(rate) = self.rate else { return true };
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.tokens = (self.tokens + passed * rate).min(rate.max(1.0));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_one_second() {
        let mut bucket = Bucket::new(Some(2));
        let at = Duration::from_millis;
        let taken: Vec<bool> =
            [0, 0, 0, 400, 500, 10_000, 10_000, 10_000].map(|ms| bucket.take(at(ms))).to_vec();
        assert_eq!(taken, [true, true, false, false, true, true, true, false]);
        assert!((0..1000).all(|_| Bucket::new(None).take(at(0))));
    }
}
