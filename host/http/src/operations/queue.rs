//! `/queue`: what `relevo queue` does, over HTTP, for holders of an admin key
//! (`[plugins] admin_keys`).

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use relevo_relay::clock::timestamp;
use relevo_relay::delivery::{Last, RecipientWait};
use relevo_relay::queue_admin::{
    AttemptView, DomainsView, FoundMessage, MAX_DOMAINS, MessageDetails, MessageFilter, QueueAction,
    QueueAdminError,
};
use serde::{Deserialize, Serialize};

use super::OperationsServices;
use super::auth::Admin;
use crate::api::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

type Services = State<OperationsServices>;
type Given<T> = Result<Query<T>, QueryRejection>;

/// Domains of a list without `limit`.
const DOMAINS: usize = 100;
/// Octets of a domain: more is none (RFC 1035 section 2.3.4), and address literals are shorter.
const MAX_DOMAIN: usize = 255;

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new()
        .route("/queue", get(list))
        .route("/queue/sites", get(sites))
        .route("/queue/sites/{domain}/{action}", post(act_on_site))
        .route("/queue/{id}", get(show))
        .route("/queue/{id}/why", get(why))
        .route("/queue/{id}/{action}", post(act))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueQuery {
    limit: Option<String>,
    after: Option<String>,
    tenant: Option<String>,
    domain: Option<String>,
    state: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SitesQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterQuery {
    after: Option<String>,
}

/// A view under the name of its kind.
#[derive(Debug, Serialize)]
struct Named<V> {
    object: &'static str,
    #[serde(flatten)]
    view: V,
}

/// What was done to a message.
#[derive(Debug, Serialize)]
struct ActedView {
    object: &'static str,
    id: String,
    action: &'static str,
}

/// What was done to all mail for a domain.
#[derive(Debug, Serialize)]
struct SiteActedView {
    object: &'static str,
    domain: String,
    action: &'static str,
    /// Messages.
    count: usize,
    has_more: bool,
    /// For `after` of the next request.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Shards that could not be asked: it was not done to what they have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable_shards: Vec<u16>,
}

/// What a recipient waits for.
#[derive(Debug, Serialize)]
struct WaitView {
    recipient: String,
    domain: String,
    state: &'static str,
    attempts: u32,
    next_attempt: Option<String>,
    expires_at: String,
    site: Option<String>,
    pool: Option<String>,
    route: Option<String>,
    priority: i8,
    last: Option<LastView>,
    reason: String,
}

/// What the last attempt found, and what it means.
#[derive(Debug, Serialize)]
struct LastView {
    #[serde(flatten)]
    attempt: AttemptView,
    #[serde(skip_serializing_if = "Option::is_none")]
    classification: Option<relevo_mailkit::classification::Classification>,
}

async fn list(
    State(services): Services,
    Proven(_): Proven<Admin>,
    query: Given<QueueQuery>,
) -> Result<Json<Page<FoundMessage>>, RequestError> {
    let QueueQuery { limit, after, tenant, domain, state } = error::query(query)?;
    let bounds = ListQuery { limit, after }.bounds()?;
    let filter = MessageFilter {
        tenant: tenant.filter(|tenant| !tenant.is_empty()),
        domain: domain.filter(|domain| !domain.is_empty()).map(|d| domain_name("domain", &d)).transpose()?,
        state: state
            .filter(|state| !state.is_empty())
            .map(|state| state.parse().map_err(|why: &str| RequestError::invalid("state", why)))
            .transpose()?,
    };
    let after = Some(bounds.after.as_str()).filter(|after| !after.is_empty());
    let found = services.queue.search(&filter, after, bounds.limit()).await.map_err(of_cursor)?;
    let page = Page::with_cursor(found.messages, found.next.map(|id| id.to_string()));
    Ok(Json(page.without(found.unavailable_shards)))
}

async fn sites(
    State(services): Services,
    Proven(_): Proven<Admin>,
    query: Given<SitesQuery>,
) -> Result<Json<Named<DomainsView>>, RequestError> {
    let limit = error::query(query)?.limit.unwrap_or(DOMAINS);
    if !(1..=MAX_DOMAINS).contains(&limit) {
        return Err(RequestError::invalid("limit", format!("must be 1 to {MAX_DOMAINS}")));
    }
    Ok(Json(Named { object: "list", view: services.queue.domains(limit).await }))
}

async fn show(
    State(services): Services,
    Proven(_): Proven<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Named<MessageDetails>>, RequestError> {
    let view = services.queue.show(&id).await?;
    Ok(Json(Named { object: "queue_message", view }))
}

async fn why(
    State(services): Services,
    Proven(_): Proven<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Page<WaitView>>, RequestError> {
    let waits = services.queue.why(&id).await?;
    Ok(Json(Page::whole(waits.into_iter().map(WaitView::from).collect())))
}

/// Acts to the end, also when the client is gone.
async fn act(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path((id, action)): Path<(String, String)>,
) -> Result<Json<ActedView>, RequestError> {
    let all = [QueueAction::Retry, QueueAction::Hold, QueueAction::Release, QueueAction::Drop];
    let action = action_named(&all, &action)?;
    let (queue, of) = (services.queue.clone(), id.clone());
    to_the_end(async move { queue.act(&admin.actor, &of, action).await }).await?;
    Ok(Json(ActedView { object: "queue_action", id, action: action.name() }))
}

async fn act_on_site(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path((domain, action)): Path<(String, String)>,
    query: Given<AfterQuery>,
) -> Result<Json<SiteActedView>, RequestError> {
    let action = action_named(&[QueueAction::Retry, QueueAction::Hold, QueueAction::Release], &action)?;
    let domain = domain_name("domain", &domain)?;
    let after = error::query(query)?.after.filter(|after| !after.is_empty());
    let (queue, of) = (services.queue.clone(), domain.clone());
    let acted =
        to_the_end(async move { queue.act_on_domain(&admin.actor, &of, action, after.as_deref()).await })
            .await;
    let acted = acted.map_err(of_cursor)?;
    Ok(Json(SiteActedView {
        object: "queue_site_action",
        domain,
        action: action.name(),
        count: acted.count,
        has_more: acted.next.is_some(),
        next: acted.next.map(|id| id.to_string()),
        unavailable_shards: acted.unavailable_shards,
    }))
}

async fn to_the_end<T: Send + 'static>(
    act: impl Future<Output = Result<T, QueueAdminError>> + Send + 'static,
) -> Result<T, QueueAdminError> {
    tokio::spawn(act).await.unwrap_or_else(|error| {
        let error = relevo_queue::StoreError::Io(format!("internal fault: {error}"));
        Err(QueueAdminError::Store(error))
    })
}

/// There is no other route of this shape: what is no action is no path.
fn action_named(actions: &[QueueAction], name: &str) -> Result<QueueAction, RequestError> {
    let found = actions.iter().find(|action| action.name() == name).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = actions.iter().map(|action| format!("`{}`", action.name())).collect();
        RequestError::NotFound(format!("there is no action `{name}` here: {}", names.join(", ")))
    })
}

