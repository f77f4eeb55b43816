//! Checks `[plugins]` and `[[tenant.plugin]]`: what plugins may use. Which versions there are is
//! not configuration.

use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::policy::Attribute;
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_relay::settings::{FailurePolicy, PluginServer, PluginSettings, RecordSettings, TENANT_CPU};
use relevo_runtime::policy::{BreakerConfig, CapabilityGrants, Class, PluginConfig, PluginLimits};

use super::document::Document;
use super::schema::{self, ApiKeyTable, File};
use super::values::{Section, plain};

/// Plugins of one tenant: each is asked about each of its messages.
const MAX_PLUGINS: usize = 16;
/// Entries of `settings`, and octets of one (`wit/relevo-policy-0.1.0/configure.wit`).
const MAX_SETTINGS: usize = 100;
const MAX_SETTING: usize = 4_096;
/// Octets of key-value data unless set otherwise, and at most: it is kept in memory.
const KV_SIZE: u64 = 16 << 20;
const MAX_KV_SIZE: u64 = 1 << 30;
/// CPU time of a tenant's plugins in a second: there may be many processors.
const MIN_CPU: Duration = Duration::from_millis(10);
const MAX_CPU: Duration = Duration::from_secs(60);
/// Faults in a row that open the breaker, at most, and how long it may stay open: what was put
/// right is to be noticed.
const MAX_FAULTS: u32 = 1_000;
const MIN_OPEN: Duration = Duration::from_millis(100);
const MAX_OPEN: Duration = Duration::from_secs(86_400);
/// Messages that are recorded, at most.
const MAX_RECORD: usize = 10_000;
/// Octets of recordings unless set otherwise, at least (the largest single ones must fit in a
/// quarter of it) and at most.
const RECORD_SIZE: u64 = 64 << 20;
const MIN_RECORD_SIZE: u64 = 16 << 20;
const MAX_RECORD_SIZE: u64 = 4 << 30;
/// Octets that the compiler needs.
const MIN_COMPILE_MEMORY: u64 = 256 << 20;

pub(crate) fn server(d: &mut Document<'_>, file: &File) -> PluginServer {
    let (s, default) = (&file.plugins, PluginServer::default());
    let admin_keys = named_keys(d, &s.admin_keys);
    let message = "must be 256MiB at least: the compiler needs it";
    d.check(&s.compile_memory, |size| *size >= MIN_COMPILE_MEMORY, message);
    let mut upload = default.upload;
    upload.octets = octets(s.max_size.or(upload.octets as u64));
    upload.functions = s.max_functions.or(upload.functions);
    PluginServer {
        admin_keys,
        upload,
        compile_memory: s.compile_memory.or(default.compile_memory),
        compile_time: s.compile_time.or(default.compile_time),
        hold_expire: s.hold_expire.or(default.hold_expire),
    }
}

/// Keys by name and SHA-256.
pub(crate) fn named_keys(d: &mut Document<'_>, entries: &[Section<ApiKeyTable>]) -> Vec<(String, [u8; 32])> {
    let mut keys: Vec<(String, [u8; 32])> = Vec::new();
    for entry in entries {
        let name = d.need(entry.span, &entry.name, "name");
        let hash = d.need(entry.span, &entry.hash, "hash");
        let (Some(name), Some(hash)) = (name, hash) else { continue };
        if keys.iter().any(|(_, known)| *known == hash.value) {
            d.mistake(hash.span, "is used twice");
        }
        keys.push((name.value.clone(), hash.value));
    }
    keys
}

