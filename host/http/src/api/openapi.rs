//! The document of the API, collected from the handlers.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    audit, classify, domains, emails, events, health, keys, quota, relay, reported, reputation, stats,
    suppressions, templates, topics, users, validate, webhooks,
};
use crate::error::ErrorBody;

const DESCRIPTION: &str = "\
Every request carries the key of a tenant in `Authorization: Bearer KEY`. Bodies and answers are JSON. A field that \
is not known is refused by name.

An error has the HTTP status, a name for programs, a message for people, and where one value is wrong its path in \
`param`, such as `recipients[3].email`. `request_id` is in the relay's log, too.";

/// Errors that any operation may answer.
const COMMON: [(&str, &str); 7] = [
    ("400", "The request is not HTTP or JSON as it should be: `bad_request`."),
    ("401", "There is no key: `missing_api_key`."),
    ("403", "The key is not known, or may not do this: `invalid_api_key`, `restricted_api_key`."),
    ("422", "A parameter or a value of the body is wrong: `validation_error`, with `param`."),
    (
        "429",
        "There were too many requests, or a quota is used up: `rate_limit_exceeded`, `hourly_quota_exceeded`, \
         `daily_quota_exceeded`, `monthly_quota_exceeded`. `Retry-After` says when to try again.",
    ),
    ("500", "A mistake of the relay, which is in its log under `request_id`: `internal_error`."),
    ("503", "The relay cannot do it now; try again: `unavailable`."),
];
/// Errors of operations with a name in the path, with a body, and of those that change something.
const NOT_FOUND: (&str, &str) = ("404", "There is no such thing, or it is another tenant's: `not_found`.");
const TOO_LARGE: (&str, &str) = ("413", "The body is larger than it may be: `payload_too_large`.");
const CONFLICT: (&str, &str) = ("409", "It is at odds with what is there: `conflict`.");
const GONE: (&str, &str) = ("410", "The cursor is older than what is kept: `cursor_pruned`.");

#[derive(OpenApi)]
#[openapi(
    info(title = "Relevo", description = DESCRIPTION),
    paths(
        emails::send::send,
        emails::send::send_batch,
        emails::check::check_content,
        relay::relay,
        relay::template,
        reported::events,
        reported::unsubscribe,
        emails::list,
        emails::show,
        emails::reschedule,
        emails::cancel,
        emails::cancel_all,
        emails::content::source,
        emails::content::content,
        emails::content::attachment,
        emails::content::changes,
        emails::content::resend,
        events::events,
        keys::create,
        keys::list,
        keys::show,
        keys::rename,
        keys::delete,
        keys::rotate,
        audit::list,
        quota::show,
        domains::add,
        domains::list,
        domains::show,
        domains::change,
        domains::remove,
        domains::verify,
        domains::records,
        health::show,
        reputation::show,
        reputation::import,
        classify::classify,
        stats::stats,
        stats::benchmark,
        templates::create,
        templates::list,
        templates::show,
        templates::update,
        templates::delete,
        templates::publish,
        templates::duplicate,
        templates::versions,
        templates::version,
        templates::render,
        templates::render_source,
        suppressions::add,
        suppressions::list,
        suppressions::show,
        suppressions::delete,
        suppressions::add_batch,
        suppressions::remove_batch,
        suppressions::remove,
        suppressions::undo::undo,
        suppressions::import,
        suppressions::export,
        topics::create,
        topics::list,
        topics::show,
        topics::update,
        topics::delete,
        topics::choices,
        topics::choose,
        users::invite,
        users::list,
        users::show,
        users::change,
        users::delete,
        users::reset,
        users::sessions,
        users::end_session,
        validate::validate,
        validate::validate_bulk,
        webhooks::create,
        webhooks::list,
        webhooks::event_types,
        webhooks::show,
        webhooks::update,
        webhooks::delete,
        webhooks::rotate,
        webhooks::test,
        webhooks::deliveries::attempts,
        webhooks::deliveries::replay_span,
        webhooks::deliveries::list,
        webhooks::deliveries::show,
        webhooks::deliveries::attempts_of,
        webhooks::deliveries::replay,
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "emails", description = "Sending, and what became of what was sent."),
        (name = "templates", description = "Templates with versions. The published version is sent."),
        (name = "suppressions", description = "Addresses that get no mail of a tenant."),
        (name = "validation", description = "Addresses, before anything is sent to them."),
        (name = "topics", description = "Topics that recipients can leave, and their choices."),
        (name = "webhooks", description = "Events posted to endpoints of a tenant."),
        (name = "events", description = "The event log, by cursor."),
        (name = "statistics", description = "Counts and rates by time, group and filter."),
        (name = "domains", description = "Sending domains and the DNS records to publish."),
        (name = "keys", description = "API keys, limits and the audit log."),
        (name = "users", description = "People who sign in to the panel."),
    ),
)]
struct Base;

/// The document of all routes.
pub(crate) fn document() -> Document {
    let mut document = Base::openapi();
    Aliases.modify(&mut document);
    Key.modify(&mut document);
    Errors.modify(&mut document);
    document
}

/// Paths that Resend's clients know, and ours for the same operations.
const ALIASES: [(&str, &str); 2] = [("/deliveries", "/events"), ("/rotate-secret", "/signing-secret/rotate")];

/// Documents each webhook operation under its other path, too.
struct Aliases;

impl Modify for Aliases {
    fn modify(&self, document: &mut Document) {
        let paths = &mut document.paths.paths;
        let mut aliases = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/webhooks/{id}/")) {
            for (ours, theirs) in ALIASES.into_iter().filter(|(ours, _)| path.contains(ours)) {
                let mut item = item.clone();
                for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                    operation.operation_id =
                        operation.operation_id.take().map(|id| alias_id(&id, ours, theirs));
                }
                aliases.push((path.replacen(ours, theirs, 1), item));
            }
        }
        paths.extend(aliases);
    }
}

/// The id of an operation under its other path: ids are paths with `_`.
fn alias_id(id: &str, ours: &str, theirs: &str) -> String {
    let words = |path: &str| path.replace(['/', '-'], "_");
    id.replacen(&words(ours), &words(theirs), 1)
}

/// The key of a tenant.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    }
}

/// The errors of each operation, as references to components.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        for (status, description) in COMMON.into_iter().chain([NOT_FOUND, TOO_LARGE, CONFLICT, GONE]) {
            let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
            let response =
                ResponseBuilder::new().description(description).content("application/json", content);
            components.responses.insert(name(status), RefOr::T(response.build()));
        }
        for (path, item) in &mut document.paths.paths {
            let changing = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in changing.into_iter().flatten() {
                add(operation, path, true);
            }
            if let Some(operation) = &mut item.get {
                add(operation, path, false);
            }
        }
    }
}

fn name(status: &str) -> String {
    format!("Error{status}")
}

fn add(operation: &mut Operation, path: &str, changes: bool) {
    let mut statuses: Vec<&str> = COMMON.iter().map(|(status, _)| *status).collect();
    if path.contains('{') {
        statuses.push(NOT_FOUND.0);
    }
    if operation.request_body.is_some() {
        statuses.push(TOO_LARGE.0);
    }
    if changes {
        statuses.push(CONFLICT.0);
    }
    if path == "/events" {
        statuses.push(GONE.0);
    }
    for status in statuses {
        let reference = Ref::from_response_name(name(status));
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::Ref(reference));
    }
}
