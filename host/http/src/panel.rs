//! The panel: its pages call the API in this process, as the user who signed in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use relevo_panel::{Access, Api, ApiCaller, PanelState};
use tower::ServiceExt;

use crate::api::auth::SignedIn;
use crate::error;
use crate::observe::ClientAddress;
use crate::operations::auth::Admin;
use crate::router::in_process;
use crate::services::HttpServices;

/// The pages, with `others` among them: they are told the visitor, too.
pub(crate) fn routes(services: &HttpServices, access: Access, others: Router) -> Router {
    let api = Arc::new(InProcess { router: in_process(services) });
    relevo_panel::routes(PanelState::new(api, access), others)
        .layer(middleware::map_response(async |response: Response| error::worded(response)))
        .layer(middleware::from_fn(name_client))
}

/// Tells the panel who its client is.
async fn name_client(mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<ClientAddress>().map(|client| client.0);
    if let Some(client) = client {
        request.extensions_mut().insert(relevo_panel::ClientAddress(client));
    }
    next.run(request).await
}

/// The routers of API and operations, without a listener.
struct InProcess {
    router: Router,
}

#[async_trait]
impl Api for InProcess {
    async fn call(
        &self,
        caller: ApiCaller,
        client: Option<IpAddr>,
        mut request: axum::http::Request<Body>,
    ) -> Response {
        let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let extensions = request.extensions_mut();
        extensions.insert(ClientAddress(client));
        match caller {
            ApiCaller::Tenant { tenant, actor, role } => {
                let scopes = role.scopes();
                extensions.insert(SignedIn { tenant, actor, scopes });
            }
            ApiCaller::Operator { actor } => {
                extensions.insert(Admin::signed_in(&actor));
            }
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}
