//! The configuration of `relevo dev`: written as a file with real keys, then read like any other.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use relevo_keys::SigningKey;
use relevo_mailkit::model::Algorithm;

use crate::credential;

/// The tenant.
pub(crate) const TENANT: &str = "dev";
/// The tenant's domain.
pub(crate) const DOMAIN: &str = "example.test";
/// SMTP user name and password.
pub(crate) const USER: &str = "dev";
/// HTTP API key.
pub(crate) const API_KEY: &str = "rv_dev";

/// Writes `relevo.toml` and whatever keys are missing into `data`; returns the file's name. Keys
/// that are there are kept.
pub(crate) fn write(data: &Path, smtp: SocketAddr, http: SocketAddr) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(data).with_context(|| format!("{} cannot be made", data.display()))?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
    for (name, algorithm) in [("rsa.pem", Algorithm::RsaSha256), ("ed.pem", Algorithm::Ed25519Sha256)] {
        let path = data.join(name);
        if !path.exists() {
            SigningKey::generate(algorithm)?.write(&path)?;
        }
    }
    let file = data.join("relevo.toml");
    fs::write(&file, text(smtp, http)?).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}

fn text(smtp: SocketAddr, http: SocketAddr) -> anyhow::Result<String> {
    let password = credential::hash_password(USER)?;
    let key = credential::hash_api_key(API_KEY);
    Ok(format!(
        r#"# Written by `relevo dev` at every start.
hostname = "relevo.{DOMAIN}"
postmaster = "postmaster@{DOMAIN}"
data_dir = "."
min_free = "16MiB"

[smtp]
submission = ["{smtp}"]

[http]
listen = ["{http}"]

[webhooks]
allow_http = true
allow_networks = ["127.0.0.0/8", "::1/128"]

[[tenant]]
id = "{TENANT}"
keep_content = "1d"
credentials = [{{ username = "{USER}", password_hash = "{password}" }}]
api_keys = [{{ name = "dev", hash = "{key}" }}]

[[tenant.domain]]
name = "{DOMAIN}"
dkim = [
  {{ selector = "rsa", algorithm = "rsa-sha256", key = "rsa.pem" }},
  {{ selector = "ed", algorithm = "ed25519-sha256", key = "ed.pem" }},
]
tracking = {{ url = "http://{http}", opens = true, clicks = true }}
"#
    ))
}
