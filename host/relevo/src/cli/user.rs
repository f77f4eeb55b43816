//! Arguments of `relevo user`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo_relay::users::UserRole;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the users of a tenant, or operators.
    List {
        #[command(flatten)]
        store: UserArgs,
        /// The tenant. Default: operators.
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Add a user, and print the link by which they set their password.
    Invite {
        #[command(flatten)]
        store: UserArgs,
        /// The address, unique among all users.
        email: String,
        /// The tenant, of the configuration file or of the store. Operators have none.
        #[arg(long, value_name = "ID", required_unless_present_any = ["operator"])]
        tenant: Option<String>,
        /// owner, developer, marketer or viewer.
        #[arg(long, value_name = "ROLE", default_value = "owner", value_parser = role)]
        role: UserRole,
        /// An operator, who is above all tenants.
        #[arg(long, conflicts_with_all = ["tenant", "role"])]
        operator: bool,
        /// A name for people.
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
    },
    /// Print another link by which a user sets the password. The one before counts no longer.
    Reset {
        #[command(flatten)]
        store: UserArgs,
        /// The address of the user.
        email: String,
        /// The user has lost the authenticator: it is needed no longer.
        #[arg(long)]
        remove_authenticator: bool,
    },
    /// End all sessions of a user, who may not sign in from then on.
    Disable {
        #[command(flatten)]
        store: UserArgs,
        /// The address of the user.
        email: String,
    },
    /// Let a user sign in again.
    Enable {
        #[command(flatten)]
        store: UserArgs,
        /// The address of the user.
        email: String,
    },
    /// Delete a user.
    Delete {
        #[command(flatten)]
        store: UserArgs,
        /// The address of the user.
        email: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

fn role(name: &str) -> Result<UserRole, String> {
    match name.parse::<UserRole>()? {
        UserRole::Operator => Err("an operator has no tenant: give --operator instead".to_owned()),
        role => Ok(role),
    }
}