fn octets(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// In declared order.
pub(crate) fn of_tenant(
    d: &mut Document<'_>,
    s: &schema::TenantTable,
    tenant: &str,
) -> Vec<Arc<PluginSettings>> {
    let mut plugins: Vec<Arc<PluginSettings>> = Vec::new();
    let message = "must be 10ms at least and 60s at most";
    d.check(&s.plugin_cpu, |cpu| (MIN_CPU..=MAX_CPU).contains(cpu), message);
    let cpu = s.plugin_cpu.or(TENANT_CPU);
    for p in &s.plugin {
        let name = d.need(p.span, &p.name, "name");
        let plugin = plugin(d, p, tenant, cpu);
        let Some(name) = name else { continue };
        if plugins.iter().any(|other| other.config.name == name.value) {
            d.mistake(name.span, format!("plugin `{}` is there already", name.value));
        } else if plugins.len() == MAX_PLUGINS {
            d.mistake(name.span, format!("a tenant has at most {MAX_PLUGINS} plugins"));
        }
        plugins.push(Arc::new(plugin));
    }
    plugins
}

fn plugin(
    d: &mut Document<'_>,
    p: &Section<schema::PluginTable>,
    tenant: &str,
    tenant_cpu: Duration,
) -> PluginSettings {
    let message = "must be 1GiB at most: the data is kept in memory";
    d.check(&p.kv_size, |size| *size <= MAX_KV_SIZE, message);
    let class = p.class.or(Class::Small);
    let grants = p.grants.as_ref().map(|list| CapabilityGrants(plain(list).into_iter().collect()));
    let header_names = p.headers.as_ref().map(|list| HeaderNames::new(plain(list)).unwrap_or_default());
    let config = PluginConfig {
        tenant: tenant.to_owned(),
        name: p.name.or(String::new()),
        class,
        limits: limits(d, p, class),
        grants: grants.unwrap_or_default(),
        header_names: header_names.unwrap_or_default(),
        settings: settings(d, p),
    };
    PluginSettings {
        config,
        kv_size: p.kv_size.or(KV_SIZE),
        tenant_cpu,
        failure: p.on_failure.or(FailurePolicy::Tempfail),
        breaker: breaker(d, p),
        record: record(d, p),
    }
}

fn breaker(d: &mut Document<'_>, p: &schema::PluginTable) -> BreakerConfig {
    let default = BreakerConfig::default();
    d.check(&p.breaker_faults, |n| *n <= MAX_FAULTS, format!("must be {MAX_FAULTS} at most"));
    let message = "must be 100ms at least and 1d at most";
    d.check(&p.breaker_open, |open| (MIN_OPEN..=MAX_OPEN).contains(open), message);
    let open = p.breaker_open.or(default.open);
    if p.breaker_longest.at().is_some_and(|at| at.value < open) {
        d.check(&p.breaker_longest, |_| false, "must not be less than `breaker_open`");
    } else {
        d.check(&p.breaker_longest, |longest| *longest <= MAX_OPEN, "must be 1d at most");
    }
    BreakerConfig {
        faults: p.breaker_faults.or(default.faults),
        open,
        longest: p.breaker_longest.or(default.longest.max(open)),
        ..default
    }
}

/// None: nothing is recorded.
fn record(d: &mut Document<'_>, p: &schema::PluginTable) -> Option<RecordSettings> {
    d.check(&p.record, |n| *n <= MAX_RECORD, format!("must be {MAX_RECORD} at most"));
    let fits = |size: &u64| (MIN_RECORD_SIZE..=MAX_RECORD_SIZE).contains(size);
    d.check(&p.record_size, fits, "must be 16MiB at least and 4GiB at most");
    let (messages, octets) = (p.record.or(0), p.record_size.or(RECORD_SIZE));
    let unredacted = p.record_unredacted.or(false);
    (messages > 0).then_some(RecordSettings { messages, octets, unredacted })
}

fn limits(d: &mut Document<'_>, p: &Section<schema::PluginTable>, class: Class) -> PluginLimits {
    let mut limits = PluginLimits::of(class);
    let most = match class {
        Class::Small => limits.memory as u64,
        Class::Large => 1 << 30,
    };
    let message = format!("must be {}MiB at most in this class", most >> 20);
    d.check(&p.memory, |memory| *memory <= most, message);
    limits.memory = octets(p.memory.or(limits.memory as u64));
    limits.call_cpu = p.cpu_timeout.or(limits.call_cpu);
    limits.call_wall = p.wall_timeout.or(limits.call_wall);
    if limits.call_wall < limits.call_cpu {
        d.mistake_in(p.span, "wall_timeout", "must not be less than `cpu_timeout`");
    }
    limits.log_lines = p.log_lines.or(limits.log_lines);
    limits
}

fn settings(d: &mut Document<'_>, p: &schema::PluginTable) -> Vec<Attribute> {
    let mut entries: Vec<_> = p.settings.iter().collect();
    entries.sort_by_key(|(_, at)| at.span.start());
    let mut settings = Vec::new();
    for (name, at) in entries {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            d.mistake(at.span, "a name has 1 to 64 of a-z, 0-9, hyphen and dot");
        }
        if at.value.iter().any(|value| value.len() > MAX_SETTING) {
            d.mistake(at.span, format!("has more than {MAX_SETTING} octets"));
        }
        if at.value.iter().any(|value| value.chars().any(char::is_control)) {
            d.mistake(at.span, "has a control character: a value is one line");
        }
        settings.extend(at.value.iter().map(|value| Attribute::new(name.clone(), value.clone())));
    }
    if settings.len() > MAX_SETTINGS {
        d.mistake(p.settings.span, format!("has more than {MAX_SETTINGS} entries"));
    }
    settings
}
