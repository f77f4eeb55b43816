//! Checks what SMTP AUTH takes beside passwords: SCRAM, `[smtp.oauth]`, `client_ca`.

use std::path::PathBuf;

use relevo_relay::directory::DirectoryEntries;
use relevo_relay::intake::OauthConfig;

use super::document::Document;
use super::panel::is_issuer;
use super::schema::{self, File};
use super::values::Section;

/// What listeners offer beside PLAIN and LOGIN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuthConfig {
    /// Those of all credentials. None: no credential has SCRAM.
    pub(crate) scram_iterations: Option<u32>,
    /// `[smtp.oauth]`
    pub(crate) oauth: Option<OauthConfig>,
    /// Authorities of client certificates, PEM.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The names of the `certificates` of the listeners are names of this host.
pub(crate) fn auth(
    d: &mut Document<'_>,
    file: &File,
    (hostname, certificates): (&str, &[&PathBuf]),
    tenants: &DirectoryEntries,
) -> AuthConfig {
    let mut credentials = tenants.by_username.values();
    let scram_iterations = credentials.find_map(|credential| Some(credential.scram.as_ref()?.iterations));
    warn_of_what_is_not_offered(d, file);
    let Some(s) = &file.smtp else { return AuthConfig { scram_iterations, ..AuthConfig::default() } };
    let client_ca = s.client_ca.at().map(|at| (d.path(&at.value), at.span));
    if let Some((path, span)) = &client_ca
        && let Err(error) = crate::tls::read_chain(path)
    {
        d.mistake(*span, format!("{error:#}"));
    }
    let leaf = |path: &&PathBuf| crate::tls::read_chain(path).ok()?.into_iter().next();
    let names = certificates.iter().filter_map(leaf).flat_map(|leaf| crate::tls::names(&leaf));
    let hosts = std::iter::once(hostname.to_owned()).chain(names).collect();
    AuthConfig {
        scram_iterations,
        oauth: s.oauth.as_ref().and_then(|section| oauth(d, section, hosts)),
        client_ca: client_ca.map(|(path, _)| path),
    }
}

fn oauth(
    d: &mut Document<'_>,
    s: &Section<schema::SmtpOauthTable>,
    hosts: Vec<String>,
) -> Option<OauthConfig> {
    let issuer = d.need(s.span, &s.issuer, "issuer");
    let audience = d.need(s.span, &s.audience, "audience");
    if let Some(at) = issuer
        && !is_issuer(&at.value)
    {
        d.mistake(at.span, "must be an https URL, such as \"https://id.example.com\"; http is for loopback");
    }
    let is_given = |text: &String| !text.is_empty();
    d.check(&s.audience, is_given, "must not be empty: tokens for others would be accepted");
    d.check(&s.username_claim, is_given, "must be the name of a claim, such as \"email\"");
    // RFC 6749 section 3.3.
    let is_scope = |text: &String| {
        let fits = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        !text.is_empty() && text.bytes().all(fits)
    };
    d.check(&s.scope, is_scope, "must be printable ASCII without `\"` and `\\`");
    Some(OauthConfig {
        issuer: issuer?.value.clone(),
        audience: audience?.value.clone(),
        username_claim: s.username_claim.or("email".to_owned()),
        scope: s.scope.value(),
        hosts,
    })
}

fn warn_of_what_is_not_offered(d: &mut Document<'_>, file: &File) {
    let smtp = file.smtp.as_ref();
    let has_issuer = smtp.is_some_and(|s| s.oauth.is_some());
    let has_authorities = smtp.is_some_and(|s| s.client_ca.at().is_some());
    for credential in file.tenant.iter().flat_map(|tenant| &tenant.credentials) {
        if credential.oauth.or(false) && !has_issuer {
            d.warn(credential.span, "has `oauth`, but there is no `[smtp.oauth]`: tokens are refused");
        }
        if let Some(first) = credential.certificates.first().filter(|_| !has_authorities) {
            d.warn(first.span, "is of no use without `client_ca` in `[smtp]`: clients are not asked for it");
        }
    }
}
