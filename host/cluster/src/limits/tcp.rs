//! Questions over TCP: the length in four octets, then the message of [`super::wire`]; the answer
//! alike. One question for each connection, so that no answer can be taken for that of another one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::shares::{Carry, CarryError, NodeShares};
use super::wire::{Answer, ClusterSecret, MAX_MESSAGE, Question};

/// Connections that are served at once. Each holds two messages at most.
const CONNECTIONS: usize = 64;
/// The time of a connection.
const SERVES: Duration = Duration::from_secs(2);
/// After `accept` failed, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    // It grows with what comes, not with what was announced.
    let mut message = Vec::new();
    stream.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut message).await?;
    match message.len() == length {
        true => Ok(message),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_u32(length).await?;
    stream.write_all(message).await?;
    stream.flush().await
}

/// Asks nodes by TCP.
#[derive(Debug)]
pub struct TcpCarry {
    secret: ClusterSecret,
}

impl TcpCarry {
    /// With the secret of the cluster.
    #[must_use]
    pub fn new(secret: ClusterSecret) -> Self {
        Self { secret }
    }
}

#[async_trait]
impl Carry for TcpCarry {
    async fn ask(&self, address: &str, question: &Question) -> Result<Answer, CarryError> {
        let broken = |e: io::Error| CarryError(e.to_string());
        let sealed = self.secret.seal_question(question).map_err(|e| CarryError(e.to_string()))?;
        let mut stream = TcpStream::connect(address).await.map_err(broken)?;
        write_message(&mut stream, &sealed).await.map_err(broken)?;
        let reply = read_message(&mut stream).await.map_err(broken)?;
        self.secret.open_answer(&reply, &sealed).map_err(|e| CarryError(e.to_string()))
    }
}

/// Answers other nodes until it is dropped.
pub async fn serve(listener: TcpListener, secret: ClusterSecret, shares: Arc<NodeShares>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(target: "relevo::cluster", %error, "a connection of a node cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (secret, shares) = (secret.clone(), Arc::clone(&shares));
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(SERVES, answer_one(&mut stream, &secret, &shares)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    tracing::debug!(target: "relevo::cluster", %peer, why, "a question is not answered");
                }
                Err(_) => tracing::debug!(target: "relevo::cluster", %peer, "a question takes too long"),
            }
        });
    }
}

/// One question and its answer. Whoever has no secret is told nothing.
async fn answer_one(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    secret: &ClusterSecret,
    shares: &NodeShares,
) -> Result<(), String> {
    let sealed = read_message(stream).await.map_err(|e| e.to_string())?;
    let reply = shares.answer_sealed(secret, &sealed).map_err(|e| e.to_string())?;
    write_message(stream, &reply).await.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
