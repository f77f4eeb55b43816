//! Passwords: Argon2id, a few at a time, never on a worker that serves sockets.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::SaltString;
use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::{UsersError, token};

/// Time that a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Passwords that are hashed at the same time. Each takes 19 MiB and some 20 ms of one core.
const AT_ONCE: usize = 2;
/// Characters of a password.
const MIN_LENGTH: usize = 12;
/// Octets of a password.
const MAX_OCTETS: usize = 1_024;

/// Checked for unknown users. Of no password that anybody knows; parameters of `Argon2::default()`.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVsZXZvLW5vYm9keQ$cmVsZXZvOiBub2JvZHkgaGFzIHRoaXMgcGFzc3dvcmQ";

/// Hashes and checks passwords.
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Argon2id in PHC form.
    ///
    /// # Errors
    /// Too many at once; no randomness.
    pub(super) async fn hash(&self, password: &str) -> Result<String, UsersError> {
        let permit = self.permit().await?;
        let salt = token::random::<16>().map_err(UsersError::broken)?;
        let password = password.to_owned();
        let hashed = spawn_blocking(move || {
            let salt = SaltString::encode_b64(&salt)?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string();
            drop(permit);
            Ok::<_, argon2::password_hash::Error>(hash)
        });
        hashed.await.map_err(UsersError::broken)?.map_err(UsersError::broken)
    }

    /// Returns true if the password is that of the hash. Without a hash it takes as long, and is false.
    ///
    /// # Errors
    /// Too many at once.
    pub(super) async fn matches(&self, hash: Option<&str>, password: &str) -> Result<bool, UsersError> {
        let permit = self.permit().await?;
        let is_known = hash.is_some();
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let is_long = password.len() > MAX_OCTETS;
        let password = if is_long { String::new() } else { password.to_owned() };
        let matches = spawn_blocking(move || {
            let matches = PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            drop(permit);
            matches
        });
        Ok(matches.await.map_err(UsersError::broken)? && is_known && !is_long)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, UsersError> {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(UsersError::Unavailable)
    }
}

/// Refuses a password that is too short, too long or the address itself.
pub(super) fn check(password: &str, email: &str) -> Result<(), UsersError> {
    if password.chars().count() < MIN_LENGTH {
        return Err(UsersError::invalid("password", "must have 12 characters at least"));
    }
    if password.len() > MAX_OCTETS {
        return Err(UsersError::invalid("password", "must have 1024 octets at most"));
    }
    if password.trim().eq_ignore_ascii_case(email) {
        return Err(UsersError::invalid("password", "must not be the email address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_matches() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse battery").await.expect("hashes");
        let matches = async |hash, password| passwords.matches(hash, password).await.expect("checks");
        assert!(matches(Some(hash.as_str()), "correct horse battery").await);
        assert!(!matches(Some(hash.as_str()), "correct horse").await);
        assert!(!matches(None, "").await && !matches(Some("plain"), "plain").await);
        let long = "x".repeat(2_000);
        let of_nothing = passwords.hash("").await.expect("hashes");
        assert!(!matches(Some(of_nothing.as_str()), &long).await);
    }

    /// An unknown user takes as long as a known one.
    #[tokio::test]
    async fn the_hash_of_nobody_is_made_like_others() {
        let hash = Passwords::new().hash("x").await.expect("hashes");
        let parameters = |hash: &str| {
            let hash = PasswordHash::new(hash).expect("a hash");
            let found = argon2::Params::try_from(&hash).expect("parameters");
            (hash.algorithm.to_string(), found.m_cost(), found.t_cost(), found.p_cost())
        };
        assert_eq!(parameters(NOBODY), parameters(&hash));
    }

    #[test]
    fn weak_passwords_are_refused() {
        for (password, good) in [
            ("elevenchars", false),
            ("twelve chars", true),
            ("Ann@example.com", false),
            (&*"ü".repeat(12), true),
            (&*"x".repeat(1_025), false),
        ] {
            assert_eq!(check(password, "ann@example.com").is_ok(), good, "{password}");
        }
    }
}
