//! Questions over TCP: the node that is asked sends its nonce; then comes the kind of the question in
//! an octet, its length in four, and the question as [`crate::wire`] seals it; then the length of the
//! answer, and the answer. One question for each connection, so that no answer can be taken for that of
//! another one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::wire::{ClusterSecret, Nonce, QuestionKind, WireError};

/// Connections that are open at once.
const CONNECTIONS: usize = 256;
/// Questions about slices that are read and answered at once.
const SLICES: usize = 64;
/// The same for questions about shards: so they cannot keep slices out.
const STORES: usize = 64;
/// Until the kind of the question is known.
const BEGINS: Duration = Duration::from_secs(1);
/// After `accept` failed, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The time of a question and its answer.
fn serves(kind: QuestionKind) -> Duration {
    match kind {
        QuestionKind::Slices => Duration::from_secs(2),
        QuestionKind::Store => Duration::from_secs(10),
    }
}

/// Answers questions of one kind.
#[async_trait]
pub trait Answering: Send + Sync {
    /// The content of the answer to a question that another node of the cluster sent.
    ///
    /// # Errors
    /// It cannot be read. Nothing is answered.
    async fn answer(&self, content: &[u8]) -> Result<Vec<u8>, WireError>;
}

/// What answers questions.
#[derive(Clone)]
pub struct Answers {
    /// About slices.
    pub slices: Arc<dyn Answering>,
    /// About shards.
    pub stores: Arc<dyn Answering>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The other node has not got the question.
    #[error("{0}")]
    NotAsked(String),
    /// It may have got it, and done what was asked.
    #[error("{0}")]
    NotAnswered(String),
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > max {
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

async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: Option<QuestionKind>,
    message: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut head = Vec::with_capacity(5);
    head.extend(kind.map(QuestionKind::octet));
    head.extend(length.to_be_bytes());
    stream.write_all(&head).await?;
    stream.write_all(message).await?;
    stream.flush().await
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

/// Asks the node at an address. The caller bounds the time.
///
/// # Errors
/// There is no answer that can be trusted.
pub async fn ask(
    address: &str,
    secret: &ClusterSecret,
    kind: QuestionKind,
    content: &[u8],
) -> Result<Vec<u8>, AskError> {
    let not_asked = |error: io::Error| AskError::NotAsked(error.to_string());
    let mut stream = TcpStream::connect(address).await.map_err(not_asked)?;
    stream.set_nodelay(true).map_err(not_asked)?;
    let mut theirs = Nonce::default();
    stream.read_exact(&mut theirs).await.map_err(not_asked)?;
    let own = nonce().map_err(not_asked)?;
    let (sealed, tag) = secret
        .seal_question(kind, (&theirs, &own), content)
        .map_err(|error| AskError::NotAsked(error.to_string()))?;
    let not_answered = |error: io::Error| AskError::NotAnswered(error.to_string());
    write_message(&mut stream, Some(kind), &sealed).await.map_err(not_answered)?;
    let reply = read_message(&mut stream, kind.max_answer()).await.map_err(not_answered)?;
    let answer = secret.open_answer(kind, tag, &reply);
    answer.map(<[u8]>::to_vec).map_err(|error| AskError::NotAnswered(error.to_string()))
}

/// Answers other nodes until it is dropped.
pub async fn serve(listener: TcpListener, secret: ClusterSecret, answers: Answers) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let door =
        Arc::new(Door { secret, answers, slices: Semaphore::new(SLICES), stores: Semaphore::new(STORES) });
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
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            if let Err(why) = door.answer_one(&mut stream).await {
                tracing::debug!(target: "relevo::cluster", %peer, why, "a question is not answered");
            }
        });
    }
}

struct Door {
    secret: ClusterSecret,
    answers: Answers,
    slices: Semaphore,
    stores: Semaphore,
}

impl Door {
    /// One question and its answer. Whoever has no secret is told nothing.
    async fn answer_one(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let nonce = nonce().map_err(text)?;
        let begin = async {
            stream.write_all(&nonce).await?;
            stream.flush().await?;
            stream.read_u8().await
        };
        let octet = timeout(BEGINS, begin).await.map_err(|_| "nothing is asked")?.map_err(text)?;
        let kind = QuestionKind::of_octet(octet).ok_or("another node has another version")?;
        let permits = match kind {
            QuestionKind::Slices => &self.slices,
            QuestionKind::Store => &self.stores,
        };
        let Ok(_permit) = permits.try_acquire() else { return Err("too many questions at once".to_owned()) };
        let serve = self.serve_one(stream, kind, &nonce);
        timeout(serves(kind), serve).await.unwrap_or_else(|_| Err("a question takes too long".to_owned()))
    }

    async fn serve_one(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        kind: QuestionKind,
        nonce: &Nonce,
    ) -> Result<(), String> {
        let sealed = read_message(stream, kind.max_question()).await.map_err(|e| e.to_string())?;
        let opened = self.secret.open_question(kind, nonce, &sealed);
        let (content, tag) = opened.map_err(|e| e.to_string())?;
        let answers = match kind {
            QuestionKind::Slices => &self.answers.slices,
            QuestionKind::Store => &self.answers.stores,
        };
        let answer = answers.answer(content).await.map_err(|e| e.to_string())?;
        let reply = self.secret.seal_answer(kind, tag, &answer).map_err(|e| e.to_string())?;
        write_message(stream, None, &reply).await.map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests;
