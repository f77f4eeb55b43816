//! `relevo plugin replay`: recorded messages are judged again, by any version, and nothing comes of it but a report.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{Body, Case, Export, Judgement, Outcome, Policy};
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, hex};
use crate::kv::KvData;
use crate::plugins::Plugins;
use crate::record::{self, Answer, KeptBody, Recording, ReplayReads, StoredRecording, difference};
use crate::switch::no_version;

/// Differences and faults that are reported with their message: the last ones.
const KEPT: usize = 100;
/// After so long it ends where it is, and says so.
const MOST: Duration = Duration::from_secs(300);

/// Between two tries while the tenant's threads are busy, and the longest that they may stay so.
const AGAIN: Duration = Duration::from_millis(10);
const BUSY: Duration = Duration::from_secs(30);

/// What is replayed against.
struct Version {
    settings: Arc<PluginSettings>,
    digest: String,
    /// Keeps the compiled code in memory: each message gets a plugin of its own made of it.
    policy: Arc<dyn Policy>,
    /// For what was not recorded.
    today: Arc<KvData>,
}

#[derive(Default)]
struct Report {
    /// Judged again.
    replayed: u64,
    same: u64,
    differing: u64,
    /// The version broke on them; they are among the same when the recorded one broke alike.
    faults: u64,
    /// The body was left out because it is too large, or too much data was read: it cannot be judged again.
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

impl Plugins {
    /// One at a time; the messages one after the other, with a pause after each as long as it took.
    pub(crate) async fn replay(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
        last: Option<usize>,
        component: Vec<u8>,
    ) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let Ok(_turn) = self.replays.try_lock() else {
            return Err(ActionError::Busy("another replay is under way".to_owned()));
        };
        let Some(record) = settings.record else {
            let reason = format!("nothing is recorded for `{plugin}`: set `record` in its configuration");
            return Err(ActionError::Refused(reason));
        };
        let (plugins, of, name) = (Arc::clone(self), tenant.to_owned(), plugin.to_owned());
        let found = blocking(move || {
            let found = plugins.recordings(&of, &name, record);
            found.map_err(|e| ActionError::Failed(format!("the recordings cannot be read: {e}")))
        });
        let mut stored = found.await?;
        if let Some(last) = last {
            stored.drain(..stored.len().saturating_sub(last));
        }
        let (tried, component) =
            blocking(move || Ok(((!component.is_empty()).then(|| hex(&digest_of(&component))), component)))
                .await?;
        if tried.is_some() && digest.is_some() {
            return Err(ActionError::Refused("either a digest or a component, not both".to_owned()));
        }
        // Nobody removes it while it is looked at.
        let pin = tried.as_deref().map(|digest| self.pins.pin(digest));
        let digest = match &tried {
            Some(tried) => self.try_component(&settings, tried, component).await.map(|()| tried.clone()),
            None => self.stored(tenant, plugin, digest).await,
        };
        let report = match &digest {
            Ok(digest) => self.replay_all(&settings, digest, stored).await,
            Err(error) => Err(error.clone()),
        };
        drop(pin);
        if let Some(tried) = tried {
            self.forget_unknown(tried).await;
        }
        let (digest, report) = (digest?, report?);
        tracing::info!(tenant, plugin, digest, replayed = report.replayed, "a plugin was replayed");
        Ok(report.shown(tenant, plugin, &digest))
    }

    /// A component that is not added: everything that is looked at before a version is used, and nothing is remembered.
    async fn try_component(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: &str,
        wasm: Vec<u8>,
    ) -> Result<(), ActionError> {
        let (of, name) = (Arc::clone(settings), digest.to_owned());
        let policy = self.work(move |plugins| plugins.admit(&of, &name, &wasm)).await?;
        self.self_test(settings, &policy).await
    }

