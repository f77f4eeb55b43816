//! What the API does with endpoints and deliveries. Every method stays within one tenant.

use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::webhook::WebhookSecret;
use relevo_queue::ItemId;
use relevo_store::{
    ControlStoreError, StoredSecret, StoredTag, WebhookAttempt, WebhookAttemptFilter, WebhookAttemptPlace,
    WebhookDelivery, WebhookDeliveryFilter, WebhookDeliveryPlace, WebhookEndpoint, WebhookSettings,
    WebhookStatus,
};

use crate::error::WebhookError;
use crate::post::post;
use crate::retry::millis;
use crate::sender::event;
use crate::shared::{Shared, parse_attempt_id, parse_delivery_id};
use crate::{body, validate};

/// Octets of a secret.
const SECRET: usize = 32;
/// Secrets that sign at the same time: more than one when they are rotated often.
const MAX_SECRETS: usize = 4;
/// Times that a change is tried when others change the same endpoint.
const TRIES: usize = 3;

/// Webhooks of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

/// An endpoint to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where events are posted to.
    pub url: String,
    /// Events are sent.
    pub enabled: bool,
    /// For people.
    pub description: String,
    /// Event types; empty: all.
    pub types: Vec<String>,
    /// Tags, of which a message must have one; empty: no condition.
    pub tags: Vec<StoredTag>,
    /// Streams; empty: all.
    pub streams: Vec<String>,
    /// Further fields of every request.
    pub headers: Vec<(String, String)>,
}

/// What changes of an endpoint. A field that is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Where events are posted to.
    pub url: Option<String>,
    /// Events are sent.
    pub enabled: Option<bool>,
    /// For people.
    pub description: Option<String>,
    /// Event types; empty: all.
    pub types: Option<Vec<String>>,
    /// Tags; empty: no condition.
    pub tags: Option<Vec<StoredTag>>,
    /// Streams; empty: all.
    pub streams: Option<Vec<String>>,
    /// Further fields of every request.
    pub headers: Option<Vec<(String, String)>>,
}

/// A delivery with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// The delivery.
    pub delivery: WebhookDelivery,
    /// It is being sent now.
    pub is_attempting: bool,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// Its `webhook-id`.
    pub id: String,
    /// Status of the answer; none: there was no answer.
    pub status: Option<i64>,
    /// The beginning of the answer's body, or the error.
    pub detail: String,
    /// The answer was 2xx.
    pub succeeded: bool,
    /// Time of the request.
    pub took: Duration,
}

impl Webhooks {
    pub(crate) fn with(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Makes an endpoint with a secret.
    ///
    /// # Errors
    /// A value is wrong, or the tenant has as many endpoints as it may.
    pub async fn create(&self, tenant: &str, new: NewWebhook) -> Result<WebhookEndpoint, WebhookError> {
        let now = self.0.now();
        let NewWebhook { url, enabled, description, types, tags, streams, headers } = new;
        let secrets = vec![StoredSecret { secret: new_secret()?, until: None }];
        let settings = WebhookSettings { description, types, tags, streams, headers, secrets };
        let endpoint = WebhookEndpoint {
            tenant: tenant.to_owned(),
            id: ItemId::new(now, random()?).to_string(),
            url,
            enabled,
            disabled_reason: None,
            failing_since: None,
            settings,
            created_at: now,
            version: 1,
        };
        self.check(&endpoint)?;
        let max = self.0.config.max_endpoints;
        if !self.0.endpoint_store.add_webhook_endpoint(&endpoint, max).await? {
            return Err(WebhookError::Conflict(format!(
                "there are {max} webhooks already: delete one first"
            )));
        }
        self.0.endpoints.put(endpoint.clone());
        Ok(endpoint)
    }

    /// Endpoints by id, those behind `after`, at most `max`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<WebhookEndpoint>, WebhookError> {
        Ok(self.0.endpoint_store.webhook_endpoints_of(tenant, after, max).await?)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<WebhookEndpoint, WebhookError> {
        let found = self.0.endpoint_store.webhook_endpoint(tenant, id).await?;
        found.ok_or_else(WebhookError::no_webhook)
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// A value is wrong, or there is no such endpoint: nothing is changed.
    pub async fn change(
        &self,
        tenant: &str,
        id: &str,
        change: WebhookChange,
    ) -> Result<WebhookEndpoint, WebhookError> {
        self.edit(tenant, id, |endpoint| {
            let change = change.clone();
            let settings = &mut endpoint.settings;
            put(&mut endpoint.url, change.url);
            put(&mut endpoint.enabled, change.enabled);
            put(&mut settings.description, change.description);
            put(&mut settings.types, change.types);
            put(&mut settings.tags, change.tags);
            put(&mut settings.streams, change.streams);
            put(&mut settings.headers, change.headers);
        })
        .await
    }

    /// Gives an endpoint another secret. Those that it had sign, too, for a time.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub async fn rotate(
        &self,
        tenant: &str,
        id: &str,
        overlap: Duration,
    ) -> Result<WebhookEndpoint, WebhookError> {
        let secret = new_secret()?;
        let now = self.0.now();
        let until = now.saturating_add(millis(overlap));
        self.edit(tenant, id, |endpoint| {
            let secrets = &mut endpoint.settings.secrets;
            for old in secrets.iter_mut() {
                old.until = Some(old.until.map_or(until, |set| set.min(until)));
            }
            secrets.retain(|old| old.until.is_none_or(|at| at > now));
            secrets.insert(0, StoredSecret { secret: secret.clone(), until: None });
            secrets.truncate(MAX_SECRETS);
        })
        .await
    }

    /// Deletes an endpoint with its deliveries.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<(), WebhookError> {
        self.get(tenant, id).await?;
        // First: nothing is added for it from now on.
        self.0.endpoints.remove(id);
        match self.0.endpoint_store.delete_webhook_endpoint(tenant, id).await? {
            true => Ok(()),
            false => Err(WebhookError::no_webhook()),
        }
    }

