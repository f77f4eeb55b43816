//! Links that count once: invitations, new passwords, and the first operator.

use std::net::IpAddr;
use std::time::Duration;

use relevo_store::{ControlStoreError, SessionsAfter, UserLinkRecord, UserRecord, UserSettings, UserWrite};

use super::session::{Client, NewSession};
use super::sign_in::{SignInRefusal, pass_code};
use super::throttle::Subject;
use super::{
    MAX_USERS, User, UserRole, Users, UsersError, checked_email, checked_name, millis, password, token,
};

/// An invitation counts for this time.
const INVITE: Duration = Duration::from_secs(72 * 3_600);
/// A link to a new password counts for this time.
const RESET: Duration = Duration::from_secs(24 * 3_600);
/// The link to the first operator counts for this time.
const FIRST: Duration = Duration::from_secs(24 * 3_600);

/// A link that was just made. Its token is known for this once.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The last part of [`Self::path`].
    pub token: String,
    /// It counts before this time, in milliseconds since 1970.
    pub expires_at: i64,
}

impl Link {
    /// The path of the page below the address of the panel.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/panel/link/{}", self.token)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A user sets the first password.
    Invite,
    /// A user sets another password.
    Reset,
    /// Whoever has it becomes the first operator.
    First,
}

impl LinkKind {
    fn name(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Reset => "reset",
            Self::First => "first",
        }
    }
}

/// Who a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// What it is for.
    pub kind: LinkKind,
    /// The user. None for [`LinkKind::First`]: who accepts it gives an address.
    pub user: Option<User>,
    /// A code of the authenticator is needed beside the new password.
    pub needs_code: bool,
    /// It counts before this time, in milliseconds since 1970.
    pub expires_at: i64,
}

/// A user to be invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The address.
    pub email: String,
    /// For people; may be empty.
    pub name: String,
    /// What the user may do.
    pub role: UserRole,
}

/// What a person accepts a link with.
#[derive(Clone, Copy)]
pub struct Accept<'a> {
    /// The token of the link.
    pub token: &'a str,
    /// The address, for [`LinkKind::First`] only.
    pub email: Option<&'a str>,
    /// None: the name stays.
    pub name: Option<&'a str>,
    /// The new password.
    pub password: &'a str,
    /// A code of the authenticator, if the user has one.
    pub code: Option<&'a str>,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// What the client says of itself.
    pub user_agent: &'a str,
}

/// Why a link is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptRefusal {
    /// It was used, replaced or is too old, or there never was such a link.
    #[error("this link counts no longer: ask for another one")]
    Link,
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// `email`, `name` or `password`.
        param: &'static str,
        /// The mistake.
        message: String,
    },
    /// The user is disabled, the code is wrong, or it cannot be done now.
    #[error(transparent)]
    SignIn(#[from] SignInRefusal),
}

impl From<UsersError> for AcceptRefusal {
    fn from(error: UsersError) -> Self {
        match error {
            UsersError::NotFound | UsersError::Conflict(_) => Self::Link,
            UsersError::Invalid { param, message } => Self::Invalid { param, message },
            other => Self::SignIn(other.into()),
        }
    }
}

impl Users {
    /// Adds a user, who cannot sign in before they have accepted the link. None: an operator.
    ///
    /// # Errors
    /// A wrong value; the address is a user's; too many users; the store's.
    pub async fn invite(
        &self,
        tenant: Option<&str>,
        invitation: &Invitation,
    ) -> Result<(User, Link), UsersError> {
        if invitation.role.is_of_tenant() != tenant.is_some() {
            return Err(UsersError::invalid(
                "role",
                "`operator` is the role of those without a tenant, alone",
            ));
        }
        let email = checked_email(&invitation.email)?;
        let record = self.new_user(tenant, email, checked_name(&invitation.name)?, invitation.role)?;
        let (link, stored) = self.new_link(&record.id, LinkKind::Invite, INVITE)?;
        let write = UserWrite { new_link: Some(&stored), ..UserWrite::default() };
        self.store.add_user(&record, write, MAX_USERS).await?;
        Ok((User::of(record)?, link))
    }

    /// Makes another link for a user of a tenant, or an operator: to the first password, or another
    /// one. The link before counts no longer.
    ///
    /// # Errors
    /// There is no such user; the store's.
    pub async fn reset_link(&self, tenant: Option<&str>, id: &str) -> Result<Link, UsersError> {
        let user = self.get(tenant, id).await?;
        let (kind, time) = match user.has_password {
            true => (LinkKind::Reset, RESET),
            false => (LinkKind::Invite, INVITE),
        };
        let (link, stored) = self.new_link(id, kind, time)?;
        self.store.put_user_link(&stored).await?;
        Ok(link)
    }

    /// Makes a link to the first operator, if there is no user at all. The one before counts no longer.
    ///
    /// # Errors
    /// The store's.
    pub async fn first_start_link(&self) -> Result<Option<Link>, UsersError> {
        if self.store.has_users().await? {
            return Ok(None);
        }
        let (link, stored) = self.new_link("", LinkKind::First, FIRST)?;
        self.store.put_user_link(&stored).await?;
        Ok(Some(link))
    }

