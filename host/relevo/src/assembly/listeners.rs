//! The listeners of SMTP and HTTP, with the certificate of SMTP.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use relevo_http::{ConnectionLimits, HttpServices, Listener};
use relevo_relay::intake::Intake;
use relevo_smtp::server::{
    AuthThrottle, ListenerConfig, ListenerKind, ListenerLimits, Offers, ScramDecoys, Server, ServerTls,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::auth::mechanisms;
use crate::config::SmtpConfig;
use crate::metrics::CertificateExpiry;
use crate::tasks::MainTasks;
use crate::tls;

/// Opens the listeners of SMTP; all have the same certificate.
pub(super) fn listen_smtp(
    config: &SmtpConfig,
    scram: Option<ScramDecoys>,
    hostname: &str,
    intake: &Arc<Intake>,
    expiry: &CertificateExpiry,
) -> anyhow::Result<Vec<Server>> {
    let tls = certificate(config, hostname)?;
    expiry.set(tls::first_expiry(&tls));
    let throttle = Arc::new(AuthThrottle::default());
    let mut limits = ListenerLimits {
        connections: config.max_connections,
        connections_per_peer: config.max_connections_per_peer,
        ..ListenerLimits::default()
    };
    limits.session.message_size = config.intake.max_message_size;
    let kinds = [
        (&config.submission, ListenerKind::Submission),
        (&config.submissions, ListenerKind::Submissions),
        (&config.relay, ListenerKind::Relay),
    ];
    let mut servers = Vec::new();
    for ((addresses, kind), bare_newlines) in kinds.into_iter().zip(config.bare_newlines) {
        for addr in addresses {
            let listener = ListenerConfig {
                addr: *addr,
                kind,
                hostname: hostname.to_owned(),
                tls: Some(tls.clone()),
                limits: limits.clone(),
                bare_newlines,
                offers: Offers { mechanisms: mechanisms(&config.auth), ..config.offers.clone() },
                proxies: config.proxies.clone(),
                scram: scram.clone(),
                throttle: throttle.clone(),
            };
            let server =
                Server::bind(listener, intake.clone()).with_context(|| format!("cannot listen on {addr}"))?;
            tracing::info!(address = %server.local_addr(), ?kind, "smtp");
            servers.push(server);
        }
    }
    Ok(servers)
}

/// The configured certificate, or one made now.
pub(super) fn certificate(config: &SmtpConfig, hostname: &str) -> anyhow::Result<ServerTls> {
    let tls = match &config.tls {
        Some((chain, key)) => tls::load(chain, key, &config.other_certificates),
        None => tls::self_signed(hostname),
    }?;
    match &config.auth.client_ca {
        Some(authorities) => tls::with_client_authorities(tls, authorities),
        None => Ok(tls),
    }
}

/// The listeners of HTTP, open. Nothing is answered before all of them are: who is answered by one
/// can rely on the others.
pub(super) struct HttpListeners(Vec<(Listener, TcpListener, SocketAddr)>);

impl HttpListeners {
    /// Opens them.
    pub(super) async fn bind(configured: &[(Listener, &[SocketAddr])]) -> anyhow::Result<Self> {
        let mut open = Vec::new();
        for (kind, addresses) in configured {
            for addr in *addresses {
                let listener =
                    TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"))?;
                let local = listener.local_addr()?;
                tracing::info!(address = %local, kind = kind.name(), "http");
                open.push((*kind, listener, local));
            }
        }
        Ok(Self(open))
    }

    /// Answers, each as a main task.
    pub(super) fn serve(
        self,
        services: &HttpServices,
        limits: &ConnectionLimits,
        stopped: &watch::Receiver<bool>,
        tasks: &mut MainTasks,
    ) {
        for (kind, listener, local) in self.0 {
            let router = relevo_http::router(kind, services);
            let metrics = services.metrics.of(kind);
            let served = relevo_http::serve(listener, router, limits.clone(), metrics, stopped.clone());
            tasks.spawn(format!("the http listener {local}"), served);
        }
    }
}
