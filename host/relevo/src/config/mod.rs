//! `relevo.toml`: read whole, every mistake named with file, line and key. `relevo.example.toml`
//! documents each key.
//!
//! To add a key:
//! 1. Add a field to its section in `schema.rs`; its type says what the value looks like
//!    (`formats`).
//! 2. Use it where the section is checked (`server.rs`, `egress.rs`, `tenants.rs`, `plugins.rs`,
//!    `webhooks.rs`, `panel.rs`, `auth.rs`,
//!    `classify.rs`), with its default. Limits and what must agree with other keys are checked there, too.
//! 3. Describe it with its default in `relevo.example.toml`.
//! 4. Add its mistakes to a file in `tests/configs`, each with `#!` and the message behind it.
//! 5. If it takes a restart, add it to [`ServerParts`] and [`ServerParts::differences`].

mod auth;
mod classify;
mod cluster;
mod document;
mod egress;
mod formats;
mod networks;
mod panel;
mod plugins;
mod returns;
mod schema;
mod server;
mod shaping;
mod suppression;
mod tenants;
mod tls;
mod values;
mod webhooks;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use relevo_queue::StoreConfig;
use relevo_relay::inspection::SpamFilters;
use relevo_relay::reputation::ReputationConfig;
use relevo_relay::settings::Settings;
use relevo_relay::suppressions::SuppressionRuleSettings;
use relevo_resolve::IpFamily;
use relevo_store::StoreUrl;

pub(crate) use auth::AuthConfig;
pub(crate) use cluster::{ClusterConfig, EngineConfig};
use document::{Document, Mistake};
pub(crate) use panel::PanelConfig;
use schema::File;
pub(crate) use server::{DnsConfig, EventsConfig, HttpConfig, SmtpConfig, ValidationConfig};
pub(crate) use tls::TlsConfig;
pub(crate) use webhooks::WebhooksConfig;

/// Octets of a configuration: some 10,000 tenants.
const MAX_FILE: u64 = 32 << 20;

/// A configuration without mistakes. Everything that can be reloaded is in `settings`.
#[derive(Debug)]
pub(crate) struct RelayConfig {
    pub(crate) data_dir: PathBuf,
    /// Octets.
    pub(crate) queue: StoreConfig,
    /// Control-plane data.
    pub(crate) store: StoreUrl,
    /// None: this node is alone.
    pub(crate) cluster: Option<ClusterConfig>,
    pub(crate) smtp: SmtpConfig,
    pub(crate) http: HttpConfig,
    pub(crate) dns: DnsConfig,
    /// Extra certificate authorities for verified TLS to next hops.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) tls: TlsConfig,
    pub(crate) events: EventsConfig,
    pub(crate) webhooks: WebhooksConfig,
    pub(crate) reputation: ReputationConfig,
    pub(crate) panel: PanelConfig,
    pub(crate) validation: ValidationConfig,
    pub(crate) suppression: SuppressionRuleSettings,
    /// The operator's rules for what receivers say.
    pub(crate) classify_rules: Option<String>,
    pub(crate) spam_filters: SpamFilters,
    pub(crate) settings: Settings,
}

/// What reading a file found.
pub(crate) struct Loaded {
    /// None when there are mistakes.
    pub(crate) config: Option<RelayConfig>,
    pub(crate) mistakes: Vec<Mistake>,
    /// Suspicious, not wrong.
    pub(crate) warnings: Vec<Mistake>,
}

/// Reads `file` and all key, password and certificate files that it names.
pub(crate) fn load(file: &Path) -> Loaded {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot be read: {error}");
            let mistake = Mistake { file: file.to_owned(), line: 0, key: String::new(), message };
            return Loaded { config: None, mistakes: vec![mistake], warnings: Vec::new() };
        }
    };
    let mut document = Document::parse(file, &text);
    let config = document.read().map(|read| check(&mut document, &read));
    let (mistakes, warnings) = document.into_findings();
    Loaded { config: config.filter(|_| mistakes.is_empty()), mistakes, warnings }
}

