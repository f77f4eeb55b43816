//! What a sender asks of the way that a message takes: the parameters of MAIL that are handed on to
//! the next hop.

use serde::{Deserialize, Serialize};

use crate::dsn::MessageDsn;
use crate::envelope::{Parameter, value};
use crate::urgency::{DeliverBy, MtPriority};

/// The parameters of MAIL that are handed on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MailOptions {
    /// RET and ENVID (RFC 3461).
    #[serde(default, skip_serializing_if = "MessageDsn::is_empty")]
    pub dsn: MessageDsn,
    /// REQUIRETLS (RFC 8689): only over verified TLS, to hosts that promise the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_tls: bool,
    /// BY (RFC 2852), from when the message was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_by: Option<DeliverBy>,
    /// MT-PRIORITY (RFC 6710).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<MtPriority>,
}

impl MailOptions {
    /// Those among the parameters of MAIL. A value that is malformed counts as absent.
    #[must_use]
    pub fn of_parameters(parameters: &[Parameter]) -> Self {
        Self {
            dsn: MessageDsn::of_parameters(parameters),
            require_tls: value(parameters, "REQUIRETLS").is_some(),
            deliver_by: value(parameters, "BY").and_then(DeliverBy::parse),
            priority: value(parameters, "MT-PRIORITY").and_then(MtPriority::parse),
        }
    }

    /// Returns true if nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_kept() {
        let parameter =
            |keyword: &str, value: &str| Parameter { keyword: keyword.into(), value: value.into() };
        let all = [
            parameter("REQUIRETLS", ""),
            parameter("BY", "60;R"),
            parameter("MT-PRIORITY", "4"),
            parameter("RET", "FULL"),
        ];
        let options = MailOptions::of_parameters(&all);
        assert!(options.require_tls && !options.is_empty());
        assert_eq!((options.deliver_by, options.priority), (DeliverBy::parse("60;R"), MtPriority::new(4)));
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<MailOptions>(&json).unwrap(), options);
        assert_eq!(serde_json::to_string(&MailOptions::of_parameters(&[])).unwrap(), "{}");
    }
}
