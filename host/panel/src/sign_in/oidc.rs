//! Signing in with an OpenID provider.

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use relevo_relay::users::oidc::{Oidc, OidcFinish, OidcRefusal};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::carried::CarriedForm;
use super::cookie;
use super::password::{SignInQuery, signed_in, user_agent, users};
use crate::api::Problem;
use crate::frame::see;
use crate::state::{ClientAddress, PanelState, UserAccess};

/// Seconds in which a sign-in must come back.
const TIME: i64 = 600;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    code: String,
    state: String,
    iss: Option<String>,
    error: Option<String>,
}

fn provider(access: &UserAccess) -> Result<&Oidc, Problem> {
    access.oidc.as_deref().ok_or_else(Problem::not_found)
}

fn redirect_uri(access: &UserAccess) -> String {
    format!("{}/panel/oidc/back", access.url)
}

fn problem(refusal: &OidcRefusal) -> Problem {
    let status = match refusal {
        OidcRefusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    };
    Problem::new(status, "sign_in", refusal.to_string())
}

pub(super) async fn begin(
    State(state): State<PanelState>,
    Query(wanted): Query<SignInQuery>,
) -> Result<Response, Problem> {
    let access = users(&state)?;
    let begun = provider(access)?.begin(&redirect_uri(access)).await.map_err(|refusal| problem(&refusal))?;
    let mut response = see(&begun.url);
    let next: String = byte_serialize(CarriedForm::to(&wanted.next).next.as_bytes()).collect();
    let kept = format!("{}.{}.{}.{next}", begun.state, begun.verifier, begun.nonce);
    cookie::set(access, &mut response, cookie::OIDC, &kept, TIME);
    Ok(response)
}

pub(super) async fn finish(
    State(state): State<PanelState>,
    Query(answer): Query<Answer>,
    client: Option<Extension<ClientAddress>>,
    fields: HeaderMap,
) -> Result<Response, Problem> {
    let access = users(&state)?;
    let oidc = provider(access)?;
    if let Some(error) = answer.error {
        let error: String = error.chars().take(100).collect();
        return Err(Problem::new(StatusCode::FORBIDDEN, "sign_in", error));
    }
    let kept = cookie::read(access, &fields, cookie::OIDC).unwrap_or_default();
    let mut parts = kept.splitn(4, '.');
    let mut part = || parts.next().unwrap_or_default();
    let (expected_state, verifier, nonce, next) = (part(), part(), part(), part());
    let next: String =
        url::form_urlencoded::parse(next.as_bytes()).map(|(text, _)| text.into_owned()).collect();
    let given = OidcFinish {
        code: &answer.code,
        state: &answer.state,
        issuer: answer.iss.as_deref(),
        expected_state,
        verifier,
        nonce,
        redirect_uri: &redirect_uri(access),
        client: client.map(|client| client.0.0),
        user_agent: user_agent(&fields),
    };
    let new = oidc.finish(given).await.map_err(|refusal| problem(&refusal))?;
    let mut response = signed_in(access, &fields, &new, &CarriedForm::to(&next)).await?;
    cookie::set(access, &mut response, cookie::OIDC, "", 0);
    Ok(response)
}
