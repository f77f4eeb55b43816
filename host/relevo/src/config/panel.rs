//! Checks `[panel]`.

use std::net::SocketAddr;
use std::time::Duration;

use relevo_relay::directory::DirectoryEntries;
use relevo_relay::users::UsersConfig;
use relevo_relay::users::oidc::{OidcConfig, OidcRole};
use url::{Host, Url};

use super::document::Document;
use super::schema::{self, File};
use super::values::{Located, Section};

/// A session lasts no longer than this.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// The time of the last request is stored once a minute.
const SHORTEST: Duration = Duration::from_secs(120);
/// Rules that make users.
const MAX_ROLES: usize = 1_000;

/// `[panel]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PanelConfig {
    /// Where browsers find the relay, without a final slash.
    pub(crate) url: String,
    pub(crate) users: UsersConfig,
    pub(crate) oidc: Option<OidcConfig>,
}

pub(crate) fn panel(
    d: &mut Document<'_>,
    file: &File,
    hostname: &str,
    tenants: &DirectoryEntries,
) -> PanelConfig {
    let (s, default) = (&file.panel, UsersConfig::default());
    d.check(&s.session_idle, |time| *time >= SHORTEST, "must be 2m at least");
    d.check(&s.session_max, |time| *time <= LONGEST, "must be 90d at most");
    let session_max = s.session_max.or(default.session_max);
    let session_idle = match s.session_idle.at() {
        Some(at) if at.value > session_max => {
            d.mistake(at.span, "must not be longer than `session_max`");
            at.value
        }
        Some(at) => at.value,
        None => default.session_idle.min(session_max),
    };
    let url = s.url.value().unwrap_or_else(|| default_url(file, hostname));
    if is_for_tracking(&url, tenants) {
        let reason = "is at a tracking host, which answers links of mail alone";
        match s.url.at() {
            Some(at) => d.mistake(at.span, format!("{reason}: take another name of this host")),
            None => {
                let message =
                    format!("the panel's address, {url}, {reason}: set `[panel] url` to another name");
                d.warn(s.span, message);
            }
        }
    }
    PanelConfig {
        url,
        users: UsersConfig { issuer: hostname.to_owned(), session_idle, session_max },
        oidc: s.oidc.as_ref().and_then(|section| oidc(d, section)),
    }
}

/// Returns true if the host of a URL is a tracking host, under any port: that is how requests are told
/// apart.
fn is_for_tracking(url: &str, tenants: &DirectoryEntries) -> bool {
    let host_of =
        |authority: &str| Url::parse(&format!("http://{authority}")).ok()?.host_str().map(str::to_owned);
    let Some(host) = url.split_once("://").and_then(|(_, authority)| host_of(authority)) else {
        return false;
    };
    let mut hosts = tenants.by_tracking_host.keys();
    hosts.any(|tracking| host_of(tracking).as_ref() == Some(&host))
}

/// The address of the first listener, by the name of the host if it listens on all addresses.
fn default_url(file: &File, hostname: &str) -> String {
    match file.http.listen.first().map(|at| at.value) {
        Some(at) if at.ip().is_unspecified() => format!("http://{hostname}:{}", SocketAddr::port(&at)),
        Some(at) => format!("http://{at}"),
        None => format!("https://{hostname}"),
    }
}

fn oidc(d: &mut Document<'_>, s: &Section<schema::OidcTable>) -> Option<OidcConfig> {
    let issuer = d.need(s.span, &s.issuer, "issuer");
    let client_id = d.need(s.span, &s.client_id, "client_id");
    if let Some(at) = issuer
        && !is_issuer(&at.value)
    {
        d.mistake(at.span, "must be an https URL, such as \"https://id.example.com\"; http is for loopback");
    }
    let client_secret = s.client_secret_file.at().and_then(|at| {
        let loaded = relevo_keys::load_password(&d.path(&at.value));
        d.loaded(at.span, loaded)
    });
    if s.roles.len() > MAX_ROLES {
        d.mistake_in(s.span, "roles", format!("must have at most {MAX_ROLES} rules"));
    }
    let roles = s.roles.iter().filter_map(|rule| role(d, rule)).collect();
    let plain = |at: &Located<String>| at.value.clone();
    Some(OidcConfig {
        issuer: plain(issuer?),
        client_id: plain(client_id?),
        client_secret,
        name: s.name.or("OpenID Connect".to_owned()),
        roles,
    })
}

/// Returns true for the URL of an issuer of tokens: `https`, or `http` for loopback.
pub(super) fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return false,
    };
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    is_plain && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}

fn role(d: &mut Document<'_>, s: &Section<schema::OidcRoleTable>) -> Option<OidcRole> {
    let claim = d.need(s.span, &s.claim, "claim");
    let value = d.need(s.span, &s.value, "value");
    let role = d.need(s.span, &s.role, "role");
    let tenant = s.tenant.value();
    match role {
        Some(role) if role.value.is_of_tenant() && tenant.is_none() => {
            d.mistake_in(s.span, "tenant", format!("is required with the role \"{}\"", role.value));
        }
        Some(role) if !role.value.is_of_tenant() && tenant.is_some() => {
            d.mistake_in(s.span, "tenant", "has no place here: an operator belongs to no tenant");
        }
        _ => {}
    }
    Some(OidcRole { claim: claim?.value.clone(), value: value?.value.clone(), tenant, role: role?.value })
}
