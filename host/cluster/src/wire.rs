//! Questions and answers between nodes, and how they are authenticated.
//!
//! The node that is asked begins with [`Nonce`], which it makes at random. A question is its kind, its
//! length, a [`Nonce`] of the node that asks, 32 octets of HMAC-SHA256, and its content. Its MAC covers
//! the first nonce. The MAC of an answer covers that of its question. So neither a question nor an
//! answer can be repeated, and no clocks have to agree.
//!
//! Nothing is encrypted: whoever reads the network reads messages and addresses. Who does not have the
//! secret is told nothing, and can keep nodes from asking each other by connections that say nothing.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Octets that are used once.
pub type Nonce = [u8; 16];

/// Octets of a secret at least.
const MIN_SECRET: usize = 32;
const TAG: usize = 32;
/// Octets of a question before its content.
const OVERHEAD: usize = size_of::<Nonce>() + TAG;

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// Slices of shared limits: [`crate::limits`].
    Slices,
    /// A shard: [`crate::peers`].
    Store,
}

impl QuestionKind {
    /// As it is sent.
    #[must_use]
    pub fn octet(self) -> u8 {
        match self {
            Self::Slices => 1,
            Self::Store => 2,
        }
    }

    /// Reads it.
    #[must_use]
    pub fn of_octet(octet: u8) -> Option<Self> {
        [Self::Slices, Self::Store].into_iter().find(|kind| kind.octet() == octet)
    }

    /// Octets of a question at most.
    #[must_use]
    pub fn max_question(self) -> usize {
        match self {
            Self::Slices => 256 << 10,
            // An event has the recipients of its message.
            Self::Store => 1 << 20,
        }
    }

    /// Octets of an answer at most.
    #[must_use]
    pub fn max_answer(self) -> usize {
        match self {
            Self::Slices => 256 << 10,
            Self::Store => 8 << 20,
        }
    }

    fn question(self) -> &'static [u8] {
        match self {
            Self::Slices => b"relevo slices question 2\n",
            Self::Store => b"relevo store question 1\n",
        }
    }

    fn answer(self) -> &'static [u8] {
        match self {
            Self::Slices => b"relevo slices answer 2\n",
            Self::Store => b"relevo store answer 1\n",
        }
    }
}

/// Why a message is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter or longer than messages are.
    #[error("a message has the wrong size")]
    Size,
    /// Its MAC is wrong.
    #[error("a message was made with another secret: [cluster] secret_file must be the same on all nodes")]
    Secret,
    /// It cannot be read.
    #[error("a message cannot be read: the other node has another version")]
    Unreadable,
}

