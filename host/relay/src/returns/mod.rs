//! Mail that comes back: delivery reports, complaints, automatic answers and ordinary mail to the
//! return domains.
//!
//! The SMTP intake takes a message only for an address that [`Returns::address`] knows. A message
//! is read in the sandbox, matched, and its event is written before it is answered. Nothing here
//! sends a report to anybody: a bounce of a bounce is never made.

mod feedback;
mod forward;
mod history;
mod metrics;
mod report;
mod signers;
mod spf;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relevo_delivery::Classify;
use relevo_mailkit::envelope::Recipient;
use relevo_mailkit::event::SpfVerdict;
use relevo_mailkit::reply::Reply;
use relevo_mailkit::returned::{ReturnedKind, ReturnedMail};
use relevo_mailkit::source::Source;
use relevo_mailkit::text::escaped;
use relevo_mailkit::token::return_path::ReturnClaims;
use relevo_queue::{EventLog, Queue, SpooledBody, StoreError};
use relevo_resolve::{LookUp, Resolve};
use relevo_runtime::Blame;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tracing::info;

pub use metrics::ReturnMetrics;

use crate::clock::{Clock, IdSource};
use crate::pipeline::Via;
use crate::sandbox::{Sandbox, WorkClass};
use crate::settings::{Network, OrdinaryMail, Settings};
use crate::token_buckets::TokenBuckets;

const MINUTE: Duration = Duration::from_secs(60);
/// Clients that have a rate of their own. All beyond them share one.
const MAX_RATES: usize = 10_000;
/// Messages that were relayed more often loop.
const MAX_RECEIVED: u32 = 50;
/// Locks by which reports about one message wait for each other.
const LOCKS: usize = 64;

/// The local parts beside return paths.
const FEEDBACK: &str = "fbl";
const POSTMASTERS: [&str; 2] = ["postmaster", "abuse"];

/// An address at a return domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnAddress {
    /// A genuine return path.
    ReturnPath(ReturnClaims),
    /// `fbl`: where feedback loops report to.
    Feedback,
    /// `postmaster` or `abuse`: for people.
    Postmaster,
}

/// Where a message came from, and whom it is for.
#[derive(Debug, Clone)]
pub struct Returned {
    /// The settings of its transaction.
    pub settings: Arc<Settings>,
    /// The address that it came to.
    pub to: ReturnAddress,
    /// The recipient as the client wrote it, for the Received field.
    pub recipient: Recipient,
    /// The protocol and the peer.
    pub via: Via,
    /// The peer's address.
    pub peer: IpAddr,
    /// MAIL had SMTPUTF8.
    pub smtputf8: bool,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// SPF of the transaction, once it is evaluated.
    pub spf: OnceCell<SpfVerdict>,
}

/// Hears of a complaint: the MX host that had taken the message, and the address that it came from
/// in the words of the reporter.
pub type HearComplaint = dyn Fn(&str, Option<IpAddr>) + Send + Sync;

/// What mail that comes back needs.
pub struct ReturnParts {
    /// Forwarded mail goes here, and recipients are looked up here.
    pub queue: Arc<dyn Queue>,
    /// Events are read and written here.
    pub events: Arc<dyn EventLog>,
    /// Reads reports and checks signatures.
    pub sandbox: Sandbox,
    /// Has the keys of signatures.
    pub resolve: Arc<dyn Resolve>,
    /// Has the records of SPF.
    pub look_up: Arc<dyn LookUp>,
    /// Says what a diagnostic means.
    pub classify: Arc<dyn Classify>,
    /// Hears of each complaint that counts.
    pub complained: Arc<HearComplaint>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids of forwarded mail.
    pub ids: Arc<dyn IdSource>,
    /// Counters.
    pub metrics: ReturnMetrics,
}

/// Takes mail that comes back.
pub struct Returns {
    parts: ReturnParts,
    rate: TokenBuckets<()>,
    by_client: TokenBuckets<Network>,
    connections: Arc<AtomicUsize>,
    locks: [Mutex<()>; LOCKS],
    evaluating: Semaphore,
}

