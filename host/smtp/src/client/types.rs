//! Facts about a delivery attempt. Retry and bounces read these; nobody parses text.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::tlsa::TlsaRecord;

pub use relevo_proto::client::{
    DialogueStep, Envelope, EnvelopeRecipient, Failure, RecipientOutcome, RemoteReply, TlsFailure,
    TransactionResult,
};

/// When and how to use TLS: the modes of a [`TlsRequirement`], and what a configuration may ask
/// for. A greater one is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsPolicy {
    /// Never.
    None,
    /// STARTTLS when offered, any certificate; where TLS does not come about, mail may go in clear.
    Opportunistic,
    /// STARTTLS or nothing; any certificate.
    Required,
    /// STARTTLS or nothing; the certificate must be valid for one of the names.
    Verified,
    /// TLS from the first octet; the certificate must be valid for one of the names.
    Implicit,
}

/// What TLS the mail of a recipient domain needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsRequirement {
    /// How much is needed.
    pub mode: TlsPolicy,
    /// The names that a certificate may be for, where it is checked; empty: the name of the host.
    pub names: Vec<String>,
    /// TLSA records that were found under DNSSEC: if there are any, a certificate that is checked
    /// must match one of them, and public authorities mean nothing. See [`Self::by_tlsa`].
    pub tlsa: Vec<TlsaRecord>,
    /// The name for SNI; none: the name of the host. With TLSA records it is the TLSA base domain.
    pub server_name: Option<String>,
    /// Why this much.
    pub reason: TlsReason,
}

/// Why a recipient domain has its [`TlsRequirement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsReason {
    /// Mail by MX: whatever the host offers (RFC 7435).
    ByMx,
    /// The configuration of the smarthost.
    Configured,
    /// The sender of the message.
    Demanded,
    /// The operator, for this recipient domain.
    Operator,
    /// The MTA-STS policy of the recipient domain (RFC 8461).
    MtaSts,
    /// TLSA records of the host (RFC 7672).
    Dane,
    /// TLSA records of the host of which none is usable: TLS without authentication.
    DaneUnusable,
    /// TLS with this address failed a short time ago, and is not needed.
    FailedBefore,
}

impl TlsReason {
    /// The policy that a host was refused for before it was connected to.
    #[must_use]
    pub fn behind(refused: TlsFailure) -> Option<Self> {
        match refused {
            TlsFailure::NotInPolicy => Some(Self::MtaSts),
            TlsFailure::Unproved => Some(Self::Dane),
            TlsFailure::NoTlsa => Some(Self::Operator),
            _ => None,
        }
    }

    /// The name in events; none where nothing needs TLS.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::ByMx | Self::FailedBefore => None,
            Self::Configured => Some("smarthost"),
            Self::Demanded => Some("sender"),
            Self::Operator => Some("operator"),
            Self::MtaSts => Some("mta-sts"),
            Self::Dane | Self::DaneUnusable => Some("dane"),
        }
    }

    /// In words, for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ByMx => "no policy: TLS if the host offers it",
            Self::Configured => "the configuration of the smarthost",
            Self::Demanded => "the sender demands a verified certificate",
            Self::Operator => "[delivery] tls",
            Self::MtaSts => "the MTA-STS policy of the domain",
            Self::Dane => "TLSA records (DANE)",
            Self::DaneUnusable => "TLSA records of which none is usable (DANE)",
            Self::FailedBefore => "TLS with this address failed a short time ago",
        }
    }
}

impl TlsRequirement {
    /// Of this mode; a certificate that is checked must be for the name of the host.
    #[must_use]
    pub fn new(mode: TlsPolicy, reason: TlsReason) -> Self {
        Self { mode, names: Vec::new(), tlsa: Vec::new(), server_name: None, reason }
    }

    /// By the TLSA records of the host that were found under DNSSEC; there is at least one. If one is
    /// usable, a certificate must match. If none is, TLS is needed and any certificate will do (RFC
    /// 7672 section 2.2).
    #[must_use]
    pub fn by_tlsa(names: Vec<String>, mut records: Vec<TlsaRecord>, reason: TlsReason) -> Self {
        records.retain(TlsaRecord::is_usable);
        // The DNS returns them in any order.
        records.sort_unstable();
        let mode = if records.is_empty() { TlsPolicy::Required } else { TlsPolicy::Verified };
        Self { mode, names, tlsa: records, server_name: None, reason }
    }

    /// Returns true if mail may go in clear after `failure`. The one place that decides it. A host
    /// that offers no TLS may be used even with credentials, because these are only sent to
    /// loopback then.
    #[must_use]
    pub fn allows_clear_after(&self, failure: TlsFailure, has_credentials: bool) -> bool {
        self.mode == TlsPolicy::Opportunistic && (failure == TlsFailure::NotOffered || !has_credentials)
    }

