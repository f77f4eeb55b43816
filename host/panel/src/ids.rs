//! Ids in paths: a page asks the API about an id, and never reaches another of its routes.

use axum::extract::{RawPathParams, Request};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Problem;

/// Characters of an id: 128 bits in base32.
const LENGTH: usize = 26;
/// Digits of ids (Crockford's base32), without the letters that are read as others.
const DIGITS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The id, if it has the shape of one.
///
/// # Errors
/// There is no such page: no other text is an id, and some name routes of the API.
pub(crate) fn id(text: &str) -> Result<&str, Problem> {
    let is_digit = |digit: u8| DIGITS.contains(&digit.to_ascii_uppercase());
    let is_id = text.len() == LENGTH && text.bytes().all(is_digit);
    if is_id { Ok(text) } else { Err(Problem::not_found()) }
}

/// Lets requests pass whose parameter `id`, if their path has one, has the shape of an id.
pub(crate) async fn check(names: RawPathParams, request: Request, next: Next) -> Result<Response, Problem> {
    if let Some((_, given)) = names.iter().find(|(name, _)| *name == "id") {
        id(given)?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::testing::{Browser, FakeApi};

    #[test]
    fn ids_have_one_shape() {
        assert!(id("01KB6Q4Y7M3V8T01KB6Q4Y7M3V").is_ok() && id("01kb6q4y7m3v8t01kb6q4y7m3v").is_ok());
        for wrong in ["", "batch", "01KB6Q4Y7M3V8T01KB6Q4Y7M3", "01KB6Q4Y7M3V8T01KB6Q4Y7M3U", "../emails"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn names_of_routes_are_no_ids() {
        let browser = Browser::at(FakeApi::new().with("GET", "/", 200, json!({"data": []})));
        let places = ["relay/queue/messages/sites", "t/dev/messages/batch", "t/dev/messages/cancel/content"];
        for place in places {
            let page = browser.get(&format!("/panel/{place}")).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{place}");
            page.is_harmless();
        }
        let forms = ["messages/batch/cancel", "suppressions/undo/remove", "users/x%2Fsessions/delete"];
        for place in forms {
            let page = browser.post(&format!("/panel/t/dev/{place}"), &[]).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{place}");
        }
        assert!(browser.api.requests().is_empty(), "the API is not asked");
    }
}
