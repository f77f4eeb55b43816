//! Cookies (RFC 6265). With TLS their names have the prefix `__Host-`: no other host and no plain
//! connection can set them.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::state::UserAccess;

/// The token of the session.
pub(super) const SESSION: &str = "relevo_session";
/// A sign-in with an OpenID provider that has begun.
pub(super) const OIDC: &str = "relevo_oidc";

fn name(access: &UserAccess, name: &str) -> String {
    if access.is_secure() { format!("__Host-{name}") } else { name.to_owned() }
}

/// The value of a cookie that was sent.
pub(super) fn read<'h>(access: &UserAccess, fields: &'h HeaderMap, cookie: &str) -> Option<&'h str> {
    let wanted = name(access, cookie);
    let all = fields.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut pairs = all.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// Sets a cookie for so many seconds; 0 removes it. `Lax`: who follows a link to the panel is signed in
/// there, and forms of other sites are not.
pub(super) fn set(access: &UserAccess, response: &mut Response, cookie: &str, value: &str, seconds: i64) {
    let secure = if access.is_secure() { "; Secure" } else { "" };
    let name = name(access, cookie);
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", seconds.max(0));
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
