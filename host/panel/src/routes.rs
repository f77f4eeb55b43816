//! Which page is where.

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get};

use crate::api::Problem;
use crate::frame::see;
use crate::sign_in::identify;
use crate::state::PanelState;
use crate::visitor::Visitor;
use crate::{
    account, assets, audit, domains, errors, ids, keys, live, messages, overview, relay, sign_in, statistics,
    suppressions, templates, topics, users, webhooks,
};

/// The routes of the panel. `others` are told the [`Visitor`], too: those of the inbox of
/// `relevo dev`.
pub fn routes(state: PanelState, others: Router) -> Router {
    let by_id = Router::new()
        .merge(messages::routes())
        .merge(suppressions::routes())
        .merge(users::routes())
        .layer(from_fn(ids::check));
    let tenant = Router::new()
        .route("/live", get(live::tenant))
        .merge(by_id)
        .merge(overview::routes())
        .merge(statistics::routes())
        .merge(templates::routes())
        .merge(topics::routes())
        .merge(domains::routes())
        .merge(webhooks::routes())
        .merge(keys::routes())
        .merge(audit::routes());
    let relay = relay::routes().route("/live", get(live::relay));
    Router::new()
        .route("/panel", get(first))
        .nest("/panel/t/{tenant}", tenant)
        .route("/panel/t/{tenant}/", get(overview::page))
        .nest("/panel/relay", relay)
        .merge(others.with_state(()))
        .merge(account::routes())
        .merge(sign_in::routes())
        .route("/panel/", get(elsewhere))
        .route("/panel/{*rest}", any(elsewhere))
        .layer(from_fn_with_state(state.clone(), identify))
        .layer(from_fn(errors::answer))
        .route("/panel/assets/{name}", get(assets::asset))
        .with_state(state)
}

/// The first page of a visitor.
async fn first(
    State(_): State<PanelState>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Problem> {
    match &visitor.tenant {
        Some(tenant) => Ok(see(&crate::api::path(&["panel", "t", tenant], &[]))),
        None => Ok(see("/panel/relay")),
    }
}

/// No page is here. A slash at the end is one too many: the page is without it.
async fn elsewhere(method: Method, place: Uri) -> Result<Response, Problem> {
    let page = place.path().trim_end_matches('/');
    if page == place.path() || ![Method::GET, Method::HEAD].contains(&method) {
        return Err(Problem::not_found());
    }
    Ok(see(&place.query().map_or_else(|| page.to_owned(), |query| format!("{page}?{query}"))))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use serde_json::json;

    use crate::testing::{Browser, FakeApi, ask};

    #[tokio::test]
    async fn every_path_below_the_panel_has_a_page() {
        let browser = Browser::at(FakeApi::new());
        for place in
            ["/panel/nope", "/panel/t/dev/nope", "/panel/relay/nope/x", "/panel/t", "/panel/assets/a/b"]
        {
            let page = browser.get(place).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{place}");
            page.is_harmless();
        }
        let page = browser.post("/panel/t/dev/nope/", &[]).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        page.is_harmless();
    }

    #[tokio::test]
    async fn a_slash_at_the_end_leads_to_the_page() {
        let browser = Browser::at(FakeApi::new());
        let places = [
            ("/panel/", "/panel"),
            ("/panel/relay/", "/panel/relay"),
            ("/panel/relay/queue/", "/panel/relay/queue"),
            ("/panel/t/dev/messages/", "/panel/t/dev/messages"),
            ("/panel/t/dev/messages//?q=a%2Fb", "/panel/t/dev/messages?q=a%2Fb"),
        ];
        for (place, page) in places {
            let found = browser.get(place).await;
            assert_eq!((found.status, found.location.as_str()), (StatusCode::SEE_OTHER, page), "{place}");
        }
    }

    #[tokio::test]
    async fn a_form_of_another_site_is_refused_with_a_page() {
        let api = FakeApi::of(&[("POST /topics", json!({"id": "t1"}))]);
        let request = Request::post("/panel/t/acme/topics/new")
            .header("sec-fetch-site", "cross-site")
            .header("accept-language", "es")
            .body(Body::empty());
        let (status, fields, text) = ask(&api, request.expect("a request")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.starts_with("<!doctype html>") && text.contains("lang=\"es\""), "{text}");
        assert!(fields.contains("content-security-policy"), "{fields}");
        assert!(api.requests().is_empty());
    }
}