/// The MAC of a question, which its answer covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionTag([u8; TAG]);

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

    fn mac<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        parts.into_iter().for_each(|part| mac.update(part));
        mac
    }

    /// A question as it is sent behind its kind and length, and what its answer covers. `nonce` is that
    /// of the node that is asked, `own` that of the node that asks.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal_question(
        &self,
        kind: QuestionKind,
        (nonce, own): (&Nonce, &Nonce),
        content: &[u8],
    ) -> Result<(Vec<u8>, QuestionTag), WireError> {
        if OVERHEAD + content.len() > kind.max_question() {
            return Err(WireError::Size);
        }
        let mac = self.mac([kind.question(), nonce.as_slice(), own.as_slice(), content]);
        let tag: [u8; TAG] = mac.finalize().into_bytes().into();
        Ok(([own.as_slice(), &tag, content].concat(), QuestionTag(tag)))
    }

    /// The content of a question to the node that began with `nonce`.
    ///
    /// # Errors
    /// It is not from a node of this cluster, or was not made for this connection.
    pub fn open_question<'q>(
        &self,
        kind: QuestionKind,
        nonce: &Nonce,
        sealed: &'q [u8],
    ) -> Result<(&'q [u8], QuestionTag), WireError> {
        if sealed.len() > kind.max_question() {
            return Err(WireError::Size);
        }
        let (own, rest) = sealed.split_first_chunk::<{ size_of::<Nonce>() }>().ok_or(WireError::Size)?;
        let (tag, content) = rest.split_first_chunk::<TAG>().ok_or(WireError::Size)?;
        let mac = self.mac([kind.question(), nonce.as_slice(), own.as_slice(), content]);
        mac.verify_slice(tag).map_err(|_| WireError::Secret)?;
        Ok((content, QuestionTag(*tag)))
    }

    /// An answer as it is sent behind its length.
    ///
    /// # Errors
    /// It is too long.
    pub fn seal_answer(
        &self,
        kind: QuestionKind,
        question: QuestionTag,
        content: &[u8],
    ) -> Result<Vec<u8>, WireError> {
        if TAG + content.len() > kind.max_answer() {
            return Err(WireError::Size);
        }
        let tag = self.mac([kind.answer(), question.0.as_slice(), content]).finalize().into_bytes();
        Ok([tag.as_slice(), content].concat())
    }

    /// The content of an answer to a question.
    ///
    /// # Errors
    /// It is not from a node of this cluster, or to another question.
    pub fn open_answer<'a>(
        &self,
        kind: QuestionKind,
        question: QuestionTag,
        sealed: &'a [u8],
    ) -> Result<&'a [u8], WireError> {
        let (tag, content) = sealed.split_first_chunk::<TAG>().ok_or(WireError::Size)?;
        let mac = self.mac([kind.answer(), question.0.as_slice(), content]);
        mac.verify_slice(tag).map_err(|_| WireError::Secret)?;
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Nonce = [1; 16];
    const OWN: Nonce = [2; 16];

    fn secret(text: &str) -> ClusterSecret {
        ClusterSecret::new(&text.repeat(32)).expect("long enough")
    }

    #[test]
    fn what_is_forged_changed_repeated_or_of_another_kind_is_refused() {
        let (secret, kind) = (secret("s"), QuestionKind::Store);
        let (sealed, tag) = secret.seal_question(kind, (&HERE, &OWN), b"who").expect("short");
        assert_eq!(secret.open_question(kind, &HERE, &sealed), Ok((b"who".as_slice(), tag)));
        assert_eq!(self::secret("t").open_question(kind, &HERE, &sealed), Err(WireError::Secret));
        let again = secret.open_question(kind, &[3; 16], &sealed);
        assert_eq!(again, Err(WireError::Secret), "it was made for another connection");
        let other = secret.open_question(QuestionKind::Slices, &HERE, &sealed);
        assert_eq!(other, Err(WireError::Secret));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(secret.open_question(kind, &HERE, &changed), Err(WireError::Secret));
            assert!(secret.open_question(kind, &HERE, &sealed[..at]).is_err());
        }
    }

    #[test]
    fn an_answer_is_to_one_question() {
        let (secret, kind) = (secret("s"), QuestionKind::Store);
        let (sealed, tag) = secret.seal_question(kind, (&HERE, &OWN), b"who").expect("short");
        let (_, another) = secret.seal_question(kind, (&HERE, &[3; 16]), b"who").expect("short");
        let reply = secret.seal_answer(kind, tag, b"me").expect("short");
        assert_eq!(secret.open_answer(kind, tag, &reply), Ok(b"me".as_slice()));
        assert_eq!(secret.open_answer(kind, another, &reply), Err(WireError::Secret));
        assert_eq!(secret.open_answer(kind, tag, &sealed), Err(WireError::Secret), "a question is no answer");
        assert_eq!(secret.open_answer(kind, tag, &reply[..TAG - 1]), Err(WireError::Size));
    }

    #[test]
    fn sizes_are_bounded() {
        for kind in [QuestionKind::Slices, QuestionKind::Store] {
            assert_eq!(QuestionKind::of_octet(kind.octet()), Some(kind));
            let (secret, longest) = (secret("s"), vec![0; kind.max_question() - OVERHEAD]);
            let (sealed, tag) = secret.seal_question(kind, (&HERE, &OWN), &longest).expect("short enough");
            assert!(secret.open_question(kind, &HERE, &sealed).is_ok());
            let longer = [longest, vec![0]].concat();
            let refused = secret.seal_question(kind, (&HERE, &OWN), &longer);
            assert_eq!(refused, Err(WireError::Size));
            let longer = [sealed, vec![0]].concat();
            assert_eq!(secret.open_question(kind, &HERE, &longer), Err(WireError::Size));
            let longer = vec![0; kind.max_answer() - TAG + 1];
            assert_eq!(secret.seal_answer(kind, tag, &longer), Err(WireError::Size));
        }
        assert_eq!(QuestionKind::of_octet(0), None);
    }

    #[test]
    fn a_secret_is_long_and_not_shown() {
        assert!(ClusterSecret::new(&format!("  {}\n", "x".repeat(31))).is_none());
        let shown = format!("{:?}", secret("geheim"));
        assert_eq!(shown, "ClusterSecret(..)");
    }
}
