//! How a sending domain stands: gathers facts for [`relevo_doctor`], which judges them.

use std::sync::Arc;
use std::time::Duration;

use relevo_doctor::{Answer, Answers, Check, Question, Status, Subject, TrackingReply, examine};
use relevo_fetch::{FetchError, FetchLimits, FetchRequest, Fetcher, Method};
use relevo_resolve::{Found, LookUp, RecordKind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::reputation::KnownReputation;
use crate::settings::{Domain, Settings};

mod subject;

pub use relevo_doctor as doctor;
pub use relevo_doctor::{Certificate, ProviderRate};

/// How long the questions of one examination may take. What is not answered by then is unknown.
const PATIENCE: Duration = Duration::from_secs(25);
/// Questions of one examination at the same time.
const QUESTIONS: usize = 16;
/// Examinations at the same time: others wait.
const EXAMINATIONS: usize = 8;
/// How long a tracking host may take.
const REPLY: Duration = Duration::from_secs(10);

/// Certificates of the listeners. It may read files.
pub type Certificates = Arc<dyn Fn() -> Vec<Certificate> + Send + Sync>;

/// Examines domains.
#[derive(Clone)]
pub struct DomainHealth {
    look_up: Arc<dyn LookUp>,
    /// Asks tracking hosts. None: nobody asks them.
    fetcher: Option<Fetcher>,
    certificates: Certificates,
    clock: Arc<dyn Clock>,
    examining: Arc<Semaphore>,
}

/// How a domain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The domain.
    pub domain: String,
    /// The worst of all checks. What is unknown does not count.
    pub status: Status,
    /// Milliseconds since 1970.
    pub checked_at: i64,
    /// All checks.
    pub checks: Vec<Check>,
}

impl DomainHealth {
    /// `look_up` should remember nothing: somebody may have just published a record.
    #[must_use]
    pub fn new(
        look_up: Arc<dyn LookUp>,
        fetcher: Option<Fetcher>,
        certificates: Certificates,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let examining = Arc::new(Semaphore::new(EXAMINATIONS));
        Self { look_up, fetcher, certificates, clock, examining }
    }

    /// Examines a domain. `known` is what others think of it.
    pub async fn of(&self, domain: &Domain, settings: &Settings, known: KnownReputation) -> HealthReport {
        let _one = self.examining.acquire().await;
        let certificates = self.certificates.clone();
        let certificates = tokio::task::spawn_blocking(move || certificates()).await.unwrap_or_default();
        let checked_at = self.clock.now();
        let mut subject = subject::of(domain, settings);
        subject.certificates = certificates;
        (subject.rates, subject.listings, subject.snds) = (known.rates, known.listings, known.snds);
        subject.now = checked_at / 1_000;
        if let (Some(tracking), Some(url)) = (&mut subject.tracking, domain.tracking.as_ref().map(|t| &t.url))
        {
            tracking.reply = self.reply(url).await;
        }
        let checks = judged(&self.look_up, &subject).await;
        HealthReport { domain: domain.name.clone(), status: worst(&checks), checked_at, checks }
    }

    /// What a tracking host answers. Inner addresses are never connected to: tenants choose hosts.
    async fn reply(&self, url: &str) -> TrackingReply {
        let Some(fetcher) = &self.fetcher else { return TrackingReply::NotAsked };
        let url = format!("{url}/");
        let request = FetchRequest { method: Method::Get, url, headers: Vec::new(), body: Vec::new() };
        let limits = FetchLimits { time: REPLY, body: 4_096, cut: true, clear: true };
        match fetcher.send(request, limits).await {
            Ok(response) => TrackingReply::Answered(response.status),
            Err(FetchError::Tls { detail, .. }) => TrackingReply::Certificate(detail),
            Err(error) => TrackingReply::Unreachable(error.to_string()),
        }
    }
}

fn worst(checks: &[Check]) -> Status {
    let known = checks.iter().map(|check| check.status).filter(|status| *status != Status::Skip);
    known.max().unwrap_or(Status::Skip)
}

/// Asks until there is a judgement.
pub async fn judged(look_up: &Arc<dyn LookUp>, subject: &Subject) -> Vec<Check> {
    let end = Instant::now() + PATIENCE;
    let mut answers = Answers::default();
    loop {
        match examine(subject, &answers) {
            Ok(checks) => return checks,
            Err(questions) => ask(look_up, questions, end, &mut answers).await,
        }
    }
}

/// Asks, until `end`, and notes the answers.
pub(crate) async fn ask(
    look_up: &Arc<dyn LookUp>,
    questions: Vec<Question>,
    end: Instant,
    answers: &mut Answers,
) {
    let permits = Arc::new(Semaphore::new(QUESTIONS));
    let mut asked = JoinSet::new();
    for question in questions {
        // A task that breaks leaves this.
        answers.insert(question.clone(), Answer::Failed("the lookup broke".to_owned()));
        let (look_up, permits) = (look_up.clone(), permits.clone());
        asked.spawn(async move {
            let looked = async {
                let _one = permits.acquire().await;
                look_up.look_up(kind(question.kind), &question.name).await
            };
            let found = timeout_at(end, looked).await;
            (question, found.unwrap_or_else(|_| Found::Failed("DNS is too slow".to_owned())))
        });
    }
    while let Some(done) = asked.join_next().await {
        if let Ok((question, found)) = done {
            answers.insert(question, answer(found));
        }
    }
}

fn kind(kind: relevo_doctor::RecordKind) -> RecordKind {
    match kind {
        relevo_doctor::RecordKind::A => RecordKind::A,
        relevo_doctor::RecordKind::Aaaa => RecordKind::Aaaa,
        relevo_doctor::RecordKind::Caa => RecordKind::Caa,
        relevo_doctor::RecordKind::Mx => RecordKind::Mx,
        relevo_doctor::RecordKind::Ptr => RecordKind::Ptr,
        relevo_doctor::RecordKind::Txt => RecordKind::Txt,
    }
}

pub(crate) fn answer(found: Found) -> Answer {
    match found {
        Found::Records(records) => Answer::Found(records),
        Found::Nothing => Answer::Nothing,
        Found::Failed(detail) => Answer::Failed(detail),
    }
}
