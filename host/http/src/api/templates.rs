//! `/templates` and `POST /render`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use relevo_api::Problem;
use relevo_api::mailbox::MailboxList;
use relevo_api::schema::AddressesInput;
use relevo_api::template::{RenderAnswer, RenderRequest};
use relevo_mailkit::model::TemplateSource;
use relevo_relay::templates::{
    TemplateChange, TemplateContent, TemplateRecord, TemplateRefusal, TemplateVariable, TemplateVersion,
    Templates,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ApiServices;
use super::auth::Caller;
use super::body::{self, Deleted, Object};
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Octets of a name, an alias or the key of a variable.
const MAX_NAME: usize = 128;
/// Variables that are described.
const MAX_VARIABLES: usize = 200;

/// The body of `POST /templates` and `PATCH /templates/{id}`. A field that is absent stays as it is.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TemplateFields {
    name: Option<String>,
    alias: Option<String>,
    from: Option<String>,
    subject: Option<String>,
    html: Option<String>,
    mjml: Option<String>,
    text: Option<String>,
    #[schema(value_type = Option<AddressesInput>)]
    reply_to: Option<MailboxList>,
    variables: Option<Vec<TemplateVariable>>,
    /// For PATCH: the version that the change was made from. If a newer one exists, nothing is changed,
    /// and the answer is 409.
    base_version: Option<i64>,
}

/// A template in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TemplateView {
    object: &'static str,
    id: String,
    alias: Option<String>,
    name: String,
    /// `draft`, or `published` once it can be sent.
    status: &'static str,
    /// The version that is sent.
    published_version: Option<i64>,
    created_at: String,
    updated_at: String,
}

/// A template with one of its versions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TemplateDetails {
    #[serde(flatten)]
    template: TemplateView,
    #[serde(flatten)]
    version: VersionView,
}

/// A version in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct VersionView {
    version: i64,
    /// MiniJinja source.
    subject: String,
    /// MiniJinja source of the HTML; absent where `mjml` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<String>,
    /// MiniJinja source of MJML.
    #[serde(skip_serializing_if = "Option::is_none")]
    mjml: Option<String>,
    /// MiniJinja source of the text; absent: made from the HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Author for requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Addresses for answers, for requests that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    reply_to: Vec<String>,
    /// Variables that the sources use, as their author described them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    variables: Vec<TemplateVariable>,
}

/// An entry of the list of versions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct VersionEntry {
    version: i64,
    created_at: String,
    published: bool,
}

/// The body of `POST /templates/{id}/publish`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PublishFields {
    /// Absent: the newest.
    version: Option<i64>,
}

/// The body of `POST /templates/{id}/render`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RenderFields {
    #[schema(value_type = Object)]
    variables: Map<String, Value>,
    /// Absent: the newest.
    version: Option<i64>,
}

impl From<TemplateRefusal> for RequestError {
    fn from(refusal: TemplateRefusal) -> Self {
        match refusal {
            TemplateRefusal::NotFound(reason) => Self::NotFound(reason),
            TemplateRefusal::Conflict(reason) => Self::Conflict(reason),
            TemplateRefusal::Invalid { param, message } => Self::invalid(param, message),
            TemplateRefusal::Unavailable => Self::unavailable(),
        }
    }
}

/// Stores a template. It is a draft until it is published.
#[utoipa::path(
    post,
    path = "/templates",
    tag = "templates",
    request_body = TemplateFields,
    responses((status = 201, description = "Its id.", body = Object)),
)]
pub(super) async fn create(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Json<Object>), RequestError> {
    let fields: TemplateFields = body::read(&body)?;
    let name = fields.name.clone().ok_or_else(|| RequestError::invalid("name", "is missing"))?;
    if fields.base_version.is_some() {
        return Err(RequestError::invalid("base_version", "is for changes: a new template has no versions"));
    }
    check(&fields)?;
    let content = merged(TemplateContent::default(), &fields);
    let alias = fields.alias.filter(|alias| !alias.is_empty());
    let template = services.templates.create(&caller.tenant, name, alias, &content).await?;
    Ok((StatusCode::CREATED, Json(Object::new("template", template.id))))
}

/// Lists the caller's templates.
#[utoipa::path(
    get,
    path = "/templates",
    tag = "templates",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<TemplateView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<TemplateView>>, RequestError> {
    let query = error::query(query)?.bounds()?;
    let found = services.templates.list(&caller.tenant, &query.after, query.with_one_more()).await?;
    Ok(Json(query.page(found, view)))
}

