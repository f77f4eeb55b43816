//! What the pages share, and who asks for them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use relevo_relay::audit::{Act, AuditLog};
use relevo_relay::users::oidc::Oidc;
use relevo_relay::users::{Link, User, Users};

use crate::api::{Api, ApiCaller, ApiClient, Problem};
use crate::frame::{Frame, Section};
use crate::texts::Language;
use crate::visitor::Visitor;

/// Who may use the panel.
#[derive(Clone)]
pub enum Access {
    /// `relevo dev`: everybody who reaches it is an operator, and looks at this tenant first.
    Open {
        /// Id of the tenant.
        tenant: String,
        /// Proves that a form is of this process.
        csrf: String,
    },
    /// Users sign in.
    Users(UserAccess),
}

/// How users sign in.
#[derive(Clone)]
pub struct UserAccess {
    /// The users.
    pub users: Arc<Users>,
    /// The provider that may vouch for them.
    pub oidc: Option<Arc<Oidc>>,
    /// Where it is written what users do to their accounts.
    pub audit: Arc<AuditLog>,
    /// The address at which browsers reach the panel, without a slash at its end, such as
    /// `https://relay.example.com`.
    pub url: Arc<str>,
}

impl UserAccess {
    /// Writes to the audit log what a user did to their account.
    pub(crate) async fn note(&self, user: &User, action: &str) {
        let (tenant, actor) = (user.tenant.as_deref().unwrap_or_default(), format!("user {}", user.email));
        self.audit.write(Act { tenant, actor: &actor, action, subject: &user.id, result: "done" }).await;
    }

    /// The address of a link that counts once.
    #[must_use]
    pub fn link_url(&self, link: &Link) -> String {
        format!("{}{}", self.url, link.path())
    }

    /// Returns true if cookies are for TLS alone.
    pub(crate) fn is_secure(&self) -> bool {
        self.url.starts_with("https://")
    }
}

/// The address of the client of a request, which the listener found out.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The state of the pages. Cheap to clone.
#[derive(Clone)]
pub struct PanelState(Arc<SharedState>);

struct SharedState {
    api: Arc<dyn Api>,
    access: Access,
}

impl PanelState {
    /// Pages over this API.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, access: Access) -> Self {
        Self(Arc::new(SharedState { api, access }))
    }

    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    fn client(&self, caller: ApiCaller, parts: &Parts) -> ApiClient {
        let client = parts.extensions.get::<ClientAddress>().map(|client| client.0);
        ApiClient::new(self.0.api.clone(), caller, client)
    }
}

/// The language that a visitor reads: their choice, or what the browser asks for.
pub(crate) fn language(visitor: Option<&Visitor>, fields: &HeaderMap) -> Language {
    if let Some(visitor) = visitor {
        return Language::of(visitor, fields);
    }
    let wanted = fields.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::wanted(wanted.unwrap_or_default())
}

/// A visitor of a page of a tenant, who may enter it.
pub(crate) struct TenantPage {
    /// Id of the tenant.
    pub tenant: String,
    /// Who looks at it.
    pub visitor: Visitor,
    /// What they read.
    pub l: Language,
    /// What they may do.
    pub api: ApiClient,
    /// The API of operations. None: they are no operator.
    pub relay: Option<ApiClient>,
}

impl TenantPage {
    /// The frame of a page.
    #[must_use]
    pub(crate) fn frame(&self, section: Section, title: &str) -> Frame {
        Frame::new(self.l, Some(self.visitor.clone()), section, title).of_tenant(&self.tenant)
    }

    /// The address of a page of this tenant.
    #[must_use]
    pub(crate) fn url(&self, segments: &[&str], parameters: &[(&str, &str)]) -> String {
        let all: Vec<&str> =
            ["panel", "t", &self.tenant].into_iter().chain(segments.iter().copied()).collect();
        crate::api::path(&all, parameters)
    }
}

impl FromRequestParts<PanelState> for TenantPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &PanelState) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>().cloned().ok_or_else(Problem::not_found)?;
        let names = RawPathParams::from_request_parts(parts, state).await;
        let names = names.map_err(|_| Problem::not_found())?;
        let tenant = names.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value.to_owned());
        let tenant = tenant.filter(|tenant| visitor.may_enter(tenant)).ok_or_else(Problem::not_found)?;
        let l = language(Some(&visitor), &parts.headers);
        let (actor, role) = (visitor.actor(), visitor.role);
        let api = state.client(ApiCaller::Tenant { tenant: tenant.clone(), actor, role }, parts);
        let operator = visitor.is_operator().then(|| ApiCaller::Operator { actor: visitor.email.clone() });
        let relay = operator.map(|operator| state.client(operator, parts));
        Ok(Self { tenant, visitor, l, api, relay })
    }
}

/// A visitor of an operators' page, who is one.
pub(crate) struct OperatorPage {
    /// Who looks at it.
    pub visitor: Visitor,
    /// What they read.
    pub l: Language,
    /// What they may do.
    pub api: ApiClient,
}

impl OperatorPage {
    /// The frame of a page.
    #[must_use]
    pub(crate) fn frame(&self, section: Section, title: &str) -> Frame {
        Frame::new(self.l, Some(self.visitor.clone()), section, title)
    }

    /// The address of an operators' page.
    #[must_use]
    pub(crate) fn url(&self, segments: &[&str], parameters: &[(&str, &str)]) -> String {
        let all: Vec<&str> = ["panel", "relay"].into_iter().chain(segments.iter().copied()).collect();
        crate::api::path(&all, parameters)
    }
}

impl FromRequestParts<PanelState> for OperatorPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &PanelState) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.filter(Visitor::is_operator).ok_or_else(Problem::not_found)?;
        let l = language(Some(&visitor), &parts.headers);
        let api = state.client(ApiCaller::Operator { actor: visitor.email.clone() }, parts);
        Ok(Self { visitor, l, api })
    }
}
