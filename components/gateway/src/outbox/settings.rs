//! Settings of store and forward.

use crate::config::{ConfigError, Variables};

const HOUR: u64 = 3_600_000;

/// Bounds of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSettings {
    /// `RELEVO_OUTBOX`: the label of the key-value store.
    pub store: String,
    /// `RELEVO_OUTBOX_HOURS`, in milliseconds: how long a request waits at most.
    pub lifetime: u64,
    /// `RELEVO_OUTBOX_ENTRIES`: requests in the store, waiting or dead.
    pub entries: usize,
    /// `RELEVO_OUTBOX_OCTETS`: octets of them.
    pub octets: usize,
}

impl Default for OutboxSettings {
    /// Three days, 200 requests, 64 MiB. Spin's own store promises room for 1,024 keys, and a request
    /// has up to four.
    fn default() -> Self {
        Self { store: "default".to_owned(), lifetime: 72 * HOUR, entries: 200, octets: 64 << 20 }
    }
}

impl OutboxSettings {
    /// Reads the variables; none if `RELEVO_OUTBOX` is not set: then nothing is stored.
    ///
    /// # Errors
    /// The first variable that is wrong.
    pub fn read(variables: &Variables<'_>) -> Result<Option<Self>, ConfigError> {
        let given = |name: &str| {
            variables(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let Some(store) = given("RELEVO_OUTBOX") else { return Ok(None) };
        let number = |variable: &'static str, most: u64, default: u64| match given(variable) {
            None => Ok(default),
            Some(value) => match value.parse::<u64>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ => Err(ConfigError { variable, reason: format!("is not a number from 1 to {most}") }),
            },
        };
        let default = Self::default();
        let hours = number("RELEVO_OUTBOX_HOURS", 30 * 24, default.lifetime / HOUR)?;
        let entries = number("RELEVO_OUTBOX_ENTRIES", 100_000, default.entries as u64)?;
        let octets = number("RELEVO_OUTBOX_OCTETS", 1 << 40, default.octets as u64)?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Some(Self { store, lifetime: hours * HOUR, entries: size(entries), octets: size(octets) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Option<OutboxSettings>, ConfigError> {
        OutboxSettings::read(&|name| {
            given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn it_is_off_unless_a_store_is_named() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("RELEVO_OUTBOX", " "), ("RELEVO_OUTBOX_HOURS", "x")]), Ok(None));
        assert_eq!(read(&[("RELEVO_OUTBOX", "default")]), Ok(Some(OutboxSettings::default())));
        let given = [("RELEVO_OUTBOX", "mail"), ("RELEVO_OUTBOX_HOURS", "2"), ("RELEVO_OUTBOX_ENTRIES", "3")];
        let settings = read(&given).expect("it is valid").expect("it is on");
        assert_eq!((settings.store.as_str(), settings.lifetime, settings.entries), ("mail", 7_200_000, 3));
    }

    #[test]
    fn a_mistake_names_its_variable() {
        for (variable, value) in [
            ("RELEVO_OUTBOX_HOURS", "0"),
            ("RELEVO_OUTBOX_HOURS", "721"),
            ("RELEVO_OUTBOX_ENTRIES", "many"),
            ("RELEVO_OUTBOX_OCTETS", "-1"),
        ] {
            let error = read(&[("RELEVO_OUTBOX", "default"), (variable, value)]).expect_err("it is wrong");
            assert_eq!(error.variable, variable);
        }
    }
}