/// Shows a template with its newest version.
#[utoipa::path(
    get,
    path = "/templates/{name}",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    responses((status = 200, description = "The template with its newest version.", body = TemplateDetails)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<TemplateDetails>, RequestError> {
    let template = services.templates.find(&caller.tenant, &name).await?;
    let newest = services.templates.version(&caller.tenant, &template.id, None).await?;
    Ok(Json(details(template, newest)))
}

/// Changes a template. New content becomes a new version; what is published stays published.
#[utoipa::path(
    patch,
    path = "/templates/{name}",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    request_body = TemplateFields,
    responses((status = 200, description = "Its id.", body = Object)),
)]
pub(super) async fn update(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Object>, RequestError> {
    let fields: TemplateFields = body::read(&body)?;
    check(&fields)?;
    let templates = &services.templates;
    let template = templates.find(&caller.tenant, &name).await?;
    let newest = templates.version(&caller.tenant, &template.id, None).await?;
    refuse_stale(fields.base_version, &newest)?;
    let newest = newest.content;
    let content = merged(newest.clone(), &fields);
    let alias = fields.alias.filter(|alias| *alias != template.alias.as_deref().unwrap_or_default());
    let change = TemplateChange {
        name: fields.name.filter(|name| *name != template.name),
        alias,
        content: Some(content).filter(|content| *content != newest),
        base: fields.base_version,
        ..TemplateChange::default()
    };
    if change != (TemplateChange { base: fields.base_version, ..TemplateChange::default() }) {
        templates.change(&caller.tenant, &template.id, &change).await?;
    }
    Ok(Json(Object::new("template", template.id)))
}

/// Deletes a template.
#[utoipa::path(
    delete,
    path = "/templates/{name}",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    responses((status = 200, description = "It is gone.", body = Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Deleted>, RequestError> {
    let id = services.templates.find(&caller.tenant, &name).await?.id;
    services.templates.delete(&caller.tenant, &id).await?;
    Ok(Json(Deleted::new("template", id)))
}

/// Publishes a version: requests to send use it from now on. An older version rolls back.
#[utoipa::path(
    post,
    path = "/templates/{name}/publish",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    request_body = Option<PublishFields>,
    responses((status = 200, description = "Its id.", body = Object)),
)]
pub(super) async fn publish(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Object>, RequestError> {
    let fields: PublishFields = body::read_or_default(&body)?;
    let template = services.templates.find(&caller.tenant, &name).await?;
    let version = services.templates.version(&caller.tenant, &template.id, fields.version).await?;
    services.templates.publish(&caller.tenant, &template.id, version.number).await?;
    Ok(Json(Object::new("template", template.id)))
}

/// Makes a draft of the newest version under a new id.
#[utoipa::path(
    post,
    path = "/templates/{name}/duplicate",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    responses((status = 201, description = "The id of the copy.", body = Object)),
)]
pub(super) async fn duplicate(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<Object>), RequestError> {
    let template = services.templates.find(&caller.tenant, &name).await?;
    let newest = services.templates.version(&caller.tenant, &template.id, None).await?;
    let name = format!("{} (copy)", template.name);
    let copy = services.templates.create(&caller.tenant, name, None, &newest.content).await?;
    Ok((StatusCode::CREATED, Json(Object::new("template", copy.id))))
}

/// Lists the versions of a template, the newest first.
#[utoipa::path(
    get,
    path = "/templates/{name}/versions",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    responses((status = 200, description = "All versions.", body = Page<VersionEntry>)),
)]
pub(super) async fn versions(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Page<VersionEntry>>, RequestError> {
    let template = services.templates.find(&caller.tenant, &name).await?;
    let versions = services.templates.versions(&caller.tenant, &template.id).await?;
    let entry = |(version, created_at): (i64, i64)| VersionEntry {
        version,
        created_at: timestamp(created_at),
        published: template.published == Some(version),
    };
    Ok(Json(Page::whole(versions.into_iter().map(entry).collect())))
}

/// Shows one version of a template.
#[utoipa::path(
    get,
    path = "/templates/{name}/versions/{version}",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template."), ("version" = i64, Path, description = "The number of the version.")),
    responses((status = 200, description = "The version.", body = TemplateDetails)),
)]
pub(super) async fn version(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((name, number)): Path<(String, i64)>,
) -> Result<Json<TemplateDetails>, RequestError> {
    let template = services.templates.find(&caller.tenant, &name).await?;
    let found = services.templates.version(&caller.tenant, &template.id, Some(number)).await?;
    Ok(Json(details(template, found)))
}