fn read_text(file: &Path) -> io::Result<String> {
    let octets = relevo_keys::read_file(file, MAX_FILE)?;
    String::from_utf8(octets).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Checks what serde cannot, and fills in defaults. What is returned is only of use when there are
/// no mistakes.
fn check(d: &mut Document<'_>, file: &File) -> RelayConfig {
    let root = d.span();
    let hostname = d.need(root, &file.hostname, "hostname").map(|at| at.value.clone());
    let postmaster = d.need(root, &file.postmaster, "postmaster").map(|at| at.value.clone());
    let data_dir = d.need(root, &file.data_dir, "data_dir").map(|at| at.value.clone());
    let data_dir = d.path(&data_dir.unwrap_or_default());
    let mut smtp = server::smtp(d, file);
    let (delivery, ca_file) = egress::delivery(d, file, &smtp);
    let tenants = tenants::tenants(d, file, &delivery);
    let certificates = smtp.tls.iter().chain(&smtp.other_certificates);
    let certificates: Vec<&PathBuf> = certificates.map(|(chain, _)| chain).collect();
    smtp.auth = auth::auth(d, file, (hostname.as_deref().unwrap_or_default(), &certificates), &tenants);
    let panel = panel::panel(d, file, hostname.as_deref().unwrap_or_default(), &tenants);
    let store = server::store(d, file, &data_dir);
    RelayConfig {
        cluster: cluster::cluster(d, file, &store),
        store,
        data_dir,
        queue: server::queue(d, file),
        settings: Settings {
            hostname: hostname.clone().unwrap_or_default(),
            postmaster: postmaster.unwrap_or_default(),
            intake: smtp.intake.clone(),
            delivery,
            tracking_keys: server::tracking_keys(d, file),
            tracking: server::tracking_limits(file),
            unsubscribe_mailbox: server::unsubscribe_mailbox(d, file),
            returns: returns::returns(d, file),
            directory: tenants.into(),
            plugins: plugins::server(d, file),
        },
        smtp,
        http: server::http(d, file),
        dns: server::dns(file),
        ca_file,
        tls: tls::tls(d, file),
        events: server::events(file),
        webhooks: webhooks::webhooks(d, file),
        reputation: server::reputation(d, file),
        panel,
        validation: server::validation(file),
        suppression: suppression::suppression(d, file),
        classify_rules: classify::rules(d, file),
        spam_filters: server::content(d, file),
    }
}

impl RelayConfig {
    /// What can be reloaded, and the rest.
    pub(crate) fn split(self) -> (Settings, ServerParts) {
        let Self { data_dir, queue, store, cluster, smtp, http, dns, ca_file, tls, events, webhooks, .. } =
            self;
        let Self { validation, suppression, reputation, panel, .. } = self;
        let Self { classify_rules, spam_filters, settings, .. } = self;
        let (hostname, ip) = (settings.hostname.clone(), settings.delivery.ip);
        let parts = ServerParts {
            hostname,
            data_dir,
            queue,
            store,
            cluster,
            smtp,
            http,
            dns,
            ip,
            ca_file,
            tls,
            events,
            webhooks,
            validation,
            suppression,
            reputation,
            panel,
            classify_rules,
            spam_filters,
        };
        (settings, parts)
    }
}

/// What is fixed from start to stop.
#[derive(Debug, Clone)]
pub(crate) struct ServerParts {
    /// That of greetings.
    pub(crate) hostname: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) queue: StoreConfig,
    /// Control-plane data.
    pub(crate) store: StoreUrl,
    /// None: this node is alone.
    pub(crate) cluster: Option<ClusterConfig>,
    pub(crate) smtp: SmtpConfig,
    pub(crate) http: HttpConfig,
    pub(crate) dns: DnsConfig,
    /// That of lookups.
    pub(crate) ip: IpFamily,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) tls: TlsConfig,
    pub(crate) events: EventsConfig,
    pub(crate) webhooks: WebhooksConfig,
    pub(crate) reputation: ReputationConfig,
    pub(crate) panel: PanelConfig,
    pub(crate) validation: ValidationConfig,
    pub(crate) suppression: SuppressionRuleSettings,
    /// Those of the start; a reload reads them again.
    pub(crate) classify_rules: Option<String>,
    pub(crate) spam_filters: SpamFilters,
}

impl ServerParts {
    /// What a reload to `other` does not change, since it takes a restart.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (a, b) = (&self.smtp, &other.smtp);
        let listeners =
            (&a.submission, &a.submissions, &a.relay) != (&b.submission, &b.submissions, &b.relay);
        let dialogue = a.offers != b.offers || a.proxies != b.proxies;
        let per_peer = a.max_connections_per_peer != b.max_connections_per_peer;
        let differ = [
            ("hostname", self.hostname != other.hostname),
            ("data_dir", self.data_dir != other.data_dir),
            ("min_free or [queue]", self.queue != other.queue),
            ("[store]", self.store != other.store),
            ("[cluster]", self.cluster != other.cluster),
            ("listeners of [smtp]", listeners),
            ("extensions or proxies of [smtp]", dialogue),
            ("max_message_size", a.intake.max_message_size != b.intake.max_message_size),
            ("max_connections of [smtp]", a.max_connections != b.max_connections),
            ("max_connections_per_peer", per_peer),
            ("SCRAM, `client_ca` and `oauth` of [smtp]", a.auth != b.auth),
            ("[http]", self.http != other.http),
            ("[dns]", self.dns != other.dns),
            ("`ip` of [delivery]", self.ip != other.ip),
            ("`ca_file` of [delivery]", self.ca_file != other.ca_file),
            ("`mta_sts`, `dane` and `tls` of [delivery], or [tls_report]", self.tls != other.tls),
            ("[events]", self.events != other.events),
            ("[webhooks]", self.webhooks != other.webhooks),
            ("[reputation]", self.reputation != other.reputation),
            ("[panel]", self.panel != other.panel),
            ("[validation]", self.validation != other.validation),
            ("[suppression]", self.suppression != other.suppression),
            ("[content]", self.spam_filters != other.spam_filters),
        ];
        differ.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
    }
}

/// The data directory that a configuration names, whatever else is wrong with it.
///
/// # Errors
/// The file cannot be read or names none.
pub(crate) fn data_dir(file: &Path) -> anyhow::Result<PathBuf> {
    let text = read_text(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let document = Document::parse(file, &text);
    let found = document.string("data_dir").map(|path| document.path(path));
    found.with_context(|| format!("{}: no `data_dir` in it", file.display()))
}
