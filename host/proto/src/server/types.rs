//! What the dialogue yields, in the product's terms.

use relevo_mailkit::envelope::Parameter;

/// What the session learnt from the dialogue so far.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// The argument of EHLO or HELO.
    pub helo: String,
    /// EHLO rather than HELO.
    pub extended: bool,
    /// Protocol version and cipher suite, when under TLS.
    pub tls: Option<String>,
    /// The authenticated username.
    pub username: Option<String>,
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

/// MAIL, syntactically correct.
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
    /// All that were given, these among them, in their order.
    pub parameters: Vec<Parameter>,
}
