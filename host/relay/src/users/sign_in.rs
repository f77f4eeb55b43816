//! Signing in with a password.

use std::net::IpAddr;
use std::time::Duration;

use relevo_store::{UserRecord, UserWrite};

use super::session::{Client, NewSession};
use super::throttle::Subject;
use super::{Users, UsersError, folded, totp};

/// What a person signs in with.
#[derive(Clone, Copy)]
pub struct SignIn<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub password: &'a str,
    /// A code of the authenticator, or a recovery code.
    pub code: Option<&'a str>,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// What the client says of itself.
    pub user_agent: &'a str,
}

/// Why nobody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInRefusal {
    /// There is no such user, or the password is wrong, or the user is disabled: not told apart.
    #[error("the email address or the password is wrong")]
    Wrong,
    /// The password is right. The same again, with a code.
    #[error("a code of the authenticator is needed")]
    CodeNeeded,
    /// The code is wrong, or was used.
    #[error("the code is wrong, or was used already")]
    WrongCode,
    /// Too many attempts.
    #[error("too many attempts: try again in {} s", retry_after.as_secs().max(1))]
    Throttled {
        /// When the next one may come.
        retry_after: Duration,
    },
    /// The store failed, or too many sign in at once.
    #[error("nobody can sign in now, try again later")]
    Unavailable,
}

impl From<UsersError> for SignInRefusal {
    fn from(error: UsersError) -> Self {
        match error {
            // It was deleted a moment ago.
            UsersError::NotFound => Self::Wrong,
            UsersError::Throttled { retry_after } => Self::Throttled { retry_after },
            UsersError::Conflict(_) | UsersError::Invalid { .. } | UsersError::Unavailable => {
                Self::Unavailable
            }
        }
    }
}

impl Users {
    /// Signs a person in.
    ///
    /// # Errors
    /// See [`SignInRefusal`].
    pub async fn sign_in(&self, given: SignIn<'_>) -> Result<NewSession, SignInRefusal> {
        let email = folded(given.email);
        let subjects = Subject::of(&email, given.client);
        self.begin(&subjects)?;
        let outcome = self.check(&email, given).await;
        match &outcome {
            Ok(_) => self.throttle.succeed(&subjects),
            Err(SignInRefusal::Wrong | SignInRefusal::WrongCode) => {}
            Err(_) => self.throttle.take_back(&subjects),
        }
        outcome
    }

    /// Counts an attempt, or refuses it.
    pub(super) fn begin(&self, subjects: &[Subject]) -> Result<(), UsersError> {
        let begun = self.throttle.begin(subjects, self.clock.monotonic());
        begun.map_err(|retry_after| UsersError::Throttled { retry_after })
    }

    async fn check(&self, email: &str, given: SignIn<'_>) -> Result<NewSession, SignInRefusal> {
        let found = self.store.user_by_email(email).await.map_err(UsersError::from)?;
        let found = found.filter(UserRecord::is_active);
        let hash = found.as_ref().and_then(|user| user.settings.password_hash.as_deref());
        let matches = self.passwords.matches(hash, given.password).await?;
        let Some(user) = found.as_ref().filter(|_| matches) else { return Err(SignInRefusal::Wrong) };
        let code = given.code.map(str::trim).filter(|code| !code.is_empty());
        let now = self.clock.now();
        let client = Client { address: given.client, user_agent: given.user_agent };
        self.enter(&user.id, client, |record| {
            // It may have been changed since the password was checked.
            if record.settings.password_hash.as_deref() != hash {
                return Err(SignInRefusal::Wrong);
            }
            pass_code(record, code, now)
        })
        .await
    }

    /// Begins a session of an active user if `may` agrees, which may change the record.
    pub(super) async fn enter<E: From<UsersError> + From<SignInRefusal>>(
        &self,
        user: &str,
        client: Client<'_>,
        may: impl Fn(&mut UserRecord) -> Result<(), E>,
    ) -> Result<NewSession, E> {
        let opening = self.opening(user, client)?;
        let write = UserWrite { new_session: Some(&opening.record), ..UserWrite::default() };
        let now = self.clock.now();
        let record = self.update(user, write, |record| {
            may(record)?;
            if !record.is_active() {
                return Err(E::from(SignInRefusal::Wrong));
            }
            record.signed_in_at = Some(now);
            Ok(())
        });
        let record = record.await?;
        Ok(opening.opened(record)?)
    }
}

/// Checks the second factor of a user that has one, and uses the code up.
pub(super) fn pass_code(record: &mut UserRecord, code: Option<&str>, now: i64) -> Result<(), SignInRefusal> {
    if record.settings.totp.is_none() {
        return Ok(());
    }
    let code = code.ok_or(SignInRefusal::CodeNeeded)?;
    match totp::use_code(&mut record.settings, code, now) {
        true => Ok(()),
        false => Err(SignInRefusal::WrongCode),
    }
}
