//! The API: what tenants ask for with their key.

mod admission;
pub(crate) mod audit;
pub(crate) mod auth;
mod body;
mod classify;
mod domains;
mod emails;
mod events;
mod follow;
mod health;
mod keys;
mod limits;
pub(crate) mod list;
pub(crate) mod openapi;
pub(crate) mod quota;
mod relay;
mod reported;
mod reputation;
mod scopes;
mod stats;
mod suppressions;
mod templates;
mod topics;
mod users;
mod validate;
mod webhooks;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use relevo_queue::EventHistory;
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::Clock;
use relevo_relay::contents::Contents;
use relevo_relay::delivery::Classify;
use relevo_relay::domains::Domains;
use relevo_relay::emails::Emails;
use relevo_relay::health::DomainHealth;
use relevo_relay::inspection::ContentInspection;
use relevo_relay::quota::Quotas;
use relevo_relay::reputation::Reputation;
use relevo_relay::sending::Sending;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::templates::Templates;
use relevo_relay::tracking::TrackingEndpoint;
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_relay::validation::AddressValidation;
use relevo_statistics::Statistics;
use relevo_webhooks::Webhooks;

use crate::error::{self, RequestError};
use crate::reference::errors::doc_url;
pub use domains::DomainView;
pub use emails::ContentCheckView;
use follow::LongPolls;
pub use health::{CheckView, HealthView, RecordToPublish};
pub use limits::ApiLimits;
use limits::Limiter;
use relevo_panel::UserAccess;
pub use validate::ValidationView;
use webhooks::deliveries;

/// What the API serves. Cheap to clone: each request clones it, once for each layer of the
/// router.
#[derive(Clone)]
pub struct ApiServices(Arc<SharedServices>);

/// The services behind [`ApiServices`].
pub struct SharedServices {
    settings: SettingsHandle,
    events: Arc<dyn EventHistory>,
    templates: Templates,
    suppressions: Arc<Suppressions>,
    sending: Sending,
    tracking: Arc<TrackingEndpoint>,
    unsubscribe: Arc<UnsubscribeEndpoint>,
    emails: Emails,
    admin: AdminServices,
    limits: Arc<Limiter>,
    statistics: Statistics,
    webhooks: Webhooks,
    validation: Arc<AddressValidation>,
    classify: Arc<dyn Classify>,
    pub(crate) inspection: Arc<ContentInspection>,
    pub(crate) contents: Arc<Contents>,
    polls: Arc<LongPolls>,
}

/// What tenants administer, and how it is bounded.
#[derive(Clone)]
pub struct AdminServices {
    /// API keys of the store.
    pub keys: Arc<ApiKeys>,
    /// Sending domains.
    pub domains: Arc<Domains>,
    /// Says how a domain stands.
    pub health: DomainHealth,
    /// What others think.
    pub reputation: Arc<Reputation>,
    /// Use of quotas.
    pub quotas: Arc<Quotas>,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// People who sign in.
    pub panel: UserAccess,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Bounds of requests.
    pub limits: ApiLimits,
}

/// What [`ApiServices`] is made of.
pub struct ApiParts {
    /// Keys and domains.
    pub settings: SettingsHandle,
    /// The event log.
    pub events: Arc<dyn EventHistory>,
    /// Templates.
    pub templates: Templates,
    /// Lists of suppressed addresses.
    pub suppressions: Arc<Suppressions>,
    /// Sends.
    pub sending: Sending,
    /// Clicks and opens that the edge answered.
    pub tracking: Arc<TrackingEndpoint>,
    /// The unsubscribe pages that the edge answers.
    pub unsubscribe: Arc<UnsubscribeEndpoint>,
    /// Counts of what happened.
    pub statistics: Statistics,
    /// Endpoints that are told what happened.
    pub webhooks: Webhooks,
    /// Answers about addresses.
    pub validation: Arc<AddressValidation>,
    /// What a receiver's words mean.
    pub classify: Arc<dyn Classify>,
    /// Looks at content.
    pub inspection: Arc<ContentInspection>,
    /// Reads the content of messages.
    pub contents: Arc<Contents>,
    /// What tenants administer.
    pub admin: AdminServices,
}

impl ApiServices {
    /// The API over these parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts { settings, events, templates, suppressions, sending, .. } = parts;
        let ApiParts { tracking, unsubscribe, statistics, webhooks, .. } = parts;
        let ApiParts { validation, inspection, contents, classify, admin, .. } = parts;
        let emails = Emails::new(Arc::clone(&events));
        let limits = Arc::new(Limiter::new(admin.limits));
        Self(Arc::new(SharedServices {
            settings,
            events,
            templates,
            suppressions,
            sending,
            tracking,
            unsubscribe,
            emails,
            admin,
            limits,
            statistics,
            webhooks,
            validation,
            classify,
            inspection,
            contents,
            polls: Arc::default(),
        }))
    }
}

impl Deref for ApiServices {
    type Target = SharedServices;

    fn deref(&self) -> &SharedServices {
        &self.0
    }
}

/// Octets of a JSON body.
const MAX_JSON: usize = 8 << 20;

