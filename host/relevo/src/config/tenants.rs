//! Checks `[[tenant]]`: who may send what, and with which keys.

use std::collections::HashMap;
use std::sync::Arc;

use relevo_keys::SigningKey;
use relevo_relay::directory::{DirectoryEntries, QuotaSettings, Scopes};
use relevo_relay::settings::{
    ApiKey, Credential, DeliverySettings, DkimKey, Domain, EgressGrants, MAX_HELD, Tenant, Tracking,
};
use relevo_smtp::server::sasl_prepared;

use super::document::{Document, FileSpan};
use super::schema::{self, File};
use super::values::{Section, plain};
use super::{egress, plugins, suppression};

pub(crate) fn tenants(d: &mut Document<'_>, file: &File, delivery: &DeliverySettings) -> DirectoryEntries {
    let mut tenants = DirectoryEntries::default();
    let mut spans: HashMap<String, FileSpan> = HashMap::new();
    for s in &file.tenant {
        let id_at = d.need(s.span, &s.id, "id");
        let id = id_at.map_or_else(String::new, |at| at.value.clone());
        if let Some(at) = id_at.filter(|at| tenants.by_id.contains_key(&at.value)) {
            d.mistake(at.span, format!("tenant `{id}` is there already"));
        }
        let grants = Arc::new(egress::grants(d, s, delivery));
        let plugins = plugins::of_tenant(d, s, &id);
        credentials(d, s, &id, &mut tenants);
        api_keys(d, s, &id, &mut tenants);
        for domain in &s.domain {
            add_domain(d, domain, (&id, &grants), &mut tenants, &mut spans);
        }
        let networks = plain(&s.networks);
        let tenant = Tenant {
            id: id.clone(),
            networks,
            max_held: s.max_held.or(MAX_HELD),
            plugins,
            grants,
            quota: QuotaSettings {
                hour: s.quota.hour.value(),
                day: s.quota.day.value(),
                month: s.quota.month.value(),
            },
            requests_per_second: s.requests_per_second.value(),
            suppression: suppression::of_tenant(d, &s.suppression),
            keep_content: s.keep_content.value().filter(|span| !span.is_zero()),
            dsn: s.dsn.or(true),
        };
        tenants.by_id.insert(id, Arc::new(tenant));
    }
    check_overlaps(d, &tenants, &spans);
    warn_of_relay_sharing(d, file);
    tenants
}

fn credentials(d: &mut Document<'_>, s: &schema::TenantTable, tenant: &str, tenants: &mut DirectoryEntries) {
    for c in &s.credentials {
        let username = d.need(c.span, &c.username, "username");
        if let Some(at) = username.filter(|at| sasl_prepared(&at.value) != at.value) {
            let prepared = sasl_prepared(&at.value);
            d.mistake(at.span, format!("is compared in the form of SASLprep (RFC 4013): write {prepared:?}"));
        }
        let credential = Credential {
            tenant: tenant.to_owned(),
            password_hash: c.password_hash.value(),
            scram: c.scram.value(),
            oauth: c.oauth.or(false),
            certificates: plain(&c.certificates),
        };
        if credential == (Credential { tenant: tenant.to_owned(), ..Credential::default() }) {
            d.mistake(c.span, "needs `password_hash`, `scram`, `certificates` or `oauth = true`");
        }
        check_scram(d, c, tenants);
        for at in &c.certificates {
            let mut others = tenants.by_username.values();
            if others.any(|other| other.certificates.contains(&at.value)) {
                d.mistake(at.span, "is used twice: a certificate stands for one user");
            }
        }
        let Some(username) = username else { continue };
        if tenants.by_username.insert(username.value.clone(), credential).is_some() {
            d.mistake(username.span, format!("user `{}` is there already", username.value));
        }
    }
}

/// One number of iterations: an unknown user is answered with it, as if there were one.
fn check_scram(d: &mut Document<'_>, c: &schema::CredentialTable, tenants: &DirectoryEntries) {
    /// That of answers to unknown users.
    const SALT: usize = 16;
    let Some(at) = c.scram.at() else { return };
    if at.value.salt.len() != SALT {
        d.warn(
            at.span,
            format!("has no salt of {SALT} octets: strangers could tell that there is this user"),
        );
    }
    let other = tenants.by_username.values().filter_map(|other| other.scram.as_ref());
    if let Some(other) = other.into_iter().find(|other| other.iterations != at.value.iterations) {
        let message = format!(
            "has {} iterations, and another credential {}: with different numbers strangers could tell who is a user",
            at.value.iterations, other.iterations
        );
        d.mistake(at.span, message);
    }
}