fn domain_name(param: &'static str, text: &str) -> Result<String, RequestError> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    match (1..=MAX_DOMAIN).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(name),
        false => Err(RequestError::invalid(param, "is no domain in ASCII")),
    }
}

impl From<QueueAdminError> for RequestError {
    fn from(error: QueueAdminError) -> Self {
        match error {
            QueueAdminError::NotAnId { .. } | QueueAdminError::Gone(_) => Self::NotFound(error.to_string()),
            QueueAdminError::Held(_) | QueueAdminError::BeingAttempted(_) => {
                Self::Conflict(error.to_string())
            }
            QueueAdminError::NoDelivery => Self::Unavailable(error.to_string()),
            QueueAdminError::Store(error) => {
                tracing::error!(%error, "the queue failed");
                Self::unavailable()
            }
        }
    }
}

/// An id that is wrong is that of `after`.
fn of_cursor(error: QueueAdminError) -> RequestError {
    match error {
        QueueAdminError::NotAnId { .. } => RequestError::invalid("after", error.to_string()),
        error => error.into(),
    }
}

impl From<RecipientWait> for WaitView {
    fn from(wait: RecipientWait) -> Self {
        let RecipientWait { recipient, domain, state, attempts, site, pool, route, priority, .. } = wait;
        Self {
            recipient,
            domain,
            state,
            attempts,
            next_attempt: wait.next_attempt.map(timestamp),
            expires_at: timestamp(wait.expires_at),
            site,
            pool,
            route,
            priority,
            last: wait.last.map(LastView::from),
            reason: wait.reason,
        }
    }
}

impl From<Last> for LastView {
    fn from(last: Last) -> Self {
        let Last { at, code, status, text, host, ip, classification } = last;
        let ip = ip.map(|ip| ip.to_string());
        let attempt = AttemptView { at: timestamp(at), host, ip, code, status, text };
        Self { attempt, classification }
    }
}
