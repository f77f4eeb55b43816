//! People who sign in to the panel.

use std::sync::Arc;

use anyhow::Context;
use relevo_http::UserAccess;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::{RandomIds, timestamp};
use relevo_relay::users::Users;
use relevo_relay::users::oidc::Oidc;
use relevo_resolve::Resolve;
use relevo_store::ControlStore;

use super::Base;
use super::auth::issuer_fetcher;

/// Opens the users of the store, and the identity provider that vouches for them.
pub(super) fn open(
    base: &Base,
    store: &Arc<ControlStore>,
    resolve: Arc<dyn Resolve>,
) -> anyhow::Result<UserAccess> {
    let config = &base.parts.panel;
    let (clock, ids) = (base.clock.clone(), Arc::new(RandomIds));
    let users = Arc::new(Users::new(store.clone(), clock.clone(), ids, config.users.clone()));
    let mut oidc = None;
    if let Some(config) = &config.oidc {
        let fetcher = issuer_fetcher(base, resolve).context("TLS for [panel.oidc]")?;
        oidc = Some(Arc::new(Oidc::new(config.clone(), fetcher, users.clone(), clock)));
    }
    let audit = Arc::new(AuditLog::new(store.clone(), base.clock.clone(), Arc::new(RandomIds)));
    Ok(UserAccess { users, oidc, audit, url: config.url.as_str().into() })
}

/// Says in the log how to become the first operator, as long as there is no user.
pub(super) async fn announce(panel: &UserAccess) {
    match panel.users.first_start_link().await {
        Ok(Some(link)) => tracing::warn!(
            until = timestamp(link.expires_at),
            "nobody can sign in to the panel yet: whoever opens {} becomes the first operator",
            panel.link_url(&link)
        ),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "there is no link to the first operator of the panel"),
    }
}
