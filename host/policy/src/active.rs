//! A plugin that is in use: the loaded version, and whether it may be asked now.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_queue::Millis;
use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{
    Breaker, BreakerState, Export, KeyValues, LogLevel, LogLine, Permit, PluginFault, Policy,
};

use crate::allowance::Allowance;
use crate::kv::KvData;
use crate::record::{RecordedReads, RecordingHandle};
use crate::shadow::Shadow;

/// Lines that `relevo plugin list` shows.
const LINES: usize = 20;
/// Octets of log in a second; further lines are dropped and counted.
const LOG_PER_SECOND: u64 = 64 << 10;
/// Octets that a line costs beside its text.
const LOG_LINE: u64 = 128;

/// The version of a plugin that is asked, with its settings and data.
pub(crate) struct ActivePlugin {
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
    /// CPU time of the tenant, in nanoseconds.
    pub(crate) cpu: Arc<Allowance>,
    log: Allowance,
    status: Mutex<Status>,
}

/// What calls came to.
struct Status {
    breaker: Breaker,
    /// The last lines that it logged.
    lines: VecDeque<String>,
    log_dropped: u64,
    /// Calls that were not made because the tenant's CPU time was used up.
    over_quota: u64,
    /// When it broke last, and how: in whatever call.
    fault: Option<(Millis, String)>,
    /// What it said against its settings when it was asked last.
    refusal: Option<String>,
}

/// Why a plugin is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCalled {
    /// It broke too often.
    Breaker,
    /// The tenant's CPU time of this second is used up.
    Quota,
}

impl NotCalled {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Breaker => "not called after repeated faults",
            Self::Quota => "not called: its tenant's CPU time for plugins is used up",
        }
    }
}

