//! Readers of mail at a tracking host: clicks, opens, the unsubscribe page.
//!
//! A token says everything, so a click or an open is answered without asking anybody, and reported to
//! the core afterwards. What a recipient gets is known to the core alone.

use std::net::{IpAddr, SocketAddr};

use relevo_api::tracking::{ReportedEvent, ReportedKind, timestamp};
use relevo_api::unsubscribe::{SubscriberAnswer, UnsubscribeAction, UnsubscribeMethod, UnsubscribeRequest};
use relevo_mailkit::token::{Claims, Kind, Scope, hosts_meant};
use relevo_pages::unsubscribe::{self, PageRequest};
use relevo_pages::{ReaderAnswer, tracking};

use crate::config::Tracking;

/// Octets of a user agent that are reported. The core looks at fewer.
const MAX_AGENT: usize = 512;

/// A path of a tracking host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderPath {
    /// `/c/`, `/o/` or `/u/`.
    pub kind: Kind,
    /// The token, which nobody has verified.
    pub token: String,
    /// The button of the page that the path belongs to.
    pub button: Option<UnsubscribeAction>,
}

/// A request of a reader.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// The authority that the request names.
    pub host: String,
    /// HEAD: the reader looks only.
    pub only_looks: bool,
    /// The `User-Agent` field.
    pub user_agent: Option<String>,
    /// The address, as far as the host tells it.
    pub address: Option<IpAddr>,
    /// The `Accept-Language` field.
    pub languages: String,
}

impl ReaderPath {
    /// Reads `/c/TOKEN`, `/o/TOKEN`, `/u/TOKEN`, `/u/TOKEN/leave` and `/u/TOKEN/return`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let kind = Kind::from_letter(segments.next()?)?;
        let token = decoded(segments.next()?)?;
        let button = match (kind, segments.next()) {
            (_, None) => None,
            (Kind::Unsubscribe, Some("leave")) => Some(UnsubscribeAction::Leave),
            (Kind::Unsubscribe, Some("return")) => Some(UnsubscribeAction::Return),
            _ => return None,
        };
        let is_whole = segments.next().is_none() && !token.is_empty();
        is_whole.then_some(Self { kind, token, button })
    }

    /// The methods that the path has (RFC 9110 section 10.2.1).
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match (self.kind, self.button) {
            (Kind::Unsubscribe, None) => "GET, HEAD, POST",
            (_, Some(_)) => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// A segment without percent encoding (RFC 3986 section 2.1). Programs encode what needs none.
fn decoded(segment: &str) -> Option<String> {
    let mut parts = segment.split('%');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(octets).ok()
}

/// The address in the field of a host or proxy: with a port or without, the last of several. Those
/// before it are what the client said.
#[must_use]
pub fn client_address(field: &str) -> Option<IpAddr> {
    let last = field.rsplit(',').next()?.trim();
    let address = last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// Answers a click or an open, and returns what is to be reported: nothing of those who only look. A
/// token that is not genuine is 404, never a redirect to where a stranger wants.
#[must_use]
pub fn visit(
    settings: &Tracking,
    path: &ReaderPath,
    reader: &Reader,
    now: u64,
) -> (ReaderAnswer, Option<ReportedEvent>) {
    let claims = verified(settings, path.kind, &reader.host, &path.token);
    let answer = claims.and_then(|claims| match path.kind {
        Kind::Click => Some(tracking::redirect(&tracking::destination(&claims.destination)?)),
        _ => Some(tracking::pixel()),
    });
    let Some(answer) = answer else { return (words(404), None) };
    let report = ReportedEvent {
        kind: if path.kind == Kind::Click { ReportedKind::Click } else { ReportedKind::Open },
        host: reader.host.clone(),
        token: path.token.clone(),
        at: timestamp(now),
        user_agent: reader.user_agent.as_deref().map(|agent| agent.chars().take(MAX_AGENT).collect()),
        address: reader.address,
    };
    (answer, (!reader.only_looks).then_some(report))
}

fn verified(settings: &Tracking, kind: Kind, host: &str, token: &str) -> Option<Claims> {
    let scope = |host| Scope { tenant: &settings.tenant, host };
    hosts_meant(host).iter().find_map(|host| settings.keys.verify(kind, &scope(host), token))
}

/// Returns true if the token unsubscribes somebody at this host. The core is not asked about others.
#[must_use]
pub fn is_genuine(settings: &Tracking, host: &str, token: &str) -> bool {
    let scope = |host| Scope { tenant: &settings.tenant, host };
    hosts_meant(host).iter().any(|host| settings.keys.verify_unsubscribe(&scope(host), token).is_some())
}

/// What a reader wants at `/u/`.
#[derive(Debug, Clone, Copy)]
pub struct PageVisit<'a> {
    /// The token.
    pub token: &'a str,
    /// The reader.
    pub reader: &'a Reader,
    /// To look, or a button.
    pub action: UnsubscribeAction,
    /// A mail program asks (RFC 8058): it wants no page.
    pub is_one_click: bool,
}

impl PageVisit<'_> {
    /// The question for the core.
    #[must_use]
    pub fn question(&self, form: &[u8]) -> UnsubscribeRequest {
        let list = unsubscribe::list_field(form).filter(|_| !self.is_one_click);
        UnsubscribeRequest {
            host: self.reader.host.clone(),
            token: self.token.to_owned(),
            action: self.action,
            method: match self.is_one_click {
                true => UnsubscribeMethod::OneClick,
                false => UnsubscribeMethod::Page,
            },
            list,
            address: self.reader.address,
        }
    }

    /// The answer for the reader: status and body are the core's, 503 if it is away.
    #[must_use]
    pub fn answer(&self, status: u16, body: &[u8]) -> ReaderAnswer {
        let page = PageRequest::new(&self.reader.host, &self.reader.languages);
        let subscriber = match status {
            200 => serde_json::from_slice::<SubscriberAnswer>(body).ok(),
            _ => None,
        };
        match (status, subscriber, self.is_one_click) {
            (_, Some(_), true) => unsubscribe::one_click_done(),
            (_, Some(subscriber), false) => page.subscriber(self.token, self.action, &subscriber),
            (422, _, true) => words(404),
            (422, _, false) => page.unknown(),
            (429, _, true) => words(429).with_retry_after(tracking::RETRY_AFTER),
            (429, _, false) => page.too_many(),
            (_, _, true) => words(503).with_retry_after(tracking::RETRY_AFTER),
            (_, _, false) => page.unavailable(),
        }
    }
}

/// One line for people.
#[must_use]
pub fn words(status: u16) -> ReaderAnswer {
    let reason = match status {
        404 => "not found",
        405 => "method not allowed",
        429 => "too many requests",
        _ => "service unavailable",
    };
    tracking::words(status, reason)
}

#[cfg(test)]
mod tests;
