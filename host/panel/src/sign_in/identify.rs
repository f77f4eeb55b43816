//! Who sends a request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use relevo_relay::users::Session;

use super::{carried, cookie};
use crate::api::{Problem, path};
use crate::frame::see;
use crate::state::{Access, PanelState, UserAccess};
use crate::visitor::{UserRole, Visitor};

/// The session of a request.
#[derive(Clone)]
pub(crate) struct CurrentSession(pub(crate) Arc<Session>);

/// Pages for those who are not signed in.
const PUBLIC: [&str; 3] = ["/panel/sign-in", "/panel/link/", "/panel/oidc"];

/// Finds the visitor of a request, and sends those away who are nobody.
pub(crate) async fn identify(State(state): State<PanelState>, mut request: Request, next: Next) -> Response {
    if request.method() != Method::GET && is_of_another_site(request.headers()) {
        return Problem::new(StatusCode::FORBIDDEN, "stale_form", "").into_response();
    }
    let access = match state.access() {
        Access::Open { tenant, csrf } => {
            return answer_to(open(tenant, csrf), request, next).await;
        }
        Access::Users(access) => access,
    };
    let token = cookie::read(access, request.headers(), cookie::SESSION);
    let session = match token {
        Some(token) => access.users.session(token).await,
        None => Ok(None),
    };
    let session = match session {
        Ok(session) => session,
        Err(_) => return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "").into_response(),
    };
    if let Some(session) = session {
        let visitor = visitor(&session);
        request.extensions_mut().insert(CurrentSession(Arc::new(session)));
        return answer_to(visitor, request, next).await;
    }
    let place = request.uri().path();
    if PUBLIC.iter().any(|public| place.starts_with(public)) {
        return next.run(request).await;
    }
    let is_stream = request.headers().get(header::ACCEPT).is_some_and(|kinds| kinds == "text/event-stream");
    if is_stream {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let place = request.uri().path_and_query().map_or("", |place| place.as_str()).to_owned();
    match *request.method() {
        Method::GET | Method::HEAD => {
            let next = if place == "/panel" { "" } else { &place };
            see(&path(&["panel", "sign-in"], &[("next", next)]))
        }
        // Whoever typed for an hour loses nothing.
        _ => signed_out_form(access, &place, request).await,
    }
}

/// Tells the pages who asks, and those who word problems whom they answer.
async fn answer_to(visitor: Visitor, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(visitor);
    response
}

async fn signed_out_form(access: &UserAccess, place: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let form = carried::CarriedForm::read(place, &parts.headers, body).await;
    let page = super::password::page_of(access, &parts.headers, form);
    page.unwrap_or_else(IntoResponse::into_response)
}

/// A form that another site sent. Browsers say where a request comes from; what is no browser has no
/// cookie that another site could use.
fn is_of_another_site(fields: &HeaderMap) -> bool {
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !["same-origin", "none"].contains(&site);
    }
    let Some(origin) = text("origin") else { return false };
    let host = origin.split_once("://").map_or("null", |(_, host)| host);
    text("host") != Some(host)
}

fn open(tenant: &str, csrf: &str) -> Visitor {
    Visitor {
        name: "dev".to_owned(),
        email: "dev".to_owned(),
        tenant: Some(tenant.to_owned()),
        role: UserRole::Operator,
        language: None,
        csrf: csrf.to_owned(),
        is_open: true,
    }
}

fn visitor(session: &Session) -> Visitor {
    let user = &session.user;
    let name = if user.name.is_empty() { &user.email } else { &user.name };
    Visitor {
        name: name.clone(),
        email: user.email.clone(),
        tenant: user.tenant.clone(),
        role: user.role,
        language: user.language.clone(),
        csrf: session.csrf.clone(),
        is_open: false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_of_another(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.insert(*name, HeaderValue::from_static(value));
        }
        is_of_another_site(&fields)
    }

    #[test]
    fn forms_of_other_sites_are_told() {
        assert!(!is_of_another(&[]), "no browser");
        assert!(!is_of_another(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")]));
        assert!(is_of_another(&[("sec-fetch-site", "cross-site")]));
        assert!(is_of_another(&[("sec-fetch-site", "same-site")]));
        assert!(!is_of_another(&[("origin", "https://relay.test:8443"), ("host", "relay.test:8443")]));
        assert!(is_of_another(&[("origin", "https://evil.test"), ("host", "relay.test")]));
        assert!(is_of_another(&[("origin", "null"), ("host", "relay.test")]));
    }
}
