//! `/topics`, and what a recipient chose of them: `/contacts/{email}/topics`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use relevo_mailkit::unsubscribe::MAX_TOPIC;
use relevo_relay::suppressions::{MailingList, TopicChoice, canonical};
use relevo_relay::topics::{NewTopic, TopicChange, TopicError, TopicRecord};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use super::body::{self, Deleted, Object};
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Octets of a description.
const MAX_DESCRIPTION: usize = 500;
/// Choices in one request.
const MAX_CHOICES: usize = 100;

/// Whether a recipient gets a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subscription {
    /// Its mail is sent.
    OptIn,
    /// Its mail is not sent.
    OptOut,
}

/// Who sees a topic on the unsubscribe page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Visibility {
    /// Every recipient of the tenant.
    Public,
    /// Recipients of its mail.
    Private,
}

/// The body of `POST /topics`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicFields {
    name: String,
    /// For recipients who did not say. `opt_in`: they get its mail until they leave. `opt_out`: they
    /// get none until they choose it.
    default_subscription: Subscription,
    /// For recipients.
    #[serde(default)]
    description: Option<String>,
    /// Absent: `private`.
    #[serde(default)]
    visibility: Option<Visibility>,
}

/// The body of `PATCH /topics/{id}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicChangeFields {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    default_subscription: Option<Subscription>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    visibility: Option<Visibility>,
}

/// A choice in the body of `PATCH /contacts/{email}/topics`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceFields {
    /// Id or name.
    id: String,
    /// `opt_in`: the recipient gets the topic. `opt_out`: the recipient leaves it.
    subscription: Subscription,
}

/// A topic in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TopicView {
    object: &'static str,
    id: String,
    name: String,
    description: String,
    default_subscription: Subscription,
    visibility: Visibility,
    created_at: String,
}

/// A topic, and whether a recipient gets it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ContactTopicView {
    id: String,
    name: String,
    description: String,
    subscription: Subscription,
}

impl From<TopicError> for RequestError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Conflict(message) => Self::Conflict(message),
            TopicError::Unavailable => Self::unavailable(),
        }
    }
}

/// Makes a topic.
#[utoipa::path(
    post,
    path = "/topics",
    tag = "topics",
    request_body = TopicFields,
    responses((status = 201, description = "Its id.", body = Object)),
)]
pub(super) async fn create(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Json<Object>), RequestError> {
    let fields: TopicFields = body::read(&body)?;
    check_name(&fields.name)?;
    let new = NewTopic {
        name: fields.name,
        description: checked_description(fields.description)?.unwrap_or_default(),
        chosen_only: fields.default_subscription == Subscription::OptOut,
        public: fields.visibility == Some(Visibility::Public),
    };
    let topic = services.suppressions.topics().add(&caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(Object::new("topic", topic.id))))
}

/// Lists topics by id.
#[utoipa::path(
    get,
    path = "/topics",
    tag = "topics",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<TopicView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<TopicView>>, RequestError> {
    let bounds = error::query(query)?.bounds()?;
    let topics = services.suppressions.topics().of(&caller.tenant).await?;
    let most = usize::try_from(bounds.with_one_more()).unwrap_or(usize::MAX);
    let behind = topics.iter().filter(|topic| topic.id > bounds.after);
    Ok(Json(bounds.page(behind.take(most).cloned().collect(), view)))
}

