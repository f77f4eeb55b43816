//! What stands around the content of a page.

use std::borrow::Cow;
use std::fmt::Display;

use askama::Template;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use crate::api::{Problem, path};
use crate::assets;
use crate::escape::shortened;
use crate::texts::Language;
use crate::visitor::{UserRole, Visitor};

/// The Content-Security-Policy of a page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The Content-Security-Policy of the body of a message, in a frame or by itself: no scripts, no forms,
/// an origin of its own, nothing from other hosts.
pub const BODY_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The same, with the images that the message names. Whoever serves them learns that it was opened.
pub const BODY_POLICY_WITH_IMAGES: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; \
    default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'self'";

/// Octets of a long text of others.
const MAX_TEXT: usize = 600;

/// The Content-Security-Policy of a page of the panel that stands in a frame of another one: no scripts,
/// no forms, an origin of its own, and the style sheet.
pub(crate) const FRAMED_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; \
    default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// A part of the panel, as the navigation names it: the key of its text in the group `nav`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    key: &'static str,
    /// Below the pages of a tenant or of operators; empty: the first page.
    place: &'static str,
    least: UserRole,
}

const fn section(key: &'static str, place: &'static str, least: UserRole) -> Section {
    Section { key, place, least }
}

impl Section {
    /// The first page of a tenant.
    pub(crate) const OVERVIEW: Self = section("overview", "", UserRole::Viewer);
    /// Messages.
    pub(crate) const MESSAGES: Self = section("messages", "messages", UserRole::Viewer);
    /// Statistics.
    pub(crate) const STATISTICS: Self = section("statistics", "statistics", UserRole::Viewer);
    /// Templates.
    pub(crate) const TEMPLATES: Self = section("templates", "templates", UserRole::Viewer);
    /// Suppressed addresses.
    pub(crate) const SUPPRESSIONS: Self = section("suppressions", "suppressions", UserRole::Viewer);
    /// Topics.
    pub(crate) const TOPICS: Self = section("topics", "topics", UserRole::Viewer);
    /// Sending domains.
    pub(crate) const DOMAINS: Self = section("domains", "domains", UserRole::Viewer);
    /// Webhooks, whose secrets are shown.
    pub(crate) const WEBHOOKS: Self = section("webhooks", "webhooks", UserRole::Developer);
    /// API keys.
    pub(crate) const KEYS: Self = section("keys", "keys", UserRole::Developer);
    /// The audit log.
    pub(crate) const AUDIT: Self = section("audit", "audit", UserRole::Developer);
    /// Users of a tenant.
    pub(crate) const USERS: Self = section("users", "users", UserRole::Owner);

    /// The relay at a glance.
    pub(crate) const RELAY: Self = section("relay", "", UserRole::Operator);
    /// The queue.
    pub(crate) const QUEUE: Self = section("queue", "queue", UserRole::Operator);
    /// Shaping and warm-up.
    pub(crate) const SHAPING: Self = section("shaping", "shaping", UserRole::Operator);
    /// Tenants.
    pub(crate) const TENANTS: Self = section("tenants", "tenants", UserRole::Operator);
    /// Plugins.
    pub(crate) const PLUGINS: Self = section("plugins", "plugins", UserRole::Operator);

    /// Pages that are no part: signing in, the own account, errors.
    pub(crate) const NONE: Self = section("account", "", UserRole::Viewer);
    /// The inbox of `relevo dev`.
    pub(crate) const INBOX: Self = section("inbox", "", UserRole::Operator);

    const OF_TENANT: [Self; 11] = [
        Self::OVERVIEW,
        Self::MESSAGES,
        Self::STATISTICS,
        Self::TEMPLATES,
        Self::SUPPRESSIONS,
        Self::TOPICS,
        Self::DOMAINS,
        Self::WEBHOOKS,
        Self::KEYS,
        Self::USERS,
        Self::AUDIT,
    ];
    const OF_OPERATORS: [Self; 5] = [Self::RELAY, Self::QUEUE, Self::SHAPING, Self::TENANTS, Self::PLUGINS];
}

