//! Settings from environment variables: the only configuration that every WASI host has.

use relevo_mailkit::hex;
use relevo_mailkit::token::{TokenKey, TokenKeys};
use sha2::{Digest, Sha256};

/// Octets of the shortest tracking key.
const MIN_KEY: usize = 32;
/// Where Spin tells the address of a client.
const ADDRESS_FIELD: &str = "spin-client-addr";

/// Gives the value of an environment variable. Each route reads the variables that it needs: a gateway
/// that only redirects has no API keys.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The core relay.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    /// `RELEVO_RELAY_URL`: the core's API, without a slash at the end.
    pub url: String,
    /// `RELEVO_RELAY_TOKEN`: a key of the core with the scope `relay`.
    pub token: String,
}

/// `RELEVO_API_KEYS`: SHA-256 of the keys that callers show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys(Vec<[u8; 32]>);

/// What a tracking host needs. Redirects need nothing else.
#[derive(Debug, Clone)]
pub struct Tracking {
    /// `RELEVO_TRACKING_KEYS`: all verify, so that keys rotate without a gap.
    pub keys: TokenKeys,
    /// `RELEVO_TENANT`: the tenant whose tokens count. It is under their MAC.
    pub tenant: String,
    /// `RELEVO_CLIENT_ADDRESS_FIELD`: the field in which the platform tells the address of a client.
    pub address_field: String,
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

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Relay {
    /// Reads the two variables.
    ///
    /// # Errors
    /// The first that is missing or wrong. No value is in the error.
    pub fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let url = needed(variables, "RELEVO_RELAY_URL", "the URL of the core's API")?;
        let is_http = url.starts_with("https://") || url.starts_with("http://");
        if !is_http || url.contains(['?', '#', ' ']) {
            let reason = "is not an http or https URL without query".to_owned();
            return Err(ConfigError { variable: "RELEVO_RELAY_URL", reason });
        }
        let what = "an API key of the core with the scope `relay`";
        let token = needed(variables, "RELEVO_RELAY_TOKEN", what)?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token })
    }
}

impl ApiKeys {
    /// Reads the variable.
    ///
    /// # Errors
    /// It is missing, or an entry is not a hash. No value is in the error.
    pub fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let what = "`sha256:HEX` of each key of your callers, by commas";
        let listed = needed(variables, "RELEVO_API_KEYS", what)?;
        let entries = listed.split([',', ' ']).filter(|entry| !entry.is_empty());
        Ok(Self(entries.map(hash).collect::<Result<_, _>>()?))
    }

    /// Returns true if `authorization` is `Bearer` and a key of ours. What is compared is the hash of
    /// what the caller sent: how long that takes says nothing about a key.
    #[must_use]
    pub fn allows(&self, authorization: &[u8]) -> bool {
        let Some((scheme, key)) = authorization.split_at_checked(7) else { return false };
        let hash: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"bearer ") && self.0.contains(&hash)
    }
}

/// `RELEVO_TEMPLATE_TTL`: how long a stored template is used without asking the core again, in
/// milliseconds; the variable has seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateTtl(pub u64);

impl TemplateTtl {
    /// Reads the variable; without it 60 seconds.
    ///
    /// # Errors
    /// It is no number of seconds up to a day.
    pub fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        const DAY: u64 = 24 * 3600;
        let variable = "RELEVO_TEMPLATE_TTL";
        let Some(value) = variables(variable).filter(|value| !value.trim().is_empty()) else {
            return Ok(Self(60_000));
        };
        let seconds = value.trim().parse().ok().filter(|seconds| *seconds <= DAY);
        let reason = || format!("is not a number of seconds from 0 to {DAY}");
        let seconds: u64 = seconds.ok_or_else(|| ConfigError { variable, reason: reason() })?;
        Ok(Self(seconds * 1000))
    }
}

impl Tracking {
    /// Reads the three variables; the last has a default.
    ///
    /// # Errors
    /// The first that is missing or wrong. No value is in the error.
    pub fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let what = "`ID:HEX` of each key of `[tracking]` of the core, by commas";
        let listed = needed(variables, "RELEVO_TRACKING_KEYS", what)?;
        let entries = listed.split([',', ' ']).filter(|entry| !entry.is_empty());
        let keys = TokenKeys(entries.map(tracking_key).collect::<Result<_, _>>()?);
        let tenant = needed(variables, "RELEVO_TENANT", "the id of the tenant at the core")?;
        let field = variables("RELEVO_CLIENT_ADDRESS_FIELD").map(|name| name.trim().to_ascii_lowercase());
        let address_field = field.filter(|name| !name.is_empty()).unwrap_or_else(|| ADDRESS_FIELD.to_owned());
        Ok(Self { keys, tenant, address_field })
    }
}

