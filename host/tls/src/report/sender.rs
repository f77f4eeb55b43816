//! Reports are written once a day and sent.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use relevo_store::TlsStore;
use tokio::time::timeout;

use super::json::{Report, ReportSpan, compressed};
use super::mail::ReportMail;
use super::places::PlaceCounts;
use super::record::{ReportUri, find_targets};
use super::tally::{DomainTally, Tallies, day_of};

/// Days after which a report that cannot be sent is given up.
const GIVE_UP: i64 = 2;
/// A report that could not be sent is tried again after this, in milliseconds.
const RETRY: i64 = 3_600_000;
/// Reports of one call.
const ROUND: usize = 64;
/// Reports that are sent at the same time. Each is 2 KiB in gzip, as a rule.
const AT_ONCE: usize = 16;
/// Time for DNS, and for each place. Whoever hangs holds up one of [`AT_ONCE`] for twice that.
const TIME: Duration = Duration::from_secs(30);

/// Takes reports to where they go.
#[async_trait]
pub trait ReportCarrier: Send + Sync {
    /// TXT records of a name.
    ///
    /// # Errors
    /// DNS did not answer, in words.
    async fn txt(&self, name: &str) -> Result<Vec<String>, String>;

    /// Queues a mail to an address: its bytes, its Message-ID and its subject.
    ///
    /// # Errors
    /// It cannot be queued, in words.
    async fn mail(&self, to: &str, bytes: Vec<u8>, id: &str, subject: &str) -> Result<(), String>;

    /// Posts a report in gzip, as `application/tlsrpt+gzip`.
    ///
    /// # Errors
    /// It was not taken, in words.
    async fn post(&self, url: &str, gzip: &[u8]) -> Result<(), String>;
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReporterName {
    /// Its name.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// The address that reports come from.
    pub from: String,
    /// The host that counts.
    pub node: String,
}

/// Sends reports, and knows how many each place got.
#[derive(Debug)]
pub struct Reporter {
    name: ReporterName,
    places: PlaceCounts,
}

/// A report that is due.
struct DueReport<'a> {
    day: i64,
    domain: &'a str,
    id: String,
    now: i64,
}

impl Reporter {
    /// With the name that reports bear.
    #[must_use]
    pub fn new(name: ReporterName) -> Self {
        Self { name, places: PlaceCounts::default() }
    }

    /// Sends reports that are due, some at a time and at most [`ROUND`] in a call. Those that cannot
    /// be sent are due again in an hour, for two days. Returns true if there may be more. `random`
    /// makes the ids unique.
    pub async fn send_due(
        &self,
        (tallies, store): (&Tallies, &dyn TlsStore),
        carrier: &dyn ReportCarrier,
        now: i64,
        random: &(dyn Fn() -> u64 + Send + Sync),
    ) -> bool {
        let due = tallies.due(&self.name.node, now, ROUND);
        let is_full = due.len() == ROUND;
        let each = due.into_iter().map(|(day, domain)| {
            let id = format!("{day}.{:016x}", random());
            async move {
                let due = DueReport { day, domain: &domain, id, now };
                self.send_one((tallies, store), carrier, &due).await;
            }
        });
        futures::stream::iter(each).for_each_concurrent(AT_ONCE, |one| one).await;
        is_full
    }

    async fn send_one(
        &self,
        (tallies, store): (&Tallies, &dyn TlsStore),
        carrier: &dyn ReportCarrier,
        due: &DueReport<'_>,
    ) {
        let DueReport { day, domain, now, .. } = *due;
        let Some(tally) = tallies.of(day, domain) else { return };
        if let Err(error) = self.send(carrier, due, &tally).await {
            tracing::warn!(target: "relevo::tls", %domain, %error, "a TLS report cannot be sent");
            if day >= day_of(now) - GIVE_UP {
                tallies.retry(day, domain, now.saturating_add(RETRY));
                return;
            }
        }
        tallies.forget(day, domain);
        if let Err(error) = store.delete_tls_tally(day, domain, &self.name.node).await {
            tracing::error!(target: "relevo::tls", %error, %domain, "a tally cannot be deleted");
        }
    }

