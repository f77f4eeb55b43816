//! `[plugins]` and `[[tenant.plugin]]`: what plugins may use. Which versions there are is not configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::policy::Attribute;
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_relay::settings::{FailurePolicy, PluginServer, PluginSettings, RecordSettings};
use relevo_runtime::policy::{BreakerConfig, Capability, Class, Grants, PluginConfig, PluginLimits};

use super::reader::{Reader, Section};
use super::{tenants, values};

/// Plugins of one tenant: each is asked about each of its messages.
const MAX_PLUGINS: usize = 16;
/// Entries of `settings`, and octets of one (`wit/relevo-policy-0.1.0/configure.wit`).
const MAX_SETTINGS: usize = 100;
const MAX_SETTING: usize = 4_096;
/// Octets of key-value data unless set otherwise, and at most: it is kept in memory.
const KV_SIZE: u64 = 16 << 20;
const MAX_KV_SIZE: u64 = 1 << 30;
/// Faults in a row that open the breaker, at most, and how long it may stay open: what was put right is to be noticed.
const MAX_FAULTS: u32 = 1_000;
const MIN_OPEN: Duration = Duration::from_millis(100);
const MAX_OPEN: Duration = Duration::from_secs(86_400);
/// Messages that are recorded, at most.
const MAX_RECORD: usize = 10_000;
/// Octets of recordings unless set otherwise, at least (the largest single ones must fit in a quarter of it) and at most.
const RECORD_SIZE: u64 = 64 << 20;
const MIN_RECORD_SIZE: u64 = 16 << 20;
const MAX_RECORD_SIZE: u64 = 4 << 30;

pub(crate) fn server(reader: &Reader<'_>, root: &Section<'_, '_>) -> PluginServer {
    let default = PluginServer::default();
    let Some(s) = root.section("plugins") else { return default };
    let mut admin_keys: Vec<(String, [u8; 32])> = Vec::new();
    for key in s.sections("admin_keys") {
        let name = key.need("name", values::string);
        let hash = key.need("hash", values::string);
        if let (Some(name), Some(hash)) = (name, hash) {
            match tenants::parse_sha256(&hash.value) {
                Some(digest) if admin_keys.iter().any(|(_, known)| *known == digest) => {
                    reader.mistake(hash.place, "is used twice");
                }
                Some(digest) => admin_keys.push((name.value, digest)),
                None => reader.mistake(
                    hash.place,
                    "must be `sha256:` and 64 hex digits: make one with `relevo api-key new`",
                ),
            }
        }
        key.finish();
    }
    let mut upload = default.upload;
    upload.octets = s.get_or("max_size", upload.octets, octets);
    upload.functions = s.get_or("max_functions", upload.functions, values::number);
    let settings = PluginServer {
        admin_keys,
        upload,
        compile_memory: s.get_or("compile_memory", default.compile_memory, values::size),
        compile_time: s.get_or("compile_time", default.compile_time, values::duration),
        hold_expire: s.get_or("hold_expire", default.hold_expire, values::duration),
    };
    if settings.compile_memory < 256 << 20 {
        s.mistake("compile_memory", "must be 256MiB at least: the compiler needs it");
    }
    s.finish();
    settings
}

fn octets(value: &toml::de::DeValue<'_>) -> Result<usize, String> {
    usize::try_from(values::size(value)?).map_err(|_| "is too large".to_owned())
}

/// In declared order.
pub(crate) fn of_tenant(reader: &Reader<'_>, s: &Section<'_, '_>, tenant: &str) -> Vec<Arc<PluginSettings>> {
    let mut plugins: Vec<Arc<PluginSettings>> = Vec::new();
    for p in s.sections("plugin") {
        let place = p.place_of("name");
        let Some(plugin) = plugin(reader, &p, tenant) else {
            p.finish();
            continue;
        };
        if plugins.iter().any(|other| other.config.name == plugin.config.name) {
            reader.mistake(place, format!("plugin `{}` is there already", plugin.config.name));
        } else if plugins.len() == MAX_PLUGINS {
            reader.mistake(place, format!("a tenant has at most {MAX_PLUGINS} plugins"));
        }
        plugins.push(Arc::new(plugin));
        p.finish();
    }
    plugins
}

fn plugin(reader: &Reader<'_>, p: &Section<'_, '_>, tenant: &str) -> Option<PluginSettings> {
    const CLASSES: &[(&str, Class)] = &[("small", Class::Small), ("large", Class::Large)];
    const POLICIES: &[(&str, FailurePolicy)] = &[
        ("tempfail", FailurePolicy::Tempfail),
        ("accept", FailurePolicy::Accept),
        ("reject", FailurePolicy::Reject),
    ];
    let name = p.need("name", values::identifier);
    let class = p.get_or("class", Class::Small, values::one_of(CLASSES));
    let limits = limits(p, class);
    let grants = grants(p);
    let header_names = header_names(p);
    let settings = settings(reader, p);
    let kv_size = p.get_or("kv_size", KV_SIZE, values::size);
    if kv_size > MAX_KV_SIZE {
        p.mistake("kv_size", "must be 1GiB at most: the data is kept in memory");
    }
    let calls_per_second = p.get("calls_per_second", values::count).map(|at| at.value);
    let failure = p.get_or("on_failure", FailurePolicy::Tempfail, values::one_of(POLICIES));
    let breaker = breaker(p);
    let record = record(p);
    let config = PluginConfig {
        tenant: tenant.to_owned(),
        name: name?.value,
        class,
        limits,
        grants,
        header_names,
        settings,
    };
    let calls_per_second = calls_per_second.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Some(PluginSettings { config, kv_size, calls_per_second, failure, breaker, record })
}

