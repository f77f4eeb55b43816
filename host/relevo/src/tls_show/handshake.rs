//! Handshakes with the hosts of a domain, and the certificates that they show.

use std::net::SocketAddr;

use anyhow::Context;
use relevo_relay::clock::timestamp;
use relevo_resolve::{MailHost, MailRoute};
use relevo_smtp::client::{
    ClientConfig, Connection, Target, Tls, TlsFailure, TlsPolicy, TlsReason, TlsRequirement,
};
use relevo_tls::decision::HostDecision;
use relevo_tls::domain::DomainPlan;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::ServerParts;
use crate::tls::names;

/// Certificates of a chain that are described.
const MAX_CHAIN: usize = 10;

/// What the handshake with a host came to.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    /// In words.
    pub(super) words: String,
    /// The certificates that it showed, its own first, as [`described`].
    pub(super) chain: Vec<Value>,
}

impl Handshake {
    fn none(words: impl Into<String>) -> Self {
        Self { words: words.into(), chain: Vec::new() }
    }
}

/// One handshake with the first address of each host.
pub(super) async fn all(
    parts: &ServerParts,
    route: &MailRoute,
    plan: &DomainPlan,
    port: u16,
) -> anyhow::Result<Vec<Handshake>> {
    let tls = Tls::load(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let config = ClientConfig { ehlo: parts.hostname.clone(), ..ClientConfig::default() };
    let mut shakes = Vec::with_capacity(route.hosts.len());
    for host in &route.hosts {
        shakes.push(one((&config, &tls), host, plan, port).await);
    }
    Ok(shakes)
}

async fn one(
    (config, tls): (&ClientConfig, &Tls),
    host: &MailHost,
    plan: &DomainPlan,
    port: u16,
) -> Handshake {
    let Some(HostDecision::Connect(needed)) = plan.of(&host.name) else {
        return Handshake::none("not connected");
    };
    let Some(ip) = host.addresses.first() else { return Handshake::none("no address") };
    let addr = SocketAddr::new(*ip, port);
    let target = Target { host: host.name.clone(), addr, source: None, tls: needed.clone() };
    match Connection::open(&target, config, None, tls).await {
        Ok(connection) => {
            let (state, chain) = (connection.tls(), chain(&connection));
            connection.quit().await;
            let words = match (state.cipher, state.verified) {
                (Some(cipher), true) => format!("{ip}: {cipher}, the certificate is valid"),
                (Some(cipher), false) => format!("{ip}: {cipher}, the certificate is not valid for the host"),
                (None, _) => format!("{ip}: no TLS is offered"),
            };
            Handshake { words, chain }
        }
        Err(failure) => {
            let words = format!("{ip}: {}", failure.detail);
            let chain = if failure.tls.is_some_and(is_of_certificate) {
                refused_chain((config, tls), target).await
            } else {
                Vec::new()
            };
            Handshake { words, chain }
        }
    }
}

/// The certificate that was refused is the one to be looked at: it is asked for once more, and taken
/// whatever it is.
async fn refused_chain((config, tls): (&ClientConfig, &Tls), target: Target) -> Vec<Value> {
    let server_name = target.tls.server_name.clone();
    let any = TlsRequirement { server_name, ..TlsRequirement::new(TlsPolicy::Required, TlsReason::ByMx) };
    match Connection::open(&Target { tls: any, ..target }, config, None, tls).await {
        Ok(connection) => {
            let shown = chain(&connection);
            connection.quit().await;
            shown
        }
        Err(_) => Vec::new(),
    }
}

fn is_of_certificate(failure: TlsFailure) -> bool {
    matches!(
        failure,
        TlsFailure::CertificateExpired
            | TlsFailure::CertificateName
            | TlsFailure::CertificateTlsa
            | TlsFailure::CertificateUntrusted
    )
}

fn chain(connection: &Connection) -> Vec<Value> {
    connection.certificates().iter().take(MAX_CHAIN).map(|certificate| described(certificate)).collect()
}

/// A certificate (DER): who it is for, who signed it, when it ends, and the data of TLSA records that
/// match it: `x 0 1` and `x 1 1` (RFC 6698 section 2.1).
fn described(certificate: &[u8]) -> Value {
    let hash = |octets: &[u8]| format!("{:x}", Sha256::digest(octets));
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return json!({ "subject": "not a certificate", "tlsa_0_1": hash(certificate) });
    };
    let ends = parsed.validity().not_after.timestamp().saturating_mul(1000);
    json!({
        "subject": parsed.subject().to_string(),
        "names": names(certificate),
        "issuer": parsed.issuer().to_string(),
        "not_after": timestamp(ends),
        "tlsa_0_1": hash(certificate),
        "tlsa_1_1": hash(parsed.public_key().raw),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::self_signed;

    #[test]
    fn a_certificate_is_described_with_what_its_tlsa_records_would_say() {
        let tls = self_signed("mta1.example.com").unwrap();
        let shown = described(tls.leaf());
        assert_eq!(shown["names"], json!(["mta1.example.com", "localhost"]));
        assert_eq!(shown["tlsa_0_1"], format!("{:x}", Sha256::digest(tls.leaf())));
        assert_ne!(shown["tlsa_1_1"], shown["tlsa_0_1"]);
        assert!(shown["not_after"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
        assert_eq!(described(b"junk")["subject"], "not a certificate");
    }
}
