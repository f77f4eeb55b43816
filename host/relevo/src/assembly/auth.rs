//! What SMTP AUTH takes beside passwords.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use relevo_fetch::Fetcher;
use relevo_relay::intake::AccessTokens;
use relevo_resolve::Resolve;
use relevo_smtp::client::root_certificates;
use relevo_smtp::server::{Mechanisms, ScramDecoys};
use sha2::{Digest as _, Sha256};

use super::Base;
use crate::config::AuthConfig;

/// The mechanisms that listeners offer.
pub(super) fn mechanisms(config: &AuthConfig) -> Mechanisms {
    let oauth = config.oauth.as_ref();
    let well_known = |url: &str| format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'));
    Mechanisms {
        scram_sha_256: config.scram_iterations.is_some(),
        external: config.client_ca.is_some(),
        oauthbearer: oauth.is_some(),
        xoauth2: oauth.is_some(),
        oauth_scope: oauth.and_then(|oauth| oauth.scope.clone()),
        openid_configuration: oauth.map(|oauth| well_known(&oauth.issuer)),
        ..Mechanisms::default()
    }
}

/// The answers to users of SCRAM who are unknown. Their secret is `scram.key` in the data
/// directory, which is made if it is not there.
pub(super) fn scram_decoys(config: &AuthConfig, data_dir: &Path) -> anyhow::Result<Option<ScramDecoys>> {
    let Some(iterations) = config.scram_iterations else { return Ok(None) };
    let (secret, warning) = relevo_keys::load_or_renew_secret(&data_dir.join("scram.key"))?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(Some(ScramDecoys { secret: Sha256::digest(&secret).into(), iterations }))
}

/// Verifies access tokens, if an issuer is configured.
pub(super) fn access_tokens(base: &Base, resolve: Arc<dyn Resolve>) -> anyhow::Result<Option<AccessTokens>> {
    let Some(config) = base.parts.smtp.auth.oauth.clone() else { return Ok(None) };
    let fetcher = issuer_fetcher(base, resolve).context("TLS for [smtp.oauth]")?;
    Ok(Some(AccessTokens::new(config, fetcher, base.clock.clone())))
}

/// Asks issuers of tokens. The operator names them, and they may be inside.
pub(super) fn issuer_fetcher(base: &Base, resolve: Arc<dyn Resolve>) -> anyhow::Result<Fetcher> {
    let roots = root_certificates(base.parts.ca_file.as_deref()).context("root certificates")?;
    let anywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|text| text.parse::<IpNet>().ok());
    Ok(Fetcher::new(resolve, roots, anywhere.collect())?)
}
