//! A message on its way to the submission server.

use std::net::SocketAddr;
use std::sync::Arc;

use relevo_mailkit::source::Source;
use relevo_smtp::client::{
    ClientConfig, Connection, DialogueStep, Envelope, Failure, RecipientOutcome, Target, Tls, TlsPolicy,
    TlsReason, TlsRequirement,
};

use super::settings::Settings;

/// Recipients for whom the server asked for another transaction are tried this often.
const MAX_TRANSACTIONS: usize = 100;

/// Hands the message over: what became of each recipient, in order.
///
/// # Errors
/// There was no session with the server: nothing was handed over.
pub(crate) async fn submit(
    settings: &Settings,
    envelope: Envelope,
    message: Arc<dyn Source>,
) -> Result<Vec<(String, RecipientOutcome)>, Failure> {
    let mut connection = connect(settings).await?;
    let mut done = Vec::new();
    let mut pending = envelope;
    for _ in 0..MAX_TRANSACTIONS {
        let result = connection.transact(&pending, Arc::clone(&message)).await;
        let mut again = Vec::new();
        for (index, outcome) in result.outcomes {
            let Some(recipient) = pending.recipients.get(index).cloned() else { continue };
            match outcome {
                RecipientOutcome::NextTransaction if result.reusable => again.push(recipient),
                outcome => done.push((recipient.address, outcome)),
            }
        }
        if again.is_empty() {
            break;
        }
        pending.recipients = again;
    }
    connection.quit().await;
    Ok(done)
}

/// A session with the first address of the server that has one.
async fn connect(settings: &Settings) -> Result<Connection, Failure> {
    let no_address = |detail: String| Failure::of_host(DialogueStep::Connect, (4, 4, 3), detail);
    let host = settings.host.as_str();
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, settings.port))
        .await
        .map_err(|error| no_address(format!("{host} has no address: {error}")))?
        .collect();
    let tls = Tls::load(settings.ca.as_deref()).map_err(|error| no_address(error.to_string()))?;
    let mut failure = no_address(format!("{host} has no address"));
    for addr in addresses {
        match open(settings, addr, &tls).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn open(settings: &Settings, addr: SocketAddr, tls: &Tls) -> Result<Connection, Failure> {
    let config = ClientConfig { ehlo: ehlo(&settings.domain), ..ClientConfig::default() };
    let auth = settings.auth.as_ref();
    let required = TlsRequirement::new(settings.tls, TlsReason::Configured);
    let target = |tls| Target { host: settings.host.clone(), addr, source: None, tls };
    match Connection::open(&target(required.clone()), &config, auth, tls).await {
        Err(Failure { tls: Some(failure), .. }) if required.allows_clear_after(failure, auth.is_some()) => {
            let clear = TlsRequirement::new(TlsPolicy::None, TlsReason::FailedBefore);
            Connection::open(&target(clear), &config, auth, tls).await
        }
        opened => opened,
    }
}

/// The name of this machine, or what RFC 5321 section 4.1.4 wants where it has none.
fn ehlo(domain: &str) -> String {
    let name = relevo_mailkit::address::to_ascii(domain);
    name.unwrap_or_else(|_| "[127.0.0.1]".to_owned())
}
