//! Words of a fixed set, and the settings of plugins.

use relevo_mailkit::model::Algorithm;
use relevo_relay::directory::Scope;
use relevo_relay::reputation::OnFail;
use relevo_relay::settings::{FailurePolicy, FeedbackId, OrdinaryMail, SpfFail};
use relevo_relay::suppressions::ComplaintScope;
use relevo_relay::users::UserRole;
use relevo_resolve::IpFamily;
use relevo_runtime::policy::{Capability, Class};
use relevo_smtp::client::TlsPolicy;
use relevo_smtp::server::BareNewlines;
use relevo_store::StoreUrl;
use relevo_tls::decision::Wanted;

use super::super::values::{Format, Raw};
use super::{one_of, text};

/// Settings of a plugin as texts, one for each element of a list.
pub(crate) enum Texts {}

impl Format for Texts {
    type Value = Vec<String>;
    fn read(raw: Raw) -> Result<Vec<String>, String> {
        let elements = match raw {
            Raw::List(elements) => elements,
            single => vec![single],
        };
        let text = |raw| match raw {
            Raw::Text(text) => Some(text),
            Raw::Boolean(b) => Some(b.to_string()),
            Raw::Integer(i) => Some(i.to_string()),
            Raw::Float(f) => Some(f.to_string()),
            Raw::List(_) | Raw::Other(_) => None,
        };
        let texts: Option<Vec<String>> = elements.into_iter().map(text).collect();
        texts.ok_or_else(|| "must be a string, a number, true or false, or a list of these".to_owned())
    }
}

impl Format for IpFamily {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("any", Self::Any), ("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6)])
    }
}

impl Format for ComplaintScope {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("all", Self::All), ("stream", Self::Stream)])
    }
}

impl Format for StoreUrl {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        text(raw)?.parse()
    }
}

impl Format for BareNewlines {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("refuse", Self::Refuse), ("normalize", Self::Normalize)])
    }
}

impl Format for OrdinaryMail {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("drop", Self::Drop), ("forward", Self::Forward)])
    }
}

impl Format for SpfFail {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("record", Self::Record), ("reject", Self::Reject)])
    }
}

impl Format for FeedbackId {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("off", Self::Off), ("marketing", Self::Marketing), ("all", Self::All)])
    }
}

impl Format for TlsPolicy {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let words = [
            ("none", Self::None),
            ("opportunistic", Self::Opportunistic),
            ("required", Self::Required),
            ("verified", Self::Verified),
            ("implicit", Self::Implicit),
        ];
        one_of(raw, &words)
    }
}

impl Format for Wanted {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let words = [
            ("opportunistic", Self::Opportunistic),
            ("required", Self::Required),
            ("verified", Self::Verified),
            ("dane", Self::Dane),
        ];
        one_of(raw, &words)
    }
}

impl Format for Algorithm {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[Self::RsaSha256, Self::Ed25519Sha256].map(|a| (a.as_str(), a)))
    }
}

impl Format for Scope {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &Self::ALL.map(|scope| (scope.name(), scope)))
    }
}

impl Format for UserRole {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &Self::ALL.map(|role| (role.name(), role)))
    }
}

impl Format for Class {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("small", Self::Small), ("large", Self::Large)])
    }
}

impl Format for FailurePolicy {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let words = [("tempfail", Self::Tempfail), ("accept", Self::Accept), ("reject", Self::Reject)];
        one_of(raw, &words)
    }
}

impl Format for OnFail {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[Self::Warn, Self::SlowDown, Self::Stop].map(|on_fail| (on_fail.name(), on_fail)))
    }
}

impl Format for Capability {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &Self::ALL.map(|c| (c.name(), c)))
    }
}
