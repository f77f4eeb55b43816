//! Attachments that a request names by URL.
//!
//! One HTTP request has one time and one number of octets for all that is fetched, however many
//! entries its batch has. It fetches one URL after another, and each URL once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_api::CheckedRequest;
use relevo_fetch::{FetchError, FetchLimits, FetchRequest, Fetcher, Method};
use relevo_mailkit::model::{Author, AuthorRole};
use relevo_submission::authority::authors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::{SendRefusal, Sender};
use crate::pipeline::{Origin, Rejection};

/// Octets of all attachments of a message.
const MAX_OCTETS: usize = 40_000_000;
/// Different URLs of an HTTP request.
const MAX_URLS: usize = 100;
/// Time for one URL.
const URL_TIME: Duration = Duration::from_secs(20);
/// Time for all URLs of an HTTP request, with the time that it waits for its turn.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// HTTP requests of a tenant that fetch, or hold what they fetched.
const TENANT_SLOTS: usize = 8;

/// A fetched attachment, or why there is none.
type Fetched = Result<Arc<Vec<u8>>, String>;

/// The places for HTTP requests that fetch, by tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct FetchSlots(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl FetchSlots {
    fn of(&self, tenant: &str) -> Arc<Semaphore> {
        let mut slots = self.0.lock();
        let slots = slots.entry(tenant.to_owned());
        Arc::clone(slots.or_insert_with(|| Arc::new(Semaphore::new(TENANT_SLOTS))))
    }
}

/// What one HTTP request fetches.
pub(super) struct Downloads {
    fetcher: Fetcher,
    slots: Arc<Semaphore>,
    /// Taken by the first URL, and kept as long as what was fetched.
    slot: Option<OwnedSemaphorePermit>,
    time: Duration,
    known: HashMap<String, Fetched>,
    /// `http` is allowed: for tests.
    clear: bool,
}

impl Downloads {
    /// Nothing is fetched yet.
    pub(super) fn new(fetcher: Fetcher, slots: &FetchSlots, tenant: &str) -> Self {
        let slots = slots.of(tenant);
        Self { fetcher, slots, slot: None, time: REQUEST_TIME, known: HashMap::new(), clear: false }
    }

    /// The octets of every attachment of `request` that has a URL; none for the others. What is
    /// fetched is taken from `octets`.
    pub(super) async fn load(
        &mut self,
        request: &CheckedRequest,
        octets: &mut u64,
    ) -> Result<Vec<Option<Arc<Vec<u8>>>>, SendRefusal> {
        let given: usize = request.attachments.iter().flatten().map(Vec::len).sum();
        let mut left = MAX_OCTETS.saturating_sub(given);
        let mut all = Vec::with_capacity(request.attachments.len());
        for (index, attachment) in request.request.attachments.iter().enumerate() {
            let Some(url) = &attachment.path else {
                all.push(None);
                continue;
            };
            let refuse = |reason| SendRefusal::invalid(format!("attachments[{index}].path"), reason);
            let found = self.get(url, octets).await?.map_err(refuse)?;
            let too_large = || format!("the attachments have more than {MAX_OCTETS} octets in all");
            left = left.checked_sub(found.len()).ok_or_else(|| refuse(too_large()))?;
            all.push(Some(found));
        }
        Ok(all)
    }

    async fn get(&mut self, url: &str, octets: &mut u64) -> Result<Fetched, SendRefusal> {
        if let Some(known) = self.known.get(url) {
            return Ok(known.clone());
        }
        let begun = Instant::now();
        if self.slot.is_none() {
            let slot = timeout(self.time, Arc::clone(&self.slots).acquire_owned()).await;
            self.slot = Some(slot.ok().and_then(Result::ok).ok_or_else(no_slot)?);
        }
        self.time = self.time.saturating_sub(begun.elapsed());
        let begun = Instant::now();
        let fetched = self.fetch(url, octets).await.map(Arc::new);
        self.time = self.time.saturating_sub(begun.elapsed());
        self.known.insert(url.to_owned(), fetched.clone());
        Ok(fetched)
    }

    async fn fetch(&self, url: &str, octets: &mut u64) -> Result<Vec<u8>, String> {
        if self.time.is_zero() {
            return Err(time_is_over());
        }
        let url = url.to_owned();
        let request = FetchRequest { method: Method::Get, url, headers: Vec::new(), body: Vec::new() };
        let room = usize::try_from(*octets).unwrap_or(usize::MAX);
        let (time, body) = (self.time.min(URL_TIME), room.min(MAX_OCTETS));
        let limits = FetchLimits { time, body, cut: false, clear: self.clear };
        let answer = self.fetcher.send(request, limits).await;
        let came = match &answer {
            Ok(answer) => answer.body.len(),
            Err(FetchError::TooLarge(most)) => *most,
            Err(_) => 0,
        };
        *octets = octets.saturating_sub(u64::try_from(came).unwrap_or(u64::MAX));
        match answer {
            Ok(answer) if answer.status == 200 => Ok(answer.body),
            Ok(answer) => Err(format!("the URL answers {}, not 200", answer.status)),
            Err(FetchError::Timeout(_)) if time < URL_TIME => Err(time_is_over()),
            Err(FetchError::TooLarge(most)) if most < MAX_OCTETS => {
                Err(format!("the answer has more than the {most} octets that are left for the request"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Before anything is fetched: refuses an author whose domain is not the tenant's.
pub(super) fn may_fetch(sender: &Sender, request: &CheckedRequest) -> Result<(), SendRefusal> {
    if request.request.attachments.iter().all(|attachment| attachment.path.is_none()) {
        return Ok(());
    }
    let (address, domain) = (request.from.to_string(), request.from.domain.clone());
    let author = Author { role: AuthorRole::From, address, domain: domain.clone() };
    let origin = Origin::Tenant(sender.tenant.clone());
    authors(&*sender.settings, &origin, Some(&domain), &[author])
        .map_err(|refused| SendRefusal::of_rejection(&Rejection::from(refused), "from"))?;
    Ok(())
}

/// Refuses a batch with too many different URLs.
pub(super) fn count_urls(requests: &[(CheckedRequest, usize)]) -> Result<(), SendRefusal> {
    let mut urls = HashSet::new();
    for (request, entry) in requests {
        for (index, attachment) in request.request.attachments.iter().enumerate() {
            urls.extend(attachment.path.as_deref());
            if urls.len() > MAX_URLS {
                let message = format!("the batch names more than {MAX_URLS} different URLs");
                return Err(SendRefusal::invalid(format!("[{entry}].attachments[{index}].path"), message));
            }
        }
    }
    Ok(())
}

fn time_is_over() -> String {
    format!("the {} seconds for all URLs of the request are over", REQUEST_TIME.as_secs())
}

fn no_slot() -> SendRefusal {
    let message = format!("{TENANT_SLOTS} requests with attachments by URL are under way, try again later");
    SendRefusal::TryLater { rule: "too-many-fetches".to_owned(), message }
}

#[cfg(test)]
mod tests;