    /// Returns true if a connection that was opened under `opened` and has `state` may carry mail
    /// that needs `self`.
    #[must_use]
    pub fn is_met_by(&self, opened: &Self, state: &TlsState) -> bool {
        match self.mode {
            TlsPolicy::None | TlsPolicy::Opportunistic => true,
            TlsPolicy::Required => state.cipher.is_some(),
            TlsPolicy::Verified | TlsPolicy::Implicit => {
                state.verified && opened.names == self.names && opened.tlsa == self.tlsa
            }
        }
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The MX or smarthost name, for SNI, certificate and logs.
    pub host: String,
    /// Address and port.
    pub addr: SocketAddr,
    /// Source address; none: the system's choice.
    pub source: Option<IpAddr>,
    /// What TLS is needed.
    pub tls: TlsRequirement,
}

/// Credentials for a smarthost. Sent only under a verified certificate or to loopback.
#[derive(Clone)]
pub struct Auth {
    /// User name.
    pub username: String,
    /// What proves it.
    pub secret: AuthSecret,
}

/// What proves who we are to a smarthost.
#[derive(Clone)]
pub enum AuthSecret {
    /// A password: by SCRAM-SHA-256 where it is offered, which does not send it; else by PLAIN or
    /// LOGIN.
    Password(String),
    /// A token of OAuth 2.0, by OAUTHBEARER or XOAUTH2. It lives for minutes, so it is asked for at
    /// each login.
    Token(Arc<dyn TokenSource>),
}

/// Where the token of the moment comes from.
pub trait TokenSource: Send + Sync {
    /// The token. Called once for each login, on a thread that may block.
    ///
    /// # Errors
    /// There is none. The text names the thing and goes into the failure of the attempt.
    fn token(&self) -> Result<String, String>;
}

impl Auth {
    /// By a password.
    #[must_use]
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), secret: AuthSecret::Password(password.into()) }
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What all connections of a relay share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Argument of EHLO.
    pub ehlo: String,
    /// Time to connect one address.
    pub connect_timeout: Duration,
    /// Greeting, EHLO, MAIL, RCPT: 5 minutes (RFC 5321 section 4.5.3.2).
    pub command_timeout: Duration,
    /// DATA initiation: 2 minutes.
    pub data_timeout: Duration,
    /// Each block of content: 3 minutes.
    pub block_timeout: Duration,
    /// After the final dot: 10 minutes.
    pub final_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            ehlo: String::new(),
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(120),
            block_timeout: Duration::from_secs(180),
            final_timeout: Duration::from_secs(600),
        }
    }
}

/// TLS of the connection, for logs and events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsState {
    /// Protocol version and cipher suite; none: in clear.
    pub cipher: Option<String>,
    /// The certificate was valid for the name.
    pub verified: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [TlsPolicy; 5] = [
        TlsPolicy::None,
        TlsPolicy::Opportunistic,
        TlsPolicy::Required,
        TlsPolicy::Verified,
        TlsPolicy::Implicit,
    ];

    fn of(mode: TlsPolicy) -> TlsRequirement {
        TlsRequirement::new(mode, TlsReason::Configured)
    }

    #[test]
    fn only_opportunistic_mail_goes_in_clear() {
        for mode in MODES {
            let opportunistic = mode == TlsPolicy::Opportunistic;
            for failure in [TlsFailure::TimedOut, TlsFailure::Handshake, TlsFailure::Refused] {
                assert_eq!(of(mode).allows_clear_after(failure, false), opportunistic, "{mode:?}");
                assert!(!of(mode).allows_clear_after(failure, true), "{mode:?} with credentials");
            }
            assert_eq!(of(mode).allows_clear_after(TlsFailure::NotOffered, true), opportunistic, "{mode:?}");
        }
    }

    #[test]
    fn a_connection_carries_only_mail_whose_need_it_meets() {
        let opened = of(TlsPolicy::Opportunistic);
        let clear = TlsState::default();
        let any = TlsState { cipher: Some("TLSv1.3".to_owned()), verified: false };
        let verified = TlsState { verified: true, ..any.clone() };
        let met = |state| MODES.map(|mode| of(mode).is_met_by(&opened, state));
        assert_eq!(met(&clear), [true, true, false, false, false]);
        assert_eq!(met(&any), [true, true, true, false, false]);
        assert_eq!(met(&verified), [true; 5]);
        let other = TlsRequirement { names: vec!["mx.b.example".to_owned()], ..of(TlsPolicy::Verified) };
        assert!(!other.is_met_by(&opened, &verified), "the certificate was checked for other names");
        let record = TlsaRecord { usage: 3, selector: 1, matching_type: 1, data: vec![0; 32] };
        let dane = TlsRequirement { tlsa: vec![record], ..of(TlsPolicy::Verified) };
        assert!(!dane.is_met_by(&opened, &verified), "the certificate was checked otherwise");
        assert!(dane.is_met_by(&dane, &verified));
    }

    #[test]
    fn unusable_tlsa_records_need_tls_and_order_means_nothing() {
        let record = |usage, selector, matching_type, octets| TlsaRecord {
            usage,
            selector,
            matching_type,
            data: vec![0; octets],
        };
        let by_tlsa = |records| TlsRequirement::by_tlsa(Vec::new(), records, TlsReason::ByMx);
        let unusable = [(1, 1, 1, 32), (3, 2, 1, 32), (3, 1, 3, 32), (3, 1, 1, 31), (2, 0, 0, 0)];
        let unusable = unusable.map(|(usage, selector, kind, octets)| record(usage, selector, kind, octets));
        let required = by_tlsa(unusable.to_vec());
        assert_eq!((required.mode, required.tlsa.len()), (TlsPolicy::Required, 0));

        let [one, two] = [record(3, 1, 1, 32), record(2, 0, 2, 64)];
        let there = by_tlsa(vec![one.clone(), unusable[0].clone(), two.clone()]);
        assert_eq!((there.mode, there.tlsa.len()), (TlsPolicy::Verified, 2));
        assert_eq!(there, by_tlsa(vec![two, one]));
    }
}
