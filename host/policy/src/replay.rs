//! `relevo plugin replay`: recorded messages are judged again, by any version, and nothing comes of
//! it but a report.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{Body, CallOutcome, Case, Export, Judgement, Policy};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, hex};
use crate::kv::KvData;
use crate::lifecycle::Lifecycle;
use crate::record::{self, KeptBody, RecordedAnswer, Recording, ReplayReads, StoredRecording, difference};

/// Differences and faults that are reported with their message: the last ones.
const KEPT: usize = 100;
/// After so long it ends where it is, and says so.
const MOST: Duration = Duration::from_secs(300);

/// Between two tries while the tenant's threads are busy, and the longest that they may stay so.
const AGAIN: Duration = Duration::from_millis(10);
const BUSY: Duration = Duration::from_secs(30);

/// What is replayed against.
struct ReplayedVersion {
    settings: Arc<PluginSettings>,
    digest: String,
    /// Keeps the compiled code in memory: each message gets a plugin of its own made of it.
    policy: Arc<dyn Policy>,
    /// For what was not recorded.
    today: Arc<KvData>,
}

#[derive(Default)]
struct ReplayReport {
    /// Of the version.
    digest: String,
    /// Judged again.
    replayed: u64,
    same: u64,
    differing: u64,
    /// The version broke on them; they are among the same when the recorded one broke alike.
    faults: u64,
    /// The body was left out because it is too large, or too much data was read: it cannot be
    /// judged again.
    not_replayable: u64,
    /// A crash or the disk: no recording any more.
    damaged: u64,
    redacted: u64,
    /// Of those that were judged again: without a body, by a version that inspects bodies.
    without_body: u64,
    /// Read something of the data that was not recorded; it got that of today.
    other_data: u64,
    /// Recorded when the plugin was told other settings.
    other_settings: u64,
    /// Why it did not come to the end.
    stopped: Option<String>,
    last: VecDeque<Value>,
}

/// See the module.
pub(crate) struct Replays {
    lifecycle: Arc<Lifecycle>,
    /// One at a time.
    running: Mutex<()>,
}

impl Replays {
    pub(crate) fn new(lifecycle: Arc<Lifecycle>) -> Self {
        Self { lifecycle, running: Mutex::default() }
    }

    /// Asks about the messages one after the other, with a pause after each as long as it took.
    pub(crate) async fn replay(
        &self,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
        last: Option<usize>,
        component: Vec<u8>,
    ) -> Result<Value, ActionError> {
        let lifecycle = &self.lifecycle;
        let settings = lifecycle.configured(tenant, plugin)?;
        let Ok(_running) = self.running.try_lock() else {
            return Err(ActionError::Busy("another replay is under way".to_owned()));
        };
        let Some(record) = settings.record else {
            let reason = format!("nothing is recorded for `{plugin}`: set `record` in its configuration");
            return Err(ActionError::Refused(reason));
        };
        let (loader, of, name) = (Arc::clone(&lifecycle.loader), tenant.to_owned(), plugin.to_owned());
        let found = blocking(move || {
            let found = loader.recordings(&of, &name, record);
            found.map_err(|e| ActionError::Failed(format!("the recordings cannot be read: {e}")))
        });
        let mut stored = found.await?;
        if let Some(last) = last {
            stored.drain(..stored.len().saturating_sub(last));
        }
        let report = if component.is_empty() {
            let digest = lifecycle.stored(tenant, plugin, digest).await?;
            self.replay_all(&settings, &digest, None, stored).await?
        } else if digest.is_some() {
            return Err(ActionError::Refused("either a digest or a component, not both".to_owned()));
        } else {
            self.try_component(&settings, component, stored).await?
        };
        tracing::info!(tenant, plugin, report.digest, replayed = report.replayed, "a plugin was replayed");
        Ok(report.shown(tenant, plugin))
    }

    /// With a component that is not added: it goes the way of an upload, and is removed afterwards.
    async fn try_component(
        &self,
        settings: &Arc<PluginSettings>,
        wasm: Vec<u8>,
        stored: Vec<StoredRecording>,
    ) -> Result<ReplayReport, ActionError> {
        let (digest, wasm) = blocking(move || Ok((hex(&digest_of(&wasm)), Arc::new(wasm)))).await?;
        let tried = async {
            let policy = self.lifecycle.admit(settings, &digest, Arc::clone(&wasm)).await?;
            self.lifecycle.self_test(settings, &policy).await?;
            self.replay_all(settings, &digest, Some(wasm), stored).await
        };
        let report = tried.await;
        self.lifecycle.forget_unknown(digest).await;
        report
    }

