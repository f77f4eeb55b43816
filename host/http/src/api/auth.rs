//! The caller of the API: by a tenant's key, or by a session of the panel.

use std::fmt;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use relevo_relay::api_keys;
use relevo_relay::directory::{Scope, Scopes};
use relevo_relay::settings::ApiKey;

use super::{ApiServices, scopes};
use crate::bearer::{self, Role};
use crate::error::RequestError;

/// A person who signed in, as an extension of a request that the panel makes for them.
///
/// It counts in place of a key. No client can send one: extensions are set by this process alone.
/// Whoever sets it has checked the session, and that the person still belongs to the tenant.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// The tenant for which the person acts.
    pub(crate) tenant: String,
    /// Who, as the audit log has it, such as `user ana@example.com`.
    pub(crate) actor: String,
    /// What the role of the person allows.
    pub(crate) scopes: Scopes,
}

/// Who asks for a tenant. Its scopes include the one that the route needs.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: String,
    pub(super) identity: CallerIdentity,
    scopes: Scopes,
}

/// How a caller is known. Its text is the actor of the audit log.
#[derive(Debug, Clone)]
pub(super) enum CallerIdentity {
    /// By a key.
    Key {
        /// In the store. None: the configuration file has it.
        id: Option<String>,
        /// For logs.
        name: String,
        /// The only domain that it sends from.
        domain: Option<String>,
    },
    /// By a session: the actor.
    Session(String),
}

impl fmt::Display for CallerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, .. } => write!(f, "key {name}"),
            Self::Session(actor) => f.write_str(actor),
        }
    }
}

impl Caller {
    /// Finds who sent a request. The second result refuses the request if the caller has not the
    /// scope that the route needs.
    ///
    /// # Errors
    /// There is no key, or it counts no longer.
    pub(super) fn prove(
        parts: &Parts,
        services: &ApiServices,
    ) -> Result<(Self, Result<(), RequestError>), RequestError> {
        let caller = match parts.extensions.get::<SignedIn>() {
            Some(signed_in) => Self::of_session(signed_in, services)?,
            None => Self::of_key(parts, services)?,
        };
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let allowed = caller.check(scopes::of(&parts.method, route));
        Ok((caller, allowed))
    }

    fn of_key(parts: &Parts, services: &ApiServices) -> Result<Self, RequestError> {
        let token = bearer::token(parts)?;
        let settings = services.settings.get();
        let Some(key) = settings.directory.api_key(&api_keys::hash(token)) else {
            return Err(RequestError::InvalidKey(unknown(token).to_owned()));
        };
        if key.expires_at.is_some_and(|at| at <= services.admin.clock.now()) {
            let message = format!("the API key `{}` has expired, or was rotated", key.name);
            return Err(RequestError::InvalidKey(message));
        }
        Ok(Self::from(key.clone()))
    }

    fn of_session(signed_in: &SignedIn, services: &ApiServices) -> Result<Self, RequestError> {
        let SignedIn { tenant, actor, scopes } = signed_in.clone();
        match services.settings.get().directory.tenant(&tenant) {
            Some(_) => Ok(Self { tenant, identity: CallerIdentity::Session(actor), scopes }),
            None => Err(RequestError::Restricted(format!("there is no tenant `{tenant}` any more"))),
        }
    }

    /// The caller in an error message.
    fn who(&self) -> String {
        match &self.identity {
            CallerIdentity::Key { name, .. } => format!("the API key `{name}`"),
            CallerIdentity::Session(_) => "your role".to_owned(),
        }
    }

    /// Returns true if the caller has signed in with this address.
    pub(super) fn is_user(&self, email: &str) -> bool {
        matches!(&self.identity, CallerIdentity::Session(actor) if actor.strip_prefix("user ") == Some(email))
    }

    /// Refuses to give away more than the caller has. `what` is that which would have these scopes.
    pub(super) fn may_grant(&self, scopes: Scopes, what: &str) -> Result<(), RequestError> {
        match self.scopes.cover(scopes) {
            true => Ok(()),
            false => Err(RequestError::Restricted(format!("{} may do less than {what}", self.who()))),
        }
    }

    /// Any of `needed` is enough.
    fn check(&self, needed: &[Scope]) -> Result<(), RequestError> {
        if needed.iter().any(|scope| self.scopes.allow(*scope)) {
            return Ok(());
        }
        let who = self.who();
        let needed: Vec<_> = needed.iter().map(|scope| format!("`{scope}`")).collect();
        let needed = needed.join(" or ");
        Err(RequestError::Restricted(format!("{who} has not the scope {needed} that this request needs")))
    }

