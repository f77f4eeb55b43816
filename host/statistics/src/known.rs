//! Values that have rows of their own. Each tenant has so many in an hour; all others are counted
//! under [`OTHER`].

use std::collections::{BTreeMap, HashMap, HashSet};

use relevo_store::Dimension;

/// Distinct values of a tenant in one hour.
pub(crate) fn max_values(dimension: Dimension) -> usize {
    match dimension {
        Dimension::Total => 1,
        Dimension::Template => 50,
        Dimension::Domain | Dimension::Tag | Dimension::Provider | Dimension::Link => 100,
    }
}

/// Hours that are remembered: events are written about when they happen.
const MAX_HOURS: usize = 4;
/// Tenants of all hours that are remembered.
const MAX_TENANTS: usize = 20_000;

type OfTenant = HashMap<Dimension, HashSet<String>>;

/// Values by hour and tenant, as the rows of the store have them.
#[derive(Debug, Default)]
pub(crate) struct KnownValues {
    hours: BTreeMap<i64, HashMap<String, OfTenant>>,
}

impl KnownValues {
    /// Returns true if the values of a tenant and hour are remembered.
    pub(crate) fn has(&self, tenant: &str, hour: i64) -> bool {
        self.hours.get(&hour).is_some_and(|tenants| tenants.contains_key(tenant))
    }

    /// Remembers the values that the store has.
    pub(crate) fn put(&mut self, tenant: &str, hour: i64, values: Vec<(Dimension, String)>) {
        let mut of_tenant = OfTenant::new();
        for (dimension, value) in values {
            of_tenant.entry(dimension).or_default().insert(value);
        }
        self.hours.entry(hour).or_default().insert(tenant.to_owned(), of_tenant);
    }

    /// Returns true if a value has or gets a row of its own.
    pub(crate) fn admit(&mut self, tenant: &str, hour: i64, dimension: Dimension, value: &str) -> bool {
        let tenants = self.hours.entry(hour).or_default();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.to_owned(), OfTenant::new());
        }
        let Some(of_tenant) = tenants.get_mut(tenant) else { return false };
        let values = of_tenant.entry(dimension).or_default();
        if values.contains(value) {
            return true;
        }
        let admitted = values.iter().filter(|value| *value != crate::OTHER).count() < max_values(dimension);
        if admitted {
            values.insert(value.to_owned());
        }
        admitted
    }

    /// Forgets the oldest hours where there are too many. Not to be called within a batch.
    pub(crate) fn shrink(&mut self) {
        let tenants = |hours: &BTreeMap<i64, HashMap<String, OfTenant>>| {
            hours.values().map(HashMap::len).sum::<usize>()
        };
        while self.hours.len() > MAX_HOURS || tenants(&self.hours) > MAX_TENANTS {
            if self.hours.pop_first().is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_of_an_hour_have_rows() {
        let mut known = KnownValues::default();
        known.put(
            "acme",
            1,
            vec![(Dimension::Template, "old".into()), (Dimension::Template, crate::OTHER.into())],
        );
        assert!(known.has("acme", 1) && !known.has("acme", 2) && !known.has("other", 1));
        for n in 1..max_values(Dimension::Template) {
            assert!(known.admit("acme", 1, Dimension::Template, &n.to_string()), "{n}");
        }
        assert!(!known.admit("acme", 1, Dimension::Template, "one more"));
        assert!(known.admit("acme", 1, Dimension::Template, "old"));
        assert!(known.admit("acme", 1, Dimension::Tag, "one more"), "another dimension");
        assert!(known.admit("acme", 2, Dimension::Template, "one more"), "another hour");
        assert!(known.admit("other", 1, Dimension::Template, "one more"), "another tenant");
    }

    #[test]
    fn the_oldest_hours_are_forgotten() {
        let mut known = KnownValues::default();
        for hour in 0..10 {
            known.put("acme", hour, Vec::new());
        }
        known.shrink();
        assert!(!known.has("acme", 5) && known.has("acme", 6) && known.has("acme", 9));
    }
}