/// A link of the navigation.
pub(crate) struct NavLink {
    pub(crate) text: &'static str,
    pub(crate) url: String,
    pub(crate) is_here: bool,
}

/// What stands around the content of a page: every page has one in its field `f`.
pub(crate) struct Frame {
    /// The language.
    pub l: Language,
    /// The title, without markup.
    pub title: String,
    /// Who looks at it.
    pub visitor: Option<Visitor>,
    pub(crate) tenant: Option<String>,
    section: Section,
    pub(crate) has_inbox: bool,
    pub(crate) notice: Option<&'static str>,
    /// Where changes of what the page shows are announced. None: it is not live.
    pub(crate) live: Option<String>,
}

impl Frame {
    /// Around a page.
    #[must_use]
    pub(crate) fn new(l: Language, visitor: Option<Visitor>, section: Section, title: &str) -> Self {
        let title = title.to_owned();
        let has_inbox = visitor.as_ref().is_some_and(|visitor| visitor.is_open);
        Self { l, title, visitor, tenant: None, section, has_inbox, notice: None, live: None }
    }

    pub(crate) fn of_tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.to_owned());
        self
    }

    /// Says what was done just now: `key` is one of the group `done`; others are ignored.
    #[must_use]
    pub(crate) fn with_notice(mut self, key: Option<&str>) -> Self {
        self.notice = key.and_then(|key| self.l.find("done", key));
        self
    }

    /// The page is shown anew when something happens to the tenant's mail.
    #[must_use]
    pub(crate) fn live(mut self) -> Self {
        self.live = self.tenant.as_deref().map(|tenant| path(&["panel", "t", tenant, "live"], &[]));
        self
    }

    /// The page is shown anew every few seconds.
    #[must_use]
    pub(crate) fn live_at(mut self, url: &str) -> Self {
        self.live = Some(url.to_owned());
        self
    }

    /// A text.
    #[must_use]
    pub(crate) fn say<'k>(&self, key: &'k str) -> &'k str {
        self.l.say(key)
    }

    /// A text with a value in it.
    #[must_use]
    pub(crate) fn fill(&self, key: &str, value: impl Display) -> String {
        self.l.fill(key, &value)
    }

    /// The name of something that data names.
    #[must_use]
    pub(crate) fn term<'k>(&self, group: &str, name: &'k str) -> &'k str {
        self.l.term(group, name)
    }

    /// The class of a state: good, bad, worth a look, or none of these.
    #[must_use]
    pub(crate) fn tone(&self, state: &str) -> &'static str {
        match state {
            "delivered" | "opened" | "clicked" | "published" | "verified" | "pass" | "ok" | "enabled"
            | "active" | "success" | "succeeded" | "good" => "good",
            "bounced" | "failed" | "expired" | "complained" | "rejected" | "fail" | "error" | "disabled"
            | "listed" | "exhausted" | "suspended" | "broken" | "bad" => "bad",
            "delivery_delayed" | "suppressed" | "held" | "warning" | "pending" | "failing" | "discarded"
            | "deferred" | "draft" | "warn" | "temporary_failure" => "warning",
            _ => "quiet",
        }
    }

    /// The beginning of a long text.
    #[must_use]
    pub(crate) fn short<'t>(&self, text: &'t str) -> Cow<'t, str> {
        shortened(text, MAX_TEXT)
    }

    /// The address, if it is one that a browser may follow.
    #[must_use]
    pub(crate) fn web<'t>(&self, url: &'t str) -> Option<&'t str> {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        (lower.starts_with("https://") || lower.starts_with("http://")).then_some(url)
    }

    /// A time for people.
    #[must_use]
    pub(crate) fn time(&self, at: &str) -> String {
        self.l.time(at)
    }

    /// A number for people.
    #[must_use]
    pub(crate) fn number(&self, number: &u64) -> String {
        self.l.number(*number)
    }

    /// A number of octets for people.
    #[must_use]
    pub(crate) fn octets(&self, octets: &usize) -> String {
        self.l.octets(*octets as u64)
    }

    /// A length of time for people.
    #[must_use]
    pub(crate) fn duration(&self, millis: &u64) -> String {
        self.l.duration(*millis)
    }

    /// The address of a page of the tenant, such as `messages/17`: the segments are encoded.
    #[must_use]
    pub(crate) fn url(&self, segments: &[&str]) -> String {
        let mut all = vec!["panel"];
        match &self.tenant {
            Some(tenant) => all.extend(["t", tenant]),
            None => all.push("relay"),
        }
        all.extend(segments);
        path(&all, &[])
    }

    /// The hidden value that forms send back.
    #[must_use]
    pub(crate) fn csrf(&self) -> &str {
        self.visitor.as_ref().map_or("", |visitor| &visitor.csrf)
    }

    /// Returns true if the visitor has at least this role.
    #[must_use]
    pub(crate) fn is_at_least(&self, role: UserRole) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| visitor.is_at_least(role))
    }

    /// Returns true if the visitor may write templates and lists, and send.
    #[must_use]
    pub(crate) fn may_write(&self) -> bool {
        self.is_at_least(UserRole::Marketer)
    }

    /// Returns true if the visitor may administer domains, keys and webhooks.
    #[must_use]
    pub(crate) fn may_administer(&self) -> bool {
        self.is_at_least(UserRole::Developer)
    }

    pub(crate) fn style(&self) -> &'static str {
        assets::style_path()
    }

    pub(crate) fn script(&self) -> &'static str {
        assets::script_path()
    }

    pub(crate) fn links(&self, sections: &[Section], base: &[&str]) -> Vec<NavLink> {
        // Nobody signs in to `relevo dev`.
        let is_open = self.visitor.as_ref().is_some_and(|visitor| visitor.is_open);
        let seen = sections.iter().filter(|section| self.is_at_least(section.least));
        let seen = seen.filter(|section| !is_open || **section != Section::USERS);
        let link = |section: &Section| {
            let place = (!section.place.is_empty()).then_some(section.place);
            let segments: Vec<&str> = base.iter().copied().chain(place).collect();
            NavLink {
                text: self.l.find("nav", section.key).unwrap_or(section.key),
                url: path(&segments, &[]),
                is_here: *section == self.section,
            }
        };
        seen.map(link).collect()
    }

    pub(crate) fn tenant_links(&self) -> Vec<NavLink> {
        let of = self.visitor.as_ref().and_then(|visitor| visitor.tenant.as_deref());
        let Some(tenant) = self.tenant.as_deref().or(of) else { return Vec::new() };
        self.links(&Section::OF_TENANT, &["panel", "t", tenant])
    }

    pub(crate) fn operator_links(&self) -> Vec<NavLink> {
        self.links(&Section::OF_OPERATORS, &["panel", "relay"])
    }

    pub(crate) fn is_inbox(&self) -> bool {
        self.section == Section::INBOX
    }
}

/// A page that is answered with 200.
///
/// # Errors
/// The template's, which writes into memory.
pub(crate) fn page(template: &impl Template) -> Result<Response, Problem> {
    page_with(StatusCode::OK, template)
}

/// A page with a status: a form with mistakes has 422.
///
/// # Errors
/// The template's, which writes into memory.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let body = template.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, page_fields(POLICY), Html(body)).into_response())
}

/// A page in a frame of another one, with a status.
///
/// # Errors
/// The template's, which writes into memory.
pub(crate) fn framed(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let body = template.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, page_fields(FRAMED_POLICY), Html(body)).into_response())
}

/// The fields of a page.
#[must_use]
pub fn page_fields(policy: &'static str) -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ]
}

/// What a page says that was done just now: its parameter `done`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DoneQuery {
    /// A key of the group `done`.
    pub(crate) done: Option<String>,
}

/// Goes on to a page, which is read anew: what a form does when it was taken.
#[must_use]
pub(crate) fn see(url: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, url.to_owned()), (header::CACHE_CONTROL, "no-store".into())])
        .into_response()
}