    /// The name that policy plugins see: of the key, or the actor of a session.
    pub(super) fn name(&self) -> &str {
        match &self.identity {
            CallerIdentity::Key { name, .. } => name,
            CallerIdentity::Session(actor) => actor,
        }
    }

    /// The only domain that the caller sends from.
    pub(super) fn domain(&self) -> Option<&str> {
        match &self.identity {
            CallerIdentity::Key { domain, .. } => domain.as_deref(),
            CallerIdentity::Session(_) => None,
        }
    }
}

impl From<ApiKey> for Caller {
    fn from(key: ApiKey) -> Self {
        let ApiKey { tenant, id, name, scopes, domain, .. } = key;
        Self { tenant, identity: CallerIdentity::Key { id, name, domain }, scopes }
    }
}

/// The words for a key that is not known.
fn unknown(token: &str) -> &'static str {
    if api_keys::is_well_formed(token) {
        "this API key is not known here: it was revoked, or belongs to another relay"
    } else if token.starts_with("rv_") {
        "this API key is not known here: a character of it is wrong or missing, or it was revoked"
    } else {
        "this API key is not known here"
    }
}

impl Role<ApiServices> for Caller {
    /// The caller whom [`super::admission::admit`] let in.
    fn of(request: &Parts, services: &ApiServices) -> Result<Self, RequestError> {
        if let Some(caller) = request.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let (caller, allowed) = Self::prove(request, services)?;
        allowed.map(|()| caller)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::observe::ClientAddress;
    use crate::operations::auth::Admin;
    use crate::router::in_process;
    use crate::support::World;

    fn ana(scopes: &[Scope]) -> SignedIn {
        SignedIn {
            tenant: "acme".to_owned(),
            actor: "user ana@example.com".to_owned(),
            scopes: scopes.iter().copied().collect(),
        }
    }

    async fn ask(world: &World, method: &str, path: &str, body: &str, signed_in: SignedIn) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
        let extensions = request.as_mut().expect("a request").extensions_mut();
        extensions.insert(signed_in);
        extensions.insert(ClientAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let Ok(answer) = in_process(&world.services).oneshot(request.expect("a request")).await;
        answer
    }

    async fn json(answer: Response<Body>) -> Value {
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[tokio::test]
    async fn a_session_counts_in_place_of_a_key() {
        let world = World::new().await;
        let scopes = [Scope::Read, Scope::Suppressions];
        let read = ask(&world, "GET", "/suppressions", "", ana(&scopes)).await;
        assert_eq!(read.status(), 200);
        assert!(read.headers().contains_key("ratelimit-remaining"), "{:?}", read.headers());
        let changed = ask(&world, "POST", "/suppressions", r#"{"email":"a@b.test"}"#, ana(&scopes)).await;
        assert_eq!(changed.status(), 201);
        let refused = ask(&world, "GET", "/audit", "", ana(&scopes)).await;
        assert_eq!(refused.status(), 403);
        let refused = json(refused).await;
        assert_eq!(refused["message"], "your role has not the scope `settings` that this request needs");
        assert!(refused["request_id"].as_str().is_some_and(|id| id.len() == 36), "{refused}");
        let audit = json(ask(&world, "GET", "/audit", "", ana(&[Scope::Admin])).await).await;
        let act = &audit["data"][0];
        assert_eq!(
            (&act["actor"], &act["action"]),
            (&"user ana@example.com".into(), &"POST /suppressions".into())
        );
    }

    #[tokio::test]
    async fn a_session_of_a_tenant_that_is_gone_counts_no_more() {
        let world = World::new().await;
        let gone = SignedIn { tenant: "gone".to_owned(), ..ana(&[Scope::Admin]) };
        let answer = ask(&world, "GET", "/events", "", gone).await;
        assert_eq!(
            (answer.status().as_u16(), json(answer).await["name"].as_str()),
            (403, Some("restricted_api_key"))
        );
    }

    /// A session of a tenant is none of operators, and the other way round.
    #[tokio::test]
    async fn operators_and_tenants_are_told_apart() {
        let world = World::new().await;
        assert_eq!(ask(&world, "GET", "/plugins", "", ana(&[Scope::Admin])).await.status(), 401);
        for (path, status) in [("/plugins", 200), ("/metrics", 200), ("/events", 401)] {
            let mut request = Request::get(path).body(Body::empty()).expect("a request");
            request.extensions_mut().insert(Admin::signed_in("eva@example.com"));
            let Ok(answer) = in_process(&world.services).oneshot(request).await;
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}
