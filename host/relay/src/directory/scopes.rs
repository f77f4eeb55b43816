//! What an API key may do.

use std::fmt;
use std::str::FromStr;

/// A group of requests that a key may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Send mail, change and cancel what is scheduled.
    Send,
    /// Hand over finished messages, as the edge gateway does.
    Relay,
    /// Read messages, events, statistics, quotas and lists.
    Read,
    /// Change and render templates.
    Templates,
    /// Change suppressions and recipients' choices.
    Suppressions,
    /// Read and change webhooks, whose secrets are shown.
    Webhooks,
    /// Keys, domains and the audit log.
    Settings,
    /// People who sign in to the panel.
    Users,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 9] = [
        Self::Send,
        Self::Relay,
        Self::Read,
        Self::Templates,
        Self::Suppressions,
        Self::Webhooks,
        Self::Settings,
        Self::Users,
        Self::Admin,
    ];

    /// Its name in requests, configuration and store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Relay => "relay",
            Self::Read => "read",
            Self::Templates => "templates",
            Self::Suppressions => "suppressions",
            Self::Webhooks => "webhooks",
            Self::Settings => "settings",
            Self::Users => "users",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scope| scope.name() == name);
        found.ok_or_else(|| format!("unknown scope, known are {}", known()))
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Returns true if the key may send requests of this scope.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// Returns true if these scopes allow all that the others allow.
    #[must_use]
    pub fn cover(self, others: Self) -> bool {
        Scope::ALL.into_iter().all(|scope| !others.allow(scope) || self.allow(scope))
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the scopes that were given.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0).map(Scope::name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_itself_and_admin_allows_all() {
        for given in Scope::ALL {
            let scopes: Scopes = [given].into_iter().collect();
            assert_eq!(scopes.names(), [given.name()]);
            assert_eq!(given.name().parse(), Ok(given));
            for wanted in Scope::ALL {
                let expected = given == wanted || given == Scope::Admin;
                assert_eq!(scopes.allow(wanted), expected, "{given} {wanted}");
            }
        }
        assert!(Scope::ALL.into_iter().all(|scope| !Scopes::default().allow(scope)));
        assert_eq!(Scopes::all().names().len(), 9);
        let (send, admin): (Scopes, Scopes) = ([Scope::Send].into_iter().collect(), Scopes::all());
        assert!(admin.cover(send) && send.cover(send) && send.cover(Scopes::default()));
        assert!(!send.cover(admin) && ![Scope::Users].into_iter().collect::<Scopes>().cover(send));
        assert!("Send".parse::<Scope>().unwrap_err().contains("send, relay, read"));
    }
}
