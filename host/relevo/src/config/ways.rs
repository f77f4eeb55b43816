//! `[[pool]]`, `[[route]]`, and what tenants are granted of them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use relevo_queue::{MAX_PRIORITY, Priority};
use relevo_relay::settings::{DeliverySettings, Grants, Pool, Route};
use relevo_resolve::IpFamily;
use toml::de::DeValue;

use super::reader::{At, Reader, Section};
use super::{Warnings, server, values};

/// Pools and routes, into the settings of delivery.
pub(crate) fn read(
    reader: &Reader<'_>,
    root: &Section<'_, '_>,
    delivery: &mut DeliverySettings,
    warnings: &mut Warnings,
) {
    for s in root.sections("pool") {
        if let Some((name, pool)) = pool(reader, s, delivery.ip)
            && delivery.pools.insert(name.value.clone(), Arc::new(pool)).is_some()
        {
            reader.mistake(name.place, format!("pool `{}` is there already", name.value));
        }
    }
    for s in root.sections("route") {
        let name = s.need("name", values::identifier);
        let smarthost = s.section("smarthost").and_then(|s| server::smarthost(reader, s, warnings));
        s.finish();
        let Some(name) = name else { continue };
        let route = Route { name: name.value.clone(), smarthost };
        if delivery.routes.insert(name.value.clone(), Arc::new(route)).is_some() {
            reader.mistake(name.place, format!("route `{}` is there already", name.value));
        }
    }
}

fn pool(reader: &Reader<'_>, s: Section<'_, '_>, family: IpFamily) -> Option<(At<String>, Pool)> {
    let name = s.need("name", values::identifier);
    let source_ipv4 = sources(reader, &s, "source_ipv4", IpAddr::is_ipv4);
    let source_ipv6 = sources(reader, &s, "source_ipv6", IpAddr::is_ipv6);
    if source_ipv4.is_empty() && source_ipv6.is_empty() {
        s.mistake("source_ipv4", "a pool needs an address in `source_ipv4` or `source_ipv6`");
    } else if let Some((key, only)) = match family {
        IpFamily::Ipv4 if source_ipv4.is_empty() => Some(("source_ipv4", "ipv4")),
        IpFamily::Ipv6 if source_ipv6.is_empty() => Some(("source_ipv6", "ipv6")),
        _ => None,
    } {
        s.mistake(key, format!("a pool needs an address here, as `[delivery]` has `ip = \"{only}\"`"));
    }
    let ehlo = s.get("ehlo", values::domain).map(|at| at.value);
    let connections_per_site = s.get("connections_per_site", values::count).map(|at| at.value);
    s.finish();
    let name = name?;
    let pool = Pool { name: name.value.clone(), source_ipv4, source_ipv6, ehlo, connections_per_site };
    Some((name, pool))
}

fn sources(
    reader: &Reader<'_>,
    s: &Section<'_, '_>,
    key: &'static str,
    fits: fn(&IpAddr) -> bool,
) -> Vec<IpAddr> {
    let mut known = HashSet::new();
    let mut addresses = Vec::new();
    for at in s.list(key, values::ip) {
        if !fits(&at.value) {
            reader.mistake(at.place, "is an address of the other family");
        } else if at.value.to_canonical() != at.value {
            reader.mistake(
                at.place,
                "is an IPv4 address in IPv6 form: it belongs in `source_ipv4`, as a.b.c.d",
            );
        } else if at.value.is_unspecified() || at.value.is_multicast() {
            reader.mistake(at.place, "is not an address that mail can leave from");
        } else if known.insert(at.value) {
            addresses.push(at.value);
        } else {
            reader.mistake(at.place, format!("`{}` is there already", at.value));
        }
    }
    addresses
}

/// What a tenant may use.
pub(crate) fn of_tenant(reader: &Reader<'_>, s: &Section<'_, '_>, delivery: &DeliverySettings) -> Grants {
    Grants {
        pools: names(reader, s, "pools", |name| known(&delivery.pools, "pool", name)),
        routes: names(reader, s, "routes", |name| known(&delivery.routes, "route", name)),
        max_priority: s.get_or("max_priority", 0, max_priority),
    }
}

/// What mail of a domain may use: what its tenant may, with pools of its own choice among them.
pub(crate) fn of_domain(reader: &Reader<'_>, s: &Section<'_, '_>, tenant: &Arc<Grants>) -> Arc<Grants> {
    let own = names(reader, s, "pools", |name| match tenant.pools.iter().any(|pool| pool == name) {
        true => Ok(()),
        false => Err(format!("pool `{name}` is not in the `pools` of the tenant")),
    });
    if own.is_empty() && s.is_empty_list("pools") {
        s.mistake("pools", "must name a pool; leave it out for all those of the tenant");
    }
    match own.is_empty() {
        true => Arc::clone(tenant),
        false => Arc::new(Grants { pools: own, ..Grants::clone(tenant) }),
    }
}

fn known<T>(all: &HashMap<String, T>, what: &str, name: &str) -> Result<(), String> {
    match all.contains_key(name) {
        true => Ok(()),
        false => Err(format!("there is no [[{what}]] with the name `{name}`")),
    }
}

fn names(
    reader: &Reader<'_>,
    s: &Section<'_, '_>,
    key: &'static str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for At { value, place } in s.list(key, values::string) {
        match check(&value) {
            Err(mistake) => reader.mistake(place, mistake),
            Ok(()) if names.contains(&value) => {
                reader.mistake(place, format!("`{value}` is there already"));
            }
            Ok(()) => names.push(value),
        }
    }
    names
}

fn max_priority(value: &DeValue<'_>) -> Result<Priority, String> {
    let DeValue::Integer(n) = value else { return Err(format!("must be 0 to {MAX_PRIORITY}")) };
    let found = Priority::from_str_radix(n.as_str(), n.radix()).ok();
    found.filter(|p| (0..=MAX_PRIORITY).contains(p)).ok_or_else(|| format!("must be 0 to {MAX_PRIORITY}"))
}
