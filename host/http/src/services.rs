//! What the routers serve.

use std::sync::Arc;

use relevo_relay::settings::Network;
use relevo_relay::tracking::TrackingEndpoint;
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_relay::users::oidc::Oidc;
use relevo_relay::users::{Link, Users};

use crate::api::ApiServices;
use crate::metrics::HttpMetrics;
use crate::operations::OperationsServices;

/// The services of the three routers, and what all of them need.
#[derive(Clone)]
pub struct HttpServices {
    /// Of the API.
    pub api: ApiServices,
    /// Clicks and opens.
    pub tracking: Arc<TrackingEndpoint>,
    /// The unsubscribe page, beside clicks and opens.
    pub unsubscribe: Arc<UnsubscribeEndpoint>,
    /// People who sign in.
    pub panel: PanelServices,
    /// Of operators.
    pub operations: OperationsServices,
    /// Reverse proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Arc<[Network]>,
    /// Counts requests.
    pub metrics: HttpMetrics,
}

/// What the panel needs beside the API: those who sign in, and its address.
#[derive(Clone)]
pub struct PanelServices {
    /// People who sign in.
    pub users: Arc<Users>,
    /// An identity provider that vouches for them.
    pub oidc: Option<Arc<Oidc>>,
    /// Where browsers find this server, such as `https://mail.example.com`, without a final slash.
    pub url: Arc<str>,
}

impl PanelServices {
    /// The address of a link that counts once.
    #[must_use]
    pub fn link_url(&self, link: &Link) -> String {
        format!("{}{}", self.url, link.path())
    }

    /// Where the identity provider sends browsers back to.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("{}/panel/oidc", self.url)
    }
}