impl ActivePlugin {
    pub(crate) fn new(
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
        data: Arc<KvData>,
        cpu: Arc<Allowance>,
    ) -> Self {
        let status = Status {
            breaker: Breaker::new(settings.breaker),
            lines: VecDeque::new(),
            log_dropped: 0,
            over_quota: 0,
            fault: None,
            refusal: None,
        };
        Self {
            settings,
            digest,
            policy,
            data,
            shadow: None,
            recording: None,
            cpu,
            log: Allowance::new(LOG_PER_SECOND),
            status: Mutex::new(status),
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        // Nothing in it can be half done.
        self.status.lock()
    }

    /// To be asked before each call. Whoever gets a permit tells [`Self::leave`].
    pub(crate) fn enter(&self, now: Duration) -> Result<Permit, NotCalled> {
        let mut status = self.status();
        if !self.cpu.has_some(now) {
            status.over_quota += 1;
            return Err(NotCalled::Quota);
        }
        match status.breaker.permit(now) {
            Permit::Refused => Err(NotCalled::Breaker),
            permit => Ok(permit),
        }
    }

    /// As [`Self::enter`], before it is told of outcomes. That is no trial: messages show whether
    /// it can answer again.
    pub(crate) fn enter_observe(&self, now: Duration) -> Result<(), NotCalled> {
        let mut status = self.status();
        if !self.cpu.has_some(now) {
            status.over_quota += 1;
            return Err(NotCalled::Quota);
        }
        match status.breaker.state() {
            BreakerState::Closed => Ok(()),
            BreakerState::Open { .. } | BreakerState::HalfOpen => Err(NotCalled::Breaker),
        }
    }

    /// What came of the call: a fault of the plugin or not, or nothing that says anything about it.
    pub(crate) fn leave(&self, permit: Permit, fault: Option<bool>, now: Duration) {
        let mut status = self.status();
        let before = status.breaker.opened();
        match fault {
            Some(fault) => status.breaker.done(permit, fault, now),
            None => status.breaker.undone(permit, now),
        }
        if status.breaker.opened() > before {
            let config = &self.settings.config;
            tracing::warn!(
                tenant = config.tenant,
                plugin = config.name,
                digest = self.digest,
                "a plugin is not called after repeated faults: its failure policy answers, until it is tried again"
            );
        }
    }

    /// A call of it broke, for which it may be at fault.
    pub(crate) fn broke(&self, at: Millis, fault: &PluginFault) {
        self.status().fault = Some((at, fault.to_string()));
    }

    /// The last fault, for listings.
    pub(crate) fn last_fault(&self) -> Option<(Millis, String)> {
        self.status().fault.clone()
    }

    /// Notes whether it likes its settings, as far as a call tells: they all begin with
    /// `configure`.
    pub(crate) fn note_configure<T>(&self, result: &Result<T, PluginFault>) {
        let refusal = match result {
            Ok(_) => None,
            Err(fault) if fault.blame == Blame::Guest && fault.export == Export::Configure => {
                Some(format!("it refuses its settings: {fault}"))
            }
            Err(_) => return,
        };
        self.status().refusal = refusal;
    }

    /// What the one before it said of the same settings holds for the same version.
    pub(crate) fn note_configure_of(&self, before: &Self) {
        if self.digest == before.digest && self.settings.config.settings == before.settings.config.settings {
            let known = before.status().refusal.clone();
            self.status().refusal = known;
        }
    }

    /// Why it is of no use.
    pub(crate) fn problem(&self) -> Option<String> {
        match &self.policy {
            Err(why) => Some(why.clone()),
            Ok(_) => self.status().refusal.clone(),
        }
    }

    /// Whether it wants to hear of outcomes.
    pub(crate) fn listens(&self) -> bool {
        self.policy.as_ref().is_ok_and(|policy| policy.exports(Export::Observe))
    }

    /// The plugin's data for one call, and the record of what is read there if that is recorded.
    /// What `configure` reads is recorded whatever the call is for: the instance may stay, and
    /// answer other calls.
    pub(crate) fn data(&self) -> (Option<Arc<RecordedReads>>, Arc<dyn KeyValues>) {
        let reads = self.recording.as_ref().and_then(|recording| recording.recorded_reads(&self.data));
        let data: Arc<dyn KeyValues> = match &reads {
            Some(reads) => reads.clone(),
            None => self.data.clone(),
        };
        (reads, data)
    }

    /// For listings and metrics: `closed` calls, `open` does not, `half-open` tries; and how often
    /// it opened.
    pub(crate) fn breaker(&self) -> (&'static str, u64) {
        let status = self.status();
        let state = match status.breaker.state() {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half-open",
        };
        (state, status.breaker.opened())
    }

    /// Calls that the quota of CPU time did not allow, and log lines that the quota of octets did
    /// not allow.
    pub(crate) fn over_quotas(&self) -> (u64, u64) {
        let status = self.status();
        (status.over_quota, status.log_dropped)
    }

    /// Passes on what it logged about a message. `dropped` lines were too many for one call.
    pub(crate) fn keep_log(&self, id: impl Display, lines: &[LogLine], dropped: u64, now: Duration) {
        if lines.is_empty() && dropped == 0 {
            return;
        }
        let id = id.to_string();
        let kept: Vec<&LogLine> = lines
            .iter()
            .take_while(|line| {
                let fits = self.log.has_some(now);
                if fits {
                    self.log.spend(line.text.len() as u64 + LOG_LINE, now);
                }
                fits
            })
            .collect();
        let over = (lines.len() - kept.len()) as u64;
        self.write_log(&id, &kept, dropped + over);
        let mut status = self.status();
        status.log_dropped += over;
        for line in kept {
            if status.lines.len() == LINES {
                status.lines.pop_front();
            }
            status.lines.push_back(format!("{id} {}", line.text));
        }
    }

    fn write_log(&self, id: &str, lines: &[&LogLine], dropped: u64) {
        let (tenant, plugin) = (&self.settings.config.tenant, &self.settings.config.name);
        for LogLine { level, text } in lines {
            match level {
                LogLevel::Debug => tracing::debug!(target: "relevo::plugin", id, tenant, plugin, "{text}"),
                LogLevel::Info => tracing::info!(target: "relevo::plugin", id, tenant, plugin, "{text}"),
                LogLevel::Warn => tracing::warn!(target: "relevo::plugin", id, tenant, plugin, "{text}"),
                LogLevel::Error => tracing::error!(target: "relevo::plugin", id, tenant, plugin, "{text}"),
            }
        }
        // Where lines are kept: a note for each message would be a log line again.
        if dropped > 0 && !lines.is_empty() {
            tracing::info!(target: "relevo::plugin", id, tenant, plugin, dropped, "more log lines than it may write");
        }
    }

    /// The last lines that it logged, each with the message.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.status().lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_settings;

    fn plugin(cpu: u64) -> ActivePlugin {
        let settings = test_settings::plugin("acme", |_| {});
        ActivePlugin::new(
            settings,
            String::new(),
            Err("none".into()),
            Arc::default(),
            Arc::new(Allowance::new(cpu)),
        )
    }

    #[test]
    fn log_octets_of_a_second_are_bounded_and_counted() {
        let plugin = plugin(1);
        let line = LogLine { level: LogLevel::Info, text: "l".repeat(1_024) };
        let lines = vec![line; 200];
        let now = Duration::from_secs(9);
        plugin.keep_log("1", &lines, 7, now);
        let fits = LOG_PER_SECOND.div_ceil(1_024 + LOG_LINE);
        assert_eq!(plugin.over_quotas(), (0, 200 - fits));
        assert_eq!(plugin.last_lines().len(), LINES);
        plugin.keep_log("2", &lines, 0, now);
        assert_eq!(plugin.over_quotas(), (0, 400 - fits));
        assert!(plugin.last_lines().iter().all(|line| line.starts_with("1 ")));
        // A second later it may write as much again.
        plugin.keep_log("3", &lines[..1], 0, now + Duration::from_millis(1_100));
        assert!(plugin.last_lines().iter().any(|line| line.starts_with("3 ")));
    }

    #[test]
    fn a_quota_that_is_used_up_is_no_fault() {
        let plugin = plugin(1_000);
        let now = Duration::from_secs(9);
        let permit = plugin.enter(now).expect("is called");
        plugin.cpu.spend(1_000, now);
        plugin.leave(permit, Some(false), now);
        for _ in 0..20 {
            assert_eq!(plugin.enter(now), Err(NotCalled::Quota));
        }
        assert_eq!((plugin.over_quotas(), plugin.breaker()), ((20, 0), ("closed", 0)));
        assert!(plugin.enter(now + Duration::from_millis(10)).is_ok(), "it comes back");
    }
}