    /// Posts a test to an endpoint, enabled or not, and returns what came of it. It is not repeated.
    ///
    /// # Errors
    /// There is no such endpoint, or the tenant tests one already.
    pub async fn test(&self, tenant: &str, id: &str) -> Result<TestResult, WebhookError> {
        let endpoint = self.get(tenant, id).await?;
        let Some(_testing) = Testing::begin(&self.0, tenant) else { return Err(WebhookError::Busy) };
        let now = self.0.now();
        let message = format!("msg_test_{}", ItemId::new(now, random()?));
        let body = body::of_test(id, now).map_err(|error| {
            tracing::error!(%error, "the body of a webhook cannot be written");
            WebhookError::Unavailable
        })?;
        let posted = post(&self.0, &endpoint, &message, body).await;
        Ok(TestResult {
            id: message,
            status: posted.status(),
            succeeded: posted.answer.is_success(),
            detail: posted.detail,
            took: posted.took,
        })
    }

    /// Deliveries of an endpoint, the newest event first, those behind the id `after`, at most `max`.
    ///
    /// # Errors
    /// There is no such endpoint, or no delivery of the id `after`.
    pub async fn deliveries(
        &self,
        tenant: &str,
        id: &str,
        status: Option<WebhookStatus>,
        after: &str,
        max: u32,
    ) -> Result<Vec<DeliveryView>, WebhookError> {
        self.get(tenant, id).await?;
        let after = match after {
            "" => None,
            after => {
                let last = self.find(id, after).await?.ok_or_else(unknown_after)?;
                Some(WebhookDeliveryPlace(last.created_at, last.node, last.event))
            }
        };
        let filter = WebhookDeliveryFilter { endpoint: id, status };
        let found = self.0.deliveries.webhook_deliveries(filter, after, max).await?;
        Ok(found.into_iter().map(|delivery| self.view(delivery)).collect())
    }

    /// One delivery.
    ///
    /// # Errors
    /// There is none.
    pub async fn delivery(
        &self,
        tenant: &str,
        id: &str,
        delivery: &str,
    ) -> Result<DeliveryView, WebhookError> {
        self.get(tenant, id).await?;
        let found = self.find(id, delivery).await?;
        Ok(self.view(found.ok_or_else(WebhookError::no_delivery)?))
    }

    /// The body of a delivery; none: its event is no longer kept, or another node has it.
    ///
    /// # Errors
    /// The event log's.
    pub async fn payload(
        &self,
        tenant: &str,
        delivery: &WebhookDelivery,
    ) -> Result<Option<serde_json::Value>, WebhookError> {
        if delivery.node != self.0.node {
            return Ok(None);
        }
        let unreadable = |error: String| {
            tracing::error!(error, "the event of a webhook cannot be read");
            WebhookError::Unavailable
        };
        let event = event(&self.0, delivery).await.map_err(|error| unreadable(error.to_string()))?;
        let Some(event) = event.filter(|event| event.event.tenant == tenant) else { return Ok(None) };
        let body = body::of_event(&delivery.event_type, event);
        let body = body.and_then(|body| serde_json::from_slice(&body));
        body.map(Some).map_err(|error| unreadable(error.to_string()))
    }

    /// Attempts for an endpoint or for one of its deliveries, the newest first, those behind the id
    /// `after`, at most `max`. `succeeded`: those that were answered with 2xx, or all others.
    ///
    /// # Errors
    /// There is no such endpoint or delivery, or no attempt of the id `after`.
    pub async fn attempts(
        &self,
        tenant: &str,
        id: &str,
        delivery: Option<&str>,
        succeeded: Option<bool>,
        after: &str,
        max: u32,
    ) -> Result<Vec<WebhookAttempt>, WebhookError> {
        self.get(tenant, id).await?;
        let delivery = match delivery {
            None => None,
            Some(delivery) => {
                let found = self.find(id, delivery).await?.ok_or_else(WebhookError::no_delivery)?;
                Some((found.node, found.event))
            }
        };
        let after = match after {
            "" => None,
            after => Some(self.place(id, after).await?.ok_or_else(unknown_after)?),
        };
        let delivery = delivery.as_ref().map(|(node, event)| (node.as_str(), *event));
        let filter = WebhookAttemptFilter { endpoint: id, delivery, succeeded };
        Ok(self.0.deliveries.webhook_attempts(filter, after, max).await?)
    }