/// Shows a topic, by its id or name.
#[utoipa::path(
    get,
    path = "/topics/{name}",
    tag = "topics",
    params(("name" = String, Path, description = "The id, name, alias or address.")),
    responses((status = 200, description = "The topic.", body = TopicView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<TopicView>, RequestError> {
    Ok(Json(view(found(&services, &caller, &name).await?)))
}

/// Changes description and visibility.
#[utoipa::path(
    patch,
    path = "/topics/{name}",
    tag = "topics",
    params(("name" = String, Path, description = "The id, name, alias or address.")),
    request_body = TopicChangeFields,
    responses((status = 200, description = "Its id.", body = Object)),
)]
pub(super) async fn update(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Object>, RequestError> {
    let fields: TopicChangeFields = body::read(&body)?;
    let topic = found(&services, &caller, &name).await?;
    if fields.name.is_some_and(|name| name != topic.name) {
        let message = "cannot be changed: links in mail that was sent have it; make another topic";
        return Err(RequestError::invalid("name", message));
    }
    if fields.default_subscription.is_some_and(|default| default != default_of(&topic)) {
        return Err(RequestError::invalid("default_subscription", "cannot be changed; make another topic"));
    }
    let change = TopicChange {
        description: checked_description(fields.description)?,
        public: fields.visibility.map(|visibility| visibility == Visibility::Public),
    };
    match services.suppressions.topics().change(&caller.tenant, &topic.id, &change).await? {
        true => Ok(Json(Object::new("topic", topic.id))),
        false => Err(missing(&name)),
    }
}

/// Deletes a topic. Those who left it stay away.
#[utoipa::path(
    delete,
    path = "/topics/{name}",
    tag = "topics",
    params(("name" = String, Path, description = "The id, name, alias or address.")),
    responses((status = 200, description = "It is gone.", body = Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Deleted>, RequestError> {
    let topic = found(&services, &caller, &name).await?;
    match services.suppressions.topics().delete(&caller.tenant, &topic.id).await? {
        true => Ok(Json(Deleted::new("topic", topic.id))),
        false => Err(missing(&name)),
    }
}

/// Lists all topics with what a recipient gets.
#[utoipa::path(
    get,
    path = "/contacts/{email}/topics",
    tag = "topics",
    params(("email" = String, Path, description = "The address."), ListQuery),
    responses((status = 200, description = "Every topic, and what the recipient gets.", body = Page<ContactTopicView>)),
)]
pub(super) async fn choices(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(email): Path<String>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<ContactTopicView>>, RequestError> {
    let bounds = error::query(query)?.bounds()?;
    let choices = services.suppressions.choices(&caller.tenant, &canonical(&email)?).await?;
    let most = usize::try_from(bounds.with_one_more()).unwrap_or(usize::MAX);
    let behind = choices.topics.into_iter().filter(|choice| choice.topic.id > bounds.after);
    Ok(Json(bounds.page(behind.take(most).collect(), choice_view)))
}

/// Sets what a recipient gets. Every topic is looked up before the first is set.
#[utoipa::path(
    patch,
    path = "/contacts/{email}/topics",
    tag = "topics",
    params(("email" = String, Path, description = "The address.")),
    request_body = Vec<ChoiceFields>,
    responses((status = 200, description = "It is set.", body = Object)),
)]
pub(super) async fn choose(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(email): Path<String>,
    body: Bytes,
) -> Result<Json<Object>, RequestError> {
    let address = canonical(&email)?;
    let fields: Vec<ChoiceFields> = body::read(&body)?;
    if fields.len() > MAX_CHOICES {
        return Err(RequestError::Invalid {
            param: None,
            message: format!("must have at most {MAX_CHOICES} choices"),
        });
    }
    let mut chosen = Vec::with_capacity(fields.len());
    for (index, choice) in fields.into_iter().enumerate() {
        let topic = services.suppressions.topics().named(&caller.tenant, &choice.id).await?;
        let topic = topic.ok_or_else(|| RequestError::invalid(format!("[{index}].id"), "is no topic"))?;
        chosen.push((MailingList::Topic(topic), choice.subscription));
    }
    for (list, subscription) in chosen {
        let (tenant, lists) = (&caller.tenant, &services.suppressions);
        match subscription {
            Subscription::OptIn => lists.come_back(tenant, &address, &list, true).await?,
            Subscription::OptOut => lists.leave(tenant, &address, &list, "by API", None).await?,
        };
    }
    Ok(Json(Object::new("contact", address)))
}

async fn found(services: &ApiServices, caller: &Caller, name: &str) -> Result<TopicRecord, RequestError> {
    services.suppressions.topics().named(&caller.tenant, name).await?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> RequestError {
    RequestError::NotFound(format!("there is no topic `{}`", name.escape_debug()))
}

/// A name stands in labels, in entries of suppressions and on the unsubscribe page.
fn check_name(name: &str) -> Result<(), RequestError> {
    let is_name = !name.trim().is_empty() && name.len() <= MAX_TOPIC && !name.chars().any(char::is_control);
    let message = || format!("must have 1 to {MAX_TOPIC} octets without control characters");
    is_name.then_some(()).ok_or_else(|| RequestError::invalid("name", message()))
}

fn checked_description(description: Option<String>) -> Result<Option<String>, RequestError> {
    match description {
        Some(text) if text.len() > MAX_DESCRIPTION || text.chars().any(char::is_control) => {
            let message = format!("must have at most {MAX_DESCRIPTION} octets without control characters");
            Err(RequestError::invalid("description", message))
        }
        description => Ok(description),
    }
}

fn default_of(topic: &TopicRecord) -> Subscription {
    if topic.chosen_only { Subscription::OptOut } else { Subscription::OptIn }
}

fn view(topic: TopicRecord) -> TopicView {
    let default_subscription = default_of(&topic);
    let TopicRecord { id, name, description, public, created_at, .. } = topic;
    let visibility = if public { Visibility::Public } else { Visibility::Private };
    let created_at = relevo_relay::clock::timestamp(created_at);
    TopicView { object: "topic", id, name, description, default_subscription, visibility, created_at }
}

fn choice_view(TopicChoice { topic, subscribed }: TopicChoice) -> ContactTopicView {
    let TopicRecord { id, name, description, .. } = topic;
    let subscription = if subscribed { Subscription::OptIn } else { Subscription::OptOut };
    ContactTopicView { id, name, description, subscription }
}
