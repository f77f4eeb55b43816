//! `/users`: people who sign in to the panel.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use relevo_relay::clock::timestamp;
use relevo_relay::users::{Invitation, Link, ListedSession, User, UserChange, UserRole, UsersError};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body::{self, Deleted};
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// The body of `POST /users`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteFields {
    /// The address; unique among all users of the relay.
    email: String,
    /// For people.
    #[serde(default)]
    name: String,
    /// `owner`, `developer`, `marketer` or `viewer`.
    role: String,
}

/// The body of `PATCH /users/{id}`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserFields {
    /// For people.
    name: Option<String>,
    /// `owner`, `developer`, `marketer` or `viewer`.
    role: Option<String>,
    /// The user may not sign in, and all sessions end.
    disabled: Option<bool>,
    /// true: the user has lost the authenticator, which is needed no longer.
    remove_authenticator: Option<bool>,
}

/// A link that counts once. It is shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LinkView {
    object: &'static str,
    /// The id of the user.
    id: String,
    /// For the user alone: who has it sets the password.
    url: String,
    /// The last part of `url`.
    token: String,
    expires_at: String,
}

/// A user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct UserView {
    object: &'static str,
    id: String,
    email: String,
    name: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// Without a password and without an identity provider, the invitation is not accepted yet.
    has_password: bool,
    has_authenticator: bool,
    /// An identity provider vouches for the user.
    has_identity_provider: bool,
    /// The user may not sign in.
    disabled: bool,
    created_at: String,
    last_signed_in_at: Option<String>,
}

/// A session of a user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SessionView {
    object: &'static str,
    id: String,
    created_at: String,
    /// The last request, up to a minute late.
    last_seen_at: String,
    /// It ends then at the latest.
    expires_at: String,
    /// Address of the client that signed in.
    client: Option<String>,
    user_agent: String,
}

impl From<UsersError> for RequestError {
    fn from(error: UsersError) -> Self {
        let text = error.to_string();
        match error {
            UsersError::NotFound => Self::NotFound(text),
            UsersError::Conflict(text) => Self::Conflict(text),
            UsersError::Invalid { param, message } => Self::invalid(param, message),
            UsersError::Throttled { retry_after } => Self::TooMany { retry_after },
            UsersError::Unavailable => Self::Unavailable(text),
        }
    }
}

/// Invites a user.
#[utoipa::path(
    post,
    path = "/users",
    tag = "users",
    request_body = InviteFields,
    responses((status = 201, description = "The link for the user, shown this once.", body = LinkView)),
)]
pub(super) async fn invite(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Subject>, Json<LinkView>), RequestError> {
    let InviteFields { email, name, role } = body::read(&body)?;
    let role = granted(&caller, read_role(&role)?)?;
    let invitation = Invitation { email, name, role };
    let users = &services.admin.panel.users;
    let (user, link) = users.invite(Some(&caller.tenant), &invitation).await?;
    let subject = Subject(user.id.clone());
    Ok((StatusCode::CREATED, Extension(subject), Json(link_view(&services, user.id, link))))
}

/// Lists the users of the caller's tenant by id.
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<UserView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<UserView>>, RequestError> {
    let query = error::query(query)?.bounds()?;
    let users = &services.admin.panel.users;
    let found = users.list(Some(&caller.tenant), &query.after, query.with_one_more()).await?;
    Ok(Json(query.page(found, view)))
}

/// Shows a user.
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "The user.", body = UserView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<UserView>, RequestError> {
    Ok(Json(view(services.admin.panel.users.get(Some(&caller.tenant), &id).await?)))
}