    /// Sends an ended delivery again, with the same `webhook-id`. One that is pending stays so.
    ///
    /// # Errors
    /// There is no such delivery, or its endpoint is disabled.
    pub async fn replay(&self, tenant: &str, id: &str, delivery: &str) -> Result<(), WebhookError> {
        self.get_enabled(tenant, id).await?;
        let found = self.find(id, delivery).await?.ok_or_else(WebhookError::no_delivery)?;
        let now = self.0.now();
        self.0.deliveries.replay_webhook(id, &found.node, found.event, now).await?;
        self.0.due.add([id.to_owned()]);
        Ok(())
    }

    pub(crate) async fn get_enabled(&self, tenant: &str, id: &str) -> Result<WebhookEndpoint, WebhookError> {
        let endpoint = self.get(tenant, id).await?;
        match endpoint.enabled {
            true => Ok(endpoint),
            false => Err(WebhookError::Conflict("the webhook is disabled: enable it first".to_owned())),
        }
    }

    /// Reads an endpoint, changes and writes it; again when somebody else wrote it meanwhile.
    async fn edit(
        &self,
        tenant: &str,
        id: &str,
        change: impl Fn(&mut WebhookEndpoint),
    ) -> Result<WebhookEndpoint, WebhookError> {
        for _ in 0..TRIES {
            let mut endpoint = self.get(tenant, id).await?;
            change(&mut endpoint);
            self.check(&endpoint)?;
            match self.0.endpoint_store.change_webhook_endpoint(&endpoint).await {
                Ok(true) => {
                    let endpoint = self.get(tenant, id).await?;
                    self.0.endpoints.put(endpoint.clone());
                    self.0.due.add([id.to_owned()]);
                    return Ok(endpoint);
                }
                Ok(false) => return Err(WebhookError::no_webhook()),
                Err(ControlStoreError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WebhookError::Conflict("others change this webhook at the same time, try again".to_owned()))
    }

    fn check(&self, endpoint: &WebhookEndpoint) -> Result<(), WebhookError> {
        validate::url(&self.0.fetcher, self.0.config.allow_http, &endpoint.url)?;
        validate::settings(&endpoint.settings)
    }

    async fn find(&self, endpoint: &str, id: &str) -> Result<Option<WebhookDelivery>, WebhookError> {
        let Some((node, event)) = parse_delivery_id(id) else { return Ok(None) };
        Ok(self.0.deliveries.webhook_delivery(endpoint, node, event).await?)
    }

    async fn place(&self, endpoint: &str, id: &str) -> Result<Option<WebhookAttemptPlace>, WebhookError> {
        let Some((node, event, number)) = parse_attempt_id(id) else { return Ok(None) };
        let filter = WebhookAttemptFilter { endpoint, delivery: Some((node, event)), succeeded: None };
        // A delivery has few attempts, unless it was replayed very often.
        let all = self.0.deliveries.webhook_attempts(filter, None, 1_000).await?;
        let found = all.into_iter().find(|attempt| attempt.number == number);
        Ok(found.map(|attempt| {
            WebhookAttemptPlace(attempt.started_at, attempt.node, attempt.event, attempt.number)
        }))
    }

    fn view(&self, delivery: WebhookDelivery) -> DeliveryView {
        let is_attempting = self.0.is_attempting(&delivery);
        DeliveryView { delivery, is_attempting }
    }
}

/// A tenant's test. Dropping it ends it.
struct Testing<'s> {
    shared: &'s Shared,
    tenant: String,
}

impl<'s> Testing<'s> {
    fn begin(shared: &'s Shared, tenant: &str) -> Option<Self> {
        let is_first = shared.testing.lock().insert(tenant.to_owned());
        is_first.then(|| Self { shared, tenant: tenant.to_owned() })
    }
}

impl Drop for Testing<'_> {
    fn drop(&mut self) {
        self.shared.testing.lock().remove(&self.tenant);
    }
}

fn unknown_after() -> WebhookError {
    WebhookError::field("after", "must be the id of an entry that is still there")
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn random<const N: usize>() -> Result<[u8; N], WebhookError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        WebhookError::Unavailable
    })?;
    Ok(octets)
}

fn new_secret() -> Result<String, WebhookError> {
    let octets: [u8; SECRET] = random()?;
    let secret = WebhookSecret::new(octets.to_vec()).ok_or(WebhookError::Unavailable)?;
    Ok(secret.reveal())
}