fn breaker(p: &Section<'_, '_>) -> BreakerConfig {
    let default = BreakerConfig::default();
    let faults = p.get_or("breaker_faults", default.faults as usize, values::count);
    let faults = u32::try_from(faults).unwrap_or(u32::MAX);
    if faults > MAX_FAULTS {
        p.mistake("breaker_faults", format!("must be {MAX_FAULTS} at most"));
    }
    let open = p.get_or("breaker_open", default.open, values::short_duration);
    if !(MIN_OPEN..=MAX_OPEN).contains(&open) {
        p.mistake("breaker_open", "must be 100ms at least and 1d at most");
    }
    let longest = p.get_or("breaker_longest", default.longest.max(open), values::short_duration);
    if longest < open {
        p.mistake("breaker_longest", "must not be less than `breaker_open`");
    } else if longest > MAX_OPEN && open <= MAX_OPEN {
        p.mistake("breaker_longest", "must be 1d at most");
    }
    BreakerConfig { faults, open, longest, ..default }
}

/// None: nothing is recorded.
fn record(p: &Section<'_, '_>) -> Option<RecordSettings> {
    let messages = p.get_or("record", 0, values::count_or_none);
    if messages > MAX_RECORD {
        p.mistake("record", format!("must be {MAX_RECORD} at most"));
    }
    let octets = p.get_or("record_size", RECORD_SIZE, values::size);
    if !(MIN_RECORD_SIZE..=MAX_RECORD_SIZE).contains(&octets) {
        p.mistake("record_size", "must be 16MiB at least and 4GiB at most");
    }
    let unredacted = p.get_or("record_unredacted", false, values::boolean);
    (messages > 0).then_some(RecordSettings { messages, octets, unredacted })
}

fn limits(p: &Section<'_, '_>, class: Class) -> PluginLimits {
    let mut limits = PluginLimits::of(class);
    let most = match class {
        Class::Small => limits.memory,
        Class::Large => 1 << 30,
    };
    limits.memory = p.get_or("memory", limits.memory, octets);
    if limits.memory > most {
        p.mistake("memory", format!("must be {}MiB at most in this class", most >> 20));
    }
    limits.call_cpu = p.get_or("cpu", limits.call_cpu, values::short_duration);
    limits.call_wall = p.get_or("elapsed", limits.call_wall, values::short_duration);
    if limits.call_wall < limits.call_cpu {
        p.mistake("elapsed", "must not be less than `cpu`");
    }
    let lines = p.get_or("log_lines", limits.log_lines as usize, values::count);
    limits.log_lines = u32::try_from(lines).unwrap_or(u32::MAX);
    limits
}

fn grants(p: &Section<'_, '_>) -> Grants {
    if !p.has("grants") {
        // Known from here on, absent.
        let _ = p.list("grants", values::string);
        return Grants::default();
    }
    let granted = p.list("grants", |value| {
        let name = values::string(value)?;
        Capability::named(&name).ok_or_else(|| {
            let all = Capability::ALL.map(|c| format!("\"{}\"", c.name())).join(", ");
            format!("must be one of {all}")
        })
    });
    Grants(granted.into_iter().map(|at| at.value).collect::<BTreeSet<_>>())
}

fn header_names(p: &Section<'_, '_>) -> HeaderNames {
    let is_there = p.has("headers");
    let patterns = p.list("headers", |value| {
        let pattern = values::string(value)?;
        HeaderNames::new(vec![pattern.clone()]).map(|_| pattern)
    });
    if !is_there {
        return HeaderNames::default();
    }
    HeaderNames::new(patterns.into_iter().map(|at| at.value).collect()).unwrap_or_default()
}

fn settings(reader: &Reader<'_>, p: &Section<'_, '_>) -> Vec<Attribute> {
    let entries = p.texts("settings");
    if entries.len() > MAX_SETTINGS {
        p.mistake("settings", format!("has more than {MAX_SETTINGS} entries"));
    }
    for entry in &entries {
        let (name, value) = &entry.value;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            reader.mistake(entry.place.clone(), "a name has 1 to 64 of a-z, 0-9, hyphen and dot");
        }
        if value.len() > MAX_SETTING {
            reader.mistake(entry.place.clone(), format!("has more than {MAX_SETTING} octets"));
        }
        if value.chars().any(char::is_control) {
            reader.mistake(entry.place.clone(), "has a control character: a value is one line");
        }
    }
    entries.into_iter().map(|at| Attribute::new(at.value.0, at.value.1)).collect()
}
