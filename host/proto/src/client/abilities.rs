//! What a server says that it can do (RFC 5321 section 4.1.1.1).

use super::types::RemoteReply;

/// The keywords of EHLO that matter for delivery. All off after HELO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// BINARYMIME (RFC 3030). Copies never need it: their lines end in CRLF.
    pub binary_mime: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DELIVERBY (RFC 2852); the smallest number of seconds, `None` inside when none is named.
    pub deliver_by: Option<Option<u32>>,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// LIMITS (RFC 9422).
    pub limits: ServerLimits,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// REQUIRETLS (RFC 8689). It counts only under TLS.
    pub require_tls: bool,
    /// SIZE (RFC 1870); the largest message, `None` inside when no limit is named.
    pub size: Option<Option<u64>>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954).
    pub auth: AuthMechanisms,
}

/// What a server allows (RFC 9422 section 4). None: it names no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerLimits {
    /// MAILMAX: transactions of a connection.
    pub mail_max: Option<u32>,
    /// RCPTMAX: recipients of a transaction.
    pub rcpt_max: Option<u32>,
    /// RCPTDOMAINMAX: different recipient domains of a connection.
    pub rcpt_domain_max: Option<u32>,
}

/// A mechanism of AUTH that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMechanism {
    /// SCRAM-SHA-256-PLUS: bound to the TLS connection (RFC 7677).
    ScramSha256Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
    /// OAUTHBEARER (RFC 7628).
    OauthBearer,
    /// XOAUTH2.
    Xoauth2,
}

/// Mechanisms that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuthMechanisms(u8);

impl AuthMechanism {
    /// All, by their names.
    const ALL: [Self; 6] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
        Self::OauthBearer,
        Self::Xoauth2,
    ];

    /// The name in AUTH.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }
}

impl AuthMechanisms {
    /// Returns true if the server offers it.
    #[must_use]
    pub fn contains(self, mechanism: AuthMechanism) -> bool {
        self.0 & Self::bit(mechanism) != 0
    }

    fn bit(mechanism: AuthMechanism) -> u8 {
        1 << mechanism as u8
    }
}

impl FromIterator<AuthMechanism> for AuthMechanisms {
    fn from_iter<I: IntoIterator<Item = AuthMechanism>>(mechanisms: I) -> Self {
        Self(mechanisms.into_iter().fold(0, |all, one| all | Self::bit(one)))
    }
}

impl ServerLimits {
    /// Reads one limit, such as `RCPTMAX=50`. What is malformed or unknown is no limit (RFC 9422
    /// section 3): the value is a number of one to six digits that does not begin with 0.
    fn add(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else { return };
        let is_number = (1..=6).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        if !is_number || value.starts_with('0') {
            return;
        }
        let value = value.parse().ok();
        match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => self.mail_max = value,
            "RCPTMAX" => self.rcpt_max = value,
            "RCPTDOMAINMAX" => self.rcpt_domain_max = value,
            _ => {}
        }
    }
}

impl Abilities {
    /// Reads the reply to EHLO; the first line is the server's name.
    #[must_use]
    pub fn parse(reply: &RemoteReply) -> Self {
        let mut abilities = Self::default();
        for line in reply.text.lines().skip(1) {
            abilities.add(line);
        }
        abilities
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { return };
        // `AUTH=LOGIN` is how some old servers say `AUTH LOGIN`.
        let (keyword, glued) = first.split_once('=').unwrap_or((first, ""));
        let mut words = Some(glued).filter(|word| !word.is_empty()).into_iter().chain(words);
        match keyword.to_ascii_uppercase().as_str() {
            "8BITMIME" => self.eight_bit = true,
            "BINARYMIME" => self.binary_mime = true,
            "CHUNKING" => self.chunking = true,
            // 0: no limit.
            "DELIVERBY" => self.deliver_by = Some(number(words.next()).filter(|&n| n > 0)),
            "DSN" => self.dsn = true,
            "LIMITS" => words.for_each(|limit| self.limits.add(limit)),
            "MT-PRIORITY" => self.mt_priority = true,
            "PIPELINING" => self.pipelining = true,
            "REQUIRETLS" => self.require_tls = true,
            "SIZE" => self.size = Some(number(words.next()).filter(|&n| n > 0)),
            "SMTPUTF8" => self.smtputf8 = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for word in words {
                    let named = |mechanism: &AuthMechanism| word.eq_ignore_ascii_case(mechanism.name());
                    let known = AuthMechanism::ALL.into_iter().find(named);
                    self.auth.0 |= known.map_or(0, AuthMechanisms::bit);
                }
            }
            _ => {}
        }
    }
}

fn number<N: std::str::FromStr>(word: Option<&str>) -> Option<N> {
    word?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Abilities {
        Abilities::parse(&RemoteReply {
            code: 250,
            enhanced: None,
            text: format!("PIPELINING.example\n{lines}"),
        })
    }

    #[test]
    fn keywords() {
        let all = Abilities {
            eight_bit: true,
            binary_mime: true,
            chunking: true,
            deliver_by: Some(Some(60)),
            dsn: true,
            limits: ServerLimits { mail_max: Some(7), rcpt_max: Some(50), rcpt_domain_max: Some(1) },
            mt_priority: true,
            pipelining: true,
            require_tls: true,
            size: Some(Some(1000)),
            smtputf8: true,
            starttls: true,
            auth: [AuthMechanism::Login, AuthMechanism::Plain].into_iter().collect(),
        };
        let text =
            "PIPELINING\nsize 1000\n8BITMIME\nSMTPUTF8\nSTARTTLS\nAUTH=LOGIN\nAUTH PLAIN CRAM-MD5\n\nX-ODD
CHUNKING\nBINARYMIME\ndsn\nLIMITS MAILMAX=7 rcptmax=50\tRCPTDOMAINMAX=1 X=3\nREQUIRETLS\nDELIVERBY 60
MT-PRIORITY MIXER";
        assert_eq!(parse(text), all);
        assert_eq!(parse("SIZE 0"), Abilities { size: Some(None), ..Abilities::default() });
        assert_eq!(parse("DELIVERBY").deliver_by, Some(None));
        assert_eq!(parse("CHUNKING-X\nXDSN"), Abilities::default());
    }

    #[test]
    fn limits_that_are_malformed_are_none() {
        let limits = |text: &str| parse(&format!("LIMITS {text}")).limits;
        for wrong in ["MAILMAX=0", "MAILMAX=", "MAILMAX", "MAILMAX=07", "MAILMAX=1234567", "MAILMAX=-1", "=3"]
        {
            assert_eq!(limits(wrong), ServerLimits::default(), "{wrong:?}");
        }
        assert_eq!(limits("RCPTMAX=999999").rcpt_max, Some(999_999));
    }

    #[test]
    fn mechanisms() {
        let offered = parse("AUTH scram-sha-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER SCRAM-SHA-1").auth;
        for known in AuthMechanism::ALL {
            let there = !matches!(known, AuthMechanism::Plain | AuthMechanism::Login);
            assert_eq!(offered.contains(known), there, "{}", known.name());
        }
    }
}
