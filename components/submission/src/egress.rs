//! How a message leaves: pool, route and priority, by its attributes and the grants of its sending domain.

/// A priority among the mail of one tenant. 0 is the usual one; higher goes first.
pub type Priority = i8;

/// The highest priority; its negative is the lowest.
pub const MAX_PRIORITY: Priority = 9;

/// The attribute that names a pool; one of three with an effect (`wit/relevo-policy-0.1.0/types.wit`,
/// `decision`).
pub const POOL: &str = "pool";
/// The attribute that names a route.
pub const ROUTE: &str = "route";
/// The attribute that holds a priority.
pub const PRIORITY: &str = "priority";

/// The effects that attributes of a message may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressGrants {
    /// Names of pools. The first is for mail that names none.
    pub pools: Vec<String>,
    /// Names of routes. Mail that names none goes as `[delivery]` says.
    pub routes: Vec<String>,
    /// The highest priority; its negative is the lowest.
    pub max_priority: Priority,
}

impl EgressGrants {
    /// Returns true if a message may have this attribute: one without an effect always, `pool`, `route`
    /// and `priority` as granted.
    #[must_use]
    pub fn allow(&self, name: &str, value: &str) -> bool {
        match name {
            POOL => self.pools.iter().any(|pool| pool == value),
            ROUTE => self.routes.iter().any(|route| route == value),
            PRIORITY => priority(value).is_some_and(|p| p.unsigned_abs() <= self.max_priority.unsigned_abs()),
            _ => true,
        }
    }
}

/// A decimal number that is a priority.
#[must_use]
pub fn priority(value: &str) -> Option<Priority> {
    value.parse().ok().filter(|p| (-MAX_PRIORITY..=MAX_PRIORITY).contains(p))
}

/// The egress of a message, fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressChoice {
    /// The pool of source addresses; empty: none is chosen.
    pub pool: String,
    /// The route to the next hop; empty: none is chosen.
    pub route: String,
    /// The priority among the mail of the tenant.
    pub priority: Priority,
}

impl EgressChoice {
    /// Chooses by the attributes, as far as they are granted. Of each name the last granted one counts.
    #[must_use]
    pub fn new(grants: &EgressGrants, attributes: &[(String, String)]) -> Self {
        let last = |wanted: &str| {
            let granted = |(name, value): &&(String, String)| name == wanted && grants.allow(name, value);
            attributes.iter().rev().find(granted).map(|(_, value)| value.as_str())
        };
        Self {
            pool: last(POOL).or(grants.pools.first().map(String::as_str)).unwrap_or_default().to_owned(),
            route: last(ROUTE).unwrap_or_default().to_owned(),
            priority: last(PRIORITY).and_then(priority).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(grants: &EgressGrants, all: &[(&str, &str)]) -> EgressChoice {
        let all: Vec<_> = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        EgressChoice::new(grants, &all)
    }

    #[test]
    fn the_last_granted_choice_counts() {
        let grants = EgressGrants {
            pools: vec!["own".into(), "bulk".into()],
            routes: vec!["eu".into()],
            max_priority: 2,
        };
        let own = EgressChoice { pool: "own".into(), ..EgressChoice::default() };
        assert_eq!(choice(&grants, &[]), own);
        let chosen =
            choice(&grants, &[("pool", "own"), ("pool", "bulk"), ("route", "eu"), ("priority", "-2")]);
        assert_eq!(chosen, EgressChoice { pool: "bulk".into(), route: "eu".into(), priority: -2 });
        assert_eq!(choice(&grants, &[("pool", "of-others"), ("priority", "3")]), own);
        let all = [("pool", "own"), ("route", "eu"), ("priority", "1"), ("campaign", "x")];
        assert_eq!(choice(&EgressGrants::default(), &all), EgressChoice::default());
    }

    #[test]
    fn only_what_is_granted_has_an_effect() {
        let grants =
            EgressGrants { pools: vec!["a".into(), "b".into()], routes: vec!["r".into()], max_priority: 3 };
        let allowed = |name, value| grants.allow(name, value);
        assert!(allowed("pool", "b") && !allowed("pool", "r") && !allowed("pool", ""));
        assert!(allowed("route", "r") && !allowed("route", "a"));
        for (value, want) in [
            ("3", true),
            ("-3", true),
            ("0", true),
            ("4", false),
            ("-4", false),
            ("high", false),
            ("", false),
            ("-128", false),
        ] {
            assert_eq!(allowed("priority", value), want, "{value}");
        }
        assert!(allowed("campaign", "anything"));
        let none = EgressGrants::default();
        assert!(!none.allow("pool", "a") && !none.allow("priority", "1") && none.allow("priority", "0"));
    }
}