    /// As far as it comes.
    async fn replay_all(
        &self,
        settings: &Arc<PluginSettings>,
        digest: &str,
        wasm: Option<Arc<Vec<u8>>>,
        stored: Vec<StoredRecording>,
    ) -> Result<ReplayReport, ActionError> {
        let policy = self.lifecycle.load_or_compile(settings, digest, wasm).await?;
        let today = self.lifecycle.data(settings).await.unwrap_or_default();
        let (settings, digest) = (Arc::clone(settings), digest.to_owned());
        let version = ReplayedVersion { settings, digest, policy, today };
        let mut report = ReplayReport { digest: version.digest.clone(), ..ReplayReport::default() };
        let clock = &self.lifecycle.clock;
        let began = clock.monotonic();
        for stored in stored {
            if clock.monotonic().saturating_sub(began) > MOST {
                report.stopped = Some("it took too long".to_owned());
            }
            if report.stopped.is_some() {
                break;
            }
            match blocking(move || Ok(stored.read())).await? {
                Some(recording) => self.replay_one(&version, recording, &mut report).await?,
                None => report.damaged += 1,
            }
        }
        Ok(report)
    }

    async fn replay_one(
        &self,
        version: &ReplayedVersion,
        recording: Recording,
        report: &mut ReplayReport,
    ) -> Result<(), ActionError> {
        let Recording { settings, redacted, message, body, reads, answer, .. } = recording;
        let inspects = version.policy.exports(Export::Inspect);
        let body = match body {
            KeptBody::Whole(octets) => octets,
            KeptBody::LeftOut if redacted || !inspects => Vec::new(),
            KeptBody::LeftOut => {
                report.not_replayable += 1;
                return Ok(());
            }
        };
        let reads = reads.unwrap_or_default();
        if reads.cut {
            report.not_replayable += 1;
            return Ok(());
        }
        let reads = Arc::new(ReplayReads::new(reads, Arc::clone(&version.today)));
        let (id, recipients) = (message.id.clone(), message.envelope.recipients.len());
        let case = Case {
            message: Arc::new(message),
            body: Body { source: Arc::new(body), offset: 0 },
            data: Some(reads.clone()),
        };
        let Some(outcome) = self.judge_when_idle(version, case).await? else {
            report.stopped = Some("the tenant's own mail leaves no time for it".to_owned());
            return Ok(());
        };
        if let Err(fault) = &outcome.result
            && fault.blame == Blame::Host
        {
            tracing::warn!(%fault, "a replay cannot go on");
            report.stopped = Some(format!("the host could not run it: {fault}"));
            return Ok(());
        }
        let Some(now) = RecordedAnswer::of(&outcome.result) else { return Ok(()) };
        report.replayed += 1;
        report.redacted += u64::from(redacted);
        report.without_body += u64::from(redacted && inspects);
        report.other_data += u64::from(reads.read_more());
        report.other_settings += u64::from(settings != version.settings_fingerprint());
        report.note(&id, recipients, &answer, &now, outcome.result.err().map(|fault| fault.to_string()));
        tokio::time::sleep(outcome.cost.wall).await;
        Ok(())
    }

