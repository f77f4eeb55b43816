//! Messages: the list with its search, and one message.

pub(crate) mod content;
mod list;
mod show;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use url::form_urlencoded;

use crate::api::path;
use crate::frame::see;
use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/messages", get(list::page))
        .route("/messages/{id}", get(show::page))
        .route("/messages/{id}/cancel", post(show::cancel))
        .route("/messages/{id}/resend", post(show::resend))
        .route("/messages/{id}/content", get(content::page))
        .route("/messages/{id}/html", get(content::html))
        .route("/messages/{id}/changes", get(content::changes).layer(from_fn(of_recipient)))
        .route("/messages/{id}/source", get(content::source))
        .route("/messages/{id}/source.eml", get(content::download))
        .route("/messages/{id}/attachments/{number}", get(content::attachment))
}

/// Changes are those of a recipient's copy: without one, the page of the message lists them.
async fn of_recipient(names: RawPathParams, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let is_given = |(name, value): (_, std::borrow::Cow<'_, str>)| name == "recipient" && !value.is_empty();
    if form_urlencoded::parse(query.as_bytes()).any(is_given) {
        return next.run(request).await;
    }
    let named = |wanted| names.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
    let message = ["panel", "t", named("tenant"), "messages", named("id")];
    see(&path(&message, &[("done", "choose_recipient")]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Browser, FakeApi};

    const ID: &str = "01KB6Q4Y7M3V8T01KB6Q4Y7M31";

    fn message(states: &[&str]) -> Value {
        let recipient = |state: &&str| {
            json!({"email": format!("{state}@example.net"), "message_id": ID, "last_event": state,
                "last_event_at": "2026-11-29T20:00:00Z"})
        };
        json!({"id": ID, "from": "a@example.com", "subject": "s", "created_at": "2026-11-29T20:00:00Z",
            "last_event": states[0], "message_id_header": "<a@example.com>",
            "recipients": states.iter().map(recipient).collect::<Vec<_>>()})
    }

    fn browser(states: &[&str]) -> Browser {
        Browser::at(FakeApi::new().with("GET", &format!("/emails/{ID}"), 200, message(states)))
    }

    #[tokio::test]
    async fn what_is_refused_is_said_on_the_page_of_the_message() {
        let browser = browser(&["delivered", "bounced"]);
        for (verb, status) in [("cancel", 409), ("resend", 422)] {
            let refusal = json!({"name": "x", "message": format!("no {verb} now")});
            let line = format!("POST /emails/{ID}/{verb}");
            browser.api.answer(&line, status.try_into().expect("a status"), refusal);
            let page = browser.post(&format!("/panel/t/dev/messages/{ID}/{verb}"), &[]).await;
            page.is_harmless();
            assert_eq!(page.status, status);
            assert!(page.text.contains(&format!("no {verb} now")) && page.text.contains("bounced@"));
        }
        let page = browser.get(&format!("/panel/t/dev/messages/{ID}/changes")).await;
        assert_eq!(page.location, format!("/panel/t/dev/messages/{ID}?done=choose_recipient"));
    }

    #[tokio::test]
    async fn only_what_was_queued_is_offered_again() {
        let place = format!("/panel/t/dev/messages/{ID}");
        for (states, is_offered) in [(&["suppressed"][..], false), (&["suppressed", "delivered"], true)] {
            let page = browser(states).get(&place).await;
            assert_eq!(page.text.contains("name=\"to\""), is_offered, "{states:?}");
        }
    }
}
