//! Arguments of `relevo shaping` and `relevo warmup`.

use clap::{Args, Subcommand};

use super::RelayArgs;

#[derive(Debug, Args)]
pub(crate) struct ShapingArgs {
    #[command(subcommand)]
    pub(crate) command: ShapingCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShapingCommand {
    /// Providers with their limits and what goes there now, and all suspensions.
    Show,
    /// What holds mail to a domain, and by which rule and reply.
    Why {
        /// The recipients' domain.
        domain: String,
    },
    /// Send nothing from an address or a pool, or of a tenant, to a provider for a while.
    Suspend {
        /// source:ADDRESS, source:system, pool:NAME or tenant:ID.
        subject: String,
        /// The provider, such as google; `show` has the names.
        #[arg(long, required_unless_present = "domain", conflicts_with = "domain")]
        provider: Option<String>,
        /// A domain of the provider.
        #[arg(long)]
        domain: Option<String>,
        /// For how long: 30m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME")]
        span: String,
        /// Shown by `relevo queue why`.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End a suspension now: its mail is due at once.
    Resume {
        /// Its name, such as source:192.0.2.1@gmail.
        id: String,
    },
    /// Forget that refusals slowed a provider down.
    Reset {
        /// The provider.
        provider: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WarmupArgs {
    #[command(subcommand)]
    pub(crate) command: WarmupCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WarmupCommand {
    /// Where each address stands at each provider, and why.
    Show,
}