    /// The digest of a version that was added before; the active one, when none is named.
    async fn stored(&self, tenant: &str, plugin: &str, digest: Option<&str>) -> Result<String, ActionError> {
        let state = self.state.lock().await;
        let entry = state.entry(tenant, plugin);
        let entry = entry.ok_or_else(|| no_version(plugin))?;
        match digest {
            Some(digest) => {
                entry.find(digest).map(|v| v.digest.clone()).map_err(|why| why.of(plugin, digest))
            }
            None => entry.active.clone().ok_or_else(|| no_version(plugin)),
        }
    }

    /// As far as it comes.
    async fn replay_all(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: &str,
        stored: Vec<StoredRecording>,
    ) -> Result<Report, ActionError> {
        let (of, name) = (Arc::clone(settings), digest.to_owned());
        let version = self.work(move |plugins| {
            let policy = plugins.load_or_compile(&of, &name)?;
            let today =
                plugins.place_with(Arc::clone(&of), String::new(), Ok(Arc::clone(&policy))).data.clone();
            Ok(Version { settings: of, digest: name, policy, today })
        });
        let version = version.await?;
        let mut report = Report::default();
        let began = self.monotonic();
        for stored in stored {
            if self.monotonic().saturating_sub(began) > MOST {
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
        self: &Arc<Self>,
        version: &Version,
        recording: Recording,
        report: &mut Report,
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
        let Some(now) = Answer::of(&outcome.result) else { return Ok(()) };
        report.replayed += 1;
        report.redacted += u64::from(redacted);
        report.without_body += u64::from(redacted && inspects);
        report.other_data += u64::from(reads.read_more());
        report.other_settings += u64::from(settings != version.settings_fingerprint());
        report.note(&id, recipients, &answer, &now, outcome.result.err().map(|fault| fault.to_string()));
        tokio::time::sleep(outcome.cost.wall).await;
        Ok(())
    }

    /// Asks a fresh instance: what a warm one keeps in its memory is of another message's data. Waits while the tenant's share of the
    /// threads is busy. Returns none if it stays so.
    async fn judge_when_idle(
        self: &Arc<Self>,
        version: &Version,
        case: Case,
    ) -> Result<Option<Outcome<Judgement>>, ActionError> {
        let policy = self.load(&version.settings, &version.digest);
        let policy = policy.map_err(|e| ActionError::Refused(e.to_string()))?;
        let began = self.monotonic();
        while self.monotonic().saturating_sub(began) < BUSY {
            if let Some(outcome) = policy.judge_if_idle(case.clone()).await {
                return Ok(Some(outcome));
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(None)
    }
}

impl Version {
    fn settings_fingerprint(&self) -> String {
        record::fingerprint(&self.settings.config.settings)
    }
}

impl Report {
    fn note(&mut self, id: &str, recipients: usize, then: &Answer, now: &Answer, fault: Option<String>) {
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

    fn shown(&self, tenant: &str, plugin: &str, digest: &str) -> Value {
        json!({
            "tenant": tenant,
            "plugin": plugin,
            "digest": digest,
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

    fn answer(all: Verdict, overrides: &[(u32, Verdict)]) -> Answer {
        let mut decision = Decision::from(all);
        decision.overrides = overrides
            .iter()
            .map(|(recipient, v)| Override { recipient: *recipient, verdict: v.clone() })
            .collect();
        Answer::Verdicts((&decision).into())
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
        let broke = Answer::Fault("decide: trap (guest)".into());
        assert_eq!(difference(2, &accept, &broke), Some((0, 2)));
        assert_eq!(difference(2, &broke, &broke), None);
    }

    #[test]
    fn the_report_names_the_last_differences() {
        let mut report = Report::default();
        let (then, now) = (answer(Verdict::Accept, &[]), answer(reject(550, "no"), &[]));
        report.note("a", 1, &then, &then, None);
        for n in 0..KEPT + 3 {
            report.note(&n.to_string(), 1, &then, &now, None);
        }
        report.note("last", 1, &then, &Answer::Fault("decide: trap (guest)".into()), Some("trapped".into()));
        let shown = report.shown("acme", "list", "aa");
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
        let shown = report.shown("acme", "list", "aa");
        assert_eq!((&shown["finished"], &shown["same"]), (&json!(false), &json!(1)));
    }
}
