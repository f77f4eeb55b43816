//! `[[tenant]]`: who may send what, and with which keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relevo_keys::SigningKey;
use relevo_mailkit::model::Algorithm;
use relevo_relay::settings::{
    ApiKey, Credential, DeliverySettings, DkimKey, Domain, Grants, MAX_HELD, Tenant, Tenants, Tracking,
};

use super::reader::{At, Place, Reader, Section};
use super::server::SmtpConfig;
use super::{Warnings, plugins, values, ways};

pub(crate) fn read(
    reader: &Reader<'_>,
    root: &Section<'_, '_>,
    delivery: &DeliverySettings,
    warnings: &mut Warnings,
) -> Tenants {
    let mut tenants = Tenants::default();
    let mut places: HashMap<String, Place> = HashMap::new();
    for s in root.sections("tenant") {
        let id = s.need("id", values::identifier);
        let networks = s.list("networks", values::network).into_iter().map(|at| at.value).collect();
        let id = id.unwrap_or(At { value: String::new(), place: s.place() });
        let max_held = s.get_or("max_held", MAX_HELD, values::number);
        let grants = Arc::new(ways::of_tenant(reader, &s, delivery));
        let plugins = plugins::of_tenant(reader, &s, &id.value);
        if tenants.by_id.contains_key(&id.value) {
            reader.mistake(id.place.clone(), format!("tenant `{}` is there already", id.value));
        }
        credentials(reader, &s, &id.value, &mut tenants);
        api_keys(reader, &s, &id.value, &mut tenants);
        for d in s.sections("domain") {
            let owner = Owner { tenant: &id.value, grants: &grants };
            domain(reader, d, &owner, &mut tenants, &mut places, warnings);
        }
        let tenant = Tenant { id: id.value.clone(), networks, max_held, plugins, grants };
        tenants.by_id.insert(id.value, Arc::new(tenant));
        s.finish();
    }
    check_overlaps(reader, &tenants, &places);
    tenants
}

fn credentials(reader: &Reader<'_>, s: &Section<'_, '_>, tenant: &str, tenants: &mut Tenants) {
    for c in s.sections("credentials") {
        let username = c.need("username", values::string);
        let hash = c.need("password_hash", values::string);
        if let (Some(username), Some(hash)) = (username, hash) {
            if !is_argon2id(&hash.value) {
                reader.mistake(hash.place, "must be an Argon2id hash: make one with `relevo credential new`");
            }
            let credential = Credential { tenant: tenant.to_owned(), password_hash: hash.value };
            if tenants.by_username.insert(username.value.clone(), credential).is_some() {
                reader.mistake(username.place, format!("user `{}` is there already", username.value));
            }
        }
        c.finish();
    }
}

fn is_argon2id(hash: &str) -> bool {
    argon2::PasswordHash::new(hash).is_ok_and(|h| h.algorithm == argon2::ARGON2ID_IDENT && h.hash.is_some())
}

fn api_keys(reader: &Reader<'_>, s: &Section<'_, '_>, tenant: &str, tenants: &mut Tenants) {
    for k in s.sections("api_keys") {
        let name = k.need("name", values::string);
        let hash = k.need("hash", values::string);
        if let (Some(name), Some(hash)) = (name, hash) {
            match parse_sha256(&hash.value) {
                Some(digest) => {
                    let key = ApiKey { tenant: tenant.to_owned(), name: name.value };
                    if tenants.by_api_key.insert(digest, key).is_some() {
                        reader.mistake(hash.place, "is used twice");
                    }
                }
                None => reader.mistake(
                    hash.place,
                    "must be `sha256:` and 64 hex digits: make one with `relevo api-key new`",
                ),
            }
        }
        k.finish();
    }
}

pub(crate) fn parse_sha256(s: &str) -> Option<[u8; 32]> {
    let hex = s.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

/// Whose domain is being read.
struct Owner<'a> {
    tenant: &'a str,
    grants: &'a Arc<Grants>,
}

fn domain(
    reader: &Reader<'_>,
    s: Section<'_, '_>,
    owner: &Owner<'_>,
    tenants: &mut Tenants,
    places: &mut HashMap<String, Place>,
    warnings: &mut Warnings,
) {
    let name = s.need("name", values::domain);
    let dkim = dkim_keys(reader, &s, warnings);
    let tracking = s.section("tracking").and_then(|t| tracking(reader, t));
    let (tenant, grants) = (owner.tenant, ways::of_domain(reader, &s, owner.grants));
    if let Some(name) = name {
        if dkim.is_empty() && (!s.has("dkim") || s.is_empty_list("dkim")) {
            let message = "has no `dkim` key: its mail goes out unsigned, and large receivers refuse that";
            warnings.say(name.place.clone(), message);
        }
        if let Some(tracking) = &tracking {
            claim_tracking_host(reader, tenants, tenant, tracking, &name.place);
        }
        let domain = Domain { name: name.value.clone(), tenant: tenant.to_owned(), dkim, tracking, grants };
        places.insert(name.value.clone(), name.place.clone());
        if tenants.by_domain.insert(name.value.clone(), Arc::new(domain)).is_some() {
            reader.mistake(name.place, format!("domain `{}` is there already", name.value));
        }
    }
    s.finish();
}

