//! The names of errors, and where the page of the reference explains each.

/// A name of an error.
pub(super) struct ErrorName {
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) meaning: &'static str,
}

const fn error(name: &'static str, status: u16, meaning: &'static str) -> ErrorName {
    ErrorName { name, status, meaning }
}

/// Every name that the API gives, by status.
pub(super) const ERRORS: [ErrorName; 21] = [
    error(
        "bad_request",
        400,
        "The request breaks HTTP, or its body is not JSON: `message` names line and column.",
    ),
    error(
        "invalid_idempotency_key",
        400,
        "`Idempotency-Key` is empty, too long, or has other characters than printable ASCII.",
    ),
    error("missing_api_key", 401, "There is no key. Send it as `Authorization: Bearer KEY`."),
    error("invalid_api_key", 403, "The key is not known, was revoked, or has ended."),
    error(
        "restricted_api_key",
        403,
        "The key is good and may not do this: `message` names the scope that it needs.",
    ),
    error("not_found", 404, "There is no such thing, or it is another tenant's."),
    error(
        "method_not_allowed",
        405,
        "The path exists, but not with this method: `Allow` names those that it has.",
    ),
    error(
        "conflict",
        409,
        "The state of the thing does not allow it: `message` says what has happened already.",
    ),
    error(
        "concurrent_idempotent_requests",
        409,
        "A request with the same idempotency key is under way. Repeat it when that one is answered.",
    ),
    error(
        "invalid_idempotent_request",
        409,
        "The idempotency key was used for another request. Take a new key.",
    ),
    error(
        "cursor_pruned",
        410,
        "The events after this cursor are kept no longer. Begin again without a cursor.",
    ),
    error(
        "gone",
        410,
        "The content of the email is kept no longer: `keep_content` of the tenant says for how long it is.",
    ),
    error("payload_too_large", 413, "The body is larger than this request allows."),
    error("misdirected_request", 421, "The name in `Host` is not served here."),
    error(
        "validation_error",
        422,
        "A value is wrong: `param` is its path, `message` the remedy. `errors` lists all when there are several.",
    ),
    error(
        "rate_limit_exceeded",
        429,
        "Too many requests of the tenant or the address. `Retry-After` says when the next one may come.",
    ),
    error(
        "hourly_quota_exceeded",
        429,
        "The tenant has sent as much as it may in an hour. `Retry-After` says when it may send again.",
    ),
    error(
        "daily_quota_exceeded",
        429,
        "The tenant has sent as much as it may in a day. `Retry-After` says when it may send again.",
    ),
    error(
        "monthly_quota_exceeded",
        429,
        "The tenant has sent as much as it may in a month. `Retry-After` says when it may send again.",
    ),
    error(
        "internal_error",
        500,
        "A mistake of the relay, which is in its log under `request_id`. Tell the operator.",
    ),
    error("unavailable", 503, "The relay cannot do it now. Nothing was accepted: repeat the request later."),
];

/// The place of a name in the page.
pub(super) fn anchor(name: &str) -> String {
    format!("errors-{name}")
}

/// Where the page explains an error: a reference relative to the server's address, as the relay
/// does not know under which name clients reach it. None for a name that the API does not give.
pub(crate) fn doc_url(name: &str) -> Option<String> {
    let is_known = ERRORS.iter().any(|error| error.name == name);
    is_known.then(|| format!("/docs#{}", anchor(name)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::PAGE;
    use super::*;
    use crate::api;
    use crate::error::RequestError::{self, *};

    /// One of each kind; the names of quotas come from elsewhere.
    fn every_error() -> Vec<RequestError> {
        let text = || "text".to_owned();
        let wait = Duration::from_secs(1);
        let quota = |name| QuotaExceeded { name, message: "text".to_owned(), retry_after: wait };
        let mut all = vec![
            Malformed(text()),
            MissingKey,
            InvalidKey(text()),
            Restricted(text()),
            NotFound(text()),
            MethodNotAllowed,
            Conflict(text()),
            Gone(text()),
            ContentGone(text()),
            TooLarge(text()),
            Misdirected(text()),
            RequestError::invalid("a", "text"),
            InvalidFields(Vec::new()),
            IdempotencyKey(text()),
            RequestUnderWay,
            KeyOfAnotherRequest,
            TooMany { retry_after: wait },
            Internal,
            Overloaded,
            Unavailable(text()),
        ];
        all.extend(["hourly_quota_exceeded", "daily_quota_exceeded", "monthly_quota_exceeded"].map(quota));
        all
    }

    #[tokio::test]
    async fn every_error_leads_to_its_place_in_the_page() {
        let page = String::from_utf8(PAGE.to_vec()).unwrap();
        for error in every_error() {
            // A kind that is added belongs into the list above.
            match error {
                Malformed(_)
                | MissingKey
                | InvalidKey(_)
                | Restricted(_)
                | NotFound(_)
                | MethodNotAllowed
                | Conflict(_)
                | Gone(_)
                | ContentGone(_)
                | TooLarge(_)
                | Misdirected(_)
                | Invalid { .. }
                | InvalidFields(_)
                | IdempotencyKey(_)
                | RequestUnderWay
                | KeyOfAnotherRequest
                | TooMany { .. }
                | QuotaExceeded { .. }
                | Internal
                | Overloaded
                | Unavailable(_) => {}
            }
            let response = api::words(&error, "id");
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let url = body["doc_url"].as_str().unwrap_or_else(|| panic!("{error:?} has no doc_url: {body}"));
            let anchor = url.strip_prefix("/docs#").unwrap();
            assert!(page.contains(&format!("<tr id=\"{anchor}\">")), "{anchor} is not in the page");
            let listed = ERRORS.iter().find(|entry| body["name"] == entry.name).unwrap();
            assert_eq!(listed.status, status, "{}", listed.name);
        }
    }

    #[test]
    fn each_name_is_explained_once() {
        let names: std::collections::BTreeSet<_> = ERRORS.iter().map(|error| error.name).collect();
        assert_eq!(names.len(), ERRORS.len());
        assert_eq!(doc_url("validation_error").as_deref(), Some("/docs#errors-validation_error"));
        assert_eq!(doc_url("no_such_error"), None);
    }
}
