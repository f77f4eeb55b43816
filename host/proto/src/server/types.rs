//! What the dialogue yields, in the product's terms.

use std::sync::Arc;

use relevo_mailkit::envelope::Parameter;
use relevo_mailkit::options::MailOptions;

/// What the session learnt from the dialogue so far.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// The argument of EHLO or HELO.
    pub helo: String,
    /// EHLO rather than HELO.
    pub extended: bool,
    /// Protocol version and cipher suite, when under TLS.
    pub tls: Option<String>,
    /// The certificate that the client has shown (DER), if a configured authority vouches for it.
    pub client_certificate: Option<Arc<[u8]>>,
    /// The authenticated username.
    pub username: Option<String>,
}

impl SessionInfo {
    pub(super) fn under(tls: TlsFacts) -> Self {
        Self { tls: Some(tls.description), client_certificate: tls.client_certificate, ..Self::default() }
    }
}

/// What a handshake has yielded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// Protocol version and cipher suite.
    pub description: String,
    /// `tls-exporter` (RFC 9266): channel binding, under TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// The client's certificate (DER), verified.
    pub client_certificate: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsFacts").field("description", &self.description).finish_non_exhaustive()
    }
}

impl From<String> for TlsFacts {
    fn from(description: String) -> Self {
        Self { description, ..Self::default() }
    }
}

/// From AUTH PLAIN or LOGIN (RFC 4954).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// authcid, at most 255 octets.
    pub username: String,
    /// At most 1 KiB.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// BODY= of MAIL (RFC 6152, RFC 3030 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// 7BIT, or no BODY parameter.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
    /// BINARYMIME (RFC 3030 section 3): octets without lines, which came by BDAT.
    BinaryMime,
}

/// HOLDFOR or HOLDUNTIL of MAIL (RFC 4865): when the message is to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Seconds from now.
    For(u32),
    /// Seconds since 1970. A time that has passed holds nothing back.
    Until(i64),
}

/// MAIL, syntactically correct. Parameters that the listener does not offer are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailFrom {
    /// Without angle brackets and source route; empty for the null reverse-path.
    pub address: String,
    /// Lower case A-labels or an address literal; empty for the null reverse-path.
    pub domain: String,
    /// SIZE= (RFC 1870); 0 when absent.
    pub size: u64,
    /// BODY=
    pub body: BodyType,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH= (RFC 4954 section 5), decoded; empty for `<>`. A claim of the client.
    pub auth: Option<String>,
    /// RET, ENVID, REQUIRETLS, BY and MT-PRIORITY.
    pub options: MailOptions,
    /// HOLDFOR or HOLDUNTIL (RFC 4865), within the limit that was announced.
    pub hold: Option<Hold>,
    /// All that were given, these among them, in their order.
    pub parameters: Vec<Parameter>,
}
