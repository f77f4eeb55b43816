//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod cluster;
mod doctor;
mod init;
mod plugin;
mod queue;
mod reputation;
mod secrets;
mod send;
mod shaping;
mod store;
mod store_transfer;
mod suppression;
mod tls;
mod user;

pub(crate) use cluster::{ClusterArgs, ClusterCommand, ShardArgs, ShardCommand};
pub(crate) use doctor::DoctorArgs;
pub(crate) use init::InitArgs;
pub(crate) use plugin::{KvCommand, Language, PluginArgs, PluginCommand, PluginNameArgs};
pub(crate) use queue::{QueueArgs, QueueCommand};
pub(crate) use reputation::{ApiArgs, ReputationCommand};
pub(crate) use secrets::{CredentialArgs, CredentialCommand, KeyArgs, KeyCommand};
pub(crate) use send::SendArgs;
pub(crate) use shaping::{ShapingArgs, ShapingCommand, WarmupArgs, WarmupCommand};
pub(crate) use store::{ApiKeyCommand, DomainArgs, DomainCommand, StoreArgs};
pub(crate) use store_transfer::{StoreTransferArgs, StoreTransferCommand};
pub(crate) use suppression::{SuppressionArgs, SuppressionCommand, UndoArgs};
pub(crate) use tls::{TlsArgs, TlsCommand};
pub(crate) use user::{UserArgs, UserCommand};

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
    /// Make keys, a credential, an API key and a configuration; print the records to publish.
    ///
    /// A file that exists is never overwritten. Secrets are printed this once.
    Init(InitArgs),
    /// Say whether mail to addresses would arrive, and why. Nothing is sent.
    Validate(ValidateArgs),
    /// Check what is published of sending domains: SPF, DKIM, DMARC, PTR, certificates and the rules of
    /// large receivers. Each check that fails names the record to paste.
    ///
    /// The exit status is 1 if a check fails.
    Doctor(DoctorArgs),
    /// What others think of the relay: block lists, rates of complaints, reports of large receivers.
    Reputation {
        #[command(subcommand)]
        command: ReputationCommand,
    },
    /// Look at the content of a message: what receivers and readers may dislike. Nothing is sent.
    ///
    /// The exit status is 1 if a finding is an error.
    CheckContent(CheckContentArgs),
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
    /// Say what replies of receivers mean: one a line on standard input, one answer for each.
    Classify(ClassifyArgs),
    /// Look at and act on the queue of a running relay.
    Queue(QueueArgs),
    /// Suppressed addresses of a running relay: undo what rules added.
    Suppression(SuppressionArgs),
    /// What providers allow, what their refusals led to, and suspensions of a running relay.
    Shaping(ShapingArgs),
    /// How far new addresses are: what they may send to each provider.
    Warmup(WarmupArgs),
    /// What TLS mail to a domain needs, and why.
    Tls(TlsArgs),
    /// Nodes and shards of a cluster.
    Cluster(ClusterArgs),
    /// The log of a node's shard: compare it, write it anew, leave it.
    Shard(ShardArgs),
    /// The store of control-plane data as a file: move it to another database, or keep it as a backup.
    ///
    /// An export has everything that the store has: tenants, domains, keys and users, templates,
    /// suppressions, webhooks, plugins, statistics and the audit log; and of the data directory what
    /// belongs to them: private keys of domains (`dkim`), `tracking.key` and `scram.key`. It has
    /// secrets, so it is made for its owner alone (mode 0600). Mail and events are not in it. Run it as
    /// the relay's user.
    Store(StoreTransferArgs),
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
    /// People who sign in to the panel.
    ///
    /// The commands work on the store that the configuration names, whether a relay runs or not. A
    /// running relay knows of a change at once. A link is for the user alone: who has it sets the
    /// password.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Sending domains of a tenant: claim, publish, check, remove.
    ///
    /// The commands work on the store that the configuration names, whether a relay runs or not. A
    /// running relay knows of a change some seconds later. Run them as the relay's user: it must be
    /// able to read the DKIM keys.
    Domain {
        #[command(subcommand)]
        command: DomainCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckContentArgs {
    /// A message as it would be sent, such as a file `.eml`; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// It is marketing: its readers must be able to unsubscribe.
    #[arg(long)]
    pub(crate) marketing: bool,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// The configuration of a relay: its spam filters are asked for their scores.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Addresses. `-` stands for those of standard input, one a line.
    #[arg(value_name = "ADDRESS", required = true, allow_hyphen_values = true)]
    pub(crate) addresses: Vec<String>,
    /// A JSON object a line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// The configuration of a relay: its name servers are asked. Default: those of the system.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A tenant of that relay: its list of suppressed addresses counts, too.
    #[arg(long, value_name = "ID", requires = "config")]
    pub(crate) tenant: Option<String>,
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
    /// A file as of `relevo sendmail -C`: messages of the inbox can be released to real addresses through
    /// the server that it names.
    #[arg(long, value_name = "FILE")]
    pub(crate) smarthost: Option<PathBuf>,
    /// Keep queue and keys here. Default: a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    /// The name of the mail server that said it.
    #[arg(long, value_name = "HOST")]
    pub(crate) mx: Option<String>,
    /// One JSON object a line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Use the rules of this configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
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
