//! The tokens of structured fields (RFC 5322 section 3.2, RFC 2045 section 5.1). Octets above 127
//! count as letters: whether they are allowed at all is decided for the whole header.

/// A structured field that breaks its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a field value. CR and LF count as white space: the folding was checked before.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// Takes `byte` if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips comments and white space. Comments nest (section 3.2.2); they are counted, not
    /// recursed into.
    pub(crate) fn skip_cfws(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(), depth) {
                (Some(b' ' | b'\t' | b'\r' | b'\n'), _) => {}
                (Some(b'('), _) => depth += 1,
                (_, 0) => return Ok(()),
                (None, _) => return Err(Malformed),
                (Some(b')'), _) => depth -= 1,
                (Some(b'\\'), _) => {
                    self.at += 1;
                    if self.peek().is_none() {
                        return Err(Malformed);
                    }
                }
                (Some(_), _) => {}
            }
            self.at += 1;
        }
    }

    /// The longest run of octets that `accept` takes; may be empty.
    pub(crate) fn run(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    /// A quoted string as it stands, with its quotes (section 3.2.4).
    pub(crate) fn quoted(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        if !self.eat(b'"') {
            return Err(Malformed);
        }
        loop {
            match self.peek() {
                None => return Err(Malformed),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at]);
                }
                Some(b'\\') => {
                    self.at += 2;
                    if self.at > self.bytes.len() {
                        return Err(Malformed);
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

/// RFC 5322 section 3.2.3, with RFC 6532 section 3.2.
pub(crate) fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// RFC 2045 section 5.1.
pub(crate) fn is_token(byte: u8) -> bool {
    (b'!'..=b'~').contains(&byte) && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// What a quoted string means: without quotes, backslashes and folding.
pub(crate) fn unquote(quoted: &[u8]) -> Vec<u8> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'\r' | b'\n' => {}
            _ => {
                out.push(byte);
                escaped = false;
            }
        }
    }
    out
}
