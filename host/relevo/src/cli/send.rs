//! Arguments of `relevo send`.

use std::path::PathBuf;

use clap::Args;

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
