//! Links that count once: an invitation, a new password, the first operator.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use relevo_relay::users::{Accept, AcceptRefusal, LinkKind, LinkTarget, SignInRefusal};

use super::carried::CarriedForm;
use super::password::{signed_in, user_agent, users};
use crate::api::Problem;
use crate::forms::{Fields, Form, MAX_PUBLIC_FORM, form_body};
use crate::frame::{Frame, Section, page_with};
use crate::state::{ClientAddress, PanelState, language};

#[derive(Template)]
#[template(path = "sign_in/link.html")]
struct LinkPage {
    f: Frame,
    form: Form,
    /// The address of the user; none: the first operator gives one.
    email: Option<String>,
    needs_code: bool,
}

fn link_page(
    fields: &HeaderMap,
    target: &LinkTarget,
    form: Form,
    status: StatusCode,
) -> Result<Response, Problem> {
    let l = language(None, fields);
    let title = match target.kind {
        LinkKind::Invite => l.say("sign_in.invite"),
        LinkKind::Reset => l.say("sign_in.reset"),
        LinkKind::First => l.say("sign_in.first"),
    };
    let f = Frame::new(l, None, Section::NONE, title);
    let email = target.user.as_ref().map(|user| user.email.clone());
    page_with(status, &LinkPage { f, form, email, needs_code: target.needs_code })
}

async fn target(state: &PanelState, fields: &HeaderMap, token: &str) -> Result<LinkTarget, Problem> {
    let found = users(state)?.users.link(token).await;
    let found = found.map_err(|error| Problem::internal(&error))?;
    let l = language(None, fields);
    found.ok_or_else(|| Problem::new(StatusCode::GONE, "gone", l.say("sign_in.used")))
}

pub(super) async fn page(
    State(state): State<PanelState>,
    Path(token): Path<String>,
    fields: HeaderMap,
) -> Result<Response, Problem> {
    let target = target(&state, &fields, &token).await?;
    let name = target.user.as_ref().map_or("", |user| user.name.as_str());
    link_page(&fields, &target, Form::of([("name", name)]), StatusCode::OK)
}

pub(super) async fn accept(
    State(state): State<PanelState>,
    Path(token): Path<String>,
    client: Option<Extension<ClientAddress>>,
    fields: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let target = target(&state, &fields, &token).await?;
    let access = users(&state)?;
    let sent = Fields::read(&form_body(body, MAX_PUBLIC_FORM).await?);
    let l = language(None, &fields);
    let form = Form::of([("name", sent.get("name")), ("email", sent.get("email"))]);
    if sent.get("password") != sent.get("password_again") {
        let form = form.with_mistake("password_again", l.say("sign_in.differ"));
        return link_page(&fields, &target, form, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let given = Accept {
        token: &token,
        email: (target.kind == LinkKind::First).then(|| sent.get("email")),
        name: sent.given("name"),
        password: sent.get("password"),
        code: sent.given("code"),
        client: client.map(|client| client.0.0),
        user_agent: user_agent(&fields),
    };
    let form = match access.users.accept(given).await {
        Ok(new) => {
            access.note(&new.session.user, "set password by link").await;
            return signed_in(access, &fields, &new, &CarriedForm::default()).await;
        }
        Err(AcceptRefusal::Link) => {
            return Err(Problem::new(StatusCode::GONE, "gone", l.say("sign_in.used")));
        }
        Err(AcceptRefusal::Invalid { param, message }) => form.with_mistake(param, &message),
        Err(AcceptRefusal::SignIn(SignInRefusal::Throttled { retry_after })) => {
            form.with_mistake("password", &l.fill("sign_in.throttled", &retry_after.as_secs().max(1)))
        }
        Err(AcceptRefusal::SignIn(SignInRefusal::CodeNeeded)) => {
            form.with_mistake("code", l.say("sign_in.code_needed"))
        }
        Err(AcceptRefusal::SignIn(SignInRefusal::WrongCode)) => {
            form.with_mistake("code", l.say("sign_in.wrong_code"))
        }
        Err(AcceptRefusal::SignIn(_)) => form.with_mistake("password", l.say("sign_in.unavailable")),
    };
    link_page(&fields, &target, form, StatusCode::UNPROCESSABLE_ENTITY)
}
