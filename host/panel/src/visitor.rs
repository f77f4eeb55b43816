//! Who looks at a page.

use std::fmt;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserRole {
    /// Reads.
    Viewer,
    /// Sends, and writes templates and lists.
    Marketer,
    /// Everything of a tenant but its users.
    Developer,
    /// Everything of a tenant.
    Owner,
    /// Everything of every tenant, and the relay.
    Operator,
}

impl UserRole {
    /// Its name in the API and the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Marketer => "marketer",
            Self::Developer => "developer",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who looks at a page.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// For people.
    pub name: String,
    /// The address that they sign in with.
    pub email: String,
    /// The tenant that they belong to. None: an operator.
    pub tenant: Option<String>,
    /// What they may do.
    pub role: UserRole,
    /// The tag of the language that they chose. None: what the browser asks for.
    pub language: Option<String>,
    /// Forms of this session carry it.
    pub csrf: String,
    /// There is no session to end: `relevo dev`.
    pub is_open: bool,
}

impl Visitor {
    /// For the audit log.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("user {}", self.email)
    }

    /// Returns true if they may see pages of this tenant.
    #[must_use]
    pub fn may_enter(&self, tenant: &str) -> bool {
        self.role == UserRole::Operator || self.tenant.as_deref() == Some(tenant)
    }

    /// Returns true if they may look at operators' pages.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.role == UserRole::Operator
    }
}
