//! Content-Type, Content-Transfer-Encoding and Content-Disposition (RFC 2045, RFC 2183, RFC 2231).

use relevo_mailkit::model::DeclaredEncoding;

use crate::lexer::{Lexer, Malformed, is_token, unquote};

/// RFC 2046 section 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// The boundary parameter of a Content-Type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Boundary {
    #[default]
    None,
    Given(Vec<u8>),
    /// Empty, over 70 octets, with characters no boundary has, given twice, or in RFC 2231 pieces,
    /// which readers join differently.
    Unusable,
}

/// What matters of a Content-Type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContentType {
    /// Lower case `type/subtype`.
    pub(crate) media_type: String,
    pub(crate) boundary: Boundary,
    /// Lower case.
    pub(crate) charset: Option<String>,
    pub(crate) named: bool,
    /// Another parameter can be put after it: it does not end in `;` or in a parameter that cannot
    /// be read.
    pub(crate) appendable: bool,
}

/// Reads a Content-Type. Parameters that no rule is about may be malformed: unquoted file names are
/// common.
pub(crate) fn content_type(value: &[u8]) -> Result<ContentType, Malformed> {
    let mut lexer = Lexer::new(value);
    lexer.skip_cfws()?;
    let main = lexer.run(is_token);
    lexer.skip_cfws()?;
    if main.is_empty() || !lexer.eat(b'/') {
        return Err(Malformed);
    }
    lexer.skip_cfws()?;
    let sub = lexer.run(is_token);
    lexer.skip_cfws()?;
    if sub.is_empty() {
        return Err(Malformed);
    }
    let mut media_type = Vec::with_capacity(main.len() + sub.len() + 1);
    media_type.extend_from_slice(main);
    media_type.push(b'/');
    media_type.extend_from_slice(sub);
    media_type.make_ascii_lowercase();
    let media_type = String::from_utf8(media_type).map_err(|_| Malformed)?;
    let mut found = ContentType { media_type, appendable: true, ..ContentType::default() };
    parameters(&mut lexer, &mut found.appendable, |name, value| {
        if name.starts_with(b"boundary") {
            found.boundary = boundary(&found.boundary, name, value);
        } else if name == b"charset" {
            let Some(charset) = value.and_then(|v| String::from_utf8(v).ok()) else { return Ok(()) };
            // Two charsets: the reader picks one, we cannot know which.
            if found.charset.replace(charset.to_ascii_lowercase()).is_some() {
                return Err(Malformed);
            }
        } else if name == b"name" || name.starts_with(b"name*") {
            found.named = true;
        }
        Ok(())
    })?;
    Ok(found)
}

fn boundary(before: &Boundary, name: &[u8], value: Option<Vec<u8>>) -> Boundary {
    match (before, name, value) {
        (Boundary::None, b"boundary", Some(value)) if is_boundary(&value) => Boundary::Given(value),
        (before, name, _) if name != b"boundary" && !name.starts_with(b"boundary*") => before.clone(),
        _ => Boundary::Unusable,
    }
}

/// RFC 2046 section 5.1.1 without its list of characters: mailers use others, and nobody misreads
/// them.
fn is_boundary(value: &[u8]) -> bool {
    (1..=MAX_BOUNDARY).contains(&value.len())
        && value.iter().all(|b| (b' '..=b'~').contains(b) && !matches!(b, b'"' | b'\\'))
        && value.last() != Some(&b' ')
}

