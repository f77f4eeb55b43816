//! The authenticator: a code beside the password.

use askama::Template;
use axum::response::Response;
use relevo_relay::users::TotpSecret;

use super::page::{AccountPage, problem};
use super::qr;
use crate::api::Problem;
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, page_with};

#[derive(Template)]
#[template(path = "account/totp.html")]
struct BeginPage {
    f: Frame,
    form: Form,
    secret: TotpSecret,
    /// SVG.
    code: String,
}

#[derive(Template)]
#[template(path = "account/recovery.html")]
struct RecoveryPage {
    f: Frame,
    codes: Vec<String>,
}

pub(super) async fn begin(account: AccountPage, Posted(fields): Posted) -> Result<Response, Problem> {
    // Whoever finds a browser open must not lock its owner out.
    let password = fields.get("totp_password");
    if let Err(error) = account.users.prove(&account.session.user, "totp_password", password).await {
        return account.outcome(Err(error), "", &[("totp_password", "totp_password")]).await;
    }
    let secret = account.users.begin_totp(&account.session.user).await.map_err(problem)?;
    let code = qr::svg(&secret.uri);
    let f = account.frame(account.l.say("account.totp_begin"));
    frame::page(&BeginPage { f, form: Form::default(), secret, code })
}

pub(super) async fn confirm(account: AccountPage, Posted(fields): Posted) -> Result<Response, Problem> {
    match account.users.confirm_totp(&account.session.user, fields.get("code").trim()).await {
        Ok(codes) => {
            account.access.note(&account.session.user, "account totp").await;
            let f = account.frame(account.l.say("account.recovery"));
            frame::page(&RecoveryPage { f, codes })
        }
        Err(error) => {
            let problem = problem(error);
            if !problem.is_about_input() {
                return Err(problem);
            }
            // The secret is shown once: whoever mistyped the code types the next one.
            let f = account.frame(account.l.say("account.totp_begin"));
            let form = Form::default().with_problem(&problem, &[("code", "code")]);
            let secret = TotpSecret { secret: String::new(), uri: String::new() };
            page_with(problem.status, &BeginPage { f, form, secret, code: String::new() })
        }
    }
}

pub(super) async fn remove(account: AccountPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let removed = account.users.remove_totp(&account.session.user, fields.get("totp_password")).await;
    account.outcome(removed, "totp_removed", &[("password", "totp_password")]).await
}