/// Changes a user. The last active owner stays one.
#[utoipa::path(
    patch,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "The id.")),
    request_body = UserFields,
    responses((status = 200, description = "The user.", body = UserView)),
)]
pub(super) async fn change(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<UserView>, RequestError> {
    let fields: UserFields = body::read(&body)?;
    let role = fields.role.as_deref().map(read_role).transpose()?;
    let role = role.map(|role| granted(&caller, role)).transpose()?;
    let found = find(&services, &caller, &id).await?;
    if fields.remove_authenticator == Some(true) {
        not_oneself(&caller, &found)?;
    }
    let change = UserChange {
        role,
        name: fields.name,
        disabled: fields.disabled,
        remove_totp: fields.remove_authenticator == Some(true),
    };
    let changed = services.admin.panel.users.change(Some(&caller.tenant), &id, &change).await?;
    Ok(Json(view(changed)))
}

/// Deletes a user. All sessions end at once. The last active owner stays.
#[utoipa::path(
    delete,
    path = "/users/{id}",
    tag = "users",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "There is no such user any more.", body = Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, RequestError> {
    find(&services, &caller, &id).await?;
    services.admin.panel.users.delete(Some(&caller.tenant), &id).await?;
    Ok(Json(Deleted::new("user", id)))
}

/// Makes another link for a user: to the first password, or to another one.
#[utoipa::path(
    post,
    path = "/users/{id}/reset",
    tag = "users",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "The link for the user, shown this once.", body = LinkView)),
)]
pub(super) async fn reset(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<LinkView>, RequestError> {
    not_oneself(&caller, &find(&services, &caller, &id).await?)?;
    let link = services.admin.panel.users.reset_link(Some(&caller.tenant), &id).await?;
    Ok(Json(link_view(&services, id, link)))
}

/// Lists the sessions of a user, newest first, without pages.
#[utoipa::path(
    get,
    path = "/users/{id}/sessions",
    tag = "users",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "The sessions.", body = Page<SessionView>)),
)]
pub(super) async fn sessions(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Page<SessionView>>, RequestError> {
    let users = &services.admin.panel.users;
    users.get(Some(&caller.tenant), &id).await?;
    let found = users.sessions(&id).await?;
    Ok(Json(Page::whole(found.into_iter().map(session_view).collect())))
}

/// Ends a session of a user at once.
#[utoipa::path(
    delete,
    path = "/users/{id}/sessions/{session}",
    tag = "users",
    params(
        ("id" = String, Path, description = "The id."),
        ("session" = String, Path, description = "The id of the session."),
    ),
    responses((status = 200, description = "It has ended.", body = Deleted)),
)]
pub(super) async fn end_session(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, session)): Path<(String, String)>,
) -> Result<Json<Deleted>, RequestError> {
    find(&services, &caller, &id).await?;
    match services.admin.panel.users.revoke(&id, &session).await? {
        true => Ok(Json(Deleted::new("session", session))),
        false => Err(RequestError::NotFound("there is no such session".to_owned())),
    }
}

/// A user whom the caller may change.
async fn find(services: &ApiServices, caller: &Caller, id: &str) -> Result<User, RequestError> {
    let user = services.admin.panel.users.get(Some(&caller.tenant), id).await?;
    granted(caller, user.role)?;
    Ok(user)
}

/// Refuses what would go round one's own password: whoever finds a session open has not signed in.
fn not_oneself(caller: &Caller, user: &User) -> Result<(), RequestError> {
    match caller.is_user(&user.email) {
        true => Err(RequestError::Conflict(
            "this is your own user: change its password and authenticator in your account".to_owned(),
        )),
        false => Ok(()),
    }
}

/// Refuses a role that may do more than the key: its user could do what the caller cannot.
fn granted(caller: &Caller, role: UserRole) -> Result<UserRole, RequestError> {
    caller.may_grant(role.scopes(), &format!("the role `{role}`"))?;
    Ok(role)
}

fn read_role(name: &str) -> Result<UserRole, RequestError> {
    let known = name.parse::<UserRole>().ok().filter(|role| role.is_of_tenant());
    known.ok_or_else(|| RequestError::invalid("role", "must be owner, developer, marketer or viewer"))
}

fn link_view(services: &ApiServices, id: String, link: Link) -> LinkView {
    LinkView {
        object: "user",
        id,
        url: services.admin.panel.link_url(&link),
        expires_at: timestamp(link.expires_at),
        token: link.token,
    }
}

fn view(user: User) -> UserView {
    UserView {
        object: "user",
        id: user.id,
        email: user.email,
        name: user.name,
        role: user.role.name(),
        language: user.language,
        has_password: user.has_password,
        has_authenticator: user.has_totp,
        has_identity_provider: user.has_oidc,
        disabled: user.disabled,
        created_at: timestamp(user.created_at),
        last_signed_in_at: user.signed_in_at.map(timestamp),
    }
}

fn session_view(session: ListedSession) -> SessionView {
    SessionView {
        object: "session",
        id: session.id,
        created_at: timestamp(session.created_at),
        last_seen_at: timestamp(session.seen_at),
        expires_at: timestamp(session.expires_at),
        client: session.client.map(|client| client.to_string()),
        user_agent: session.user_agent,
    }
}
