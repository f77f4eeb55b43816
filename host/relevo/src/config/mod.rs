//! `relevo.toml`: read whole, every mistake named with file, line and key. `relevo.example.toml` documents each key.

mod plugins;
mod reader;
mod server;
mod tenants;
pub(crate) mod values;
mod ways;

use std::path::{Path, PathBuf};
use std::time::Duration;

use relevo_queue::StoreConfig;
use relevo_relay::settings::Settings;
use relevo_resolve::IpFamily;

use reader::Reader;
pub(crate) use reader::{Mistake, Place};
pub(crate) use server::{DnsConfig, HttpConfig, SmtpConfig};

/// A configuration without mistakes. Everything that can be reloaded is in `settings`.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Octets.
    pub(crate) store: StoreConfig,
    pub(crate) smtp: SmtpConfig,
    pub(crate) http: HttpConfig,
    pub(crate) dns: DnsConfig,
    /// Extra certificate authorities for verified TLS to next hops.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) event_retention: Duration,
    pub(crate) settings: Settings,
}

/// What reading a file found.
pub(crate) struct Loaded {
    /// None when there are mistakes.
    pub(crate) config: Option<Config>,
    pub(crate) mistakes: Vec<Mistake>,
    /// Suspicious, not wrong.
    pub(crate) warnings: Vec<Mistake>,
}

/// Reads `file` and all key, password and certificate files that it names.
pub(crate) fn load(file: &Path) -> Loaded {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot be read: {error}");
            let mistake = Mistake { file: file.to_owned(), line: 0, key: String::new(), message };
            return Loaded { config: None, mistakes: vec![mistake], warnings: Vec::new() };
        }
    };
    let reader = Reader::new(file, &text);
    let mut warnings = Warnings::new(file);
    let config = read(&reader, &mut warnings);
    let mistakes = reader.into_mistakes();
    let config = config.filter(|_| mistakes.is_empty());
    Loaded { config, mistakes, warnings: warnings.0.1 }
}

/// Things worth saying that do not stop a start.
pub(crate) struct Warnings((PathBuf, Vec<Mistake>));

impl Warnings {
    fn new(file: &Path) -> Self {
        Self((file.to_owned(), Vec::new()))
    }

    pub(crate) fn say(&mut self, place: Place, message: impl Into<String>) {
        let (file, list) = &mut self.0;
        let Place { line, key } = place;
        list.push(Mistake { file: file.clone(), line, key, message: message.into() });
    }
}

fn read(reader: &Reader<'_>, warnings: &mut Warnings) -> Option<Config> {
    let document = reader.parse();
    // What a broken line hides would be said to be missing.
    if reader.has_mistakes() {
        return None;
    }
    let root = reader.root(&document);
    let hostname = root.need("hostname", values::domain);
    let postmaster = root.need("postmaster", values::string);
    if let Some(at) = &postmaster
        && relevo_mailkit::address::Address::parse(&at.value).is_err()
    {
        root.mistake("postmaster", format!("`{}` is not a mail address", at.value));
    }
    let data_dir = root.need("data_dir", values::string);
    let store = server::queue(&root);

    let smtp = server::smtp(reader, &root, warnings);
    let http = server::http(&root);
    let dns = server::dns(&root);
    let host = hostname.as_ref().map_or("", |at| at.value.as_str());
    let (mut delivery, ca_file) = server::delivery(reader, &root, host, &smtp, warnings);
    ways::read(reader, &root, &mut delivery, warnings);
    let tracking_keys = server::tracking_keys(reader, &root, warnings);
    let event_retention = server::events(&root);
    let tenants = tenants::read(reader, &root, &delivery, warnings);
    let plugins = plugins::server(reader, &root);
    tenants::check_relay_sharing(&tenants, &smtp, &root, warnings);
    root.finish();

    Some(Config {
        data_dir: reader.path(&data_dir?.value),
        store,
        settings: Settings {
            hostname: hostname?.value,
            postmaster: postmaster?.value,
            intake: smtp.intake.clone(),
            delivery,
            tracking_keys,
            tenants,
            plugins,
        },
        smtp,
        http,
        dns,
        ca_file,
        event_retention,
    })
}

impl Config {
    /// What can be reloaded, and the rest.
    pub(crate) fn split(self) -> (Settings, ServerParts) {
        let Self { data_dir, store, smtp, http, dns, ca_file, event_retention, settings } = self;
        let (hostname, ip) = (settings.hostname.clone(), settings.delivery.ip);
        (settings, ServerParts { hostname, data_dir, store, smtp, http, dns, ip, ca_file, event_retention })
    }
}

/// What is fixed from start to stop.
#[derive(Debug, Clone)]
pub(crate) struct ServerParts {
    /// That of greetings.
    pub(crate) hostname: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreConfig,
    pub(crate) smtp: SmtpConfig,
    pub(crate) http: HttpConfig,
    pub(crate) dns: DnsConfig,
    /// That of lookups.
    pub(crate) ip: IpFamily,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) event_retention: Duration,
}

impl ServerParts {
    /// What a reload to `other` does not change, since it takes a restart.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (a, b) = (&self.smtp, &other.smtp);
        let listeners =
            (&a.submission, &a.submissions, &a.relay) != (&b.submission, &b.submissions, &b.relay);
        let per_peer = a.max_connections_per_peer != b.max_connections_per_peer;
        let differ = [
            ("hostname", self.hostname != other.hostname),
            ("data_dir", self.data_dir != other.data_dir),
            ("min_free or [queue]", self.store != other.store),
            ("listeners of [smtp]", listeners),
            ("max_message_size", a.intake.max_message_size != b.intake.max_message_size),
            ("max_connections of [smtp]", a.max_connections != b.max_connections),
            ("max_connections_per_peer", per_peer),
            ("[http]", self.http != other.http),
            ("[dns]", self.dns != other.dns),
            ("`ip` of [delivery]", self.ip != other.ip),
            ("`ca_file` of [delivery]", self.ca_file != other.ca_file),
            ("[events]", self.event_retention != other.event_retention),
        ];
        differ.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
    }
}

/// The data directory that a configuration names, whatever else is wrong with it.
///
/// # Errors
/// The file cannot be read or names none.
pub(crate) fn data_dir(file: &Path) -> anyhow::Result<PathBuf> {
    use anyhow::Context;
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let reader = Reader::new(file, &text);
    let document = reader.parse();
    let root = reader.root(&document);
    let found = root.get("data_dir", values::string);
    found.map(|at| reader.path(&at.value)).with_context(|| format!("{}: no `data_dir` in it", file.display()))
}
