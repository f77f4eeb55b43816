//! Pages that say what is wrong.

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::frame::{Frame, Section, page_with};
use crate::state::language;
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    f: Frame,
    text: &'static str,
    message: String,
}

/// Makes a page of a [`Problem`], in the language of the visitor that an answer carries, if one does.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let fields = request.headers().clone();
    let mut response = next.run(request).await;
    let visitor = response.extensions_mut().remove::<Visitor>();
    let l = language(visitor.as_ref(), &fields);
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // Streams of changes end without a page.
        None if response.status() == StatusCode::UNAUTHORIZED => return response,
        // What the framework refused before a handler saw it.
        None if response.status().is_client_error() && !has_body(&response) => {
            Problem::new(response.status(), "bad_request", "")
        }
        None => return response,
    };
    let key = match problem.status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "not_found",
        StatusCode::GONE => "gone",
        StatusCode::FORBIDDEN if problem.name == "stale_form" => "stale_form",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::TOO_MANY_REQUESTS => "too_many",
        status if status.is_server_error() => "server",
        _ => "request",
    };
    let text = l.find("problem", key).unwrap_or_default();
    let f = Frame::new(l, visitor, Section::NONE, l.say("errors.title"));
    let page = page_with(problem.status, &ErrorPage { f, text, message: problem.message });
    page.unwrap_or_else(|problem| problem.status.into_response())
}

fn has_body(response: &Response) -> bool {
    response.headers().contains_key(axum::http::header::CONTENT_TYPE)
        && response.headers().contains_key(axum::http::header::CONTENT_SECURITY_POLICY)
}
