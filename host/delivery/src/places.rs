//! Where the mail of a queue key goes, for operators.

use relevo_queue::QueueKey;

use super::DeliveryHandle;
use super::shaper::Admission;

/// Where the mail of a queue key goes, as far as it was looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPlace {
    /// The MX hosts, with the pool. None: they were not looked up of late.
    pub site: Option<String>,
    /// The provider that they belong to.
    pub provider: Option<String>,
    /// Why nothing more is begun now, in words. None: nothing is in the way.
    pub hold: Option<String>,
}

impl DeliveryHandle {
    /// Where the mail of each key goes; from memory, in the order of the keys.
    #[must_use]
    pub fn places<'a>(&self, keys: impl IntoIterator<Item = &'a QueueKey>) -> Vec<KeyPlace> {
        let steady = self.shared.steady();
        let table = self.shared.table();
        let place = |key: &QueueKey| {
            if let Some((failure, _)) = table.broken(key) {
                let hold = format!("there is no way to {}: {}", key.domain, failure.detail);
                return KeyPlace { hold: Some(hold), ..KeyPlace::default() };
            }
            let Some((id, site)) = table.site_of(key) else { return KeyPlace::default() };
            KeyPlace {
                site: Some(id.to_string()),
                provider: Some(site.path.shaping.provider.name.clone()),
                hold: match table.admission(site, steady) {
                    Admission::Wait(hold) => Some(hold.to_string()),
                    Admission::Go => None,
                },
            }
        };
        keys.into_iter().map(place).collect()
    }

    /// As [`Self::reset_backoff`], for all mail to a domain.
    pub fn reset_backoff_of_domain(&self, domain: &str) {
        let mut table = self.shared.table();
        for key in table.keys_of_domain(domain) {
            table.reset_backoff(&key);
        }
    }
}
