//! Tokens of API keys: `rv_`, 30 random letters and digits, and 6 that check them.
//!
//! The check tells a token with a typing mistake from one that was revoked. It keeps nobody out.

use sha2::{Digest, Sha256};

const PREFIX: &str = "rv_";
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 178 bits: nobody guesses one, however many requests are sent.
const SECRET: usize = 30;
const CHECK: usize = 6;
/// Characters of a token that lists show.
const SHOWN: usize = 8;

/// A token that was just made. It is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The token itself.
    pub text: String,
    /// What is stored of it.
    pub hash: [u8; 32],
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}

impl NewToken {
    /// Makes one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> std::io::Result<Self> {
        let mut secret = String::with_capacity(SECRET);
        while secret.len() < SECRET {
            let mut octets = [0; SECRET];
            getrandom::fill(&mut octets).map_err(|error| std::io::Error::other(error.to_string()))?;
            // 248 is 4 times 62: all letters are equally likely.
            let letters = octets.iter().filter(|octet| **octet < 248);
            let letters = letters.map(|octet| char::from(LETTERS[usize::from(octet % 62)]));
            secret.extend(letters.take(SECRET - secret.len()));
        }
        let text = format!("{PREFIX}{secret}{}", check(&secret));
        Ok(Self { hash: hash(&text), text })
    }

    /// The first characters, by which people know it in a list.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.text.get(..SHOWN).unwrap_or_default()
    }
}

/// The SHA-256 by which a token is known.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Returns true if the token is one that [`NewToken::new`] can make.
#[must_use]
pub fn is_well_formed(token: &str) -> bool {
    let Some(rest) = token.strip_prefix(PREFIX) else { return false };
    rest.len() == SECRET + CHECK
        && rest.bytes().all(|octet| octet.is_ascii_alphanumeric())
        && rest.split_at_checked(SECRET).is_some_and(|(secret, checked)| check(secret) == checked)
}

fn check(secret: &str) -> String {
    let digest = Sha256::digest(format!("relevo api key {secret}").as_bytes());
    digest.iter().take(CHECK).map(|octet| char::from(LETTERS[usize::from(octet % 62)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_a_typing_mistake() {
        let token = NewToken::new().expect("randomness");
        assert_eq!((token.text.len(), token.prefix().len()), (39, 8));
        assert_eq!(token.hash, hash(&token.text));
        assert!(is_well_formed(&token.text));
        assert_ne!(token, NewToken::new().expect("randomness"));
        assert!(!format!("{token:?}").contains(&token.text));
        let mut wrong = token.text.clone().into_bytes();
        wrong[20] = if wrong[20] == b'a' { b'b' } else { b'a' };
        let wrong = String::from_utf8(wrong).expect("ASCII");
        let short = token.text[..38].to_owned();
        let long = format!("{}a", token.text);
        for other in [wrong, short, long, token.text.replace("rv_", "re_"), "rv_ü".to_owned(), String::new()]
        {
            assert!(!is_well_formed(&other), "{other}");
        }
    }
}