    /// To all places at the same time; one that took it is enough.
    async fn send(
        &self,
        carrier: &dyn ReportCarrier,
        due: &DueReport<'_>,
        tally: &DomainTally,
    ) -> Result<(), String> {
        let name = format!("_smtp._tls.{}", due.domain);
        let texts = timeout(TIME, carrier.txt(&name)).await.map_err(|_| "DNS was too slow".to_owned())??;
        let Some(targets) = find_targets(&texts) else { return Ok(()) };
        let ReporterName { organization, contact, .. } = &self.name;
        let (span, id, domain) = (ReportSpan { day: due.day }, due.id.as_str(), due.domain);
        let report = Report { organization, contact, id, domain, span, tally };
        let gzip = compressed(&report.to_json()).map_err(|error| error.to_string())?;
        let sent = targets.0.iter().map(|target| self.send_to(carrier, target, due, &gzip));
        let results = futures::future::join_all(sent).await;
        let is_taken = results.iter().any(Result::is_ok);
        let error = results.into_iter().find_map(Result::err).filter(|_| !is_taken);
        error.map_or(Ok(()), Err)
    }

    async fn send_to(
        &self,
        carrier: &dyn ReportCarrier,
        target: &ReportUri,
        due: &DueReport<'_>,
        gzip: &[u8],
    ) -> Result<(), String> {
        let DueReport { day, domain, ref id, now } = *due;
        if !self.places.admit(target, domain, now) {
            tracing::warn!(
                target: "relevo::tls", %domain, place = ?target,
                "a TLS report is not sent: the place had enough of other domains today",
            );
            return Ok(());
        }
        let sending = async {
            match target {
                ReportUri::Https(url) => carrier.post(url, gzip).await,
                ReportUri::Mail(to) => {
                    let ReporterName { from, node, .. } = &self.name;
                    let submitter = from.rsplit_once('@').map_or(node.as_str(), |(_, domain)| domain);
                    let (span, now) = (ReportSpan { day }, now.div_euclid(1_000));
                    let mail = ReportMail { from, to, domain, submitter, id, span, gzip, now };
                    carrier.mail(to, mail.compose(), &mail.message_id(), &mail.subject()).await
                }
            }
        };
        timeout(TIME, sending).await.unwrap_or_else(|_| Err("it was too slow".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use relevo_store::{ControlStoreError, StsPolicyRecord, TlsTallyRecord};

    use super::super::{PolicyKind, SessionOutcome, TallyPolicy, report_delay};
    use super::*;

    const DAY: i64 = 86_400_000;

    /// What was sent and deleted, in order.
    #[derive(Default)]
    struct World {
        txt: Mutex<Option<&'static str>>,
        log: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl ReportCarrier for World {
        async fn txt(&self, name: &str) -> Result<Vec<String>, String> {
            if name.contains("hangs") {
                return std::future::pending().await;
            }
            assert_eq!(name, "_smtp._tls.a.example");
            let text = self.txt.lock().ok_or_else(|| "SERVFAIL".to_owned())?;
            Ok(vec![text.to_owned()])
        }

        async fn mail(&self, to: &str, bytes: Vec<u8>, id: &str, subject: &str) -> Result<(), String> {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            assert!(text.contains(&format!("Message-ID: <{id}>")) && subject.contains("a.example"));
            self.log.lock().push(format!("mail {to}"));
            Ok(())
        }

        async fn post(&self, url: &str, gzip: &[u8]) -> Result<(), String> {
            assert_eq!(gzip[..2], [0x1f, 0x8b], "gzip");
            self.log.lock().push(format!("post {url}"));
            Err("503".to_owned())
        }
    }

    #[async_trait]
    impl TlsStore for World {
        async fn sts_policy(&self, _: &str, _: i64) -> Result<Option<StsPolicyRecord>, ControlStoreError> {
            Ok(None)
        }

        async fn put_sts_policy(&self, _: &StsPolicyRecord) -> Result<(), ControlStoreError> {
            Ok(())
        }

        async fn take_stale_sts_policies(
            &self,
            _: i64,
            _: i64,
            _: u32,
        ) -> Result<Vec<StsPolicyRecord>, ControlStoreError> {
            Ok(Vec::new())
        }

        async fn count_sts_policies(&self) -> Result<u64, ControlStoreError> {
            Ok(0)
        }

        async fn tls_tallies(&self, _: &str) -> Result<Vec<TlsTallyRecord>, ControlStoreError> {
            Ok(Vec::new())
        }

        async fn put_tls_tallies(&self, _: &[TlsTallyRecord]) -> Result<(), ControlStoreError> {
            Ok(())
        }

        async fn delete_tls_tally(&self, day: i64, _: &str, node: &str) -> Result<(), ControlStoreError> {
            self.log.lock().push(format!("deleted {day} {node}"));
            Ok(())
        }
    }

    fn reporter() -> Reporter {
        Reporter::new(ReporterName {
            organization: "Us".into(),
            contact: "us@mta.example".into(),
            from: "tls@mta.example".into(),
            node: "n".into(),
        })
    }

    fn count(tallies: &Tallies, domain: &str) {
        let policy = TallyPolicy { kind: PolicyKind::None, lines: Vec::new(), mx: Vec::new() };
        tallies.count(1, domain, &Arc::new(policy), SessionOutcome::Success);
    }

    /// What is done at `now` about the counts of day 0, and whether they are gone then.
    async fn done(txt: Option<&'static str>, now: i64) -> (Vec<String>, bool) {
        let world = World { txt: Mutex::new(txt), log: Mutex::default() };
        let tallies = Tallies::default();
        count(&tallies, "a.example");
        reporter().send_due((&tallies, &world), &world, now, &|| 7).await;
        let log = world.log.lock().clone();
        (log, tallies.of(0, "a.example").is_none())
    }

    #[tokio::test]
    async fn a_report_goes_to_each_place_when_its_day_is_over() {
        let both = Some("v=TLSRPTv1; rua=https://r.example/v1,mailto:r@a.example");
        let due = DAY + report_delay("n", "a.example");
        assert_eq!(done(both, due - 1).await, (Vec::new(), false), "it is not due");
        let sent = ["post https://r.example/v1", "mail r@a.example", "deleted 0 n"].map(str::to_owned);
        assert_eq!(done(both, due).await, (sent.to_vec(), true));
        assert_eq!(done(Some("v=spf1 -all"), due).await, (vec!["deleted 0 n".to_owned()], true));
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_tried_for_two_days() {
        let post = Some("v=TLSRPTv1; rua=https://r.example/v1");
        for (txt, tried) in [(post, vec!["post https://r.example/v1".to_owned()]), (None, Vec::new())] {
            assert_eq!(done(txt, 2 * DAY).await, (tried.clone(), false));
            let (log, is_gone) = done(txt, 3 * DAY).await;
            assert_eq!((log.last().map(String::as_str), is_gone), (Some("deleted 0 n"), true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn domains_that_hang_hold_up_others_for_a_bounded_time() {
        let txt = Some("v=TLSRPTv1; rua=mailto:r@a.example");
        let world = World { txt: Mutex::new(txt), log: Mutex::default() };
        let (tallies, reporter) = (Tallies::default(), reporter());
        // More than one round, all due before the one that answers.
        for number in 0..200 {
            count(&tallies, &format!("{number}.hangs.example"));
        }
        count(&tallies, "a.example");
        tallies.retry(0, "a.example", 2 * DAY);
        let begun = tokio::time::Instant::now();
        while reporter.send_due((&tallies, &world), &world, 2 * DAY, &|| 7).await {}
        assert!(world.log.lock().contains(&"mail r@a.example".to_owned()));
        let rounds = 201_u32.div_ceil(u32::try_from(AT_ONCE).unwrap()) + 4;
        assert!(begun.elapsed() <= TIME * rounds, "{:?}", begun.elapsed());
        assert_eq!(tallies.due("n", 2 * DAY + RETRY, 999).len(), 200, "they are tried again");
    }
}
