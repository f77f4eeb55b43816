//! Reports are written once a day and sent.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_store::TlsStore;

use super::json::{Report, ReportSpan, compressed};
use super::mail::ReportMail;
use super::record::{ReportUri, find_targets};
use super::tally::{DomainTally, Tallies, day_of};

/// Days after which a report that cannot be sent is given up.
const GIVE_UP: i64 = 2;

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
pub struct Reporter {
    /// Its name.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// The address that reports come from.
    pub from: String,
    /// The host that counts.
    pub node: String,
}

impl Reporter {
    /// Sends the reports of days that are over. What cannot be sent is tried again at the next call,
    /// for two days. `random` makes the ids unique.
    pub async fn send_due(
        &self,
        (tallies, store): (&Tallies, &dyn TlsStore),
        carrier: &Arc<dyn ReportCarrier>,
        now: i64,
        random: &(dyn Fn() -> u64 + Send + Sync),
    ) {
        let today = day_of(now);
        for (day, domain, tally) in tallies.due(today) {
            let id = format!("{day}.{:016x}", random());
            let done = match self.send(carrier, (day, &domain, &tally), &id, now).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(target: "relevo::tls", %domain, %error, "a TLS report cannot be sent");
                    day < today - GIVE_UP
                }
            };
            if done {
                tallies.forget(day, &domain);
                if let Err(error) = store.delete_tls_tally(day, &domain, &self.node).await {
                    tracing::error!(target: "relevo::tls", %error, %domain, "a tally cannot be deleted");
                }
            }
        }
    }

    /// To each place; one that took it is enough.
    async fn send(
        &self,
        carrier: &Arc<dyn ReportCarrier>,
        (day, domain, tally): (i64, &str, &DomainTally),
        id: &str,
        now: i64,
    ) -> Result<(), String> {
        let texts = carrier.txt(&format!("_smtp._tls.{domain}")).await?;
        let Some(targets) = find_targets(&texts) else { return Ok(()) };
        let span = ReportSpan { day };
        let (organization, contact) = (self.organization.as_str(), self.contact.as_str());
        let report = Report { organization, contact, id, domain, span, tally };
        let gzip = compressed(&report.to_json()).map_err(|error| error.to_string())?;
        let submitter = self.from.rsplit_once('@').map_or(self.node.as_str(), |(_, domain)| domain);
        let mut result = Err("there is no place".to_owned());
        for target in targets.0 {
            let sent = match &target {
                ReportUri::Https(url) => carrier.post(url, &gzip).await,
                ReportUri::Mail(to) => {
                    let now = now.div_euclid(1_000);
                    let (from, gzip) = (self.from.as_str(), gzip.as_slice());
                    let mail = ReportMail { from, to, domain, submitter, id, span, gzip, now };
                    carrier.mail(to, mail.compose(), &mail.message_id(), &mail.subject()).await
                }
            };
            match sent {
                Ok(()) => result = Ok(()),
                Err(error) if result.is_err() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use relevo_store::{ControlStoreError, StsPolicyRecord, TlsTallyRecord};

    use super::super::{PolicyKind, SessionOutcome, TallyPolicy};
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

        async fn stale_sts_policies(
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

    /// What is done at `now` about the counts of day 0, and whether they are gone then.
    async fn done(txt: Option<&'static str>, now: i64) -> (Vec<String>, bool) {
        let world = Arc::new(World { txt: Mutex::new(txt), log: Mutex::default() });
        let tallies = Tallies::default();
        let policy = TallyPolicy { kind: PolicyKind::None, lines: Vec::new(), mx: Vec::new() };
        tallies.count(1, "a.example", &policy, SessionOutcome::Success);
        let reporter = Reporter {
            organization: "Us".into(),
            contact: "us@mta.example".into(),
            from: "tls@mta.example".into(),
            node: "n".into(),
        };
        let carrier = world.clone() as Arc<dyn ReportCarrier>;
        reporter.send_due((&tallies, &*world), &carrier, now, &|| 7).await;
        let log = world.log.lock().clone();
        (log, tallies.due(100).is_empty())
    }

    #[tokio::test]
    async fn a_report_goes_to_each_place_when_its_day_is_over() {
        let both = Some("v=TLSRPTv1; rua=https://r.example/v1,mailto:r@a.example");
        assert_eq!(done(both, DAY - 1).await, (Vec::new(), false), "the day is not over");
        let sent = ["post https://r.example/v1", "mail r@a.example", "deleted 0 n"].map(str::to_owned);
        assert_eq!(done(both, DAY).await, (sent.to_vec(), true));
        assert_eq!(done(Some("v=spf1 -all"), DAY).await, (vec!["deleted 0 n".to_owned()], true));
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
}
