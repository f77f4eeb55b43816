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
