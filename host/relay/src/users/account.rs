//! What users change of their own account.

use relevo_store::{SessionsAfter, UserRecord, UserWrite};

use super::throttle::Subject;
use super::{Session, TotpSecret, User, Users, UsersError, checked_name, password, totp};

/// Octets of a language tag.
const MAX_LANGUAGE: usize = 35;

impl Users {
    /// Changes the password. All sessions but this one end.
    ///
    /// # Errors
    /// The current password is wrong, or there is none; the new one is weak; too many attempts; the
    /// store's.
    pub async fn change_password(
        &self,
        session: &Session,
        current: &str,
        new: &str,
    ) -> Result<(), UsersError> {
        let user = &session.user;
        let before = self.proven(user, "current_password", current).await?;
        password::check(new, &user.email)?;
        let hash = self.passwords.hash(new).await?;
        let write = UserWrite { sessions: SessionsAfter::Only(Some(&session.id)), ..UserWrite::default() };
        let changed = self.update(&user.id, write, |record| {
            same_password(record, &before)?;
            record.settings.password_hash = Some(hash.clone());
            Ok::<_, UsersError>(())
        });
        changed.await.map(drop)
    }

    /// Begins to set an authenticator up. It is needed from [`Self::confirm_totp`] on.
    ///
    /// # Errors
    /// There is one; the store's.
    pub async fn begin_totp(&self, user: &User) -> Result<TotpSecret, UsersError> {
        let made = TotpSecret::new(&self.config.issuer, &user.email).map_err(UsersError::broken)?;
        let changed = self.update(&user.id, UserWrite::default(), |record| {
            if record.settings.totp.is_some() {
                let message = "there is an authenticator already: remove it first";
                return Err(UsersError::Conflict(message.to_owned()));
            }
            record.settings.pending_totp = Some(made.secret.clone());
            Ok(())
        });
        changed.await?;
        Ok(made)
    }

    /// Ends to set an authenticator up, with a code that it shows. Returns recovery codes, which are shown
    /// this once.
    ///
    /// # Errors
    /// The code is wrong; [`Self::begin_totp`] was not called; too many attempts; the store's.
    pub async fn confirm_totp(&self, user: &User, code: &str) -> Result<Vec<String>, UsersError> {
        let subjects = Subject::of(&user.email, None);
        self.begin(&subjects)?;
        let (shown, stored) = totp::recovery_codes().map_err(UsersError::broken)?;
        let now = self.clock.now();
        let changed = self.update(&user.id, UserWrite::default(), |record| {
            let settings = &mut record.settings;
            let Some(secret) = settings.pending_totp.clone() else {
                return Err(UsersError::Conflict("begin to set an authenticator up first".to_owned()));
            };
            let Some(step) = totp::step_of(&secret, code, now, 0) else {
                let message = "is wrong: look whether the clock of the authenticator is right";
                return Err(UsersError::invalid("code", message));
            };
            settings.totp_step = step;
            settings.totp = settings.pending_totp.take();
            settings.recovery.clone_from(&stored);
            Ok(())
        });
        changed.await?;
        self.throttle.take_back(&subjects);
        Ok(shown)
    }

    /// Removes the authenticator and the recovery codes. A user without a password asks an owner or
    /// operator.
    ///
    /// # Errors
    /// The password is wrong, or there is none; too many attempts; the store's.
    pub async fn remove_totp(&self, user: &User, password: &str) -> Result<(), UsersError> {
        let before = self.proven(user, "password", password).await?;
        let changed = self.update(&user.id, UserWrite::default(), |record| {
            same_password(record, &before)?;
            forget_totp(record);
            Ok::<_, UsersError>(())
        });
        changed.await.map(drop)
    }

    /// Sets the language of the panel. None: what the browser prefers.
    ///
    /// # Errors
    /// It is no language tag; the store's.
    pub async fn set_language(&self, user: &User, language: Option<&str>) -> Result<(), UsersError> {
        let is_tag = |tag: &str| {
            tag.len() <= MAX_LANGUAGE
                && tag.split('-').all(|part| {
                    (1..=8).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_alphanumeric())
                })
        };
        if !language.is_none_or(is_tag) {
            return Err(UsersError::invalid("language", "must be a language tag, such as `en` or `pt-BR`"));
        }
        let changed = self.update(&user.id, UserWrite::default(), |record| {
            record.settings.language = language.map(str::to_owned);
            Ok::<_, UsersError>(())
        });
        changed.await.map(drop)
    }

    /// Sets the name of a user.
    ///
    /// # Errors
    /// It is too long; the store's.
    pub async fn set_name(&self, user: &User, name: &str) -> Result<(), UsersError> {
        let name = checked_name(name)?;
        let changed = self.update(&user.id, UserWrite::default(), |record| {
            record.settings.name.clone_from(&name);
            Ok::<_, UsersError>(())
        });
        changed.await.map(drop)
    }

    /// Checks the password of a user who is signed in, before something that a thief of the session would
    /// do. Users without one are let through.
    ///
    /// # Errors
    /// It is wrong: `param` names it; too many attempts; the store's.
    pub async fn prove(&self, user: &User, param: &'static str, given: &str) -> Result<(), UsersError> {
        match user.has_password {
            true => self.proven(user, param, given).await.map(drop),
            false => Ok(()),
        }
    }

    /// Checks the password of a user who is signed in, and returns its hash. Wrong ones are counted:
    /// somebody may sit at another's desk.
    async fn proven(&self, user: &User, param: &'static str, given: &str) -> Result<String, UsersError> {
        let found = self.store.user(&user.id).await?.ok_or(UsersError::NotFound)?;
        let Some(hash) = found.settings.password_hash else {
            let message = "there is no password: an owner or operator makes a link to set one";
            return Err(UsersError::Conflict(message.to_owned()));
        };
        let subjects = Subject::of(&user.email, None);
        self.begin(&subjects)?;
        let matches = self.passwords.matches(Some(&hash), given).await;
        if matches != Ok(false) {
            self.throttle.take_back(&subjects);
        }
        match matches? {
            true => Ok(hash),
            false => Err(UsersError::invalid(param, "is wrong")),
        }
    }
}

/// Refuses a change that was allowed by a password that counts no longer.
fn same_password(record: &UserRecord, hash: &str) -> Result<(), UsersError> {
    match record.settings.password_hash.as_deref() == Some(hash) {
        true => Ok(()),
        false => Err(UsersError::Conflict("the password was changed meanwhile: try again".to_owned())),
    }
}

pub(super) fn forget_totp(record: &mut UserRecord) {
    let settings = &mut record.settings;
    (settings.totp, settings.pending_totp) = (None, None);
    settings.recovery.clear();
}
