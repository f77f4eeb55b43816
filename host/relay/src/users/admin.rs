//! What owners and operators change of other users.

use relevo_store::{SessionsAfter, UserRecord, UserWrite};

use super::account::forget_totp;
use super::{User, UserRole, Users, UsersError, checked_name, folded};

/// Changes of a user. None: it stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The role; users of a tenant stay in it.
    pub role: Option<UserRole>,
    /// For people.
    pub name: Option<String>,
    /// The user may not sign in, and all sessions end.
    pub disabled: Option<bool>,
    /// The user has lost the authenticator: it is needed no longer.
    pub remove_totp: bool,
}

impl Users {
    /// Users of a tenant by id, those behind `after`, at most `limit`. None: operators.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, tenant: Option<&str>, after: &str, limit: u32) -> Result<Vec<User>, UsersError> {
        let found = self.store.users(tenant, after, limit).await?;
        found.into_iter().map(User::of).collect()
    }

    /// A user of a tenant. None: an operator.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn get(&self, tenant: Option<&str>, id: &str) -> Result<User, UsersError> {
        let found = self.store.user(id).await?;
        User::of(found.filter(|user| is_of(user, tenant)).ok_or(UsersError::NotFound)?)
    }

    /// The user with this address, of any tenant or none.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, email: &str) -> Result<Option<User>, UsersError> {
        self.store.user_by_email(&folded(email)).await?.map(User::of).transpose()
    }

    /// Changes a user of a tenant, or an operator. A change counts with the next request of the user.
    ///
    /// # Errors
    /// There is none; a wrong value; the last active owner or operator would go; the store's.
    pub async fn change(
        &self,
        tenant: Option<&str>,
        id: &str,
        change: &UserChange,
    ) -> Result<User, UsersError> {
        if change.role.is_some_and(|role| role.is_of_tenant() != tenant.is_some()) {
            return Err(UsersError::invalid(
                "role",
                "`operator` is the role of those without a tenant, alone",
            ));
        }
        let name = change.name.as_deref().map(checked_name).transpose()?;
        let sessions = match change.disabled {
            Some(true) => SessionsAfter::Only(None),
            _ => SessionsAfter::All,
        };
        let record = self.update(id, UserWrite { sessions, ..UserWrite::default() }, |record| {
            if !is_of(record, tenant) {
                return Err(UsersError::NotFound);
            }
            if let Some(role) = change.role {
                role.name().clone_into(&mut record.role);
            }
            if let Some(name) = &name {
                record.settings.name.clone_from(name);
            }
            if let Some(disabled) = change.disabled {
                record.settings.disabled = disabled;
            }
            if change.remove_totp {
                forget_totp(record);
            }
            Ok(())
        });
        User::of(record.await?)
    }

    /// Deletes a user of a tenant, or an operator, with all sessions.
    ///
    /// # Errors
    /// There is none; the last active owner or operator would go; the store's.
    pub async fn delete(&self, tenant: Option<&str>, id: &str) -> Result<(), UsersError> {
        self.get(tenant, id).await?;
        match self.store.delete_user(id).await? {
            true => Ok(()),
            false => Err(UsersError::NotFound),
        }
    }
}

fn is_of(user: &UserRecord, tenant: Option<&str>) -> bool {
    user.tenant.as_deref() == tenant
}
