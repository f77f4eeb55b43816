//! `GET /domains/{name}/records`.

use axum::Json;
use axum::extract::{Path, State};
use relevo_relay::records::DnsRecord;

use super::ApiServices;
use super::auth::Caller;
use crate::bearer::Proven;
use crate::error::RequestError;

/// Lists what to publish in DNS for one of the caller's domains.
pub(super) async fn records(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Vec<DnsRecord>>, RequestError> {
    let settings = services.settings.get();
    let wanted = relevo_mailkit::address::to_ascii(&name).ok();
    let domain = wanted.as_deref().and_then(|name| settings.directory.configured_domain(name));
    match domain.filter(|d| d.tenant == caller.tenant) {
        Some(domain) => Ok(Json(relevo_relay::records::records(domain, &settings))),
        None => Err(RequestError::NotFound("this domain is not one of yours".to_owned())),
    }
}
