//! Signing in with a password, and out.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use relevo_relay::users::{NewSession, SignIn, SignInRefusal};
use serde::Deserialize;

use super::carried::CarriedForm;
use super::{CurrentSession, cookie};
use crate::api::{Problem, path};
use crate::forms::{Fields, Form, MAX_PUBLIC_FORM, Posted, form_body};
use crate::frame::{self, Frame, Section, page_with, see};
use crate::state::{Access, ClientAddress, PanelState, UserAccess, language};

#[derive(Template)]
#[template(path = "sign_in/page.html")]
struct SignInPage {
    f: Frame,
    form: Form,
    carried: CarriedForm,
    /// The name of the OpenID provider.
    provider: Option<String>,
}

impl SignInPage {
    /// For the link to the provider.
    fn query(&self) -> String {
        path(&[], &[("next", &self.carried.next)])
    }
}

/// Offers the form that was kept.
#[derive(Template)]
#[template(path = "sign_in/resume.html")]
struct ResumePage {
    f: Frame,
    carried: CarriedForm,
    fields: Fields,
    csrf: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignInQuery {
    pub(super) next: String,
}

/// The users, where there are some.
pub(super) fn users(state: &PanelState) -> Result<&UserAccess, Problem> {
    match state.access() {
        Access::Users(access) => Ok(access),
        Access::Open { .. } => Err(Problem::not_found()),
    }
}

pub(super) async fn page(
    State(state): State<PanelState>,
    Query(query): Query<SignInQuery>,
    fields: HeaderMap,
) -> Result<Response, Problem> {
    page_of(users(&state)?, &fields, CarriedForm::to(&query.next))
}

/// The page for signing in, before anything was typed.
pub(super) fn page_of(
    access: &UserAccess,
    fields: &HeaderMap,
    carried: CarriedForm,
) -> Result<Response, Problem> {
    form_page(access, fields, carried, Form::default(), StatusCode::OK)
}

fn form_page(
    access: &UserAccess,
    fields: &HeaderMap,
    carried: CarriedForm,
    form: Form,
    status: StatusCode,
) -> Result<Response, Problem> {
    let l = language(None, fields);
    let f = Frame::new(l, None, Section::NONE, l.say("sign_in.title"));
    let provider = access.oidc.as_ref().map(|oidc| oidc.name().to_owned());
    page_with(status, &SignInPage { f, form, carried, provider })
}

/// What a browser says of itself.
pub(super) fn user_agent(fields: &HeaderMap) -> &str {
    fields.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(super) async fn sign_in(
    State(state): State<PanelState>,
    client: Option<Extension<ClientAddress>>,
    fields: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let access = users(&state)?;
    let sent = Fields::read(&form_body(body, MAX_PUBLIC_FORM).await?);
    let carried = CarriedForm::of(&sent);
    let given = SignIn {
        email: sent.get("email"),
        password: sent.get("password"),
        code: sent.given("code"),
        client: client.map(|client| client.0.0),
        user_agent: user_agent(&fields),
    };
    let refusal = match access.users.sign_in(given).await {
        Ok(new) => return signed_in(access, &fields, &new, &carried).await,
        Err(refusal) => refusal,
    };
    let l = language(None, &fields);
    // The password is not sent back.
    let form = Form::of([("email", sent.get("email"))]);
    let form = match &refusal {
        SignInRefusal::Wrong => form.with_mistake("email", l.say("sign_in.wrong")),
        SignInRefusal::CodeNeeded => form.with_mistake("code", l.say("sign_in.code_needed")),
        SignInRefusal::WrongCode => form.with_mistake("code", l.say("sign_in.wrong_code")),
        SignInRefusal::Throttled { retry_after } => {
            form.with_mistake("email", &l.fill("sign_in.throttled", &retry_after.as_secs().max(1)))
        }
        SignInRefusal::Unavailable => form.with_mistake("email", l.say("sign_in.unavailable")),
    };
    let status = match refusal {
        SignInRefusal::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        SignInRefusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    form_page(access, &fields, carried, form, status)
}

/// Begins a session, ends the one that the browser had, and goes on to where somebody wanted to go.
pub(super) async fn signed_in(
    access: &UserAccess,
    fields: &HeaderMap,
    new: &NewSession,
    carried: &CarriedForm,
) -> Result<Response, Problem> {
    let session = &new.session;
    if let Some(former) = cookie::read(access, fields, cookie::SESSION) {
        access.users.sign_out(former).await.map_err(|error| Problem::internal(&error))?;
    }
    access.note(&session.user, "sign in").await;
    let mut response = if carried.body.is_empty() || carried.next.is_empty() {
        see(if carried.next.is_empty() { "/panel" } else { &carried.next })
    } else {
        let l = language(None, fields);
        let f = Frame::new(l, None, Section::NONE, l.say("sign_in.resume"));
        let (fields, csrf) = (carried.fields(), session.csrf.clone());
        frame::page(&ResumePage { f, carried: carried.clone(), fields, csrf })?
    };
    let seconds = (session.expires_at - session.created_at) / 1_000;
    cookie::set(access, &mut response, cookie::SESSION, &new.token, seconds);
    Ok(response)
}

pub(super) async fn sign_out(
    State(state): State<PanelState>,
    session: Option<Extension<CurrentSession>>,
    fields: HeaderMap,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let access = users(&state)?;
    if let Some(Extension(session)) = session {
        access.note(&session.0.user, "sign out").await;
    }
    if let Some(token) = cookie::read(access, &fields, cookie::SESSION) {
        access.users.sign_out(token).await.map_err(|error| Problem::internal(&error))?;
    }
    let mut response = see("/panel/sign-in");
    cookie::set(access, &mut response, cookie::SESSION, "", 0);
    Ok(response)
}
