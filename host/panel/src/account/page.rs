//! The page of the account, and what is changed on it.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use relevo_relay::clock::timestamp;
use relevo_relay::users::{ListedSession, Session, Users, UsersError};

use crate::api::Problem;
use crate::forms::{Form, Posted};
use crate::frame::{DoneQuery, Frame, Section, page_with, see};
use crate::sign_in::CurrentSession;
use crate::state::{Access, PanelState, UserAccess};
use crate::texts::Language;
use crate::visitor::Visitor;

/// Somebody who has signed in.
pub(super) struct AccountPage {
    pub(super) l: Language,
    pub(super) visitor: Visitor,
    pub(super) session: Arc<Session>,
    pub(super) users: Arc<Users>,
    pub(super) access: UserAccess,
}

impl FromRequestParts<PanelState> for AccountPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &PanelState) -> Result<Self, Problem> {
        let Access::Users(access) = state.access() else { return Err(Problem::not_found()) };
        let session = Extension::<CurrentSession>::from_request_parts(parts, state).await;
        let visitor = Extension::<Visitor>::from_request_parts(parts, state).await;
        let (Ok(Extension(session)), Ok(Extension(visitor))) = (session, visitor) else {
            return Err(Problem::not_found());
        };
        let l = Language::of(&visitor, &parts.headers);
        Ok(Self { l, visitor, session: session.0, users: access.users.clone(), access: access.clone() })
    }
}

#[derive(Template)]
#[template(path = "account/page.html")]
struct Account<'a> {
    f: Frame,
    form: Form,
    session: &'a Session,
    sessions: Vec<ListedSession>,
    languages: Vec<(&'static str, &'static str)>,
}

impl Account<'_> {
    fn at(&self, millis: &i64) -> String {
        timestamp(*millis)
    }
}

/// What a refusal of the users means for a page.
pub(super) fn problem(error: UsersError) -> Problem {
    match error {
        UsersError::NotFound => Problem::not_found(),
        UsersError::Conflict(message) => Problem::new(StatusCode::CONFLICT, "conflict", message),
        UsersError::Invalid { param, message } => {
            let mut problem =
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message.clone());
            problem.fields.push((param.to_owned(), message));
            problem
        }
        UsersError::Throttled { .. } => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", error.to_string())
        }
        UsersError::Unavailable => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", ""),
    }
}

impl AccountPage {
    pub(super) fn frame(&self, title: &str) -> Frame {
        Frame::new(self.l, Some(self.visitor.clone()), Section::NONE, title)
    }

    async fn show(&self, form: Form, status: StatusCode, done: Option<&str>) -> Result<Response, Problem> {
        let sessions = self.users.sessions(&self.session.user.id).await.map_err(problem)?;
        let f = self.frame(self.l.say("account.title")).with_notice(done);
        let languages = std::iter::once(("", self.l.say("account.browser"))).chain(Language::all()).collect();
        page_with(status, &Account { f, form, session: &self.session, sessions, languages })
    }

    fn form(&self) -> Form {
        let user = &self.session.user;
        Form::of([("name", user.name.as_str()), ("language", user.language.as_deref().unwrap_or_default())])
    }

    /// Goes on, or shows the page again with the mistake.
    pub(super) async fn outcome(
        &self,
        changed: Result<(), UsersError>,
        done: &str,
        names: &[(&str, &str)],
    ) -> Result<Response, Problem> {
        match changed.map_err(problem) {
            Ok(()) => {
                self.access.note(&self.session.user, &format!("account {done}")).await;
                Ok(see(&crate::api::path(&["panel", "account"], &[("done", done)])))
            }
            Err(problem) if problem.is_about_input() => {
                let form = self.form().with_problem(&problem, names);
                self.show(form, problem.status, None).await
            }
            Err(problem) => Err(problem),
        }
    }
}

pub(super) async fn page(account: AccountPage, Query(query): Query<DoneQuery>) -> Result<Response, Problem> {
    account.show(account.form(), StatusCode::OK, query.done.as_deref()).await
}

pub(super) async fn change(account: AccountPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let user = &account.session.user;
    let language = fields.given("language");
    let is_known = language.is_none_or(|tag| Language::all().iter().any(|(known, _)| *known == tag));
    let unknown =
        || UsersError::Invalid { param: "language", message: "is no language of the panel".to_owned() };
    let mut changed = match is_known {
        true => account.users.set_language(user, language).await,
        false => Err(unknown()),
    };
    if changed.is_ok() {
        changed = account.users.set_name(user, fields.get("name")).await;
    }
    account.outcome(changed, "account", &[("name", "name"), ("language", "language")]).await
}

pub(super) async fn change_password(
    account: AccountPage,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let names = [("current_password", "current_password"), ("password", "password")];
    if fields.get("password") != fields.get("password_again") {
        let differ =
            UsersError::Invalid { param: "password", message: account.l.say("sign_in.differ").to_owned() };
        return account.outcome(Err(differ), "", &names).await;
    }
    let (current, new) = (fields.get("current_password"), fields.get("password"));
    let changed = account.users.change_password(&account.session, current, new).await;
    account.outcome(changed, "password", &names).await
}

pub(super) async fn revoke(
    account: AccountPage,
    Path(id): Path<String>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let revoked = account.users.revoke(&account.session.user.id, &id).await;
    account.outcome(revoked.map(drop), "sessions", &[]).await
}

pub(super) async fn revoke_others(account: AccountPage, Posted(_): Posted) -> Result<Response, Problem> {
    let session = &account.session;
    let revoked = account.users.revoke_others(&session.user.id, Some(&session.id)).await;
    account.outcome(revoked.map(drop), "sessions", &[]).await
}
