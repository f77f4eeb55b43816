//! What EHLO announces beyond the extensions that are always there.

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
        let priority = self.mt_priority.as_ref();
        lines.extend(priority.map(|policy| format!("MT-PRIORITY {policy}").trim_end().to_owned()));
        lines
    }

    /// RFC 9422 section 3.
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
    /// RFC 4865 section 3: the interval and the date, both required.
    fn keyword(&self) -> Option<String> {
        let latest = self.now.saturating_add(i64::from(self.max_interval));
        let latest = jiff::Timestamp::from_second(latest).ok()?;
        Some(format!("FUTURERELEASE {} {latest}", self.max_interval))
    }
}
