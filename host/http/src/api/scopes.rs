//! The scope that each route needs. A route that is not listed needs `admin`.

use axum::http::Method;
use relevo_relay::directory::Scope;

/// Any of these scopes is enough.
pub(super) fn of(method: &Method, route: &str) -> &'static [Scope] {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let first = route.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (first, reads) {
        ("emails", false) => &[Scope::Send],
        ("relay", _) => &[Scope::Relay],
        // It tells which addresses bounced, and changes nothing.
        ("validate", _) => &[Scope::Send, Scope::Read],
        ("emails" | "events" | "stats" | "quota" | "benchmark" | "reputation", true) => &[Scope::Read],
        // It changes nothing.
        ("classify", _) => &[Scope::Read, Scope::Send],
        ("domains", true) => &[Scope::Settings, Scope::Read],
        ("templates" | "render", true) => &[Scope::Templates, Scope::Read],
        ("templates" | "render", false) => &[Scope::Templates],
        ("suppressions" | "topics" | "contacts", true) => &[Scope::Suppressions, Scope::Read],
        ("suppressions" | "topics" | "contacts", false) => &[Scope::Suppressions],
        ("webhooks", _) => &[Scope::Webhooks],
        ("api-keys" | "audit", _) | ("domains" | "reputation", false) => &[Scope::Settings],
        ("users", _) => &[Scope::Users],
        _ => &[Scope::Admin],
    }
}

/// Returns true if requests of this kind are written to the audit log: those that change something
/// and are not the daily work of an application. To cancel many messages at once is not.
pub(super) fn is_administration(method: &Method, route: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
        && (!is_daily_work(of(method, route)) || route == "/emails/cancel")
        && !route.ends_with("/render")
        && route != "/classify"
}

fn is_daily_work(scopes: &[Scope]) -> bool {
    matches!(scopes, [Scope::Send | Scope::Relay, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(method: &str, route: &str) -> String {
        let method = method.parse().expect("a method");
        of(&method, route).iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reading_is_told_from_changing() {
        for (method, route, scopes) in [
            ("POST", "/emails", "send"),
            ("POST", "/emails/batch", "send"),
            ("PATCH", "/emails/{id}", "send"),
            ("POST", "/relay", "relay"),
            ("GET", "/relay/templates/{name}", "relay"),
            ("POST", "/relay/events", "relay"),
            ("POST", "/relay/unsubscribe", "relay"),
            ("GET", "/emails/{id}", "read"),
            ("GET", "/emails/{id}/source", "read"),
            ("POST", "/emails/{id}/resend", "send"),
            ("GET", "/events", "read"),
            ("POST", "/classify", "read send"),
            ("POST", "/events", "admin"),
            ("GET", "/domains/{name}/records", "settings read"),
            ("POST", "/domains", "settings"),
            ("POST", "/reputation/imports", "settings"),
            ("GET", "/templates", "templates read"),
            ("POST", "/templates/{name}/publish", "templates"),
            ("POST", "/render", "templates"),
            ("DELETE", "/suppressions/{name}", "suppressions"),
            ("PATCH", "/contacts/{email}/topics", "suppressions"),
            ("POST", "/validate", "send read"),
            ("GET", "/webhooks/{id}", "webhooks"),
            ("GET", "/api-keys", "settings"),
            ("GET", "/audit", "settings"),
            ("GET", "/users", "users"),
            ("DELETE", "/users/{id}/sessions/{session}", "users"),
            ("GET", "/whatever-comes", "admin"),
            ("GET", "/emailsx", "admin"),
            ("GET", "", "admin"),
        ] {
            assert_eq!(named(method, route), scopes, "{method} {route}");
        }
    }

    #[test]
    fn administration_is_what_changes_something() {
        let is = |method: &str, route| is_administration(&method.parse().expect("a method"), route);
        assert!(is("POST", "/api-keys") && is("DELETE", "/webhooks/{id}") && is("POST", "/suppressions"));
        assert!(is("POST", "/users") && is("POST", "/users/{id}/reset") && !is("GET", "/users"));
        assert!(is("POST", "/emails/cancel") && !is("POST", "/emails/{id}/cancel"));
        assert!(!is("POST", "/relay") && !is("POST", "/validate") && !is("POST", "/classify"));
        assert!(!is("GET", "/api-keys") && !is("POST", "/emails") && !is("POST", "/templates/{name}/render"));
    }
}
