//! Whom the provider vouches for.

use relevo_store::{UserRecord, UserWrite};

use super::id_token::Claims;
use super::{OidcConfig, OidcRefusal};
use crate::users::session::{Client, NewSession};
use crate::users::{MAX_USERS, Users, UsersError, checked_email, checked_name};

impl Users {
    /// Signs in whom the claims are about.
    pub(super) async fn sign_in_vouched(
        &self,
        config: &OidcConfig,
        claims: &Claims,
        client: Client<'_>,
    ) -> Result<NewSession, OidcRefusal> {
        let subject = format!("{} {}", config.issuer, claims.sub);
        let known = self.store.user_by_subject(&subject).await.map_err(UsersError::from)?;
        if let Some(user) = known {
            return self
                .enter(&user.id, client, |record| match record.subject.as_deref() == Some(&subject) {
                    true => Ok(()),
                    false => Err(OidcRefusal::Refused),
                })
                .await;
        }
        let email = claims.verified_email().ok_or(OidcRefusal::Unverified)?;
        let email = checked_email(email).map_err(|_| OidcRefusal::Unverified)?;
        if let Some(user) = self.store.user_by_email(&email).await.map_err(UsersError::from)? {
            return self
                .enter(&user.id, client, |record| {
                    if record.subject.as_ref().is_some_and(|bound| *bound != subject) {
                        return Err(OidcRefusal::Refused);
                    }
                    record.subject = Some(subject.clone());
                    Ok(())
                })
                .await;
        }
        let mut user = self.by_rule(config, claims, email)?;
        user.subject = Some(subject);
        user.signed_in_at = Some(self.clock.now());
        let opening = self.opening(&user.id, client)?;
        let write = UserWrite { new_session: Some(&opening.record), ..UserWrite::default() };
        self.store.add_user(&user, write, MAX_USERS).await.map_err(UsersError::from)?;
        Ok(opening.opened(user)?)
    }

    /// The user that the first rule makes that fits.
    fn by_rule(
        &self,
        config: &OidcConfig,
        claims: &Claims,
        email: String,
    ) -> Result<UserRecord, OidcRefusal> {
        let rule = config.roles.iter().find(|rule| claims.has(&rule.claim, &rule.value));
        let rule = rule.ok_or(OidcRefusal::NoUser)?;
        let name = claims.name.as_deref().and_then(|name| checked_name(name).ok()).unwrap_or_default();
        Ok(self.new_user(rule.tenant.as_deref(), email, name, rule.role)?)
    }
}
