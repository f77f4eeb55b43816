//! What users may do.

use std::fmt;
use std::str::FromStr;

use crate::directory::{Scope, Scopes};

/// The role of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserRole {
    /// Everything of a tenant, users included.
    Owner,
    /// Everything of a tenant but its users.
    Developer,
    /// Sends, templates and suppressions of a tenant.
    Marketer,
    /// Reads what a tenant has.
    Viewer,
    /// Above all tenants; belongs to none.
    Operator,
}

impl UserRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Developer, Self::Marketer, Self::Viewer, Self::Operator];

    /// Its name in requests, configuration and store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Developer => "developer",
            Self::Marketer => "marketer",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The scopes of a session. `relay`, which is for machines, follows from `admin` alone.
    #[must_use]
    pub fn scopes(self) -> Scopes {
        use Scope::{Admin, Read, Send, Settings, Suppressions, Templates, Users, Webhooks};
        let scopes: &[Scope] = match self {
            Self::Owner | Self::Operator => {
                &[Admin, Users, Settings, Send, Read, Templates, Suppressions, Webhooks]
            }
            Self::Developer => &[Settings, Send, Read, Templates, Suppressions, Webhooks],
            Self::Marketer => &[Send, Read, Templates, Suppressions],
            Self::Viewer => &[Read],
        };
        scopes.iter().copied().collect()
    }

    /// Returns true if a user of this role belongs to a tenant.
    #[must_use]
    pub fn is_of_tenant(self) -> bool {
        self != Self::Operator
    }
}

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for UserRole {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("unknown role, known are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_next_may() {
        let [owner, developer, marketer, viewer, operator] = UserRole::ALL.map(UserRole::scopes);
        assert_eq!(owner, operator);
        assert!(owner.allow(Scope::Users) && owner.cover(developer) && !developer.cover(owner));
        assert!(developer.cover(marketer) && marketer.cover(viewer) && !viewer.cover(marketer));
        assert!(developer.allow(Scope::Settings) && developer.allow(Scope::Webhooks));
        assert!(!developer.allow(Scope::Users) && !developer.allow(Scope::Admin));
        assert_eq!(viewer.names(), ["read"]);
        for role in UserRole::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("Owner".parse::<UserRole>().expect_err("unknown").contains("owner, developer"));
    }
}