/// A connection of a peer that is in no trusted network. Dropping it makes room for another.
#[derive(Debug)]
pub struct StrangerConnection(Arc<AtomicUsize>);

impl Drop for StrangerConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Returns {
    /// Takes mail for the return domains of each transaction's settings.
    #[must_use]
    pub fn new(parts: ReturnParts) -> Self {
        Self {
            parts,
            rate: TokenBuckets::new(MINUTE, 1),
            by_client: TokenBuckets::new(MINUTE, MAX_RATES),
            connections: Arc::default(),
            locks: std::array::from_fn(|_| Mutex::new(())),
            evaluating: Semaphore::new(spf::EVALUATIONS),
        }
    }

    /// Admits a connection of a stranger. None: there are too many.
    #[must_use]
    pub fn connect(&self, settings: &Settings) -> Option<StrangerConnection> {
        let max = settings.returns.max_connections;
        let add = |count: usize| (count < max).then_some(count + 1);
        let admitted = self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        admitted.ok().map(|_| StrangerConnection(self.connections.clone()))
    }

    /// Counts a message of a stranger, before it is known whether it can be taken.
    ///
    /// # Errors
    /// The reply when there were too many.
    pub fn admit(&self, settings: &Settings, peer: IpAddr) -> Result<(), Reply> {
        let now = self.parts.clock.monotonic();
        let limits = &settings.returns;
        let own = f64::from(limits.messages_per_minute_per_client);
        let all = f64::from(limits.messages_per_minute);
        if self.by_client.take(&Network::of_client(peer), own, now) && self.rate.take(&(), all, now) {
            return Ok(());
        }
        self.parts.metrics.message("too_many");
        Err(Reply::new(451, (4, 7, 1), "too many messages in a minute, try again later"))
    }

    /// What a recipient is to this relay: nothing where its domain is no return domain.
    ///
    /// # Errors
    /// The reply to an address at a return domain that does not exist.
    pub fn address(&self, settings: &Settings, to: &Recipient) -> Result<Option<ReturnAddress>, Reply> {
        let Some(domain) = settings.returns.domains.iter().find(|domain| **domain == to.domain) else {
            return Ok(None);
        };
        let local_part = to.address.rsplit_once('@').map_or(to.address.as_str(), |(local, _)| local);
        if let Some(claims) = settings.tracking_keys.verify_return_path(domain, local_part) {
            return Ok(Some(ReturnAddress::ReturnPath(claims)));
        }
        let local_part = local_part.to_ascii_lowercase();
        if local_part == FEEDBACK {
            return Ok(Some(ReturnAddress::Feedback));
        }
        if POSTMASTERS.contains(&local_part.as_str()) {
            return Ok(Some(ReturnAddress::Postmaster));
        }
        self.parts.metrics.message("no_such_address");
        Err(Reply::new(550, (5, 1, 1), "there is no such address here"))
    }

    /// Takes a message. A positive reply means that everything that follows from it is on disk.
    pub async fn receive(&self, returned: Returned, body: SpooledBody) -> Reply {
        if let Some(refusal) = self.refused_by_spf(&returned).await {
            self.parts.metrics.message("spf_fail");
            return refusal;
        }
        let source = Arc::clone(&body.source);
        let read = self
            .parts
            .sandbox
            .run(WorkClass::Accept, "", &source, |stages, message| stages.read_report(message));
        let mail = match read.await {
            Ok(mail) => mail,
            Err(fault) => {
                tracing::warn!(%fault, peer = %returned.peer, "a message that came back could not be read");
                self.parts.metrics.message("unreadable");
                return match fault.blame {
                    Blame::Guest => Reply::new(554, (5, 6, 0), "this message cannot be read"),
                    Blame::Host => local_error(),
                };
            }
        };
        if mail.received > MAX_RECEIVED {
            self.parts.metrics.message("loop");
            return Reply::new(554, (5, 4, 6), "this message was relayed too often");
        }
        let outcome = match mail.kind {
            ReturnedKind::DeliveryReport | ReturnedKind::PlainReport => {
                self.delivery_report(&returned, &mail, &source).await
            }
            ReturnedKind::Feedback => self.feedback(&returned, &mail, &source).await,
            ReturnedKind::AutoReply => Ok("auto_reply"),
            ReturnedKind::Ordinary => self.ordinary(&returned, body).await,
        };
        self.answer(&returned, &mail, outcome)
    }

