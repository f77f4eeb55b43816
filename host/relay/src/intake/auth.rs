//! Passwords (Argon2id). Slow on purpose, so: few at a time, never on a worker that serves sockets,
//! and remembered when right.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use relevo_smtp::server::Credentials;
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::settings::Settings;

/// How long a client waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(3);

/// Passwords that were right and are remembered.
const REMEMBERED: usize = 10_000;

/// Checked for unknown users when nobody is configured. Of no password that anybody knows;
/// parameters of `Argon2::default()`.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVsZXZvLW5vYm9keQ$cmVsZXZvOiBub2JvZHkgaGFzIHRoaXMgcGFzc3dvcmQ";

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is right; the tenant it stands for.
    Granted(String),
    /// Unknown user or wrong password: not told apart.
    Denied,
    /// Too many at once.
    Busy,
}

/// Checks passwords.
pub(super) struct Authenticator {
    permits: Arc<Semaphore>,
    patience: Duration,
    /// Of this process: what is remembered is worth nothing elsewhere.
    key: [u8; 64],
    right: Mutex<Remembered>,
    matches: Arc<Matches>,
}

/// Whether a password is that of a hash.
type Matches = dyn Fn(&str, &str) -> bool + Send + Sync;

#[derive(Default)]
struct Remembered {
    generation: u64,
    digests: HashSet<[u8; 32]>,
}

impl Authenticator {
    /// At most `at_once` passwords are hashed at the same time. `key` is random.
    pub(super) fn new(at_once: usize, key: [u8; 64]) -> Self {
        let permits = Arc::new(Semaphore::new(at_once.max(1)));
        Self { permits, patience: PATIENCE, key, right: Mutex::default(), matches: Arc::new(matches) }
    }

    /// Whether `credentials` are right under `settings`, which are the `generation`th.
    pub(super) async fn verify(
        &self,
        generation: u64,
        settings: &Settings,
        credentials: Credentials,
    ) -> Verdict {
        let known = settings.directory.credential(&credentials.username);
        // A user without a password for PLAIN and LOGIN is like an unknown one.
        let known = known.and_then(|c| Some((c.tenant.as_str(), c.password_hash.as_deref()?)));
        let hash = known.map_or_else(|| decoy(settings), |(_, hash)| hash).to_owned();
        let digest = self.digest(&credentials, &hash);
        if let Some((tenant, _)) = known
            && self.remembers(generation, &digest)
        {
            return Verdict::Granted(tenant.to_owned());
        }
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Verdict::Busy };
        let check = Arc::clone(&self.matches);
        let matches = tokio::task::spawn_blocking(move || {
            let matches = check(&hash, &credentials.password);
            drop(permit);
            matches
        });
        match (matches.await, known) {
            (Ok(true), Some((tenant, _))) => {
                self.remember(generation, digest);
                Verdict::Granted(tenant.to_owned())
            }
            (Ok(_), _) => Verdict::Denied,
            (Err(_), _) => Verdict::Busy,
        }
    }

    /// Covers the hash too: a changed password is another entry.
    fn digest(&self, credentials: &Credentials, hash: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&self.key).into());
        for part in [&credentials.username, &credentials.password, hash] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn remembers(&self, generation: u64, digest: &[u8; 32]) -> bool {
        let mut right = self.right.lock();
        right.renew(generation);
        right.generation == generation && right.digests.contains(digest)
    }

    fn remember(&self, generation: u64, digest: [u8; 32]) {
        let mut right = self.right.lock();
        right.renew(generation);
        if right.generation == generation {
            if right.digests.len() >= REMEMBERED {
                right.digests.clear();
            }
            right.digests.insert(digest);
        }
    }
}

impl Remembered {
    fn renew(&mut self, generation: u64) {
        if generation > self.generation {
            *self = Self { generation, digests: HashSet::new() };
        }
    }
}

/// Somebody's hash, so that an unknown user takes as long as a known one. The result is not looked
/// at.
fn decoy(settings: &Settings) -> &str {
    settings.directory.first_password_hash().unwrap_or(NOBODY)
}

fn matches(hash: &str, password: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests;
