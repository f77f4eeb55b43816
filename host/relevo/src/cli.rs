//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use relevo_mailkit::model::Algorithm;
use relevo_relay::directory::Scope;

/// An SMTP relay whose judgement runs in sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "relevo", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run everything on loopback, delivering into a capture inbox. Nothing leaves the machine.
    Dev(DevArgs),
    /// Run the relay. SIGTERM drains and stops; SIGHUP reloads tenants, domains, keys and
    /// certificates.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read a configuration and all files it names; print every mistake with file, line and key.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Send a message by the HTTP API of a relay.
    Send(Box<SendArgs>),
    /// Take a message from a program, as `sendmail` does, and hand it to a submission server.
    ///
    /// The message stands on standard input. Options of sendmail: -t -i -f SENDER -F NAME -C FILE -v, and
    /// those without an effect here. A link to this program at /usr/sbin/sendmail does the same. The server is
    /// that of /etc/relevo/sendmail.toml (server, username, password_file, tls, ca, sender, domain), or
    /// of RELEVO_SENDMAIL_URL, _USERNAME, _PASSWORD_FILE and so on; without them smtp://127.0.0.1:25.
    Sendmail {
        /// Options of sendmail, and recipients.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Look at and act on the queue of a running relay.
    Queue(QueueArgs),
    /// Tenants' policy plugins: start one, and change what a relay uses.
    ///
    /// With --config and while no relay runs on its data directory, the command does it there
    /// itself, and the relay uses it from its start. Run it as the relay's user. With --data there
    /// must be a running relay.
    Plugin(PluginArgs),
    /// Compile a component, within limits: what a relay starts for an uploaded plugin.
    #[command(hide = true)]
    PluginCompile {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        memory: u64,
        #[arg(long)]
        seconds: u64,
        component: PathBuf,
        out: PathBuf,
    },
    /// DKIM keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// SMTP credentials.
    Credential {
        #[command(subcommand)]
        command: CredentialCommand,
    },
    /// HTTP API keys: those of the store, and `new` for the configuration file.
    ///
    /// All but `new` work on the store that the configuration names, whether a relay runs or not. A
    /// running relay knows of a change some seconds later. Run it as the relay's user.
    ApiKey {
        #[command(subcommand)]
        command: ApiKeyCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Send one sample through the whole pipeline, print what happened, and exit.
    #[arg(long)]
    pub(crate) once: bool,
    /// SMTP address; loopback only. Default 127.0.0.1:2525 (any free port with --once).
    #[arg(long, value_name = "ADDR")]
    pub(crate) smtp: Option<SocketAddr>,
    /// HTTP address; loopback only. Default 127.0.0.1:8025 (any free port with --once).
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Keep queue and keys here. Default: a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The relay's HTTP API. Default: the environment's RELEVO_URL, or http://127.0.0.1:8025.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file that holds the API key. Default: the environment's RELEVO_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The author: `ana@example.com` or `Ana <ana@example.com>`.
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) from: String,
    /// A recipient; may be given several times.
    #[arg(long, value_name = "MAILBOX", required = true)]
    pub(crate) to: Vec<String>,
    /// A recipient in Cc.
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) cc: Vec<String>,
    /// A recipient that nobody sees.
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) bcc: Vec<String>,
    /// An address for answers.
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) reply_to: Vec<String>,
    /// The subject.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// The text: itself, @FILE, or - for standard input.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// The HTML: itself, @FILE, or - for standard input.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) html: Option<String>,
    /// A published template, by id or alias, in place of text and HTML.
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// A value for the template: NAME=TEXT, or NAME:=JSON. A dot leads into an object.
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// A file to attach.
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// A tag: NAME or NAME=VALUE.
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    pub(crate) tags: Vec<String>,
    /// An entry of the metadata that events carry.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) metadata: Vec<String>,
    /// A further header field.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// When to send: RFC 3339, or a span such as `in 2 hours`. Default: now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// When to give up.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// transactional or marketing.
    #[arg(long)]
    pub(crate) stream: Option<String>,
    /// The topic that recipients can leave.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Track neither opens nor clicks.
    #[arg(long)]
    pub(crate) no_tracking: bool,
    /// Only over a verified TLS connection.
    #[arg(long)]
    pub(crate) enforce_tls: bool,
    /// A request with the same key is not sent twice.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Check everything and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The configuration of the running relay; its data directory has the control socket.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "data")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory of the running relay.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// One JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// All messages, oldest first.
    List,
    /// One message with all its deliveries.
    Show {
        /// The queue id.
        id: String,
    },
    /// What each recipient of a message is waiting for.
    Why {
        /// The queue id.
        id: String,
    },
    /// Make all its deliveries due at once.
    Retry {
        /// The queue id.
        id: String,
    },
    /// Attempt nothing more until released. It still expires.
    Hold {
        /// The queue id.
        id: String,
    },
    /// End a hold.
    Release {
        /// The queue id.
        id: String,
    },
    /// Delete it, without a bounce.
    Drop {
        /// The queue id.
        id: String,
    },
    /// Rebuild a lost or damaged index from bodies and segments, while no relay runs. Messages that
    /// are found are held.
    Recover {
        /// Make what is found due at once. Recipients that have it already get it again.
        #[arg(long)]
        release: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

/// Names a configured plugin: `[[tenant.plugin]]`.
#[derive(Debug, Args)]
pub(crate) struct PluginNameArgs {
    /// The tenant.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: String,
    /// The plugin's name in the configuration.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a starter project.
    New {
        /// rust, js or python.
        #[arg(long, value_name = "LANG")]
        lang: Language,
        /// Where; must not exist. Its name becomes the plugin's.
        dir: PathBuf,
    },
    /// Check a component, compile it, test it, and use it.
    Add {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Ask it beside the active version, without effect; `list` reports where their verdicts
        /// differ.
        #[arg(long)]
        shadow: bool,
        /// The component.
        file: PathBuf,
    },
    /// No longer ask a version beside the active one.
    EndShadow {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// List the configured plugins and their versions.
    List {
        /// Only this tenant's.
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Delete all that is stored of a plugin that was removed from the configuration: versions,
    /// key-value data.
    Forget {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Use it again.
    Enable {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Mail passes as if it were not there.
    Disable {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Use another version that was added before.
    Rollback {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Its digest, or the beginning of it. Default: the version before this one.
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
    /// Judge recorded messages again (`record` in the configuration), without effect, and report
    /// where the verdicts differ.
    Replay {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Against this version: its digest, or the beginning of it. Default: the active one.
        #[arg(long, value_name = "SHA256", conflicts_with = "component")]
        digest: Option<String>,
        /// Against a component that was not added: it is checked, compiled and tested as by `add`,
        /// and then forgotten.
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Only the last N messages. Default: all that are recorded.
        #[arg(long, value_name = "N")]
        last: Option<usize>,
    },
    /// Key-value data.
    Kv {
        #[command(subcommand)]
        command: KvCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Replace all of it. One entry a line: the key, a tab, the value; lines that begin with # are
    /// left out.
    Import {
        #[command(flatten)]
        named: PluginNameArgs,
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Language {
    Rust,
    Js,
    Python,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write a new private key (mode 0600) and print the DNS record to publish.
    Generate(KeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The sending domain, such as example.com.
    #[arg(long, value_name = "D")]
    pub(crate) domain: String,
    /// The selector, such as s1.
    #[arg(long, value_name = "S")]
    pub(crate) selector: String,
    /// rsa-sha256 (2048 bits) or ed25519-sha256.
    #[arg(long, value_name = "A", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
    /// Where to write it; must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

fn algorithm(s: &str) -> Result<Algorithm, String> {
    [Algorithm::RsaSha256, Algorithm::Ed25519Sha256]
        .into_iter()
        .find(|a| a.as_str() == s)
        .ok_or_else(|| "must be rsa-sha256 or ed25519-sha256".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Make a password and print the entry to configure.
    New(CredentialArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// The user name.
    #[arg(long, value_name = "NAME", default_value = "USERNAME")]
    pub(crate) username: String,
    /// Read a password from standard input instead of making one.
    #[arg(long)]
    pub(crate) stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make a key and print the entry to configure.
    New {
        /// A name for it, for logs.
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Make a key in the store and print it, this once.
    Create {
        #[command(flatten)]
        store: StoreArgs,
        /// A name for it, for people and logs; unique among the keys of the tenant.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// send, read, templates, suppressions, webhooks, admin; separated by commas. Default: all.
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Scope>,
        /// Send from this domain only.
        #[arg(long, value_name = "D")]
        domain: Option<String>,
        /// It counts for so many days. Default: until it is revoked.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// List the keys of a tenant that are in the store.
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Give a key another token and print it, this once.
    Rotate {
        #[command(flatten)]
        store: StoreArgs,
        /// Its id or name.
        key: String,
        /// Hours for which the token before counts. 0: no longer.
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
        overlap_hours: u32,
    },
    /// Make a key count no longer.
    Revoke {
        #[command(flatten)]
        store: StoreArgs,
        /// Its id or name.
        key: String,
    },
}

/// Names a tenant, and the store by the configuration.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The tenant, of the configuration file or of the store.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: String,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

fn scope(name: &str) -> Result<Scope, String> {
    name.parse()
}
