//! Settings from environment variables: the only configuration that every WASI host has.

use sha2::{Digest, Sha256};

/// What the gateway needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `RELEVO_RELAY_URL`: the core's API, without a slash at the end.
    pub relay_url: String,
    /// `RELEVO_RELAY_TOKEN`: a key of the core with the scope `relay`.
    pub relay_token: String,
    /// `RELEVO_API_KEYS`: SHA-256 of the keys that callers show.
    pub api_keys: Vec<[u8; 32]>,
}

/// A variable that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} {reason}")]
pub struct ConfigError {
    /// Its name.
    pub variable: &'static str,
    /// The mistake and its remedy.
    pub reason: String,
}

impl Config {
    /// Reads the settings from `variable`, which returns the value of an environment variable.
    ///
    /// # Errors
    /// The first variable that is missing or wrong. No value is in the error.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let needed = |name: &'static str, what: &str| {
            let value = variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            value.ok_or_else(|| ConfigError { variable: name, reason: format!("is not set: {what}") })
        };
        let relay_url = needed("RELEVO_RELAY_URL", "the URL of the core's API")?;
        let is_http = relay_url.starts_with("https://") || relay_url.starts_with("http://");
        if !is_http || relay_url.contains(['?', '#', ' ']) {
            let reason = "is not an http or https URL without query".to_owned();
            return Err(ConfigError { variable: "RELEVO_RELAY_URL", reason });
        }
        let relay_token = needed("RELEVO_RELAY_TOKEN", "an API key of the core with the scope `relay`")?;
        let listed = needed("RELEVO_API_KEYS", "`sha256:HEX` of each key of your callers, by commas")?;
        let api_keys = listed.split([',', ' ']).filter(|entry| !entry.is_empty()).map(hash);
        Ok(Self {
            relay_url: relay_url.trim_end_matches('/').to_owned(),
            relay_token,
            api_keys: api_keys.collect::<Result<_, _>>()?,
        })
    }

    /// Returns true if `authorization` is `Bearer` and a key of ours. What is compared is the hash of
    /// what the caller sent: how long that takes says nothing about a key.
    #[must_use]
    pub fn allows(&self, authorization: &[u8]) -> bool {
        let Some((scheme, key)) = authorization.split_at_checked(7) else { return false };
        let hash: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"bearer ") && self.api_keys.contains(&hash)
    }
}

fn hash(entry: &str) -> Result<[u8; 32], ConfigError> {
    entry.strip_prefix("sha256:").and_then(relevo_mailkit::hex::decode_array).ok_or_else(|| ConfigError {
        variable: "RELEVO_API_KEYS",
        reason: "has an entry that is not `sha256:` and 64 hexadecimal digits".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
        let hash = format!("sha256:{}", relevo_mailkit::hex::encode(&Sha256::digest("rv_one")));
        Config::read(|name| {
            if let Some((_, value)) = changed.iter().find(|(changed, _)| *changed == name) {
                return value.map(str::to_owned);
            }
            Some(match name {
                "RELEVO_RELAY_URL" => "https://core.example.com/".to_owned(),
                "RELEVO_RELAY_TOKEN" => "rv_token".to_owned(),
                "RELEVO_API_KEYS" => format!("{hash}, sha256:{}", "00".repeat(32)),
                _ => return None,
            })
        })
    }

    #[test]
    fn callers_are_known_by_the_hashes_of_their_keys() {
        let config = read(&[]).expect("it is valid");
        assert_eq!((config.relay_url.as_str(), config.api_keys.len()), ("https://core.example.com", 2));
        assert!(config.allows(b"Bearer rv_one") && config.allows(b"bearer  rv_one "));
        for wrong in ["Bearer rv_two", "Basic rv_one", "rv_one", "", "Bearer ", "Bearér rv_one"] {
            assert!(!config.allows(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_names_its_variable() {
        for (variable, value) in [
            ("RELEVO_RELAY_URL", None),
            ("RELEVO_RELAY_URL", Some("core.example.com")),
            ("RELEVO_RELAY_URL", Some("https://core.example.com/?a")),
            ("RELEVO_RELAY_TOKEN", Some(" ")),
            ("RELEVO_API_KEYS", Some("rv_one")),
            ("RELEVO_API_KEYS", Some("sha256:00")),
        ] {
            let error = read(&[(variable, value)]).expect_err("it is wrong");
            assert_eq!(error.variable, variable, "{value:?}");
        }
    }
}
