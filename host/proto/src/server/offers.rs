//! What EHLO announces beyond the extensions that are always there.

use super::xclient;

/// The extensions of a listener that are offered by its configuration. All are off by default: what
/// the product cannot carry out is not announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030 section 3). Without `chunking` it is not offered.
    pub binarymime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689). Announced under TLS only.
    pub requiretls: bool,
    /// LIMITS (RFC 9422): recipients of a transaction. Enforced.
    pub rcpt_max: Option<u32>,
    /// LIMITS (RFC 9422): transactions of a session. Enforced.
    pub mail_max: Option<u32>,
    /// FUTURERELEASE (RFC 4865). For submission only.
    pub future_release: Option<FutureRelease>,
    /// DELIVERBY (RFC 2852): the smallest time in seconds with mode R; 0: none is announced.
    pub deliver_by: Option<u32>,
    /// MT-PRIORITY (RFC 6710): the name of the priority assignment policy; empty: none is announced.
    pub mt_priority: Option<String>,
    /// XCLIENT. For trusted proxies only.
    pub xclient: bool,
    /// The mechanisms of AUTH, where the listener offers it.
    pub mechanisms: Mechanisms,
}

/// The mechanisms of AUTH. PLAIN and LOGIN unless set otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanisms {
    /// PLAIN (RFC 4616).
    pub plain: bool,
    /// LOGIN.
    pub login: bool,
    /// SCRAM-SHA-256 (RFC 7677), and under TLS 1.3 SCRAM-SHA-256-PLUS with `tls-exporter` (RFC 9266).
    pub scram_sha_256: bool,
    /// EXTERNAL (RFC 4422 appendix A), where the client has shown a certificate that was verified.
    pub external: bool,
    /// OAUTHBEARER (RFC 7628).
    pub oauthbearer: bool,
    /// XOAUTH2.
    pub xoauth2: bool,
    /// The scope that a token needs, told to clients whose token is refused (RFC 7628 section 3.2.2).
    pub oauth_scope: Option<String>,
    /// Where clients with a refused token find the issuer (RFC 7628 section 3.2.2).
    pub openid_configuration: Option<String>,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self {
            plain: true,
            login: true,
            scram_sha_256: false,
            external: false,
            oauthbearer: false,
            xoauth2: false,
            oauth_scope: None,
            openid_configuration: None,
        }
    }
}

/// How long a message may be held back (RFC 4865).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutureRelease {
    /// In seconds, up to nine digits.
    pub max_interval: u32,
    /// When the session began, in seconds since 1970. The latest date is announced by it.
    pub now: i64,
}

impl Offers {
    /// Returns true if `BODY=BINARYMIME` may be asked for.
    #[must_use]
    pub fn has_binarymime(&self) -> bool {
        // RFC 3030 section 3: only together with CHUNKING.
        self.chunking && self.binarymime
    }

    /// The lines of EHLO.
    pub(super) fn keywords(&self, is_tls: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut flag = |is_offered: bool, keyword: &str| {
            if is_offered {
                lines.push(keyword.to_owned());
            }
        };
        flag(self.chunking, "CHUNKING");
        flag(self.has_binarymime(), "BINARYMIME");
        flag(self.dsn, "DSN");
        flag(self.requiretls && is_tls, "REQUIRETLS");
        lines.extend(self.limits());
        lines.extend(self.future_release.as_ref().and_then(FutureRelease::keyword));
        lines.extend(self.deliver_by.map(|minimum| match minimum {
            0 => "DELIVERBY".to_owned(),
            _ => format!("DELIVERBY {minimum}"),
        }));
        lines.extend(self.xclient.then(|| xclient::KEYWORD.to_owned()));
        let priority = self.mt_priority.as_ref();
        lines.extend(priority.map(|policy| format!("MT-PRIORITY {policy}").trim_end().to_owned()));
        lines
    }

    /// RFC 9422.
    fn limits(&self) -> Option<String> {
        let limit = |name: &str, value: Option<u32>| value.map(|value| format!(" {name}={value}"));
        let limits: Vec<String> = [limit("RCPTMAX", self.rcpt_max), limit("MAILMAX", self.mail_max)]
            .into_iter()
            .flatten()
            .collect();
        (!limits.is_empty()).then(|| format!("LIMITS{}", limits.concat()))
    }
}

impl FutureRelease {
    /// RFC 4865: the interval and the date, both required.
    fn keyword(&self) -> Option<String> {
        let latest = self.now.saturating_add(i64::from(self.max_interval));
        let latest = jiff::Timestamp::from_second(latest).ok()?;
        Some(format!("FUTURERELEASE {} {latest}", self.max_interval))
    }
}
