//! Arguments of `relevo init`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The name of this host, such as mta1.example.com. Its address should resolve back to it.
    #[arg(long, value_name = "H")]
    pub(crate) hostname: String,
    /// The domain to send from, such as example.com.
    #[arg(long, value_name = "D")]
    pub(crate) domain: String,
    /// Where to put relevo.toml and the keys. Made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// A second domain, for campaigns: a name below the domain, such as news, or a full name.
    #[arg(long, value_name = "SUBDOMAIN")]
    pub(crate) marketing: Option<String>,
    /// The address that takes mail by SMTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2587")]
    pub(crate) submission: SocketAddr,
    /// The address of the HTTP API.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8025")]
    pub(crate) http: SocketAddr,
}
