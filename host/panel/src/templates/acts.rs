//! What is done with a template beside writing it.

use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::draft::Draft;
use super::edit;
use super::model::Made;
use super::preview::{self, FramedPage};
use crate::api::{Problem, path};
use crate::forms::Posted;
use crate::frame::{self, see};
use crate::state::TenantPage;

#[derive(Debug, Deserialize)]
pub(super) struct PublishQuery {
    version: i64,
}

pub(super) async fn publish(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<PublishQuery>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let place = path(&["templates", &name, "publish"], &[]);
    let published: Result<Value, Problem> =
        tenant.api.send(Method::POST, &place, &json!({"version": query.version})).await;
    done(&tenant, &name, published.map(|_| vec!["templates", &name]), "template_published").await
}

pub(super) async fn duplicate(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let place = path(&["templates", &name, "duplicate"], &[]);
    let made: Result<Made, Problem> = tenant.api.act(Method::POST, &place).await;
    let place = made.as_ref().map(|made| vec!["templates", made.id.as_str()]).map_err(Clone::clone);
    done(&tenant, &name, place, "template_duplicated").await
}

pub(super) async fn delete(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let gone: Result<Value, Problem> =
        tenant.api.act(Method::DELETE, &path(&["templates", &name], &[])).await;
    done(&tenant, &name, gone.map(|_| vec!["templates"]), "template_deleted").await
}

/// Goes on to a page, or shows the template with why it was not done.
async fn done(
    tenant: &TenantPage,
    name: &str,
    place: Result<Vec<&str>, Problem>,
    key: &str,
) -> Result<Response, Problem> {
    match place {
        Ok(segments) => Ok(see(&tenant.url(&segments, &[("done", key)]))),
        Err(problem) if problem.is_about_input() => edit::refused(tenant, name, &problem).await,
        Err(problem) => Err(problem),
    }
}

/// Sends what is typed to an address. The answer is in the frame of the preview, so that nothing that
/// was typed is lost.
pub(super) async fn test(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let draft = Draft::sent(fields);
    match sent(&tenant, &draft).await {
        Ok(made) => {
            let mut page = FramedPage::new(tenant.l);
            let to = draft.fields.get("test_to").trim().to_owned();
            page.sent = Some((tenant.url(&["messages", &made.id], &[]), to));
            frame::framed(StatusCode::OK, &page)
        }
        Err(problem) if problem.is_about_input() => preview::refused(&tenant, &draft, &problem),
        Err(problem) => Err(problem),
    }
}

async fn sent(tenant: &TenantPage, draft: &Draft) -> Result<Made, Problem> {
    let rendering = preview::rendered(tenant, draft).await?;
    let body = draft.body()?;
    let mut message = json!({
        "from": draft.fields.get("from").trim(),
        "to": draft.fields.get("test_to").trim(),
        "subject": rendering.subject,
        "text": rendering.text,
        "tags": [{"name": "test", "value": "template"}],
    });
    if let Some(html) = rendering.html {
        message["html"] = html.into();
    }
    if let Some(reply_to) = body.get("reply_to").filter(|list| list.as_array().is_some_and(|l| !l.is_empty()))
    {
        message["reply_to"] = reply_to.clone();
    }
    tenant.api.send(Method::POST, "/emails", &message).await
}