/// Renders a version with variables. Nothing is sent.
#[utoipa::path(
    post,
    path = "/templates/{name}/render",
    tag = "templates",
    params(("name" = String, Path, description = "The id or alias of the template.")),
    request_body = Option<RenderFields>,
    responses((status = 200, description = "What would be sent.", body = RenderAnswer)),
)]
pub(super) async fn render(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<RenderAnswer>, RequestError> {
    let fields: RenderFields = body::read_or_default(&body)?;
    let template = services.templates.find(&caller.tenant, &name).await?;
    let version = services.templates.version(&caller.tenant, &template.id, fields.version).await?;
    rendered(&services.templates, &caller, &version.content, fields.variables).await
}

/// Renders the sources of the request, or a stored template, with its variables. Nothing is stored or
/// sent.
#[utoipa::path(
    post,
    path = "/render",
    tag = "templates",
    request_body = RenderRequest,
    responses((status = 200, description = "What would be sent.", body = RenderAnswer)),
)]
pub(super) async fn render_source(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<RenderAnswer>, RequestError> {
    let request: RenderRequest = body::read(&body)?;
    request.check().map_err(|Problem { param, message }| RequestError::invalid(param, message))?;
    let (templates, tenant) = (&services.templates, &caller.tenant);
    let Some(choice) = &request.template else {
        let TemplateSource { subject, html, mjml, text, .. } = request.source();
        let content = TemplateContent { subject, html, mjml, text, ..TemplateContent::default() };
        return rendered(templates, &caller, &content, request.variables).await;
    };
    let stored = templates.stored(tenant, &choice.id, choice.version).await;
    let stored = stored.map_err(|refusal| refusal.within_request("variables"))?;
    let subject = request.subject.as_deref();
    let rendered = templates.render_stored(tenant, &stored, &request.variables, subject).await;
    Ok(Json(rendered.map_err(|refusal| refusal.within_request("variables"))?.into()))
}

async fn rendered(
    templates: &Templates,
    caller: &Caller,
    content: &TemplateContent,
    variables: Map<String, Value>,
) -> Result<Json<RenderAnswer>, RequestError> {
    let rendered = templates.render(&caller.tenant, content, variables).await?;
    Ok(Json(rendered.into()))
}

/// Refuses a change that was made from another version than the newest one. The store does it again
/// when it writes.
fn refuse_stale(base: Option<i64>, newest: &TemplateVersion) -> Result<(), RequestError> {
    match base {
        Some(base) if base != newest.number => Err(RequestError::Conflict(format!(
            "the newest version is {} of {}, and the change was made from version {base}: look at the newest \
             one, then send its number as `base_version`",
            newest.number,
            timestamp(newest.created_at)
        ))),
        _ => Ok(()),
    }
}

fn check(fields: &TemplateFields) -> Result<(), RequestError> {
    let is_name =
        |name: &str| !name.trim().is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    if fields.name.as_deref().is_some_and(|name| !is_name(name)) {
        let message = format!("must have 1 to {MAX_NAME} octets and no control characters");
        return Err(RequestError::invalid("name", message));
    }
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if fields.alias.as_deref().is_some_and(|alias| alias.len() > MAX_NAME || !is_word(alias)) {
        let message = format!("must have at most {MAX_NAME} ASCII letters, digits, `_`, `-` and `.`");
        return Err(RequestError::invalid("alias", message));
    }
    if fields.html.is_some() && fields.mjml.is_some() {
        return Err(RequestError::invalid("mjml", "give either `html` or `mjml`"));
    }
    if let Some(from) = fields.from.as_deref().filter(|from| !from.is_empty()) {
        let mailbox = relevo_api::mailbox::Mailbox::parse(from);
        mailbox.address().map_err(|message| RequestError::invalid("from", message))?;
    }
    for (index, mailbox) in fields.reply_to.iter().flat_map(|list| &list.0).enumerate() {
        let address = mailbox.address();
        address.map_err(|message| RequestError::invalid(format!("reply_to[{index}]"), message))?;
    }
    let variables = fields.variables.as_deref().unwrap_or_default();
    if variables.len() > MAX_VARIABLES {
        return Err(RequestError::invalid("variables", format!("at most {MAX_VARIABLES} are allowed")));
    }
    for (index, variable) in variables.iter().enumerate() {
        if !is_name(&variable.key) {
            let message = format!("must have 1 to {MAX_NAME} octets and no control characters");
            return Err(RequestError::invalid(format!("variables[{index}].key"), message));
        }
    }
    Ok(())
}

/// The content with the fields that are given. HTML replaces MJML, and the other way round. An
/// empty field takes away what was there: without its source, the text is made from the HTML.
fn merged(mut content: TemplateContent, fields: &TemplateFields) -> TemplateContent {
    if let Some(subject) = &fields.subject {
        content.subject.clone_from(subject);
    }
    if fields.html.is_some() || fields.mjml.is_some() {
        let given = |source: &Option<String>| source.clone().filter(|source| !source.is_empty());
        (content.html, content.mjml) = (given(&fields.html), given(&fields.mjml));
    }
    if let Some(text) = &fields.text {
        content.text = Some(text.clone()).filter(|text| !text.is_empty());
    }
    if let Some(from) = &fields.from {
        content.from = Some(from.clone()).filter(|from| !from.is_empty());
    }
    if let Some(list) = &fields.reply_to {
        content.reply_to = list.0.iter().map(ToString::to_string).collect();
    }
    if let Some(variables) = &fields.variables {
        content.variables.clone_from(variables);
    }
    content
}

fn details(template: TemplateRecord, version: TemplateVersion) -> TemplateDetails {
    let TemplateContent { subject, html, mjml, text, from, reply_to, variables } = version.content;
    let version =
        VersionView { version: version.number, subject, html, mjml, text, from, reply_to, variables };
    TemplateDetails { template: view(template), version }
}

fn view(template: TemplateRecord) -> TemplateView {
    TemplateView {
        object: "template",
        status: if template.published.is_some() { "published" } else { "draft" },
        id: template.id,
        alias: template.alias,
        name: template.name,
        published_version: template.published,
        created_at: timestamp(template.created_at),
        updated_at: timestamp(template.changed_at),
    }
}

fn timestamp(at: i64) -> String {
    relevo_relay::clock::timestamp(at)
}
