//! Questions and answers between nodes: 32 octets of HMAC-SHA256, then JSON. The MAC of an answer
//! covers that of its question.
//!
//! Nothing in them is secret, so they are not encrypted. Who repeats a question is refused: its number
//! is known ([`super::allotter`]), or its time is long ago. Who does not have the secret costs a node
//! one MAC over [`MAX_MESSAGE`] octets.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Ask, MAX_ASKS};

/// Octets of a message at most.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Clocks of two nodes may differ by this much.
pub const MAX_SKEW: Duration = Duration::from_secs(30);
/// Octets of a secret at least.
const MIN_SECRET: usize = 32;
/// Octets of a name of a node.
const MAX_NAME: usize = 64;
const TAG: usize = 32;

/// What one node asks another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The name of the node.
    pub from: String,
    /// Rises with every question of the node, also after a restart.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// At most [`MAX_ASKS`].
    pub asks: Vec<Ask>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What may be used until [`super::SLICE`] after the question, for each limit of it. None: another
    /// node is to be asked.
    pub granted: Vec<Option<u32>>,
}

/// Why a message is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter or longer than messages are.
    #[error("a message has the wrong size")]
    Size,
    /// Its MAC is wrong.
    #[error("a message was made with another secret: [cluster] secret must be the same on all nodes")]
    Secret,
    /// It cannot be read.
    #[error("a message cannot be read: the other node has another version")]
    Unreadable,
    /// Its time is another one.
    #[error("the clocks of two nodes differ by more than 30 s, or a message was repeated")]
    Time,
}

/// What all nodes know and nobody else.
#[derive(Clone)]
pub struct ClusterSecret(Hmac<Sha256>);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

impl ClusterSecret {
    /// Of this text, without white space around it. None: it has fewer than 32 octets.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let mac = Hmac::new_from_slice(text.as_bytes()).ok()?;
        (text.len() >= MIN_SECRET).then_some(Self(mac))
    }

    fn mac(&self, context: &[u8], tag: &[u8], body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(context);
        mac.update(tag);
        mac.update(body);
        mac
    }

    fn seal(&self, context: &[u8], of: &[u8], message: &impl Serialize) -> Result<Vec<u8>, WireError> {
        let body = serde_json::to_vec(message).map_err(|_| WireError::Unreadable)?;
        if TAG + body.len() > MAX_MESSAGE {
            return Err(WireError::Size);
        }
        let mut sealed = self.mac(context, of, &body).finalize().into_bytes().to_vec();
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    fn open<T: DeserializeOwned>(&self, context: &[u8], of: &[u8], sealed: &[u8]) -> Result<T, WireError> {
        if sealed.len() > MAX_MESSAGE {
            return Err(WireError::Size);
        }
        let (tag, body) = sealed.split_at_checked(TAG).ok_or(WireError::Size)?;
        self.mac(context, of, body).verify_slice(tag).map_err(|_| WireError::Secret)?;
        serde_json::from_slice(body).map_err(|_| WireError::Unreadable)
    }

    /// A question as it is sent.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal_question(&self, question: &Question) -> Result<Vec<u8>, WireError> {
        self.seal(QUESTION, &[], question)
    }

    /// Reads a question at `now`, in time since 1970.
    ///
    /// # Errors
    /// It is not from a node of this cluster, or not from now.
    pub fn open_question(&self, sealed: &[u8], now: Duration) -> Result<Question, WireError> {
        let question: Question = self.open(QUESTION, &[], sealed)?;
        if Duration::from_millis(question.at).abs_diff(now) > MAX_SKEW {
            return Err(WireError::Time);
        }
        let is_name = (1..=MAX_NAME).contains(&question.from.len());
        if !is_name || question.asks.len() > MAX_ASKS {
            return Err(WireError::Unreadable);
        }
        Ok(question)
    }

    /// An answer to a question that was sent like this.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal_answer(&self, answer: &Answer, question: &[u8]) -> Result<Vec<u8>, WireError> {
        self.seal(ANSWER, tag_of(question), answer)
    }

    /// Reads the answer to a question that was sent like this.
    ///
    /// # Errors
    /// It is not from a node of this cluster, or to another question.
    pub fn open_answer(&self, sealed: &[u8], question: &[u8]) -> Result<Answer, WireError> {
        self.open(ANSWER, tag_of(question), sealed)
    }
}

const QUESTION: &[u8] = b"relevo limits question 1\n";
const ANSWER: &[u8] = b"relevo limits answer 1\n";

fn tag_of(sealed: &[u8]) -> &[u8] {
    sealed.get(..TAG).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{LimitId, LimitKind};
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn secret(text: &str) -> ClusterSecret {
        ClusterSecret::new(&text.repeat(32)).expect("long enough")
    }

    fn question(asks: usize) -> Question {
        let limit = LimitId::of([&b"a"[..]]);
        let ask = Ask { limit, kind: LimitKind::Connections, cap: u32::MAX, wanted: u32::MAX, has: u32::MAX };
        let at = u64::try_from(NOW.as_millis()).expect("now");
        Question { from: "n".repeat(MAX_NAME), number: u64::MAX, at, asks: vec![ask; asks] }
    }

    #[test]
    fn the_longest_question_and_its_answer_are_read() {
        let (secret, question) = (secret("s"), question(MAX_ASKS));
        let sealed = secret.seal_question(&question).expect("short enough");
        assert_eq!(secret.open_question(&sealed, NOW), Ok(question));
        let answer = Answer { granted: vec![Some(u32::MAX); MAX_ASKS] };
        let reply = secret.seal_answer(&answer, &sealed).expect("short enough");
        assert_eq!(secret.open_answer(&reply, &sealed), Ok(answer));
    }

    #[test]
    fn what_is_forged_changed_old_or_to_another_question_is_refused() {
        let (secret, other) = (secret("s"), secret("t"));
        let sealed = secret.seal_question(&question(1)).expect("short");
        assert_eq!(other.open_question(&sealed, NOW), Err(WireError::Secret));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(secret.open_question(&changed, NOW), Err(WireError::Secret));
            assert!(secret.open_question(&sealed[..at], NOW).is_err());
        }
        assert_eq!(secret.open_question(&sealed, NOW + MAX_SKEW * 2), Err(WireError::Time));
        assert_eq!(secret.open_question(&vec![0; MAX_MESSAGE + 1], NOW), Err(WireError::Size));
        let too_many = secret.seal_question(&question(MAX_ASKS + 1)).expect("short enough");
        assert_eq!(secret.open_question(&too_many, NOW), Err(WireError::Unreadable));
        let mut second = question(1);
        second.number = 7;
        let second = secret.seal_question(&second).expect("short");
        let reply = secret.seal_answer(&Answer { granted: vec![Some(9)] }, &sealed).expect("short");
        assert_eq!(secret.open_answer(&reply, &second), Err(WireError::Secret));
        assert_eq!(secret.open_answer(&sealed, &sealed), Err(WireError::Secret), "a question is no answer");
    }

    #[test]
    fn a_secret_is_long_and_not_shown() {
        assert!(ClusterSecret::new(&format!("  {}\n", "x".repeat(31))).is_none());
        let shown = format!("{:?}", secret("geheim"));
        assert_eq!(shown, "ClusterSecret(..)");
    }
}