/// Calls `each` with the lower-case name and, if it can be read, the value of every parameter.
fn parameters(
    lexer: &mut Lexer<'_>,
    clean: &mut bool,
    mut each: impl FnMut(&[u8], Option<Vec<u8>>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut name = Vec::new();
    while !lexer.is_at_end() {
        if !lexer.eat(b';') {
            return Err(Malformed);
        }
        lexer.skip_cfws()?;
        name.clear();
        name.extend_from_slice(lexer.run(is_token));
        name.make_ascii_lowercase();
        lexer.skip_cfws()?;
        let mut value = None;
        *clean = !name.is_empty();
        if lexer.eat(b'=') && *clean {
            lexer.skip_cfws()?;
            value = Some(parameter_value(lexer)?).filter(|v| !v.is_empty());
            lexer.skip_cfws()?;
        }
        if !lexer.is_at_end() && lexer.peek() != Some(b';') {
            // Junk after the value: whatever it was, it cannot be trusted.
            value = None;
            *clean = false;
            skip_to_semicolon(lexer)?;
        }
        if !name.is_empty() {
            each(&name, value)?;
        }
    }
    Ok(())
}

fn parameter_value(lexer: &mut Lexer<'_>) -> Result<Vec<u8>, Malformed> {
    if lexer.peek() == Some(b'"') {
        return Ok(unquote(lexer.quoted()?));
    }
    // More than a token: `=`, `/`, `?` and others appear unquoted in boundaries of old mailers.
    Ok(lexer.run(|b| b > b' ' && b != 0x7f && !b"\"();\\,".contains(&b)).to_vec())
}

fn skip_to_semicolon(lexer: &mut Lexer<'_>) -> Result<(), Malformed> {
    while let Some(byte) = lexer.peek() {
        match byte {
            b';' => break,
            b'"' => {
                lexer.quoted()?;
            }
            _ => lexer.advance(),
        }
    }
    Ok(())
}

/// Reads a Content-Transfer-Encoding: one token (RFC 2045 section 6.1).
pub(crate) fn transfer_encoding(value: &[u8]) -> Result<DeclaredEncoding, Malformed> {
    let mut lexer = Lexer::new(value);
    lexer.skip_cfws()?;
    let token = lexer.run(is_token).to_ascii_lowercase();
    lexer.skip_cfws()?;
    if token.is_empty() || !lexer.is_at_end() {
        return Err(Malformed);
    }
    Ok(match &token[..] {
        b"7bit" => DeclaredEncoding::SevenBit,
        b"8bit" => DeclaredEncoding::EightBit,
        b"binary" => DeclaredEncoding::Binary,
        b"quoted-printable" => DeclaredEncoding::QuotedPrintable,
        b"base64" => DeclaredEncoding::Base64,
        _ => DeclaredEncoding::Other,
    })
}

/// Whether a Content-Disposition says attachment, and whether it has a file name. A malformed one
/// says neither more than its first word does.
pub(crate) fn disposition(value: &[u8]) -> (bool, bool) {
    let mut lexer = Lexer::new(value);
    if lexer.skip_cfws().is_err() {
        return (false, false);
    }
    let kind = lexer.run(is_token);
    let attachment = kind.eq_ignore_ascii_case(b"attachment");
    let mut named = false;
    let mut clean = true;
    if lexer.skip_cfws().is_ok() {
        let _ = parameters(&mut lexer, &mut clean, |name, _| {
            named |= name == b"filename" || name.starts_with(b"filename*");
            Ok(())
        });
    }
    (attachment, named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        let ct = content_type(b" Text/HTML ; charset=\"UTF-8\" (x); name=a b.html").unwrap();
        assert_eq!((ct.media_type.as_str(), ct.charset.as_deref()), ("text/html", Some("utf-8")));
        assert!(ct.named && !ct.appendable);
        let ct = content_type(b"multipart/mixed;\r\n boundary=----=_Part/1?").unwrap();
        assert_eq!(ct.boundary, Boundary::Given(b"----=_Part/1?".to_vec()));
        assert!(ct.appendable);
        assert!(!content_type(b"text/plain;").unwrap().appendable);
        let ct = content_type(b"multipart/mixed; boundary=\"a\\ b'()+_,-./:=?\"").unwrap();
        assert_eq!(ct.boundary, Boundary::Given(b"a b'()+_,-./:=?".to_vec()));
    }

    #[test]
    fn unusable_boundaries() {
        let long = format!("x/y; boundary={}", "a".repeat(71));
        for text in [
            "x/y; boundary=",
            "x/y; boundary=\"\"",
            "x/y; boundary=a; boundary=a",
            "x/y; boundary*0=a",
            &long,
            "x/y; boundary*=us-ascii''a",
            "x/y; boundary=\"a \"",
            "x/y; boundary=a b",
            "x/y; boundary=\"a\\\"b\"",
        ] {
            assert_eq!(content_type(text.as_bytes()).unwrap().boundary, Boundary::Unusable, "{text}");
        }
    }

    #[test]
    fn malformed() {
        for text in [
            "",
            "text",
            "text/",
            "/plain",
            "text/plain charset=x",
            "text/plain; name=\"a",
            "a/b; charset=a; charset=b",
        ] {
            assert_eq!(content_type(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert_eq!(transfer_encoding(b" 8BIT (x)"), Ok(DeclaredEncoding::EightBit));
        assert_eq!(transfer_encoding(b"x-uue"), Ok(DeclaredEncoding::Other));
        for text in ["", "8 bit", "base64;", "7bit, 8bit"] {
            assert_eq!(transfer_encoding(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert_eq!(disposition(b"attachment; filename*0=\"a\""), (true, true));
        assert_eq!(disposition(b"inline; filename=a b c"), (false, true));
    }
}