fn claim_tracking_host(
    reader: &Reader<'_>,
    tenants: &mut Tenants,
    tenant: &str,
    tracking: &Tracking,
    place: &Place,
) {
    let host = tracking.url.split_once("://").map_or("", |(_, host)| host).to_owned();
    let owner = tenants.by_tracking_host.entry(host).or_insert_with(|| tenant.to_owned());
    if owner != tenant {
        reader.mistake(place.clone(), "uses the tracking host of another tenant");
    }
}

fn dkim_keys(reader: &Reader<'_>, s: &Section<'_, '_>, warnings: &mut Warnings) -> Vec<DkimKey> {
    const ALGORITHMS: &[(&str, Algorithm)] =
        &[("rsa-sha256", Algorithm::RsaSha256), ("ed25519-sha256", Algorithm::Ed25519Sha256)];
    let mut keys: Vec<DkimKey> = Vec::new();
    for k in s.sections("dkim") {
        let selector = k.need("selector", values::selector);
        let algorithm = k.need("algorithm", values::one_of(ALGORITHMS));
        let file = k.need("key", values::string);
        let lifetime = k.get("signature_lifetime", values::duration);
        if let (Some(selector), Some(algorithm), Some(file)) = (selector, algorithm, file) {
            if keys.iter().any(|key| key.selector == selector.value) {
                reader.mistake(selector.place, format!("selector `{}` is there already", selector.value));
            }
            match SigningKey::load(&reader.path(&file.value), algorithm.value) {
                Ok((key, warning)) => {
                    if let Some(warning) = warning {
                        warnings.say(file.place, warning);
                    }
                    let signature_lifetime: Option<Duration> = lifetime.map(|at| at.value);
                    keys.push(DkimKey { selector: selector.value, key: Arc::new(key), signature_lifetime });
                }
                Err(error) => reader.mistake(file.place, error.to_string()),
            }
        }
        k.finish();
    }
    keys
}

fn tracking(reader: &Reader<'_>, s: Section<'_, '_>) -> Option<Tracking> {
    let url = s.need("url", values::string);
    let opens = s.get_or("opens", false, values::boolean);
    let clicks = s.get_or("clicks", false, values::boolean);
    let text_links = s.get_or("text_links", false, values::boolean);
    let rewrite_signed = s.get_or("rewrite_signed", false, values::boolean);
    s.finish();
    let url = url?;
    match tracking_url(&url.value) {
        Some(url) => Some(Tracking { url, opens, clicks, text_links, rewrite_signed }),
        None => {
            reader.mistake(
                url.place,
                "must be http or https, a host and nothing behind it, such as \"https://t.example.com\"",
            );
            None
        }
    }
}

/// Scheme and authority in lower case, without a trailing slash.
fn tracking_url(s: &str) -> Option<String> {
    let s = s.strip_suffix('/').unwrap_or(s).to_ascii_lowercase();
    let (scheme, authority) = s.split_once("://")?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host_fits =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let port_fits = port.is_none_or(|p| p.parse::<u16>().is_ok());
    let default_port = matches!((scheme, port), ("https", Some("443")) | ("http", Some("80")));
    if !matches!(scheme, "http" | "https") || !host_fits || !port_fits {
        return None;
    }
    Some(if default_port { format!("{scheme}://{host}") } else { s })
}

/// Two tenants may not overlap: neither may own a subdomain of what the other owns.
fn check_overlaps(reader: &Reader<'_>, tenants: &Tenants, places: &HashMap<String, Place>) {
    for domain in tenants.by_domain.values() {
        let mut name = domain.name.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            if let Some(above) = tenants.by_domain.get(parent)
                && above.tenant != domain.tenant
            {
                let place = places.get(&domain.name).cloned().unwrap_or_default();
                reader.mistake(
                    place,
                    format!("`{}` lies inside `{}` of tenant `{}`", domain.name, above.name, above.tenant),
                );
            }
            name = parent;
        }
    }
}

pub(crate) fn check_relay_sharing(
    tenants: &Tenants,
    smtp: &SmtpConfig,
    root: &Section<'_, '_>,
    warnings: &mut Warnings,
) {
    let open = tenants.by_id.values().filter(|t| t.networks.is_empty()).count();
    if !smtp.relay.is_empty() && tenants.by_id.len() > 1 && open > 0 {
        warnings.say(
            root.place_of("tenant"),
            "several tenants share the relay port and not all set `networks`: any trusted peer can send as those that do not",
        );
    }
}