fn api_keys(d: &mut Document<'_>, s: &schema::TenantTable, tenant: &str, tenants: &mut DirectoryEntries) {
    for k in &s.api_keys {
        let name = d.need(k.span, &k.name, "name");
        let hash = d.need(k.span, &k.hash, "hash");
        let (Some(name), Some(hash)) = (name, hash) else { continue };
        let scopes = match &k.scopes {
            None => Scopes::all(),
            Some(scopes) => {
                if scopes.is_empty() {
                    d.mistake_in(k.span, "scopes", "names no scope: leave it out for all of them");
                }
                scopes.iter().map(|at| at.value).collect()
            }
        };
        let domain = k.domain.value();
        let key = ApiKey { scopes, domain, ..ApiKey::unlimited(tenant, &name.value) };
        if tenants.by_api_key.insert(hash.value, key).is_some() {
            d.mistake(hash.span, "is used twice");
        }
    }
}

fn add_domain(
    d: &mut Document<'_>,
    s: &Section<schema::DomainTable>,
    (tenant, grants): (&str, &Arc<EgressGrants>),
    tenants: &mut DirectoryEntries,
    spans: &mut HashMap<String, FileSpan>,
) {
    let name = d.need(s.span, &s.name, "name");
    let dkim = dkim_keys(d, s);
    let tracking = s.tracking.as_ref().and_then(|t| tracking(d, t));
    let grants = egress::domain_grants(d, s, grants);
    let Some(name) = name else { return };
    if s.dkim.is_empty() {
        let message = "has no `dkim` key: its mail goes out unsigned, and large receivers refuse that";
        d.warn(name.span, message);
    }
    if let Some(tracking) = &tracking {
        let host = tracking.url.split_once("://").map_or("", |(_, host)| host).to_owned();
        let owner = tenants.by_tracking_host.entry(host).or_insert_with(|| tenant.to_owned());
        if owner != tenant {
            d.mistake(name.span, "uses the tracking host of another tenant");
        }
    }
    let domain = Domain {
        name: name.value.clone(),
        tenant: tenant.to_owned(),
        dkim,
        tracking,
        grants,
        enforce_tls: s.enforce_tls.or(false),
    };
    spans.insert(name.value.clone(), name.span);
    if tenants.by_domain.insert(name.value.clone(), Arc::new(domain)).is_some() {
        d.mistake(name.span, format!("domain `{}` is there already", name.value));
    }
}

fn dkim_keys(d: &mut Document<'_>, s: &schema::DomainTable) -> Vec<DkimKey> {
    let mut keys: Vec<DkimKey> = Vec::new();
    for k in &s.dkim {
        let selector = d.need(k.span, &k.selector, "selector");
        let algorithm = d.need(k.span, &k.algorithm, "algorithm");
        let file = d.need(k.span, &k.key, "key");
        let (Some(selector), Some(algorithm), Some(file)) = (selector, algorithm, file) else { continue };
        if keys.iter().any(|key| key.selector == selector.value) {
            d.mistake(selector.span, format!("selector `{}` is there already", selector.value));
        }
        let loaded = SigningKey::load(&d.path(&file.value), algorithm.value);
        if let Some(key) = d.loaded(file.span, loaded) {
            let signature_lifetime = k.signature_lifetime.value();
            keys.push(DkimKey { selector: selector.value.clone(), key: Arc::new(key), signature_lifetime });
        }
    }
    keys
}

fn tracking(d: &mut Document<'_>, s: &Section<schema::DomainTrackingTable>) -> Option<Tracking> {
    let url = d.need(s.span, &s.url, "url")?;
    Some(Tracking {
        url: url.value.clone(),
        opens: s.opens.or(false),
        clicks: s.clicks.or(false),
        text_links: s.text_links.or(false),
        rewrite_signed: s.rewrite_signed.or(false),
    })
}

/// Two tenants may not overlap: neither may own a subdomain of what the other owns.
fn check_overlaps(d: &mut Document<'_>, tenants: &DirectoryEntries, spans: &HashMap<String, FileSpan>) {
    for domain in tenants.by_domain.values() {
        let mut name = domain.name.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            if let Some(above) = tenants.by_domain.get(parent)
                && above.tenant != domain.tenant
            {
                let span = spans.get(&domain.name).copied().unwrap_or_default();
                let (inner, outer, owner) = (&domain.name, &above.name, &above.tenant);
                d.mistake(span, format!("`{inner}` lies inside `{outer}` of tenant `{owner}`"));
            }
            name = parent;
        }
    }
}

fn warn_of_relay_sharing(d: &mut Document<'_>, file: &File) {
    let has_relay = file.smtp.as_ref().is_some_and(|s| !s.relay.is_empty());
    let open = file.tenant.iter().find(|t| t.networks.is_empty());
    if let (true, true, Some(open)) = (has_relay, file.tenant.len() > 1, open) {
        d.warn(
            open.span,
            "several tenants share the relay port and not all set `networks`: any trusted peer can send as those that do not",
        );
    }
}
