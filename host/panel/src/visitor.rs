//! Who looks at a page.

pub use relevo_relay::users::UserRole;

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

    /// Returns true if they may do all that this role may.
    #[must_use]
    pub fn is_at_least(&self, role: UserRole) -> bool {
        match role {
            UserRole::Operator => self.is_operator(),
            role => self.role.scopes().cover(role.scopes()),
        }
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