pub(crate) fn routes(services: &ApiServices) -> Router<ApiServices> {
    Router::new()
        .route("/emails", get(emails::list).post(emails::send).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/emails/batch", post(emails::send_batch).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/relay", post(relay::relay).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/relay/templates/{name}", get(relay::template))
        .route("/relay/events", post(reported::events))
        .route("/relay/unsubscribe", post(reported::unsubscribe))
        .route("/emails/check", post(emails::check_content).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/emails/cancel", post(emails::cancel_all))
        .route("/emails/{id}", get(emails::show).patch(emails::reschedule))
        .route("/emails/{id}/cancel", post(emails::cancel))
        .route("/emails/{id}/source", get(emails::content::source))
        .route("/emails/{id}/content", get(emails::content::content))
        .route("/emails/{id}/attachments/{number}", get(emails::content::attachment))
        .route("/emails/{id}/changes", get(emails::content::changes))
        .route("/emails/{id}/resend", post(emails::content::resend))
        .route("/api-keys", get(keys::list).post(keys::create))
        .route("/api-keys/{id}", get(keys::show).patch(keys::rename).delete(keys::delete))
        .route("/api-keys/{id}/rotate", post(keys::rotate))
        .route("/audit", get(audit::list))
        .route("/quota", get(quota::show))
        .route("/events", get(events::events))
        .route("/domains", get(domains::list).post(domains::add))
        .route("/domains/{name}", get(domains::show).patch(domains::change).delete(domains::remove))
        .route("/domains/{name}/verify", post(domains::verify))
        .route("/domains/{name}/records", get(domains::records))
        .route("/domains/{name}/health", get(health::show))
        .route("/reputation", get(reputation::show))
        .route("/reputation/imports", post(reputation::import))
        .route("/classify", post(classify::classify))
        .route("/stats", get(stats::stats))
        .route("/stats/benchmark", get(stats::benchmark))
        .route("/templates", get(templates::list).post(templates::create))
        .route("/templates/{name}", get(templates::show).patch(templates::update).delete(templates::delete))
        .route("/templates/{name}/publish", post(templates::publish))
        .route("/templates/{name}/duplicate", post(templates::duplicate))
        .route("/templates/{name}/versions", get(templates::versions))
        .route("/templates/{name}/versions/{version}", get(templates::version))
        .route("/templates/{name}/render", post(templates::render))
        .route("/render", post(templates::render_source))
        .route("/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/suppressions/{name}", get(suppressions::show).delete(suppressions::delete))
        .route("/suppressions/batch/add", post(suppressions::add_batch))
        .route("/suppressions/batch/remove", post(suppressions::remove_batch))
        .route("/suppressions/remove", post(suppressions::remove))
        .route("/suppressions/undo", post(suppressions::undo::undo))
        .route("/suppressions/export", get(suppressions::export))
        .route("/suppressions/import", post(suppressions::import))
        .route("/topics", get(topics::list).post(topics::create))
        .route("/topics/{name}", get(topics::show).patch(topics::update).delete(topics::delete))
        .route("/contacts/{email}/topics", get(topics::choices).patch(topics::choose))
        .route("/users", get(users::list).post(users::invite))
        .route("/users/{id}", get(users::show).patch(users::change).delete(users::delete))
        .route("/users/{id}/reset", post(users::reset))
        .route("/users/{id}/sessions", get(users::sessions))
        .route("/users/{id}/sessions/{session}", delete(users::end_session))
        .route("/validate", post(validate::validate))
        .route("/validate/bulk", post(validate::validate_bulk))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/event-types", get(webhooks::event_types))
        .route("/webhooks/{id}", get(webhooks::show).patch(webhooks::update).delete(webhooks::delete))
        .route("/webhooks/{id}/rotate-secret", post(webhooks::rotate))
        .route("/webhooks/{id}/signing-secret/rotate", post(webhooks::rotate))
        .route("/webhooks/{id}/test", post(webhooks::test))
        .route("/webhooks/{id}/attempts", get(deliveries::attempts))
        .route("/webhooks/{id}/replay", post(deliveries::replay_span))
        .route("/webhooks/{id}/deliveries", get(deliveries::list))
        .route("/webhooks/{id}/deliveries/{delivery}", get(deliveries::show))
        .route("/webhooks/{id}/deliveries/{delivery}/attempts", get(deliveries::attempts_of))
        .route("/webhooks/{id}/deliveries/{delivery}/replay", post(deliveries::replay))
        .route("/webhooks/{id}/events", get(deliveries::list))
        .route("/webhooks/{id}/events/{delivery}", get(deliveries::show))
        .route("/webhooks/{id}/events/{delivery}/attempts", get(deliveries::attempts_of))
        .route("/webhooks/{id}/events/{delivery}/replay", post(deliveries::replay))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .route_layer(middleware::from_fn_with_state(services.clone(), admission::admit))
}

pub(crate) fn words(error: &RequestError, request_id: &str) -> Response {
    let name = match error {
        RequestError::Gone(_) => "cursor_pruned",
        error => error.name(),
    };
    error::json(error, name, request_id, doc_url(name))
}