fn tracking_key(entry: &str) -> Result<TokenKey, ConfigError> {
    let key = entry.split_once(':').and_then(|(id, secret)| {
        let is_id =
            (1..=16).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let secret = hex::decode(secret).filter(|secret| secret.len() >= MIN_KEY)?;
        is_id.then(|| TokenKey { id: id.to_owned(), secret })
    });
    key.ok_or_else(|| ConfigError {
        variable: "RELEVO_TRACKING_KEYS",
        reason: format!(
            "has an entry that is not an id, a colon and at least {MIN_KEY} octets in hexadecimal"
        ),
    })
}

/// The value of a variable that must be set; `what` says to what.
pub(crate) fn needed(
    variables: &Variables<'_>,
    variable: &'static str,
    what: &str,
) -> Result<String, ConfigError> {
    let value = variables(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    value.ok_or_else(|| ConfigError { variable, reason: format!("is not set: {what}") })
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

    fn read(changed: &[(&str, Option<&str>)]) -> Result<(Relay, ApiKeys), ConfigError> {
        let hash = format!("sha256:{}", relevo_mailkit::hex::encode(&Sha256::digest("rv_one")));
        let variables = |name: &str| {
            if let Some((_, value)) = changed.iter().find(|(changed, _)| *changed == name) {
                return value.map(str::to_owned);
            }
            Some(match name {
                "RELEVO_RELAY_URL" => "https://core.example.com/".to_owned(),
                "RELEVO_RELAY_TOKEN" => "rv_token".to_owned(),
                "RELEVO_API_KEYS" => format!("{hash}, sha256:{}", "00".repeat(32)),
                _ => return None,
            })
        };
        Ok((Relay::read(&variables)?, ApiKeys::read(&variables)?))
    }

    #[test]
    fn callers_are_known_by_the_hashes_of_their_keys() {
        let (relay, keys) = read(&[]).expect("it is valid");
        assert_eq!((relay.url.as_str(), keys.0.len()), ("https://core.example.com", 2));
        assert!(!format!("{relay:?}").contains("rv_token"));
        assert!(keys.allows(b"Bearer rv_one") && keys.allows(b"bearer  rv_one "));
        for wrong in ["Bearer rv_two", "Basic rv_one", "rv_one", "", "Bearer ", "Bear\u{e9}r rv_one"] {
            assert!(!keys.allows(wrong.as_bytes()), "{wrong}");
        }
    }

    fn tracking(keys: &str, tenant: &str, field: &str) -> Result<Tracking, ConfigError> {
        Tracking::read(&|name| match name {
            "RELEVO_TRACKING_KEYS" => Some(keys.to_owned()),
            "RELEVO_TENANT" => Some(tenant.to_owned()),
            "RELEVO_CLIENT_ADDRESS_FIELD" => Some(field.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn several_tracking_keys_are_read() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(40));
        let read = tracking(&format!("2026b:{one}, 2026a:{two}"), " acme ", "").expect("it is valid");
        let ids: Vec<_> = read.keys.0.iter().map(|key| (key.id.as_str(), key.secret.len())).collect();
        assert_eq!(
            (ids.as_slice(), read.tenant.as_str()),
            ([("2026b", 32), ("2026a", 40)].as_slice(), "acme")
        );
        assert_eq!(read.address_field, "spin-client-addr");
        assert!(!format!("{read:?}").contains("171"), "no secret is shown");
        let read = tracking(&format!("k:{one}"), "acme", " X-Forwarded-For ").expect("it is valid");
        assert_eq!(read.address_field, "x-forwarded-for");
        for (keys, tenant, variable) in [
            ("", "acme", "RELEVO_TRACKING_KEYS"),
            (one.as_str(), "acme", "RELEVO_TRACKING_KEYS"),
            ("k:abcd", "acme", "RELEVO_TRACKING_KEYS"),
            (&format!("k:{one}x"), "acme", "RELEVO_TRACKING_KEYS"),
            (&format!("k_1:{one}"), "acme", "RELEVO_TRACKING_KEYS"),
            (&format!("k:{one},l"), "acme", "RELEVO_TRACKING_KEYS"),
            (&format!("k:{one}"), " ", "RELEVO_TENANT"),
        ] {
            let error = tracking(keys, tenant, "").expect_err("it is wrong");
            assert_eq!(error.variable, variable);
            assert!(!error.to_string().contains(&one[..8]), "{error}");
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

    #[test]
    fn templates_have_a_time_to_live() {
        let ttl = |value: Option<&str>| TemplateTtl::read(&|_: &str| value.map(str::to_owned));
        for (value, milliseconds) in
            [(None, 60_000), (Some(" "), 60_000), (Some("0"), 0), (Some(" 86400 "), 86_400_000)]
        {
            assert_eq!(ttl(value), Ok(TemplateTtl(milliseconds)), "{value:?}");
        }
        for wrong in ["-1", "86401", "1m", "1.5"] {
            assert_eq!(ttl(Some(wrong)).expect_err(wrong).variable, "RELEVO_TEMPLATE_TTL");
        }
    }
}