    /// Asks a fresh instance: what a warm one keeps in its memory is of another message's data.
    /// Waits while the tenant's share of the threads is busy, or less than half of its CPU time is
    /// left. Returns none if it stays so.
    async fn judge_when_idle(
        &self,
        version: &ReplayedVersion,
        case: Case,
    ) -> Result<Option<CallOutcome<Judgement>>, ActionError> {
        let Lifecycle { loader, active, clock, .. } = self.lifecycle.as_ref();
        let policy = loader.load(&version.settings, &version.digest);
        let policy = policy.map_err(|e| ActionError::Refused(e.to_string()))?;
        let cpu = active.cpu(&version.settings.config.tenant, version.settings.tenant_cpu);
        let began = clock.monotonic();
        loop {
            let now = clock.monotonic();
            if cpu.has_half(now)
                && let Some(outcome) = policy.judge_if_idle(case.clone()).await
            {
                cpu.spend(u64::try_from(outcome.cost.cpu.as_nanos()).unwrap_or(u64::MAX), now);
                return Ok(Some(outcome));
            }
            if now.saturating_sub(began) > BUSY {
                return Ok(None);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl ReplayedVersion {
    fn settings_fingerprint(&self) -> String {
        record::fingerprint(&self.settings.config.settings)
    }
}

impl ReplayReport {
    fn note(
        &mut self,
        id: &str,
        recipients: usize,
        then: &RecordedAnswer,
        now: &RecordedAnswer,
        fault: Option<String>,
    ) {
        self.faults += u64::from(fault.is_some());
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        let Some((recipient, differing)) = difference(recipients, then, now) else {
            self.same += 1;
            return;
        };
        self.differing += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(json!({
            "message": id,
            "recipient": recipient,
            "recipients": differing,
            "recorded": then.in_short(recipient),
            "replayed": now.in_short(recipient),
            "fault": fault,
        }));
    }

    fn shown(&self, tenant: &str, plugin: &str) -> Value {
        json!({
            "tenant": tenant,
            "plugin": plugin,
            "digest": self.digest,
            "finished": self.stopped.is_none(),
            "stopped": self.stopped,
            "replayed": self.replayed,
            "same": self.same,
            "differing": self.differing,
            "faults": self.faults,
            "not_replayable": self.not_replayable,
            "damaged": self.damaged,
            "redacted": self.redacted,
            "without_body": self.without_body,
            "other_data": self.other_data,
            "other_settings": self.other_settings,
            "differences": self.last,
        })
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::policy::{Decision, Override, Verdict};
    use relevo_mailkit::reply::Reply;

    use super::*;

    fn reject(code: u16, text: &str) -> Verdict {
        Verdict::Reject(Reply {
            code,
            enhanced: format!("{}.7.1", code / 100).parse().ok(),
            text: text.into(),
        })
    }

    fn answer(all: Verdict, overrides: &[(u32, Verdict)]) -> RecordedAnswer {
        let mut decision = Decision::from(all);
        decision.overrides = overrides
            .iter()
            .map(|(recipient, v)| Override { recipient: *recipient, verdict: v.clone() })
            .collect();
        RecordedAnswer::Verdicts((&decision).into())
    }

    #[test]
    fn verdicts_are_compared_for_each_recipient() {
        let accept = answer(Verdict::Accept, &[]);
        let held =
            answer(Verdict::Accept, &[(1, Verdict::Hold("why".into())), (2, Verdict::Discard("x".into()))]);
        assert_eq!(difference(3, &accept, &accept), None);
        assert_eq!(difference(3, &accept, &held), Some((1, 2)));
        assert_eq!(difference(1, &accept, &held), None, "of a recipient that is not there");
        let spelt = (answer(reject(550, "no"), &[]), answer(reject(550, "never"), &[]));
        assert_eq!(difference(1, &spelt.0, &spelt.1), None, "words are not compared");
        assert_eq!(difference(1, &spelt.0, &answer(reject(450, "no"), &[])), Some((0, 1)));
        let broke = RecordedAnswer::Fault("decide: trap (guest)".into());
        assert_eq!(difference(2, &accept, &broke), Some((0, 2)));
        assert_eq!(difference(2, &broke, &broke), None);
    }

    #[test]
    fn the_report_names_the_last_differences() {
        let mut report = ReplayReport::default();
        let (then, now) = (answer(Verdict::Accept, &[]), answer(reject(550, "no"), &[]));
        report.note("a", 1, &then, &then, None);
        for n in 0..KEPT + 3 {
            report.note(&n.to_string(), 1, &then, &now, None);
        }
        report.note(
            "last",
            1,
            &then,
            &RecordedAnswer::Fault("decide: trap (guest)".into()),
            Some("trapped".into()),
        );
        let shown = report.shown("acme", "list");
        assert_eq!(
            (&shown["same"], &shown["differing"], &shown["faults"]),
            (&json!(1), &json!(KEPT + 4), &json!(1))
        );
        let differences = shown["differences"].as_array().expect("a list");
        assert_eq!(differences.len(), KEPT);
        assert_eq!(differences[KEPT - 2]["replayed"], "reject 550 5.7.1");
        assert_eq!(differences[KEPT - 1]["replayed"], "fault: decide: trap (guest)");
        assert_eq!(differences[KEPT - 1]["fault"], "trapped");
        assert_eq!((&shown["finished"], &shown["stopped"]), (&json!(true), &json!(null)));
        // What there is, though the host broke.
        report.stopped = Some("the host could not run it".to_owned());
        let shown = report.shown("acme", "list");
        assert_eq!((&shown["finished"], &shown["same"]), (&json!(false), &json!(1)));
    }
}
