//! Questions about slices, and their answers: JSON. They are carried by [`crate::tcp`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::shares::{Carry, CarryError, NodeShares};
use super::{Ask, MAX_ASKS};
use crate::tcp::{Answering, ask};
use crate::wire::{ClusterSecret, QuestionKind, WireError};

/// Octets of a name of a node.
const MAX_NAME: usize = 64;

/// What one node asks another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The name of the node.
    pub from: String,
    /// Rises with every question of the node, also after a restart: one that was overtaken is refused.
    pub number: u64,
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

impl Question {
    /// Reads the content of a question.
    ///
    /// # Errors
    /// It cannot be read, or has too much.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        let question: Self = serde_json::from_slice(content).map_err(|_| WireError::Unreadable)?;
        let is_name = (1..=MAX_NAME).contains(&question.from.len());
        match is_name && question.asks.len() <= MAX_ASKS {
            true => Ok(question),
            false => Err(WireError::Unreadable),
        }
    }
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
        let broken = |why: &dyn std::fmt::Display| CarryError(why.to_string());
        let content = serde_json::to_vec(question).map_err(|e| broken(&e))?;
        let answer = ask(address, &self.secret, QuestionKind::Slices, &content).await;
        let answer = answer.map_err(|error| broken(&error))?;
        serde_json::from_slice(&answer).map_err(|_| broken(&WireError::Unreadable))
    }
}

#[async_trait]
impl Answering for NodeShares {
    async fn answer(&self, content: &[u8]) -> Result<Vec<u8>, WireError> {
        let answer = NodeShares::answer(self, &Question::decode(content)?);
        serde_json::to_vec(&answer).map_err(|_| WireError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LimitId, LimitKind};
    use super::*;

    fn question(asks: usize) -> Question {
        let limit = LimitId::of([&b"a"[..]]);
        let ask = Ask { limit, kind: LimitKind::Connections, cap: u32::MAX, wanted: u32::MAX, has: u32::MAX };
        Question { from: "n".repeat(MAX_NAME), number: u64::MAX, asks: vec![ask; asks] }
    }

    fn content(question: &Question) -> Vec<u8> {
        serde_json::to_vec(question).expect("encodes")
    }

    #[test]
    fn the_longest_question_and_its_answer_can_be_sent() {
        let longest = content(&question(MAX_ASKS));
        assert_eq!(Question::decode(&longest), Ok(question(MAX_ASKS)));
        assert!(longest.len() + 100 < QuestionKind::Slices.max_question(), "{}", longest.len());
        let answer = Answer { granted: vec![Some(u32::MAX); MAX_ASKS] };
        let answer = serde_json::to_vec(&answer).expect("encodes");
        assert!(answer.len() + 100 < QuestionKind::Slices.max_answer(), "{}", answer.len());
    }

    #[test]
    fn questions_are_bounded() {
        assert_eq!(Question::decode(&content(&question(MAX_ASKS + 1))), Err(WireError::Unreadable));
        for name in [String::new(), "n".repeat(MAX_NAME + 1)] {
            let named = Question { from: name, ..question(1) };
            assert_eq!(Question::decode(&content(&named)), Err(WireError::Unreadable));
        }
        assert_eq!(Question::decode(b"{}"), Err(WireError::Unreadable));
    }
}