    /// Who a link is for. None: it counts no longer.
    ///
    /// # Errors
    /// The store's.
    pub async fn link(&self, token: &str) -> Result<Option<LinkTarget>, UsersError> {
        let Some(found) = self.find_link(token).await? else { return Ok(None) };
        let (record, user) = found;
        let target = LinkTarget {
            kind: kind(&record),
            needs_code: user.as_ref().is_some_and(|user| user.settings.totp.is_some()),
            user: user.map(User::of).transpose()?,
            expires_at: record.expires_at,
        };
        Ok(Some(target))
    }

    /// Uses a link up: sets the password, ends the sessions of before, and begins one.
    ///
    /// # Errors
    /// See [`AcceptRefusal`].
    pub async fn accept(&self, given: Accept<'_>) -> Result<NewSession, AcceptRefusal> {
        let (link, user) = self.find_link(given.token).await?.ok_or(AcceptRefusal::Link)?;
        let name = given.name.map(checked_name).transpose()?;
        let email = match (&user, given.email) {
            (Some(user), _) => user.email.clone(),
            (None, Some(email)) => checked_email(email)?,
            (None, None) => return Err(UsersError::invalid("email", "is missing").into()),
        };
        password::check(given.password, &email)?;
        let subjects = Subject::of(&email, given.client);
        self.begin(&subjects)?;
        let outcome = self.use_link(&link, user, (email, name), given).await;
        match &outcome {
            Ok(_) => self.throttle.succeed(&subjects),
            Err(AcceptRefusal::SignIn(SignInRefusal::WrongCode)) => {}
            Err(_) => self.throttle.take_back(&subjects),
        }
        outcome
    }

    async fn use_link(
        &self,
        link: &UserLinkRecord,
        user: Option<UserRecord>,
        (email, name): (String, Option<String>),
        given: Accept<'_>,
    ) -> Result<NewSession, AcceptRefusal> {
        // Before the password is hashed, which takes time.
        if let Some(user) = &user {
            pass_code(&mut user.clone(), given.code, self.clock.now())?;
        }
        let hash = self.passwords.hash(given.password).await?;
        let client = Client { address: given.client, user_agent: given.user_agent };
        let now = self.clock.now();
        let Some(user) = user else {
            let mut first = self.new_user(None, email, name.unwrap_or_default(), UserRole::Operator)?;
            first.settings.password_hash = Some(hash);
            first.signed_in_at = Some(now);
            let opening = self.opening(&first.id, client)?;
            let write = UserWrite {
                used_link: Some(&link.hash),
                new_session: Some(&opening.record),
                ..UserWrite::default()
            };
            match self.store.add_first_user(&first, write).await {
                Ok(()) => return Ok(opening.opened(first)?),
                Err(ControlStoreError::Stale) => return Err(AcceptRefusal::Link),
                Err(error) => return Err(UsersError::from(error).into()),
            }
        };
        let opening = self.opening(&user.id, client)?;
        let write = UserWrite {
            used_link: Some(&link.hash),
            sessions: SessionsAfter::Only(None),
            new_session: Some(&opening.record),
            ..UserWrite::default()
        };
        let record = self.update(&user.id, write, |record| {
            if record.settings.disabled {
                return Err(AcceptRefusal::Link);
            }
            pass_code(record, given.code, now)?;
            record.settings.password_hash = Some(hash.clone());
            if let Some(name) = &name {
                record.settings.name.clone_from(name);
            }
            record.signed_in_at = Some(now);
            Ok(())
        });
        let record = record.await?;
        Ok(opening.opened(record)?)
    }

    async fn find_link(
        &self,
        token: &str,
    ) -> Result<Option<(UserLinkRecord, Option<UserRecord>)>, UsersError> {
        let Some(hash) = token::hash(token) else { return Ok(None) };
        let Some(link) = self.store.user_link(&hash).await? else { return Ok(None) };
        if link.expires_at <= self.clock.now() {
            return Ok(None);
        }
        if link.user.is_empty() {
            let is_open = !self.store.has_users().await?;
            return Ok(is_open.then_some((link, None)));
        }
        let user = self.store.user(&link.user).await?.filter(|user| !user.settings.disabled);
        Ok(user.map(|user| (link, Some(user))))
    }

    pub(super) fn new_user(
        &self,
        tenant: Option<&str>,
        email: String,
        name: String,
        role: UserRole,
    ) -> Result<UserRecord, UsersError> {
        Ok(UserRecord {
            id: self.new_id()?,
            email,
            tenant: tenant.map(str::to_owned),
            role: role.name().to_owned(),
            subject: None,
            settings: UserSettings { name, ..UserSettings::default() },
            created_at: self.clock.now(),
            signed_in_at: None,
            revision: 0,
        })
    }

    fn new_link(
        &self,
        user: &str,
        kind: LinkKind,
        time: Duration,
    ) -> Result<(Link, UserLinkRecord), UsersError> {
        let token = token::new().map_err(UsersError::broken)?;
        let expires_at = self.clock.now().saturating_add(millis(time));
        let hash = token::hash(&token).ok_or(UsersError::Unavailable)?;
        let (user, kind) = (user.to_owned(), kind.name().to_owned());
        Ok((Link { token, expires_at }, UserLinkRecord { user, kind, hash, expires_at }))
    }
}

fn kind(link: &UserLinkRecord) -> LinkKind {
    match (link.user.is_empty(), link.kind == LinkKind::Reset.name()) {
        (true, _) => LinkKind::First,
        (false, true) => LinkKind::Reset,
        (false, false) => LinkKind::Invite,
    }
}