    fn answer(
        &self,
        returned: &Returned,
        mail: &ReturnedMail,
        outcome: Result<&'static str, NotTaken>,
    ) -> Reply {
        let (result, reply) = match outcome {
            Ok(result) => (result, Reply::new(250, (2, 0, 0), "taken")),
            Err(NotTaken::Store(error)) => {
                tracing::error!(%error, "a message that came back could not be stored");
                ("failed", local_error())
            }
            Err(NotTaken::Nul) => ("refused", Reply::new(550, (5, 6, 0), "nul: a NUL octet")),
            Err(NotTaken::NoKey(name)) => {
                tracing::warn!(name, "DNS did not answer for the key of a feedback report");
                ("failed", Reply::new(451, (4, 4, 3), "the key of the signature cannot be looked up now"))
            }
        };
        self.parts.metrics.message(result);
        info!(
            peer = %returned.peer,
            kind = ?mail.kind,
            reporter = %escaped(&mail.reporter, 255),
            subject = %escaped(&mail.subject, 200),
            result,
            "a message came back"
        );
        reply
    }

    /// Mail that is no report. Mail to the postmaster is always forwarded.
    async fn ordinary(&self, returned: &Returned, body: SpooledBody) -> Result<&'static str, NotTaken> {
        let is_for_people = returned.to == ReturnAddress::Postmaster;
        if !is_for_people && returned.settings.returns.ordinary_mail == OrdinaryMail::Drop {
            return Ok("dropped");
        }
        self.forward(returned, body).await?;
        Ok("forwarded")
    }

    /// The return path that a report is about: the one that it came to, or one that the returned
    /// message has, if it is genuine.
    fn claims(&self, returned: &Returned, mail: &ReturnedMail) -> Option<ReturnClaims> {
        if let ReturnAddress::ReturnPath(claims) = returned.to {
            return Some(claims);
        }
        let settings = &returned.settings;
        let mail_from = mail.feedback.as_ref().map_or("", |feedback| &feedback.mail_from);
        [mail.original.return_path.as_str(), mail_from].iter().find_map(|address| {
            let found = settings.tracking_keys.verify_return_address(&settings.returns.domains, address);
            found.map(|(_, claims)| claims)
        })
    }

    /// The lock of reports about a message: of two that come at once, one sees the event of the
    /// other.
    fn lock(&self, message: [u8; 16]) -> &Mutex<()> {
        &self.locks[usize::from(message[15]) % LOCKS]
    }

    /// The domains whose signatures verify. Errors only for keys that the complaint needs.
    async fn signers(
        &self,
        returned: &Returned,
        mail: &ReturnedMail,
        message: &Arc<dyn Source>,
    ) -> Result<Vec<String>, NotTaken> {
        let Some(keys) = signers::keys(&*self.parts.resolve, &mail.key_names).await else {
            let trusts = |name: &&String| {
                let domain = name.split_once("._domainkey.").map(|(_, domain)| domain);
                domain.is_some_and(|domain| feedback::may_complain(returned, mail, domain))
            };
            return match mail.key_names.iter().find(trusts) {
                Some(name) if mail.kind == ReturnedKind::Feedback => Err(NotTaken::NoKey(name.clone())),
                _ => Ok(Vec::new()),
            };
        };
        Ok(signers::verified(&self.parts.sandbox, keys, message, self.parts.clock.now()).await)
    }
}

/// Why a message is not taken now.
#[derive(Debug)]
enum NotTaken {
    /// The store failed.
    Store(StoreError),
    /// It has a NUL octet, and would be passed on.
    Nul,
    /// The key of a feedback source's signature could not be looked up.
    NoKey(String),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn local_error() -> Reply {
    Reply::new(451, (4, 3, 0), "local error, try again later")
}

#[cfg(test)]
pub(crate) mod tests;
